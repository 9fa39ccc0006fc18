//! The live activity: what happens, told as server-sent events while it happens.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::{
    common::streams::Dialect,
    fakes::{
        provider::Provider,
        script::{Gate, Script},
    },
    harness::{
        SOON,
        client::{Request, Response, Version},
        gateway::Gateway,
        redis::Redis,
        samples::{self, CALLS},
        within,
    },
};

const SCHEMA: &str = include_str!("../../config/schema/activity.schema.json");
const SECRETS: [&str; 3] = ["sk-planted-in-a-header", "sk-planted-in-a-body", "words of the model"];

/// What was told, event by event, each held against the schema.
struct Told {
    stream: Response,
    text: String,
}

impl Told {
    async fn open(gateway: &Gateway, query: &str) -> Self {
        Self::open_behind(gateway, query, "").await
    }

    async fn open_behind(gateway: &Gateway, query: &str, last: &str) -> Self {
        let mut request = Request::new("GET", &format!("/activity/stream{query}"));
        if !last.is_empty() {
            request = request.header("last-event-id", last);
        }
        let stream = gateway.send_admin(request).await;
        Self { stream, text: String::new() }
    }

    /// The next event: its id, its type, what it says.
    async fn next(&mut self) -> (String, String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let read = field("data: ").map(|data| (field("id: "), field("event: "), data));
                self.text = rest.to_owned();
                let Some((Some(id), Some(kind), data)) = read else { continue };
                let data: Value = serde_json::from_str(&data).unwrap();
                let schema = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
                assert!(schema.is_valid(&data), "{data} {:?}", schema.iter_errors(&data).collect::<Vec<_>>());
                assert_eq!(data["type"], kind);
                return (id, kind, data);
            }
            let piece = self.stream.piece().await.unwrap();
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// Everything up to the first event of this type, with it.
    async fn until(&mut self, kind: &str) -> Vec<(String, String, Value)> {
        let mut all = vec![self.next().await];
        while all.last().is_some_and(|(_, last, _)| last != kind) {
            all.push(self.next().await);
        }
        all
    }
}

fn kinds(events: &[(String, String, Value)]) -> Vec<&str> {
    events.iter().map(|(_, kind, _)| kind.as_str()).collect()
}

fn request(dialect: Dialect) -> Request {
    let mut body = json!({
        "model": "test-model", "max_tokens": 10, "stream": true,
        "messages": [{ "role": "user", "content": SECRETS[1] }],
    });
    if dialect == Dialect::OpenaiResponses {
        body = json!({ "model": "test-model", "store": false, "stream": true, "input": SECRETS[1] });
    }
    Request::post(dialect.path(), body.to_string())
        .header("x-api-key", SECRETS[0])
        .header("authorization", &format!("Bearer {}", SECRETS[0]))
        .header("x-claude-code-session-id", "session-7")
}

