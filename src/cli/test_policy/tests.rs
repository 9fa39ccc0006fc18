//! What `test-policy` prints, from arguments to text, over the hand-made streams.

use clap::Parser;

use super::*;
use crate::{
    config::{environment::Environment, report::Style},
    policies,
};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: TestPolicyArgs,
}

const REPLACE: &str = "
policies:
  - name: polite
    type: string_replacement
    config: { replacements: { Hello: Good day }, apply_to: both }
";

const REFUSE: &str = "
policies:
  - { name: shout, type: uppercase, match: { model: never-* } }
  - { name: no-hello, type: blocked_content, config: { patterns: [Hello], on_match: refuse } }
";

const ASK: &str = "
policies:
  - name: ticket
    type: noop
    match: { when: \"call.headers['x-ticket'] == '1'\" }
  - name: shout
    type: uppercase
    match: { when: \"call.model.startsWith('gpt-') && call.session == 's'\" }
";

const REQUEST: &str = r#"{"model":"gpt-5","stream":true,"messages":[{"role":"user","content":"Hello you"}]}"#;

const CHAT: &str = "tests/vectors/openai-chat/01-basic-usage-done.sse";

const BODY: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in [
        ("replace.yaml", REPLACE),
        ("refuse.yaml", REFUSE),
        ("ask.yaml", ASK),
        ("none.yaml", "policies: []"),
        ("wrong.yaml", "policies: [{name: a, type: noop, match: {when: call.modle}}]"),
        ("request.json", REQUEST),
        ("body.json", BODY),
        ("error.json", r#"{"type":"error","error":{"type":"overloaded_error","message":"later"}}"#),
        ("empty.sse", " \n"),
        ("mixed.sse", "data: {\"choices\":[]}\n\ndata: {\"type\":\"response.created\"}\n\n"),
        ("prose.txt", "Dear model,\n"),
    ] {
        fs::write(folder.path().join(name), text).expect("written");
    }
    fs::copy(root.join(CHAT), folder.path().join("chat.sse")).expect("copied");
    folder
}

async fn run(folder: &Path, arguments: &str, is_coloured: bool) -> Result<(u8, String), String> {
    let environment = Environment::default();
    let surroundings = Surroundings { environment: &environment, folder, style: Style::Plain };
    let command = Command::try_parse_from(["test-policy"].into_iter().chain(arguments.split_whitespace()));
    let args = command.map_err(|error| error.to_string())?.args;
    let mut out = Vec::new();
    match test_policy(&args, policies::all(), surroundings, is_coloured, &mut out).await {
        Ok(code) => Ok((code, String::from_utf8(out).expect("text"))),
        Err(Failed::Report(report)) => Err(report.to_string().replace(&format!("{}/", folder.display()), "")),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn what_becomes_of_a_recording_is_shown() {
    let folder = folder();
    let mut all = String::new();
    for (arguments, expected) in [
        ("none.yaml chat.sse --check", 0),
        ("replace.yaml chat.sse --check", 1),
        ("replace.yaml chat.sse --request request.json --chunk 7", 0),
        ("replace.yaml body.json --client openai_chat", 0),
        ("refuse.yaml body.json --check", 1),
        ("refuse.yaml chat.sse", 0),
        ("refuse.yaml chat.sse --stage shout --check", 0),
        ("ask.yaml chat.sse --session s", 0),
        ("ask.yaml chat.sse --session s --header x-ticket=1", 0),
        ("refuse.yaml chat.sse --stage shout --path /v1/responses/resp_1", 0),
        ("ask.yaml chat.sse --model o3 --header x-ticket=0 --check", 0),
        ("none.yaml error.json --dialect anthropic_messages --check", 0),
    ] {
        let (code, text) = run(folder.path(), arguments, false).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(code, expected, "{arguments}: {text}");
        all.extend(["$ luthien test-policy ", arguments, "\n", &text, "\n"]);
    }
    // What one line of a stream says stands in other tests.
    let short = all.lines().map(|line| line.chars().take(240).collect::<String>()).collect::<Vec<_>>();
    insta::assert_snapshot!(short.join("\n"));
}

#[tokio::test]
async fn what_cannot_be_run_is_told() {
    let folder = folder();
    let mut all = String::new();
    for arguments in [
        "absent.yaml chat.sse",
        "wrong.yaml chat.sse",
        "none.yaml absent.sse",
        "none.yaml empty.sse",
        "none.yaml prose.txt",
        "none.yaml error.json",
        "none.yaml mixed.sse",
        "none.yaml chat.sse --request body.json --model x",
        "none.yaml chat.sse --request prose.txt",
        "none.yaml body.json --request request.json --client openai_chat",
        "none.yaml chat.sse --stage shout",
        "replace.yaml chat.sse --stage shout",
        "none.yaml chat.sse --upstream other",
        "none.yaml chat.sse --client openai",
        "none.yaml - --request -",
        "none.yaml chat.sse --config absent.yaml",
    ] {
        let error = run(folder.path(), arguments, false).await.expect_err(arguments);
        all.extend(["$ luthien test-policy ", arguments, "\n", &error, "\n\n"]);
    }
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn the_cut_of_the_recording_changes_nothing() {
    let folder = folder();
    let whole = run(folder.path(), "replace.yaml chat.sse", false).await.expect("a run");
    for size in [1, 2, 13, 500, 100_000] {
        let cut = run(folder.path(), &format!("replace.yaml chat.sse --chunk {size}"), false).await.expect("a run");
        assert_eq!(cut, whole, "{size}");
    }
}

#[tokio::test]
async fn a_diff_has_colours_where_they_are_asked_for() {
    let folder = folder();
    let (_, text) = run(folder.path(), "replace.yaml body.json", true).await.expect("a run");
    assert!(text.contains("\u{1b}[31m-      \"text\": \"Hello\"\u{1b}[0m\n"), "{text}");
    assert!(text.contains("\u{1b}[32m+      \"text\": \"Good day\"\u{1b}[0m\n"), "{text}");
    let (_, text) = run(folder.path(), "replace.yaml body.json", false).await.expect("a run");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn the_protocol_of_a_stream_is_found_in_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut unknown = 0;
    for (name, dialect) in [
        ("anthropic", Dialect::AnthropicMessages),
        ("openai-chat", Dialect::OpenaiChat),
        ("openai-responses", Dialect::OpenaiResponses),
    ] {
        for entry in fs::read_dir(root.join(name)).expect("a folder") {
            let file = entry.expect("an entry").path();
            if file.extension().is_none_or(|extension| extension != "sse") {
                continue;
            }
            match Recording::of(fs::read(&file).expect("a file").into(), None) {
                Ok(recording) => {
                    assert!(recording.dialect == dialect && recording.is_stream, "{}", file.display());
                    assert_eq!(recording.chunks(None).concat(), recording.bytes, "{}", file.display());
                }
                Err(reason) => {
                    assert!(reason.starts_with("it does not say"), "{}: {reason}", file.display());
                    unknown += 1;
                }
            }
        }
    }
    // Streams of nothing but an error.
    assert!(unknown < 6, "{unknown}");
}
