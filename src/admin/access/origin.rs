//! Where a request comes from, as far as its headers tell.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, header, request::Parts};

/// What tells whether a browser sends a request for one of our own pages or for another site's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// One of our own pages.
    Own,
    /// A page of another site.
    Foreign,
    /// Nothing tells: a program, or a browser that reads a page.
    Untold,
}

impl Origin {
    /// Browsers that send `Sec-Fetch-Site` know best, also behind a proxy that writes `Host` anew. Others send at least
    /// `Origin` with whatever could change something.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        match (text("sec-fetch-site"), text("origin")) {
            (Some("same-origin"), _) => Self::Own,
            (Some(_), _) => Self::Foreign,
            (None, Some(origin)) => {
                let host = text("host").unwrap_or_default();
                let is_own = origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host));
                if is_own && !host.is_empty() { Self::Own } else { Self::Foreign }
            }
            (None, None) => Self::Untold,
        }
    }
}

/// Whether a request can change something.
pub(super) fn is_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a request names this machine by a name that no other site can take, and comes from no other site's page (DNS
/// rebinding).
pub(super) fn is_local(parts: &Parts) -> bool {
    let all = |name| parts.headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or_default());
    let mut hosts = all(header::HOST).chain(parts.uri.host()).peekable();
    // Whichever of several another program on the way goes by.
    hosts.peek().is_some() && hosts.all(is_local_host) && all(header::ORIGIN).all(is_local_origin)
}

fn is_local_origin(origin: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, host)| is_local_host(host))
}

/// Whether `host`, with or without a port, is this machine.
fn is_local_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost", "LOCALHOST:8081", "127.0.0.1:1", "127.0.0.2", "[::1]:8081"] {
            assert!(is_local_host(host), "{host}");
        }
        for host in ["", "example.com", "localhost.example.com:80", "127.0.0.1.example.com", "[::2]", "evil"] {
            assert!(!is_local_host(host), "{host}");
        }
        assert!(is_local_origin("http://localhost:8081"));
        assert!(!is_local_origin("null") && !is_local_origin("https://example.com"));
    }

    #[test]
    fn headers_tell_whose_page_sends_a_request() {
        for (headers, expected) in [
            (&[("host", "a:1")] as &[_], Origin::Untold),
            (&[("host", "a:1"), ("origin", "http://a:1")], Origin::Own),
            (&[("host", "a:1"), ("origin", "https://A:1")], Origin::Own),
            (&[("host", "a:1"), ("origin", "http://a:2")], Origin::Foreign),
            (&[("host", "a:1"), ("origin", "http://b")], Origin::Foreign),
            (&[("host", "a:1"), ("origin", "null")], Origin::Foreign),
            (&[("host", ""), ("origin", "http://")], Origin::Foreign),
            // A proxy in between gave the request another host.
            (&[("host", "inside"), ("origin", "https://a"), ("sec-fetch-site", "same-origin")], Origin::Own),
            (&[("host", "a"), ("origin", "http://a"), ("sec-fetch-site", "cross-site")], Origin::Foreign),
            (&[("host", "a"), ("sec-fetch-site", "same-site")], Origin::Foreign),
            (&[("host", "a"), ("sec-fetch-site", "none")], Origin::Foreign),
        ] {
            let pairs =
                headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            assert_eq!(Origin::of(&pairs.collect()), expected, "{headers:?}");
        }
    }
}
