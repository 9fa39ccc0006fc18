//! What policies change: items that go, come, or say something else, and the numbers that every event carries.

use std::sync::Arc;

use bytes::Bytes;
use luthien::{
    model::{Block, BlockKind, Dialect},
    policy::{Fate, Watch},
};
use serde_json::{Value, json};

use super::{
    super::{
        reader::{self, Kind},
        repairs::By,
        support::{WatchAll, built_in, rules, run, run_body},
        validator,
    },
    BEFORE, Made, body, data, events, lifecycle, numbered, output, stream,
};

const RESPONSES: Dialect = Dialect::OpenaiResponses;

/// Runs a stream and the body with the same items, and checks that clients read one answer from both.
fn after(items: &[Made], policy: &Arc<dyn luthien::policy::Factory>) -> Vec<u8> {
    let rules = rules(vec![policy.clone()]);
    let mut outs = [1, 64, usize::MAX].map(|size| run(RESPONSES, &rules, &stream(items), size).out.concat());
    let out = std::mem::take(&mut outs[0]);
    validator::assert_legal(RESPONSES, &out, "after the policy");
    assert!(outs[1..].iter().all(|other| *other == out), "it depends on how it comes");
    let streamed = reader::stream(RESPONSES, &out).texts();
    let listed: Vec<&str> = items.iter().map(|item| item.item.as_str()).collect();
    let whole = run_body(RESPONSES, &rules, &body(&listed));
    assert_eq!(reader::body(RESPONSES, &whole).texts(), streamed, "{}", String::from_utf8_lossy(&whole));
    let terminal = reader::openai_responses::terminal(&reader::sse::events(&out)).expect("a terminal object");
    assert_eq!(reader::body(RESPONSES, terminal.as_bytes()).texts(), streamed, "{terminal}");
    out
}

fn by(fate: fn(&Block) -> Fate, added: Vec<Block>) -> Arc<dyn luthien::policy::Factory> {
    Arc::new(By { fate, added })
}

fn is_tool(block: &Block, of: &str) -> bool {
    matches!(&block.kind, BlockKind::ToolCall { name, .. } if name == of)
}

fn kinds(out: &[u8]) -> Vec<String> {
    output(out).iter().map(|item| item["type"].as_str().unwrap_or_default().to_owned()).collect()
}

fn calls() -> Vec<Made> {
    vec![
        Made::message("msg_1", &["so"], "so"),
        Made::call("fc_1", "call_1", "ls", &["{\\\"a\\\":", "1}"]),
        Made::call("fc_2", "call_2", "rm", &["{\\\"b\\\":", "2}"]),
        Made::custom("ctc_1", "call_3", "rm", &["-r", " /"]),
        Made::call("fc_3", "call_4", "ls", &["{}"]),
    ]
}

#[test]
fn one_of_several_calls_goes_and_the_others_move_up() {
    let out = after(&calls(), &built_in("tool_filter", &json!({"deny": ["rm"]})));
    assert_eq!(kinds(&out), ["message", "function_call", "function_call"]);
    let left: Vec<(Value, Value)> =
        output(&out)[1..].iter().map(|item| (item["id"].clone(), item["call_id"].clone())).collect();
    assert_eq!(left, [(json!("fc_1"), json!("call_1")), (json!("fc_3"), json!("call_4"))]);
    for gone in ["fc_2", "call_2", "ctc_1", "call_3", "rm"] {
        assert!(!String::from_utf8_lossy(&out).contains(gone), "{gone} is still there");
    }
    // What stood before the first call that went is as it came.
    let stream = stream(&calls());
    let at = String::from_utf8_lossy(&stream)
        .find(
            "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":13",
        )
        .unwrap();
    assert_eq!(out[..at], stream[..at]);
}

#[test]
fn a_call_is_replaced_by_a_message_of_its_own_at_its_place() {
    let out = after(&calls(), &built_in("tool_filter", &json!({"deny": ["rm"], "message": "no {tool}"})));
    assert_eq!(kinds(&out), ["message", "function_call", "message", "message", "function_call"]);
    let items = output(&out);
    for made in &items[2..4] {
        assert!(made["id"].as_str().unwrap().starts_with("msg_") && made["id"] != "msg_1", "{made}");
        assert_eq!((&made["role"], &made["status"]), (&json!("assistant"), &json!("completed")));
        assert_eq!(made["content"][0]["text"], "no rm");
    }
    assert_ne!(items[2]["id"], items[3]["id"]);
}

