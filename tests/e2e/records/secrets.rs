//! Credentials stand nowhere in what is kept and told.

use std::{fs, path::Path};

use super::{ask, call_of, recorded};
use crate::{
    common::{postgres::Postgres, streams::Dialect},
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{Request, Version},
        gateway::Gateway,
        samples,
    },
};

/// In headers, as credentials of the call.
const HEADERS: [(&str, &str); 4] = [
    ("authorization", "Bearer plain-words-as-a-key-7391"),
    ("x-api-key", "another-plain-key-5520"),
    ("cookie", "session=cookie-value-8842"),
    ("x-custom", "Bearer sk-proj-CustomHeader0123456789abcd"),
];

/// In texts, by their form.
const TEXTS: [&str; 7] = [
    "sk-ant-api03-BodyBodyBodyBodyBodyBody",
    "ghp_BodyBodyBodyBodyBodyBodyBodyBodyBody",
    "AKIABODYBODYBODYBODY",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.BodyBodyBody",
    "xoxb-1234567890-BodyBody",
    "TICKET-4711",
    "-----BEGIN PRIVATE KEY-----\nMIIBodyBodyBody\n-----END PRIVATE KEY-----",
];

fn files(folder: &Path, out: &mut Vec<u8>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, out);
        } else if let Ok(bytes) = fs::read(&path) {
            out.extend(bytes);
        }
    }
}

fn request_saying(model: &str, text: &str) -> String {
    let messages = serde_json::json!([{ "role": "user", "content": text }]);
    serde_json::json!({ "model": model, "max_tokens": 100, "stream": true, "messages": messages }).to_string()
}

#[tokio::test]
async fn credentials_in_headers_and_bodies_are_found_nowhere() {
    for postgres in [None, Some(Postgres::start())] {
        let provider = Provider::start().await;
        let store = postgres.as_ref().map_or_else(String::new, |postgres| {
            format!(", postgres: {{ url: \"{}\", password: {{ env: PG_PASSWORD }} }}", postgres.url())
        });
        let policy = "policies: [{ name: log, type: debug_log, config: { max_chars: 10000 }, match: { model: logged } }, { name: words, type: string_replacement, \
                      config: { replacements: { word: other } } }]";
        let gateway = Gateway::with(&provider)
            .policy(policy)
            .settings(&format!(
                "recording: {{ raw: true, redact: {{ ticket: 'TICKET-[0-9]+' }}{store} }}\nlog: {{ level: 'luthien=trace,sqlx=debug,debug' }}"
            ))
            .env("PG_PASSWORD", Postgres::PASSWORD)
            .start()
            .await;
        let mut activity = gateway.send_admin(Request::new("GET", "/activity/stream")).await;
        let dialect = Dialect::Anthropic;
        let everything = TEXTS.join(" word ");
        let arguments = serde_json::json!({ "command": everything }).to_string();
        let call = ("toolu_1", "Bash", arguments.as_str());
        // Cut into pieces of which none is a credential.
        let answer = samples::tools(dialect, &everything, &[call]);
        provider.otherwise(Script::sse_in_pieces(answer.as_bytes(), 3));
        // What a policy writes to the log is without what has the form of a credential.
        let mut request = Request::call(dialect, "logged", true);
        request.body = request_saying("logged", &everything).into();
        let logged = gateway.call(Version::Http1, request).await;
        recorded(&gateway, &call_of(&logged)).await;
        let mut request = Request::call(dialect, &format!("m-{}", TEXTS[5]), true);
        let own = HEADERS.map(|(_, value)| value.rsplit([' ', '=']).next().unwrap());
        request.body = request_saying(&format!("m-{}", TEXTS[5]), &format!("{everything} {}", own.join(" "))).into();
        for (name, value) in HEADERS {
            request = request.without(name).header(name, value);
        }
        let answer = gateway.call(Version::Http1, request).await;
        assert!(answer.text().contains("other"), "{}", answer.text());
        let call = call_of(&answer);
        let record = recorded(&gateway, &call).await;
        assert!(record["response"]["final"].to_string().contains("[redacted:"), "{record}");
        let mut told = record.to_string();
        for path in ["/debug/calls", "/debug/sessions", "/metrics", "/policies"] {
            told += &ask(&gateway, path).await.text();
        }
        told += &ask(&gateway, &format!("/debug/calls/{call}/diff")).await.text();
        for page in ["/", "/policies", "/activity/monitor", "/debug/calls"] {
            told += &gateway.admin(Request::new("GET", page).header("accept", "text/html")).await.text();
        }
        told += &String::from_utf8_lossy(&activity.until("event: call.closed").await);
        told += &gateway.output();
        let mut kept = Vec::new();
        files(&gateway.state_folder(), &mut kept);
        told += &String::from_utf8_lossy(&kept);
        for secret in TEXTS.iter().copied().chain(own) {
            // What is compressed is read through the API.
            let shown = secret.lines().nth(1).unwrap_or(secret);
            if let Some(at) = told.find(shown) {
                let from = told.floor_char_boundary(at.saturating_sub(300));
                panic!("{secret} stands in …{}…", &told[from..told.floor_char_boundary(at + 100)]);
            }
        }
        gateway.stop().await;
    }
}
