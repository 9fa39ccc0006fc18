//! TLS on both sides: one Envoy's client listener is the provider of another one.

use std::path::Path;
use std::process::Command;

use luthien::config::settings::Tls;
use luthien::envoy::{secret_files, to_yaml};
use serde_json::{Value, json};

use super::double::Double;
use super::gateway::Gateway;

/// A certificate for `names` (as in `DNS:localhost`) that is its own authority: `NAME.pem` and `NAME.key` in `dir`.
fn certificate(dir: &Path, name: &str, names: &str) -> Tls {
    let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=luthien test", "-addext", &format!("subjectAltName={names}")])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .expect("openssl is needed to make certificates; apt-get install openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Tls { cert, key }
}

/// Asks a provider at `url` through Envoy, trusting `ca`. Returns the answer's `error.code`.
async fn ask(url: &str, ca: &Path) -> String {
    let gateway = Gateway::with(&json!([{ "name": "secure", "url": url, "dialects": ["openai_chat"], "ca": ca }]));
    let double = Double { upstream: "secure", ..Double::default() };
    let socket = gateway.extproc_socket();
    let client = async |base: String| {
        let text = super::http().get(format!("{base}/v1/models")).send().await.unwrap().text().await.unwrap();
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        body["error"]["code"].as_str().unwrap().to_owned()
    };
    tokio::select! {
        () = double.serve(&socket) => panic!("the double ended"),
        code = gateway.run(client) => code,
    }
}

#[tokio::test]
async fn a_provider_must_show_a_certificate_for_its_name() {
    let mut provider = Gateway::new();
    let dir = provider.dir.path().to_owned();
    let good = certificate(&dir, "good", "DNS:localhost,IP:127.0.0.1");
    let stranger = certificate(&dir, "stranger", "DNS:localhost,IP:127.0.0.1");
    provider.settings.tls = Some(good.clone());
    // The provider has no Luthien, so whoever reaches it is told so. Whoever does not is told that.
    let (reached, refused) = ("policy_service_unavailable", "provider_unavailable");
    provider
        .run(async |base| {
            let port = base.rsplit_once(':').unwrap().1.to_owned();
            assert_eq!(ask(&format!("https://localhost:{port}"), &good.cert).await, reached);
            assert_eq!(ask(&format!("https://127.0.0.1:{port}"), &good.cert).await, reached);
            assert_eq!(ask(&format!("https://127.0.0.1:{port}"), &stranger.cert).await, refused, "another authority");
            assert_eq!(ask(&format!("http://127.0.0.1:{port}"), &good.cert).await, refused, "no TLS");
        })
        .await;
    let log = std::fs::read_to_string(dir.join("envoy-access.log")).unwrap();
    let protocols: Vec<bool> = log.lines().map(|line| line.contains(r#""protocol":"HTTP/2""#)).collect();
    assert_eq!(protocols, [true, true], "ALPN chooses HTTP/2: {log}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let mut provider = Gateway::new();
    let dir = provider.dir.path().to_owned();
    let other = certificate(&dir, "other", "DNS:example.com,IP:127.0.0.2");
    provider.settings.tls = Some(other.clone());
    provider
        .run(async |base| {
            let port = base.rsplit_once(':').unwrap().1.to_owned();
            for host in ["localhost", "127.0.0.1"] {
                assert_eq!(ask(&format!("https://{host}:{port}"), &other.cert).await, "provider_unavailable", "{host}");
            }
        })
        .await;
}

#[tokio::test]
async fn a_replaced_certificate_is_used_without_a_restart() {
    let mut provider = Gateway::new();
    let dir = provider.dir.path().to_owned();
    let used = certificate(&dir, "used", "DNS:localhost");
    let new = certificate(&dir, "new", "DNS:localhost");
    let authority = dir.join("authority.pem");
    std::fs::copy(&new.cert, &authority).unwrap();
    provider.settings.tls = Some(used.clone());
    provider.placement.secrets = Some(dir.clone());
    for (path, secret) in secret_files(&provider.settings, &provider.placement) {
        std::fs::write(path, to_yaml(&secret).unwrap()).unwrap();
    }
    provider
        .run(async |base| {
            let url = format!("https://localhost:{}", base.rsplit_once(':').unwrap().1);
            assert_eq!(ask(&url, &used.cert).await, "policy_service_unavailable");
            std::fs::rename(&new.key, &used.key).unwrap();
            std::fs::rename(&new.cert, &used.cert).unwrap();
            // Envoy hears of it from the kernel, soon but not at once. Each question starts an Envoy, so there are few.
            for _ in 0..20 {
                if ask(&url, &authority).await == "policy_service_unavailable" {
                    return;
                }
            }
            panic!("the new certificate is not used");
        })
        .await;
}
