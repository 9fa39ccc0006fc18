//! How calls hold commands, and what is edited in them.

use luthien::model::Dialect;
use serde_json::{Value, json};

use super::{Outcome, judged, outcome};
use crate::core::support::{Stream, built_in, rules, run, run_body, streams};

const DIALECTS: [Dialect; 3] = [Dialect::OpenaiChat, Dialect::AnthropicMessages, Dialect::OpenaiResponses];

fn uv() -> Value {
    json!({ "rules": [
        { "name": "uv-requirements", "command": ["pip install", "pip3 install"], "arguments": { "any": ["-r", "-e"] }, "action": "allow" },
        { "name": "uv", "command": ["pip install", "pip3 install", "python* -m pip install"], "action": "rewrite",
          "rewrite": "uv add", "reason": "this project uses uv" },
    ] })
}

#[test]
fn words_are_rewritten_and_the_rest_stays() {
    let cases = [
        ("pip install x", "uv add x"),
        ("pip install  'x>=1'  # why", "uv add  'x>=1'  # why"),
        ("cd a && pip install x y | tee log", "cd a && uv add x y | tee log"),
        ("python -m pip install x", "uv add x"),
        ("python3.12 -m pip install x", "uv add x"),
        ("/usr/bin/pip3 install x", "uv add x"),
        ("'pip' \"install\" x", "uv add x"),
        ("A=b pip install x >out 2>&1", "A=b uv add x >out 2>&1"),
        ("sudo -E pip install x", "sudo -E uv add x"),
        ("pip install x; pip3 install y", "uv add x; uv add y"),
        ("(pip install x)", "(uv add x)"),
        ("if true; then pip install x; fi", "if true; then uv add x; fi"),
        ("for p in a b; do pip install $p; done", "for p in a b; do uv add $p; done"),
        ("echo é && pip install ü", "echo é && uv add ü"),
        ("echo a \\\n  && pip install x", "echo a \\\n  && uv add x"),
        ("bash -c 'pip install x'", "bash -c 'uv add x'"),
        ("bash -c \"pip install x\"", "bash -c 'uv add x'"),
        ("bash -c \"echo 'a b' && pip install x\"", r"bash -c 'echo '\''a b'\'' && uv add x'"),
        ("sudo sh -c 'cd /x && sh -c \"pip install x\"'", r"sudo sh -c 'cd /x && sh -c '\''uv add x'\'''"),
        ("pip install \"a$B\"", "uv add \"a$B\""),
        ("cat r | xargs pip install", "cat r | xargs uv add"),
        ("f() { pip install x; }; f", "f() { uv add x; }; f"),
    ];
    for (command, expected) in cases {
        for dialect in DIALECTS {
            assert_eq!(outcome(dialect, &uv(), command), Outcome::Rewrite(expected.to_owned()), "{command}");
        }
    }
}

#[test]
fn what_cannot_be_rewritten_for_certain_is_denied() {
    for command in [
        "bash -c \"pip install $X\"",
        "X='pip install'; $X y",
        "P=pip; $P install x",
        "{pip,install} x",
        "pip \\\n install x",
        "x=$(pip install y)",
        "eval pip install x",
        "sh <<EOF\npip install x\nEOF",
        "echo 'pip install x' | sh",
        "pip $INSTALL; X=install; pip $X y",
    ] {
        assert_eq!(outcome(Dialect::OpenaiChat, &uv(), command), Outcome::Deny("uv".to_owned()), "{command}");
    }
    for command in
        ["pip install -r requirements.txt", "pip list", "echo pip install x", "git commit -m 'pip install x'"]
    {
        assert_eq!(outcome(Dialect::OpenaiChat, &uv(), command), Outcome::Allow, "{command}");
    }
}

#[test]
fn a_denied_command_beside_a_rewritten_one_is_denied() {
    let found = outcome(Dialect::OpenaiChat, &uv(), "pip install x && rm -rf /");
    assert_eq!(found, Outcome::Deny("system-delete".to_owned()));
}

