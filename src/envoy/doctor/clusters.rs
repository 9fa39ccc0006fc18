//! Clusters: Luthien's and the providers'; and Envoy itself.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::chain::{Chain, UPSTREAM};
use super::checks::{
    ADMIN_EXPOSED, CIRCUIT_BREAKER, ENVOY_VERSION, ENVOY_VERSION_UNKNOWN, EXTPROC_CLIENT, EXTPROC_PLAINTEXT,
    EXTPROC_SERVER, HTTP2, INCOMPLETE, KEEPALIVE, PROVIDER_TLS, STREAM_DURATION,
};
use super::document::{Document, Running, Version};
use super::node::Node;
use super::{Expected, Findings, Told};
use crate::envoy::timers::seconds;

/// What Luthien is built for.
const NEEDED: Version = (1, 40);

/// Envoy's own circuit breaker.
const BREAKER_BY_DEFAULT: u64 = 1024;

const PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The providers' clusters.
#[derive(Debug)]
pub(super) struct Providers<'d> {
    pub(super) clusters: BTreeSet<&'d str>,
}

/// Envoy itself.
pub(super) fn process(document: &Document<'_>, findings: &mut Findings) {
    if let Some(address) = document.admin.as_ref().and_then(|admin| admin.get("address"))
        && !is_local(&address)
    {
        let told = Told::new("Envoy's admin interface", address.path())
            .why("whoever reaches it can stop Envoy, and read its configuration with the addresses in it")
            .remedy(
                "let it listen on a Unix socket or on 127.0.0.1; `telemetry.metrics.envoy_listen` \
                serves metrics alone",
            );
        findings.add(&ADMIN_EXPOSED, told);
    }
    match document.running {
        Some(Running { version: Some((major, minor)) }) if (major, minor) < NEEDED => {
            let told = Told::new("Envoy", "the version")
                .why(format!(
                    "it is {major}.{minor}; ext_proc in full duplex was observed to work with {}.{} only",
                    NEEDED.0, NEEDED.1
                ))
                .remedy(format!("run Envoy {}.{} or newer", NEEDED.0, NEEDED.1));
            findings.add(&ENVOY_VERSION, told);
        }
        Some(Running { version: None }) => {
            let told = Told::new("Envoy", "the version").why("the document does not say which Envoy it is of").remedy(
                format!(
                    "see to it that it is {}.{} or newer, or ask its admin interface: \
                luthien doctor http://127.0.0.1:19000",
                    NEEDED.0, NEEDED.1
                ),
            );
            findings.add(&ENVOY_VERSION_UNKNOWN, told);
        }
        Some(_) | None => {}
    }
}

/// The clusters to which calls go that have passed Luthien.
pub(super) fn providers<'d>(document: &Document<'d>, chains: &[Chain<'_, 'd>], expected: &Expected) -> Providers<'d> {
    let luthiens: BTreeSet<&str> = chains.iter().flat_map(Chain::clusters).collect();
    let mut clusters = BTreeSet::new();
    for route in chains.iter().flat_map(Chain::policed) {
        clusters.extend(route.clusters().iter().filter_map(Node::as_text));
        if route.node.text("route/cluster_header").is_some_and(|header| header.eq_ignore_ascii_case(UPSTREAM)) {
            let names = document.clusters.iter().filter_map(|cluster| cluster.text("name"));
            clusters.extend(names.filter(|name| !luthiens.contains(name) && could_be_upstream(name, expected)));
        }
    }
    Providers { clusters }
}

/// Whether `x-luthien-upstream` could name it.
fn could_be_upstream(name: &str, expected: &Expected) -> bool {
    match expected.names() {
        Some(mut names) => names.any(|known| known == name),
        None => {
            name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        }
    }
}

