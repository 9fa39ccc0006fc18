//! Streams to run, policies to run over them, and the loop that runs them.

use std::{
    sync::Arc,
    task::{Context as Wakeup, Poll},
    time::Duration,
};

use bytes::Bytes;
use luthien::{
    dialect::WireError,
    journal::Fact,
    model::{BlockHead, CallHead, Dialect, Entrance, Failure, FailureKind},
    pipeline::{Response, ResponseLimits, Runner, Setup, Stopped, select},
    policies::{
        self,
        site::{Reach, Site},
    },
    policy::{Context, Entry, Factory, Mode, OnFault, Policy, Release, Rules, Selector, Watch},
};

use crate::common::streams::{self, Class};

/// A stream of the vectors or of the recordings.
#[derive(Clone)]
pub struct Stream {
    pub name: String,
    /// `None`: a recording.
    pub class: Option<Class>,
    /// A recording that the official SDK accepts.
    pub accepted: bool,
    pub dialect: Dialect,
    pub body: Bytes,
}

impl Stream {
    /// Whether a provider may send it and a client reads it without complaint.
    pub fn is_good(&self) -> bool {
        self.class.map_or(self.accepted, |class| matches!(class, Class::Legal | Class::Rewrite))
    }
}

const DIALECTS: [(streams::Dialect, Dialect); 3] = [
    (streams::Dialect::Anthropic, Dialect::AnthropicMessages),
    (streams::Dialect::OpenaiChat, Dialect::OpenaiChat),
    (streams::Dialect::OpenaiResponses, Dialect::OpenaiResponses),
];

/// Every vector in every dialect, and every recording where there are any.
pub fn streams() -> Vec<Stream> {
    DIALECTS
        .into_iter()
        .flat_map(|(folder, dialect)| vectors(folder, dialect).chain(recorded(folder, dialect)))
        .collect()
}

fn vectors(folder: streams::Dialect, dialect: Dialect) -> impl Iterator<Item = Stream> {
    streams::vectors(folder).into_iter().map(move |vector| Stream {
        name: vector.name,
        class: Some(vector.class),
        accepted: false,
        dialect,
        body: vector.bytes.into(),
    })
}

fn recorded(folder: streams::Dialect, dialect: Dialect) -> impl Iterator<Item = Stream> {
    streams::recorded(folder).unwrap_or_default().into_iter().map(move |stream| Stream {
        name: stream.name,
        class: None,
        accepted: stream.accepted,
        dialect,
        body: stream.bytes.into(),
    })
}

/// The vector of that name.
pub fn vector(name: &str) -> Stream {
    streams().into_iter().find(|stream| stream.name == name).unwrap_or_else(|| panic!("there is no stream `{name}`"))
}

/// A stream of the dialect from the data of its events.
pub fn stream_of(dialect: Dialect, data: &[&str]) -> Bytes {
    let mut out = Vec::new();
    for data in data {
        let name = serde_json::from_str::<serde_json::Value>(data).ok();
        let name = name.as_ref().and_then(|data| data["type"].as_str());
        luthien::wire::write_event(name.filter(|_| dialect != Dialect::OpenaiChat), data.as_bytes(), &mut out);
    }
    out.into()
}

pub fn call(dialect: Dialect) -> Arc<CallHead> {
    Arc::new(CallHead {
        entrance: Entrance::default(),
        id: "call-1".into(),
        dialect,
        path: "/v1/x".into(),
        model: "m".into(),
        upstream: "u".into(),
        client: None,
        session: None,
        headers: Vec::new(),
        stream: true,
        deadline: None,
        trace: None,
    })
}

/// The time that one hook has. A busy machine is no fault of a policy's.
pub const TIMEOUT: Duration = Duration::from_mins(1);

pub fn rules(factories: Vec<Arc<dyn Factory>>) -> Arc<Rules> {
    rules_with(factories, Release::Block, OnFault::Closed)
}

pub fn rules_with(factories: Vec<Arc<dyn Factory>>, release: Release, on_fault: OnFault) -> Arc<Rules> {
    let entries = factories
        .into_iter()
        .enumerate()
        .map(|(number, factory)| Entry {
            name: format!("p{number}").into(),
            kind: "test",
            factory,
            selects: Arc::new(Selector::default()),
            mode: Mode::Enforce,
            on_fault,
            timeout: TIMEOUT,
            record: None,
        })
        .collect();
    Arc::new(Rules { hash: "test".into(), release, entries, ..Rules::default() })
}

