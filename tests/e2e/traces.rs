//! Traces: what a collector gets of calls through a real Envoy, and what happens when there is none.

use serde_json::{Value, json};

use crate::{
    common::streams::Dialect,
    fakes::{
        collector::{Collected, Collector, forest},
        provider::Provider,
        script::Script,
    },
    harness::{
        SOON,
        client::{Answer, Request, Version},
        gateway::{Builder, Gateway},
        samples::{self, CALLS},
        within,
    },
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// What a client that traces sends.
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// Envoy's spans around ours: of the client's request, of its question to us, of the provider's work.
const ENVOYS: [&str; 3] =
    ["ingress", "async envoy.service.ext_proc.v3.ExternalProcessor.Process egress", "router fake egress"];

/// A gateway that sends its traces to this collector, soon.
fn traced(builder: Builder, collector: &Collector) -> Builder {
    builder
        .settings(&format!("telemetry: {{ traces: {{ endpoint: \"{}\" }} }}", collector.endpoint()))
        .settings("log: { format: json, level: debug }")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
}

fn named<'s>(spans: &'s [Collected], name: &str) -> &'s Collected {
    let found = spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no span `{name}`:\n{}", forest(spans)))
}

/// The log lines of this call.
fn lines(gateway: &Gateway, call: &str) -> Vec<Value> {
    let lines = gateway.output();
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["call_id"] == *call).collect()
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> &'h str {
    headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

fn call_id(answer: &Answer) -> String {
    header(&answer.headers, "x-luthien-call-id").to_owned()
}

