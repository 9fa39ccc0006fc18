//! Headers by which a client could choose what only the gateway may.

use super::{Scene, body, call, request};
use crate::{
    fakes::provider::Received,
    harness::{
        client::{Request, Version},
        raw,
    },
};

/// What Envoy and Luthien go by among themselves, with values that would change something.
const INTERNAL: [(&str, &str); 26] = [
    ("x-luthien-upstream", "forbidden"),
    ("x-luthien-call-id", "chosen"),
    ("x-luthien-client", "somebody"),
    ("x-luthien-policy", "none"),
    ("x-luthien-dropped", "nothing"),
    ("x-envoy-original-path", "/v1/models"),
    ("x-envoy-original-host", "forbidden"),
    ("x-envoy-original-dst-host", "127.0.0.1:1"),
    ("x-envoy-upstream-rq-timeout-ms", "1"),
    ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
    ("x-envoy-upstream-stream-duration-ms", "1"),
    ("x-envoy-upstream-rq-timeout-alt-response", "204"),
    ("x-envoy-upstream-alt-stat-name", "chosen"),
    ("x-envoy-retry-on", "5xx"),
    ("x-envoy-max-retries", "9"),
    ("x-envoy-hedge-on-per-try-timeout", "true"),
    ("x-envoy-decorator-operation", "chosen"),
    ("x-envoy-force-trace", "true"),
    ("x-envoy-internal", "true"),
    ("x-envoy-ip-tags", "chosen"),
    ("x-envoy-external-address", "10.0.0.1"),
    ("x-envoy-downstream-service-cluster", "chosen"),
    ("x-envoy-not-known-yet", "chosen"),
    ("x-request-id", "chosen"),
    ("x-client-trace-id", "chosen"),
    ("x-forwarded-for", "10.0.0.1"),
];

/// Headers by which lenient servers take a request for another one.
const OVERRIDES: [(&str, &str); 9] = [
    ("x-http-method-override", "GET"),
    ("x-http-method", "GET"),
    ("x-method-override", "GET"),
    ("x-original-url", "/v1/completions"),
    ("x-rewrite-url", "/v1/completions"),
    ("x-original-uri", "/v1/completions"),
    ("x-forwarded-host", "elsewhere"),
    ("x-forwarded-prefix", "/v2"),
    ("x-host", "elsewhere"),
];

fn says_nothing_chosen(received: &Received, what: &str) {
    for (name, value) in &received.headers {
        let is_ours = name.starts_with("x-luthien") || name.starts_with("x-envoy");
        let is_internal = INTERNAL.iter().chain(&OVERRIDES).any(|(internal, _)| internal == name);
        assert!(!is_ours && !is_internal, "{what}: the provider got {name}: {value}");
    }
}

#[tokio::test]
async fn what_a_client_says_for_the_gateway_is_heard_by_nobody() {
    let scene = Scene::start(|builder| builder).await;
    for (name, value) in INTERNAL.into_iter().chain(OVERRIDES) {
        // As it is, and in other letters and twice.
        for headers in
            [format!("{name}: {value}\r\n"), format!("{}: {value}\r\n{name}: {value}\r\n", name.to_uppercase())]
        {
            let received = scene.goes_through(call(&headers), &headers).await;
            says_nothing_chosen(&received, &headers);
            assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", "/v1/messages"), "{headers}");
        }
        // Beside what makes it a header of one hop, which Envoy refuses of some.
        let headers = format!("{name}: {value}\r\nconnection: {name}\r\n");
        let (answer, received) = scene.sends(call(&headers)).await;
        scene.is_policed(&answer, &received, &headers);
        for received in &received {
            says_nothing_chosen(received, &headers);
        }
    }
    let all = INTERNAL.into_iter().chain(OVERRIDES);
    let sent = all.fold(Request::post("/v1/messages", body()), |request, (name, value)| request.header(name, value));
    let number = scene.provider.requests().len();
    let answer = scene.gateway.call(Version::Http2, sent).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = scene.provider.request(number).await;
    scene.is_policed(&answer.text(), std::slice::from_ref(&received), "over HTTP/2");
    says_nothing_chosen(&received, "over HTTP/2");
    scene.stop().await;
}

#[tokio::test]
async fn a_header_of_one_hop_takes_no_credential_and_no_route_along() {
    let scene = Scene::start(|builder| {
        builder
            .settings("clients: { auth: keys, keys: [{ name: team, env: FAKE_CLIENT_KEY }] }")
            .env("FAKE_CLIENT_KEY", "ck-0123456789abcdef")
    })
    .await;
    let key = "authorization: Bearer ck-0123456789abcdef\r\n";
    for named in ["x-luthien-upstream", "x-luthien-call-id", "accept-encoding, content-type", "host", ":path", "te"] {
        let headers = format!("{key}connection: {named}\r\naccept-encoding: gzip\r\n");
        let (answer, received) = scene.sends(call(&headers)).await;
        scene.is_policed(&answer, &received, named);
        for request in &received {
            assert!(!request.headers.iter().any(|(_, value)| value.contains("ck-0123")), "{named}");
            assert_eq!(request.header("accept-encoding"), None, "{named}");
        }
    }
    // Whoever takes his own credential away has none.
    let answer = scene.is_refused(call(&format!("{key}connection: authorization\r\n")), "authorization").await;
    assert_eq!(raw::statuses(&answer), [401], "{answer}");
    scene.stop().await;
}

