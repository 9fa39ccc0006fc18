//! Hooks that panic, fail, take their time or answer themselves: what the client sees, through a real Envoy.

use std::{
    future::pending,
    sync::LazyLock,
    time::{Duration, Instant},
};

use bytes::Bytes;
use luthien::{
    model::{Block, BlockHead, Refusal, RefusalForm, Request as LlmRequest},
    policy::{BlockText, Context, Edits, Entry, Fate, Halt, Mode, OnFault, Outcome, Policy, Step, Watch, fault},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{End, Request, Version},
        errors,
        inside::{Inside, entry},
        samples::{self, Text},
        sse,
    },
};

/// Far above what any test here needs.
const PATIENT: Duration = Duration::from_mins(1);
/// A hook's limit that is soon reached.
const SHORT: Duration = Duration::from_millis(300);

/// Passes two deltas and fails at the third.
struct FailsAtThird {
    seen: u32,
    how: fn() -> Outcome<usize>,
}

impl Policy for FailsAtThird {
    fn on_block_start(&mut self, _: &mut Context<'_>, _: &BlockHead) -> Watch {
        Watch::Deltas
    }

    fn on_delta(&mut self, _: &mut Context<'_>, block: &BlockText<'_>, _: &mut Edits) -> Outcome<usize> {
        self.seen += 1;
        if self.seen == 3 {
            return (self.how)();
        }
        Ok(block.text.len())
    }
}

fn panics() -> Outcome<usize> {
    panic!("a secret of the policy");
}

fn fails() -> Outcome<usize> {
    Err(fault("a secret of the policy"))
}

fn refuses() -> Outcome<usize> {
    Err(Halt::Refuse(Refusal::new("", "Not this.")))
}

fn refuses_politely() -> Outcome<usize> {
    Err(Halt::Refuse(Refusal { form: RefusalForm::Message, ..Refusal::new("", "Let us talk of other things.") }))
}

/// Holds each block for as long as its future takes.
struct Holds(fn() -> Step<Fate>);

impl Policy for Holds {
    fn on_block_start(&mut self, _: &mut Context<'_>, _: &BlockHead) -> Watch {
        Watch::Whole
    }

    fn on_block(&mut self, _: &mut Context<'_>, _: Block) -> Step<Fate> {
        (self.0)()
    }
}

/// Does something to the request.
struct OnRequest(fn(LlmRequest) -> Step<LlmRequest>);

impl Policy for OnRequest {
    fn on_request(&mut self, _: &mut Context<'_>, request: LlmRequest) -> Step<LlmRequest> {
        (self.0)(request)
    }
}

async fn failing(provider: &Provider, on_fault: OnFault, how: fn() -> Outcome<usize>) -> Inside {
    let policy = entry(on_fault, PATIENT, move || Box::new(FailsAtThird { seen: 0, how }));
    Inside::start(provider, json!({}), vec![policy]).await
}

/// Fails unless these are the events of `sent`, with keepalives among them and numbers without a gap.
///
/// In Responses a keepalive is an event that tells again that the answer is in progress, because clients count no comments.
fn told_again(body: &Bytes, sent: &str) {
    let numberless = |body: &Bytes| -> Vec<Value> {
        let mut events: Vec<Value> = sse::events(body).iter().map(sse::Event::json).collect();
        for (number, event) in events.iter_mut().enumerate() {
            assert_eq!(event["sequence_number"].take(), number, "{event}");
        }
        events
    };
    let (mut events, sent) = (numberless(body), numberless(&Bytes::from(sent.to_owned())));
    let before = events.len();
    let keepalive = sent[1].clone();
    assert_eq!(keepalive["type"], "response.in_progress");
    let mut first = true;
    events.retain(|event| *event != keepalive || std::mem::take(&mut first));
    assert!(before - events.len() >= 3, "no keepalives: {events:?}");
    assert_eq!(events, sent);
}

const PIECES: [&str; 4] = ["one ", "two ", "forbidden ", "four"];

