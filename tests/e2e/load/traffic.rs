//! Calls of every kind, chosen by lot, each with what has to become of it.

use std::{fmt, net::SocketAddr, time::Duration};

use bytes::Bytes;
use serde_json::json;

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{self, Answer, End, Request, Version},
        errors, samples,
    },
};

/// The largest request that the soak's settings let through, in bytes.
pub(super) const LARGEST: usize = 4 << 20;
/// The words that the soak's rules refuse.
const REFUSED: &str = "unspeakable";

/// A sequence of numbers that is the same for the same seed (`SplitMix64`).
#[derive(Debug, Clone)]
pub(super) struct Lot(pub(super) u64);

impl Lot {
    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.below(items.len() as u64)).unwrap()]
    }
}

/// What happens in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Stream,
    Whole,
    /// Twenty pieces with pauses between them.
    Paced,
    /// The client leaves in the middle of the answer.
    Leaves,
    /// The client leaves while the provider has not answered.
    LeavesEarly,
    /// The client leaves in the middle of its own request.
    LeavesUpload,
    /// The provider falls silent.
    Stalls,
    /// The provider ends the answer too early, cleanly.
    Truncated,
    /// The provider breaks the answer off.
    Cut,
    /// The provider resets the connection.
    Reset,
    /// Two megabytes in one tool call, which a policy holds.
    HugeBlock,
    HugeRequest,
    TooLarge,
    /// The client takes its time.
    SlowReader,
    /// A policy refuses.
    Refused,
    /// The provider says no.
    ProviderError,
    /// A path that no policy covers.
    Unpoliced,
}

impl Kind {
    pub(super) const ALL: [Self; 17] = [
        Self::Stream,
        Self::Whole,
        Self::Paced,
        Self::Leaves,
        Self::LeavesEarly,
        Self::LeavesUpload,
        Self::Stalls,
        Self::Truncated,
        Self::Cut,
        Self::Reset,
        Self::HugeBlock,
        Self::HugeRequest,
        Self::TooLarge,
        Self::SlowReader,
        Self::Refused,
        Self::ProviderError,
        Self::Unpoliced,
    ];

    /// The model by which the provider knows what to play.
    fn model(self, dialect: Dialect) -> String {
        format!("{self:?}-{}", dialect.path())
    }
}

/// Rules that every call runs through.
pub(super) fn rules() -> String {
    json!({ "policies": [
        { "name": "words", "type": "string_replacement", "config": { "replacements": { "never-said": "x" }, "apply_to": "both" } },
        { "name": "tools", "type": "tool_filter", "config": { "deny": ["never_called"] } },
        { "name": "calls", "type": "command_guard" },
        { "name": "refuse", "type": "blocked_content",
          "config": { "patterns": [REFUSED], "message": "no", "on_match": "refuse" } },
    ] })
    .to_string()
}

/// One tool call of two megabytes.
fn huge(dialect: Dialect) -> String {
    let arguments = json!({ "path": "/tmp/a", "content": "0123456789abcdef".repeat(128 << 10) }).to_string();
    samples::tools(dialect, "writes", &[("call_h", "write_file", &arguments)])
}

/// A stream that is long enough to be read slowly.
fn long(dialect: Dialect) -> String {
    let piece = "words ".repeat(400);
    samples::text(dialect, &vec![&*piece; 100])
}

/// Teaches the provider what to play.
pub(super) fn teach(provider: &Provider) {
    let pause = Duration::from_millis(10);
    for dialect in Dialect::ALL {
        let pieces: Vec<String> = (0..20).map(|number| format!("piece {number} ")).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let whole = samples::text(dialect, &pieces);
        let open = samples::open_text(dialect, &pieces);
        let paced = whole
            .split_inclusive("\n\n")
            .fold(Script::stream(), |script, event| script.then(event.to_owned()).pause(pause));
        let huge = Bytes::from(huge(dialect));
        let refused = samples::text(dialect, &["this is ", REFUSED]);
        for (kind, script) in [
            (Kind::Stream, Script::sse(whole.clone())),
            (Kind::HugeRequest, Script::sse(whole)),
            (Kind::Whole, Script::json(samples::whole(dialect, "Hello", &[]))),
            (Kind::Paced, paced.clone()),
            (Kind::Leaves, paced),
            (Kind::LeavesEarly, Script::silence()),
            (Kind::Stalls, Script::sse(open.clone()).hang()),
            (Kind::Truncated, Script::sse(open.clone())),
            (Kind::Cut, Script::sse(open.clone()).pause(pause).cut()),
            (Kind::Reset, Script::sse(open).pause(pause).reset()),
            (Kind::HugeBlock, Script::sse_in_pieces(&huge, 64 << 10)),
            (Kind::SlowReader, Script::sse(long(dialect))),
            (Kind::Refused, Script::sse(refused)),
            (
                Kind::ProviderError,
                Script::json(json!({ "error": { "type": "x", "message": "slow down" } }).to_string()).status(429),
            ),
        ] {
            provider.on_model(&kind.model(dialect), script);
        }
    }
    provider.otherwise(Script::json("{\"data\":[]}"));
}

