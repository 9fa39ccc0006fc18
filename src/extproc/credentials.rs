//! Who the client is, and what the provider is shown.

use std::path::Path;

use crate::{
    config::{
        environment::Environment,
        rotation::LiveSecret,
        secret::{Secret, SecretError, digests_equal},
        settings::{ClientAuth, ClientKey, Clients, Credentials, SecretSource},
    },
    model::Dialect,
};

use super::headers::HeaderView;

/// The key that a provider is shown.
pub(super) enum Credential {
    /// What the client sent.
    Passthrough,
    /// One of ours.
    Ours(LiveSecret),
}

/// Who may call.
pub(super) struct ClientKeys {
    auth: ClientAuth,
    keys: Vec<(String, Key)>,
}

enum Key {
    Digest([u8; 32]),
    Secret(LiveSecret),
}

/// How many keys a client may show at once. SDKs show one, in one header or two.
const MOST_PRESENTED: usize = 8;

/// What a client's credentials came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Client {
    /// It used one of our keys, in these headers, which are never forwarded.
    Known { name: String, headers: Vec<&'static str> },
    /// The provider judges what it sent.
    Unjudged,
}

impl Client {
    /// Whether it may use `credential`. A key of ours is for those whom we know, unless we ask nobody who he is.
    pub(super) fn may_use(&self, credential: &Credential, keys: &ClientKeys) -> bool {
        match (self, credential) {
            (Self::Unjudged, Credential::Ours(_)) => keys.auth == ClientAuth::Passthrough,
            (Self::Known { .. }, _) | (Self::Unjudged, Credential::Passthrough) => true,
        }
    }
}

impl Credential {
    pub(super) fn new(source: &Credentials, base: &Path, environment: &Environment) -> Result<Self, SecretError> {
        Ok(match source {
            Credentials::Passthrough => Self::Passthrough,
            Credentials::Secret(source) => Self::Ours(LiveSecret::new(source, base, environment)?),
        })
    }
}

impl ClientKeys {
    pub(super) fn new(clients: &Clients, base: &Path, environment: &Environment) -> Result<Self, SecretError> {
        let key = |key: &ClientKey| {
            Ok(match &key.file {
                Some(path) => Key::Secret(LiveSecret::new(&SecretSource::File(path.clone()), base, environment)?),
                None => Key::Digest(key.digest(base, environment)?),
            })
        };
        let keys = clients.keys.iter().map(|entry| Ok((entry.name.clone(), key(entry)?))).collect::<Result<_, _>>()?;
        Ok(Self { auth: clients.auth, keys })
    }

    /// Who the client is. `None`: it is nobody we know, and nobody else judges.
    pub(super) fn judge(&self, headers: &HeaderView) -> Option<Client> {
        if self.auth == ClientAuth::Passthrough {
            return Some(Client::Unjudged);
        }
        let presented = presented(headers);
        // One of ours among them would go on to the provider, and each costs a comparison with all keys.
        if presented.len() > MOST_PRESENTED {
            return None;
        }
        let valid = if presented.is_empty() { Vec::new() } else { self.valid() };
        let known: Vec<_> =
            presented.into_iter().filter_map(|(header, key)| Some((header, find(&valid, key)?))).collect();
        match known.first() {
            Some((_, name)) => Some(Client::Known {
                name: (*name).to_owned(),
                headers: known.iter().map(|(header, _)| *header).collect(),
            }),
            None => (self.auth == ClientAuth::Either).then_some(Client::Unjudged),
        }
    }

    /// The keys as they are now, by their digests. One whose file was removed or emptied is revoked.
    fn valid(&self) -> Vec<(&str, [u8; 32])> {
        let digest = |key: &Key| match key {
            Key::Digest(digest) => Some(*digest),
            Key::Secret(secret) => secret.valid().map(|secret| secret.digest()),
        };
        self.keys.iter().filter_map(|(name, key)| Some((name.as_str(), digest(key)?))).collect()
    }
}

/// Compares with every key, so that the time taken tells nothing about which one fits.
fn find<'k>(keys: &[(&'k str, [u8; 32])], candidate: &str) -> Option<&'k str> {
    let digest = Secret::new(candidate)?.digest();
    keys.iter().fold(None, |found, (name, key)| if digests_equal(key, &digest) { Some(*name) } else { found })
}

/// The keys that a client presents, wherever its SDK puts them, with their headers.
pub(super) fn presented(headers: &HeaderView) -> Vec<(&'static str, &str)> {
    // Several lines of a header may come as one, with commas between.
    let each = |name| headers.all(name).flat_map(|value| value.split(',')).map(str::trim);
    let bearer = each("authorization").filter_map(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(("authorization", key.trim()))
    });
    let plain = ["x-api-key", "api-key"].into_iter().flat_map(|name| each(name).map(move |value| (name, value)));
    bearer.chain(plain).collect()
}

/// The header that shows a key to a provider. Both vendors accept these from every version of their API.
pub(super) fn header(dialect: Dialect, key: &Secret) -> (&'static str, String) {
    match dialect {
        Dialect::AnthropicMessages => ("x-api-key", key.expose().to_owned()),
        Dialect::OpenaiChat | Dialect::OpenaiResponses => ("authorization", format!("Bearer {}", key.expose())),
    }
}