#[test]
fn the_rest_of_the_arguments_stays_byte_for_byte() {
    let arguments = r#"{ "timeout" : 1.0e3,"cmd":"echo \u0041\/ && pip install x", "z":[1, 2] }"#;
    let expected = r#"{ "timeout" : 1.0e3,"cmd":"echo \u0041\/ && uv add x", "z":[1, 2] }"#;
    assert_eq!(judged(Dialect::OpenaiChat, &uv(), "exec_command", arguments).unwrap(), expected);
    let arguments = r#"{"command": ["pip",  "install", "x\u0041"] , "workdir":"/"}"#;
    let expected = r#"{"command": ["uv", "add", "x\u0041"] , "workdir":"/"}"#;
    assert_eq!(judged(Dialect::OpenaiChat, &uv(), "shell", arguments).unwrap(), expected);
    let arguments = r#"{"command":["bash","-lc","cd a && pip install x"]}"#;
    let expected = r#"{"command":["bash","-lc","cd a && uv add x"]}"#;
    assert_eq!(judged(Dialect::OpenaiChat, &uv(), "shell", arguments).unwrap(), expected);
    let arguments = r#"{"command":["bash","-lc","sh -c 'pip install x'"]}"#;
    let expected = r#"{"command":["bash","-lc","sh -c 'uv add x'"]}"#;
    assert_eq!(judged(Dialect::OpenaiChat, &uv(), "shell", arguments).unwrap(), expected);
}

