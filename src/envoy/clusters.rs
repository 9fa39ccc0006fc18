//! The clusters: Luthien's ext_proc service, and one for each provider.

use std::path::Path;

use serde_json::{Value, json};

use super::address::Address;
use super::bootstrap::{BootstrapError, Placement};
use super::stats;
use super::timers::seconds;
use super::tls::Shown;
use super::yaml::set;
use crate::config::settings::{Settings, Upstream};

/// The ext_proc cluster. The underscore in front keeps it apart from every provider: their names begin with a letter
/// or a digit, so no `x-luthien-upstream` can ever name it.
pub(super) const EXTPROC: &str = "_luthien_extproc";

/// Bytes that Envoy buffers for one connection or stream before it stops reading from the other side.
pub(super) const BUFFER: u32 = 1 << 20;

/// How many calls Envoy admits. Luthien counts calls and answers the one too many with a proper error; Envoy's own
/// breaker (1024 by default) answers without a word, so it stands far above.
pub(super) fn headroom(settings: &Settings) -> u32 {
    settings.limits.calls.saturating_mul(4).saturating_add(4096)
}

/// All clusters, Luthien's first, then the providers'.
pub(super) fn clusters(settings: &Settings, placement: &Placement) -> Result<Vec<Value>, BootstrapError> {
    let providers = settings.upstreams.iter().map(|upstream| provider(upstream, settings, placement));
    let stats = settings.telemetry.metrics.envoy_listen.as_ref().map(|_| Ok(stats::cluster(&placement.admin)));
    let collector = placement.tracer.as_ref().map(|tracer| tracer.cluster(placement.system_ca.as_deref()));
    std::iter::once(extproc(settings, placement)).chain(providers).chain(stats).chain(collector).collect()
}

fn extproc(settings: &Settings, placement: &Placement) -> Result<Value, BootstrapError> {
    let mut cluster = base(EXTPROC, "1s", &placement.extproc, None, settings);
    set(
        &mut cluster,
        "typed_extension_protocol_options",
        protocol_options(json!({
            "explicit_http_config": {
                "http2_protocol_options": {
                    "initial_stream_window_size": 256 * 1024,
                    "initial_connection_window_size": 64 * BUFFER,
                    // Beyond this Envoy opens a further connection, which lets Luthien use more than one thread.
                    "max_concurrent_streams": 128,
                    // Full duplex has no message timeout: this alone finds a Luthien that is hung or behind a black hole.
                    // Ten seconds without any sign of life is not a busy service any more.
                    "connection_keepalive": { "interval": "10s", "timeout": "10s" },
                },
            },
        })),
    );
    if settings.extproc.tls.is_some()
        && let Address::Socket { host, .. } = &placement.extproc
    {
        let envoy = settings.extproc.envoy.as_ref().ok_or(BootstrapError::NoCertificate)?;
        let (key, certificate) = Shown::Luthien.certificate(&envoy.certificate(), placement);
        let mut socket = authority_validation(host, placement.extproc.ip().is_some(), &envoy.ca);
        if let Some(context) = socket.pointer_mut("/typed_config/common_tls_context") {
            set(context, key, certificate);
            set(context, "alpn_protocols", json!(["h2"]));
        }
        set(&mut cluster, "transport_socket", socket);
    }
    Ok(cluster)
}

fn provider(upstream: &Upstream, settings: &Settings, placement: &Placement) -> Result<Value, BootstrapError> {
    let target = Target::new(upstream, placement)?;
    let connect = upstream.timeouts.connect.unwrap_or(settings.timeouts.connect);
    let mut cluster =
        base(&upstream.name, &seconds(connect.get()), &target.address, Some(&target.authority()), settings);
    set(
        &mut cluster,
        "upstream_connection_options",
        json!({ "tcp_keepalive": { "keepalive_time": 30, "keepalive_interval": 10, "keepalive_probes": 3 } }),
    );
    // Shorter than the providers' own limit for an idle connection, so that a request seldom meets a closing one.
    let common = json!({ "idle_timeout": "60s" });
    if target.tls {
        set(
            &mut cluster,
            "typed_extension_protocol_options",
            protocol_options(json!({
                "common_http_protocol_options": common,
                "auto_config": {
                    "http2_protocol_options": {
                        "connection_keepalive": { "interval": "30s", "timeout": "10s" },
                        "initial_stream_window_size": BUFFER,
                        "initial_connection_window_size": 16 * BUFFER,
                    },
                },
            })),
        );
        set(&mut cluster, "transport_socket", upstream_tls(upstream, &target.address, placement)?);
    } else {
        set(
            &mut cluster,
            "typed_extension_protocol_options",
            protocol_options(json!({
                "common_http_protocol_options": common,
                "explicit_http_config": { "http_protocol_options": {} },
            })),
        );
    }
    Ok(cluster)
}

