//! The complete bootstrap configuration, from the settings and where things run.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::address::{Address, AddressError};
use super::clusters::{clusters, headroom};
use super::listener::listener;
use super::stats;
use super::timers::Timers;
use super::tracer::Tracer;
use crate::config::settings::{Settings, Upstream};
use crate::config::telemetry::NoCollector;

/// What differs between the places in which Envoy runs. Everything else follows from the settings.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Beside `luthien up`, or in a container of its own.
    pub mode: Mode,
    /// Where the ext_proc service listens.
    pub extproc: Address,
    /// Where Envoy's admin interface listens. A Unix socket or loopback: whoever reaches it can stop Envoy.
    pub admin: Address,
    /// Where the access log goes.
    pub access_log: AccessLog,
    /// Where the demo provider listens, if one runs.
    pub demo: Option<Address>,
    /// A folder with the files of [`super::secret_files`], for certificates that are replaced while Envoy runs. Without it
    /// Envoy reads the files that the settings name once.
    pub secrets: Option<PathBuf>,
    /// Where Envoy sends its spans, if anywhere.
    pub tracer: Option<Tracer>,
    /// The certificate authorities for providers without a `ca` of their own; see [`system_ca`].
    pub system_ca: Option<PathBuf>,
}

/// Where Envoy runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As a child of `luthien up`.
    Local,
    /// In a container of its own beside Luthien's.
    Sidecar,
}

/// Where Envoy's access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// To Envoy's standard output.
    Stdout,
    /// To a file, appended.
    File(PathBuf),
}

/// Settings from which no configuration can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// The client listener is not an IP address and a port.
    #[error("`listen` is `{value}`, but Envoy listens on an IP address and a port; write 127.0.0.1:8080 or [::]:8080")]
    Listen {
        /// As in the settings.
        value: String,
    },
    /// The ext_proc service's address.
    #[error("`extproc.listen` is `{value}`, which Envoy cannot reach; write unix:/PATH or HOST:PORT")]
    Extproc {
        /// As in the settings.
        value: String,
    },
    /// The ext_proc service asks for a certificate.
    #[error(
        "`extproc.tls` asks Envoy for a certificate; add `envoy: {{ address: HOST:PORT, cert: …, key: …, ca: … }}` to \
         `extproc`"
    )]
    NoCertificate,
    /// The listener for Envoy's metrics.
    #[error(
        "`telemetry.metrics.envoy_listen` is `{value}`, but Envoy listens on an IP address and a port; write 127.0.0.1:8083"
    )]
    Stats {
        /// As in the settings.
        value: String,
    },
    /// The collector of traces.
    #[error("{0}")]
    Collector(#[from] NoCollector),
    /// A provider's URL.
    #[error(
        "upstream `{upstream}` has the url `{url}`: {problem}; write https://HOST, http://HOST:PORT or the word `demo`"
    )]
    Url {
        /// The provider's name.
        upstream: String,
        /// As in the settings, without user and password.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// `url: demo` without a demo provider.
    #[error(
        "upstream `{upstream}` has `url: demo`, but no demo provider runs here; start `luthien demo-provider --listen \
         127.0.0.1:PORT` and write `url: http://127.0.0.1:PORT`, or name a real provider"
    )]
    NoDemo {
        /// The provider's name.
        upstream: String,
    },
    /// No certificate authorities.
    #[error(
        "upstream `{upstream}` is https, but no bundle of certificate authorities was found on this machine; install \
         the package `ca-certificates`, or set `ca:` of the upstream to a PEM file"
    )]
    NoCa {
        /// The provider's name.
        upstream: String,
    },
}

/// The folder that the containers of a pod share, for [`Mode::Sidecar`]: sockets, Envoy's configuration, the program.
pub const POD_DIR: &str = "/run/luthien";

