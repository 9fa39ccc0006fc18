//! Every way on which a request's headers leave, where Envoy sends bodies by itself and where it has to be asked.

use envoy_types::pb::envoy::{
    extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode,
    service::ext_proc::v3::ProtocolConfiguration,
};
use serde_json::Value;

use super::*;
use crate::policy::{Demand, Entry, Factory, Mode, OnFault, Selector, Stateful, When};

/// How the headers of a request leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    /// With bodies that come here.
    Read,
    /// Without.
    Unread,
    Never,
}

/// A request.
struct Asks {
    method: &'static str,
    path: &'static str,
    /// More headers.
    headers: &'static [(&'static str, &'static str)],
    /// `None`: the headers are all.
    body: Option<&'static str>,
}

const CALL: &str = r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#;

const fn post(path: &'static str, body: &'static str) -> Asks {
    Asks { method: "POST", path, headers: &[], body: Some(body) }
}

const fn get(path: &'static str) -> Asks {
    Asks { method: "GET", path, headers: &[], body: None }
}

fn config(request: BodySendMode, response: BodySendMode) -> ProtocolConfiguration {
    ProtocolConfiguration {
        request_body_mode: request.into(),
        response_body_mode: response.into(),
        ..ProtocolConfiguration::default()
    }
}

