//! What a document says Envoy is or will be: a bootstrap, or what Envoy's `/config_dump` answers.

use std::collections::HashMap;

use serde_json::Value;

use super::node::Node;

/// Everything that the checks look at.
#[derive(Debug, Default)]
pub(super) struct Document<'d> {
    /// The listeners.
    pub(super) listeners: Vec<Node<'d>>,
    /// Route configurations that listeners name, by name.
    pub(super) routes: HashMap<&'d str, Node<'d>>,
    /// The clusters.
    pub(super) clusters: Vec<Node<'d>>,
    /// The endpoints that came apart from their cluster, by name.
    pub(super) endpoints: HashMap<&'d str, Node<'d>>,
    /// Filters that came apart from their listener, by name.
    pub(super) extensions: HashMap<&'d str, Node<'d>>,
    /// The admin interface.
    pub(super) admin: Option<Node<'d>>,
    /// Which Envoy it is, of one that runs.
    pub(super) running: Option<Running>,
}

/// An Envoy that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Running {
    /// Its version, if the document says it.
    pub(super) version: Option<Version>,
}

/// Major and minor version.
pub(super) type Version = (u64, u64);

/// The envelopes of one kind of resource: the lists of entries, and where the resource is in an entry.
type Envelopes = (&'static [&'static str], &'static [&'static str]);

const LISTENERS: Envelopes =
    (&["static_listeners", "dynamic_listeners"], &["listener", "active_state/listener", "warming_state/listener"]);
const CLUSTERS: Envelopes = (&["static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters"], &["cluster"]);
const ROUTES: Envelopes = (&["static_route_configs", "dynamic_route_configs"], &["route_config"]);
const ENDPOINTS: Envelopes = (&["static_endpoint_configs", "dynamic_endpoint_configs"], &["endpoint_config"]);
const EXTENSIONS: Envelopes = (&["ecds_filters"], &["ecds_filter"]);

/// The documents in `value`, in their one spelling: most often one. Tools print the dump of each Envoy below its name.
pub(super) fn documents(value: &Value) -> Vec<Document<'_>> {
    find(&Node::root(value), 4)
}

fn find<'d>(node: &Node<'d>, depth: usize) -> Vec<Document<'d>> {
    if !node.list("configs").is_empty() {
        return vec![Document::of_dump(node)];
    }
    if ["static_resources", "dynamic_resources", "admin", "node"].iter().any(|key| node.get(key).is_some()) {
        return vec![Document::of_bootstrap(node)];
    }
    if depth == 0 {
        return Vec::new();
    }
    node.fields().iter().flat_map(|(_, inner)| find(inner, depth - 1)).collect()
}

impl<'d> Document<'d> {
    fn of_bootstrap(bootstrap: &Node<'d>) -> Self {
        let mut document =
            Self { admin: bootstrap.get("admin").filter(|admin| admin.get("address").is_some()), ..Self::default() };
        document.listeners = bootstrap.list("static_resources/listeners");
        document.clusters = bootstrap.list("static_resources/clusters");
        document
    }

    fn of_dump(dump: &Node<'d>) -> Self {
        let mut document = Self::default();
        let mut version = None;
        for config in dump.list("configs") {
            let resources = |(lists, places): Envelopes| -> Vec<Node<'d>> {
                let entries = lists.iter().flat_map(|list| config.list(list));
                entries.filter_map(|entry| places.iter().find_map(|place| entry.get(place))).collect()
            };
            if let Some(bootstrap) = config.get("bootstrap") {
                version = version.or_else(|| of_node(&bootstrap));
                document.admin = Self::of_bootstrap(&bootstrap).admin;
            }
            document.listeners.extend(resources(LISTENERS));
            document.clusters.extend(resources(CLUSTERS));
            document.routes.extend(by(resources(ROUTES), "name"));
            document.endpoints.extend(by(resources(ENDPOINTS), "cluster_name"));
            document.extensions.extend(by(resources(EXTENSIONS), "name"));
        }
        // What `/server_info` says, put beside the dump by who asked for both.
        let told = dump.get("server_info").and_then(|info| of_text(info.text("version")?));
        document.running = Some(Running { version: told.or(version) });
        document
    }

    /// The cluster of that name.
    pub(super) fn cluster(&self, name: &str) -> Option<&Node<'d>> {
        self.clusters.iter().find(|cluster| cluster.text("name") == Some(name))
    }
}

fn by<'d>(nodes: Vec<Node<'d>>, key: &str) -> Vec<(&'d str, Node<'d>)> {
    nodes.into_iter().filter_map(|node| Some((node.text(key)?, node))).collect()
}

fn of_node(bootstrap: &Node<'_>) -> Option<Version> {
    let version = bootstrap.get("node/user_agent_build_version/version")?;
    Some((version.whole("major_number")?, version.whole("minor_number").unwrap_or(0)))
}

/// Of `9e55809…/1.40.0/Clean/RELEASE/BoringSSL`.
fn of_text(text: &str) -> Option<Version> {
    let mut numbers = text.split('/').nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
