//! What real clients send, to providers of their own dialect and of the others.
//!
//! Their requests do not stand in the repository: they are found through the environment variable `LUTHIEN_CLIENTS_DIR`,
//! a file for each, whose long texts are cut.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;

use super::{asked, legal, name, read::list, rules, scenarios::Scenario};
use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{End, Request, Version},
        errors,
        gateway::Gateway,
        sse,
    },
};

/// A request that a client sent.
struct Sent {
    file: String,
    request: Request,
    body: Value,
}

/// Every request, or none with a word on standard error where `LUTHIEN_CLIENTS_DIR` is not set.
///
/// Where the variable is set, a folder that is missing is a failure.
fn sent() -> Option<Vec<Sent>> {
    let Some(root) = std::env::var_os("LUTHIEN_CLIENTS_DIR").map(PathBuf::from) else {
        eprintln!("SKIPPED: requests of real clients are read only where LUTHIEN_CLIENTS_DIR is set");
        return None;
    };
    let entries = std::fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    let sent: Vec<Sent> = files.iter().map(Sent::read).collect();
    for client in ["claude-code", "codex", "sdk-py", "sdk-node"] {
        assert!(sent.iter().any(|sent| sent.file.starts_with(client)), "{}: nothing of {client}", root.display());
    }
    Some(sent)
}

impl Sent {
    fn read(path: &PathBuf) -> Self {
        let file = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let recorded: Value = serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
        let method = match recorded["method"].as_str() {
            Some("GET") => "GET",
            Some("HEAD") => "HEAD",
            Some("POST") => "POST",
            other => panic!("{file}: {other:?}"),
        };
        let mut request = Request::new(method, recorded["path"].as_str().expect("a request has a path"));
        for header in list(&recorded["headers"]) {
            let (name, value) = (header[0].as_str().unwrap().to_ascii_lowercase(), header[1].as_str().unwrap());
            // What the client here writes itself.
            if ["host", "content-length", "transfer-encoding"].contains(&name.as_str()) {
                continue;
            }
            let value = match name.as_str() {
                "authorization" => "Bearer sk-test-client".to_owned(),
                "x-api-key" => "sk-test-client".to_owned(),
                // Long values are cut with a character that no header has.
                _ => value.replace(|char: char| !char.is_ascii(), "_"),
            };
            request = request.header(&name, &value);
        }
        let body = recorded["body"].clone();
        if !body.is_null() {
            request.body = body.to_string().into();
        }
        Self { file, request, body }
    }

    /// The dialect in which it asks for an answer.
    fn dialect(&self) -> Option<Dialect> {
        let path = self.request.path.split('?').next().unwrap_or_default();
        Dialect::ALL.into_iter().find(|dialect| self.request.method == "POST" && path == dialect.path())
    }

    fn streams(&self) -> bool {
        self.body["stream"] == true
    }

    /// Whether it is a whole agent's, and not an SDK's smallest call.
    fn is_agent(&self) -> bool {
        self.file.starts_with("claude-code") || self.file.starts_with("codex")
    }
}

/// Models that an operator would let stand for the client's.
fn known(upstream: Dialect) -> &'static str {
    if upstream == Dialect::Anthropic { "claude-opus-4-8" } else { "gpt-5.2" }
}

/// What is left out of an agent's request, as the header names it. What stands in the header and not here, or here and not
/// there, is a failure.
fn dropped(file: &str, upstream: Dialect, known_model: bool) -> Vec<&'static str> {
    let mut dropped = if file.starts_with("claude-code") {
        vec![
            "context_management",
            "messages[].cache_control",
            "system[].cache_control",
            "system[].x-anthropic-billing-header",
        ]
    } else {
        vec!["client_metadata", "input[].id", "tools[namespace].description"]
    };
    // A server that is not known to be OpenAI's may refuse what it does not know.
    if file.starts_with("claude-code") && upstream == Dialect::OpenaiChat && !known_model {
        dropped.push("metadata.user_id");
    }
    if file.starts_with("codex") && upstream == Dialect::Anthropic {
        dropped.push("prompt_cache_key");
    }
    match file {
        "codex-01-responses-custom-provider" => dropped.push("tools[web_search]"),
        "codex-02-function-call-output" => dropped.extend(["tools[web_search]", "input[].status"]),
        "codex-04-responses-builtin-provider" => {
            dropped.extend(["input[].internal_chat_message_metadata_passthrough", "reasoning.context"]);
            if upstream == Dialect::Anthropic {
                dropped.extend(["text.verbosity", "tools[].format"]);
            }
        }
        _ => {}
    }
    dropped
}

