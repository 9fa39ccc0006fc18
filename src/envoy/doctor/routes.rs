//! Routes: those that pass Luthien, and those that go round it.

use std::collections::BTreeSet;

use super::chain::{Chain, UPSTREAM};
use super::checks::{
    DEFAULT_UPSTREAM, HOST_REWRITE, IDLE_TIMEOUT, MIRRORS, OTHER_ROUTE, RETRIES, ROUTE_TIMEOUT, STREAM_DURATION,
    UNKNOWN_UPSTREAM, UNPOLICED_ROUTE, UPGRADES, UPSTREAM_ROUTING,
};
use super::clusters::Providers;
use super::document::Document;
use super::manager::{Manager, Route};
use super::node::Node;
use super::{Expected, Findings, Told};
use crate::envoy::timers::seconds;

/// Paths on which models are asked.
const LLM_PATHS: [&str; 4] = ["/v1/messages", "/v1/chat/completions", "/v1/responses", "/v1/messages/count_tokens"];

/// Reasons to retry for which the provider has certainly not begun, and those that only gRPC answers know.
const HARMLESS: [&str; 10] = [
    "connect-failure",
    "refused-stream",
    "reset-before-request",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
    "",
];

/// The routes of one chain.
pub(super) fn check(
    chain: &Chain<'_, '_>,
    document: &Document<'_>,
    providers: &Providers<'_>,
    expected: &Expected,
    findings: &mut Findings,
) {
    for route in chain.policed() {
        upgrades(chain, route, findings);
        let Some(action) = route.action() else { continue };
        timers(chain, route, &action, expected, findings);
        retries(chain, route, &action, findings);
        copies(chain, route, &action, findings);
        host(chain, route, &action, findings);
    }
    choice(chain, document, providers, expected, findings);
}

fn timers(chain: &Chain<'_, '_>, route: &Route<'_>, action: &Node<'_>, expected: &Expected, findings: &mut Findings) {
    let needed = seconds(expected.longest);
    let told = |at: String| Told::new(format!("{}, {}", chain.manager.name(), route.name()), at);
    let short = |field: &str| action.duration(field).filter(|limit| !limit.is_zero() && *limit < expected.longest);
    let max = action.get("max_stream_duration");
    let timeout = action.duration("timeout");
    if timeout.is_none_or(|limit| !limit.is_zero()) && !(timeout.is_none() && max.is_some()) {
        let why = match timeout {
            None => "by default Envoy breaks every answer off after 15 s".to_owned(),
            Some(limit) => format!("Envoy breaks every answer off after {}", seconds(limit)),
        };
        let told = told(action.path_of("timeout")).why(why).remedy("set `timeout: 0s`; Luthien has the clocks");
        findings.add(&ROUTE_TIMEOUT, told);
    }
    if let Some(limit) = short("max_stream_duration/max_stream_duration") {
        let told = told(action.path_of("max_stream_duration/max_stream_duration"))
            .why(format!("after {} Envoy breaks off any call, also a good one", seconds(limit)))
            .remedy("leave `max_stream_duration` out; Luthien's `timeouts.total` ends calls with an error");
        findings.add(&STREAM_DURATION, told);
    }
    if let Some(limit) = short("idle_timeout") {
        let told = told(action.path_of("idle_timeout"))
            .why(format!(
                "after {} of silence Envoy breaks a call off; a held answer may be silent for {needed}",
                seconds(limit)
            ))
            .remedy(format!("set `idle_timeout: {needed}` or more"));
        findings.add(&IDLE_TIMEOUT, told);
    }
}

/// A request that is sent twice: by mirroring, or because an answer is late.
fn copies(chain: &Chain<'_, '_>, route: &Route<'_>, action: &Node<'_>, findings: &mut Findings) {
    let told = |at: String| Told::new(format!("{}, {}", chain.manager.name(), route.name()), at);
    let mirrors = [action, &route.host].into_iter().find(|node| !node.list("request_mirror_policies").is_empty());
    if let Some(owner) = mirrors {
        let told = told(owner.path_of("request_mirror_policies"))
            .why("a copy of every request, with prompts and the provider's key, goes to another cluster, whose answer nobody sees")
            .remedy("leave `request_mirror_policies` out of routes that lead to providers; records are what copies are for");
        findings.add(&MIRRORS, told);
    }
    if let Some(hedging) = action.get("hedge_policy").or_else(|| route.host.get("hedge_policy"))
        && (hedging.whole("initial_requests").is_some_and(|requests| requests > 1)
            || hedging.is_on("hedge_on_per_try_timeout"))
    {
        let told = told(hedging.path().to_owned())
            .why("Envoy asks several times at once: the answer is made, and paid, as often")
            .remedy("leave `hedge_policy` out");
        findings.add(&RETRIES, told);
    }
}

