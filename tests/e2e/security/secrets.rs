//! The gateway's own secrets, and what strangers have it write. What clients send is in `records::secrets`.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
};

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{Request, Version},
        gateway::Gateway,
        raw, samples,
    },
};

const UPSTREAM: &str = "fake-of-the-upstream-7f31";
const CLIENT: &str = "fake-of-the-client-90ab";
const ADMIN: &str = "fake-of-the-admin-4c2d";
const VIEWER: &str = "fake-of-the-viewer-b8e5";
const REMOTE: &str = "fake-of-the-remote-11fe";
const ALL: [&str; 5] = [UPSTREAM, CLIENT, ADMIN, VIEWER, REMOTE];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        found.push(path.clone());
        if path.is_dir() {
            files(&path, found);
        }
    }
}

/// What Envoy's admin interface says of its configuration.
fn config_dump(socket: &Path) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = UnixStream::connect(socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
    stream
        .write_all(b"GET /config_dump?include_eds HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n")
        .expect("Envoy reads");
    let mut dump = String::new();
    stream.read_to_string(&mut dump).expect("Envoy answers in UTF-8");
    dump
}

#[tokio::test]
async fn secrets_of_the_gateway_stand_nowhere_but_where_they_are_read() {
    let provider = Provider::start().await;
    let dialects = "dialects: [openai_chat, openai_responses, anthropic_messages]";
    let gateway = Gateway::with(&provider)
        .upstreams(&format!(
            "- {{ name: fake, url: \"{}\", {dialects}, credentials: {{ env: FAKE_UPSTREAM }} }}\n",
            provider.url()
        ))
        .settings(
            "clients: { auth: keys, keys: [{ name: team, env: FAKE_CLIENT }] }\n\
             remotes: [{ name: far, protocol: webhook, url: \"http://127.0.0.1:9\", secret: { env: FAKE_REMOTE } }]\n\
             log: { level: 'trace' }",
        )
        .policy("policies: [{ name: far, type: remote, on_fault: open, config: { remote: far } }]\n")
        .env("LUTHIEN_ADMIN_TOKEN", "{ env: FAKE_ADMIN }")
        .env("LUTHIEN_ADMIN_VIEWER_TOKEN", "{ env: FAKE_VIEWER }")
        .env("FAKE_UPSTREAM", UPSTREAM)
        .env("FAKE_CLIENT", CLIENT)
        .env("FAKE_ADMIN", ADMIN)
        .env("FAKE_VIEWER", VIEWER)
        .env("FAKE_REMOTE", REMOTE)
        .start()
        .await;
    let mut told = String::new();
    for dialect in Dialect::ALL {
        provider.expect(Script::json(samples::whole(dialect, "Hello", &[])));
        let request = Request::whole(dialect).header("authorization", &format!("Bearer {CLIENT}"));
        let answer = gateway.call(Version::Http1, request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        for (name, value) in &answer.headers {
            told.extend([name, value].map(String::as_str));
        }
        told += &answer.text();
        let stranger = Request::whole(dialect).header("authorization", "Bearer somebody-else");
        told += &gateway.call(Version::Http2, stranger).await.text();
        // Its own key in the wrong place.
        let request = Request::whole(dialect).header("authorization", &format!("Bearer {ADMIN}"));
        told += &gateway.call(Version::Http1, request).await.text();
    }
    // The keys are used, so that they could stand somewhere.
    let used = provider.requests();
    assert!(used.iter().all(|request| request.headers.iter().any(|(_, value)| value.contains(UPSTREAM))));
    assert!(!used.is_empty() && !used.iter().any(|request| format!("{:?}", request.headers).contains(CLIENT)));
    for path in
        ["/", "/policies", "/activity/monitor", "/metrics", "/version", "/readyz", "/debug/calls", "/openapi.json"]
    {
        for accept in ["text/html", "application/json"] {
            let request = Request::new("GET", path).header("accept", accept);
            told += &gateway.admin(request.header("authorization", &format!("Bearer {ADMIN}"))).await.text();
        }
    }
    told += &gateway.admin(Request::new("GET", "/metrics").header("authorization", "Bearer wrong")).await.text();
    let processes = gateway.processes();
    let envoy = processes.iter().find(|(name, ..)| name.contains("envoy")).expect("Envoy runs");
    assert!(!envoy.2.contains("FAKE_") && envoy.2.contains("PATH="), "Envoy inherits {}", envoy.2);
    for (_, arguments, _) in &processes {
        told += arguments;
    }
    let mut kept = Vec::new();
    files(&gateway.state_folder(), &mut kept);
    for path in kept.iter().filter(|path| path.is_file()) {
        told += &String::from_utf8_lossy(&fs::read(path).expect("a file"));
    }
    let dump = config_dump(&gateway.state_folder().join("envoy-admin.sock"));
    assert!(dump.contains("x-luthien-upstream"), "{dump}");
    told += &dump;
    // The log says most.
    told += &gateway.output();
    assert!(told.contains("TRACE"), "the log is at trace");
    for secret in ALL {
        if let Some(at) = told.find(secret) {
            let (from, to) = (told.floor_char_boundary(at.saturating_sub(200)), told.floor_char_boundary(at + 40));
            panic!("{secret} stands in …{}…", &told[from..to]);
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_written_is_for_its_owner_alone() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).settings("recording: { level: full }").start().await;
    provider.expect(Script::json(samples::whole(Dialect::Anthropic, "Hello", &[])));
    gateway.call(Version::Http1, Request::whole(Dialect::Anthropic)).await;
    let folder = gateway.state_folder();
    let mut found = vec![folder.clone()];
    files(&folder, &mut found);
    assert!(found.len() > 4, "{found:?}");
    // Nobody else enters the folder, whatever is in it.
    let mode = |path: &Path| fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o777);
    assert_eq!(mode(&folder).expect("the folder"), 0o700);
    for path in &found {
        let name = path.display();
        // One that is gone was a file of the database's.
        let Ok(mode) = mode(path) else { continue };
        let is_ours =
            path.extension().is_some_and(|extension| extension == "sock") || name.to_string().contains("spool");
        assert_eq!(mode & if is_ours { 0o077 } else { 0o022 }, 0, "{name}: {mode:o}");
    }
    gateway.stop().await;
}

/// A line of the log is what the gateway says, whatever strangers write into it.
#[tokio::test]
async fn nobody_writes_lines_of_the_log() {
    const FORGED: &str = "2030-01-01T00:00:00Z  INFO forged";
    for format in ["pretty", "json"] {
        let provider = Provider::start().await;
        let settings = format!("log: {{ level: 'luthien=trace', format: {format} }}\nunpoliced: {{ otherwise: pass }}");
        let policy = "policies: [{ name: log, type: debug_log, config: { max_chars: 10000 } }]\n";
        let gateway = Gateway::with(&provider).settings(&settings).policy(policy).start().await;
        let hostile = format!("\n{FORGED}\r\u{1b}[2J\u{1b}[31m\u{85}\u{2028}{FORGED}\0");
        let json = serde_json::to_string(&hostile).expect("text");
        provider.otherwise(Script::json(samples::whole(Dialect::Anthropic, &hostile, &[])));
        for body in [
            format!(r#"{{"model":{json},"max_tokens":1,"messages":[{{"role":"user","content":{json}}}]}}"#),
            format!(r#"{{"model":"m",{json}:1,{json}:2}}"#),
        ] {
            gateway.call(Version::Http1, Request::post("/v1/messages", body).header("user-agent", "a\tb")).await;
        }
        let path = "/v1/x%0a2030-01-01T00:00:00Z%20%20INFO%20forged%1b[31m";
        for line in [format!("GET {path} HTTP/1.1"), format!("GET /v1/files?{} HTTP/1.1", "%0aforged")] {
            let head = format!(
                "{line}\r\nhost: \u{1b}[31m\r\nx-claude-code-session-id: \u{1b}[2J\r\nconnection: close\r\n\r\n"
            );
            raw::exchange(gateway.listen(), head.as_bytes()).await;
        }
        let output = gateway.output();
        assert!(output.contains("forged"), "{format}: nothing was logged of it");
        // To JSON, these are characters like others.
        let (breaks, harmless) = (['\u{1b}', '\0', '\r'], ['\u{85}', '\u{2028}']);
        for char in breaks.into_iter().chain(harmless.into_iter().filter(|_| format == "pretty")) {
            assert!(!output.contains(char), "{format}: {char:?} in {output}");
        }
        let forged: Vec<&str> = output.lines().filter(|line| line.starts_with("2030")).collect();
        assert!(forged.is_empty(), "{format}: {forged:?}");
        gateway.stop().await;
    }
}
