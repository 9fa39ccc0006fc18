//! Who may use the admin listener, and for what.

use crate::{
    fakes::provider::Provider,
    harness::{
        client::{Answer, Request},
        gateway::Gateway,
    },
};

const ADMIN: &str = "open-sesame";
const VIEWER: &str = "look-sesame";
const PAGES: [&str; 4] = ["/", "/policies", "/activity/monitor", "/nothing"];

async fn with_tokens() -> Gateway {
    let provider = Provider::start().await;
    Gateway::with(&provider)
        .env("LUTHIEN_ADMIN_TOKEN", "{ env: TOKEN }")
        .env("TOKEN", ADMIN)
        .env("LUTHIEN_ADMIN_VIEWER_TOKEN", "{ env: VIEWER }")
        .env("VIEWER", VIEWER)
        .start()
        .await
}

fn request(method: &'static str, path: &str, headers: &[(&str, &str)]) -> Request {
    headers.iter().fold(Request::new(method, path), |request, (name, value)| request.header(name, value))
}

fn form(text: &str) -> Request {
    let request = Request::new("POST", "/login").header("content-type", "application/x-www-form-urlencoded");
    Request { body: text.to_owned().into(), ..request }
}

/// The cookie that an answer sets, as a browser sends it back.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {}", answer.status));
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn without_a_token_this_machine_may_do_everything_and_other_sites_nothing() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    let local = gateway.admin_url();
    for (method, path, headers, status) in [
        ("GET", "/metrics", &[] as &[_], 200),
        ("GET", "/metrics", &[("host", "localhost:1")], 200),
        ("GET", "/metrics", &[("host", "[::1]:1")], 200),
        ("GET", "/metrics", &[("host", "rebound.example")], 403),
        ("GET", "/policies", &[("host", "127.0.0.1.rebound.example")], 403),
        ("GET", "/metrics", &[("origin", "https://evil.example")], 403),
        // A link on another site.
        ("GET", "/policies", &[("sec-fetch-site", "cross-site")], 200),
        ("DELETE", "/policies", &[], 405),
        ("DELETE", "/policies", &[("origin", &local)], 405),
        ("DELETE", "/policies", &[("origin", "http://localhost:1")], 403),
        ("DELETE", "/policies", &[("origin", "null")], 403),
        ("POST", "/nothing", &[("origin", "https://evil.example")], 403),
        ("POST", "/nothing", &[("sec-fetch-site", "cross-site")], 403),
        ("POST", "/logout", &[("origin", "https://evil.example")], 403),
        ("POST", "/login", &[("host", "rebound.example")], 403),
        ("GET", "/login", &[], 303),
        ("GET", "/healthz", &[("host", "10.0.0.1:8081")], 200),
        ("GET", "/readyz", &[("host", "10.0.0.1:8081")], 200),
    ] {
        let answer = gateway.admin(request(method, path, headers)).await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?}: {}", answer.text());
        if path == "/readyz" {
            assert!(answer.body.is_empty(), "who cannot be trusted learns whether, but not why");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn tokens_and_sessions_have_a_role() {
    let gateway = with_tokens().await;
    let host = gateway.admin_url();
    let mut cookies = Vec::new();
    for token in [ADMIN, VIEWER] {
        let answer = gateway.admin(form(&format!("token={token}&next=%2Fpolicies%3Fa%3D1"))).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/policies?a=1")), "{}", answer.text());
        let set = answer.header("set-cookie").unwrap();
        assert!(set.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax"), "{set}");
        assert!(!set.contains(token), "{set}");
        cookies.push(cookie(&answer));
    }
    let bearer = |token: &str| format!("Bearer {token}");
    let (admin, viewer) = (bearer(ADMIN), bearer(VIEWER));
    let [admin_session, viewer_session] = &cookies[..] else { panic!("two cookies") };
    let forged = viewer_session.replace("viewer", "admin");
    for (method, headers, status) in [
        ("GET", &[] as &[(&str, &str)], 401),
        ("GET", &[("authorization", &admin)], 200),
        ("GET", &[("authorization", &viewer)], 200),
        ("GET", &[("authorization", "Bearer wrong")], 401),
        ("GET", &[("cookie", admin_session)], 200),
        ("GET", &[("cookie", viewer_session)], 200),
        ("GET", &[("cookie", &forged)], 401),
        ("DELETE", &[("authorization", &admin)], 405),
        ("DELETE", &[("authorization", &viewer)], 403),
        ("DELETE", &[("cookie", admin_session), ("origin", &host)], 405),
        ("DELETE", &[("cookie", admin_session), ("sec-fetch-site", "same-origin")], 405),
        ("DELETE", &[("cookie", admin_session)], 403),
        ("DELETE", &[("cookie", admin_session), ("origin", "https://evil.example")], 403),
        ("DELETE", &[("cookie", viewer_session), ("origin", &host)], 403),
        ("DELETE", &[], 401),
    ] {
        let answer = gateway.admin(request(method, "/policies", headers)).await;
        assert_eq!(answer.status, status, "{method} {headers:?}: {}", answer.text());
        assert_eq!(answer.header("www-authenticate"), (status == 401).then_some("Bearer"));
        if status >= 400 {
            assert!(answer.json()["error"].is_string(), "{}", answer.text());
        }
    }
    for path in ["/metrics", "/version", "/activity/stream", "/activity/monitor", "/", "/nothing"] {
        assert_eq!(gateway.admin(Request::new("GET", path)).await.status, 401, "{path}");
    }

    // TLS ends at a proxy.
    let secure = gateway.admin(form(&format!("token={ADMIN}")).header("x-forwarded-proto", "https, http")).await;
    assert!(secure.header("set-cookie").unwrap().ends_with("; Secure"));
    let out = gateway.admin(request("POST", "/logout", &[("cookie", admin_session), ("origin", &host)])).await;
    assert_eq!((out.status, out.header("location")), (303, Some("/login")));
    assert!(out.header("set-cookie").unwrap().starts_with("luthien_session=; Path=/; Max-Age=0;"));
    let foreign = form(&format!("token={ADMIN}")).header("origin", "https://evil.example");
    assert_eq!(gateway.admin(foreign).await.status, 403);
    for secret in [ADMIN, VIEWER] {
        assert!(!gateway.output().contains(secret) && !gateway.state().contains(secret));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_browser_without_a_session_is_sent_to_the_login_and_back() {
    let gateway = with_tokens().await;
    for page in PAGES {
        let answer = gateway.admin(request("GET", page, &[("accept", "text/html,*/*;q=0.8")])).await;
        let next = page.replace('/', "%2F");
        let expected = if page == "/" { "/login".to_owned() } else { format!("/login?next={next}") };
        assert_eq!((answer.status, answer.header("location")), (303, Some(&*expected)));
        let form = gateway.admin(Request::new("GET", &expected)).await;
        assert!(form.text().contains(&format!("name=\"next\" value=\"{page}\"")), "{}", form.text());
        assert!(!form.text().contains(env!("CARGO_PKG_VERSION")), "strangers are told no version");
    }
    for evil in
        ["//evil.example", "/\\evil.example", "https://evil.example", "/%09/evil.example", "javascript:alert(1)"]
    {
        let answer = gateway.admin(form(&format!("token={ADMIN}&next={evil}"))).await;
        assert_eq!(answer.header("location"), Some("/"), "{evil}");
    }
    let hostile = gateway.admin(Request::new("GET", "/login?next=/%22%3E%3Cscript%3Ealert(1)%3C/script%3E")).await;
    assert!(!hostile.text().contains("<script>alert"), "{}", hostile.text());
    gateway.stop().await;
}

#[tokio::test]
async fn who_guesses_has_to_wait() {
    let gateway = with_tokens().await;
    let mut last = None;
    // Attempts come back while this runs, one in six seconds.
    for attempt in 0..40 {
        let answer = gateway.admin(form(&format!("token=guess-{attempt}"))).await;
        if answer.status == 429 {
            last = Some((attempt, answer));
            break;
        }
        assert_eq!(answer.status, 401);
        assert!(answer.text().contains("not the token") && answer.header("set-cookie").is_none());
    }
    let (attempt, answer) = last.expect("an end of the attempts");
    assert!(attempt >= 10, "{attempt}");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // Programs with the token are not held up.
    let bearer = request("GET", "/metrics", &[("authorization", &format!("Bearer {ADMIN}"))]);
    assert_eq!(gateway.admin(bearer).await.status, 200);
    gateway.stop().await;
}
