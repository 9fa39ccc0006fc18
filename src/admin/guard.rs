//! Who may read the admin listener.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::config::secret::Secret;

/// Who may read the admin listener.
#[derive(Debug, Clone)]
pub enum Guard {
    /// Whoever sends this token as a bearer.
    Token(Secret),
    /// Whoever is on this machine. A page of another site that a browser on this machine shows is not: its `Host` or its
    /// `Origin` tells (DNS rebinding).
    Loopback,
}

/// Lets a request through, or answers it.
pub(super) async fn check(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let refusal = refusal(&guard, &request);
    // Probes have no token, and learn whether but not why.
    let is_probe = matches!(request.uri().path(), "/healthz" | "/readyz");
    match refusal {
        Some((status, remedy)) if !is_probe => {
            (status, axum::Json(serde_json::json!({ "error": remedy }))).into_response()
        }
        refusal => {
            request.extensions_mut().insert(Trusted(refusal.is_none()));
            next.run(request).await
        }
    }
}

/// Whether whoever asks may see details.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trusted(pub(super) bool);

fn refusal(guard: &Guard, request: &Request) -> Option<(StatusCode, &'static str)> {
    let header = |name: header::HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    match guard {
        Guard::Token(token) => {
            let sent = header(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
            let fits = sent.is_some_and(|sent| token.matches(sent.as_bytes()));
            (!fits).then_some((StatusCode::UNAUTHORIZED, "send the admin token as `Authorization: Bearer TOKEN`"))
        }
        Guard::Loopback => {
            let host = header(header::HOST).or_else(|| request.uri().host()).unwrap_or_default();
            let foreign = !is_local(host) || header(header::ORIGIN).is_some_and(|origin| !is_local_origin(origin));
            foreign.then_some((StatusCode::FORBIDDEN, "use localhost or 127.0.0.1, or set `admin.token`"))
        }
    }
}

fn is_local_origin(origin: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, host)| is_local(host))
}

/// Whether `host`, with or without a port, is this machine by a name that no other site can take.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost", "LOCALHOST:8081", "127.0.0.1:1", "127.0.0.2", "[::1]:8081"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["", "example.com", "localhost.example.com:80", "127.0.0.1.example.com", "[::2]", "evil"] {
            assert!(!is_local(host), "{host}");
        }
        assert!(is_local_origin("http://localhost:8081"));
        assert!(!is_local_origin("null") && !is_local_origin("https://example.com"));
    }
}
