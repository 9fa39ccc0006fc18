//! Addresses as Envoy wants them: a Unix socket, or a host and a port.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Value, json};

/// Something that Envoy listens on or connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Pipe(PathBuf),
    /// A host, which is an IP address or (to connect to) a DNS name, and a port. An IPv6 address has no brackets here.
    Socket {
        /// IP address or DNS name.
        host: String,
        /// TCP port.
        port: u16,
    },
}

/// Text that is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address; write it as unix:/path/to.sock, 127.0.0.1:8080 or [::1]:8080")]
pub struct AddressError(String);

impl Address {
    /// The host, when it is an IP address. Envoy takes a name only in a cluster that asks DNS.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Pipe(_) => None,
            Self::Socket { host, .. } => host.parse().ok(),
        }
    }

    /// Where somebody on this machine reaches who listens here: "all addresses" are none to connect to.
    #[must_use]
    pub fn reachable(self) -> Self {
        match (self.ip(), self) {
            (Some(ip), Self::Socket { port, .. }) if ip.is_unspecified() => {
                let loopback: IpAddr =
                    if ip.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
                SocketAddr::new(loopback, port).into()
            }
            (_, address) => address,
        }
    }

    /// Envoy's `config.core.v3.Address`.
    pub(super) fn to_envoy(&self) -> Value {
        match self {
            Self::Pipe(path) => json!({ "pipe": { "path": path } }),
            Self::Socket { host, port } => json!({ "socket_address": { "address": host, "port_value": port } }),
        }
    }

    /// The same for a listener. `::` accepts IPv4 as well, as people expect of "all addresses"; a Unix socket is open to
    /// our own user only, because Envoy's admin interface can stop Envoy and shows its configuration.
    pub(super) fn to_envoy_listen(&self) -> Value {
        match self {
            Self::Pipe(path) => json!({ "pipe": { "path": path, "mode": 0o600 } }),
            Self::Socket { host, port } if host.parse() == Ok(Ipv6Addr::UNSPECIFIED) => {
                json!({ "socket_address": { "address": host, "port_value": port, "ipv4_compat": true } })
            }
            Self::Socket { .. } => self.to_envoy(),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Socket { host: address.ip().to_string(), port: address.port() }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || AddressError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(wrong()) } else { Ok(Self::Pipe(path.into())) };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let name =
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        match port.parse() {
            Ok(port) if name => Ok(Self::Socket { host: host.to_owned(), port }),
            Ok(_) | Err(_) => Err(wrong()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipe(path) => write!(f, "unix:{}", path.display()),
            Self::Socket { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Socket { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in ["unix:/run/x.sock", "unix:rel.sock", "127.0.0.1:80", "[::1]:80", "luthien:50051", "a.b-c:1"] {
            assert_eq!(text.parse::<Address>().map(|a| a.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_forms_that_are() {
        for text in ["", "unix:", "8080", ":8080", "host:", "host:70000", "a b:1", "::1:80"] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("write it as"), "{error}");
        }
    }

    #[test]
    fn all_ipv6_addresses_include_ipv4() {
        let address: Address = "[::]:8080".parse().unwrap();
        assert_eq!(address.to_envoy_listen()["socket_address"]["ipv4_compat"], true);
    }

    #[test]
    fn all_addresses_are_reached_at_loopback() {
        for (listens, reached) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1"), ("a:1", "a:1")]
        {
            assert_eq!(listens.parse::<Address>().unwrap().reachable().to_string(), reached);
        }
    }
}