impl Placement {
    /// Beside Luthien on one machine, with the sockets in `sockets` (see [`super::socket_dir`]) and the access log in
    /// `state`. No demo provider; set [`Placement::demo`] to its address if one runs.
    pub fn local(sockets: &Path, state: &Path) -> Self {
        Self {
            mode: Mode::Local,
            extproc: Address::Pipe(sockets.join("extproc.sock")),
            admin: Address::Pipe(sockets.join("envoy-admin.sock")),
            access_log: AccessLog::File(state.join("envoy-access.log")),
            demo: None,
            secrets: None,
            tracer: None,
            system_ca: system_ca(),
        }
    }

    /// In a container of its own, whose image has the certificate authorities at Debian's place. Reaches Luthien where
    /// `extproc.listen` says, otherwise over the Unix socket in `dir`, which both mount ([`POD_DIR`]).
    pub fn sidecar(settings: &Settings, dir: &Path) -> Result<Self, BootstrapError> {
        let extproc = match settings.extproc.reached() {
            None => Address::Pipe(dir.join("extproc.sock")),
            Some(text) => text.parse().map_err(|_: AddressError| BootstrapError::Extproc { value: text.to_owned() })?,
        };
        Ok(Self {
            mode: Mode::Sidecar,
            extproc: extproc.reachable(),
            admin: Address::Pipe(dir.join("envoy-admin.sock")),
            access_log: AccessLog::Stdout,
            demo: None,
            secrets: None,
            tracer: None,
            system_ca: Some(IMAGE_CA.into()),
        })
    }
}

impl BootstrapError {
    pub(super) fn url(upstream: &Upstream, problem: &str) -> Self {
        let url = match upstream.url.split_once('@') {
            Some((_, rest)) => format!("…@{rest}"),
            None => upstream.url.clone(),
        };
        Self::Url { upstream: upstream.name.clone(), url, problem: problem.to_owned() }
    }
}

/// Bundles of certificate authorities, by distribution. The first is also what our images have.
const CA_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",                            // openSUSE
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // newer RHEL
    "/etc/ssl/cert.pem",                                 // Alpine, macOS, FreeBSD
    "/opt/homebrew/etc/ca-certificates/cert.pem",        // macOS with Homebrew
];

/// The bundle of certificate authorities of this machine, if one is found at the usual places.
pub fn system_ca() -> Option<PathBuf> {
    CA_BUNDLES.into_iter().map(Path::new).find(|path| path.is_file()).map(Path::to_owned)
}

/// The bundle in images made from Debian or Alpine, and so in Envoy's official one.
const IMAGE_CA: &str = CA_BUNDLES[0];

/// Envoy's complete configuration (`config.bootstrap.v3.Bootstrap`). The same input always gives the same output.
pub fn bootstrap(settings: &Settings, placement: &Placement) -> Result<Value, BootstrapError> {
    let wrong = || BootstrapError::Listen { value: settings.listen.clone() };
    let address: Address = settings.listen.parse().map_err(|_: AddressError| wrong())?;
    if address.ip().is_none() {
        return Err(wrong());
    }
    let timers = Timers::new(settings);
    let clients = Ok(listener(&address, settings, timers, placement));
    let stats = settings.telemetry.metrics.envoy_listen.as_deref().map(stats::listener);
    let listeners = std::iter::once(clients).chain(stats).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "node": { "id": "luthien", "cluster": "luthien" },
        "admin": { "address": placement.admin.to_envoy_listen(), "ignore_global_conn_limit": true },
        "layered_runtime": { "layers": [{
            "name": "static",
            "static_layer": {
                // At the normal end of a call Luthien's stream ends, in place of being reset: an error then is one.
                "envoy.reloadable_features.ext_proc_graceful_grpc_close": true,
            },
        }] },
        "overload_manager": { "resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.\
                          DownstreamConnectionsConfig",
                "max_active_downstream_connections": headroom(settings),
            },
        }] },
        "static_resources": {
            "listeners": listeners,
            "clusters": clusters(settings, placement)?,
        },
    }))
}

#[cfg(test)]
mod tests;
