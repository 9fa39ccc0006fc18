//! Which paths speak which dialect.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::model::Dialect;

/// What a policed request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The dialect.
    pub dialect: Dialect,
    /// Whether there is a request to police, or only the name of an answer that a provider kept.
    pub asks: bool,
    /// Whether there is an answer to police, or only a request (`count_tokens`).
    pub answers: bool,
}

/// The policed endpoint at `path` (the query is ignored), if it is one.
pub fn endpoint(method: &str, path: &str) -> Option<Endpoint> {
    let (dialect, asks, answers) = match (method, without_query(path)) {
        ("POST", "/v1/chat/completions") => (Dialect::OpenaiChat, true, true),
        ("POST", "/v1/responses") => (Dialect::OpenaiResponses, true, true),
        ("GET", path) if is_response(path) => (Dialect::OpenaiResponses, false, true),
        ("POST", "/v1/messages") => (Dialect::AnthropicMessages, true, true),
        ("POST", "/v1/messages/count_tokens") => (Dialect::AnthropicMessages, true, false),
        _ => return None,
    };
    Some(Endpoint { dialect, asks, answers })
}

/// What a server that is not strict could take a path for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loosely {
    /// That of requests which have something generated.
    Asking,
    /// That of an answer which was kept.
    Kept,
    /// Any path at all: it climbs, or holds what ends it early.
    Anything,
    /// None that is policed.
    Unpoliced,
}

/// Whether a request that no dialect covers could be read as a policed one by the provider. Policies would not see it.
pub fn is_disguised(method: &str, path: &str, has_body: bool) -> bool {
    match loosely(path) {
        Loosely::Unpoliced => false,
        // Lists and deletes what providers keep. Some servers answer any other method as they do POST.
        Loosely::Asking => has_body || !["GET", "HEAD", "OPTIONS", "DELETE"].contains(&method),
        Loosely::Kept => method.eq_ignore_ascii_case("GET"),
        Loosely::Anything => true,
    }
}

/// What a server could take `path` for that unescapes it again, folds its case, resolves dots and backslashes, leaves out
/// parameters, tidies its ends, or has the same API in several places. The query is ignored.
pub fn loosely(path: &str) -> Loosely {
    let plain = plain(without_query(path));
    // What is no UTF-8 may be a dot or a slash to whoever decodes it in a way of his own.
    if plain.chars().any(|char| char.is_control() || matches!(char, '?' | '#' | '\u{fffd}')) {
        return Loosely::Anything;
    }
    let lower = plain.to_ascii_lowercase();
    let mut tidy = String::new();
    for segment in lower.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default().trim() {
            "" => {}
            "." | ".." => return Loosely::Anything,
            segment => tidy.extend(["/", segment.trim_end_matches('.')]),
        }
    }
    let versioned = tidy.rfind("/v1/").and_then(|at| tidy.get(at..)).map(str::to_owned);
    let versioned = versioned.unwrap_or_else(|| format!("/v1{tidy}"));
    if ASKING.contains(&&*versioned) || tidy.ends_with("/chat/completions") {
        Loosely::Asking
    } else if is_response(&versioned) {
        Loosely::Kept
    } else {
        Loosely::Unpoliced
    }
}

/// Where requests go that have something generated.
const ASKING: [&str; 4] = ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens"];

/// `path` without percent escapes, nor escapes of escapes.
fn plain(path: &str) -> Cow<'_, str> {
    let mut plain = Cow::Borrowed(path);
    while let Cow::Owned(decoded) = percent_decode_str(&plain).decode_utf8_lossy() {
        plain = Cow::Owned(decoded);
    }
    plain
}

/// Where a call of a dialect is posted.
pub fn path(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenaiChat => "/v1/chat/completions",
        Dialect::OpenaiResponses => "/v1/responses",
        Dialect::AnthropicMessages => "/v1/messages",
    }
}

