//! The generated configuration and the supervisor, with the real Envoy.

mod double;
mod gateway;
mod replies;
mod routing;
mod supervise;
mod tls;