/// All clusters that calls go through.
pub(super) fn check(
    document: &Document<'_>,
    chains: &[Chain<'_, '_>],
    providers: &Providers<'_>,
    expected: &Expected,
    findings: &mut Findings,
) {
    for name in chains.iter().flat_map(Chain::clusters).collect::<BTreeSet<_>>() {
        let Some(cluster) = document.cluster(name) else {
            let told = Told::new(format!("cluster `{name}`"), "the clusters")
                .why("the cluster by which Envoy reaches Luthien is not in the document, so it was not looked at")
                .remedy("give it what `/config_dump?include_eds` of the running Envoy answers, which has everything");
            findings.add(&INCOMPLETE, told);
            continue;
        };
        luthiens(cluster, document, expected, findings);
    }
    for cluster in providers.clusters.iter().filter_map(|name| document.cluster(name)) {
        breakers(cluster, &["max_connections", "max_pending_requests", "max_requests"], expected, findings);
        let field = "common_http_protocol_options/max_stream_duration";
        if let Some((at, limit)) =
            options(cluster).and_then(|options| Some((options.path_of(field), options.duration(field)?)))
            && !limit.is_zero()
            && limit < expected.longest
        {
            let told = Told::new(name(cluster), at)
                .why(format!("after {} Envoy breaks off any call, also a good one", seconds(limit)))
                .remedy("leave `max_stream_duration` out; Luthien's `timeouts.total` ends calls with an error");
            findings.add(&STREAM_DURATION, told);
        }
        if tls(cluster).is_empty() && is_meant_for_tls(cluster, document, expected) {
            let told = Told::new(name(cluster), cluster.path_of("transport_socket"))
                .why("prompts and keys go to the provider as they are, for everybody on the way to read and change")
                .remedy("give the cluster a `transport_socket` of TLS, with `trusted_ca` and `match_typed_subject_alt_names`");
            findings.add(&PROVIDER_TLS, told);
        }
        for tls in tls(cluster) {
            if let Some(problem) = unverified(&tls, cluster, true) {
                let told = Told::new(name(cluster), tls.path_of("common_tls_context/validation_context"))
                    .why(format!("{problem}: whoever stands in between gets the key and the prompts"))
                    .remedy("set `trusted_ca` and `match_typed_subject_alt_names` of the validation context");
                findings.add(&PROVIDER_TLS, told);
            }
        }
    }
}

/// Whether the settings say `https` of the upstream of this name, or, where they do not know it, its port does.
fn is_meant_for_tls(cluster: &Node<'_>, document: &Document<'_>, expected: &Expected) -> bool {
    let known = cluster.text("name").and_then(|name| expected.is_https(name));
    known.unwrap_or_else(|| {
        hosts(cluster, document)
            .iter()
            .any(|host| host.whole("endpoint/address/socket_address/port_value") == Some(443))
    })
}

fn luthiens(cluster: &Node<'_>, document: &Document<'_>, expected: &Expected, findings: &mut Findings) {
    breakers(cluster, &["max_pending_requests", "max_requests"], expected, findings);
    let options = options(cluster);
    let http2 = options
        .as_ref()
        .and_then(|options| {
            options
                .get("explicit_http_config/http2_protocol_options")
                .or_else(|| options.get("auto_config/http2_protocol_options"))
        })
        .or_else(|| cluster.get("http2_protocol_options"));
    match http2 {
        None => {
            let told = Told::new(name(cluster), cluster.path_of("typed_extension_protocol_options"))
                .why("gRPC needs HTTP/2, and Envoy speaks HTTP/1.1 to this cluster: every call fails")
                .remedy(format!("set `explicit_http_config.http2_protocol_options` in `{PROTOCOL_OPTIONS}`"));
            findings.add(&HTTP2, told);
        }
        Some(http2) if http2.duration("connection_keepalive/interval").is_none_or(|interval| interval.is_zero()) => {
            let told = Told::new(name(cluster), http2.path_of("connection_keepalive"))
                .why(
                    "full duplex has no time limit for Luthien's answers: behind a Luthien that hangs, \
                calls hang as well",
                )
                .remedy("set `connection_keepalive: { interval: 10s, timeout: 10s }`");
            findings.add(&KEEPALIVE, told);
        }
        Some(_) => {}
    }
    let sockets = tls(cluster);
    if sockets.is_empty() && !expected.in_a_mesh && !stays_here(cluster, document) {
        let told = Told::new(name(cluster), cluster.path_of("transport_socket"))
            .why(
                "prompts, answers and the keys of clients go over the network as they are, and anybody \
            there can play Luthien",
            )
            .remedy(
                "use TLS with a client certificate (`extproc.tls` in luthien.yaml), a Unix socket, \
            or a mesh that encrypts (and say so: `extproc.plaintext: true`, read by `--config`)",
            );
        findings.add(&EXTPROC_PLAINTEXT, told);
    }
    for tls in &sockets {
        if let Some(problem) = unverified(tls, cluster, false) {
            let told = Told::new(name(cluster), tls.path_of("common_tls_context/validation_context"))
                .why(format!("{problem}: anybody in the network can play Luthien, and read and change every call"))
                .remedy("set `trusted_ca` of the validation context to the authority of Luthien's certificate");
            findings.add(&EXTPROC_SERVER, told);
        }
        let shown = ["tls_certificates", "tls_certificate_sds_secret_configs"];
        if shown.iter().all(|field| tls.list(&format!("common_tls_context/{field}")).is_empty()) {
            let told = Told::new(name(cluster), tls.path_of("common_tls_context/tls_certificates"))
                .why("Luthien cannot tell this Envoy from others; with `extproc.tls.client_ca` it refuses it")
                .remedy("give Envoy a certificate of the authority in `extproc.tls.client_ca`");
            findings.add(&EXTPROC_CLIENT, told);
        }
    }
}

