//! Calls by which a client tries something, and which are no part of the conversation.

use crate::{
    dialect::{Endpoint, RequestView},
    model::{Request, Source},
};

/// What a client tries with a call. `None`: it is a part of the conversation.
///
/// Claude Code asks for one token to see whether it has any quota left, has titles made by a small model, counts tokens, and
/// names such calls in a header where it is told to (`CLAUDE_CODE_GATEWAY_HINT_HEADERS`).
pub(super) fn probe(
    endpoint: Endpoint,
    view: &RequestView,
    headers: &[(String, String)],
    request: &Request,
) -> Option<&'static str> {
    if !endpoint.answers {
        return Some("count_tokens");
    }
    if !endpoint.asks {
        return Some("retrieval");
    }
    if view.max_tokens == Some(1) {
        return Some("quota");
    }
    let class = headers.iter().find(|(name, _)| name == "x-claude-code-request-class");
    if class.is_some_and(|(_, class)| class == "auxiliary") {
        return Some("auxiliary");
    }
    let makes_a_title = || {
        request.texts().iter().filter(|text| text.source() == Source::System).any(|text| {
            let text = text.get();
            text.contains("new conversation topic") || (text.contains("title") && text.contains("sentence-case"))
        })
    };
    (request.tools().is_empty() && makes_a_title()).then_some("title")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{dialect, model::Dialect};

    #[test]
    fn what_is_no_part_of_the_conversation_is_known() {
        let post = |path: &str| dialect::endpoint("POST", path).unwrap();
        for (path, body, class, expected) in [
            ("/v1/messages", r#"{"max_tokens":1,"messages":[{"role":"user","content":"quota"}]}"#, None, Some("quota")),
            ("/v1/chat/completions", r#"{"max_completion_tokens":1,"messages":[]}"#, None, Some("quota")),
            ("/v1/responses", r#"{"max_output_tokens":1,"input":"x"}"#, None, Some("quota")),
            ("/v1/messages/count_tokens", r#"{"messages":[]}"#, None, Some("count_tokens")),
            ("/v1/messages", r#"{"messages":[]}"#, Some("auxiliary"), Some("auxiliary")),
            ("/v1/messages", r#"{"max_tokens":2,"messages":[]}"#, Some("main"), None),
            (
                "/v1/messages",
                r#"{"system":"Analyze if this message indicates a new conversation topic.","messages":[]}"#,
                None,
                Some("title"),
            ),
            (
                "/v1/messages",
                r#"{"system":"a new conversation topic","tools":[{"name":"t"}],"messages":[]}"#,
                None,
                None,
            ),
        ] {
            let endpoint = post(path);
            let body = Bytes::from_static(body.as_bytes());
            let (view, request) = dialect::request(endpoint.dialect, &body).unwrap();
            let headers: Vec<_> = class
                .map(|class: &str| ("x-claude-code-request-class".to_owned(), class.to_owned()))
                .into_iter()
                .collect();
            assert_eq!(probe(endpoint, &view, &headers, &request), expected, "{path} {body:?}");
        }
        let endpoint = dialect::endpoint("GET", "/v1/responses/resp_1").unwrap();
        assert_eq!(endpoint.dialect, Dialect::OpenaiResponses);
        let (view, request) = dialect::retrieval("/v1/responses/resp_1");
        assert_eq!(probe(endpoint, &view, &[], &request), Some("retrieval"));
    }
}
