//! Which headers may cross which border.

/// Luthien's own headers. A client that could send them would choose its provider or forge an identity.
pub(super) const OURS: [&str; 5] =
    ["x-luthien-upstream", "x-luthien-call-id", "x-luthien-client", "x-luthien-policy", "x-luthien-dropped"];

/// Headers that a client may not choose although Envoy's or our own meaning hangs on them. With `use_remote_address`
/// Envoy cleans them only for external clients, and takes loopback and private addresses as internal: there a client
/// could ask for retries (a second generation, twice the cost) or another timeout, and could choose the request id by
/// which access log, trace and record are joined.
pub(super) const ENVOYS_PREFIX: &str = "x-envoy-";

/// See [`ENVOYS_PREFIX`].
pub(super) const REQUEST_ID: &str = "x-request-id";

/// With it a client could have Envoy trace what the sampler would not, and put what it likes into Envoy's spans.
pub(super) const CLIENT_TRACE_ID: &str = "x-client-trace-id";

/// Headers that say who the client is and how it came here: none of the provider's business.
pub(super) const PRIVATE: [&str; 6] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-envoy-expected-rq-timeout-ms",
    REQUEST_ID,
];

/// Everything that a provider must not see.
pub(super) fn hidden_from_providers() -> Vec<&'static str> {
    PRIVATE.into_iter().chain(OURS).collect()
}
