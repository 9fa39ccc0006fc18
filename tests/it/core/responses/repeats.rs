//! One text in five places: what a policy makes of it stands in all of them, with nothing beside it that is of the old.

use std::sync::Arc;

use luthien::{
    model::{Block, BlockKind, Dialect},
    policy::{Factory, Fate},
};
use serde_json::{Value, json};

use super::{
    super::{
        reader,
        repairs::By,
        support::{Stream, built_in, rules, run, run_body, vector},
        validator,
    },
    Made, data, events, lifecycle, numbered, output, stream,
};

const RESPONSES: Dialect = Dialect::OpenaiResponses;

fn replace() -> Arc<dyn Factory> {
    built_in("string_replacement", &json!({"replacements": {"secret": "X"}, "include_tool_calls": true}))
}

fn after(stream: &[u8], policy: Arc<dyn Factory>) -> Vec<u8> {
    run(RESPONSES, &rules(vec![policy]), &stream.to_vec().into(), 5).out.concat()
}

#[test]
fn a_replaced_text_is_the_same_in_all_five_places() {
    let items = [
        Made::message("msg_1", &["the se", "cr", "et."], "the secret."),
        Made::parts("msg_2", &[("refusal", &["no sec", "ret"], "no secret")]),
        Made::call("fc_1", "call_1", "ls", &["{\\\"a\\\":\\\"sec", "ret\\\"}"]),
        Made::message("msg_3", &["nothing"], "nothing"),
    ];
    let out = after(&stream(&items), replace());
    validator::assert_legal(RESPONSES, &out, "replaced");
    let text = String::from_utf8(out.clone()).unwrap();
    assert!(!text.contains("secret") && !text.contains("cret") && !text.contains("\"sec"), "{text}");
    let texts: Vec<String> = reader::stream(RESPONSES, &out).texts().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["the X.", "no X", "{\"a\":\"X\"}", "nothing"]);
    // The part's end, the text's, the item's and the terminal object; the deltas may be cut anywhere.
    assert!(text.matches("the X.").count() >= 4, "{text}");
    assert_eq!(output(&out)[3], serde_json::from_str::<Value>(&items[3].item).unwrap());
    // What stood before the first change is as it came.
    let same = stream(&items).iter().zip(&out).take_while(|(one, other)| one == other).count();
    assert!(String::from_utf8_lossy(&out[..same]).contains("response.content_part.added"), "{same}");
}

#[test]
fn a_text_held_back_to_its_end_is_said_before_its_end_is() {
    let out = after(&stream(&[Made::message("msg_1", &["a sec"], "a sec")]), replace());
    assert_eq!(out, stream(&[Made::message("msg_1", &["a sec"], "a sec")]));
    // Both at once: one text that changed, and one whose end was held back.
    let items = [Made::message("msg_1", &["secret"], "secret"), Made::message("msg_2", &["a sec"], "a sec")];
    let out = after(&stream(&items), replace());
    validator::assert_legal(RESPONSES, &out, "held back");
    let texts: Vec<String> = reader::stream(RESPONSES, &out).texts().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["X", "a sec"]);
}