fn retries(chain: &Chain<'_, '_>, route: &Route<'_>, action: &Node<'_>, findings: &mut Findings) {
    // The most specific policy is in force.
    let policy = action.get("retry_policy").or_else(|| route.host.get("retry_policy"));
    let Some(policy) = policy else { return };
    let told = |at: String| Told::new(format!("{}, {}", chain.manager.name(), route.name()), at);
    let reasons = policy.text("retry_on").unwrap_or_default().split(',').map(str::trim);
    // Without status codes this reason never holds.
    let codes = !policy.list("retriable_status_codes").is_empty();
    let harmful: Vec<&str> =
        reasons.filter(|reason| !HARMLESS.contains(reason) && (codes || *reason != "retriable-status-codes")).collect();
    let no_retries = policy.whole("num_retries") == Some(0);
    if !harmful.is_empty() && !no_retries {
        let told = told(policy.path_of("retry_on"))
            .why(format!(
                "`{}` asks again although the provider may have begun: the answer is made, and paid, twice",
                harmful.join(",")
            ))
            .remedy("set `retry_on: connect-failure,refused-stream`");
        findings.add(&RETRIES, told);
    }
    for field in ["per_try_timeout", "per_try_idle_timeout"] {
        if policy.duration(field).is_some_and(|limit| !limit.is_zero()) {
            let told = told(policy.path_of(field))
                .why("Envoy breaks an answer off, and may ask again, although the provider has begun")
                .remedy(format!("leave `{field}` out; Luthien has the clocks"));
            findings.add(&RETRIES, told);
        }
    }
}

fn upgrades(chain: &Chain<'_, '_>, route: &Route<'_>, findings: &mut Findings) {
    // Whether an upgrade is let through is decided on the first route, before Luthien has named an upstream.
    let first = route.demands(UPSTREAM).is_none() || chain.lets_in(UPSTREAM);
    if !first || chain.manager.routes.iter().any(|other| answers_upgrades(chain, other, route)) {
        return;
    }
    let websocket =
        |upgrade: &&Node<'_>| upgrade.text("upgrade_type").is_some_and(|kind| kind.eq_ignore_ascii_case("websocket"));
    let of_route = route.node.list("route/upgrade_configs");
    let of_manager = chain.manager.config.list("upgrade_configs");
    let deciding = of_route.iter().find(websocket).or_else(|| of_manager.iter().find(websocket));
    let Some(upgrade) = deciding.filter(|upgrade| upgrade.get("enabled").is_none() || upgrade.is_on("enabled")) else {
        return;
    };
    let told = Told::new(format!("{}, {}", chain.manager.name(), route.name()), upgrade.path())
        .why("a WebSocket through this route carries prompts and answers that no policy can read")
        .remedy("set `enabled: false`, or leave `upgrade_configs` out");
    findings.add(&UPGRADES, told);
}

/// Whether upgrades that `route` would match are answered by `other`, without Luthien and without a provider.
fn answers_upgrades(chain: &Chain<'_, '_>, other: &Route<'_>, route: &Route<'_>) -> bool {
    let headers = other.node.list("match/headers");
    let only_upgrades = headers.len() == 1
        && headers.iter().all(|header| header.text("name").is_some_and(|name| name.eq_ignore_ascii_case("upgrade")));
    only_upgrades
        && other.host.path() == route.host.path()
        && other.node.text("match/prefix") == Some("/")
        && other.action().is_none()
        && !chain.filter.is_on(other)
}

fn host(chain: &Chain<'_, '_>, route: &Route<'_>, action: &Node<'_>, findings: &mut Findings) {
    let rewrites = ["host_rewrite_literal", "host_rewrite_header", "host_rewrite_path_regex"];
    let of_clusters = action.list("weighted_clusters/clusters");
    let each =
        !of_clusters.is_empty() && of_clusters.iter().all(|cluster| cluster.get("host_rewrite_literal").is_some());
    if each || action.is_on("auto_host_rewrite") || rewrites.iter().any(|field| action.get(field).is_some()) {
        return;
    }
    let told = Told::new(format!("{}, {}", chain.manager.name(), route.name()), action.path())
        .why("the provider is asked with the name by which the client knows this gateway, and refuses it")
        .remedy("set `auto_host_rewrite: true` with a `hostname` at the endpoint, or `host_rewrite_literal`");
    findings.add(&HOST_REWRITE, told);
}

