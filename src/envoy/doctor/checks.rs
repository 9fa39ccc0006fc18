//! Everything that is looked for, one row each. `docs/doctor.md` has the same rows; a test compares them.

use std::fmt;

use serde::Serialize;

/// One thing that is looked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// How findings name it.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What is looked for.
    pub about: &'static str,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Calls fail, break off, or pass without a policy.
    Error,
    /// Something is lost, or depends on what this document does not say.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

macro_rules! checks {
    ($($name:ident = $id:literal, $severity:ident, $about:literal;)*) => {
        $(#[doc = $about] pub(super) const $name: Check = Check { id: $id, severity: Severity::$severity, about: $about };)*
        /// All of them, as the documentation lists them.
        pub const ALL: &[Check] = &[$($name),*];
    };
}

checks! {
    NO_EXT_PROC = "no-ext-proc", Error, "no connection manager has an ext_proc filter for Luthien, or it is on for no route";
    UNPOLICED_ROUTE = "unpoliced-route", Error, "a route for LLM paths leads to a provider and does not pass Luthien";
    OTHER_ROUTE = "other-route", Warning, "a route for LLM paths leads elsewhere and does not pass Luthien";
    INCOMPLETE = "incomplete", Warning, "routes, filters or hosts that this document only names, and that were not looked at";
    BODY_MODE = "body-mode", Error, "both bodies go through in `FULL_DUPLEX_STREAMED`, or Luthien can have them do so";
    TRAILER_MODE = "trailer-mode", Error, "trailers are sent (`SEND`), as full duplex demands";
    HEADER_MODE = "header-mode", Error, "headers of both directions are sent";
    FAILURE_MODE = "failure-mode", Error, "nothing passes while Luthien is away (`failure_mode_allow`)";
    MODE_OVERRIDE = "mode-override", Warning, "full duplex cannot be changed while a call runs (`allow_mode_override`)";
    MESSAGE_TIMEOUT = "message-timeout", Warning, "where Luthien asks for bodies, it has time to answer headers (`message_timeout`)";
    OBSERVABILITY_MODE = "observability-mode", Error, "Luthien decides, and does not only look on (`observability_mode`)";
    IMMEDIATE_RESPONSE = "immediate-response", Error, "Luthien may answer in place of the provider (`disable_immediate_response`)";
    TRANSPORT = "transport", Error, "Luthien is asked over gRPC by Envoy's own client";
    MUTATION_RULES = "mutation-rules", Error, "the headers that Luthien sets may be changed (`mutation_rules`)";
    ROUTE_CACHE = "route-cache", Error, "the route is chosen again after Luthien named the upstream (`route_cache_action`)";
    CONTENT_LENGTH = "content-length", Error, "the length of the old body is not sent with the new one (`allow_content_length_header`)";
    FORWARD_RULES = "forward-rules", Warning, "Luthien sees every header (`forward_rules`)";
    METADATA = "metadata", Warning, "Envoy takes the metadata `luthien`, and sends none with each message";
    ATTRIBUTES = "attributes", Warning, "`response.code_details` is sent, which tells Envoy's answers from the provider's";
    TARGETS = "targets", Error, "the route and the virtual host are sent, by which LuthienPolicy objects are told apart (`rules.crd.gateway_api`)";
    DECOMPRESSOR = "decompressor", Error, "no decompressor beside ext_proc, which then waits for ever";
    COMPRESSOR = "compressor", Error, "no compressor that hides answers from Luthien or holds event streams back";
    BUFFER = "buffer", Error, "no filter holds whole requests, with a limit for their size";
    OTHER_BODY_FILTER = "other-body-filter", Warning, "no other filter can change what Luthien has judged";
    UPSTREAM_HEADER = "upstream-header", Error, "`x-luthien-upstream` of a client is removed before a route is chosen";
    CLIENT_HEADERS = "client-headers", Warning, "other headers that a client must not choose are removed early";
    PATHS = "paths", Warning, "paths are brought into one spelling before routes and policies see them";
    IDLE_TIMEOUT = "idle-timeout", Error, "no timer for silence ends before Luthien's own clocks";
    REQUEST_TIMEOUT = "request-timeout", Error, "the time for a request outlasts upload and policies (`request_timeout`)";
    STREAM_DURATION = "stream-duration", Error, "the time for a whole stream outlasts Luthien's clocks (`max_stream_duration`)";
    ROUTE_TIMEOUT = "route-timeout", Error, "a route's `timeout` is `0s`; by default it cuts every answer after 15 s";
    MIRRORS = "mirrors", Error, "no copy of a request goes to another cluster (`request_mirror_policies`)";
    RETRIES = "retries", Error, "nothing is retried that a provider may have begun, and billed";
    UPGRADES = "upgrades", Error, "no WebSocket on a route through Luthien: no policy reads its frames";
    BUFFER_LIMIT = "buffer-limit", Warning, "connections may buffer 64 KiB or more (`per_connection_buffer_limit_bytes`)";
    HOST_REWRITE = "host-rewrite", Error, "providers are asked by their own name, which Luthien leaves to Envoy";
    UPSTREAM_ROUTING = "upstream-routing", Error, "routes follow `x-luthien-upstream`";
    DEFAULT_UPSTREAM = "default-upstream", Error, "a call whose upstream has no route goes to no provider";
    UNKNOWN_UPSTREAM = "unknown-upstream", Error, "every upstream of the settings has its route and cluster";
    CIRCUIT_BREAKER = "circuit-breaker", Error, "circuit breakers admit as many calls as Luthien does (`limits.calls`)";
    KEEPALIVE = "keepalive", Warning, "a Luthien that hangs is noticed (HTTP/2 `connection_keepalive`)";
    HTTP2 = "http2", Error, "Luthien's cluster speaks HTTP/2";
    EXTPROC_PLAINTEXT = "extproc-plaintext", Error, "calls to a Luthien on another host are encrypted";
    EXTPROC_CLIENT = "extproc-client", Warning, "Envoy shows Luthien a client certificate";
    EXTPROC_SERVER = "extproc-server", Error, "Envoy verifies Luthien's certificate";
    PROVIDER_TLS = "provider-tls", Error, "Envoy verifies a provider's certificate and its name";
    ADMIN_EXPOSED = "admin-exposed", Error, "Envoy's admin interface is on loopback or a Unix socket";
    ENVOY_VERSION = "envoy-version", Error, "Envoy is 1.40 or newer";
    ENVOY_VERSION_UNKNOWN = "envoy-version-unknown", Warning, "the running Envoy says its version";
}
