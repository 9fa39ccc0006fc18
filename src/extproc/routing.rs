//! Where a call goes, and what its request headers become.

use globset::{Glob, GlobMatcher};

use crate::{
    config::{
        secret::Secret,
        settings,
        unpoliced::{self, Otherwise},
    },
    dialect::without_version,
    model::{Dialect, Failure, FailureKind},
};

use super::{
    bodies::Pass,
    credentials::{Client, Credential, header, presented},
    gateway::{Gateway, Upstream},
    headers::{CREDENTIALS, HeaderView},
    replies::Headers,
};

/// The way of one call.
#[derive(Clone, Copy)]
pub(super) struct Route<'a> {
    pub(super) upstream: &'a Upstream,
    /// The dialect in which the upstream is spoken to.
    pub(super) dialect: Dialect,
    /// The upstream's own name of the model.
    pub(super) alias: Option<&'a str>,
}

/// Which paths pass unread.
pub(super) struct Unpoliced {
    pass: Vec<(String, GlobMatcher)>,
    otherwise: Otherwise,
}

impl Unpoliced {
    pub(super) fn new(settings: &unpoliced::Unpoliced) -> Result<Self, globset::Error> {
        let entry = |entry: &String| {
            let (method, glob) = entry.split_once(' ').unwrap_or(("GET", entry));
            Ok((method.to_owned(), Glob::new(glob.trim())?.compile_matcher()))
        };
        Ok(Self { pass: settings.pass.iter().map(entry).collect::<Result<_, _>>()?, otherwise: settings.otherwise })
    }

    /// Leave for a path that no dialect covers to pass unread.
    pub(super) fn passes(&self, method: &str, path: &str) -> Option<Pass> {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let is_named =
            |(allowed, glob): &(String, GlobMatcher)| allowed.eq_ignore_ascii_case(method) && glob.is_match(path);
        Pass::by(self.otherwise == Otherwise::Pass || self.pass.iter().any(is_named))
    }
}

impl Gateway {
    /// The upstream for a model, and how it is spoken to.
    pub(super) fn route(&self, dialect: Dialect, model: &str) -> Result<Route<'_>, Failure> {
        let choice = self.routes.choose(dialect.into(), model);
        let route = choice.and_then(|choice| {
            let upstream = self.upstreams.get(choice.upstream)?;
            Some(Route { upstream, dialect: choice.dialect.into(), alias: self.routes.alias(choice.upstream, model) })
        });
        route.ok_or_else(|| {
            let message = "there is no upstream; add one to `upstreams` in the configuration";
            Failure::new(FailureKind::NotFound, message)
        })
    }

    /// The upstream for every call of a dialect, whatever its model, where there is one that is spoken to as the client speaks.
    pub(super) fn only_route(&self, dialect: Dialect) -> Option<Route<'_>> {
        let upstream = self.upstreams.get(self.routes.only(dialect.into())?)?;
        Some(Route { upstream, dialect, alias: None })
    }

    /// The upstream for a call that passes unread: the vendor is told by the headers that its SDKs send.
    pub(super) fn unread_route(&self, client: Dialect) -> Result<Route<'_>, Failure> {
        // The two protocols of one vendor are the same there.
        let same: &[settings::Dialect] = match client {
            Dialect::AnthropicMessages => &[settings::Dialect::AnthropicMessages],
            Dialect::OpenaiChat | Dialect::OpenaiResponses => {
                &[settings::Dialect::OpenaiChat, settings::Dialect::OpenaiResponses]
            }
        };
        match self.routes.speaks(same).and_then(|index| self.upstreams.get(index)) {
            Some(upstream) => Ok(Route { upstream, dialect: client, alias: None }),
            None => self.route(client, ""),
        }
    }

    /// The aliases of an upstream: the clients' names of models, each with its own.
    pub(super) fn aliases(&self, upstream: &Upstream) -> Vec<(String, String)> {
        let own = self.settings.upstreams.iter().find(|settings| settings.name == upstream.name);
        own.into_iter().flat_map(|settings| settings.aliases.clone()).collect()
    }
}

/// The vendor whose client sends these headers, as one of its dialects.
pub(super) fn vendor(headers: &HeaderView, path: &str) -> Dialect {
    match headers.get("anthropic-version") {
        Some(_) => Dialect::AnthropicMessages,
        None => crate::dialect::error_dialect(path),
    }
}

/// What only one vendor's API understands. The other one's would refuse it, or be told what is none of its business.
const ANTHROPICS: [&str; 4] =
    ["anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access", "anthropic-workspace-id"];
const OPENAIS: [&str; 3] = ["openai-organization", "openai-project", "openai-beta"];

/// Headers by which some servers let a client say another method, path or host than those that were judged here.
const OVERRIDES: [&str; 12] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-override-url",
    "x-forwarded-host",
    "x-forwarded-uri",
    "x-forwarded-prefix",
    "x-forwarded-path",
    "x-host",
];

/// The version of the Messages API that converted requests are written for.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// What of a client's headers another vendor's API needs in its own form.
fn convert_headers(dialect: Dialect, sent: &HeaderView, client: &Client, passes: bool, headers: &mut Headers) {
    let foreign: &[&str] = match dialect {
        Dialect::AnthropicMessages => {
            headers.set("anthropic-version", ANTHROPIC_VERSION);
            &OPENAIS
        }
        Dialect::OpenaiChat | Dialect::OpenaiResponses => &ANTHROPICS,
    };
    for name in foreign {
        headers.remove(name);
    }
    let ours = if let Client::Known { headers, .. } = client { headers.as_slice() } else { &[] };
    let own = presented(sent).into_iter().find(|(name, _)| !ours.contains(name));
    if let (true, Some(key)) = (passes, own.and_then(|(_, key)| Secret::new(key))) {
        for name in CREDENTIALS {
            headers.remove(name);
        }
        let (name, value) = header(dialect, &key);
        headers.set(name, &value);
    }
}

/// The changes that send a request on its way. `sent` are its headers, from a client of another vendor; `None`: it is the
/// same.
pub(super) fn request_headers(route: Route<'_>, client: &Client, path: &str, sent: Option<&HeaderView>) -> Headers {
    let Route { upstream, dialect, .. } = route;
    let mut headers = Headers::default();
    if let Some(sent) = sent {
        let passes = matches!(upstream.credential, Credential::Passthrough);
        convert_headers(dialect, sent, client, passes, &mut headers);
    }
    headers.set("x-luthien-upstream", &upstream.name);
    let path = if upstream.v1 { path } else { without_version(path) };
    if !upstream.prefix.is_empty() || !upstream.v1 || sent.is_some() {
        headers.set(":path", &format!("{}{path}", upstream.prefix));
    }
    // A compressed answer could not be read.
    headers.remove("accept-encoding");
    for name in OVERRIDES {
        headers.remove(name);
    }
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

impl From<settings::Dialect> for Dialect {
    fn from(dialect: settings::Dialect) -> Self {
        match dialect {
            settings::Dialect::OpenaiChat => Self::OpenaiChat,
            settings::Dialect::OpenaiResponses => Self::OpenaiResponses,
            settings::Dialect::AnthropicMessages => Self::AnthropicMessages,
        }
    }
}

impl From<Dialect> for settings::Dialect {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenaiChat => Self::OpenaiChat,
            Dialect::OpenaiResponses => Self::OpenaiResponses,
            Dialect::AnthropicMessages => Self::AnthropicMessages,
        }
    }
}
