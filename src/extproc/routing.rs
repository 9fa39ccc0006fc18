//! Where a call goes, and what its request headers become.

use globset::{Glob, GlobMatcher};

use crate::{
    config::settings::{self, Otherwise},
    model::{Dialect, Failure, FailureKind},
};

use super::{
    credentials::{Client, Credential, header},
    gateway::{Gateway, Upstream},
    headers::{CREDENTIALS, HeaderView},
    replies::Headers,
};

/// Which paths pass unread.
pub(super) struct Unpoliced {
    pass: Vec<(String, GlobMatcher)>,
    otherwise: Otherwise,
}

impl Unpoliced {
    pub(super) fn new(settings: &settings::Unpoliced) -> Result<Self, globset::Error> {
        let entry = |entry: &String| {
            let (method, glob) = entry.split_once(' ').unwrap_or(("GET", entry));
            Ok((method.to_owned(), Glob::new(glob.trim())?.compile_matcher()))
        };
        Ok(Self { pass: settings.pass.iter().map(entry).collect::<Result<_, _>>()?, otherwise: settings.otherwise })
    }

    /// Whether a path that no dialect covers passes unread.
    pub(super) fn passes(&self, method: &str, path: &str) -> bool {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        self.otherwise == Otherwise::Pass
            || self.pass.iter().any(|(allowed, glob)| allowed.eq_ignore_ascii_case(method) && glob.is_match(path))
    }
}

impl Gateway {
    /// The upstream for a model.
    pub(super) fn upstream(&self, dialect: Dialect, model: &str) -> Result<&Upstream, Failure> {
        let choice = self.routes.choose(dialect.into(), model);
        choice.and_then(|choice| self.upstreams.get(choice.index())).ok_or_else(|| {
            let message = format!("no upstream speaks {}; add one to `upstreams` in the configuration", dialect.name());
            Failure::new(FailureKind::NotFound, message)
        })
    }

    /// The upstream for a call that passes unread: the vendor is told by the headers that its SDKs send.
    pub(super) fn unread_upstream(&self, headers: &HeaderView, path: &str) -> Result<(&Upstream, Dialect), Failure> {
        let dialect = match headers.get("anthropic-version") {
            Some(_) => Dialect::AnthropicMessages,
            None => crate::dialect::error_dialect(path),
        };
        let other = match dialect {
            Dialect::AnthropicMessages => Dialect::OpenaiChat,
            Dialect::OpenaiChat => Dialect::AnthropicMessages,
        };
        let upstream = self.upstream(dialect, "").map(|upstream| (upstream, dialect));
        upstream.or_else(|failure| self.upstream(other, "").map(|upstream| (upstream, other)).map_err(|_| failure))
    }
}

/// The changes that send a request to `upstream`.
pub(super) fn request_headers(upstream: &Upstream, dialect: Dialect, client: &Client, path: &str) -> Headers {
    let mut headers = Headers::default();
    headers.set("x-luthien-upstream", &upstream.name);
    if !upstream.prefix.is_empty() {
        headers.set(":path", &format!("{}{path}", upstream.prefix));
    }
    // A compressed answer could not be read.
    headers.remove("accept-encoding");
    match (&upstream.credential, client) {
        (Credential::Passthrough, Client::Unjudged) => {}
        // A provider that needs no key, or another one that the client sent beside ours.
        (Credential::Passthrough, Client::Known { headers: ours, .. }) => {
            for name in ours {
                headers.remove(name);
            }
        }
        (Credential::Ours(secret), _) => {
            for name in CREDENTIALS {
                headers.remove(name);
            }
            let (name, value) = header(dialect, &secret.get());
            headers.set(name, &value);
        }
    }
    headers
}

impl From<Dialect> for settings::Dialect {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenaiChat => Self::OpenaiChat,
            Dialect::AnthropicMessages => Self::AnthropicMessages,
        }
    }
}