#[test]
fn what_was_added_stands_at_the_end_with_ids_of_its_own() {
    let added = || vec![Block::tool_call("call_9", "made", "{\"a\": 1}"), Block::text("the end")];
    let out = after(&calls()[..2], &by(|_| Fate::Keep, added()));
    assert_eq!(kinds(&out), ["message", "function_call", "function_call", "message"]);
    let items = output(&out);
    assert_eq!((&items[2]["call_id"], &items[2]["name"]), (&json!("call_9"), &json!("made")));
    assert!(items[2]["id"].as_str().unwrap().starts_with("fc_"), "{}", items[2]);
    assert!(items[3]["id"].as_str().unwrap().starts_with("msg_"), "{}", items[3]);
    // An answer that had nothing gets it as well.
    let out = after(&[], &by(|_| Fate::Keep, added()));
    assert_eq!(kinds(&out), ["function_call", "message"]);
}

#[test]
fn blocks_before_and_behind_a_block_stand_there() {
    let around = |block: &Block| match block.kind {
        BlockKind::ToolCall { .. } | BlockKind::Text => Fate::Replace(vec![
            Block::text("before"),
            Block::tool_call("made", "made", "{}"),
            block.clone(),
            Block::text("behind"),
        ]),
        _ => Fate::Keep,
    };
    let out = after(&[Made::call("fc_1", "call_1", "ls", &["{}"])], &by(around, Vec::new()));
    let texts: Vec<String> = reader::stream(RESPONSES, &out).texts().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["before", "{}", "{}", "behind"]);
    assert_eq!(output(&out)[2]["id"], "fc_1");
}

#[test]
fn the_parts_of_a_message_are_one_block() {
    let items = [
        Made::parts(
            "msg_1",
            &[("output_text", &["one"], "one"), ("output_text", &["two"], "two"), ("refusal", &["no"], "no")],
        ),
        Made::message("msg_2", &["three"], "three"),
    ];
    let parts = |out: &[u8]| -> Vec<(String, Vec<String>)> {
        let texts = |item: &Value| {
            let parts = item["content"].as_array().unwrap().iter();
            parts.map(|part| part["text"].as_str().or(part["refusal"].as_str()).unwrap().to_owned()).collect()
        };
        output(out).iter().map(|item| (item["id"].as_str().unwrap().to_owned(), texts(item))).collect()
    };
    let named = |id: &str, texts: &[&str]| (id.to_owned(), texts.iter().map(|text| (*text).to_owned()).collect());
    let dropped = |block: &Block| if block.text == "three" { Fate::Keep } else { Fate::Drop };
    let out = after(&items, &by(dropped, Vec::new()));
    assert_eq!(parts(&out), [named("msg_2", &["three"])]);
    // Its text is that of all parts; what a policy makes of it stands in the first.
    let edit = |block: &Block| match &*block.text {
        "onetwono" => Fate::Replace(vec![Block { text: "less".to_owned(), ..block.clone() }]),
        _ => Fate::Keep,
    };
    let out = after(&items, &by(edit, Vec::new()));
    assert_eq!(parts(&out), [named("msg_1", &["less", "", ""]), named("msg_2", &["three"])]);
    // An edit of what is said in one part stays there.
    let out = after(&items, &built_in("string_replacement", &json!({"replacements": {"two": "2", "no": "never"}})));
    assert_eq!(parts(&out), [named("msg_1", &["one", "2", "never"]), named("msg_2", &["three"])]);
}

#[test]
fn an_answer_of_which_nothing_is_left_says_so() {
    for items in [calls(), vec![Made::message("msg_1", &["a"], "a")]] {
        let out = after(&items, &by(|_| Fate::Drop, Vec::new()));
        let texts = reader::stream(RESPONSES, &out).texts();
        assert_eq!(texts, [(Kind::Text, "[removed by policy]".to_owned())]);
    }
}

#[test]
fn a_reasoning_is_one_block_and_what_is_sealed_in_it_stays() {
    let items = [Made::reasoning("rs_1", &["one ", "two"]), Made::message("msg_1", &["a"], "a")];
    let edit = |block: &Block| match block.kind {
        BlockKind::Thinking => {
            assert_eq!(block.text, "one two");
            Fate::Replace(vec![Block { text: "thought".into(), ..block.clone() }])
        }
        _ => Fate::Keep,
    };
    let out = after(&items, &by(edit, Vec::new()));
    let text = String::from_utf8(out.clone()).unwrap();
    assert!(!text.contains("one ") && !text.contains("two"), "{text}");
    assert_eq!(output(&out)[0]["encrypted_content"], "gAAA==");
    assert_eq!(output(&out)[0]["id"], "rs_1");
    let drop = |block: &Block| if block.kind == BlockKind::Thinking { Fate::Drop } else { Fate::Keep };
    let out = after(&items, &by(drop, Vec::new()));
    assert_eq!(kinds(&out), ["message"]);
    assert!(!String::from_utf8_lossy(&out).contains("gAAA=="));
}