/// `path` as a provider has it whose paths have no `/v1` at their beginning.
pub fn without_version(path: &str) -> &str {
    path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

/// The dialect in which errors on `path` are told, also where no dialect covers it.
pub fn error_dialect(path: &str) -> Dialect {
    let path = without_query(path);
    if path == "/v1/messages" || path.starts_with("/v1/messages/") {
        Dialect::AnthropicMessages
    } else if path == "/v1/responses" || path.starts_with("/v1/responses/") {
        Dialect::OpenaiResponses
    } else {
        Dialect::OpenaiChat
    }
}

/// Whether a path names one response that the provider kept.
fn is_response(path: &str) -> bool {
    path.strip_prefix("/v1/responses/").is_some_and(|id| !id.is_empty() && id.chars().all(is_of_id))
}

/// What ids are made of. Anything else could be another path to whoever decodes it.
fn is_of_id(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_' || char == '-'
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialect_follows_from_method_and_path() {
        let of = |method, path| endpoint(method, path).map(|endpoint| (endpoint.dialect, endpoint.answers));
        assert_eq!(of("POST", "/v1/messages?beta=true"), Some((Dialect::AnthropicMessages, true)));
        assert_eq!(of("POST", "/v1/messages/count_tokens"), Some((Dialect::AnthropicMessages, false)));
        assert_eq!(of("POST", "/v1/chat/completions"), Some((Dialect::OpenaiChat, true)));
        assert_eq!(of("POST", "/v1/responses"), Some((Dialect::OpenaiResponses, true)));
        assert_eq!(error_dialect("/v1/responses/resp_1"), Dialect::OpenaiResponses);
        assert_eq!(of("GET", "/v1/responses/resp_1?stream=true"), Some((Dialect::OpenaiResponses, true)));
        assert_eq!(of("GET", "/v1/responses"), None);
        assert_eq!(of("GET", "/v1/responses/resp_1/input_items"), None);
        assert_eq!(of("GET", "/v1/responses/..%2ffiles"), None);
        assert_eq!(of("DELETE", "/v1/responses/resp_1"), None);
        assert_eq!(of("GET", "/v1/chat/completions"), None);
        assert_eq!(of("POST", "/v1/chat/completions/x"), None);
        assert_eq!(error_dialect("/v1/messages/batches?x"), Dialect::AnthropicMessages);
        assert_eq!(error_dialect("/v1/files"), Dialect::OpenaiChat);
    }

    #[test]
    fn what_asks_is_policed() {
        for path in ASKING {
            assert!(endpoint("POST", path).is_some(), "{path}");
        }
        for dialect in Dialect::ALL {
            assert!(ASKING.contains(&path(dialect)));
        }
    }

    #[test]
    fn a_path_is_read_as_the_least_strict_server_would() {
        for path in [
            "/v1/messages",
            "/v1/messages/",
            "/v1//messages",
            "//v1/messages?x=/files",
            "/V1/Messages",
            "/v1/%6dessages",
            "/v1/%256Dessages",
            "/v1/messages;a=b",
            "/v1;x/messages",
            "/v1\\messages",
            "/v1%2fmessages",
            "/v1%255cmessages/",
            "/v1/messages%20",
            "/v1/messages.",
            "/v1/chat/completions/",
            "/messages",
            "/anthropic/v1/messages/count_tokens",
            "/openai/deployments/x/chat/completions?api-version=1",
        ] {
            assert_eq!(loosely(path), Loosely::Asking, "{path}");
        }
        for path in ["/v1/responses/resp_AB/", "/V1/responses/resp_AB", "/responses/resp_1", "/v1/responses//resp_1"] {
            assert_eq!(loosely(path), Loosely::Kept, "{path}");
        }
        for path in [
            "/v1/files/../messages",
            "/v1/./messages",
            "/v1/files/..;/messages",
            "/v1/files/%252e%252e/messages",
            "/v1/files/..%5cmessages",
            "/v1/messages%00",
            "/v1/messages%23",
            "/v1/messages%3fx",
            "/v1/messages%0a",
            "/v1/files/%C0%AE%C0%AE/messages",
        ] {
            assert_eq!(loosely(path), Loosely::Anything, "{path}");
        }
        for path in [
            "/v1/models",
            "/v1/models/a%20b?x=..",
            "/v1/files/100%25",
            "/v1/messages/batches",
            "/v1/threads/thread_1/messages",
            "/v1/responses/resp_1/input_items",
            "/",
        ] {
            assert_eq!(loosely(path), Loosely::Unpoliced, "{path}");
        }
    }

    #[test]
    fn a_version_is_a_whole_segment() {
        assert_eq!(without_version("/v1/responses?stream=true"), "/responses?stream=true");
        for path in ["/v1beta/models", "/v1", "/models"] {
            assert_eq!(without_version(path), path);
        }
    }
}
