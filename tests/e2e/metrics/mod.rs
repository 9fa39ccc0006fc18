//! The metrics of a running gateway: with a real Prometheus, and in the dashboards and alerts that ship.

mod boards;
mod bounds;
mod expressions;
mod names;
mod run;

use serde_json::Value;

use crate::harness::{
    SOON,
    client::Request,
    gateway::Gateway,
    prometheus::{Prometheus, promtool},
    within,
};

use self::{
    boards::{Asks, folder, questions},
    run::Run,
};

/// The metrics, when as many calls as that have ended.
async fn metrics_after(gateway: &Gateway, calls: u32) -> String {
    let over = async {
        loop {
            let text = gateway.admin(Request::new("GET", "/metrics")).await.text();
            if value(&text, "luthien_overhead_seconds_count") >= f64::from(calls) {
                return text;
            }
        }
    };
    within(SOON, "the end of every call", over).await
}

/// The sum of all samples whose name and labels begin so.
fn value(metrics: &str, begins: &str) -> f64 {
    let samples = metrics.lines().filter(|line| line.starts_with(begins));
    samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

#[test]
fn the_alerts_that_ship_are_right_and_fire_when_they_should() {
    let folder = folder().join("prometheus");
    for arguments in
        [&["check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml"][..], &["test", "rules", "alerts.test.yaml"]]
    {
        let output = promtool(&folder, arguments, "");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.contains("SUCCESS"), "{arguments:?}: {said}");
    }
}

/// Metrics of what does not happen in the run, so that there is nothing to show.
const NOTHING_TO_SHOW: [&str; 2] = ["luthien_lost_records_total", "luthien_shadows_lost_total"];

#[tokio::test]
async fn every_expression_that_ships_works_on_a_real_prometheus_fed_by_a_real_run() {
    let mut run = Run::start().await;
    let rules = folder().join("prometheus/alerts.yaml");
    let [luthien, envoy] = [("luthien", run.admin(), "/metrics"), ("envoy", run.envoy(), "/stats/prometheus")];
    let prometheus = Prometheus::start(&[luthien, envoy], &rules).await;
    // Twice, because what appears with its first count has not grown.
    run.calls().await;
    let ended = run.ended();
    prometheus.until(&format!("sum(luthien_calls_total) >= {ended}")).await;
    prometheus.until("envoy_http_downstream_rq_time_count{envoy_http_conn_manager_prefix=\"clients\"} > 0").await;
    run.calls().await;
    prometheus.until("sum(increase(luthien_calls_total[1m])) > 0").await;
    let grown =
        "sum(increase(envoy_http_downstream_rq_time_count{envoy_http_conn_manager_prefix=\"clients\"}[1m])) > 0";
    prometheus.until(grown).await;
    check(&run, &prometheus).await;
    run.stop().await;
}

async fn check(run: &Run, prometheus: &Prometheus) {
    let targets = prometheus.ask("/api/v1/targets").await.unwrap();
    for target in targets["activeTargets"].as_array().unwrap() {
        assert_eq!((&target["health"], &target["lastError"]), (&"up".into(), &"".into()), "{target}");
    }
    // Only OpenMetrics says a metric's unit.
    let metadata = prometheus.ask("/api/v1/metadata?metric=luthien_held_bytes").await.unwrap();
    assert_eq!(metadata["luthien_held_bytes"][0]["unit"], "bytes");
    let metrics = run.gateway.admin(Request::new("GET", "/metrics")).await.text();
    let lint = promtool(&folder(), &["check", "metrics"], &metrics);
    let said = String::from_utf8_lossy(&[lint.stdout, lint.stderr].concat()).into_owned();
    assert!(lint.status.success() && said.is_empty(), "promtool check metrics: {said}");

    let known = names::Known::read(prometheus).await;
    let mut empty = Vec::new();
    for question in questions().iter().filter(|question| question.asks == Asks::Prometheus) {
        let (place, expression) = (&question.place, &question.expression);
        known.check(place, expression);
        let result =
            prometheus.query(expression).await.unwrap_or_else(|error| panic!("{place}: {expression}: {error}"));
        let has_data = result.iter().any(|sample| sample["value"][1] != "NaN");
        if !has_data && !NOTHING_TO_SHOW.iter().any(|name| expression.contains(name)) {
            empty.push(format!("{place}: {expression}"));
        }
    }
    assert!(empty.is_empty(), "nothing to show:\n{}", empty.join("\n"));
    for rule in evaluated(prometheus).await {
        let (name, query) = (rule["name"].as_str().unwrap(), rule["query"].as_str().unwrap());
        assert_eq!(rule["health"], "ok", "{name}: {}", rule["lastError"]);
        known.check(name, query);
        names::leads_to_documentation(name, rule["annotations"]["docs"].as_str().unwrap_or_default());
    }
    let fields = run.log_fields();
    for question in questions() {
        match question.asks {
            Asks::Prometheus => {}
            Asks::Loki => names::check_logql(&question.place, &question.expression, &fields),
            Asks::Tempo => names::check_traceql(&question.place, &question.expression),
        }
    }
    names::check_columns(&fields);
}

/// The alerts, when each has been evaluated.
async fn evaluated(prometheus: &Prometheus) -> Vec<Value> {
    let evaluated = async {
        loop {
            let groups = prometheus.ask("/api/v1/rules").await.unwrap();
            let rules =
                groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
            let rules: Vec<Value> = rules.cloned().collect();
            if !rules.is_empty() && rules.iter().all(|rule| rule["health"] != "unknown") {
                return rules;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    within(SOON, "every alert evaluated", evaluated).await
}
