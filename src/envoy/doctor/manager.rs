//! HTTP connection managers, their filters and routes, and which filter is on for which route.

use super::document::Document;
use super::node::Node;

/// One HTTP connection manager of a listener.
#[derive(Debug)]
pub(super) struct Manager<'d> {
    /// The listener that it belongs to.
    pub(super) listener: Node<'d>,
    /// Its configuration.
    pub(super) config: Node<'d>,
    /// Its filters, in the order of requests.
    pub(super) filters: Vec<Filter<'d>>,
    /// Its routes, in order.
    pub(super) routes: Vec<Route<'d>>,
    /// What stands elsewhere, and not in this document.
    pub(super) missing: Vec<Missing>,
}

/// Something that the document names and does not have.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) at: String,
    pub(super) what: String,
}

/// One HTTP filter.
#[derive(Debug)]
pub(super) struct Filter<'d> {
    /// The name by which routes mean it.
    pub(super) name: &'d str,
    /// The end of its message's name, as `ext_proc.v3.ExternalProcessor`.
    pub(super) kind: &'d str,
    /// Its entry in the list.
    pub(super) entry: Node<'d>,
    /// Its own configuration.
    pub(super) config: Node<'d>,
}

/// One route, and what stands above it.
#[derive(Debug)]
pub(super) struct Route<'d> {
    /// Itself.
    pub(super) node: Node<'d>,
    /// Its virtual host.
    pub(super) host: Node<'d>,
    /// Its route configuration.
    pub(super) table: Node<'d>,
}

/// What a route makes of a filter.
#[derive(Debug)]
pub(super) enum Applied<'d> {
    /// It does not run.
    Off,
    /// It runs as the listener says.
    On,
    /// It runs with this configuration of the route's own.
    Own(Node<'d>),
}

/// All of them.
pub(super) fn managers<'d>(document: &Document<'d>) -> Vec<Manager<'d>> {
    let mut found = Vec::new();
    for listener in &document.listeners {
        let chains = listener.list("filter_chains").into_iter().chain(listener.get("default_filter_chain"));
        for network in chains.flat_map(|chain| chain.list("filters")) {
            let Some(config) = network.get("typed_config") else { continue };
            let (kind, config) = config.message();
            if kind == "http_connection_manager.v3.HttpConnectionManager" {
                found.push(Manager::new(listener.clone(), config, document));
            }
        }
    }
    found
}

impl<'d> Manager<'d> {
    fn new(listener: Node<'d>, config: Node<'d>, document: &Document<'d>) -> Self {
        let mut missing = Vec::new();
        let mut filters = Vec::new();
        for entry in config.list("http_filters") {
            let name = entry.text("name").unwrap_or_default();
            let found = entry.get("typed_config").or_else(|| document.extensions.get(name)?.get("typed_config"));
            match found {
                Some(found) => {
                    let (kind, config) = found.message();
                    filters.push(Filter { name, kind, entry, config });
                }
                None => missing.push(Missing {
                    at: entry.path().to_owned(),
                    what: format!("the configuration of the filter `{name}` comes from elsewhere"),
                }),
            }
        }
        let table = config.get("route_config").or_else(|| {
            let name = config.text("rds/route_config_name")?;
            document.routes.get(name).cloned()
        });
        if table.is_none() {
            missing.push(Missing {
                at: config.path_of("route_config"),
                what: match config.text("rds/route_config_name") {
                    Some(name) => format!("the routes `{name}` come from elsewhere"),
                    None => "the routes come from elsewhere".to_owned(),
                },
            });
        }
        let hosts = table.iter().flat_map(|table| table.list("virtual_hosts"));
        let routes = hosts.flat_map(|host| {
            let table = table.clone();
            let of_host = host.list("routes");
            of_host.into_iter().filter_map(move |node| Some(Route { node, host: host.clone(), table: table.clone()? }))
        });
        let routes = routes.collect();
        Self { listener, config, filters, routes, missing }
    }

    /// As people say it: its listener's name, or its address.
    pub(super) fn name(&self) -> String {
        match self.listener.text("name") {
            Some(name) => format!("listener `{name}`"),
            None => format!("listener at {}", self.listener.path()),
        }
    }
}

impl<'d> Filter<'d> {
    /// What it is on this route.
    pub(super) fn on(&self, route: &Route<'d>) -> Applied<'d> {
        let levels = [&route.node, &route.host, &route.table];
        let own = levels.iter().find_map(|level| level.get("typed_per_filter_config")?.named(self.name));
        let off_somewhere = route
            .node
            .list("route/weighted_clusters/clusters")
            .iter()
            .filter_map(|cluster| cluster.get("typed_per_filter_config")?.named(self.name))
            .any(|own| matches!(of_route(&own), Applied::Off));
        match own {
            _ if off_somewhere => Applied::Off,
            None if self.entry.is_on("disabled") => Applied::Off,
            None => Applied::On,
            Some(own) => of_route(&own),
        }
    }

    /// Whether it runs on this route.
    pub(super) fn is_on(&self, route: &Route<'d>) -> bool {
        !matches!(self.on(route), Applied::Off)
    }
}

fn of_route<'d>(own: &Node<'d>) -> Applied<'d> {
    let (kind, config) = own.message();
    if config.is_on("disabled") {
        return Applied::Off;
    }
    if kind == "route.v3.FilterConfig" {
        return match config.get("config").filter(|inner| inner.text("@type").is_some()) {
            Some(inner) => of_route(&inner),
            None => Applied::On,
        };
    }
    Applied::Own(config)
}

impl<'d> Route<'d> {
    /// As people say it.
    pub(super) fn name(&self) -> String {
        match self.node.text("name").filter(|name| !name.is_empty()) {
            Some(name) => format!("route `{name}`"),
            None => format!("a route of `{}`", self.host.text("name").unwrap_or_default()),
        }
    }

    /// How it forwards, if it does.
    pub(super) fn action(&self) -> Option<Node<'d>> {
        self.node.get("route")
    }

    /// The clusters that it names.
    pub(super) fn clusters(&self) -> Vec<Node<'d>> {
        let weighted = self.node.list("route/weighted_clusters/clusters");
        let weighted = weighted.into_iter().filter_map(|cluster| cluster.get("name"));
        self.node.get("route/cluster").into_iter().chain(weighted).collect()
    }

    /// The value that it demands of a header, if that is one exact text.
    pub(super) fn demands(&self, header: &str) -> Option<&'d str> {
        let wanted = |found: &Node<'_>| {
            found.text("name").is_some_and(|name| name.eq_ignore_ascii_case(header)) && !found.is_on("invert_match")
        };
        let found = self.node.list("match/headers").into_iter().find(wanted)?;
        found.text("string_match/exact").or_else(|| found.text("exact_match"))
    }

    /// Whether a request for `path` could be for it.
    pub(super) fn could_match(&self, path: &str) -> bool {
        let Some(rule) = self.node.get("match") else { return true };
        if let Some(exact) = rule.text("path") {
            return exact == path;
        }
        if let Some(prefix) = rule.text("prefix") {
            return path.starts_with(prefix);
        }
        if let Some(prefix) = rule.text("path_separated_prefix") {
            return path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        }
        if let Some(regex) = rule.text("safe_regex/regex") {
            // One that cannot be read could match anything.
            return regex::Regex::new(&format!("^(?:{regex})$")).map_or(true, |regex| regex.is_match(path));
        }
        // A path template, CONNECT: not told.
        true
    }
}
