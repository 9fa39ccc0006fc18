//! A connection manager that asks Luthien: its own settings, and the filters beside ext_proc.

use std::collections::BTreeSet;

use super::checks::{
    BUFFER, BUFFER_LIMIT, CLIENT_HEADERS, COMPRESSOR, DECOMPRESSOR, IDLE_TIMEOUT, INCOMPLETE, NO_EXT_PROC,
    OTHER_BODY_FILTER, PATHS, REQUEST_TIMEOUT, STREAM_DURATION, UPSTREAM_HEADER,
};
use super::manager::{Applied, Filter, Manager, Route};
use super::node::Node;
use super::{Expected, Findings, Told};
use crate::envoy::headers::{ENVOYS_PREFIX, OURS, REQUEST_ID};
use crate::envoy::timers::seconds;

/// The message of the filter itself.
const EXT_PROC: &str = "ext_proc.v3.ExternalProcessor";

/// By this header Luthien says where a call goes.
pub(super) const UPSTREAM: &str = "x-luthien-upstream";

/// Envoy's own default when a listener says nothing.
const IDLE_BY_DEFAULT: std::time::Duration = std::time::Duration::from_mins(5);

/// What an Envoy takes from a client as an order to itself.
const ORDERS: [&str; 4] = [
    "x-envoy-retry-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
];

/// A connection manager with one ext_proc filter that is Luthien's.
#[derive(Debug)]
pub(super) struct Chain<'a, 'd> {
    pub(super) manager: &'a Manager<'d>,
    pub(super) filter: &'a Filter<'d>,
    /// Where it stands among the filters.
    index: usize,
}

