//! What a remote has said of texts of requests: the same text comes again on every turn.

use std::time::Duration;

use moka::future::Cache;
use sha2::{Digest, Sha256};

use crate::model::{Request, RequestText};

use super::v1;

/// The most that is remembered, in bytes.
const MOST_KEPT: u64 = 32 << 20;
/// What a text takes beside what it became, in bytes.
const OVERHEAD: usize = 128;

/// What became of texts, by their hashes.
pub(super) struct Seen(Option<Cache<[u8; 32], Option<String>>>);

impl Seen {
    /// What is remembered for `ttl` after it was last asked for; zero: nothing is.
    pub(super) fn new(ttl: Duration) -> Self {
        let weigh = |_: &[u8; 32], became: &Option<String>| {
            u32::try_from(became.as_ref().map_or(0, String::len) + OVERHEAD).unwrap_or(u32::MAX)
        };
        let cache = || Cache::builder().max_capacity(MOST_KEPT).weigher(weigh).time_to_idle(ttl).build();
        Self((!ttl.is_zero()).then(cache))
    }

    /// What became of a text of a request like this: `Some(None)`, nothing. `None`: nobody has said.
    pub(super) async fn get(&self, like: &Like, text: &RequestText) -> Option<Option<String>> {
        self.0.as_ref()?.get(&hash(like, text)).await
    }

    /// Remembers what became of a text.
    pub(super) async fn put(&self, like: &Like, text: &RequestText, became: Option<String>) {
        if let Some(cache) = &self.0 {
            cache.insert(hash(like, text), became).await;
        }
    }
}

/// What a remote may decide by beside a text: another client, model, provider or tool is another question.
pub(super) struct Like([u8; 32]);

impl Like {
    pub(super) fn of(call: &v1::Call, request: &Request) -> Self {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        };
        let client = call.client.as_deref().unwrap_or_default();
        for part in [call.dialect.as_str(), &call.path, client, &call.upstream, request.model()] {
            add(part.as_bytes());
        }
        for tool in request.tools() {
            add(tool.json.raw());
        }
        Self(hash.finalize().into())
    }
}

fn hash(like: &Like, text: &RequestText) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(like.0);
    for part in [text.source().name(), text.tool().unwrap_or_default(), &text.get()] {
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}
