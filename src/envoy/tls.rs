//! The certificate of the client listener.
//!
//! A certificate is replaced every few months or weeks, and a restart cuts every stream. Envoy reads one anew only if it
//! comes as a secret from a file of its own, so there are two forms: in place, and by such a file.

use std::path::Path;

use serde_json::{Value, json};

use super::yaml::set;
use crate::config::settings::Tls;

/// The secret's name, in the configuration and in the file.
const NAME: &str = "client_listener";

/// The listener's transport socket: with the files of `tls`, or with the secret in the file `secret`.
pub(super) fn downstream(tls: &Tls, secret: Option<&Path>) -> Value {
    let mut context = json!({
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_params": { "tls_minimum_protocol_version": "TLSv1_2" },
    });
    match secret {
        None => set(&mut context, "tls_certificates", json!([files(tls)])),
        Some(path) => {
            let source = json!({ "path_config_source": { "path": path }, "resource_api_version": "V3" });
            let secrets = json!([{ "name": NAME, "sds_config": source }]);
            set(&mut context, "tls_certificate_sds_secret_configs", secrets);
        }
    }
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": context,
        },
    })
}

/// The content of the file that [`super::Placement::tls_secret`] names. Envoy reads certificate and key anew when a file
/// is *moved* into the certificate's directory, as Kubernetes does with a mounted secret and `mv` does; a file that is
/// written in place is not noticed. Both must be in that directory, and the file must end in `.yaml`.
pub fn tls_secret(tls: &Tls) -> Value {
    let mut certificate = files(tls);
    let directory = tls.cert.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    set(&mut certificate, "watched_directory", json!({ "path": directory }));
    json!({
        "resources": [{
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": NAME,
            "tls_certificate": certificate,
        }],
    })
}

fn files(tls: &Tls) -> Value {
    json!({ "certificate_chain": { "filename": tls.cert }, "private_key": { "filename": tls.key } })
}
