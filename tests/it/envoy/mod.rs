//! The generated configuration and the supervisor, with the real Envoy.

mod clients;
mod doctor;
mod double;
mod gateway;
mod on_demand;
mod replies;
mod routing;
mod supervise;
mod tls;

/// A client whose TLS has its cryptography.
fn http() -> reqwest::Client {
    luthien::policies::http::choose_cryptography();
    reqwest::Client::new()
}