#[tokio::test]
async fn real_clients_are_served_by_providers_of_every_dialect() {
    let Some(sent) = sent() else { return };
    let mut problems = Vec::new();
    for upstream in Dialect::ALL {
        for known_model in [false, true] {
            let provider = Provider::start().await;
            let models: BTreeMap<&str, &str> = sent
                .iter()
                .filter(|sent| known_model && sent.dialect().is_some_and(|client| client != upstream))
                .filter_map(|sent| Some((sent.body["model"].as_str()?, known(upstream))))
                .collect();
            let upstreams = format!(
                "- {{ name: only, url: \"{}\", dialects: [{}], aliases: {} }}\n",
                provider.url(),
                name(upstream),
                serde_json::to_string(&models).unwrap()
            );
            let gateway = Gateway::with(&provider).upstreams(&upstreams).start().await;
            for (sent, client) in sent.iter().filter_map(|sent| Some((sent, sent.dialect()?))) {
                let said = Scenario::Tools.said();
                provider.otherwise(if sent.streams() {
                    Script::sse(said.stream(upstream, "m"))
                } else {
                    Script::json(said.whole(upstream, "m"))
                });
                let context = format!("{} to {upstream:?}, known model: {known_model}", sent.file);
                let number = provider.requests().len();
                let answer = gateway.call(Version::Http1, sent.request.clone()).await;
                if (answer.status, &answer.end) != (200, &End::Clean) {
                    problems.push(format!("{context}: {} {}", answer.status, answer.text()));
                    continue;
                }
                let received = provider.request(number).await;
                if client == upstream {
                    if !known_model && received.body != sent.request.body {
                        problems.push(format!("{context}: the body was changed on its way"));
                    }
                    continue;
                }
                problems.extend(legal::problems(upstream, &received).into_iter().map(|it| format!("{context}: {it}")));
                let body: Value = serde_json::from_slice(&received.body).expect("JSON");
                let (wanted, found) = (asked::read(client, &sent.body), asked::read(upstream, &body));
                if (&wanted.user, &wanted.calls, &wanted.results) != (&found.user, &found.calls, &found.results) {
                    problems.push(format!("{context}: asked {wanted:?}\n    and the provider got {found:?}"));
                }
                let longest = if upstream == Dialect::Anthropic { 128 } else { 64 };
                let legal = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '-';
                let tools = found.tools.iter().map(|tool| tool.name.as_str());
                let odd: Vec<_> = tools.filter(|name| name.len() > longest || !name.chars().all(legal)).collect();
                if !odd.is_empty() || (sent.is_agent() && found.tools.is_empty()) {
                    problems.push(format!("{context}: of {} tools, {odd:?}", found.tools.len()));
                }
                if sent.is_agent() {
                    let mut named: Vec<&str> =
                        answer.header("x-luthien-dropped").unwrap_or_default().split(", ").collect();
                    let mut wanted = dropped(&sent.file, upstream, known_model);
                    named.sort_unstable();
                    wanted.sort_unstable();
                    if named != wanted {
                        problems.push(format!("{context}: dropped {named:?}\n    and not {wanted:?}"));
                    }
                }
                if sent.streams() {
                    let events = sse::events(&answer.body);
                    let items: Vec<Value> =
                        events.iter().filter(|event| event.data != "[DONE]").map(sse::Event::json).collect();
                    problems.extend(
                        rules::problems(client, &items, false).into_iter().map(|it| format!("{context}: {it}")),
                    );
                }
            }
            gateway.stop().await;
        }
    }
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

/// What agents ask beside: whether somebody is there, how long a request is, whether a WebSocket will do.
#[tokio::test]
async fn the_other_questions_of_real_clients_are_answered() {
    let Some(sent) = sent() else { return };
    let mut asked = 0;
    let provider = Provider::start().await;
    let gateway = super::gateway(&provider, Dialect::OpenaiChat).await;
    for sent in sent.iter().filter(|sent| sent.dialect().is_none() && !sent.request.path.contains("gemini")) {
        let answer = gateway.call(Version::Http1, sent.request.clone()).await;
        let context = format!("{}: {} {}", sent.file, answer.status, answer.text());
        assert_eq!(answer.end, End::Clean, "{context}");
        match (sent.request.method, sent.request.path.split('?').next().unwrap_or_default()) {
            ("HEAD", "/") => assert_eq!(answer.status, 200, "{context}"),
            ("GET", "/v1/responses") => {
                assert_eq!(answer.status, 426, "{context}");
                errors::in_body(Dialect::OpenaiResponses, &answer);
            }
            ("POST", "/v1/messages/count_tokens") => {
                assert_eq!(
                    (answer.status, answer.header("x-luthien-estimate")),
                    (200, Some("input_tokens")),
                    "{context}"
                );
            }
            _ => panic!("{context}: not looked at"),
        }
        asked += 1;
    }
    assert!(asked >= 3, "only {asked} other questions");
    assert!(provider.requests().is_empty());
    gateway.stop().await;
}
