//! The HTTP client of policies that ask somebody.
//!
//! Connections are kept, and a circuit breaker stands in front. What repeats is repeated within the time that there is.

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{
    breaker::{Breaker, PAUSE},
    site::Target,
};
use crate::{dialect::without_version, telemetry::trace::Parent};

/// So many times an answer is asked for.
const MOST_REPEATS: usize = 5;
/// The first pause between two questions.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two questions.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Speaks to one other side.
pub struct Client {
    target: Target,
    http: reqwest::Client,
    breaker: Breaker,
}

/// Why there is no answer. Holds nothing that the other side said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// It failed again and again, and is not asked for a while.
    #[error("`{0}` failed again and again and is not asked for {PAUSE:?}")]
    Resting(String),
    /// There is no answer yet.
    #[error("`{name}` did not answer within {limit:?}")]
    TooSlow {
        /// Who.
        name: String,
        /// The time that there was.
        limit: Duration,
    },
    /// It cannot be reached.
    #[error("`{name}` cannot be reached: {why}")]
    Unreachable {
        /// Who.
        name: String,
        /// What the system says.
        why: String,
    },
    /// It answered with an error.
    #[error("`{name}` answered with status {status}")]
    Status {
        /// Who.
        name: String,
        /// The HTTP status.
        status: u16,
        /// When to ask again.
        again: Option<Duration>,
    },
    /// It is gone in the middle of a call, or was never there.
    #[error("`{name}` is gone: {why}")]
    Gone {
        /// Who.
        name: String,
        /// What happened.
        why: String,
    },
    /// It does not take what it is told.
    #[error("`{0}` does not keep up with what it is told")]
    Behind(String),
    /// What it says, or how it is to be reached, cannot be used.
    #[error("`{name}` cannot be used: {why}")]
    Unusable {
        /// Who.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The answer is too long.
    #[error("the answer of `{0}` is too long")]
    TooLong(String),
    /// Its key cannot be read.
    #[error("the key for `{name}` cannot be read: {why}")]
    NoKey {
        /// Who.
        name: String,
        /// Why.
        why: String,
    },
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The certificate authorities cannot be read.
    #[error("{path}: {error}")]
    Authorities {
        /// The file.
        path: String,
        /// What is wrong.
        error: String,
    },
    /// The library says no.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
}

impl Unanswered {
    /// Whether asking again could help.
    fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::Resting(_)
            | Self::TooSlow { .. }
            | Self::TooLong(_)
            | Self::NoKey { .. }
            | Self::Gone { .. }
            | Self::Behind(_)
            | Self::Unusable { .. } => false,
        }
    }

    /// How long it asks to be left alone.
    fn again(&self) -> Option<Duration> {
        if let Self::Status { again, .. } = self { *again } else { None }
    }

    /// Whether the other side is at fault, and not the question.
    pub(super) fn is_theirs(&self) -> bool {
        self.is_passing() || matches!(self, Self::TooSlow { .. } | Self::Gone { .. })
    }
}

/// TLS needs one of several libraries: this one is used whatever else is linked in.
pub fn choose_cryptography() {
    static CHOSEN: Once = Once::new();
    CHOSEN.call_once(|| {
        // Fails only where another is chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

impl Client {
    /// A client of `target`.
    pub fn new(target: Target) -> Result<Self, ClientError> {
        choose_cryptography();
        let mut http = reqwest::Client::builder()
            .connect_timeout(target.connect)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("luthien/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        if let Some(path) = &target.ca {
            let failed = |error: String| ClientError::Authorities { path: path.display().to_string(), error };
            let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| failed(error.to_string()))?;
            http = http.tls_certs_only(certificates);
        }
        let breaker = Breaker::new(&target.name, target.circuit.clone());
        Ok(Self { target, http: http.build()?, breaker })
    }

    /// What the other side is called.
    pub fn name(&self) -> &str {
        &self.target.name
    }

    /// Whether nobody is asked for a while, because too many questions failed.
    pub fn rests(&self) -> bool {
        self.breaker.rests()
    }

    /// The key that the other side is shown, as it is now.
    pub fn key(&self) -> Result<Option<String>, Unanswered> {
        let Some(read) = &self.target.key else { return Ok(None) };
        read().map(Some).map_err(|why| Unanswered::NoKey { name: self.target.name.clone(), why })
    }

    /// Posts a JSON body and returns that of the answer, within `limit`.
    pub async fn post(
        self: &Arc<Self>,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Result<Bytes, Unanswered> {
        let name = || self.target.name.clone();
        let once = || self.once(path, headers.clone(), body.clone());
        let pauses = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_max_times(MOST_REPEATS)
            .with_jitter();
        let asked = once.retry(pauses).when(Unanswered::is_passing).adjust(|error, pause| match error.again() {
            // There is no time to wait for that.
            Some(again) if again > limit => None,
            again => pause.map(|pause| again.map_or(pause, |again| pause.max(again))),
        });
        let within = async {
            let answered = tokio::time::timeout(limit, asked).await;
            answered.unwrap_or_else(|_| Err(Unanswered::TooSlow { name: name(), limit }))
        };
        self.breaker.ask(within).await
    }

    async fn once(&self, path: &str, headers: HeaderMap, body: Bytes) -> Result<Bytes, Unanswered> {
        let name = || self.target.name.clone();
        // The library's words name the URL, which a log may hold; the source says what is wrong.
        let unreachable = |error: reqwest::Error| {
            let mut why: &dyn std::error::Error = &error;
            while let Some(source) = why.source() {
                why = source;
            }
            Unanswered::Unreachable { name: name(), why: why.to_string() }
        };
        let path = if self.target.v1 { path } else { without_version(path) };
        let url = format!("{}{path}", self.target.base);
        let mut headers = headers;
        for (name, value) in Parent::current().headers() {
            headers.extend(HeaderValue::from_str(&value).ok().map(|value| (HeaderName::from_static(name), value)));
        }
        let mut answer = self.http.post(url).headers(headers).body(body).send().await.map_err(unreachable)?;
        let status = answer.status();
        if status != StatusCode::OK {
            let again = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            return Err(Unanswered::Status {
                name: name(),
                status: status.as_u16(),
                again: again.map(Duration::from_secs),
            });
        }
        let mut whole = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if whole.len() + chunk.len() > self.target.longest_answer {
                return Err(Unanswered::TooLong(name()));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.into())
    }
}
