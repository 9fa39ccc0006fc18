//! What `luthien.yaml` says about where Envoy reaches the ext_proc service, and who may connect there.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::settings::Tls;

/// Where Envoy reaches the ext_proc service.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Extproc {
    /// `unix:PATH` (relative to the state directory) or `ADDRESS:PORT`. Default: a Unix socket in the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// TLS in both directions, for an address: who connects has to show a certificate. Needed off loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ExtprocTls>,
    /// Leave to do without `tls` off loopback, where something else encrypts and asks who connects, as a mesh does.
    #[serde(skip_serializing_if = "is_no")]
    pub plaintext: bool,
    /// With `tls`: how the Envoy that gets its configuration from Luthien connects. An Envoy with a configuration of its own
    /// brings its own certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envoy: Option<ExtprocClient>,
    /// Which bodies the Envoy that gets its configuration from Luthien sends here: `always`, or `when_needed`: none of what passes
    /// unread.
    pub bodies: SentBodies,
}

/// Which bodies Envoy sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SentBodies {
    /// Those of every call, by its own configuration.
    #[default]
    Always,
    /// Those that Luthien asks for, which are those of every call that it reads.
    WhenNeeded,
}

impl Extproc {
    /// Where Envoy reaches the service, if the settings say so.
    pub fn reached(&self) -> Option<&str> {
        let said = self.envoy.as_ref().and_then(|envoy| envoy.address.as_deref());
        said.or(self.listen.as_deref())
    }
}

impl ExtprocClient {
    /// The certificate that Envoy shows.
    pub fn certificate(&self) -> Tls {
        Tls { cert: self.cert.clone(), key: self.key.clone() }
    }
}

/// Certificates of the ext_proc service. Read again when their files change.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtprocTls {
    /// PEM file of the certificate chain.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
    /// PEM file of the authorities, of which one has to have signed the certificate of who connects: whoever can connect reads
    /// every call.
    pub client_ca: PathBuf,
}

/// An Envoy that connects to the ext_proc service over TLS.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtprocClient {
    /// `HOST:PORT` where it reaches the service; the service's certificate has to be for this host. Default: `extproc.listen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// PEM file of the certificate chain that it shows.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
    /// PEM file of the authorities, of which one has to have signed the service's certificate.
    pub ca: PathBuf,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_no(value: &bool) -> bool {
    !*value
}