impl<'a, 'd> Chain<'a, 'd> {
    /// Those whose cluster was named; otherwise those whose cluster sounds like Luthien; otherwise all.
    pub(super) fn all(managers: &'a [Manager<'d>], expected: &Expected) -> Vec<Self> {
        let every = managers.iter().flat_map(|manager| {
            let filters = manager.filters.iter().enumerate().filter(|(_, filter)| filter.kind == EXT_PROC);
            filters.map(move |(index, filter)| Self { manager, filter, index })
        });
        let every: Vec<Self> = every.collect();
        if let Some(name) = &expected.cluster {
            return every.into_iter().filter(|chain| chain.clusters().contains(name.as_str())).collect();
        }
        let sounds = |chain: &Self| chain.clusters().iter().any(|name| name.contains("luthien"));
        let guessed = every.iter().any(sounds);
        every.into_iter().filter(|chain| !guessed || sounds(chain)).collect()
    }

    /// The clusters by which it reaches Luthien: the filter's own, and those of routes.
    pub(super) fn clusters(&self) -> BTreeSet<&'d str> {
        let own = self.manager.routes.iter().filter_map(|route| match self.filter.on(route) {
            Applied::Own(config) => config.text("overrides/grpc_service/envoy_grpc/cluster_name"),
            Applied::On | Applied::Off => None,
        });
        self.filter.config.text("grpc_service/envoy_grpc/cluster_name").into_iter().chain(own).collect()
    }

    /// How people say it.
    pub(super) fn name(&self) -> String {
        format!("{}, filter `{}`", self.manager.name(), self.filter.name)
    }

    /// The routes on which it runs.
    pub(super) fn policed(&self) -> impl Iterator<Item = &'a Route<'d>> {
        self.manager.routes.iter().filter(|route| self.filter.is_on(route))
    }

    /// Whether clients can send this header past this listener.
    pub(super) fn lets_in(&self, header: &str) -> bool {
        !self.early_mutations().iter().any(|mutation| removes(mutation, header))
    }

    fn early_mutations(&self) -> Vec<Node<'d>> {
        let extensions = self.manager.config.list("early_header_mutation_extensions");
        extensions.iter().flat_map(|extension| extension.list("typed_config/mutations")).collect()
    }

    /// Everything but the filter itself, the routes and the clusters.
    pub(super) fn check(&self, expected: &Expected, findings: &mut Findings) {
        for missing in &self.manager.missing {
            findings.incomplete(missing);
        }
        if self.manager.missing.is_empty() && self.policed().next().is_none() {
            let told = Told::new(self.name(), self.filter.entry.path())
                .why("the filter is on for no route: no policy sees any call")
                .remedy(format!(
                    "switch it on where clients' calls arrive: `typed_per_filter_config` with the key `{}`",
                    self.filter.name
                ));
            findings.add(&NO_EXT_PROC, told);
        }
        self.neighbours(findings);
        self.headers(findings);
        self.paths(findings);
        self.timers(expected, findings);
        self.buffers(findings);
        if !self.manager.routes.iter().all(|route| route.host.get("matcher").is_none()) {
            let told = Told::new(self.manager.name(), self.manager.config.path())
                .why("a virtual host chooses its routes by a `matcher`, which is not understood here")
                .remedy("look at its routes yourself, with the list in docs/doctor.md");
            findings.add(&INCOMPLETE, told);
        }
    }

    /// Other filters, as far as they run where Luthien does.
    fn neighbours(&self, findings: &mut Findings) {
        for (index, other) in self.manager.filters.iter().enumerate() {
            let is_ours =
                self.clusters().contains(other.config.text("grpc_service/envoy_grpc/cluster_name").unwrap_or(""));
            let runs = self.policed().any(|route| other.is_on(route));
            if index == self.index || !runs || (other.kind == EXT_PROC && is_ours) {
                continue;
            }
            let told = Told::new(format!("{}, filter `{}`", self.manager.name(), other.name), other.entry.path());
            let behind = index > self.index;
            match other.kind {
                "decompressor.v3.Decompressor" => findings.add(
                    &DECOMPRESSOR,
                    told.why("Envoy's decompressor loses the end of a body that ext_proc streams: the call hangs")
                        .remedy("take the decompressor out; Luthien asks providers for plain answers"),
                ),
                "compressor.v3.Compressor" if behind => findings.add(
                    &COMPRESSOR,
                    told.why(
                        "it compresses answers before Luthien sees them, and what Luthien cannot \
                    read it refuses",
                    )
                    .remedy("put it before ext_proc, or take it out"),
                ),
                "compressor.v3.Compressor" if compresses_events(&other.config) => findings.add(
                    &COMPRESSOR,
                    told.why("it compresses `text/event-stream`, and holds events back until it has enough of them")
                        .remedy("take `text/event-stream` out of its content types"),
                ),
                kind if holds_requests(kind, &other.config) => findings.add(
                    &BUFFER,
                    told.why(
                        "it holds the whole request and refuses those that are larger than its \
                    limit, with an error that no SDK knows",
                    )
                    .remedy("take it out of the routes through Luthien, whose limit is `limits.request_body`"),
                ),
                kind if changes_bodies(kind) => findings.add(
                    &OTHER_BODY_FILTER,
                    told.why(if behind {
                        "it stands behind Luthien: what it makes of a request is not judged, and it \
                        sees answers first"
                    } else {
                        "it stands before Luthien: what it makes of an answer is not judged"
                    })
                    .remedy("see to it that it changes no bodies of LLM calls, or take it out of those routes"),
                ),
                _ => {}
            }
        }
    }

    fn headers(&self, findings: &mut Findings) {
        let at = self.manager.config.path_of("early_header_mutation_extensions");
        let ours: Vec<&str> = OURS.into_iter().filter(|name| self.lets_in(name)).collect();
        if ours.contains(&UPSTREAM) {
            let told = Told::new(self.manager.name(), &*at)
                .why(format!(
                    "a client that sends `{UPSTREAM}` chooses the first route, and may reach one without Luthien"
                ))
                .remedy(format!("remove `{UPSTREAM}` by an early header mutation"));
            findings.add(&UPSTREAM_HEADER, told);
        }
        let mut others: Vec<&str> = ours.into_iter().filter(|name| *name != UPSTREAM).collect();
        others.extend(ORDERS.into_iter().filter(|name| self.lets_in(name)));
        if self.lets_in(REQUEST_ID) {
            others.push(REQUEST_ID);
        }
        if !others.is_empty() {
            let told = Told::new(self.manager.name(), at)
                .why(format!(
                    "clients can send {}: forged names in the log, or orders to Envoy such as to retry",
                    others.join(", ")
                ))
                .remedy(format!("remove them by an early header mutation; `{ENVOYS_PREFIX}` as a prefix"));
            findings.add(&CLIENT_HEADERS, told);
        }
    }

    fn paths(&self, findings: &mut Findings) {
        let config = &self.manager.config;
        let action = config.word(
            "path_with_escaped_slashes_action",
            &[
                "IMPLEMENTATION_SPECIFIC_DEFAULT",
                "KEEP_UNCHANGED",
                "REJECT_REQUEST",
                "UNESCAPE_AND_REDIRECT",
                "UNESCAPE_AND_FORWARD",
            ],
        );
        let open = [
            (!config.is_on("normalize_path")).then_some("normalize_path"),
            (!config.is_on("merge_slashes")).then_some("merge_slashes"),
            matches!(action, "IMPLEMENTATION_SPECIFIC_DEFAULT" | "KEEP_UNCHANGED")
                .then_some("path_with_escaped_slashes_action"),
        ];
        for field in open.into_iter().flatten() {
            let told = Told::new(self.manager.name(), config.path_of(field))
                .why("one path has several spellings, and a rule or a route that knows one of them misses the others")
                .remedy(match field {
                    "path_with_escaped_slashes_action" => format!("set `{field}: REJECT_REQUEST`"),
                    _ => format!("set `{field}: true`"),
                });
            findings.add(&PATHS, told);
        }
    }

    fn timers(&self, expected: &Expected, findings: &mut Findings) {
        let config = &self.manager.config;
        let needed = seconds(expected.longest);
        let short = |limit: std::time::Duration| !limit.is_zero() && limit < expected.longest;
        let idle = config.duration("stream_idle_timeout").unwrap_or(IDLE_BY_DEFAULT);
        let mut routes = self.policed().filter(|route| route.action().is_some());
        // A route's own limit takes the place of the listener's.
        if short(idle) && routes.any(|route| route.node.get("route/idle_timeout").is_none()) {
            let told = Told::new(self.manager.name(), config.path_of("stream_idle_timeout"))
                .why(format!(
                    "after {} of silence Envoy breaks a call off; a held answer, or a model that \
                    thinks, may be silent for {needed}",
                    seconds(idle)
                ))
                .remedy(format!(
                    "set `stream_idle_timeout: {needed}` or more; Luthien ends silent calls \
                itself, with an error"
                ));
            findings.add(&IDLE_TIMEOUT, told);
        }
        if let Some(limit) = config.duration("request_timeout").filter(|limit| short(*limit)) {
            let told = Told::new(self.manager.name(), config.path_of("request_timeout"))
                .why(format!("{} for a request is less than upload and policies may take", seconds(limit)))
                .remedy(format!("set `request_timeout: {needed}` or more, or leave it out"));
            findings.add(&REQUEST_TIMEOUT, told);
        }
        let field = "common_http_protocol_options/max_stream_duration";
        if let Some(limit) = config.duration(field).filter(|limit| short(*limit)) {
            let told = Told::new(self.manager.name(), config.path_of(field))
                .why(format!("after {} Envoy breaks off any call, also a good one", seconds(limit)))
                .remedy("leave `max_stream_duration` out; Luthien's `timeouts.total` ends calls with an error");
            findings.add(&STREAM_DURATION, told);
        }
    }

    fn buffers(&self, findings: &mut Findings) {
        let field = "per_connection_buffer_limit_bytes";
        if let Some(limit) = self.manager.listener.whole(field).filter(|limit| *limit < 64 << 10) {
            let told = Told::new(self.manager.name(), self.manager.listener.path_of(field))
                .why(format!("{limit} bytes make Envoy stop and start many times for one request of an agent"))
                .remedy("set `per_connection_buffer_limit_bytes: 1048576`");
            findings.add(&BUFFER_LIMIT, told);
        }
    }
}

