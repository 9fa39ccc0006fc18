//! Where a provider is: the parsed form of an upstream's `url`.

use std::fmt;

/// What an upstream's `url` says.
///
/// ```
/// use luthien::config::target::Target;
///
/// let Ok(Target::Http(target)) = "https://openrouter.ai/api/v1".parse() else { panic!() };
/// assert_eq!((target.host.as_str(), target.port, target.prefix.as_str()), ("openrouter.ai", 443, "/api"));
/// assert_eq!("demo".parse(), Ok(Target::Demo));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The built-in demo provider.
    Demo,
    /// A server.
    Http(HttpTarget),
}

/// A server and the prefix of its paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTarget {
    /// Whether the connection uses TLS (`https`).
    pub tls: bool,
    /// Name or IP address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Empty, or a path that begins with `/` and ends without one. Never ends in `/v1`: the client's path has that.
    pub prefix: String,
}

/// Why a `url` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, to follow the name of the key.
    pub message: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl HttpTarget {
    /// Whether this is the machine itself.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl std::str::FromStr for Target {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if text == "demo" {
            return Ok(Self::Demo);
        }
        let uri: http::Uri = text.parse().map_err(|_| Fault::NO_URL)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(Fault::SCHEME),
        };
        // `http::Uri` drops a fragment in silence.
        if uri.query().is_some() || text.contains('#') {
            return Err(Fault::QUERY);
        }
        let authority = uri.authority().ok_or(Fault::NO_URL)?;
        if authority.as_str().contains('@') {
            return Err(Fault::USER);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(Fault::NO_URL);
        }
        // A port that is no number is ignored by `http::Uri`.
        let written = authority.as_str().rsplit_once(':').filter(|(_, port)| !port.contains(']'));
        let port = match written {
            Some((_, port)) => port.parse().ok().filter(|port| *port != 0).ok_or(Fault::PORT)?,
            None if tls => 443,
            None => 80,
        };
        let path = uri.path().trim_end_matches('/');
        let prefix = path.strip_suffix("/v1").unwrap_or(path).trim_end_matches('/');
        Ok(Self::Http(HttpTarget { tls, host: host.to_owned(), port, prefix: prefix.to_owned() }))
    }
}

/// As it is written in a configuration, in its shortest form.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Http(HttpTarget { tls, host, port, prefix }) = self else { return f.write_str("demo") };
        f.write_str(if *tls { "https://" } else { "http://" })?;
        if host.contains(':') { write!(f, "[{host}]") } else { f.write_str(host) }?;
        if *port != if *tls { 443 } else { 80 } {
            write!(f, ":{port}")?;
        }
        f.write_str(prefix)
    }
}

impl Fault {
    const NO_URL: Self = Self {
        message: "is not a URL",
        remedy: "write scheme and host, as https://api.openai.com, or the word `demo`",
    };
    const SCHEME: Self = Self {
        message: "is neither http nor https",
        remedy: "begin it with https:// (or http:// for a server nearby), or write the word `demo`",
    };
    const USER: Self = Self {
        message: "has a user name or password in it",
        remedy: "remove everything before the @, and put the key into `credentials`",
    };
    const QUERY: Self = Self {
        message: "has a query or a fragment",
        remedy: "end it before the ? or #; only a path prefix may follow the host",
    };
    const PORT: Self = Self { message: "has no usable port", remedy: "write a port between 1 and 65535, or none" };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written() {
        for (text, written) in [
            ("demo", Ok("demo")),
            ("https://api.anthropic.com", Ok("https://api.anthropic.com")),
            ("https://api.openai.com/v1", Ok("https://api.openai.com")),
            ("https://api.openai.com/v1/", Ok("https://api.openai.com")),
            ("http://127.0.0.1:11434/", Ok("http://127.0.0.1:11434")),
            ("http://[::1]:80/api/v1", Ok("http://[::1]/api")),
            ("http://[::1]", Ok("http://[::1]")),
            ("https://host/v1beta", Ok("https://host/v1beta")),
            ("api.openai.com", Err(Fault::SCHEME)),
            ("ftp://host", Err(Fault::SCHEME)),
            ("https://", Err(Fault::NO_URL)),
            ("https://a b", Err(Fault::NO_URL)),
            ("https://me:pw@host", Err(Fault::USER)),
            ("https://host?key=1", Err(Fault::QUERY)),
            ("https://host/#x", Err(Fault::QUERY)),
            ("https://host:0", Err(Fault::PORT)),
            ("https://host:99999", Err(Fault::PORT)),
        ] {
            let target: Result<Target, Fault> = text.parse();
            assert_eq!(target.map(|target| target.to_string()), written.map(str::to_owned), "{text}");
        }
    }
}
