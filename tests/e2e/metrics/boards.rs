//! The dashboards, as far as files say.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// What a panel, a variable or an annotation asks.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// Which dashboard, and what in it.
    pub(super) place: String,
    pub(super) asks: Asks,
    pub(super) expression: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    Prometheus,
    Loki,
    Tempo,
}

/// The folder of what is provisioned.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/observability")
}

/// Every dashboard, with its file's name.
pub(super) fn all() -> Vec<(String, Value)> {
    let files = fs::read_dir(folder().join("grafana/dashboards")).unwrap().map(|file| file.unwrap().path());
    let mut boards: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let board = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), board)
        })
        .collect();
    boards.sort_by(|(one, _), (other, _)| one.cmp(other));
    boards
}

/// Every question of every dashboard, with Grafana's variables replaced.
pub(super) fn questions() -> Vec<Question> {
    let mut questions = Vec::new();
    for (file, board) in all() {
        let mut ask = |what: &Value, source: &Value, expression: &Value| {
            let place = format!("{file}: {}", what.as_str().unwrap_or_default());
            let asks = match source["uid"].as_str() {
                Some("prometheus") => Asks::Prometheus,
                Some("loki") => Asks::Loki,
                Some("tempo") => Asks::Tempo,
                _ => panic!("{place}: the data source {source} is not provisioned"),
            };
            assert_eq!(source["type"], source["uid"], "{place}");
            let text = expression.as_str().unwrap_or_else(|| panic!("{place}: nothing is asked"));
            questions.push(Question { place, asks, expression: plain(text) });
        };
        for panel in panels(&board) {
            for target in panel["targets"].as_array().into_iter().flatten() {
                assert_eq!(panel["datasource"], target["datasource"], "{}", panel["title"]);
                let expression = if target["expr"].is_null() { &target["query"] } else { &target["expr"] };
                ask(&panel["title"], &target["datasource"], expression);
            }
        }
        for annotation in board["annotations"]["list"].as_array().unwrap() {
            ask(&annotation["name"], &annotation["datasource"], &annotation["expr"]);
        }
        for variable in board["templating"]["list"].as_array().unwrap().iter().filter(|one| one["type"] == "query") {
            // `label_values(METRIC, LABEL)` asks for the label of the metric.
            let query = variable["query"]["query"].as_str().unwrap();
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (metric, label) = inner.and_then(|inner| inner.split_once(", ")).unwrap();
            ask(&variable["name"], &variable["datasource"], &format!("count by ({label}) ({metric})").into());
        }
    }
    questions
}

/// Every panel, also those in rows.
pub(super) fn panels(board: &Value) -> Vec<&Value> {
    let inner = |panel| -> Vec<&Value> {
        let panel: &Value = panel;
        std::iter::once(panel).chain(panel["panels"].as_array().into_iter().flatten()).collect()
    };
    board["panels"].as_array().unwrap().iter().flat_map(inner).collect()
}

/// Grafana's variables, as they could be.
fn plain(expression: &str) -> String {
    let plain = expression
        .replace("$__rate_interval", "1m")
        .replace("$__interval", "5s")
        .replace("$upstream", ".*")
        .replace("$model", ".*");
    assert!(!plain.contains('$'), "a variable that is not known: {expression}");
    plain
}

#[test]
fn dashboards_are_whole_and_refresh_every_five_seconds() {
    let boards = all();
    let titles: Vec<_> = boards.iter().map(|(_, board)| board["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["Live activity", "Metrics"]);
    let uids: BTreeSet<_> = boards.iter().map(|(_, board)| board["uid"].as_str().unwrap()).collect();
    for (file, board) in &boards {
        assert_eq!(board["refresh"], "5s", "{file}");
        for link in board["links"].as_array().unwrap() {
            let uid = link["url"].as_str().unwrap().strip_prefix("/d/").unwrap();
            assert!(uids.contains(uid), "{file}: no dashboard `{uid}`");
        }
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for panel in panels(board) {
            let title = panel["title"].as_str().unwrap();
            assert!(!title.is_empty() && ids.insert(panel["id"].as_u64().unwrap()), "{file}: {panel}");
            let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(place("x") + place("w") <= 24 && place("h") > 0, "{file}: `{title}` is outside the page");
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(taken.insert((x, y)), "{file}: `{title}` lies over another panel");
                }
            }
            let has_question = panel["targets"].as_array().is_some_and(|targets| !targets.is_empty());
            assert!(has_question || panel["type"] == "row", "{file}: `{title}` asks nothing");
        }
    }
}

#[test]
fn links_lead_from_calls_to_traces_logs_and_luthiens_own_page() {
    let mut found = BTreeSet::new();
    for (file, board) in all() {
        let overrides = panels(&board).into_iter().filter_map(|panel| panel["fieldConfig"]["overrides"].as_array());
        for field in overrides.flatten() {
            for link in field["properties"].as_array().unwrap().iter().filter(|one| one["id"] == "links") {
                for url in link["value"].as_array().unwrap().iter().map(|link| link["url"].as_str().unwrap()) {
                    found.insert(leads_to(&file, field["matcher"]["options"].as_str().unwrap(), url));
                }
            }
        }
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["call", "log", "span", "trace"]);
}

/// Where a link of this field leads. Its value stands in it.
fn leads_to(file: &str, field: &str, url: &str) -> &'static str {
    if url == "${luthien}/debug/calls/${__value.raw}" {
        assert!(field.ends_with("call_id"), "{file}: {field}");
        return "call";
    }
    let pane = url.strip_prefix("/explore?schemaVersion=1&panes=").unwrap_or_else(|| panic!("{file}: {url}"));
    let pane = percent_encoding::percent_decode_str(pane).decode_utf8().unwrap();
    let pane: Value = serde_json::from_str(&pane).unwrap_or_else(|error| panic!("{file}: {pane}: {error}"));
    let (source, query) = (&pane["pane"]["datasource"], &pane["pane"]["queries"][0]);
    assert_eq!(*source, query["datasource"]["uid"], "{file}: {url}");
    if source == "tempo" {
        // A row of traces has the trace's id in a field that is not shown.
        let id = if field == "spanID" { "${__data.fields.traceIdHidden}" } else { "${__value.raw}" };
        assert_eq!((&query["query"], ["spanID", "trace_id"].contains(&field)), (&id.into(), true), "{file}: {field}");
        return if field == "spanID" { "span" } else { "trace" };
    }
    assert_eq!((source.as_str(), field.ends_with("call_id")), (Some("loki"), true), "{file}: {field}");
    let (streams, fields) = super::expressions::logql(query["expr"].as_str().unwrap());
    assert_eq!(streams, [("service".to_owned(), "luthien|envoy".to_owned())], "{file}");
    assert_eq!(fields, [("call_id".to_owned(), "${__value.raw}".to_owned())], "{file}");
    "log"
}