/// Whether the routes follow what Luthien says.
fn choice(
    chain: &Chain<'_, '_>,
    document: &Document<'_>,
    providers: &Providers<'_>,
    expected: &Expected,
    findings: &mut Findings,
) {
    let forwarding: Vec<&Route<'_>> = chain.policed().filter(|route| route.action().is_some()).collect();
    let by_cluster = forwarding.iter().any(|route| follows(route));
    let named: BTreeSet<&str> = forwarding.iter().filter_map(|route| route.demands(UPSTREAM)).collect();
    if chain.policed().next().is_none() || !chain.manager.missing.is_empty() {
        return;
    }
    if !by_cluster && named.is_empty() {
        let known = expected.upstreams.as_ref().map_or(2, Vec::len);
        // With one upstream and one cluster there is nothing to choose.
        if known > 1 || providers.clusters.len() > 1 {
            let told = Told::new(chain.manager.name(), chain.manager.config.path())
                .why(format!(
                    "no route asks for `{UPSTREAM}`, so Luthien's choice of an upstream has no \
                effect; its key goes to another provider"
                ))
                .remedy(format!(
                    "route by `cluster_header: {UPSTREAM}`, or by one exact match of that \
                header for each upstream"
                ));
            findings.add(&UPSTREAM_ROUTING, told);
        }
        return;
    }
    for route in &forwarding {
        let open = route.demands(UPSTREAM).is_none() && !follows(route);
        if open && LLM_PATHS.iter().any(|path| route.could_match(path)) {
            let told = Told::new(format!("{}, {}", chain.manager.name(), route.name()), route.node.path())
                .why("a call whose upstream has no route of its own goes here, with the key of that other upstream")
                .remedy(
                    "answer such calls with `direct_response` and a status of 503; ext_proc stays \
                on, and the right route is chosen after it",
                );
            findings.add(&DEFAULT_UPSTREAM, told);
        }
    }
    for name in expected.names().into_iter().flatten() {
        let routed = named.contains(name) || (by_cluster && document.cluster(name).is_some());
        if !routed {
            let what = if by_cluster { "cluster" } else { "route" };
            let told = Told::new(chain.manager.name(), chain.manager.config.path())
                .why(format!("the upstream `{name}` of the settings has no {what} here: every call for it fails"))
                .remedy(if by_cluster {
                    format!("add a cluster with the name `{name}`")
                } else {
                    format!("add a route that matches `{UPSTREAM}: {name}` exactly")
                });
            findings.add(&UNKNOWN_UPSTREAM, told);
        }
    }
    for cluster in forwarding.iter().flat_map(|route| route.clusters()) {
        let name = cluster.as_text().unwrap_or_default();
        if document.cluster(name).is_none() && !document.clusters.is_empty() {
            let told = Told::new(chain.manager.name(), cluster.path())
                .why(format!("there is no cluster `{name}`: Envoy answers 503 to every call of this route"))
                .remedy("correct the name, or add the cluster");
            findings.add(&UNKNOWN_UPSTREAM, told);
        }
    }
}

fn follows(route: &Route<'_>) -> bool {
    route.node.text("route/cluster_header").is_some_and(|header| header.eq_ignore_ascii_case(UPSTREAM))
}

/// Routes that go round Luthien, of all connection managers.
pub(super) fn unpoliced(
    managers: &[Manager<'_>],
    chains: &[Chain<'_, '_>],
    providers: &Providers<'_>,
    findings: &mut Findings,
) {
    for manager in managers {
        let own: Vec<&Chain<'_, '_>> =
            chains.iter().filter(|chain| chain.manager.config.path() == manager.config.path()).collect();
        // Where it is on for nothing, that is told already.
        if !own.is_empty() && own.iter().all(|chain| chain.policed().next().is_none()) {
            continue;
        }
        for route in &manager.routes {
            if route.action().is_none() || own.iter().any(|chain| chain.filter.is_on(route)) {
                continue;
            }
            let names = route.clusters();
            let leads = follows(route)
                || names.iter().any(|name| name.as_text().is_some_and(|name| providers.clusters.contains(name)));
            let is_llm = LLM_PATHS.iter().any(|path| route.could_match(path));
            let told = Told::new(format!("{}, {}", manager.name(), route.name()), route.node.path());
            if leads {
                let told = told
                    .why("it leads to a provider, and Luthien does not see its calls")
                    .remedy("switch ext_proc on for it, answer it with `direct_response`, or take it out");
                findings.add(&UNPOLICED_ROUTE, told);
            } else if is_llm && !own.is_empty() {
                let told = told
                    .why("LLM calls that match it pass no policy; that is right if it leads to no model")
                    .remedy("switch ext_proc on for it, or match fewer paths or hosts");
                findings.add(&OTHER_ROUTE, told);
            }
        }
    }
}