#[test]
fn a_call_with_free_text_is_edited_in_every_place() {
    let edit = |block: &Block| match block.kind {
        BlockKind::ToolCall { .. } => Fate::Replace(vec![Block { text: "*** \"New\"\n".into(), ..block.clone() }]),
        _ => Fate::Keep,
    };
    let items = [Made::custom("ctc_1", "call_1", "patch", &["*** ", "Begin"]), Made::message("msg_1", &["a"], "a")];
    let out = after(&items, &by(edit, Vec::new()));
    assert_eq!(output(&out)[0]["input"], "*** \"New\"\n");
    assert_eq!(output(&out)[0]["id"], "ctc_1");
    assert!(!String::from_utf8_lossy(&out).contains("Begin"));
}

/// Calls whose action is JSON in the item, said by no delta.
#[test]
fn a_call_that_acts_is_seen_edited_and_dropped() {
    let item = |kind: &str, rest: &str, status: &str| {
        format!(r#"{{"id":"x_1","type":"{kind}","call_id":"call_1","status":"{status}",{rest}}}"#)
    };
    let cases = [
        ("local_shell_call", "local_shell", "action", r#"{"type":"exec","command":["rm"],"timeout_ms":1e3,"env":{}}"#),
        ("shell_call", "shell", "action", r#"{"commands":["rm"],"timeout_ms":1.0}"#),
        ("computer_call", "computer", "action", r#"{"type":"type","text":"rm"}"#),
        ("apply_patch_call", "apply_patch", "operation", r#"{"type":"delete_file","path":"rm"}"#),
    ];
    for (kind, name, key, action) in cases {
        let rest = format!("\"{key}\":{action}");
        let made = Made::of(&item(kind, &rest, "in_progress"), Vec::new(), &item(kind, &rest, "completed"));
        let items = [made, Made::message("msg_1", &["a"], "a")];
        let read = reader::stream(RESPONSES, &stream(&items)).texts();
        assert_eq!(read[0], (Kind::Tool { id: "call_1".to_owned(), name: name.to_owned() }, action.to_owned()));

        let out = after(&items, &built_in("tool_filter", &json!({"deny": [name]})));
        assert_eq!(kinds(&out), ["message"]);
        assert!(!String::from_utf8_lossy(&out).contains("rm\""), "{name}");
        let blocked = built_in("blocked_content", &json!({"patterns": ["^rm$"], "message": "not that"}));
        let out = after(&items, &blocked);
        assert_eq!(kinds(&out), ["message", "message"], "{name}");
        let edit = |block: &Block| match block.kind {
            BlockKind::ToolCall { .. } => Fate::Replace(vec![Block { text: "{\"edited\":1}".into(), ..block.clone() }]),
            _ => Fate::Keep,
        };
        let out = after(&items, &by(edit, Vec::new()));
        assert_eq!(output(&out)[0][key], json!({"edited": 1}), "{name}");
        assert!(!String::from_utf8_lossy(&out).contains("rm\""), "{name}: {}", String::from_utf8_lossy(&out));
    }
}

/// A shell's commands are also said one by one, before the item is done.
#[test]
fn the_commands_of_a_shell_wait_for_the_call_that_they_are_of() {
    let item = |status: &str, action: &str| {
        format!(r#"{{"id":"sh_1","type":"shell_call","call_id":"call_1","status":"{status}","action":{action}}}"#)
    };
    let event = |what: &str, rest: &str| {
        format!(r#"{{"type":"response.shell_call_command.{what}","output_index":"@place","command_index":0,{rest}}}"#)
    };
    let between = vec![
        event("added", r#""command":"""#),
        event("delta", r#""delta":"rm -r""#),
        event("done", r#""command":"rm -r""#),
    ];
    let made =
        Made::of(&item("in_progress", r#"{"commands":[]}"#), between, &item("completed", r#"{"commands":["rm -r"]}"#));
    let stream = stream(&[made]);
    for policy in [
        built_in("tool_filter", &json!({"deny": ["shell"]})),
        built_in("blocked_content", &json!({"patterns": ["rm"], "message": "no"})),
        by(|block| if is_tool(block, "shell") { Fate::Drop } else { Fate::Keep }, Vec::new()),
    ] {
        let out = run(RESPONSES, &rules(vec![policy]), &stream, 1).out.concat();
        assert!(!String::from_utf8_lossy(&out).contains("rm"), "{}", String::from_utf8_lossy(&out));
    }
}

#[test]
fn numbers_go_up_by_one_over_what_leaves_once_anything_changed() {
    // The provider itself leaves numbers out; nobody changes that as long as nothing is changed.
    let gap = |stream: &Bytes| {
        let text = String::from_utf8(stream.to_vec()).unwrap();
        Bytes::from(text.replacen("\"sequence_number\":1,", "\"sequence_number\":1 ,", 1))
    };
    let spaced = gap(&stream(&calls()));
    let kept = run(RESPONSES, &rules(vec![Arc::new(WatchAll(Watch::Whole))]), &spaced, 64).out.concat();
    assert!(kept == spaced);

    let mut with_keepalives = events(&calls());
    with_keepalives.insert(BEFORE + 1, r#"{"type":"keepalive"}"#.to_owned());
    with_keepalives.insert(BEFORE + 9, r#"{"type":"keepalive"}"#.to_owned());
    let out = run(
        RESPONSES,
        &rules(vec![built_in("tool_filter", &json!({"deny": ["ls"]}))]),
        &numbered(&with_keepalives),
        64,
    );
    let out = out.out.concat();
    validator::assert_legal(RESPONSES, &out, "with keepalives");
    assert!(data(&out).iter().any(|event| event["type"] == "keepalive"));
    assert_eq!(kinds(&out), ["message", "function_call", "custom_tool_call"]);
}

#[test]
fn what_nobody_knows_survives_in_events_that_are_patched() {
    let items = [Made::call("fc_1", "call_1", "rm", &["{}"]), Made::message("msg_1", &["a"], "a")];
    let mut events = events(&items);
    let last = events.len() - 1;
    for event in &mut events[BEFORE..last] {
        *event = event.replacen('{', r#"{"type":"@","later":[1.50],"#, 1).replacen(
            r#""type":"@","later":[1.50],"type""#,
            r#""type""#,
            1,
        );
        let end = event.len() - 1;
        event.insert_str(end, r#","later":[1.50]"#);
    }
    let out = run(RESPONSES, &rules(vec![built_in("tool_filter", &json!({"deny": ["rm"]}))]), &numbered(&events), 64)
        .out
        .concat();
    validator::assert_legal(RESPONSES, &out, "patched");
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.matches("\"later\":[1.50]").count(), items[1].events.len(), "{text}");
    assert!(text.lines().last().is_none_or(str::is_empty) || text.contains("\"x\":1e3"), "{text}");
    assert_eq!(text.matches("\"x\":1e3").count(), 3, "{text}");
}

#[test]
fn a_refusal_or_a_limit_that_the_provider_says_stays_what_it_is() {
    for end in ["incomplete", "failed"] {
        let items = calls();
        let mut events = events(&items);
        let last = events.len() - 1;
        let listed: Vec<&str> = items.iter().map(|item| item.item.as_str()).collect();
        events[last] = lifecycle(end, &listed.join(","));
        let rules = rules(vec![built_in("tool_filter", &json!({"deny": ["rm"]}))]);
        let out = run(RESPONSES, &rules, &numbered(&events), 64).out.concat();
        validator::assert_legal(RESPONSES, &out, end);
        let ending = data(&out).pop().unwrap();
        assert_eq!(ending["type"], format!("response.{end}"));
        assert!(!String::from_utf8_lossy(&out).contains("\"rm\""), "{end}");
        let details = &ending["response"]["incomplete_details"];
        assert_eq!(details["reason"] == "max_output_tokens", end == "incomplete");
    }
}

#[test]
fn a_dropped_call_does_not_come_back_at_the_end_where_the_end_leaves_others_out() {
    let call = Made::call("fc_1", "call_1", "rm", &["{}"]);
    let mut all = events(&[Made::message("msg_1", &["a"], "a"), call.clone()]);
    all.pop();
    all.push(lifecycle("completed", &call.item));
    let rules = rules(vec![built_in("tool_filter", &json!({"deny": ["rm"]}))]);
    let out = run(RESPONSES, &rules, &numbered(&all), 64).out.concat();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("response.completed") && !out.contains("fc_1"), "{out}");
}
