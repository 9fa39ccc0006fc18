//! Answers that are no pages of their own: errors, in the form that whoever asks can read, and the headers of all answers.

use std::convert::Infallible;

use axum::{
    Json,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::pages;

/// What every answer carries. No script and no style but our own files; nobody frames, embeds or reads us from elsewhere.
/// `same-origin` and not `no-referrer`: with that one, browsers send our own forms with `Origin: null`.
const SECURITY: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What an answer is to be, where there are both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    Page,
    Json,
}

impl<S: Sync> FromRequestParts<S> for Wants {
    type Rejection = Infallible;

    /// `?format=json` is for people who want to see the JSON, and whose browsers ask for pages.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        let is_json = form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "format" && value == "json");
        Ok(if !is_json && prefers_html(&parts.headers) { Self::Page } else { Self::Json })
    }
}

/// Adds the headers that every answer carries. What says nothing about caches is kept by none.
pub(super) async fn secure(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in SECURITY {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// An error: a page for a browser, otherwise `{"error": …}`. The message says what to do.
pub(super) fn error(asked: &HeaderMap, status: StatusCode, message: &str) -> Response {
    if prefers_html(asked) {
        pages::error(status, message)
    } else {
        (status, Json(json!({ "error": message }))).into_response()
    }
}

/// Whether whoever asks would rather have a page than JSON. `*/*` is a program.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let (mut html, mut json) = (0.0, 0.0);
    for range in accepted.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok());
        let weight = weight.unwrap_or_default();
        if kind.eq_ignore_ascii_case("text/html") {
            html = weight;
        } else if kind.eq_ignore_ascii_case("application/json") {
            json = weight;
        }
    }
    html > 0.0 && html >= json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_pages_and_programs_get_json() {
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("application/json", false),
            ("text/html", true),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("application/json, text/html;q=0.5", false),
            ("application/json;q=0.5, text/html", true),
            ("TEXT/HTML ; q=0.1", true),
            ("text/html;q=0", false),
            ("text/html;q=x", false),
        ] {
            let headers = [(header::ACCEPT, HeaderValue::from_static(accept))].into_iter().collect();
            assert_eq!(prefers_html(&headers), expected, "{accept}");
        }
    }
}
