//! Envoy's metrics, for Prometheus. They come from Envoy's admin interface, of which nothing else is shown: whoever reaches
//! that one can stop Envoy.

use serde_json::{Value, json};

use super::address::{Address, AddressError};
use super::bootstrap::BootstrapError;

/// The cluster of Envoy's admin interface. The underscore keeps it apart from every provider.
const ADMIN: &str = "_envoy_admin";

/// The listener on the address that the settings say.
pub(super) fn listener(listen: &str) -> Result<Value, BootstrapError> {
    let wrong = || BootstrapError::Stats { value: listen.to_owned() };
    let address: Address = listen.parse().map_err(|_: AddressError| wrong())?;
    if address.ip().is_none() {
        return Err(wrong());
    }
    let get = json!({ "name": ":method", "string_match": { "exact": "GET" } });
    let route = json!({
        "match": { "path": "/stats/prometheus", "headers": [get] },
        "route": { "cluster": ADMIN, "timeout": "10s" },
    });
    Ok(json!({
        "name": "stats",
        "address": address.to_envoy_listen(),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type":
                    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.\
                     HttpConnectionManager",
                "stat_prefix": "stats",
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config":
                        { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                }],
                "route_config": { "name": "stats", "virtual_hosts": [
                    { "name": "stats", "domains": ["*"], "routes": [route] },
                ] },
            },
        }] }],
    }))
}

/// The cluster that it reads from.
pub(super) fn cluster(admin: &Address) -> Value {
    json!({
        "name": ADMIN,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": ADMIN,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": admin.to_envoy() } }] }],
        },
    })
}