#[tokio::test]
async fn a_plain_stream_is_a_tree_below_envoys_span() {
    let (provider, collector) = (Provider::start().await, Collector::start().await);
    let stream = samples::text(Dialect::Anthropic, &["Hel", "lo"]);
    provider.otherwise(Script::sse_in_pieces(stream.as_bytes(), 100));
    let policy = "policies: [{ name: shout, type: uppercase }, { name: log, type: debug_log }]\n";
    let gateway = traced(Gateway::with(&provider).policy(policy), &collector).start().await;
    let request = Request::stream(Dialect::Anthropic)
        .header("traceparent", TRACEPARENT)
        .header("tracestate", "vendor=1")
        .header("x-session-id", "session-7");
    let answer = gateway.call(Version::Http1, request).await;
    assert!(answer.text().contains("HEL"), "{}", answer.text());

    let spans = collector.trace(&[&["luthien.call", "luthien.response"], &ENVOYS[..]].concat()).await;
    assert_eq!(
        forest(&spans),
        "ingress\n  async envoy.service.ext_proc.v3.ExternalProcessor.Process egress\n    luthien.call\n      luthien.request\n      chat test-model\n      \
         luthien.response\n  router fake egress\n"
    );
    let ingress = named(&spans, "ingress");
    assert_eq!((&*ingress.trace, &*ingress.parent, &*ingress.service), (TRACE, "b7ad6b7169203331", "luthien-envoy"));

    let call = named(&spans, "luthien.call");
    assert_eq!(call.service, "luthien");
    let rules = call.get("luthien.rules").as_str().expect("the hash of the rules");
    assert!(!rules.is_empty());
    for (name, expected) in [
        ("luthien.call_id", json!(call_id(&answer))),
        ("luthien.session_id", json!("session-7")),
        ("luthien.model", json!("test-model")),
        ("luthien.dialect", json!("anthropic_messages")),
        ("luthien.upstream", json!("fake")),
        ("luthien.stream", json!(true)),
        ("luthien.outcome", json!("completed")),
        ("http.response.status_code", json!(200)),
        ("url.path", json!("/v1/messages")),
    ] {
        assert_eq!(call.get(name), &expected, "{name}");
    }
    for name in ["luthien.chunks.in", "luthien.chunks.out"] {
        assert!(call.get(name).as_u64().is_some_and(|chunks| chunks > 0), "{name}: {}", call.get(name));
    }
    let overhead = call.get("luthien.overhead");
    assert!(overhead.as_f64().is_some_and(|seconds| seconds > 0.0), "{overhead}");
    let (event, told) = call.events.first().expect("the policy's decision");
    assert_eq!((&**event, &told["luthien.policy.name"]), ("luthien.policy.decision", &json!("shout")));
    assert_eq!(told["luthien.policy.decision"], "edit");

    let chat = named(&spans, "chat test-model");
    assert!(chat.is_client && !chat.is_error);
    for (name, expected) in [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.provider.name", json!("anthropic")),
        ("gen_ai.request.model", json!("test-model")),
        ("gen_ai.request.stream", json!(true)),
        ("gen_ai.conversation.id", json!("session-7")),
        ("gen_ai.response.finish_reasons", json!(["stop"])),
        ("server.address", json!("127.0.0.1")),
        ("server.port", json!(provider.address().port())),
    ] {
        assert_eq!(chat.get(name), &expected, "{name}");
    }
    for name in
        ["gen_ai.response.id", "gen_ai.response.model", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"]
    {
        assert!(!chat.get(name).is_null(), "{name}");
    }
    assert!(chat.get("gen_ai.response.time_to_first_chunk").as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(chat.attributes.keys().all(|name| !name.contains("messages")), "messages are opted into");

    // The provider is told of Envoy's span for its work, and every line of the call carries the ids of its span.
    let sent = provider.request(0).await;
    assert_eq!(header(&sent.headers, "traceparent"), format!("00-{TRACE}-{}-01", named(&spans, ENVOYS[2]).id));
    assert_eq!(header(&sent.headers, "tracestate"), "vendor=1");
    let lines = lines(&gateway, &call_id(&answer));
    for message in ["call", "policy decided", "response started"] {
        assert!(lines.iter().any(|line| line["message"] == message), "{message}: {lines:?}");
    }
    for line in lines {
        assert_eq!((&line["trace_id"], &line["span_id"]), (&json!(TRACE), &json!(call.id)), "{line}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_blocked_tool_call_shows_which_policy_did_it() {
    let (provider, collector) = (Provider::start().await, Collector::start().await);
    provider.otherwise(Script::sse(samples::tools(Dialect::OpenaiChat, "Working.", &CALLS)));
    let policy = "policies: [{ name: no-tools, type: tool_filter, config: { deny: ['*'] } }]\n";
    let gateway = traced(Gateway::with(&provider).policy(policy), &collector).start().await;
    let answer = gateway.call(Version::Http2, Request::stream(Dialect::OpenaiChat)).await;
    assert_eq!(answer.status, 200);
    let spans = collector.trace(&[&["luthien.call", "luthien.response"], &ENVOYS[..]].concat()).await;
    let hooks = "        luthien.policy on_block\n".repeat(CALLS.len());
    assert_eq!(
        forest(&spans),
        format!(
            "ingress\n  async envoy.service.ext_proc.v3.ExternalProcessor.Process egress\n    luthien.call\n      luthien.request\n      chat test-model\n      \
             luthien.response\n{hooks}  router fake egress\n"
        )
    );
    let hook = named(&spans, "luthien.policy");
    for (name, expected) in
        [("luthien.policy.name", "no-tools"), ("luthien.policy.on", "tool_call"), ("luthien.policy.mode", "enforce")]
    {
        assert_eq!(hook.get(name), expected, "{name}");
    }
    assert!(["drop", "replace"].contains(&hook.get("luthien.policy.decision").as_str().unwrap_or_default()));
    let decided = named(&spans, "luthien.call").events.iter().filter(|(name, _)| name == "luthien.policy.decision");
    assert_eq!(decided.count(), CALLS.len());
    gateway.stop().await;
}

#[tokio::test]
async fn a_judge_that_takes_too_long_stands_below_the_hook_that_waited() {
    let (provider, judge, collector) = (Provider::start().await, Provider::start().await, Collector::start().await);
    provider.otherwise(Script::sse(samples::tools(Dialect::OpenaiChat, "Working.", &CALLS[..1])));
    judge.otherwise(Script::silence());
    let upstreams = format!(
        "- {{ name: fake, url: \"{}\", dialects: [openai_chat] }}\n\
         - {{ name: judges, url: \"{}\", dialects: [openai_chat], models: [no-client-asks-for-it] }}\n",
        provider.url(),
        judge.url()
    );
    let policy = "policies: [{ name: guard, type: tool_judge, timeout: 500ms, on_fault: closed, config: { judge: { \
                  upstream: judges, model: j-1 } } }]\n";
    let gateway = traced(Gateway::with(&provider).upstreams(&upstreams).policy(policy), &collector).start().await;
    gateway.call(Version::Http1, Request::stream(Dialect::OpenaiChat)).await;
    let spans = collector.trace(&[&["luthien.call", "luthien.response", "luthien.judge"], &ENVOYS[..]].concat()).await;
    assert_eq!(
        forest(&spans),
        "ingress\n  async envoy.service.ext_proc.v3.ExternalProcessor.Process egress\n    luthien.call !\n      luthien.request\n      chat test-model\n      \
         luthien.response\n        luthien.policy on_block !\n          luthien.judge !\n            chat j-1 !\n  \
         router fake egress\n"
    );
    let call = named(&spans, "luthien.call");
    assert_eq!(call.get("error.type"), "policy_fault");
    let told: Vec<&str> = call.events.iter().map(|(name, _)| &**name).collect();
    assert_eq!(told, ["luthien.judge.verdict", "luthien.policy.fault"]);
    // The judge is told of the span that stands for its work.
    let asked = judge.request(0).await;
    let work = named(&spans, "chat j-1");
    assert_eq!(header(&asked.headers, "traceparent"), format!("00-{}-{}-01", call.trace, work.id));
    assert_eq!(work.get("gen_ai.request.model"), "j-1");
    gateway.stop().await;
}

#[tokio::test]
async fn a_stall_is_an_error_of_the_call() {
    let (provider, collector) = (Provider::start().await, Collector::start().await);
    let stream = samples::open_text(Dialect::OpenaiResponses, &["Hel"]);
    provider.otherwise(Script::sse(stream).hang());
    let gateway = traced(Gateway::with(&provider).settings("timeouts: { stall: 500ms }"), &collector).start().await;
    gateway.call(Version::Http1, Request::stream(Dialect::OpenaiResponses)).await;
    let spans = collector.trace(&[&["luthien.call", "luthien.response"], &ENVOYS[..]].concat()).await;
    let expected = "ingress\n  async envoy.service.ext_proc.v3.ExternalProcessor.Process egress\n    luthien.call !\n      luthien.request\n      \
                    chat test-model !\n      luthien.response\n  router fake egress";
    assert!(forest(&spans).starts_with(expected), "{}", forest(&spans));
    let call = named(&spans, "luthien.call");
    assert_eq!((call.get("error.type"), call.get("luthien.outcome")), (&json!("stalled"), &json!("stalled")));
    let chat = named(&spans, "chat test-model");
    assert_eq!(chat.get("gen_ai.response.finish_reasons"), &json!(["error"]));
    assert!(call.took.as_millis() >= 500, "{:?}", call.took);
    gateway.stop().await;
}

#[tokio::test]
async fn a_collector_that_is_down_costs_nothing_and_is_reported_once() {
    let (provider, collector) = (Provider::start().await, Collector::start().await);
    provider.otherwise(Script::sse(samples::text(Dialect::OpenaiChat, &["Hello"])));
    let gateway = traced(Gateway::with(&provider), &collector).start().await;
    let endpoint = collector.endpoint();
    drop(collector);
    let reported = |gateway: &Gateway| gateway.output().matches("traces cannot be sent").count();
    for _ in 0..20 {
        let answer = gateway.call(Version::Http1, Request::stream(Dialect::OpenaiChat)).await;
        assert_eq!(answer.status, 200);
    }
    within(SOON, "the report", async {
        while reported(&gateway) == 0 {
            gateway.call(Version::Http1, Request::stream(Dialect::OpenaiChat)).await;
        }
    })
    .await;
    for _ in 0..20 {
        gateway.call(Version::Http1, Request::stream(Dialect::OpenaiChat)).await;
    }
    assert_eq!(reported(&gateway), 1);
    // It comes back, and is told of what happens from then on.
    let address = endpoint.trim_start_matches("http://");
    let listener = tokio::net::TcpListener::bind(address).await.expect("the port is free again");
    let collector = Collector::on(listener);
    let is_told = |gateway: &Gateway| gateway.output().contains("traces are sent again");
    let again = async {
        while collector.spans().iter().all(|span| span.name != "luthien.call") || !is_told(&gateway) {
            gateway.call(Version::Http1, Request::stream(Dialect::OpenaiChat)).await;
        }
    };
    within(SOON, "a trace", again).await;
    assert_eq!(gateway.output().matches("traces are sent again").count(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn messages_stand_in_traces_only_where_they_were_asked_for_and_without_credentials() {
    let (provider, collector) = (Provider::start().await, Collector::start().await);
    provider.otherwise(Script::json(samples::whole(
        Dialect::OpenaiChat,
        "The key is sk-live-ABCDEF0123456789abcd.",
        &[],
    )));
    let policy = "policies: [{ name: shout, type: string_replacement, config: { replacements: { The: THE } } }]\n";
    let gateway = traced(Gateway::with(&provider).policy(policy), &collector)
        .env("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
        .env("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
        .env("OTEL_SERVICE_NAME", "gateway-7")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        .start()
        .await;
    let body = json!({ "model": "m", "temperature": 0.5, "messages": [
        { "role": "system", "content": "be kind" },
        { "role": "user", "content": "my key is sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789" },
    ]});
    gateway.call(Version::Http1, Request::post("/v1/chat/completions", body.to_string())).await;
    let spans = collector.trace(&["luthien.call", "chat m"]).await;
    let chat = named(&spans, "chat m");
    assert_eq!((&*chat.service, chat.get("gen_ai.request.temperature")), ("gateway-7", &json!(0.5)));
    let read = |name: &str| chat.get(name).as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let input = read("gen_ai.input.messages").expect("the conversation");
    assert_eq!((&input[0]["parts"][0]["content"], &input[1]["role"]), (&json!("be kind"), &json!("user")));
    let output = read("gen_ai.output.messages").expect("the answer");
    assert!(output[0]["parts"][0]["content"].as_str().is_some_and(|text| text.starts_with("THE ")), "{output}");
    assert_eq!(output[0]["finish_reason"], "stop");
    for secret in ["sk-ant-api03", "ABCDEF0123456789", "abcdef0123456789"] {
        let holder = spans.iter().find(|span| format!("{span:?}").contains(secret));
        assert!(holder.is_none(), "{secret}: {holder:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_not_sampled_costs_nothing_and_is_told_to_nobody() {
    let (provider, collector) = (Provider::start().await, Collector::start().await);
    provider.otherwise(Script::sse(samples::text(Dialect::OpenaiChat, &["Hello"])));
    let gateway = traced(Gateway::with(&provider), &collector).env("OTEL_TRACES_SAMPLER", "always_off").start().await;
    // Envoy and Luthien both go by what the client decided, and otherwise by the sampler.
    let unsampled = TRACEPARENT.replace("-01", "-00");
    for traceparent in [Some(&*unsampled), None] {
        let request = Request::stream(Dialect::OpenaiChat);
        let request = traceparent.iter().fold(request, |request, value| request.header("traceparent", value));
        assert_eq!(gateway.call(Version::Http1, request).await.status, 200);
    }
    for number in 0..2 {
        let sent = provider.request(number).await;
        assert!(header(&sent.headers, "traceparent").ends_with("-00"), "{:?}", sent.headers);
    }
    // The last spans are sent before the process ends.
    gateway.stop().await;
    assert!(collector.spans().is_empty(), "{}", forest(&collector.spans()));
}

#[tokio::test]
async fn without_a_collector_the_clients_context_goes_through_as_it_is() {
    let provider = Provider::start().await;
    provider.otherwise(Script::sse(samples::text(Dialect::OpenaiChat, &["Hello"])));
    let gateway = Gateway::with(&provider).settings("log: { format: json }").start().await;
    let request = Request::stream(Dialect::OpenaiChat).header("traceparent", TRACEPARENT);
    let answer = gateway.call(Version::Http1, request).await;
    assert_eq!(header(&provider.request(0).await.headers, "traceparent"), TRACEPARENT);
    within(SOON, "the line of the call", async {
        while lines(&gateway, &call_id(&answer)).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(lines(&gateway, &call_id(&answer))[0]["trace_id"], TRACE);
    gateway.stop().await;
}

#[tokio::test]
async fn envoys_log_tells_the_call_and_envoys_metrics_have_a_listener() {
    let (provider, collector) = (Provider::start().await, Collector::start().await);
    provider.otherwise(Script::sse(samples::text(Dialect::Anthropic, &["Hello"])));
    let policy = "policies: [{ name: shout, type: uppercase }]\n";
    let stats = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it is bound");
    let gateway = traced(Gateway::with(&provider).policy(policy), &collector)
        .env("LUTHIEN_TELEMETRY_METRICS_ENVOY_LISTEN", &stats.to_string())
        .start()
        .await;
    let request = Request::stream(Dialect::Anthropic).header("traceparent", TRACEPARENT);
    let answer = gateway.call(Version::Http1, request).await;
    let logged = || {
        let file = std::fs::read_to_string(gateway.state_folder().join("envoy-access.log")).unwrap_or_default();
        file.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|line| line["call_id"].is_string())
    };
    let line = within(SOON, "the line of the access log", async {
        loop {
            if let Some(line) = logged() {
                return line;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!((&line["call_id"], &line["trace_id"]), (&json!(call_id(&answer)), &json!(TRACE)));
    for (name, expected) in [
        ("call_id", json!(call_id(&answer))),
        ("model", json!("test-model")),
        ("outcome", json!("completed")),
        ("policy", json!("shout")),
    ] {
        assert_eq!(line["luthien"][name], expected, "{name}: {line}");
    }
    for name in ["input_tokens", "output_tokens"] {
        assert!(line["luthien"][name].is_number(), "{name}: {line}");
    }
    let ask =
        |path: &'static str, method| crate::harness::client::send(Version::Http1, stats, Request::new(method, path));
    let metrics = ask("/stats/prometheus", "GET").await.finish().await;
    assert!(metrics.text().contains("envoy_http_downstream_rq_time_bucket"), "{}", metrics.status);
    for (path, method) in
        [("/", "GET"), ("/quitquitquit", "POST"), ("/config_dump", "GET"), ("/stats/prometheus", "POST")]
    {
        assert_eq!(ask(path, method).await.finish().await.status, 404, "{method} {path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn one_call_takes_neither_the_spans_nor_the_memory_of_others() {
    let (provider, collector) = (Provider::start().await, Collector::start().await);
    provider.otherwise(Script::sse(samples::text(Dialect::OpenaiChat, &["Hello"])));
    let gateway =
        traced(Gateway::with(&provider), &collector).settings("limits: { request_body: 32MiB }").start().await;
    let long = "x".repeat(5 << 20);
    let body = json!({ "model": format!("m\n\u{1b}[2J{long}"), "stream": true, "stop": [long, "sk-live-ABCDEF0123456789abcd"],
        "reasoning_effort": long, "messages": [{ "role": "user", "content": "hi" }] });
    let request = Request::post("/v1/chat/completions", body.to_string())
        .header("x-session-id", "sk-test-client")
        .header("tracestate", &format!("a={}", "y".repeat(20_000)))
        .header("traceparent", TRACEPARENT);
    assert_eq!(gateway.call(Version::Http1, request).await.status, 200);
    let spans = collector.trace(&["luthien.call", "luthien.response", "ingress"]).await;
    for span in &spans {
        let told = format!("{span:?}");
        assert!(told.len() < 40_000, "{} has {} bytes", span.name.len(), told.len());
        for secret in ["ABCDEF0123456789", "sk-test-client"] {
            assert!(!told.contains(secret), "{secret} in {told}");
        }
    }
    let line = gateway.output().lines().map(str::len).max();
    assert!(line.is_some_and(|longest| longest < 20_000), "a line of {line:?} bytes");
    gateway.stop().await;
}

#[tokio::test]
async fn an_answer_without_its_end_is_an_error_of_the_providers_work() {
    let (provider, collector) = (Provider::start().await, Collector::start().await);
    provider.otherwise(Script::sse(samples::open_text(Dialect::Anthropic, &["Hel", "lo"])));
    let gateway = traced(Gateway::with(&provider), &collector).start().await;
    gateway.call(Version::Http1, Request::stream(Dialect::Anthropic)).await;
    let spans = collector.trace(&["luthien.call", "chat test-model"]).await;
    let chat = named(&spans, "chat test-model");
    assert!(chat.is_error);
    assert_eq!(
        (chat.get("error.type"), chat.get("gen_ai.response.finish_reasons")),
        (&json!("truncated"), &json!(["error"]))
    );
    gateway.stop().await;
}

#[tokio::test]
async fn what_the_client_decided_counts_where_the_sampler_asks_for_it() {
    let (provider, collector) = (Provider::start().await, Collector::start().await);
    provider.otherwise(Script::sse(samples::text(Dialect::OpenaiChat, &["Hello"])));
    let gateway =
        traced(Gateway::with(&provider), &collector).env("OTEL_TRACES_SAMPLER", "parentbased_always_off").start().await;
    gateway.call(Version::Http1, Request::stream(Dialect::OpenaiChat)).await;
    gateway.call(Version::Http1, Request::stream(Dialect::OpenaiChat).header("traceparent", TRACEPARENT)).await;
    let spans = collector.trace(&[&["luthien.call"], &ENVOYS[..]].concat()).await;
    assert!(spans.iter().all(|span| span.trace == TRACE), "{}", forest(&spans));
    assert!(collector.spans().iter().all(|span| span.trace == TRACE), "{}", forest(&collector.spans()));
    gateway.stop().await;
}

#[tokio::test]
async fn a_failure_is_told_once() {
    let collector = Collector::start().await;
    let gateway = traced(Builder::at("http://127.0.0.1:1"), &collector).start().await;
    let answer = gateway.call(Version::Http1, Request::stream(Dialect::OpenaiChat)).await;
    assert_eq!(answer.status, 502);
    let spans = collector.trace(&["luthien.call", "chat test-model"]).await;
    let call = named(&spans, "luthien.call");
    assert!(call.is_error);
    assert_eq!(
        (call.get("error.type"), call.get("luthien.outcome")),
        (&json!("upstream_error"), &json!("upstream_error"))
    );
    gateway.stop().await;
}