#[tokio::test]
async fn a_hook_that_panics_or_fails_ends_the_stream_with_an_error() {
    for how in [panics as fn() -> Outcome<usize>, fails] {
        let provider = Provider::start().await;
        let gateway = failing(&provider, OnFault::Closed, how).await;
        for version in Version::BOTH {
            for dialect in Dialect::ALL {
                provider.expect(Script::sse_in_pieces(samples::text(dialect, &PIECES).as_bytes(), 100));
                let answer = gateway.call(version, Request::stream(dialect)).await;
                let told = errors::at_end(dialect, &answer);
                assert!(told.message.contains("test-policy") && !told.message.contains("secret"), "{told:?}");
                let kind = if dialect == Dialect::Anthropic { "api_error" } else { "server_error" };
                assert_eq!(told.kind, kind);
                let text = answer.text();
                assert!(text.contains("two") && !text.contains("forbidden") && !text.contains("four"), "{text}");
            }
        }
        assert!(gateway.metrics().contains("policy_fault"), "{}", gateway.metrics());
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_hook_that_fails_open_is_left_out() {
    for how in [panics as fn() -> Outcome<usize>, fails] {
        let provider = Provider::start().await;
        let gateway = failing(&provider, OnFault::Open, how).await;
        for dialect in Dialect::ALL {
            let body = samples::text(dialect, &PIECES);
            provider.expect(Script::sse_in_pieces(body.as_bytes(), 100));
            let answer = gateway.call(Version::Http1, Request::stream(dialect)).await;
            assert_eq!((answer.status, &answer.end, answer.text()), (200, &End::Clean, body));
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_hook_that_fails_before_the_answer_is_an_http_error_without_retries() {
    let provider = Provider::start().await;
    let hooks: [fn(LlmRequest) -> Step<LlmRequest>; 3] =
        [|_| panic!("a secret"), |_| Step::Ready(Err(fault("a secret"))), |_| Step::later(pending())];
    for hook in hooks {
        let policy = entry(OnFault::Closed, SHORT, move || Box::new(OnRequest(hook)));
        let gateway = Inside::start(&provider, json!({}), vec![policy]).await;
        for dialect in Dialect::ALL {
            for request in [Request::stream(dialect), Request::whole(dialect)] {
                let answer = gateway.call(Version::Http1, request).await;
                assert_eq!((answer.status, answer.header("x-should-retry")), (500, Some("false")), "{}", answer.text());
                assert!(!errors::in_body(dialect, &answer).message.contains("secret"));
            }
        }
        gateway.stop().await;
    }
    assert!(provider.requests().is_empty(), "the provider was asked all the same");
}

#[tokio::test]
async fn a_hook_over_its_limit_is_a_fault_and_no_stall() {
    let provider = Provider::start().await;
    let timeouts = json!({ "stall": "100ms", "keepalive": "50ms" });
    let policy = entry(OnFault::Closed, 3 * SHORT, || Box::new(Holds(|| Step::later(pending()))));
    let gateway = Inside::start(&provider, timeouts, vec![policy]).await;
    for version in Version::BOTH {
        for dialect in Dialect::ALL {
            provider.expect(Script::sse(samples::text(dialect, &PIECES)));
            let answer = gateway.call(version, Request::stream(dialect)).await;
            let told = errors::at_end(dialect, &answer);
            assert!(told.message.contains("test-policy"), "{told:?}");
            assert!(!answer.text().contains("one"), "what was held has left: {}", answer.text());
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn time_in_a_hook_never_counts_as_a_stall_and_keepalives_bridge_it() {
    let provider = Provider::start().await;
    let timeouts = json!({ "stall": "400ms", "keepalive": "100ms" });
    let slow = || {
        Step::later(async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            Ok(Fate::Keep)
        })
    };
    let policy = entry(OnFault::Closed, PATIENT, move || Box::new(Holds(slow)));
    let gateway = Inside::start(&provider, timeouts, vec![policy]).await;
    for version in Version::BOTH {
        for dialect in Dialect::ALL {
            let body = samples::text(dialect, &PIECES);
            provider.expect(Script::sse(body.clone()));
            let start = Instant::now();
            let answer = gateway.call(version, Request::stream(dialect)).await;
            assert!(start.elapsed() >= Duration::from_millis(1500));
            let text = answer.text();
            assert_eq!(answer.end, End::Clean, "{text}");
            let keepalive = match dialect {
                Dialect::Anthropic => "event: ping\ndata: {\"type\":\"ping\"}\n\n",
                Dialect::OpenaiChat => ": keepalive\n\n",
                Dialect::OpenaiResponses => {
                    told_again(&answer.body, &body);
                    continue;
                }
            };
            assert!(text.matches(keepalive).count() >= 3, "no keepalives: {text}");
            assert_eq!(text.replace(keepalive, ""), body);
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_refusal_in_mid_stream_is_an_error_or_a_polite_end() {
    let provider = Provider::start().await;
    for (how, polite) in [(refuses as fn() -> Outcome<usize>, false), (refuses_politely, true)] {
        let gateway = failing(&provider, OnFault::Closed, how).await;
        for dialect in Dialect::ALL {
            // A pause, so that something has left before the refusal.
            let (mut said, first) = Text::open(dialect, &PIECES[..2]);
            let rest = said.delta(PIECES[2]);
            provider.expect(Script::sse(first).pause(SHORT).then(rest).hang());
            let answer = gateway.call(Version::Http1, Request::stream(dialect)).await;
            let text = answer.text();
            assert!(text.contains("two") && !text.contains("forbidden"), "{text}");
            if polite {
                let end = match dialect {
                    Dialect::Anthropic => "\"type\":\"message_stop\"",
                    Dialect::OpenaiChat => "[DONE]",
                    Dialect::OpenaiResponses => "\"status\":\"completed\"",
                };
                assert_eq!(answer.end, End::Clean);
                assert!(text.contains("Let us talk of other things.") && text.contains(end), "{text}");
            } else {
                let told = errors::at_end(dialect, &answer);
                assert!(told.message.contains("Not this."), "{text}");
                // What clients show, and do not take for a reason to try again.
                let kind = match dialect {
                    Dialect::Anthropic => "permission_error",
                    Dialect::OpenaiChat => "invalid_request_error",
                    Dialect::OpenaiResponses => "invalid_prompt",
                };
                assert_eq!(told.kind, kind);
            }
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_policy_answers_in_place_of_the_provider() {
    let provider = Provider::start().await;
    let policy = entry(OnFault::Closed, PATIENT, || {
        Box::new(OnRequest(|mut request| {
            request.answer(vec![Block::text("From the policy."), Block::tool_call("call_1", "look", "{\"at\":1}")]);
            Step::ready(request)
        }))
    });
    let gateway = Inside::start(&provider, json!({}), vec![policy]).await;
    for dialect in Dialect::ALL {
        for (stream, request) in [(true, Request::stream(dialect)), (false, Request::whole(dialect))] {
            let answer = gateway.call(Version::Http2, request).await;
            let expected = if stream { "text/event-stream" } else { "application/json" };
            assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with(expected)));
            let text = answer.text();
            assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{text}");
            assert!(text.contains("From the policy.") && text.contains("call_1") && text.contains("look"), "{text}");
        }
    }
    assert!(provider.requests().is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn a_policy_changes_model_and_texts_and_nothing_else() {
    let provider = Provider::start().await;
    let policy = entry(OnFault::Closed, PATIENT, || {
        Box::new(OnRequest(|mut request| {
            request.set_model("other \"model\"");
            for text in request.texts_mut() {
                let new = text.get().replace("hello", "good\nbye");
                text.set(new);
            }
            Step::ready(request)
        }))
    });
    let gateway = Inside::start(&provider, json!({}), vec![policy]).await;
    for (number, dialect) in Dialect::ALL.into_iter().enumerate() {
        provider.expect(Script::json(samples::whole(dialect, "Hi", &[])));
        let own = |body: &str| {
            if dialect == Dialect::OpenaiResponses { body.replace("messages", "input") } else { body.to_owned() }
        };
        let body = own(
            r#"{ "x": 1e3, "model" : "m", "messages":[{"role":"user","content":"\u0041 hello"},{"role":"user","content":"\u0042"}], "stream":false}"#,
        );
        let answer = gateway.call(Version::Http1, Request::post(dialect.path(), body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let expected = own(
            r#"{ "x": 1e3, "model" : "other \"model\"", "messages":[{"role":"user","content":"A good\nbye"},{"role":"user","content":"\u0042"}], "stream":false}"#,
        );
        assert_eq!(String::from_utf8_lossy(&provider.request(number).await.body), expected);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_slow_hook_in_shadow_mode_keeps_nobody_waiting() {
    static GO: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::channel(false).0);
    let provider = Provider::start().await;
    let slow = || {
        Step::later(async {
            let _ = GO.subscribe().wait_for(|go| *go).await;
            Ok(Fate::Drop)
        })
    };
    let policy = Entry { mode: Mode::Shadow, ..entry(OnFault::Closed, PATIENT, move || Box::new(Holds(slow))) };
    let gateway = Inside::start(&provider, json!({}), vec![policy]).await;
    for dialect in Dialect::ALL {
        let body = samples::text(dialect, &PIECES);
        provider.expect(Script::sse(body.clone()));
        let answer = gateway.call(Version::Http1, Request::stream(dialect)).await;
        assert_eq!((answer.status, &answer.end, answer.text()), (200, &End::Clean, body));
    }
    assert!(!gateway.metrics().contains("mode=\"shadow\""), "it has not decided yet");
    GO.send_replace(true);
    while !gateway.metrics().contains("decision=\"drop\",mode=\"shadow\"} 3") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gateway.stop().await;
}