/// One call, from the lot to its end.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) kind: Kind,
    dialect: Dialect,
    version: Version,
    leaves_after: Duration,
}

impl fmt::Display for Call {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} {:?} {:?}", self.kind, self.dialect, self.version)
    }
}

impl Call {
    pub(super) fn by_lot(lot: &mut Lot) -> Self {
        // What is usual is made more often than what goes wrong.
        let kind =
            if lot.below(2) == 0 { lot.of(&[Kind::Stream, Kind::Whole, Kind::Paced]) } else { lot.of(&Kind::ALL) };
        let leaves_after = Duration::from_millis(lot.below(150));
        Self { kind, dialect: lot.of(&Dialect::ALL), version: lot.of(&Version::BOTH), leaves_after }
    }

    fn request(&self) -> Request {
        if self.kind == Kind::Unpoliced {
            return Request::new("GET", "/v1/files").header("authorization", "Bearer sk-test-client");
        }
        let stream = self.kind != Kind::Whole;
        let mut body = client::call_body(self.dialect, &self.kind.model(self.dialect), stream);
        let padding = match self.kind {
            Kind::HugeRequest | Kind::LeavesUpload => LARGEST - 4096,
            Kind::TooLarge => LARGEST + 1,
            Kind::Stream
            | Kind::Whole
            | Kind::Paced
            | Kind::Leaves
            | Kind::LeavesEarly
            | Kind::Stalls
            | Kind::Truncated
            | Kind::Cut
            | Kind::Reset
            | Kind::HugeBlock
            | Kind::SlowReader
            | Kind::Refused
            | Kind::ProviderError
            | Kind::Unpoliced => 0,
        };
        body["metadata"] = json!({ "padding": "x".repeat(padding) });
        Request::post(self.dialect.path(), body.to_string())
    }

    /// Makes the call, and says what was wrong about it.
    pub(super) async fn make(&self, address: SocketAddr) -> Result<(), String> {
        let send = client::try_send(self.version, address, self.request());
        if matches!(self.kind, Kind::LeavesEarly | Kind::LeavesUpload) {
            let _ = tokio::time::timeout(self.leaves_after, send).await;
            return Ok(());
        }
        let mut response = match send.await {
            Ok(response) => response,
            // Nothing may have been released yet when the provider broke off: then there is no head.
            Err(_) if matches!(self.kind, Kind::Cut | Kind::Reset) => return Ok(()),
            Err(error) => return Err(format!("{self}: {error}")),
        };
        if self.kind == Kind::Leaves {
            let _ = tokio::time::timeout(self.leaves_after, async { while response.piece().await.is_ok() {} }).await;
            return Ok(());
        }
        if self.kind == Kind::SlowReader {
            tokio::time::sleep(self.leaves_after * 4).await;
        }
        let answer = response.finish().await;
        // What does not fit panics, and a panic of this task is told with the call.
        self.check(&answer);
        Ok(())
    }

    fn check(&self, answer: &Answer) {
        let says = |status: u16| {
            let text: String = answer.text().chars().take(400).collect();
            assert_eq!((answer.status, &answer.end), (status, &End::Clean), "{self}: {text}");
        };
        let is = |wanted: &str| {
            says(200);
            let tail = String::from_utf8_lossy(&answer.body[answer.body.len().saturating_sub(400)..]);
            let same = answer.body == wanted.as_bytes();
            assert!(same, "{self}: {} bytes of {}, with {tail}", answer.body.len(), wanted.len());
        };
        match self.kind {
            Kind::Stream | Kind::Paced | Kind::HugeRequest => {
                let pieces: Vec<String> = (0..20).map(|number| format!("piece {number} ")).collect();
                is(&samples::text(self.dialect, &pieces.iter().map(String::as_str).collect::<Vec<_>>()));
            }
            Kind::Whole => is(&samples::whole(self.dialect, "Hello", &[])),
            Kind::HugeBlock => is(&huge(self.dialect)),
            Kind::SlowReader => is(&long(self.dialect)),
            Kind::Stalls => {
                let told = errors::at_end(self.dialect, answer);
                assert!(told.message.contains("timeouts.stall"), "{self}: {told:?}");
            }
            Kind::Truncated => drop(errors::at_end(self.dialect, answer)),
            Kind::Cut | Kind::Reset => {
                assert!(answer.end != End::Clean || answer.status == 503, "{self}: {}", answer.text());
            }
            Kind::TooLarge => {
                says(413);
                errors::in_body(self.dialect, answer);
            }
            Kind::Refused => {
                says(400);
                errors::in_body(self.dialect, answer);
            }
            Kind::ProviderError => says(429),
            Kind::Unpoliced => says(404),
            Kind::Leaves | Kind::LeavesEarly | Kind::LeavesUpload => {}
        }
    }
}
