//! What the end-to-end tests stand on: the gateway as a process, clients that report the wire, the official SDKs.

pub(crate) mod agents;
pub(crate) mod attached;
pub(crate) mod authority;
pub(crate) mod balancer;
pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod errors;
pub(crate) mod gateway;
mod http1;
mod http2;
pub(crate) mod inside;
pub(crate) mod mounted;
pub(crate) mod pod;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod samples;
pub(crate) mod sdk;
pub(crate) mod sse;

use std::{
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};

use luthien::envoy::find_envoy;

/// Waits for `future`, but not for ever: fails with `what` was waited for.
pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("{what}: not within {limit:?}"))
}

/// Long enough for anything that happens at once on a slow machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The Envoy that the tests use. They fail without one: a skipped test would look like a passed one.
pub(crate) fn envoy() -> PathBuf {
    let named = std::env::var_os("LUTHIEN_ENVOY").map(PathBuf::from);
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools");
    find_envoy(named.as_deref(), &[tools]).unwrap_or_else(|error| panic!("{error}"))
}