/// What Envoy is told of this request, up to its release, and how the stream ended if it did.
async fn told(
    settings: Value,
    rules: Rules,
    config: ProtocolConfiguration,
    asks: &Asks,
) -> Vec<Result<ProcessingResponse, Status>> {
    let (gateway, _drain) = gateway_of(settings, rules);
    let (messages, mut call) = connected(&gateway);
    let pairs =
        [(":method", asks.method), (":path", asks.path), ("content-length", "7"), ("authorization", "Bearer sk-x")];
    let pairs = [&pairs, asks.headers].concat();
    let head = HttpHeaders { end_of_stream: asks.body.is_none(), ..headers(&pairs) };
    let first = ProcessingRequest {
        request: Some(Incoming::RequestHeaders(head)),
        protocol_config: Some(config),
        ..ProcessingRequest::default()
    };
    messages.send(in_frame(&first)).await.unwrap();
    let mut replies = Vec::new();
    let mut body = asks.body.map(|text| framed(Incoming::RequestBody(super::body(text.as_bytes(), true))));
    loop {
        let quiet = tokio::time::timeout(Duration::from_millis(1), call.next()).await;
        match quiet {
            Ok(Some(Ok(reply))) => replies.push(Ok(reply)),
            Ok(Some(Err(status))) => {
                replies.push(Err(status));
                return replies;
            }
            Ok(None) => return replies,
            Err(_) => {
                // Envoy sends what it was asked for, or sends by itself.
                let comes = config.request_body_mode() == BodySendMode::FullDuplexStreamed
                    || replies.iter().flatten().any(|reply| reply.mode_override.is_some());
                match body.take().filter(|_| comes) {
                    Some(body) => messages.send(body).await.unwrap(),
                    None => return replies,
                }
            }
        }
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

#[test]
fn no_request_leaves_before_its_bodies_were_asked_for_unless_a_setting_lets_it_pass() {
    use Leaves::{Never, Read, Unread};
    let gzip: &[(&str, &str)] = &[("content-encoding", "gzip")];
    let form: &[(&str, &str)] = &[("content-type", "multipart/form-data")];
    let anthropic: &[(&str, &str)] = &[("anthropic-version", "2023-06-01")];
    let all = "[openai_chat, openai_responses, anthropic_messages]";
    let refuse = "unreadable: refuse";
    let pass = "unreadable: pass";
    let cases = [
        (all, refuse, post("/v1/chat/completions", CALL), Read),
        (all, refuse, post("/v1/messages?beta=true", CALL), Read),
        (all, refuse, post("/v1/responses", r#"{"model":"m","input":"hi"}"#), Read),
        (all, refuse, post("/v1/messages/count_tokens", CALL), Read),
        (all, refuse, get("/v1/responses/resp_1"), Read),
        // Converted.
        ("[openai_chat]", refuse, post("/v1/messages", CALL), Read),
        ("[anthropic_messages]", refuse, post("/v1/chat/completions", CALL), Read),
        // What cannot be read.
        (all, refuse, Asks { headers: gzip, ..post("/v1/messages", CALL) }, Never),
        (all, pass, Asks { headers: gzip, ..post("/v1/messages", CALL) }, Unread),
        ("[openai_chat]", pass, Asks { headers: gzip, ..post("/v1/messages", CALL) }, Never),
        (all, refuse, Asks { headers: form, ..post("/v1/messages", CALL) }, Never),
        (all, pass, Asks { headers: form, ..post("/v1/messages", CALL) }, Read),
        (all, refuse, post("/v1/messages", "{"), Never),
        (all, pass, post("/v1/messages", "{"), Read),
        (all, refuse, post("/v1/messages", ""), Never),
        // What no dialect covers.
        (all, refuse, get("/v1/models"), Unread),
        ("[openai_chat]", refuse, Asks { headers: anthropic, ..get("/v1/models") }, Read),
        (all, refuse, post("/v1/files", "{}"), Never),
        (all, "unpoliced: { otherwise: pass }", post("/v1/files", "{}"), Unread),
        (all, "unpoliced: { otherwise: pass }", post("/v1/messages/", CALL), Never),
        (all, "unpoliced: { otherwise: pass }", post("/V1/Messages", CALL), Never),
        // What nothing has to read.
        (all, "unpoliced: { calls: pass }", post("/v1/messages", CALL), Unread),
        (all, "unpoliced: { calls: pass }", get("/v1/responses/resp_1"), Unread),
        (all, "unpoliced: { calls: pass }", post("/v1/messages/", CALL), Never),
        ("[openai_chat]", "unpoliced: { calls: pass }", post("/v1/messages", CALL), Read),
    ];
    let full = BodySendMode::FullDuplexStreamed;
    let bases = [config(full, full), config(BodySendMode::None, BodySendMode::None)];
    for ((dialects, more, asks, expected), base) in cases.iter().flat_map(|case| bases.map(|base| (case, base))) {
        let settings: Value = crate::config::document::Document::parse(
            "t",
            format!("upstreams: [{{ name: fake, url: 'http://127.0.0.1:1', dialects: {dialects} }}]\n{more}\n"),
        )
        .unwrap()
        .value;
        let replies: Vec<_> =
            run(told(settings, Rules::default(), base, asks)).into_iter().map(Result::unwrap).collect();
        let context = format!("{} {} with {more} and {dialects}, {base:?}: {replies:#?}", asks.method, asks.path);
        let asked = replies.iter().position(|reply| reply.mode_override.is_some());
        let left = replies.iter().position(|reply| matches!(reply.response, Some(Outgoing::RequestHeaders(_))));
        assert_eq!(left.is_some(), *expected != Never, "{context}");
        let Some(left) = left else { continue };
        let on_demand = base.request_body_mode() == BodySendMode::None;
        assert_eq!(asked.is_some(), on_demand && *expected == Read, "{context}");
        assert!(asked.is_none_or(|asked| asked < left && replies[asked].response.is_none()), "{context}");
        let Some(Outgoing::RequestHeaders(told)) = &replies[left].response else { unreachable!() };
        let changes = told.response.as_ref().and_then(|common| common.header_mutation.as_ref()).unwrap();
        let length_goes = changes.remove_headers.iter().any(|name| name == "content-length");
        assert_eq!(length_goes, asked.is_some(), "{context}");
    }
}

/// A policy that runs on these calls.
fn selecting(selector: Selector) -> Entry {
    struct Nothing;
    impl crate::policy::Policy for Nothing {}
    struct Nobody;
    impl Factory for Nobody {
        fn begin(&self, _: &CallHead) -> Box<dyn crate::policy::Policy> {
            Box::new(Nothing)
        }
    }
    Entry {
        name: "one".into(),
        kind: "nothing",
        factory: Arc::new(Nobody),
        selects: Arc::new(selector),
        mode: Mode::Enforce,
        on_fault: OnFault::Closed,
        timeout: Duration::from_secs(1),
        record: None,
    }
}

#[test]
fn calls_pass_only_where_nothing_can_read_them() {
    let named = |name: &str| Some(vec![name.to_owned()]);
    let when = || Some(When::compile("call.model == 'another'").unwrap());
    let globs =
        |glob: &str| Some(globset::GlobSetBuilder::new().add(globset::Glob::new(glob).unwrap()).build().unwrap());
    let rules = |selector: Selector| Rules { entries: vec![selecting(selector)], ..Rules::default() };
    for (what, rules, passes) in [
        ("no rules", Rules::default(), true),
        ("every call", rules(Selector::default()), false),
        ("another dialect", rules(Selector { dialects: named("openai_chat"), ..Selector::default() }), true),
        ("another upstream", rules(Selector { upstreams: named("another"), ..Selector::default() }), true),
        ("another path", rules(Selector { paths: globs("/v1/chat/*"), ..Selector::default() }), true),
        ("this path", rules(Selector { paths: globs("/v1/*"), ..Selector::default() }), false),
        ("a client", rules(Selector { clients: globs("*"), ..Selector::default() }), true),
        // What only the body says.
        ("another model", rules(Selector { models: globs("another"), ..Selector::default() }), false),
        ("another by its expression", rules(Selector { when: when(), ..Selector::default() }), false),
        ("a policy has to run", Rules { demand: Demand::Policy, ..Rules::default() }, false),
        ("nothing is kept", Rules { stateful: Stateful::RequireStateless, ..Rules::default() }, false),
    ] {
        let settings = json!({
            "upstreams": [{ "name": "fake", "url": "http://127.0.0.1:1", "dialects": ["anthropic_messages"] }],
            "unpoliced": { "calls": "pass" },
        });
        let none = config(BodySendMode::None, BodySendMode::None);
        let replies = run(told(settings, rules, none, &post("/v1/messages", CALL)));
        let asked = replies.iter().flatten().any(|reply| reply.mode_override.is_some());
        assert_eq!(asked, !passes, "{what}: {replies:?}");
    }
}

#[test]
fn a_mode_in_which_bodies_could_pass_ends_the_call() {
    let settings =
        json!({ "upstreams": [{ "name": "fake", "url": "http://127.0.0.1:1", "dialects": ["openai_chat"] }] });
    let (none, full, streamed) = (BodySendMode::None, BodySendMode::FullDuplexStreamed, BodySendMode::Streamed);
    for (request, response) in [(streamed, streamed), (none, full), (full, none), (full, streamed)] {
        let replies = run(told(
            settings.clone(),
            Rules::default(),
            config(request, response),
            &post("/v1/chat/completions", CALL),
        ));
        let [Err(status)] = replies.as_slice() else { panic!("{replies:?}") };
        assert!(status.message().contains("set both to"), "{status:?}");
    }
}