/// What all clusters share.
fn base(name: &str, connect: &str, address: &Address, hostname: Option<&str>, settings: &Settings) -> Value {
    let mut endpoint = json!({ "address": address.to_envoy() });
    if let Some(hostname) = hostname {
        // What `auto_host_rewrite` puts into the request.
        set(&mut endpoint, "hostname", json!(hostname));
    }
    let is_name = matches!(address, Address::Socket { .. }) && address.ip().is_none();
    let mut cluster = json!({ "name": name });
    if is_name {
        set(&mut cluster, "cluster_type", dns());
    } else {
        set(&mut cluster, "type", json!("STATIC"));
    }
    let most = headroom(settings);
    set(&mut cluster, "connect_timeout", json!(connect));
    set(&mut cluster, "per_connection_buffer_limit_bytes", json!(BUFFER));
    set(
        &mut cluster,
        "load_assignment",
        json!({ "cluster_name": name, "endpoints": [{ "lb_endpoints": [{ "endpoint": endpoint }] }] }),
    );
    set(
        &mut cluster,
        "circuit_breakers",
        json!({
            "thresholds": [{
                "max_connections": most,
                "max_pending_requests": most,
                "max_requests": most,
                "max_retries": most,
            }],
        }),
    );
    cluster
}

/// A name that is resolved again as its TTL says. All its addresses are one endpoint: connections to an address that DNS
/// does not name any more live on, where a set of endpoints would cut them in mid-stream. IPv4 comes first because many
/// networks announce an IPv6 that does not work.
fn dns() -> Value {
    json!({
        "name": "envoy.cluster.dns",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
            "respect_dns_ttl": true,
            "dns_lookup_family": "V4_PREFERRED",
            "all_addresses_in_single_endpoint": true,
        },
    })
}

pub(super) fn protocol_options(mut options: Value) -> Value {
    set(&mut options, "@type", json!("type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"));
    json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options })
}

fn upstream_tls(upstream: &Upstream, address: &Address, placement: &Placement) -> Result<Value, BootstrapError> {
    let ca: &Path = upstream
        .ca
        .as_deref()
        .or(placement.system_ca.as_deref())
        .ok_or_else(|| BootstrapError::NoCa { upstream: upstream.name.clone() })?;
    let Address::Socket { host, .. } = address else {
        return Err(BootstrapError::url(upstream, "a Unix socket has no TLS"));
    };
    Ok(authority_validation(host, address.ip().is_some(), ca))
}

/// TLS to a host, whose certificate an authority of `ca` has to have signed for it.
pub(super) fn authority_validation(host: &str, is_ip: bool, ca: &Path) -> Value {
    let mut config = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "tls_params": { "tls_minimum_protocol_version": "TLSv1_2" },
            // Without a name to match, any certificate of any authority would do.
            "validation_context": {
                "trusted_ca": { "filename": ca },
                "match_typed_subject_alt_names":
                    [{ "san_type": if is_ip { "IP_ADDRESS" } else { "DNS" }, "matcher": { "exact": host } }],
            },
        },
    });
    if !is_ip {
        // RFC 6066: a literal address is not permitted in SNI.
        set(&mut config, "sni", json!(host));
    }
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": config })
}

/// Where a provider's `url` leads. Its path prefix is Luthien's business, which writes the path of each request.
struct Target {
    address: Address,
    tls: bool,
}

impl Target {
    fn new(upstream: &Upstream, placement: &Placement) -> Result<Self, BootstrapError> {
        if upstream.url == "demo" {
            let demo = placement.demo.as_ref();
            let demo = demo.ok_or_else(|| BootstrapError::NoDemo { upstream: upstream.name.clone() })?;
            return Ok(Self { address: demo.clone(), tls: false });
        }
        let uri: http::Uri =
            upstream.url.parse().map_err(|e: http::uri::InvalidUri| BootstrapError::url(upstream, &e.to_string()))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(other) => return Err(BootstrapError::url(upstream, &format!("`{other}` is not http or https"))),
            None => return Err(BootstrapError::url(upstream, "it has no scheme")),
        };
        let host =
            uri.host().filter(|h| !h.is_empty()).ok_or_else(|| BootstrapError::url(upstream, "it has no host"))?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { address: Address::Socket { host, port }, tls })
    }

    /// The `Host` that the provider expects: without the port when it is the scheme's own (RFC 9110, 7.2).
    fn authority(&self) -> String {
        match &self.address {
            Address::Socket { host, port: 443 } if self.tls => bracketed(host),
            Address::Socket { host, port: 80 } if !self.tls => bracketed(host),
            Address::Socket { .. } => self.address.to_string(),
            Address::Pipe(_) => "localhost".to_owned(),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
