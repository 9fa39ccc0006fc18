//! What a hostile or sloppy provider tries to get past a policy.

use std::sync::Arc;

use bytes::Bytes;
use luthien::{
    model::Dialect,
    policy::{Factory, Release},
};
use serde_json::json;

use super::{
    super::{
        hiding::{TOOL, WORD, enforcing, forbids},
        support::{LIMITS, Run, built_in, response, rules, run, run_body},
        validator,
    },
    Made, body, events, lifecycle, numbered, placed, stream,
};

const RESPONSES: Dialect = Dialect::OpenaiResponses;

fn policies() -> Vec<(&'static str, Arc<dyn Factory>)> {
    let mut all = enforcing();
    all.push((
        "string_replacement",
        built_in("string_replacement", &json!({"replacements": {"FORBIDDEN": "fine"}, "include_tool_calls": true})),
    ));
    all
}

/// The secret leaves through no policy that forbids it.
fn hidden(hides: &str, secret: &str, stream: &Bytes) {
    let mut problems = Vec::new();
    for (name, factory) in policies().into_iter().filter(|(name, _)| forbids(name, hides)) {
        let out = run(RESPONSES, &rules(vec![factory]), stream, 64).out.concat();
        let out = String::from_utf8_lossy(&out).into_owned();
        if out.contains(secret) {
            problems.push(format!("{name}: {out}"));
        }
    }
    assert!(problems.is_empty(), "`{secret}` leaves through {}", problems.join("\n"));
}

fn hidden_body(hides: &str, body: &Bytes) {
    for (name, factory) in policies().into_iter().filter(|(name, _)| forbids(name, hides)) {
        let out = run_body(RESPONSES, &rules(vec![factory]), body);
        let out = String::from_utf8_lossy(&out).into_owned();
        assert!(!out.contains(hides), "{name}: {out}");
    }
}

fn text() -> Made {
    Made::message("msg_1", &["a"], "a")
}

const MESSAGE: &str = r#"{"id":"msg_9","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"FORBIDDEN","annotations":[],"logprobs":[]}]}"#;

/// The `event:` line alone says what it is: the checks see no kind, and the decoder takes the line's.
#[test]
fn an_event_without_a_type_is_checked_as_nothing_and_read_as_something() {
    let mut all = events(&[text()]);
    let last = all.len() - 1;
    all[last] = lifecycle("completed", &text().item.replace("\"text\":\"a\"", "\"text\":\"FORBIDDEN\""));
    let stream = String::from_utf8(numbered(&all).to_vec()).unwrap();
    hidden(WORD, WORD, &stream.replacen("data: {\"type\":\"response.completed\",", "data: {", 1).into());
    hidden(WORD, WORD, &stream.replacen("data: {\"type\":\"response.completed\",", "data: {\"type\":null,", 1).into());
}

#[test]
fn the_beginning_without_a_type_has_output() {
    let mut all = events(&[text()]);
    all[1] = lifecycle("in_progress", MESSAGE);
    let stream = String::from_utf8(numbered(&all).to_vec()).unwrap();
    hidden(WORD, WORD, &stream.replacen("data: {\"type\":\"response.in_progress\",", "data: {", 1).into());
}

#[test]
fn a_repetition_without_a_type_says_another_text() {
    let untyped = |made: Made, kind: &str| {
        let stream = String::from_utf8(numbered(&events(&[made])).to_vec()).unwrap();
        Bytes::from(stream.replacen(&format!("data: {{\"type\":\"{kind}\","), "data: {", 1))
    };
    let call = Made::call("fc_1", "call_1", "ok", &["{}"]);
    let done = call.with(2, "{}\"", "{\\\"a\\\":\\\"FORBIDDEN\\\"}\"");
    hidden(WORD, WORD, &untyped(done, "response.function_call_arguments.done"));
    hidden(WORD, WORD, &untyped(text().with(4, "\"a\"", "\"FORBIDDEN\""), "response.content_part.done"));
}

