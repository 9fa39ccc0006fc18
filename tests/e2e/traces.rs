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
    let policy = "policies: [{ name: shout, type: uppercase }]\n";
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
    assert!(lines.iter().any(|line| line["message"] == "call"), "{lines:?}");
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
