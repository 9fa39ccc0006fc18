//! The ext_proc filter itself, and what single routes make of it.

use std::time::Duration;

use super::chain::{Chain, UPSTREAM};
use super::checks::{
    ATTRIBUTES, BODY_MODE, CONTENT_LENGTH, Check, FAILURE_MODE, FORWARD_RULES, HEADER_MODE, IMMEDIATE_RESPONSE,
    MESSAGE_TIMEOUT, METADATA, MODE_OVERRIDE, MUTATION_RULES, OBSERVABILITY_MODE, ROUTE_CACHE, TARGETS, TRAILER_MODE,
    TRANSPORT,
};
use super::manager::Applied;
use super::node::Node;
use super::{Expected, Findings, Told};
use crate::envoy::timers::seconds;

/// The attributes that say which way a call took.
const WAYS: [&str; 2] = ["xds.route_name", "xds.virtual_host_name"];

/// The attribute that tells Envoy's own answers from a provider's.
const DETAILS: &str = "response.code_details";

/// The namespace of metadata that the access log shows.
const NAMESPACE: &str = "luthien";

/// Headers that Luthien sets or takes away on the way to a provider.
const CHANGED: [&str; 8] = [
    UPSTREAM,
    ":path",
    "authorization",
    "x-api-key",
    "anthropic-version",
    "content-type",
    "accept-encoding",
    "x-luthien-call-id",
];