/// A part of the summary between two deltas of a message's only part: to the client one text, to the policy three.
#[test]
fn a_part_of_another_numbering_between_two_deltas() {
    let mut message = Made::parts("msg_1", &[("output_text", &["FORB", "IDDEN"], "FORBIDDEN")]);
    let between = r#"{"type":"response.reasoning_summary_part.added","item_id":"msg_1","output_index":"@place","summary_index":0,"part":{"type":"later","text":"x"}}"#;
    message.events.insert(3, between.to_owned());
    let done = message.events.len() - 1;
    let three = r#"[{"type":"output_text","text":"FORB","annotations":[]},{"type":"output_text","text":"x","annotations":[]},{"type":"output_text","text":"IDDEN","annotations":[]}]"#;
    let whole = r#"[{"type":"output_text","text":"FORBIDDEN","annotations":[],"logprobs":[]}]"#;
    message.events[done] = message.events[done].replace(whole, three);
    message.item = message.item.replace(whole, three);
    // The text's end and the part's say what the last of the three said.
    for event in [5, 6] {
        message.events[event] = message.events[event].replace("FORBIDDEN", "IDDEN");
    }
    hidden(WORD, "IDDEN", &numbered(&events(&[message])));
}

#[test]
fn a_reasoning_goes_back_to_its_summary() {
    let mut item = Made::reasoning("rs_1", &["FORB"]);
    let delta = |kind: &str, key: &str, text: &str| {
        format!(
            r#"{{"type":"response.{kind}.delta","item_id":"rs_1","output_index":"@place","{key}":0,"delta":"{text}"}}"#
        )
    };
    item.events.splice(
        3..3,
        [delta("reasoning_text", "content_index", "x"), delta("reasoning_summary_text", "summary_index", "IDDEN")],
    );
    let stream = numbered(&events(&[item]));
    let policy = built_in("string_replacement", &json!({"replacements": {"FORBIDDEN": "fine"}}));
    let out = run(RESPONSES, &rules(vec![policy]), &stream, 64).out.concat();
    assert!(!String::from_utf8_lossy(&out).contains("IDDEN"), "{}", String::from_utf8_lossy(&out));
}

/// Old clients run `action`, new ones `actions`; the policy sees the first only.
#[test]
fn a_computer_call_with_two_kinds_of_actions() {
    let item = r#"{"id":"cu_1","type":"computer_call","call_id":"call_1","status":"completed","action":{"type":"screenshot"},"actions":[{"type":"type","text":"FORBIDDEN"}],"pending_safety_checks":[]}"#;
    hidden_body(WORD, &body(&[item]));
    hidden(WORD, WORD, &numbered(&events(&[Made::of(item, Vec::new(), item)])));
}

/// What asks the client to approve a call of a tool names it and says its arguments.
#[test]
fn an_approval_of_a_denied_tool() {
    let item = r#"{"id":"mcpr_1","type":"mcp_approval_request","server_label":"s","name":"sesame","arguments":"{\"a\":\"FORBIDDEN\"}"}"#;
    hidden_body(WORD, &body(&[item]));
    hidden_body(TOOL, &body(&[item]));
}

