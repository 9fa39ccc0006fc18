//! Many calls at once, and calls for a long time: what the gateway takes, that it gives it back, and what it turns away.
//!
//! Nothing here is measured against time. `make load` and `make soak` run the same tests with more calls, for longer.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts and bytes of a test are far from where these types differ"
)]

mod deaf;
mod flood;
mod limits;
mod reload;
mod slow;
mod soak;
mod streams;
mod traffic;

use std::time::Duration;

use super::harness::{gateway::Gateway, process::Usage};

/// A mebibyte.
const MIB: u64 = 1 << 20;

/// How long a test under load lasts: the seconds of `LUTHIEN_SOAK`, which `make soak` sets.
pub(crate) fn span() -> Option<Duration> {
    let seconds = std::env::var_os("LUTHIEN_SOAK")?;
    let seconds = seconds.to_str().and_then(|seconds| seconds.parse().ok());
    Some(Duration::from_secs(seconds.expect("LUTHIEN_SOAK is a number of seconds")))
}

/// Waits until no call is left, and nothing that one had.
async fn quiet(gateway: &Gateway) {
    for name in ["luthien_calls_in_flight", "luthien_held_bytes", "luthien_spool_bytes"] {
        gateway.metric_is(name, |value| value == 0.0).await;
    }
}

/// The most that Luthien and its Envoy take until something has come.
async fn peak<T>(gateway: &Gateway, until: impl Future<Output = T>) -> (T, [Usage; 2]) {
    let (mut most, mut until) = (gateway.usage(), std::pin::pin!(until));
    loop {
        tokio::select! {
            come = &mut until => return (come, most),
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                for (most, now) in most.iter_mut().zip(gateway.usage()) {
                    *most = Usage { memory: most.memory.max(now.memory), files: most.files.max(now.files) };
                }
            }
        }
    }
}

/// By how many MiB Luthien and its Envoy have grown.
fn growth(before: [Usage; 2], now: [Usage; 2]) -> [u64; 2] {
    [0, 1].map(|process| now[process].memory.saturating_sub(before[process].memory) / MIB)
}
