//! What `check` and `explain` print, from arguments to text.

use std::{fs, path::Path, sync::Arc};

use clap::Parser;

use super::*;
use crate::{
    cli::check::{CheckArgs, check},
    config::{environment::Environment, report::Style, stub::Idle},
};

#[derive(Parser)]
enum Command {
    Check(CheckArgs),
    Explain(ExplainArgs),
}

const TYPES: &[PolicyType] = &[PolicyType {
    name: "noop",
    summary: "passes",
    schema: || schemars::json_schema!({ "type": "object", "additionalProperties": false }),
    timeout: None,
    build: |_, _| Ok(Arc::new(Idle)),
}];

const SETTINGS: &str = "
upstreams:
  - {name: anthropic, url: demo, dialects: [anthropic_messages], models: ['claude-*']}
  - {name: openai, url: 'https://api.openai.com/v1', dialects: [openai_chat]}
";

const RULES: &str = r#"
policies:
  - {name: everywhere, type: noop}
  - {name: claude, type: noop, match: {model: claude-*}}
  - {name: team, type: noop, match: {client: team-*, header: {x-team: red}}, mode: enforce}
  - {name: shell, type: noop, match: {tool: bash}}
  - {name: streams, type: noop, match: {when: "call.stream && call.model != 'other'"}}
  - {name: ticket, type: noop, match: {when: "int(call.headers['x-ticket']) > 9"}, on_fault: open}
"#;

fn run(folder: &Path, variables: &[(&str, &str)], arguments: &str) -> (u8, String) {
    let environment: Environment = variables.iter().copied().collect();
    let surroundings = Surroundings { environment: &environment, folder, style: Style::Plain };
    let command = Command::try_parse_from(["luthien"].into_iter().chain(arguments.split_whitespace()));
    let mut out = Vec::new();
    let code = match command.unwrap_or_else(|error| panic!("{error}")) {
        Command::Check(args) => check(&args, TYPES, surroundings, &mut out),
        Command::Explain(args) => explain(&args, TYPES, surroundings, &mut out),
    };
    let text = String::from_utf8(out).expect("text").replace(&format!("{}/", folder.display()), "");
    (code.expect("written"), text)
}

fn folder(settings: &str, rules: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("luthien.yaml"), settings).expect("written");
    fs::write(folder.path().join("policy.yaml"), rules).expect("written");
    folder
}

#[test]
fn check_says_what_is_there() {
    let folder = folder(SETTINGS, RULES);
    let (code, text) = run(folder.path(), &[("LUTHIEN_LISTN", "x")], "check --config luthien.yaml");
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn check_reports_both_documents() {
    let folder = folder(&SETTINGS.replace("demo", "dmeo"), &RULES.replacen("noop", "nop", 1).replace("bash", "'['"));
    let (code, text) = run(folder.path(), &[("LUTHIEN_CONFIG", "luthien.yaml")], "check");
    assert_eq!(code, 1, "{text}");
    insta::assert_snapshot!(text);
    let (code, text) = run(folder.path(), &[], "check --config absent.yaml");
    assert!(code == 1 && text.contains("absent.yaml: the file cannot be read"), "{text}");
}

#[test]
fn check_without_a_file_checks_the_built_in_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, text) = run(folder.path(), &[], "check");
    assert!(
        code == 0 && text.contains("2 upstreams (openai, anthropic)") && text.contains("1 policy (noop)"),
        "{text}"
    );
}

#[test]
fn explain_says_which_policies_run() {
    let folder = folder(SETTINGS, RULES);
    let mut all = String::new();
    for arguments in [
        "--path /v1/messages?beta=true --model claude-x --tool bash",
        "--path /v1/messages --model other --client team-a --header x-team=red --tool read",
        "--path /v1/chat/completions --model gpt-5 --client guest",
        "--path /v1/responses --model gpt-5 --stream --header x-ticket=10 --tool bash",
        "--path /v1/responses/resp_1 --method GET",
        "--path /v1/models/x --method GET",
        "--path /v1/files",
    ] {
        let (code, text) = run(folder.path(), &[], &format!("explain --config luthien.yaml {arguments}"));
        assert_eq!(code, 0, "{text}");
        all.extend(["$ luthien explain ", arguments, "\n", &text, "\n"]);
    }
    insta::assert_snapshot!(all);
}
