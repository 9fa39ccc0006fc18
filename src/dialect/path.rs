//! Which paths speak which dialect.

use crate::model::Dialect;

/// What a policed request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The dialect.
    pub dialect: Dialect,
    /// Whether there is an answer to police, or only a request (`count_tokens`).
    pub answers: bool,
}

/// The policed endpoint at `path` (the query is ignored), if it is one.
pub fn endpoint(method: &str, path: &str) -> Option<Endpoint> {
    let (dialect, answers) = match (method, without_query(path)) {
        ("POST", "/v1/chat/completions") => (Dialect::OpenaiChat, true),
        ("POST", "/v1/messages") => (Dialect::AnthropicMessages, true),
        ("POST", "/v1/messages/count_tokens") => (Dialect::AnthropicMessages, false),
        _ => return None,
    };
    Some(Endpoint { dialect, answers })
}

/// The dialect in which errors on `path` are told, also where no dialect covers it.
pub fn error_dialect(path: &str) -> Dialect {
    let path = without_query(path);
    if path == "/v1/messages" || path.starts_with("/v1/messages/") {
        Dialect::AnthropicMessages
    } else {
        Dialect::OpenaiChat
    }
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
        assert_eq!(of("GET", "/v1/chat/completions"), None);
        assert_eq!(of("POST", "/v1/chat/completions/x"), None);
        assert_eq!(error_dialect("/v1/messages/batches?x"), Dialect::AnthropicMessages);
        assert_eq!(error_dialect("/v1/files"), Dialect::OpenaiChat);
    }
}
