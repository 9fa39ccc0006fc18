//! The certificates that Envoy shows: to clients, and to Luthien where that asks for one.
//!
//! A certificate is replaced every few months or weeks, and a restart cuts every stream. Envoy reads one anew only if it
//! comes as a secret from a file of its own, so there are two forms: in place, and by such a file.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::bootstrap::Placement;
use super::yaml::set;
use crate::config::settings::{Settings, Tls};

/// To whom a certificate is shown.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shown {
    Clients,
    Luthien,
}

impl Shown {
    /// The secret's name, in the configuration and in its file.
    const fn name(self) -> &'static str {
        match self {
            Self::Clients => "client_listener",
            Self::Luthien => "extproc_client",
        }
    }

    /// Its file in [`Placement::secrets`]. The ending tells Envoy how to read it.
    fn file(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Self::Clients => "tls.yaml",
            Self::Luthien => "extproc-tls.yaml",
        })
    }

    /// The part of a TLS context that says which certificate is shown.
    pub(super) fn certificate(self, tls: &Tls, placement: &Placement) -> (&'static str, Value) {
        match &placement.secrets {
            None => ("tls_certificates", json!([files(tls)])),
            Some(folder) => {
                let source =
                    json!({ "path_config_source": { "path": self.file(folder) }, "resource_api_version": "V3" });
                let secrets = json!([{ "name": self.name(), "sds_config": source }]);
                ("tls_certificate_sds_secret_configs", secrets)
            }
        }
    }
}

/// The listener's transport socket.
pub(super) fn downstream(tls: &Tls, placement: &Placement) -> Value {
    let mut context = json!({
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_params": { "tls_minimum_protocol_version": "TLSv1_2" },
    });
    let (key, certificate) = Shown::Clients.certificate(tls, placement);
    set(&mut context, key, certificate);
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": context,
        },
    })
}

/// The files that have to stand in [`Placement::secrets`], with their content.
///
/// Envoy reads certificate and key anew when a file is *moved* into the certificate's directory, as Kubernetes does with a
/// mounted secret and `mv` does; a file that is written in place is not noticed. Both must be in that directory.
pub fn secret_files(settings: &Settings, placement: &Placement) -> Vec<(PathBuf, Value)> {
    let Some(folder) = &placement.secrets else { return Vec::new() };
    let to_luthien = settings.extproc.envoy.as_ref().map(|envoy| (Shown::Luthien, envoy.certificate()));
    let to_clients = settings.tls.clone().map(|tls| (Shown::Clients, tls));
    let shown = to_clients.into_iter().chain(to_luthien);
    shown.map(|(shown, tls)| (shown.file(folder), secret(shown, &tls))).collect()
}

fn secret(shown: Shown, tls: &Tls) -> Value {
    let mut certificate = files(tls);
    let directory = tls.cert.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    set(&mut certificate, "watched_directory", json!({ "path": directory }));
    json!({
        "resources": [{
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": shown.name(),
            "tls_certificate": certificate,
        }],
    })
}

fn files(tls: &Tls) -> Value {
    json!({ "certificate_chain": { "filename": tls.cert }, "private_key": { "filename": tls.key } })
}