/// A built-in policy from its config.
pub fn built_in(name: &str, config: &serde_json::Value) -> Arc<dyn Factory> {
    try_built_in(name, config).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// A built-in policy from its config, or what is wrong with it.
pub fn try_built_in(name: &str, config: &serde_json::Value) -> policies::Built {
    let kind = policies::all().iter().find(|kind| kind.name == name).unwrap();
    let reach = Reach::default();
    let site = Site { name, on_fault: OnFault::Closed, timeout: Duration::from_secs(5), reach: &reach };
    (kind.build)(config, &site)
}

/// Watches everything and keeps everything.
pub struct WatchAll(pub Watch);

impl Factory for WatchAll {
    fn begin(&self, _: &CallHead) -> Box<dyn Policy> {
        Box::new(Self(self.0))
    }
}

impl Policy for WatchAll {
    fn on_block_start(&mut self, _: &mut Context<'_>, _: &BlockHead) -> Watch {
        self.0
    }
}

pub const LIMITS: ResponseLimits =
    ResponseLimits { event: 16 << 20, body: 32 << 20, held: 32 << 20, synthetic: 1 << 20 };

pub fn setup(dialect: Dialect, rules: &Arc<Rules>, limits: ResponseLimits) -> (Setup, Vec<Runner>) {
    let call = call(dialect);
    let runners = select(rules, &call);
    (Setup::native(dialect, call.id.clone(), rules.release, limits), runners)
}

pub fn response(dialect: Dialect, rules: &Arc<Rules>, limits: ResponseLimits) -> Response {
    let (setup, runners) = setup(dialect, rules, limits);
    Response::stream(setup, runners)
}

/// One answer on its way, driven as the gateway drives it: every stop becomes the dialect's last words.
pub struct Run {
    pub response: Response,
    pub facts: Vec<Fact>,
    /// What left, piece by piece.
    pub out: Vec<Bytes>,
    /// What it was stopped by.
    pub failure: Option<Failure>,
}

impl Run {
    pub fn stream(dialect: Dialect, rules: &Arc<Rules>) -> Self {
        Self::new(response(dialect, rules, LIMITS))
    }

    pub fn body(dialect: Dialect, rules: &Arc<Rules>) -> Self {
        let (setup, runners) = setup(dialect, rules, LIMITS);
        Self::new(Response::body(setup, runners))
    }

    pub fn new(response: Response) -> Self {
        Self { response, facts: Vec::new(), out: Vec::new(), failure: None }
    }

    /// Takes a chunk, and looks once whether later decisions have come.
    pub fn push(&mut self, chunk: &Bytes) {
        if !self.response.is_done() {
            let outcome = self.response.push(chunk);
            self.step(outcome);
            self.poll();
        }
    }

    /// The body is over: waits for every decision.
    pub fn finish(&mut self) {
        if self.response.is_done() {
            return;
        }
        let outcome = self.response.finish();
        self.step(outcome);
        for _ in 0..10_000 {
            if self.response.is_done() {
                return;
            }
            self.poll();
        }
        panic!("nothing may be left undecided");
    }

    fn poll(&mut self) {
        let mut wakeup = Wakeup::from_waker(futures::task::noop_waker_ref());
        if let Poll::Ready(outcome) = self.response.poll_decisions(&mut wakeup) {
            self.step(outcome);
        }
    }

    fn step(&mut self, outcome: Result<(), Stopped>) {
        match outcome {
            Ok(()) => {}
            Err(Stopped::Refused(refusal)) => self.response.refuse(&refusal),
            Err(Stopped::Failed(failure)) => self.fail(failure),
        }
        if let Some(Err(failure)) = self.response.over() {
            self.fail(failure);
        }
        self.out.extend(self.response.take_output());
        self.facts.extend(self.response.take_facts());
    }

    fn fail(&mut self, failure: Failure) {
        self.response.fail(&failure);
        self.failure.get_or_insert(failure);
    }
}

/// Runs a stream in chunks of one size.
pub fn run(dialect: Dialect, rules: &Arc<Rules>, body: &Bytes, size: usize) -> Run {
    let mut run = Run::stream(dialect, rules);
    for chunk in body.chunks(size.max(1)) {
        run.push(&body.slice_ref(chunk));
    }
    run.finish();
    run
}

/// Runs a body that is not streamed.
pub fn run_body(dialect: Dialect, rules: &Arc<Rules>, body: &Bytes) -> Bytes {
    let mut run = Run::body(dialect, rules);
    run.push(body);
    run.finish();
    run.out.concat().into()
}

/// What left before the last words, if these are the failure's.
pub fn before_error<'a>(dialect: Dialect, out: &'a [u8], failure: &Failure) -> Option<&'a [u8]> {
    if dialect != Dialect::OpenaiResponses {
        return out.strip_suffix(&error_event(dialect, failure)[..]);
    }
    // The last event says the failure with all of the response; what can say no response is a bare error.
    let start = out.strip_suffix(b"\n\n")?.windows(2).rposition(|pair| pair == b"\n\n").map_or(0, |end| end + 2);
    let data = std::str::from_utf8(&out[start..]).ok()?.lines().find_map(|line| line.strip_prefix("data: "))?;
    let data: serde_json::Value = serde_json::from_str(data).ok()?;
    let error = match data["type"].as_str()? {
        "response.failed" if data["response"]["output"] == serde_json::json!([]) => &data["response"]["error"],
        "error" if start == 0 && data["error"].is_object() => &data["error"],
        "error" if start == 0 => &data,
        _ => return None,
    };
    let fits = error["message"] == failure.message && error["code"] == "server_error";
    fits.then_some(&out[..start])
}

fn error_event(dialect: Dialect, failure: &Failure) -> Vec<u8> {
    let json = WireError::failure(dialect, failure, "call-1").json(dialect);
    let mut out = Vec::new();
    luthien::wire::write_event((dialect != Dialect::OpenaiChat).then_some("error"), &json, &mut out);
    out
}

pub fn truncated() -> Failure {
    Failure::new(FailureKind::Truncated, "the provider's answer ended before its end")
}