#[tokio::test]
async fn a_call_is_told_from_its_beginning_to_its_end() {
    let provider = Provider::start().await;
    let policy = "policies:\n\
        - { name: filter, type: tool_filter, config: { deny: [rm_tree] } }\n\
        - { name: trial, type: uppercase, mode: shadow }\n";
    // With `full`, what stands in texts is told as well.
    let gateway = Gateway::with(&provider).policy(policy).settings("recording: { level: metadata }").start().await;
    let mut told = Told::open(&gateway, "").await;
    for dialect in Dialect::ALL {
        provider.expect(Script::sse(samples::tools(dialect, SECRETS[2], &CALLS)));
        let answer = gateway.call(Version::Http1, request(dialect)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let events = told.until("call.closed").await;
        let text = format!("{events:?}");
        assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
        let mut found = kinds(&events);
        // What policies decide comes when they do.
        let decided: Vec<_> = events.iter().filter(|(_, kind, _)| kind == "policy.decided").collect();
        found.retain(|kind| !kind.starts_with("policy.decided") && *kind != "policy.emitted");
        let wanted = [
            "call.opened",
            "request.received",
            "policy.started",
            "policy.started",
            "request.sent",
            "response.started",
            "response.sent",
            "call.closed",
        ];
        assert_eq!(found, wanted, "{events:#?}");
        let says = |policy: &str, on: &str, decision: &str, shadow: bool| {
            decided.iter().any(|(_, _, said)| {
                said["policy"] == policy && said["on"] == on && said["decision"] == decision && said["shadow"] == shadow
            })
        };
        assert!(says("trial", "text", "edit", true), "{decided:#?}");
        assert!(
            decided.iter().any(|(_, _, said)| said["policy"] == "filter" && said["shadow"] == false),
            "{decided:#?}"
        );
        let ids: Vec<_> = events.iter().map(|(_, _, said)| said["call_id"].as_str().unwrap_or_default()).collect();
        assert!(ids.iter().all(|id| *id == ids[0] && !id.is_empty()), "{ids:?}");
        assert_eq!(Some(ids[0]), answer.header("x-luthien-call-id"));
        let (_, _, opened) = &events[0];
        assert_eq!((&opened["path"], &opened["model"]), (&dialect.path().into(), &Value::Null));
        let (_, _, received) = &events[1];
        assert_eq!((&received["session_id"], &received["stream"]), (&"session-7".into(), &true.into()));
        let (_, _, closed) = events.last().unwrap();
        assert_eq!(
            (&closed["outcome"], &closed["upstream"], &closed["status"]),
            (&"completed".into(), &"fake".into(), &200.into())
        );
        // Chat tells usage only to those who ask for it.
        let output = if dialect == Dialect::OpenaiChat { Value::Null } else { 5.into() };
        assert_eq!((&closed["model"], &closed["usage"]["output"]), (&"test-model".into(), &output), "{closed}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn it_is_told_while_it_happens_and_only_what_is_asked_for() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy("policies: [{ name: upper, type: uppercase }]").start().await;
    let mut all = Told::open(&gateway, "").await;
    let mut some = Told::open(&gateway, "?model=test-*&event_type=policy.decided,call.closed").await;
    let mut none = Told::open(&gateway, "?model=other").await;
    let gate = Gate::new();
    let (text, open) = samples::Text::open(Dialect::Anthropic, &["hello"]);
    provider.expect(Script::sse(open).wait(&gate).then(text.close()));
    let answer = gateway.send(Version::Http1, request(Dialect::Anthropic)).await;
    // The answer is still on its way.
    let before = all.until("policy.decided").await;
    assert_eq!(before.last().unwrap().2["policy"], "upper");
    gate.open();
    answer.finish().await;
    let after = all.until("call.closed").await;
    assert_eq!(kinds(&some.until("call.closed").await), ["policy.decided", "call.closed"]);

    // Who comes back reads what came in between, and nothing twice.
    let mut back = Told::open_behind(&gateway, "", &before.last().unwrap().0).await;
    assert_eq!(back.until("call.closed").await, after);
    let mut stranger = Told::open_behind(&gateway, "", "1-1").await;
    assert_eq!(stranger.next().await.1, "gap");
    assert_eq!(stranger.next().await, before[0]);

    // New rules are told to everybody who asks for them.
    fs::write(gateway.rules(), "policies: []\n").unwrap();
    let reloaded = all.until("rules.reloaded").await;
    assert_ne!(reloaded.last().unwrap().2["rules"], after.last().unwrap().2["rules"]);
    fs::write(gateway.rules(), "policies: [{}]\n").unwrap();
    let rejected = all.until("rules.rejected").await;
    assert!(rejected.last().unwrap().2["error"].as_str().is_some_and(|error| error.contains("policy.yaml")));
    provider.expect(Script::sse(samples::text(Dialect::OpenaiChat, &["x"])));
    gateway.call(Version::Http1, Request::call(Dialect::OpenaiChat, "other", true)).await;
    assert_eq!(kinds(&none.until("call.closed").await)[0], "request.received");

    let wrong = gateway.admin(Request::new("GET", "/activity/stream?event_type=calls")).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.json()["error"].as_str().unwrap().contains("call.opened"), "{}", wrong.text());
    let foreign = Request::new("GET", "/activity/stream").header("host", "evil.example");
    assert_eq!(gateway.admin(foreign).await.status, 403);
    gateway.stop().await;
}

#[tokio::test]
async fn every_replica_tells_what_happens_on_every_replica_once() {
    let mut redis = Redis::start();
    let provider = Provider::start().await;
    provider.otherwise(Script::sse(samples::text(Dialect::OpenaiChat, &["x"])));
    let replica =
        || Gateway::with(&provider).settings(&redis.settings()).env("REDIS_PASSWORD", Redis::PASSWORD).start();
    let (one, two) = (replica().await, replica().await);
    let mut told =
        [Told::open(&one, "?event_type=call.closed").await, Told::open(&two, "?event_type=call.closed").await];
    let ask = async |gateway: &Gateway| {
        let answer = gateway.call(Version::Http1, request(Dialect::OpenaiChat)).await;
        answer.header("x-luthien-call-id").unwrap().to_owned()
    };
    // A replica hears the others a moment after it has started.
    let mut calls = vec![ask(&one).await];
    let probe = async {
        loop {
            calls.push(ask(&one).await);
            let next = tokio::time::timeout(Duration::from_millis(100), told[1].next()).await;
            if let Ok((_, _, said)) = next {
                return said["call_id"].as_str().unwrap().to_owned();
            }
        }
    };
    let first = within(SOON, "the first event of the other replica", probe).await;
    calls.push(ask(&two).await);
    calls.push(ask(&one).await);
    let last = calls.last().unwrap().clone();
    let mut heard = [Vec::new(), vec![first]];
    for (told, heard) in told.iter_mut().zip(&mut heard) {
        while heard.last() != Some(&last) {
            let (_, _, said) = told.next().await;
            assert!(said["replica"].is_string(), "{said}");
            heard.push(said["call_id"].as_str().unwrap().to_owned());
        }
        let from = calls.iter().position(|call| *call == heard[0]).unwrap();
        let mut all = calls[from..].to_vec();
        // What happens on two replicas has no order.
        all.sort_unstable();
        heard.sort_unstable();
        assert_eq!(*heard, all);
    }

    redis.kill();
    let alone = ask(&one).await;
    assert_eq!(told[0].next().await.2["call_id"], alone.as_str());
    redis.revive();
    let back = async {
        loop {
            let call = ask(&one).await;
            told[0].next().await;
            let next = tokio::time::timeout(Duration::from_millis(100), told[1].next()).await;
            if let Ok((_, kind, _)) = next {
                assert_eq!(kind, "gap", "what was told in between is missing, and it shows: {call}");
                return;
            }
        }
    };
    within(Duration::from_mins(1), "events of the other replica, once Redis is back", back).await;
    for gateway in [one, two] {
        assert!(!gateway.output().contains(Redis::PASSWORD));
        gateway.stop().await;
    }
}

#[tokio::test]
async fn what_ends_badly_is_told_as_well() {
    let provider = Provider::start().await;
    let settings = "timeouts: { stall: 300ms }\n";
    let policy = "policies: [{ name: words, type: blocked_content, config: { patterns: [falcon], on_match: refuse } }]";
    let gateway = Gateway::with(&provider).settings(settings).policy(policy).start().await;
    let mut told = Told::open(&gateway, "?event_type=stream.stalled,policy.decided,call.closed").await;
    provider.expect(Script::sse(samples::text(Dialect::OpenaiChat, &["a falcon"])));
    gateway.call(Version::Http1, request(Dialect::OpenaiChat)).await;
    let refused = told.until("call.closed").await;
    assert_eq!(refused[0].2["decision"], "refuse");
    assert_eq!(refused[1].2["outcome"], "refused");
    let (_, open) = samples::Text::open(Dialect::OpenaiChat, &["a"]);
    provider.expect(Script::sse(open).hang());
    gateway.call(Version::Http1, request(Dialect::OpenaiChat)).await;
    let stalled = told.until("call.closed").await;
    assert_eq!(kinds(&stalled), ["stream.stalled", "call.closed"]);
    assert_eq!(stalled[1].2["outcome"], "stalled");
    gateway.stop().await;
}