/// A text with an annotation and log probabilities.
fn cited(id: &str, text: &str) -> Made {
    let tokens = format!(r#""logprobs":[{{"token":"{text}","logprob":-0.1,"top_logprobs":[]}}]"#);
    let annotation = r#"{"type":"url_citation","start_index":0,"end_index":3,"url":"https://secret.test","title":"t"}"#;
    let mut made =
        Made::message(id, &[text], text).with(2, "\"logprobs\":[]", &tokens).with(3, "\"logprobs\":[]", &tokens);
    for event in [4, 5] {
        made = made.with(event, "\"annotations\":[]", &format!("\"annotations\":[{annotation}]")).with(
            event,
            "\"logprobs\":[]",
            &tokens,
        );
    }
    let added = format!(
        r#"{{"type":"response.output_text.annotation.added","item_id":"{id}","output_index":"@place","content_index":0,"annotation_index":0,"annotation":{annotation}}}"#
    );
    made.events.insert(3, added);
    let done: Value = serde_json::from_str(&made.events.last().unwrap().replace("\"@place\"", "0")).unwrap();
    made.item = done["item"].to_string();
    made
}

#[test]
fn annotations_and_log_probabilities_go_with_the_text_that_they_are_of() {
    let items = [cited("msg_1", "the secret"), cited("msg_2", "the rest")];
    validator::assert_legal(RESPONSES, &stream(&items), "cited");
    let out = after(&stream(&items), replace());
    validator::assert_legal(RESPONSES, &out, "replaced");
    for event in data(&out) {
        let mine = event["output_index"] == 0 && event["type"] != "response.output_item.added";
        let text = event.to_string();
        if mine {
            assert!(!text.contains("url_citation") && !text.contains("\"logprob\""), "{text}");
            assert_ne!(event["type"], "response.output_text.annotation.added");
        }
    }
    let part = |item: usize| output(&out)[item]["content"][0].clone();
    assert_eq!((&part(0)["annotations"], &part(0)["logprobs"]), (&json!([]), &json!([])));
    assert_eq!(part(1)["annotations"].as_array().unwrap().len(), 1, "what did not change keeps them");
    assert_eq!(part(1)["logprobs"][0]["token"], "the rest");

    let listed: Vec<&str> = items.iter().map(|item| item.item.as_str()).collect();
    let whole = run_body(RESPONSES, &rules(vec![replace()]), &super::body(&listed));
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(whole["output"], Value::Array(output(&out)));
}

#[test]
fn the_convenience_of_the_terminal_object_follows() {
    let items = [Made::message("msg_1", &["a secret"], "a secret")];
    let mut events = events(&items);
    let last = events.len() - 1;
    events[last] = events[last].replace("\"x\":1e3", "\"output_text\":\"a secret\"");
    let out = after(&numbered(&events), replace());
    validator::assert_legal(RESPONSES, &out, "output_text");
    assert!(!String::from_utf8_lossy(&out).contains("secret"), "{}", String::from_utf8_lossy(&out));
}

/// Servers that say a text only once, and where: in the end of the arguments, in the item's end, in the terminal object.
fn said_once() -> Vec<(&'static str, Stream)> {
    let made = |events: &[String]| Stream {
        name: "made".to_owned(),
        class: None,
        accepted: true,
        dialect: RESPONSES,
        body: numbered(events),
    };
    let message = Made::message("msg_1", &["the secret"], "the secret");
    let without = |gone: &[usize]| {
        let mut events = events(std::slice::from_ref(&message));
        gone.iter().rev().for_each(|event| drop(events.remove(*event)));
        made(&events)
    };
    let arguments = vector("openai-responses/37-arguments-done-without-delta");
    let done_only = vector("openai-responses/38-item-done-without-added");
    let body = |stream: &Stream, from: &str, to: &str| {
        let text = String::from_utf8(stream.body.to_vec()).unwrap().replace(from, to);
        Stream { body: text.into(), name: stream.name.clone(), ..*stream }
    };
    vec![
        ("arguments.done", body(&arguments, r#"{\"x\":1}"#, r#"{\"x\":\"secret\"}"#)),
        ("item.done without added", body(&done_only, r#""text":"x""#, r#""text":"the secret""#)),
        ("text.done", without(&[4])),
        ("part.done", without(&[4, 5])),
        ("item.done", without(&[3, 4, 5, 6])),
        ("terminal object", without(&[2, 3, 4, 5, 6, 7])),
    ]
}

#[test]
fn a_text_that_is_said_once_is_a_text() {
    let edit = |block: &Block| match block.kind {
        BlockKind::Text | BlockKind::ToolCall { .. } if block.text.contains("secret") => {
            Fate::Replace(vec![Block { text: block.text.replace("secret", "X"), ..block.clone() }])
        }
        _ => Fate::Keep,
    };
    for (what, stream) in said_once() {
        assert!(String::from_utf8_lossy(&stream.body).contains("secret"), "{what}");
        let untouched = run(RESPONSES, &rules(Vec::new()), &stream.body, 9).out.concat();
        assert!(untouched == stream.body, "{what}: bytes changed without a policy");
        for policy in [replace(), Arc::new(By { fate: edit, added: Vec::new() })] {
            let out = after(&stream.body, policy);
            let text = String::from_utf8(out.clone()).unwrap();
            assert!(!text.contains("secret"), "{what}: {text}");
            // It may end with an error, or say the new text wherever a client looks.
            let read = reader::stream(RESPONSES, &out);
            if !text.contains("cannot be read") {
                assert!(read.texts().iter().any(|(_, text)| text.contains('X')), "{what}: {text}");
                assert!(output(&out)[0].to_string().contains('X'), "{what}: {text}");
            }
        }
    }
}

#[test]
fn a_policy_that_forbids_sees_a_text_that_is_said_once() {
    let policy = || built_in("blocked_content", &json!({"patterns": ["secret"], "message": "not that"}));
    for (what, stream) in said_once() {
        let out = after(&stream.body, policy());
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("secret"), "{what}: {text}");
        assert!(text.contains("not that") || text.contains("cannot be read"), "{what}: {text}");
    }
    assert!(!lifecycle("completed", "").contains("secret"));
}
