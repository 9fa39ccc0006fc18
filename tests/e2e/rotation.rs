//! Secrets, certificates and settings that change while the gateway runs, as kubelet changes mounted files.

use std::{fs, time::Duration};

use luthien::shared_state::{Place, SharedState};
use tokio::time;

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        SOON,
        authority::{Authority, Pair, shows},
        client::{Request, Version},
        gateway::Gateway,
        mounted::Mounted,
        pod::Pod,
        redis::Redis,
        samples, within,
    },
};

const FIRST: [(&str, &str); 4] =
    [("provider", "sk-one\n"), ("client", "client-one"), ("admin", "admin-one"), ("viewer", "viewer-one")];
const SECOND: [(&str, &str); 4] =
    [("provider", "sk-two\n"), ("client", "client-two"), ("admin", "admin-two"), ("viewer", "viewer-two")];

/// Waits until the metrics have this line.
async fn says(gateway: &Gateway, token: &str, line: &str) {
    let asked = || Request::new("GET", "/metrics").header("authorization", &format!("Bearer {token}"));
    let told = async {
        while !gateway.admin(asked()).await.text().contains(line) {
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(SOON, line, told).await;
}

#[tokio::test]
async fn keys_and_tokens_are_replaced_and_revoked_without_a_restart() {
    let provider = Provider::start().await;
    let mut secrets = Mounted::new(&FIRST);
    let file = |name| secrets.path(name).display().to_string();
    let gateway = Gateway::with(&provider)
        .upstreams(&format!(
            "- {{ name: fake, url: \"{}\", dialects: [openai_chat], credentials: {{ file: {} }} }}\n",
            provider.url(),
            file("provider")
        ))
        .settings(&format!("clients: {{ auth: keys, keys: [{{ name: a, file: {} }}] }}", file("client")))
        .env("LUTHIEN_ADMIN_TOKEN", &format!("{{ file: {} }}", file("admin")))
        .env("LUTHIEN_ADMIN_VIEWER_TOKEN", &format!("{{ file: {} }}", file("viewer")))
        .start()
        .await;
    let call = async |key: &str| {
        provider.expect(Script::json(samples::whole(Dialect::OpenaiChat, "Hello", &[])));
        let request = Request::whole(Dialect::OpenaiChat).header("authorization", &format!("Bearer {key}"));
        let status = gateway.call(Version::Http1, request).await.status;
        let shown = provider.requests().last().and_then(|asked| asked.header("authorization").map(str::to_owned));
        (status, shown)
    };
    let asks = async |token: &str| {
        let request = Request::new("GET", "/version").header("authorization", &format!("Bearer {token}"));
        gateway.admin(request).await.status
    };
    let shown = |key: &str| Some(format!("Bearer {key}"));
    assert_eq!(call("client-one").await, (200, shown("sk-one")));
    assert_eq!((asks("admin-one").await, asks("viewer-one").await, asks("admin-two").await), (200, 200, 401));
    let form = Request { body: "token=admin-one".into(), ..Request::new("POST", "/login") };
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let cookie =
        gateway.admin(form).await.header("set-cookie").and_then(|set| set.split(';').next()).unwrap().to_owned();
    let in_session = async || gateway.admin(Request::new("GET", "/version").header("cookie", &cookie)).await.status;
    assert_eq!(in_session().await, 200);

    secrets.swap(&SECOND);
    assert_eq!(call("client-two").await, (200, shown("sk-two")));
    assert_eq!(call("client-one").await.0, 401);
    assert_eq!((asks("admin-two").await, asks("viewer-two").await, asks("admin-one").await), (200, 200, 401));
    assert_ne!(in_session().await, 200, "a session outlives the token that began it");
    for key in ["upstreams[0].credentials", "clients.keys[0]", "admin.token", "admin.viewer_token"] {
        let line = format!("luthien_rotations_total{{key=\"{key}\",result=\"ok\"}} 1\n");
        says(&gateway, "admin-two", &line).await;
    }

    // What we show stays as it was; who shows something that is gone gets in no more.
    secrets.swap(&[("client", "client-two"), ("admin", "admin-two"), ("viewer", "")]);
    says(&gateway, "admin-two", "luthien_rotation_failing{key=\"upstreams[0].credentials\"} 1\n").await;
    says(&gateway, "admin-two", "luthien_rotation_failing{key=\"admin.viewer_token\"} 1\n").await;
    assert_eq!(call("client-two").await, (200, shown("sk-two")));
    assert_eq!(asks("viewer-two").await, 401);
    let log = gateway.output();
    assert!(log.contains("a secret cannot be read") && log.contains("upstreams[0].credentials"), "{log}");
    for secret in FIRST.iter().chain(&SECOND) {
        assert!(!log.contains(secret.1.trim()), "a secret stands in the log");
    }
    secrets.swap(&FIRST);
    says(&gateway, "admin-one", "luthien_rotation_failing{key=\"upstreams[0].credentials\"} 0\n").await;
    gateway.stop().await;
}

#[tokio::test]
async fn settings_that_changed_are_told_and_the_gateway_stays_ready() {
    let provider = Provider::start().await;
    let gateway =
        Gateway::with(&provider).settings("timeouts: { stall: 9s }").env("LUTHIEN_LIMITS_CALLS", "7").start().await;
    let file = gateway.settings();
    let before = fs::read_to_string(&file).unwrap();
    assert!(gateway.readyz("the settings", |_| true).await["settings"]["note"].is_null());

    // A variable is stronger than the file, at the start and now.
    fs::write(&file, before.replace("stall: 9s", "stall: 8s, hook: 1s") + "limits: { calls: 8 }\n").unwrap();
    let state = gateway.readyz("the change", |state| !state["settings"]["note"].is_null()).await;
    assert_eq!(state["settings"]["note"], "restart needed: timeouts.stall, timeouts.hook");
    assert_eq!(state["ready"], true);
    says(&gateway, "", "luthien_restart_needed 2\n").await;

    fs::write(&file, before.replace("stall: 9s", "stall: soon")).unwrap();
    let state = gateway.readyz("the mistake", |state| !state["settings"]["last_error"].is_null()).await;
    assert_eq!(state["ready"], true);
    says(&gateway, "", "luthien_settings_rejected 1\n").await;

    fs::write(&file, format!("# the same\n{before}")).unwrap();
    gateway
        .readyz("the end of it", |state| {
            state["settings"]["note"].is_null() && state["settings"]["last_error"].is_null()
        })
        .await;
    says(&gateway, "", "luthien_restart_needed 0\n").await;
    says(&gateway, "", "luthien_settings_rejected 0\n").await;
    assert_eq!(gateway.output().matches("restart needed").count(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn a_redis_with_a_new_password_is_used_again() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, Redis::PASSWORD).unwrap();
    let read = file.clone();
    let password = Box::new(move || fs::read_to_string(&read).map_err(|error| error.to_string()));
    let shared = SharedState::new(Place { url: redis.url(), username: None, password: Some(password) });
    let ttl = Duration::from_mins(1);
    let (key, value) = ("k", Some("v".to_owned()));
    let kept = async {
        while shared.get(key).await != value {
            shared.put(key, "v", ttl).await;
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(SOON, "Redis", kept).await;
    redis.change_password("another").await;
    assert_eq!(shared.get(key).await, None, "the password that it knows is wrong");
    fs::write(&file, "another").unwrap();
    shared.reconnect();
    let found = async {
        while shared.get(key).await != value {
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(SOON, "Redis with the new password", found).await;
}

#[tokio::test]
async fn the_listeners_certificate_is_replaced_without_a_restart() {
    fn files(pair: &Pair) -> [(&str, &str); 2] {
        [("tls.crt", &pair.cert), ("tls.key", &pair.key)]
    }
    let provider = Provider::start().await;
    let authority = Authority::new("ours");
    let [first, second] = [authority.sign(), authority.sign()];
    let mut secrets = Mounted::new(&files(&first));
    let settings =
        format!("tls: {{ cert: {}, key: {} }}", secrets.path("tls.crt").display(), secrets.path("tls.key").display());
    let mut pod = Pod::start(&provider, &settings).await;
    assert!(shows(pod.listen(), &authority, None, &first).await.unwrap());
    secrets.swap(&files(&second));
    let replaced = async {
        while !shows(pod.listen(), &authority, None, &second).await.unwrap() {
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(SOON, "the new certificate", replaced).await;
    pod.stop().await;
}
