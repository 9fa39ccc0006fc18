//! Headers and attributes as Envoy sends them.

use std::{collections::HashMap, fmt};

use envoy_types::pb::{
    envoy::service::ext_proc::v3::HttpHeaders,
    google::protobuf::{Struct, value::Kind},
};

use crate::model::Entrance;

/// Headers that carry credentials: never shown to policies, never logged, always removed before ours are set.
pub(super) const CREDENTIALS: [&str; 5] = ["authorization", "x-api-key", "api-key", "cookie", "proxy-authorization"];

/// Headers of a message.
#[derive(Clone, Default)]
pub(super) struct HeaderView(Vec<(String, String)>);

/// Names only: any value may be a secret.
impl fmt::Debug for HeaderView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl HeaderView {
    /// The headers of a message, names in lower case as Envoy sends them.
    pub(super) fn of(headers: &HttpHeaders) -> Self {
        let all = headers.headers.iter().flat_map(|map| &map.headers);
        let value = |raw: &[u8], text: &str| {
            if raw.is_empty() { text.to_owned() } else { String::from_utf8_lossy(raw).into_owned() }
        };
        Self(all.map(|header| (header.key.to_ascii_lowercase(), value(&header.raw_value, &header.value))).collect())
    }

    /// The first value of a header.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a header.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A header's value, empty where there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Names that are ours or Envoy's to say, and came all the same.
    pub(super) fn forged(&self) -> Vec<String> {
        let is_ours = |name: &&String| name.starts_with("x-luthien-") || name.starts_with("x-envoy-");
        self.0.iter().map(|(name, _)| name).filter(is_ours).cloned().collect()
    }

    /// Whether the body comes compressed, or otherwise encoded.
    pub(super) fn is_encoded(&self) -> bool {
        let names = self.0.iter().filter(|(key, _)| key == "content-encoding");
        names.flat_map(|(_, value)| value.split(',')).any(|coding| {
            let coding = coding.trim();
            !coding.is_empty() && !coding.eq_ignore_ascii_case("identity")
        })
    }

    /// The announced length of the body.
    pub(super) fn content_length(&self) -> Option<usize> {
        self.get("content-length")?.parse().ok()
    }

    /// The media type, without parameters, in lower case.
    pub(super) fn media_type(&self) -> String {
        let value = self.text("content-type");
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Whether whoever goes by `content-type` reads the body as JSON in UTF-8. Nothing said is JSON too, to every provider.
    pub(super) fn says_json(&self) -> bool {
        self.all("content-type").flat_map(|value| value.split(',')).all(|value| {
            let value = value.to_ascii_lowercase();
            let mut parts = value.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let is_json = kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
            let charset = |part: &str| {
                part.split_once('=')
                    .filter(|(name, _)| name.trim() == "charset")
                    .map(|(_, of)| of.trim_matches([' ', '"', '\'']).to_owned())
            };
            is_json && parts.filter_map(charset).all(|of| matches!(&*of, "utf-8" | "utf8" | "us-ascii"))
        })
    }

    /// What policies may see: everything but credentials and pseudo-headers.
    pub(super) fn public(&self) -> Vec<(String, String)> {
        let shown = |(key, _): &&(String, String)| !key.starts_with(':') && !CREDENTIALS.contains(&key.as_str());
        self.0.iter().filter(shown).cloned().collect()
    }
}

/// Which way a call took into Envoy. A name that is empty says nothing.
pub(super) fn entrance(attributes: &HashMap<String, Struct>) -> Entrance {
    let name = |of: &str| attribute(attributes, of).filter(|name| !name.is_empty()).map(str::to_owned);
    Entrance { route: name("xds.route_name"), virtual_host: name("xds.virtual_host_name") }
}

/// Why Envoy answers by itself. `None`: the provider does, or nobody says who.
pub(super) fn own_answer(attributes: &HashMap<String, Struct>) -> Option<&str> {
    attribute(attributes, "response.code_details").filter(|details| *details != "via_upstream")
}

/// A string attribute of Envoy's, as `response.code_details`.
fn attribute<'a>(attributes: &'a HashMap<String, Struct>, name: &str) -> Option<&'a str> {
    let value = attributes.values().find_map(|fields| fields.fields.get(name))?;
    match &value.kind {
        Some(Kind::StringValue(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&str, &str)]) -> HeaderView {
        HeaderView(all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn no_value_of_a_header_is_shown() {
        let shown = format!("{:?}", headers(&[("authorization", "Bearer fake"), ("x-a", "fake")]));
        assert_eq!(shown, r#"{"authorization", "x-a"}"#);
    }

    #[test]
    fn a_type_says_json_or_another_thing() {
        for (kinds, expected) in [
            (&[] as &[&str], true),
            (&["application/json"], true),
            (&["Application/JSON; charset=\"UTF-8\""], true),
            (&["application/problem+json ; charset=utf8"], true),
            (&["application/json", "application/json"], true),
            (&["application/json", "text/plain"], false),
            (&["application/json, text/plain"], false),
            (&["application/json; charset=utf-7"], false),
            (&["application/json; Charset = utf-16"], false),
            (&["multipart/form-data; boundary=x"], false),
            (&["text/x+json"], false),
            (&[""], false),
        ] {
            let all: Vec<_> = kinds.iter().map(|kind| ("content-type", *kind)).collect();
            assert_eq!(headers(&all).says_json(), expected, "{kinds:?}");
        }
    }
}