/// Events of kinds that nobody knows, with members that clients know.
#[test]
fn an_unknown_event_with_a_known_member() {
    let last = events(&[text()]).len() - 1;
    let response = format!(r#"{{"id":"resp_1","object":"response","status":"completed","output":[{MESSAGE}]}}"#);
    for event in [
        format!(r#"{{"type":"response.done","response":{response}}}"#),
        format!(r#"{{"type":"response.cancelled","response":{response}}}"#),
        format!(
            r#"{{"type":"response.output_item.updated","output_index":0,"item":{}}}"#,
            MESSAGE.replace("msg_9", "msg_8")
        ),
        r#"{"type":"response.content_part.later","output_index":0,"part":{"type":"output_text","text":"FORBIDDEN"}}"#
            .to_owned(),
        r#"{"type":"response.later.done","refusal":"FORBIDDEN"}"#.to_owned(),
        r#"{"type":"response.later.done","arguments":"FORBIDDEN"}"#.to_owned(),
    ] {
        let mut all = events(&[text()]);
        all.insert(last, event);
        hidden(WORD, WORD, &numbered(&all));
    }
}

/// Free text that looks like JSON at its first character is searched as JSON, and only in its strings.
#[test]
fn free_text_that_begins_with_a_bracket() {
    let policy =
        || built_in("string_replacement", &json!({"replacements": {"FORBIDDEN": "fine"}, "include_tool_calls": true}));
    for input in ["[section] key = FORBIDDEN", "{ return FORBIDDEN }"] {
        let stream = numbered(&events(&[Made::custom("ctc_1", "call_1", "exec", &[input])]));
        let out = run(RESPONSES, &rules(vec![policy()]), &stream, 64).out.concat();
        assert!(!String::from_utf8_lossy(&out).contains(WORD), "{}", String::from_utf8_lossy(&out));
    }
}

/// Items without an id of their own, whose events name one and the same.
#[test]
fn two_items_without_an_id_that_share_one_in_their_events() {
    let one = |deltas: &[&str], text: &str| {
        let mut made = Made::message("msg_1", deltas, text);
        for event in &mut made.events {
            *event = event.replace("\"id\":\"msg_1\",", "");
        }
        made.item = made.item.replace("\"id\":\"msg_1\",", "");
        made
    };
    let (first, second) = (one(&["FORB"], "FORB"), one(&["IDDEN"], "IDDEN"));
    let mut all = events(&[first.clone(), second]);
    let last = all.len() - 1;
    all[last] = lifecycle("completed", &first.item);
    hidden(WORD, "IDDEN", &numbered(&all));
}

#[test]
fn the_highest_output_index_is_no_panic() {
    let all: Vec<String> = events(&[text()])
        .iter()
        .map(|event| event.replace("\"output_index\":0", "\"output_index\":4294967295"))
        .collect();
    for (_, policy) in policies() {
        let _ = run(RESPONSES, &rules(vec![policy]), &numbered(&all), 64);
    }
    let policy = built_in("string_replacement", &json!({"replacements": {"a": "b"}}));
    let out = run(RESPONSES, &rules(vec![policy]), &numbered(&all), 64).out.concat();
    assert!(!out.is_empty());
}

/// The message is complete before the call that began first: its events all wait, and leave together.
#[test]
fn edits_stay_in_their_part_when_an_earlier_item_is_held() {
    let call = Made::call("fc_1", "call_1", "ls", &["{}"]);
    let message =
        Made::parts("msg_1", &[("output_text", &["one"], "one"), ("output_text", &["FORBIDDEN"], "FORBIDDEN")]);
    let items = [call, message];
    let mut first = placed(&items[0], 0);
    let end = first.split_off(1);
    let output: Vec<&str> = items.iter().map(|item| item.item.as_str()).collect();
    let all = [
        vec![lifecycle("created", ""), lifecycle("in_progress", "")],
        first,
        placed(&items[1], 1),
        end,
        vec![lifecycle("completed", &output.join(","))],
    ];
    let stream = numbered(&all.concat());
    let policy =
        built_in("string_replacement", &json!({"replacements": {"FORBIDDEN": "fine"}, "include_tool_calls": true}));
    let out = run(RESPONSES, &rules(vec![policy]), &stream, 64).out.concat();
    validator::assert_legal(RESPONSES, &out, "after the policy");
    let output = super::output(&out);
    let texts = [0, 1].map(|part| output[1]["content"][part]["text"].as_str().unwrap().to_owned());
    assert_eq!(texts, ["one", "fine"], "{}", String::from_utf8_lossy(&out));
}

/// Providers number as they like; an item that comes later with a lower number must not get one that is taken.
#[test]
fn items_out_of_order_keep_numbers_of_their_own() {
    let items = [
        Made::call("fc_1", "call_1", "rm", &["{}"]),
        Made::message("msg_1", &["a"], "a"),
        text().with(0, "msg_1", "msg_1"),
    ];
    let [call, first, _] = items;
    let second = Made::message("msg_2", &["b"], "b");
    let all = [
        vec![lifecycle("created", ""), lifecycle("in_progress", "")],
        placed(&first, 1),
        placed(&call, 2),
        placed(&second, 0),
        vec![lifecycle("completed", &[&*second.item, &*first.item, &*call.item].join(","))],
    ];
    let policy = built_in("tool_filter", &json!({"deny": ["rm"], "message": "no"}));
    let out = run(RESPONSES, &rules(vec![policy]), &numbered(&all.concat()), 64).out.concat();
    let mut places: Vec<u64> = super::data(&out)
        .iter()
        .filter(|event| event["type"] == "response.output_item.added")
        .filter_map(|event| event["output_index"].as_u64())
        .collect();
    let all = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), all, "two items at one place\n{}", String::from_utf8_lossy(&out));
}

/// The ids of what policies made in two answers of one conversation, which goes back to the provider as a whole.
#[test]
fn what_is_made_has_ids_that_no_other_answer_has() {
    let ids = |call: &str| -> Vec<String> {
        let rules = rules(vec![built_in("tool_filter", &json!({"deny": ["rm"], "message": "no"}))]);
        let head = super::super::support::call(RESPONSES);
        let runners = luthien::pipeline::select(&rules, &head);
        let setup = luthien::pipeline::Setup::native(RESPONSES, call.into(), Release::Block, LIMITS);
        let mut run = Run::new(luthien::pipeline::Response::stream(setup, runners));
        run.push(&stream(&[Made::call("fc_1", "call_1", "rm", &["{}"])]));
        run.finish();
        super::output(&run.out.concat()).iter().filter_map(|item| item["id"].as_str().map(str::to_owned)).collect()
    };
    assert_ne!(ids("call-a"), ids("call-b"), "the provider refuses a conversation with two items of one id");
}

/// A provider, or another gateway of this kind behind this one, has used such an id already.
#[test]
fn an_id_that_is_like_ours() {
    let items = [Made::message("msg_luthien_1", &["a"], "a"), Made::call("fc_1", "call_1", "rm", &["{}"])];
    let policy = built_in("tool_filter", &json!({"deny": ["rm"], "message": "no"}));
    let out = run(RESPONSES, &rules(vec![policy]), &stream(&items), 64).out.concat();
    validator::assert_legal(RESPONSES, &out, "after the policy");
}

/// Items of kinds that nobody here knows, with their texts in parts.
#[test]
fn an_unknown_item_with_parts() {
    for item in [
        r#"{"id":"am_1","type":"agent_message","content":[{"type":"input_text","text":"FORBIDDEN"}]}"#,
        r#"{"id":"x_1","type":"later","content":[{"type":"text","text":"FORBIDDEN"}]}"#,
        r#"{"id":"x_1","type":"later","summary":[{"type":"later_text","text":"FORBIDDEN"}]}"#,
    ] {
        hidden_body(WORD, &body(&[item]));
        hidden(WORD, WORD, &numbered(&events(&[Made::of(item, Vec::new(), item)])));
    }
}

/// A chunk of the older protocol, whose events have no type.
#[test]
fn a_chunk_of_chat_completions() {
    let mut all = events(&[text()]);
    let last = all.len() - 1;
    all.insert(last, lifecycle("in_progress", ""));
    let stream = String::from_utf8(numbered(&all).to_vec()).unwrap();
    let chunk = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"FORBIDDEN\"}}]}\n\n";
    let at = stream.find("event: response.completed").unwrap();
    hidden(WORD, WORD, &format!("{}{chunk}{}", &stream[..at], &stream[at..]).into());
}

/// What the codec remembers of an answer counts as held.
#[test]
fn what_is_remembered_is_accounted_for() {
    let none = rules(Vec::new());
    let mut problems = Vec::new();
    // Ids and names of items.
    let name = "n".repeat(16 << 10);
    let items: Vec<Made> =
        (0..100).map(|n| Made::call(&format!("fc_{n}_{name}"), &format!("call_{n}"), &name, &["{}"])).collect();
    let mut run = Run::new(response(RESPONSES, &none, LIMITS));
    let all = events(&items);
    for data in &all[..all.len() - 1] {
        run.push(&numbered(std::slice::from_ref(data)));
    }
    let known = 100 * 3 * (16 << 10);
    if run.response.held() < known / 2 && !run.response.is_done() {
        problems.push(format!("{known} bytes of ids and names are kept, held() says {}", run.response.held()));
    }
    // Parts, of which a digest each is kept.
    let mut run = Run::new(response(RESPONSES, &none, LIMITS));
    let begin = [lifecycle("created", ""), placed(&text(), 0)[0].clone()];
    run.push(&numbered(&begin));
    let parts: Vec<String> = (0..20_000)
        .map(|at| format!(r#"{{"type":"response.content_part.added","item_id":"msg_1","output_index":0,"content_index":{at},"part":{{"type":"output_text","text":""}}}}"#))
        .collect();
    for chunk in parts.chunks(1000) {
        run.push(&numbered(chunk));
    }
    if run.response.held() < 20_000 * 64 && !run.response.is_done() {
        problems.push(format!("20000 parts are kept, held() says {}", run.response.held()));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