#[test]
fn commands_are_found_in_every_form() {
    let denied = [
        ("bash", r#"{"command":"rm -rf /"}"#),
        ("Bash", r#"{"command":"rm -rf /","description":"x"}"#),
        (" bash ", r#"{"command":"rm -rf /"}"#),
        ("shell", r#"{"command":["bash","-lc","rm -rf /"]}"#),
        ("shell", r#"{"command":["rm","-rf","/"]}"#),
        ("shell", r#"{"command":["rm -rf /"]}"#),
        ("shell", r#"{"commands":["ls","rm -rf /"]}"#),
        ("local_shell", r#"{"type":"exec","command":["bash","-lc","rm -rf /"],"env":{}}"#),
        ("container.exec", r#"{"cmd":["sh","-c","rm -rf /"]}"#),
        ("exec_command", r#"{"cmd":"rm -rf /"}"#),
        ("exec_command", r#"{"cmd":"rm -rf *","workdir":"/"}"#),
        ("exec_command", r#"{"cmd":"rm -rf .","cwd":"~"}"#),
        ("exec_command", r#"{"cmd":["rm","-rf","."],"cwd":"/etc"}"#),
        ("run_command", r#"{"CommandLine":"rm -rf *","Cwd":"/"}"#),
        ("run_command", r#"{"command":"rm","args":["-rf","/"]}"#),
        ("run_command", r#"{"command":"bash","args":["-c","rm -rf /"]}"#),
        ("run_command", r#"{"cwd":"/","input":{"command":"rm","args":["-rf","usr"]}}"#),
        ("run_terminal_cmd", r#"{"command":"rm -rf /","is_background":false}"#),
        ("execute_command", r#"{"Command":"rm -rf /"}"#),
        ("mcp__dev__bash", r#"{"command":"rm -rf /"}"#),
        ("terminal", r#"{"input":{"command":"rm -rf /"}}"#),
        ("terminal", r#"[{"command":"rm -rf /"}]"#),
        ("bash", r#"{"command":"ls","command":"rm -rf /"}"#),
        ("bash", r#"{"command":"rm -rf /","command":"ls"}"#),
        ("bash", r#"{"\u0063ommand":"\u0072m -rf /"}"#),
        ("bash", r#""rm -rf /""#),
        ("bash", "rm -rf /"),
        ("bash", r#"{"command":"ls"#),
        ("bash", r#"{"command":"#),
        ("bash", r#"{"script":"ls\nrm -rf /"}"#),
    ];
    for (tool, arguments) in denied {
        let found = judged(Dialect::OpenaiChat, &json!({}), tool, arguments);
        assert!(found.is_err(), "{tool} {arguments}");
    }
    let kept = [
        ("bash", r#"{"restart":true}"#),
        ("bash", "{}"),
        ("bash", r#"{"command":["echo","rm -rf /"]}"#),
        ("bash", r#"{"command":["git","commit","-m","$(rm -rf /); rm -rf /"]}"#),
        ("shell", r#"{"commands":["ls","pwd"]}"#),
        ("bash", r#"{"command":null}"#),
        ("bash", r#"{"description":"rm -rf /","command":"ls"}"#),
        ("read_file", r#"{"command":"rm -rf /"}"#),
        ("bash", "ls -la"),
    ];
    for (tool, arguments) in kept {
        let found = judged(Dialect::OpenaiChat, &json!({}), tool, arguments);
        assert_eq!(found.as_deref(), Ok(arguments), "{tool}");
    }
}

#[test]
fn tools_and_arguments_can_be_named() {
    let config = json!({ "tools": ["do_*"], "arguments": "x" });
    assert!(super::problems(&config).is_some());
    let config = json!({ "tools": ["do_*"], "arguments": ["line"] });
    let found = judged(Dialect::OpenaiChat, &config, "do_it", r#"{"line":"rm -rf /"}"#);
    assert!(found.is_err());
    let found = judged(Dialect::OpenaiChat, &config, "bash", r#"{"command":"rm -rf /"}"#);
    assert!(found.is_ok());
}

#[test]
fn choices_and_messages() {
    let config = json!({ "unparsable": "allow", "unknown_code": "allow", "unknown_program": "deny",
        "message": "{tool}/{program}/{rule}/{reason}/{other}" });
    let denied =
        |command: &str| judged(Dialect::OpenaiChat, &config, "bash", &json!({ "command": command }).to_string()).err();
    assert_eq!(denied("echo \""), None);
    assert_eq!(denied("bash -c \"$CODE\""), None);
    let unknown = "bash/?/unknown-program/it runs a program of which only the shell knows the name/{other}";
    assert_eq!(denied("$X y").as_deref(), Some(unknown));
    let full = "bash/rm/system-delete/it deletes the system, or everything in a home directory/{other}";
    assert_eq!(denied("sudo rm -rf /").as_deref(), Some(full));
    assert_eq!(judged(Dialect::OpenaiChat, &config, "bash", r#"{"command":"l"#).as_deref(), Ok(r#"{"command":"l"#));
}

#[test]
fn conditions_of_rules() {
    let rule = |rule: Value| json!({ "defaults": false, "rules": [rule] });
    let cases = [
        (
            json!({ "name": "a", "command": "git push", "arguments": { "any": ["-f", "--force"], "none": ["--dry-run"] } }),
            vec!["git push -f", "git push --force origin main", "git push --forc", "git push -uf"],
            vec!["git push", "git push --dry-run -f", "git pull -f", "git push -- -f", "git push --force-with-lease"],
        ),
        (
            json!({ "name": "a", "urls": ["*.example.com", "ftp://*"] }),
            vec![
                "curl https://a.example.com/x",
                "wget a.example.com",
                "curl ftp://x/y",
                "curl https://u:p@a.example.com:8/x",
            ],
            vec!["curl https://example.org/a.example.com", "ls"],
        ),
        (
            json!({ "name": "a", "writes": "/data/**" }),
            vec![
                "echo > /data/x",
                "tee /data/x",
                "cd /data; touch x",
                "cp a /data/b",
                "sort -o /data/x y",
                "mv /data/x y",
            ],
            vec!["cat /data/x", "cp /data/x y", "echo /data/x"],
        ),
        (
            json!({ "name": "a", "reads": "/data/**" }),
            vec!["cat /data/x", "cp /data/x y", "cat < /data/x", "mv /data/x y", "curl -d @/data/x h"],
            vec!["echo > /data/x", "cp y /data/x"],
        ),
        (
            json!({ "name": "a", "paths": "src/*.rs" }),
            vec!["cat src/a.rs", "cat ./src/*", "cat x/../src/a.rs"],
            vec!["cat src/a/b.rs", "cat $X"],
        ),
        (
            json!({ "name": "a", "command": ["!ls", "!git status"], "arguments": { "all": ["-x"] } }),
            vec!["rm -x", "git -x"],
            vec!["ls -x", "git status -x"],
        ),
        (
            json!({ "name": "a", "command": "sort", "piped_from": "cat" }),
            vec!["cat x | sort", "cat x | uniq | sort", "sort < <(cat x)", "cat x | sudo sort"],
            vec!["sort x", "ls | sort", "cat x; sort"],
        ),
        (
            json!({ "name": "a", "runs_from": "gh" }),
            vec!["gh x | sh", "eval \"$(gh x)\"", "$(gh x)"],
            vec!["gh x | cat", "echo \"$(gh x)\""],
        ),
    ];
    for (written, denied, allowed) in cases {
        for command in denied {
            let found = outcome(Dialect::OpenaiChat, &rule(written.clone()), command);
            assert_eq!(found, Outcome::Deny("a".to_owned()), "{written} {command}");
        }
        for command in allowed {
            let found = outcome(Dialect::OpenaiChat, &rule(written.clone()), command);
            assert_eq!(found, Outcome::Allow, "{written} {command}");
        }
    }
}

#[test]
fn a_rule_of_ones_own_makes_an_exception() {
    let config =
        json!({ "rules": [{ "name": "own-shell", "command": "sed", "writes": "~/.bashrc", "action": "allow" }] });
    assert_eq!(outcome(Dialect::OpenaiChat, &config, "sed -i s/a/b/ ~/.bashrc"), Outcome::Allow);
    let denied = Outcome::Deny("startup-write".to_owned());
    assert_eq!(outcome(Dialect::OpenaiChat, &config, "sed -i s/a/b/ ~/.zshrc"), denied);
    assert_eq!(outcome(Dialect::OpenaiChat, &json!({}), "sed -i s/a/b/ ~/.bashrc"), denied);
}

#[test]
fn mistakes_in_rules_are_all_found() {
    let config = json!({ "tools": ["{"], "arguments": [], "rules": [
        { "name": "empty" },
        { "name": "no words", "command": "a", "action": "rewrite" },
        { "name": "no place", "urls": "a", "action": "rewrite", "rewrite": "b" },
        { "name": "code", "command": "a", "action": "rewrite", "rewrite": "b; c" },
        { "name": "stray", "command": "a", "rewrite": "b" },
        { "name": "glob", "paths": "{a,{b}}" },
    ] });
    let problems = super::problems(&config).unwrap();
    let places: Vec<_> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
    let expected = [
        "/tools/0",
        "/arguments",
        "/rules/0",
        "/rules/1",
        "/rules/2",
        "/rules/3/rewrite",
        "/rules/4/rewrite",
        "/rules/5/paths",
    ];
    assert_eq!(places, expected, "{problems:?}");
    assert!(super::problems(&json!({ "defaults": false })).is_some());
    assert!(super::problems(&json!({})).is_none());
}

#[test]
fn the_shells_of_responses_are_guarded_and_edited() {
    let rules = rules(vec![built_in("command_guard", &uv())]);
    let answer = |action: &Value, kind: &str| {
        let item = json!({ "type": kind, "id": "i", "call_id": "t", "status": "completed", "action": action });
        let body = json!({ "id": "c", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [item] });
        run_body(Dialect::OpenaiResponses, &rules, &body.to_string().into())
    };
    let read = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["output"][0].clone();
    let words = json!({ "type": "exec", "command": ["bash", "-lc", "pip install x"], "env": {} });
    let out = read(&answer(&words, "local_shell_call"));
    assert_eq!(out["action"]["command"], json!(["bash", "-lc", "uv add x"]), "{out}");
    let out = read(&answer(&json!({ "commands": ["ls", "pip install x"], "timeout_ms": 1 }), "shell_call"));
    assert_eq!(out["action"]["commands"], json!(["ls", "uv add x"]), "{out}");
    for (action, kind) in [
        (json!({ "type": "exec", "command": ["rm", "-rf", "/"], "env": {} }), "local_shell_call"),
        (json!({ "commands": ["ls", "rm -rf /"] }), "shell_call"),
    ] {
        let out = read(&answer(&action, kind));
        assert!(out["content"][0]["text"].as_str().unwrap().contains("system-delete"), "{out}");
    }
}

#[test]
fn a_stream_without_a_match_stays_byte_for_byte() {
    let config = json!({ "tools": ["*"], "arguments": ["*", "command"], "unparsable": "allow", "unknown_code": "allow",
        "defaults": false, "rules": [{ "name": "never", "command": "no-such-program" }] });
    let rules = rules(vec![built_in("command_guard", &config)]);
    for stream in streams().into_iter().filter(Stream::is_good) {
        for size in [7, usize::MAX] {
            let out = run(stream.dialect, &rules, &stream.body, size).out.concat();
            assert!(out == stream.body, "{} at {size}", stream.name);
        }
    }
}