fn breakers(cluster: &Node<'_>, fields: &[&str], expected: &Expected, findings: &mut Findings) {
    let thresholds = cluster.list("circuit_breakers/thresholds");
    let default = thresholds.iter().find(|one| one.word("priority", &["DEFAULT", "HIGH"]) == "DEFAULT");
    let low = fields.iter().filter_map(|field| {
        let limit = default.and_then(|one| one.whole(field)).unwrap_or(BREAKER_BY_DEFAULT);
        (limit < expected.calls).then(|| format!("{field} {limit}"))
    });
    let low: Vec<String> = low.collect();
    if !low.is_empty() {
        let at = default.map_or_else(|| cluster.path_of("circuit_breakers"), |one| one.path().to_owned());
        let told = Told::new(name(cluster), at)
            .why(format!(
                "its circuit breaker ({}) is below the {} calls that Luthien admits: those above it \
                fail without a word",
                low.join(", "),
                expected.calls
            ))
            .remedy(format!("set each to {} or more", expected.calls.saturating_mul(4)));
        findings.add(&CIRCUIT_BREAKER, told);
    }
}

fn name(cluster: &Node<'_>) -> String {
    format!("cluster `{}`", cluster.text("name").unwrap_or_default())
}

fn options<'d>(cluster: &Node<'d>) -> Option<Node<'d>> {
    cluster.get("typed_extension_protocol_options")?.named(PROTOCOL_OPTIONS)
}

/// The ways in which it speaks TLS; empty when it speaks none.
fn tls<'d>(cluster: &Node<'d>) -> Vec<Node<'d>> {
    let own = cluster.get("transport_socket").into_iter();
    let matched = cluster.list("transport_socket_matches").into_iter().filter_map(|one| one.get("transport_socket"));
    let messages = own.chain(matched).filter_map(|socket| Some(socket.get("typed_config")?.message()));
    messages.filter(|(kind, _)| *kind == "tls.v3.UpstreamTlsContext").map(|(_, config)| config).collect()
}

/// What is not verified of the other side's certificate.
fn unverified(tls: &Node<'_>, cluster: &Node<'_>, by_name: bool) -> Option<&'static str> {
    let context = tls.get("common_tls_context")?;
    let combined = context.get("combined_validation_context");
    let from_elsewhere = context.get("validation_context_sds_secret_config").is_some();
    let inline = context
        .get("validation_context")
        .or_else(|| combined.as_ref().and_then(|combined| combined.get("default_validation_context")));
    let secret = combined.as_ref().and_then(|combined| combined.get("validation_context_sds_secret_config")).is_some();
    let has = |field: &str| inline.as_ref().is_some_and(|inline| inline.get(field).is_some());
    let trusts = from_elsewhere
        || secret
        || ["trusted_ca", "system_root_certs", "ca_certificate_provider_instance", "custom_validator_config"]
            .iter()
            .any(|field| has(field));
    if !trusts
        || inline.as_ref().is_some_and(|inline| {
            inline.word("trust_chain_verification", &["VERIFY_TRUST_CHAIN", "ACCEPT_UNTRUSTED"]) == "ACCEPT_UNTRUSTED"
        })
    {
        return Some("no certificate is verified");
    }
    let named = [
        "match_typed_subject_alt_names",
        "match_subject_alt_names",
        "verify_certificate_spki",
        "verify_certificate_hash",
    ];
    let automatic = options(cluster)
        .is_some_and(|options| options.is_on("upstream_http_protocol_options/auto_san_validation"))
        || tls.is_on("auto_sni_san_validation");
    if by_name && !from_elsewhere && !automatic && !named.iter().any(|field| has(field)) {
        return Some("any certificate of any known authority is good enough, whatever name it is for");
    }
    None
}

/// Whether all its hosts are on this machine.
fn stays_here(cluster: &Node<'_>, document: &Document<'_>) -> bool {
    let hosts = hosts(cluster, document);
    !hosts.is_empty() && hosts.iter().all(|host| host.get("endpoint/address").is_some_and(|address| is_local(&address)))
}

/// The endpoints of a cluster, wherever they stand.
fn hosts<'d>(cluster: &Node<'d>, document: &Document<'d>) -> Vec<Node<'d>> {
    let known_as = cluster.text("eds_cluster_config/service_name").or_else(|| cluster.text("name"));
    let apart = known_as.and_then(|name| document.endpoints.get(name)).cloned();
    let assignment = cluster.get("load_assignment").or(apart);
    let localities = assignment.iter().flat_map(|assignment| assignment.list("endpoints"));
    localities.flat_map(|locality| locality.list("lb_endpoints")).collect()
}

fn is_local(address: &Node<'_>) -> bool {
    if address.get("pipe").is_some() {
        return true;
    }
    let host = address.text("socket_address/address").unwrap_or_default();
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}
