//! Which paths speak which dialect.

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
    fn a_version_is_a_whole_segment() {
        assert_eq!(without_version("/v1/responses?stream=true"), "/responses?stream=true");
        for path in ["/v1beta/models", "/v1", "/models"] {
            assert_eq!(without_version(path), path);
        }
    }
}