#[tokio::test]
async fn no_host_leads_elsewhere() {
    let scene = Scene::start(|builder| builder).await;
    let forbidden = scene.forbidden.address().to_string();
    let own = scene.provider.address().to_string();
    let line = "POST /v1/messages HTTP/1.1";
    for host in [&*forbidden, "forbidden", "", "a b", "169.254.169.254", "x@y", "[::1", "evil.example:99999"] {
        let (answer, received) = scene.sends(request(line, &format!("host: {host}\r\n"), &body())).await;
        scene.is_policed(&answer, &received, host);
        assert!(received.iter().all(|request| request.header("host") == Some(&own)), "{host}");
    }
    scene.is_refused(request(line, "", &body()), "no host at all").await;
    let (answer, received) = scene.sends(request(line, &format!("host: a\r\nhost: {forbidden}\r\n"), &body())).await;
    scene.is_policed(&answer, &received, "two hosts");
    assert!(received.iter().all(|request| request.header("host") == Some(&own)), "two hosts");
    for authority in [&*forbidden, "user:pw@forbidden", "evil.example"] {
        let line = format!("POST http://{authority}/v1/messages HTTP/1.1");
        let (answer, received) = scene.sends(request(&line, "host: gateway\r\n", &body())).await;
        scene.is_policed(&answer, &received, authority);
        assert!(received.iter().all(|request| request.header("host") == Some(&own)), "{authority}");
    }
    scene.stop().await;
}

#[tokio::test]
async fn no_other_protocol_goes_past_the_policies() {
    let scene = Scene::start(|builder| builder.settings("unpoliced: { otherwise: pass }")).await;
    let upgrade =
        |to: &str| format!("connection: upgrade\r\nupgrade: {to}\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n");
    for to in ["websocket", "h2c", "WebSocket, h2c", "tls/1.0", "connect-udp"] {
        let (answer, received) = scene.sends(call(&upgrade(to))).await;
        assert!(!answer.contains("HTTP/1.1 101"), "{to}: {answer}");
        scene.is_policed(&answer, &received, to);
        assert!(received.iter().all(|request| request.header("upgrade").is_none()), "{to}");
    }
    for line in [
        format!("CONNECT {} HTTP/1.1", scene.forbidden.address()),
        "CONNECT /v1/messages HTTP/1.1".to_owned(),
        "TRACE /v1/messages HTTP/1.1".to_owned(),
        "TRACK /v1/messages HTTP/1.1".to_owned(),
        "post /v1/messages HTTP/1.1".to_owned(),
        "Post /v1/messages HTTP/1.1".to_owned(),
        "PRI * HTTP/2.0".to_owned(),
        "POST /v1/messages HTTP/0.9".to_owned(),
        "POST /v1/messages".to_owned(),
        "PROPFIND /v1/messages HTTP/1.1".to_owned(),
        "PUT /v1/messages HTTP/1.1".to_owned(),
        "GET /v1/messages HTTP/1.1".to_owned(),
    ] {
        scene.is_refused(request(&line, "host: gateway\r\n", &body()), &line).await;
    }
    let waiting = scene.goes_through(call("expect: 100-continue\r\n"), "expect").await;
    assert_eq!(waiting.path, "/v1/messages");
    scene.stop().await;
}

#[tokio::test]
async fn headers_have_a_size() {
    let scene = Scene::start(|builder| builder).await;
    let many = (0..2000).fold(String::new(), |all, number| all + &format!("x-{number}: 1\r\n"));
    scene.is_refused(call(&many), "many headers").await;
    scene.is_refused(call(&format!("x-long: {}\r\n", "a".repeat(200_000))), "a long header").await;
    scene.goes_through(call(&format!("x-long: {}\r\n", "a".repeat(60_000))), "a header that is long and legal").await;
    scene.stop().await;
}

#[tokio::test]
async fn what_a_header_says_begins_no_other_header() {
    let scene = Scene::start(|builder| builder).await;
    for (what, headers) in [
        ("a bare CR", "x-a: 1\rx-luthien-upstream: forbidden\r\n"),
        ("a bare LF", "x-a: 1\nx-luthien-upstream: forbidden\r\n"),
        ("a folded line", "x-a: 1\r\n x-luthien-upstream: forbidden\r\n"),
        ("a space before the colon", "x-luthien-upstream : forbidden\r\n"),
        ("a space before the name", " x-luthien-upstream: forbidden\r\n"),
        ("NUL", "x-a: 1\0\r\nx-luthien-upstream: forbidden\r\n"),
        ("an underscore", "x_luthien_upstream: forbidden\r\n"),
        ("a colon in front", ":path: /v1/models\r\n"),
        ("no name", ": forbidden\r\n"),
        ("bytes that are no text", "x-a: \u{e9}\u{ff}\r\n"),
    ] {
        let (answer, received) = scene.sends(call(headers)).await;
        scene.is_policed(&answer, &received, what);
        for request in &received {
            says_nothing_chosen(request, what);
        }
    }
    scene.stop().await;
}
