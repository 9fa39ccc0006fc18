//! The loop of a call under a paused clock: whatever the client and the provider do, each limit ends it when it is due, and none
//! before.

use std::{convert::Infallible, future::pending, path::Path, time::Duration};

use axum::body::Body;
use envoy_types::pb::envoy::{
    config::core::v3::{HeaderMap, HeaderValue},
    service::ext_proc::v3::{
        HttpBody, HttpHeaders, body_mutation::Mutation, processing_response::Response as Outgoing,
    },
};
use futures::stream;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::json;
use tokio::{runtime::Builder, sync::mpsc, time::sleep};
use tonic::codec::BufferSettings;
use tonic_prost::ProstDecoder;

mod leave;

use super::*;
use crate::{
    config::{environment::Environment, live::Live},
    extproc::{Links, late},
    journal::{Journal, activity::Activity},
    lifecycle::Drain,
    redact::Redactor,
    telemetry::metrics::Metrics,
};

/// The limits, in milliseconds. Nothing else happens at such a time, so that nothing is due at the same moment.
const UPLOAD: u64 = 1005;
const FIRST_BYTE: u64 = 1505;
const STALL: u64 = 1005;
const TOTAL: u64 = 4005;

/// The head of every request.
const PATH: [(&str, &str); 3] =
    [(":method", "POST"), (":path", "/v1/chat/completions"), ("authorization", "Bearer sk-test-client")];

/// When the client and the provider say something: milliseconds since they said the last.
#[derive(Debug, Clone)]
struct Plan {
    /// The parts of the request's body.
    uploads: Vec<u64>,
    /// The first part of the answer.
    first: u64,
    /// The others; with the last one it is over.
    gaps: Vec<u64>,
}

impl Plan {
    /// The limit that ends the call, and when. `None`: it comes to its own end, at that time.
    fn ends(&self) -> (Option<&'static str>, u64) {
        let mut now = 0;
        for pause in &self.uploads {
            now += pause;
            if now > UPLOAD {
                return (Some("timeouts.upload"), UPLOAD);
            }
        }
        let (sent, mut quiet_until, mut limit) = (now, now + FIRST_BYTE, "timeouts.first_byte");
        for pause in std::iter::once(&self.first).chain(&self.gaps) {
            now += pause;
            let (due, limit_due) =
                if sent + TOTAL <= quiet_until { (sent + TOTAL, "timeouts.total") } else { (quiet_until, limit) };
            if now > due {
                return (Some(limit_due), due);
            }
            (quiet_until, limit) = (now + STALL, "timeouts.stall");
        }
        (None, now)
    }
}

/// A gateway with these limits and without policies.
fn gateway() -> (Arc<Gateway>, Drain) {
    let millis = |limit: u64| format!("{limit}ms");
    gateway_of(
        json!({
            "upstreams": [{ "name": "fake", "url": "http://127.0.0.1:1", "dialects": ["openai_chat"] }],
            "timeouts": { "upload": millis(UPLOAD), "first_byte": millis(FIRST_BYTE), "stall": millis(STALL), "total": millis(TOTAL) },
        }),
        Rules::default(),
    )
}

fn gateway_of(settings: serde_json::Value, rules: Rules) -> (Arc<Gateway>, Drain) {
    let settings = serde_json::from_value(settings).unwrap();
    let journal =
        Journal::new(Arc::new(Metrics::default()), Arc::new(Activity::default()), Arc::new(Redactor::new([]).unwrap()));
    let (drain, draining) = Drain::new();
    let links = Links { journal: Arc::new(journal), tracing: Arc::default(), recorder: None, draining, late: late().0 };
    let rules = Arc::new(Live::new(rules));
    (Arc::new(Gateway::new(settings, Path::new("."), &Environment::default(), rules, links).unwrap()), drain)
}

/// A message, as it comes in a body of gRPC.
fn framed(incoming: Incoming) -> Bytes {
    in_frame(&ProcessingRequest { request: Some(incoming), ..ProcessingRequest::default() })
}

fn in_frame(message: &ProcessingRequest) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], &message].concat().into()
}

fn headers(pairs: &[(&str, &str)]) -> HttpHeaders {
    let value = |(name, value): &(&str, &str)| HeaderValue {
        key: (*name).to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..HeaderValue::default()
    };
    let headers = Some(HeaderMap { headers: pairs.iter().map(value).collect() });
    HttpHeaders { headers, ..HttpHeaders::default() }
}

fn body(bytes: &[u8], end: bool) -> HttpBody {
    HttpBody { body: bytes.to_vec(), end_of_stream: end, ..HttpBody::default() }
}

/// What the client is told by a message.
fn said(reply: &ProcessingResponse) -> String {
    let bytes = match &reply.response {
        Some(Outgoing::ImmediateResponse(answer)) => answer.body.clone(),
        Some(Outgoing::ResponseBody(_)) => passed_on(reply),
        _ => Vec::new(),
    };
    String::from_utf8(bytes).unwrap()
}

/// What a message has of a body, of either direction.
fn passed_on(reply: &ProcessingResponse) -> Vec<u8> {
    let Some(Outgoing::RequestBody(body) | Outgoing::ResponseBody(body)) = &reply.response else { return Vec::new() };
    let mutation = body.response.as_ref().and_then(|common| common.body_mutation.clone());
    match mutation.and_then(|mutation| mutation.mutation) {
        Some(Mutation::StreamedResponse(part)) => part.body,
        _ => Vec::new(),
    }
}

/// What is said in the answer: its beginning, its middle, its end.
fn frame(content: &str) -> String {
    let choice = json!({ "index": 0, "delta": { "content": content }, "finish_reason": null });
    let chunk =
        json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice] });
    format!("data: {chunk}\n\n")
}

