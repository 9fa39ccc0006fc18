//! Logging in and out, for people with a browser.

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::to_bytes,
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock};

use super::{
    Access, Denied, Rule,
    origin::{Origin, is_local},
    session::Sessions,
};
use crate::admin::{pages, reply};

/// How often somebody may try within a minute, all together.
const ATTEMPTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// The longest form that is read.
const MAX_FORM: usize = 8 * 1024;

/// How often somebody may still try. Counts for all together: whoever guesses may have many addresses.
pub(super) struct Attempts(DefaultDirectRateLimiter);

impl Default for Attempts {
    fn default() -> Self {
        Self(RateLimiter::direct(Quota::per_minute(ATTEMPTS)))
    }
}

impl Attempts {
    /// Takes one. `Err`: there is none left, and how long until there is.
    fn take(&self) -> Result<(), Duration> {
        self.0.check().map_err(|not_yet| not_yet.wait_time_from(self.0.clock().now()))
    }
}

/// The form, what it sends, and the way out.
pub(in crate::admin) fn routes() -> Router<Access> {
    Router::new().route("/login", get(form).post(log_in)).route("/logout", post(log_out))
}

/// Sends a person who is not logged in to the form, and back afterwards.
pub(super) fn ask(uri: &Uri) -> Response {
    let asked = uri.path_and_query().map_or("/", |asked| asked.as_str());
    let next: String = form_urlencoded::byte_serialize(asked.as_bytes()).collect();
    redirect(&if asked == "/" { "/login".to_owned() } else { format!("/login?next={next}") })
}

async fn form(State(access): State<Access>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let next = destination(field(&query, "next"));
    match &*access.0 {
        Rule::Loopback => redirect(&next),
        Rule::Tokens { .. } => pages::login(StatusCode::OK, &next, None),
    }
}

async fn log_in(State(access): State<Access>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Rule::Tokens { attempts, .. } = &*access.0 else {
        return if is_local(&parts) { redirect("/") } else { Denied::ForeignHost.answer(&parts) };
    };
    if Origin::of(&parts.headers) == Origin::Foreign {
        return Denied::ForeignPage.answer(&parts);
    }
    let Ok(body) = to_bytes(body, MAX_FORM).await else {
        return reply::error(
            &parts.headers,
            StatusCode::PAYLOAD_TOO_LARGE,
            "the form is too large; send `token` and `next`",
        );
    };
    let fields: Vec<_> = form_urlencoded::parse(&body).into_owned().collect();
    let next = destination(field(&fields, "next"));
    if let Err(wait) = attempts.take() {
        let seconds = wait.as_secs() + 1;
        let message = format!("Too many attempts. Try again in {seconds} s.");
        let mut answer = pages::login(StatusCode::TOO_MANY_REQUESTS, &next, Some(&message));
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        return answer;
    }
    let role = access.0.role_of(field(&fields, "token").trim());
    let Some((role, sessions)) = role.zip(access.0.sessions()) else {
        tracing::warn!("somebody tried to log in with a wrong token");
        return pages::login(StatusCode::UNAUTHORIZED, &next, Some("This is not the token."));
    };
    tracing::info!(role = role.name(), "logged in");
    with_cookie(redirect(&next), &sessions.begin(role, SystemTime::now(), is_secure(&parts.headers)))
}

async fn log_out(State(access): State<Access>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    match access.judge(&parts, SystemTime::now()) {
        Err(denied @ (Denied::ForeignHost | Denied::ForeignPage)) => denied.answer(&parts),
        // Who has no session any more is out already; viewers may leave.
        Ok(_) | Err(Denied::Stranger | Denied::NotAdmin) => {
            with_cookie(redirect("/login"), &Sessions::end(is_secure(&parts.headers)))
        }
    }
}

fn field<'f>(fields: &'f [(String, String)], name: &str) -> &'f str {
    fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

/// Where to go after the login: only to a page of ours. Browsers read `//host` and `/\host` as another site, and leave out
/// tabs and line ends before they look.
fn destination(next: &str) -> String {
    let path = next.split(['?', '#']).next().unwrap_or_default();
    let is_ours = next.starts_with('/')
        && !next.starts_with("//")
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        && !matches!(path, "/login" | "/logout");
    if is_ours { next.to_owned() } else { "/".to_owned() }
}

/// Whether the browser spoke TLS, to a proxy before us. Where there are several, the first spoke to the browser.
fn is_secure(headers: &HeaderMap) -> bool {
    let protos = headers.get("x-forwarded-proto").and_then(|protos| protos.to_str().ok()).unwrap_or_default();
    protos.split(',').next().is_some_and(|first| first.trim().eq_ignore_ascii_case("https"))
}

fn redirect(to: &str) -> Response {
    // What is no header leads to the first page.
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

fn with_cookie(mut answer: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn only_pages_of_ours_are_gone_to() {
        for next in ["/", "/policies", "/activity/monitor?model=a%2Fb&x=//y", "/debug/calls/1#top", "/loginx"] {
            assert_eq!(destination(next), next);
        }
        for next in [
            "",
            "policies",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/a\r\nset-cookie: x",
            "https://evil.example",
            "javascript:alert(1)",
            " /policies",
            "/é",
            "/login",
            "/login?next=/login",
            "/logout",
        ] {
            assert_eq!(destination(next), "/", "{next:?}");
        }
    }

    #[test]
    fn attempts_run_out_and_come_back() {
        let clock = FakeRelativeClock::default();
        let attempts = RateLimiter::direct_with_clock(Quota::per_minute(ATTEMPTS), clock.clone());
        for _ in 0..ATTEMPTS.get() {
            assert!(attempts.check().is_ok());
        }
        assert!(attempts.check().is_err());
        clock.advance(Duration::from_secs(6));
        assert!(attempts.check().is_ok() && attempts.check().is_err());
    }
}