/// What a route may say in place of the filter.
#[derive(Default)]
struct Spoken<'d> {
    /// The filter's own mode is in force somewhere.
    modes: Vec<(String, Node<'d>)>,
    failures: Vec<(String, Node<'d>)>,
}

pub(super) fn check(chain: &Chain<'_, '_>, expected: &Expected, findings: &mut Findings) {
    let config = &chain.filter.config;
    let spoken = spoken(chain);
    for (place, owner) in &spoken.modes {
        modes(place, owner, config, findings);
    }
    on_demand(chain, &spoken, findings);
    for (place, owner) in &spoken.failures {
        let told = Told::new(place, owner.path_of("failure_mode_allow"))
            .why("while Luthien is away, or fails, calls pass without a policy")
            .remedy("set `failure_mode_allow: false`");
        if owner.is_on("failure_mode_allow") {
            findings.add(&FAILURE_MODE, told);
        }
    }
    let flag = |field: &str, check: &Check, why: &str, remedy: &str, findings: &mut Findings| {
        if config.is_on(field) {
            findings.add(check, Told::new(chain.name(), config.path_of(field)).why(why).remedy(remedy));
        }
    };
    flag(
        "observability_mode",
        &OBSERVABILITY_MODE,
        "Envoy sends copies and does not wait for what Luthien decides: nothing is ever blocked or changed",
        "set `observability_mode: false`",
        findings,
    );
    flag(
        "disable_immediate_response",
        &IMMEDIATE_RESPONSE,
        "Luthien's refusals and errors become an empty 500",
        "set `disable_immediate_response: false`",
        findings,
    );
    flag(
        "allow_content_length_header",
        &CONTENT_LENGTH,
        "a body that Luthien made longer or shorter would go out with the old length: the call hangs, \
        or bytes are taken for the next one",
        "set `allow_content_length_header: false`",
        findings,
    );
    flag(
        "disable_clear_route_cache",
        &ROUTE_CACHE,
        "the route stays the one that the client's request chose, whatever upstream Luthien names",
        "leave `disable_clear_route_cache` out",
        findings,
    );
    if config.word("route_cache_action", &["DEFAULT", "CLEAR", "RETAIN"]) == "RETAIN" {
        let told = Told::new(chain.name(), config.path_of("route_cache_action"))
            .why("the route stays the one that the client's request chose, whatever upstream Luthien names")
            .remedy("set `route_cache_action: CLEAR`, or leave it out: Luthien asks for a new route itself");
        findings.add(&ROUTE_CACHE, told);
    }
    transport(chain, findings);
    mutation_rules(chain, findings);
    told_of_calls(chain, expected, findings);
}

/// Whose modes are in force: the filter's where a route does not say otherwise, and each route's that does.
fn spoken<'d>(chain: &Chain<'_, 'd>) -> Spoken<'d> {
    let config = &chain.filter.config;
    let (mut own_mode, mut own_failure) = (chain.policed().next().is_none(), chain.policed().next().is_none());
    let mut spoken = Spoken::default();
    for route in chain.policed() {
        let overrides = match chain.filter.on(route) {
            Applied::Own(own) => own.get("overrides"),
            Applied::On | Applied::Off => None,
        };
        let place = || format!("{}, {}", chain.manager.name(), route.name());
        match overrides.as_ref().filter(|own| own.get("processing_mode").is_some()) {
            Some(own) => spoken.modes.push((place(), own.clone())),
            None => own_mode = true,
        }
        match overrides.as_ref().filter(|own| own.get("failure_mode_allow").is_some()) {
            Some(own) => spoken.failures.push((place(), own.clone())),
            None => own_failure = true,
        }
    }
    if own_mode {
        spoken.modes.push((chain.name(), config.clone()));
    }
    if own_failure {
        spoken.failures.push((chain.name(), config.clone()));
    }
    spoken
}

/// How bodies are sent; the first is Envoy's default.
const BODY: [&str; 6] = ["NONE", "STREAMED", "BUFFERED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED", "GRPC"];

/// Whether Envoy sends no body by itself, neither way.
fn sends_none(owner: &Node<'_>) -> bool {
    let is_none = |direction| owner.word(&format!("processing_mode/{direction}_body_mode"), &BODY) == "NONE";
    is_none("request") && is_none("response")
}

/// Envoy sends bodies when Luthien asks for them, which it has to be able to.
fn on_demand(chain: &Chain<'_, '_>, spoken: &Spoken<'_>, findings: &mut Findings) {
    /// A busy machine takes longer for an answer than the default.
    const SHORT: Duration = Duration::from_secs(5);
    const BY_DEFAULT: Duration = Duration::from_millis(200);
    let config = &chain.filter.config;
    if !config.is_on("allow_mode_override") {
        return;
    }
    let mut never = true;
    for (place, _) in spoken.modes.iter().filter(|(_, owner)| sends_none(owner)) {
        never = false;
        for field in ["send_body_without_waiting_for_header_response", "allowed_override_modes"] {
            if config.get(field).is_some_and(|_| field == "allowed_override_modes" || config.is_on(field)) {
                let told = Told::new(place, config.path_of(field))
                    .why("Envoy does not do what Luthien asks for, and every call with a body ends in an error")
                    .remedy(format!("leave `{field}` out"));
                findings.add(&BODY_MODE, told);
            }
        }
        let limit = config.duration("message_timeout").unwrap_or(BY_DEFAULT);
        if limit < SHORT {
            let told = Told::new(place, config.path_of("message_timeout"))
                .why(format!("after {} Envoy gives up a call whose headers Luthien has not answered", seconds(limit)))
                .remedy("set `message_timeout: 3600s`; `connection_keepalive` finds a Luthien that hangs");
            findings.add(&MESSAGE_TIMEOUT, told);
        }
    }
    if never {
        let told = Told::new(chain.name(), config.path_of("allow_mode_override"))
            .why("an answer of the ext_proc service could switch bodies off in mid-call, and they would pass unread")
            .remedy(
                "set `allow_mode_override: false`; Luthien asks for another mode only where both bodies are `NONE`",
            );
        findings.add(&MODE_OVERRIDE, told);
    }
}

fn modes(place: &str, owner: &Node<'_>, config: &Node<'_>, findings: &mut Findings) {
    const HEADER: [&str; 3] = ["DEFAULT", "SEND", "SKIP"];
    let on_demand = sends_none(owner) && config.is_on("allow_mode_override");
    for direction in ["request", "response"] {
        let at = |part: &str| format!("processing_mode/{direction}_{part}_mode");
        let body = owner.word(&at("body"), &BODY);
        if body != "FULL_DUPLEX_STREAMED" && !on_demand {
            let why = match body {
                "NONE" if sends_none(owner) => {
                    "never comes: Luthien asks for it, and Envoy does not hear that without `allow_mode_override`"
                        .to_owned()
                }
                "NONE" => "passes unread: no policy sees its text".to_owned(),
                mode => format!(
                    "goes through in the mode `{mode}`, in which Luthien cannot hold it back, lengthen it or end it"
                ),
            };
            let told =
                Told::new(place, owner.path_of(&at("body"))).why(format!("the body of the {direction} {why}")).remedy(
                    format!("set `{direction}_body_mode: FULL_DUPLEX_STREAMED` and `{direction}_trailer_mode: SEND`"),
                );
            findings.add(&BODY_MODE, told);
        }
        if owner.word(&at("trailer"), &HEADER) != "SEND" && !sends_none(owner) {
            let told = Told::new(place, owner.path_of(&at("trailer")))
                .why(format!("without the trailers of the {direction} Envoy does not take full duplex at all"))
                .remedy(format!("set `{direction}_trailer_mode: SEND`"));
            findings.add(&TRAILER_MODE, told);
        }
        if owner.word(&at("header"), &HEADER) == "SKIP" {
            let told = Told::new(place, owner.path_of(&at("header")))
                .why(format!(
                    "Luthien sees no headers of the {direction}, so it knows neither path nor kind of the body"
                ))
                .remedy(format!("set `{direction}_header_mode: SEND`"));
            findings.add(&HEADER_MODE, told);
        }
    }
}

fn transport(chain: &Chain<'_, '_>, findings: &mut Findings) {
    let config = &chain.filter.config;
    let (field, why) = match (config.get("http_service"), config.get("grpc_service/google_grpc")) {
        (Some(_), _) => ("http_service", "over plain HTTP only headers are sent"),
        (None, Some(_)) => {
            ("grpc_service/google_grpc", "this gRPC client has no cluster, whose limits and keepalive calls need")
        }
        (None, None) => return,
    };
    let told = Told::new(chain.name(), config.path_of(field)).why(why).remedy("use `grpc_service.envoy_grpc`");
    findings.add(&TRANSPORT, told);
}

fn mutation_rules(chain: &Chain<'_, '_>, findings: &mut Findings) {
    let Some(rules) = chain.filter.config.get("mutation_rules") else { return };
    let all = rules.is_on("disallow_all").then_some("disallow_all");
    let system = rules.is_on("disallow_system").then_some("disallow_system");
    let matched = rules.text("disallow_expression/regex").filter(|regex| {
        regex::Regex::new(&format!("^(?:{regex})$"))
            .map_or(true, |regex| CHANGED.iter().any(|header| regex.is_match(header)))
    });
    for field in [all, system, matched.map(|_| "disallow_expression")].into_iter().flatten() {
        let told = Told::new(chain.name(), rules.path_of(field))
            .why(
                "Luthien's changes of headers are passed over, or fail the call: upstream, path and \
            credential stay the client's",
            )
            .remedy(format!("leave `{field}` out; Luthien changes {}", CHANGED.join(", ")));
        findings.add(&MUTATION_RULES, told);
    }
}

/// What Luthien is told of a call, and what it may tell.
fn told_of_calls(chain: &Chain<'_, '_>, expected: &Expected, findings: &mut Findings) {
    let config = &chain.filter.config;
    let rules = ["forward_rules/allowed_headers", "forward_rules/disallowed_headers"];
    if let Some(field) = rules.into_iter().find(|field| config.get(field).is_some()) {
        let told = Told::new(chain.name(), config.path_of(field))
            .why(
                "Luthien sees only some headers; it needs path, credentials and content types, and \
            rules may ask for any",
            )
            .remedy("leave `forward_rules` out");
        findings.add(&FORWARD_RULES, told);
    }
    if !config.texts("metadata_options/receiving_namespaces/untyped").contains(&NAMESPACE) {
        let told = Told::new(chain.name(), config.path_of("metadata_options/receiving_namespaces/untyped"))
            .why("Envoy throws away what Luthien tells the access log of a call")
            .remedy(format!("add `{NAMESPACE}` to `metadata_options.receiving_namespaces.untyped`"));
        findings.add(&METADATA, told);
    }
    if config.get("metadata_options/forwarding_namespaces").is_some() {
        let told = Told::new(chain.name(), config.path_of("metadata_options/forwarding_namespaces"))
            .why(
                "Envoy sends all of this again with every message, each event of a stream among them; \
            Luthien reads none of it",
            )
            .remedy("leave `metadata_options.forwarding_namespaces` out");
        findings.add(&METADATA, told);
    }
    if !config.texts("response_attributes").contains(&DETAILS) {
        let told = Told::new(chain.name(), config.path_of("response_attributes"))
            .why("Luthien takes Envoy's own errors (no connection, no route) for answers of the provider")
            .remedy(format!("add `{DETAILS}` to `response_attributes`"));
        findings.add(&ATTRIBUTES, told);
    }
    let sent = config.texts("request_attributes");
    if let (true, Some(missing)) = (expected.tells_targets, WAYS.iter().find(|name| !sent.contains(name))) {
        let told = Told::new(chain.name(), config.path_of("request_attributes"))
            .why("Luthien cannot tell which way a call took: policies for a Gateway or a route run on every call")
            .remedy(format!("add `{missing}` to `request_attributes` (Envoy Gateway: `envoyGateway.patchPolicy`)"));
        findings.add(&TARGETS, told);
    }
}
