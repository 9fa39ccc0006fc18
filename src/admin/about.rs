//! What pages say of the settings.

use std::net::SocketAddr;

use super::pages::text::part;
use crate::{
    config::{
        recording::Level,
        settings::{Settings, Upstream},
        source::RulesSource,
    },
    model::RecordLevel,
};

/// What pages say of the settings. Holds no secrets.
#[derive(Debug, Clone)]
pub struct About {
    listen: String,
    scheme: &'static str,
    /// The providers, in order.
    pub(super) upstreams: Vec<Provider>,
    /// Where the rules come from; nothing where the rules are built in.
    pub(super) rules: Option<String>,
    /// How much is recorded, unless the rules say otherwise.
    pub(super) recording: RecordLevel,
    trace_url: Option<String>,
}

/// A provider.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) target: String,
    pub(super) dialects: Vec<&'static str>,
    pub(super) models: String,
}

impl About {
    /// Of these settings, with the rules from there.
    pub fn of(settings: &Settings, rules: &RulesSource) -> Self {
        let provider = |upstream: &Upstream| Provider {
            name: upstream.name.clone(),
            target: match upstream.url.as_str() {
                "demo" => "the built-in demo provider".to_owned(),
                url => url.to_owned(),
            },
            dialects: upstream.dialects.iter().map(|dialect| dialect.name()).collect(),
            models: upstream.models.iter().chain(upstream.aliases.keys()).cloned().collect::<Vec<_>>().join(", "),
        };
        Self {
            listen: settings.listen.clone(),
            scheme: if settings.tls.is_some() { "https" } else { "http" },
            upstreams: settings.upstreams.iter().map(provider).collect(),
            rules: (*rules != RulesSource::Embedded).then(|| rules.name()),
            recording: match settings.recording.level {
                Level::Off => RecordLevel::Off,
                Level::Metadata => RecordLevel::Metadata,
                Level::Full => RecordLevel::Full,
            },
            trace_url: settings.admin.trace_url.clone(),
        }
    }

    /// Where the trace of a call is. Nothing where it takes what is not known of the call.
    pub(super) fn trace(&self, call: &str, trace: Option<&str>) -> Option<String> {
        let template = self.trace_url.as_deref()?;
        // Without a trace there is nothing to see, unless the address can do without its id.
        if trace.is_none() && template.contains("{trace_id}") {
            return None;
        }
        Some(template.replace("{call_id}", &part(call)).replace("{trace_id}", &part(trace.unwrap_or_default())))
    }

    /// Where clients connect. `host` is how the reader reached us: an address that stands for all of this machine is of no
    /// use to a client.
    pub(super) fn clients(&self, host: &str) -> String {
        let Self { listen, scheme, .. } = self;
        match listen.parse::<SocketAddr>() {
            Ok(at) if at.ip().is_unspecified() => {
                let bare = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
                let name = bare.map_or(host, |(name, _)| name);
                format!("{scheme}://{}:{}", if name.is_empty() { "localhost" } else { name }, at.port())
            }
            Ok(_) | Err(_) => format!("{scheme}://{listen}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> About {
        About {
            listen: String::new(),
            scheme: "http",
            upstreams: Vec::new(),
            rules: None,
            recording: RecordLevel::Full,
            trace_url: None,
        }
    }

    #[test]
    fn a_trace_is_linked_to_where_its_address_is_known() {
        let about = |url: &str| About { trace_url: Some(url.to_owned()), ..nothing() };
        assert_eq!(nothing().trace("c", Some("t")), None);
        assert_eq!(about("https://g/?q={call_id}").trace("a b&c", None).as_deref(), Some("https://g/?q=a%20b%26c"));
        assert_eq!(about("https://g/{trace_id}?q={call_id}").trace("c", None), None);
        assert_eq!(about("https://g/{trace_id}?q={call_id}").trace("c", Some("t")).as_deref(), Some("https://g/t?q=c"));
    }

    #[test]
    fn clients_are_told_an_address_that_they_can_use() {
        let about = |listen: &str| About { listen: listen.to_owned(), ..nothing() };
        for (listen, host, expected) in [
            ("127.0.0.1:8080", "localhost:8081", "http://127.0.0.1:8080"),
            ("0.0.0.0:8080", "gateway.example:8081", "http://gateway.example:8080"),
            ("0.0.0.0:8080", "gateway.example", "http://gateway.example:8080"),
            ("[::]:8080", "[::1]:8081", "http://[::1]:8080"),
            ("0.0.0.0:8080", "", "http://localhost:8080"),
        ] {
            assert_eq!(about(listen).clients(host), expected, "{listen} {host}");
        }
    }
}