/// Says what the plan says.
async fn play(plan: &Plan, messages: &mpsc::Sender<Bytes>) {
    let say = async |incoming| drop(messages.send(framed(incoming)).await);
    say(Incoming::RequestHeaders(headers(&PATH))).await;
    let request =
        json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "hi" }] }).to_string();
    let parts: Vec<&[u8]> = request.as_bytes().chunks(request.len().div_ceil(plan.uploads.len())).collect();
    for (number, (pause, part)) in plan.uploads.iter().zip(&parts).enumerate() {
        sleep(Duration::from_millis(*pause)).await;
        say(Incoming::RequestBody(body(part, number + 1 == parts.len()))).await;
    }
    say(Incoming::ResponseHeaders(headers(&[(":status", "200"), ("content-type", "text/event-stream")]))).await;
    for (number, pause) in std::iter::once(&plan.first).chain(&plan.gaps).enumerate() {
        sleep(Duration::from_millis(*pause)).await;
        let ends = number == plan.gaps.len();
        let stop = json!({ "index": 0, "delta": {}, "finish_reason": "stop" });
        let last =
            json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [stop] });
        let part = if ends { format!("data: {last}\n\ndata: [DONE]\n\n") } else { frame(&number.to_string()) };
        say(Incoming::ResponseBody(body(part.as_bytes(), ends))).await;
    }
    pending::<()>().await;
}

/// A call, and where Envoy's messages to it go.
fn connected(gateway: &Arc<Gateway>) -> (mpsc::Sender<Bytes>, Call) {
    let (messages, received) = mpsc::channel(1);
    let incoming = stream::unfold(received, async |mut received| {
        let message = received.recv().await?;
        Some((Ok::<Bytes, Infallible>(message), received))
    });
    // Of any length.
    let decoder = ProstDecoder::new(BufferSettings::default());
    let inbound = Streaming::new_request(decoder, Body::from_stream(incoming), None, Some(usize::MAX));
    (messages, Call::new(Arc::clone(gateway), Parent::default(), inbound))
}

/// What the client is told, and when the call was over.
async fn run(plan: &Plan) -> (String, Duration) {
    let (gateway, _drain) = gateway();
    let began = Instant::now();
    let (messages, mut call) = connected(&gateway);
    let told = async {
        let mut told = String::new();
        while let Some(reply) = call.next().await {
            told += &said(&reply.unwrap());
        }
        told
    };
    let told = tokio::select! {
        told = told => told,
        () = play(plan, &messages) => unreachable!("it is pending"),
    };
    let took = began.elapsed();
    drop(call);
    assert_eq!((gateway.journal.metrics().held.get(), gateway.journal.metrics().in_flight.get()), (0, 0));
    (told, took)
}

/// As slow as Envoy may be: each message takes it a while.
#[tokio::test(start_paused = true)]
async fn a_limit_does_not_wait_until_a_long_request_has_left() {
    const PAUSE: Duration = Duration::from_millis(100);
    let (gateway, _drain) = gateway();
    let (messages, mut call) = connected(&gateway);
    let padding = "x".repeat(4 << 20);
    let request =
        json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": padding }] }).to_string();
    for incoming in [Incoming::RequestHeaders(headers(&PATH)), Incoming::RequestBody(body(request.as_bytes(), true))] {
        let sent = messages.send(framed(incoming));
        tokio::select! {
            sent = sent => sent.unwrap(),
            _ = call.next() => unreachable!("nothing leaves before the request is whole"),
        }
    }
    let (began, mut told, mut left) = (Instant::now(), String::new(), 0);
    while let Some(reply) = call.next().await {
        let reply = reply.unwrap();
        told = said(&reply);
        left += passed_on(&reply).len();
        let held = gateway.journal.metrics().held.get();
        assert!(call.over || usize::try_from(held).unwrap() == request.len() - left, "{held} with {left} gone");
        sleep(PAUSE).await;
    }
    assert!(told.contains("timeouts.first_byte"), "{told}");
    assert!(began.elapsed() <= Duration::from_millis(FIRST_BYTE) + 2 * PAUSE, "{:?}", began.elapsed());
    drop(call);
    assert_eq!(gateway.journal.metrics().held.get(), 0);
}

fn pauses(most: usize) -> impl Strategy<Value = Vec<u64>> {
    // Mostly short ones, so that calls come far.
    let pause = prop_oneof![4 => 0..40_u64, 1 => 0..220_u64].prop_map(|tens| tens * 10);
    prop::collection::vec(pause, 1..=most)
}

proptest! {
    #[test]
    fn each_limit_ends_a_call_when_it_is_due_and_never_before(
        uploads in pauses(4), first in 0..180_u64, gaps in pauses(12),
    ) {
        let plan = Plan { uploads, first: first * 10, gaps };
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (told, took) = runtime.block_on(run(&plan));
        let (limit, at) = plan.ends();
        // Timers have whole milliseconds.
        let at = Duration::from_millis(at);
        prop_assert!(took >= at && took <= at + Duration::from_millis(2), "{took:?}, not {at:?}: {told}");
        if let Some(limit) = limit {
            prop_assert!(told.contains(&format!("{limit})")), "not by {limit}: {told}");
            prop_assert!(!told.contains("[DONE]"), "{told}");
        } else {
            let content: String = (0..plan.gaps.len()).map(|number| frame(&number.to_string())).collect();
            prop_assert!(told.starts_with(&content) && told.ends_with("data: [DONE]\n\n"), "{told}");
            prop_assert!(!told.contains("error"), "{told}");
        }
    }
}
