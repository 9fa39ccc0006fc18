//! Converted requests against the request types of the official Python SDKs.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bytes::Bytes;
use luthien::{
    dialect::{Target, convert_request},
    model::{Dialect, conversation::Lossy},
};
use serde_json::{Value, json};

/// A body with where it is from.
type Sent = (String, Dialect, Value);

#[test]
fn converted_requests_are_what_the_sdks_would_send() {
    let mut sent = corpus();
    let recorded = recorded();
    assert!(sent.len() > 30, "only {} bodies", sent.len());
    if std::env::var_os("LUTHIEN_STREAMS_DIR").is_some() {
        assert!(recorded.len() > 100, "only {} recorded requests could be converted", recorded.len());
    }
    sent.extend(recorded);
    let jobs: Vec<_> = sent.iter().map(|(_, to, body)| json!({ "dialect": to.name(), "body": body })).collect();
    let wrong: Vec<_> = check(&jobs)
        .into_iter()
        .zip(&sent)
        .filter(|(wrong, _)| !wrong.is_empty())
        .map(|(wrong, (from, to, body))| format!("{from} to {to:?}: {wrong:?}\n{body}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_check_sees_what_is_wrong() {
    let user = json!([{ "role": "user", "content": [{ "type": "text", "text": "x", "odd": 1 }] }]);
    let found = check(&[
        json!({ "dialect": "openai_chat", "body": { "model": "m", "messages": user, "odd": 1 } }),
        json!({ "dialect": "anthropic_messages", "body": { "model": "m", "messages": [] } }),
        json!({ "dialect": "openai_responses", "body": { "model": "m", "input": [{ "type": "function_call", "call_id": "c" }] } }),
    ]);
    let all: Vec<_> = found.iter().map(|wrong| wrong.join(", ")).collect();
    assert!(all[0].contains("content[0]: unknown `odd`") && all[0].contains("body: unknown `odd`"), "{all:?}");
    assert!(all[1].contains("`max_tokens` is missing"), "{all:?}");
    assert!(all[2].contains("`arguments` is missing"), "{all:?}");
}

/// What the golden requests become.
fn corpus() -> Vec<Sent> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/convert/cases");
    let mut sent = Vec::new();
    for path in files(&folder, ".json") {
        let case: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for to in Dialect::ALL {
            if let Some(body) = case["becomes"][to.name()].get("body") {
                sent.push((path.display().to_string(), to, body.clone()));
            }
        }
    }
    sent
}

/// What recorded requests become, where recordings are there. What is broken in them stays out.
fn recorded() -> Vec<Sent> {
    let mut sent = Vec::new();
    let Some(root) = std::env::var_os("LUTHIEN_STREAMS_DIR") else { return sent };
    let folders = [
        ("openai-chat", Dialect::OpenaiChat),
        ("openai-responses", Dialect::OpenaiResponses),
        ("anthropic", Dialect::AnthropicMessages),
    ];
    for (folder, from) in folders {
        for path in files(&Path::new(&root).join("recorded").join(folder), ".request.json") {
            let body = Bytes::from(fs::read(&path).unwrap());
            for (to, model) in [
                (Dialect::OpenaiChat, "gpt-4o"),
                (Dialect::OpenaiResponses, "gpt-5.2"),
                (Dialect::AnthropicMessages, "claude-opus-5"),
                (Dialect::AnthropicMessages, "claude-sonnet-4-5"),
            ] {
                if to == from {
                    continue;
                }
                let target = Target { model, lossy: Some(Lossy::Drop) };
                match convert_request(from, to, &body, &target) {
                    Ok(converted) => {
                        let value = serde_json::from_slice(&converted.body).unwrap();
                        sent.push((path.display().to_string(), to, value));
                    }
                    Err(error) => println!("{} to {to:?}: {error}", path.display()),
                }
            }
        }
    }
    sent
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(ending));
    files.sort();
    files
}

/// What is wrong with each body.
fn check(jobs: &[Value]) -> Vec<Vec<String>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let program = root.join(".tools/sdk-python/bin/python");
    assert!(program.exists(), "{} is missing; run scripts/test.sh once", program.display());
    let mut child = Command::new(program)
        .arg(root.join("tests/sdk/python/check_requests.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the checker starts");
    let mut input = child.stdin.take().expect("standard input is piped");
    // The checker reads everything before it writes anything.
    input.write_all(&serde_json::to_vec(jobs).unwrap()).expect("the checker reads");
    drop(input);
    let output = child.wait_with_output().expect("the checker ends");
    assert!(output.status.success(), "the checker failed: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("the checker writes JSON")
}