fn removes(mutation: &Node<'_>, header: &str) -> bool {
    if mutation.text("remove").is_some_and(|name| name.eq_ignore_ascii_case(header)) {
        return true;
    }
    let Some(matcher) = mutation.get("remove_on_match/key_matcher") else { return false };
    let is = |field: &str, fits: fn(&str, &str) -> bool| {
        matcher.text(field).is_some_and(|text| fits(header, &text.to_ascii_lowercase()))
    };
    is("exact", |header, text| header == text)
        || is("prefix", |header, text| header.starts_with(text))
        || is("suffix", |header, text| header.ends_with(text))
        || is("contains", |header, text| header.contains(text))
        || matcher
            .text("safe_regex/regex")
            .is_some_and(|regex| regex::Regex::new(&format!("^(?:{regex})$")).is_ok_and(|regex| regex.is_match(header)))
}

fn compresses_events(config: &Node<'_>) -> bool {
    let places = ["response_direction_config/common_config/content_type", "content_type"];
    places.iter().any(|place| config.texts(place).contains(&"text/event-stream"))
}

fn holds_requests(kind: &str, config: &Node<'_>) -> bool {
    match kind {
        "buffer.v3.Buffer" | "file_system_buffer.v3.FileSystemBufferFilterConfig" => true,
        "ext_authz.v3.ExtAuthz" => config.get("with_request_body").is_some(),
        "json_to_metadata.v3.JsonToMetadata" => config.get("request_rules").is_some(),
        _ => false,
    }
}

fn changes_bodies(kind: &str) -> bool {
    let known = [
        EXT_PROC,
        "lua.v3.Lua",
        "wasm.v3.Wasm",
        "golang.v3alpha.Config",
        "dynamic_modules.v3.DynamicModuleFilter",
        "grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "aws_lambda.v3.Config",
        "cache.v3.CacheConfig",
        "transform.v3.TransformConfig",
    ];
    known.contains(&kind)
}
