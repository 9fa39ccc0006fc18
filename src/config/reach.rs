//! What policies can reach, by the settings.

use std::{path::Path, sync::Arc};

use super::{
    document::Document,
    environment::Environment,
    rotation::read_later,
    settings::{self, Credentials, Dialect, RemoteProtocol, SecretSource, Settings, Timeouts, Upstream},
    target::Target,
};
use crate::{
    model,
    policies::{
        remote::GrpcTarget,
        site::{self, Circuit, Provider, Reach, ReadSecret, Remote, RemoteTarget},
    },
    shared_state::{Place, SharedState},
};

/// A longer answer of a judge is no verdict, in bytes.
const LONGEST_VERDICT: usize = 1 << 20;
/// The longest decision of a webhook, which may hold a whole request, in bytes.
const LONGEST_DECISION: usize = 64 << 20;

/// What these settings let policies reach. Secrets stand in `base` and the environment, and are read when they are needed.
pub fn reach(settings: &Settings, base: &Path, environment: &Environment) -> Reach {
    let shared = settings.redis.as_ref().map(|redis| {
        let password = redis.password.as_ref().map(|source| read(source, base, environment));
        let place = Place { url: redis.url.clone(), username: redis.username.clone(), password };
        Arc::new(SharedState::new(place))
    });
    let circuit = |kind: &str, name: &str| {
        shared.as_ref().map(|shared| Circuit { key: format!("{kind}:{name}"), shared: Arc::clone(shared) })
    };
    let provider = |upstream: &Upstream| {
        provider(upstream, &settings.timeouts, base, environment, circuit("upstream", &upstream.name))
    };
    let remote = |remote: &settings::Remote| {
        self::remote(remote, &settings.timeouts, base, environment, circuit("remote", &remote.name))
    };
    Reach {
        providers: settings.upstreams.iter().map(provider).collect(),
        remotes: settings.remotes.iter().map(remote).collect(),
        shared: shared.clone(),
        redactor: settings.recording.redactor().ok().map(Arc::new),
    }
}

/// What can be read from settings that may be wrong, so that the rules can be checked all the same.
pub fn of_draft(document: &Document) -> Reach {
    let timeouts = Timeouts::default();
    let read_upstream = |index| {
        let upstream: Option<Upstream> = document.read_as(&format!("/upstreams/{index}"));
        upstream.map(|upstream| provider(&upstream, &timeouts, Path::new(""), &Environment::default(), None))
    };
    let read_remote = |index| {
        let remote: Option<settings::Remote> = document.read_as(&format!("/remotes/{index}"));
        remote.map(|remote| self::remote(&remote, &timeouts, Path::new(""), &Environment::default(), None))
    };
    Reach {
        providers: (0..document.count("/upstreams")).filter_map(read_upstream).collect(),
        remotes: (0..document.count("/remotes")).filter_map(read_remote).collect(),
        shared: None,
        redactor: None,
    }
}

fn remote(
    remote: &settings::Remote,
    timeouts: &Timeouts,
    base: &Path,
    environment: &Environment,
    circuit: Option<Circuit>,
) -> Remote {
    let name = remote.name.clone();
    let secret = remote.secret.as_ref().map(|source| read(source, base, environment));
    let ca = remote.ca.as_ref().map(|ca| base.join(ca));
    let connect = timeouts.connect.get();
    let target = match remote.protocol {
        RemoteProtocol::Grpc => RemoteTarget::Grpc(GrpcTarget {
            name: name.clone(),
            url: remote.url.clone(),
            token: secret,
            ca,
            identity: remote.tls.as_ref().map(|tls| (base.join(&tls.cert), base.join(&tls.key))),
            connect,
            circuit,
        }),
        RemoteProtocol::Webhook => {
            let base = remote.url.clone();
            let longest_answer = LONGEST_DECISION;
            let (name, v1) = (name.clone(), true);
            let target = site::Target { name, base, v1, key: None, ca, connect, longest_answer, circuit };
            let unsigned =
                || -> ReadSecret { Box::new(|| Err("the settings name no `secret` to sign with".to_owned())) };
            RemoteTarget::Webhook(target, secret.unwrap_or_else(unsigned))
        }
    };
    Remote::new(name, target)
}

fn provider(
    upstream: &Upstream,
    timeouts: &Timeouts,
    base: &Path,
    environment: &Environment,
    circuit: Option<Circuit>,
) -> Provider {
    let target = match upstream.url.parse() {
        Ok(Target::Http(_)) => Some(site::Target {
            name: upstream.name.clone(),
            base: base_url(&upstream.url),
            v1: upstream.v1,
            key: key(&upstream.credentials, base, environment),
            ca: upstream.ca.as_ref().map(|ca| base.join(ca)),
            connect: upstream.timeouts.connect.unwrap_or(timeouts.connect).get(),
            longest_answer: LONGEST_VERDICT,
            circuit,
        }),
        Ok(Target::Demo) | Err(_) => None,
    };
    let dialect = upstream.dialects.first().map_or(model::Dialect::OpenaiChat, |dialect| match dialect {
        Dialect::OpenaiChat => model::Dialect::OpenaiChat,
        Dialect::OpenaiResponses => model::Dialect::OpenaiResponses,
        Dialect::AnthropicMessages => model::Dialect::AnthropicMessages,
    });
    Provider::new(upstream.name.clone(), dialect, target)
}

/// The URL without what the paths of every dialect bring along.
fn base_url(url: &str) -> String {
    let url = url.trim_end_matches('/');
    url.strip_suffix("/v1").unwrap_or(url).to_owned()
}

/// With `passthrough` nobody has a key to show: the judge is nobody's client.
fn key(credentials: &Credentials, base: &Path, environment: &Environment) -> Option<ReadSecret> {
    let Credentials::Secret(source) = credentials else { return None };
    Some(read(source, base, environment))
}

fn read(source: &SecretSource, base: &Path, environment: &Environment) -> ReadSecret {
    let read = read_later(source, base, environment);
    Box::new(move || read().map(|secret| secret.expose().to_owned()).map_err(|error| error.to_string()))
}
