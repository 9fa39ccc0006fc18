//! A denied tool and a forbidden word leave in no form, wherever in a Responses answer they stand: what clients read
//! from different places must be one thing, or nothing of it.

use bytes::Bytes;
use luthien::model::Dialect;
use serde_json::json;

use super::{
    super::{
        hiding::{TOOL, WORD, check, enforcing, forbids},
        support::{built_in, rules, run, run_body},
        validator,
    },
    BEFORE, Made, body, events, lifecycle, numbered, placed,
};

const RESPONSES: Dialect = Dialect::OpenaiResponses;

/// What is forbidden, the secret that must not leave, and a stream that has it.
type Case = (&'static str, &'static str, Vec<String>);

fn text() -> Made {
    Made::message("msg_1", &["a"], "a")
}

fn call(name: &str) -> Made {
    Made::call("fc_1", "call_1", name, &["{}"])
}

/// A stream with other events before its last.
fn before_end(items: &[Made], more: &[String]) -> Vec<String> {
    let mut events = events(items);
    let last = events.len() - 1;
    events.splice(last..last, more.iter().cloned());
    events
}

/// A stream with one event changed.
fn changed(items: &[Made], event: usize, from: &str, to: &str) -> Vec<String> {
    let mut events = events(items);
    assert!(events[event].contains(from), "{} has no {from}", events[event]);
    events[event] = events[event].replacen(from, to, 1);
    events
}

fn check_all(cases: Vec<Case>) {
    for (hides, secret, events) in cases {
        let stream = numbered(&events);
        check(RESPONSES, hides, secret, &stream);
        check_passes(&stream);
    }
}

/// The same for streams that no provider should send.
fn check_wrong(cases: Vec<Case>) {
    for (_, _, events) in &cases {
        let problems = validator::problems(RESPONSES, &numbered(events));
        assert!(!problems.is_empty(), "nothing is wrong with {events:#?}");
    }
    check_all(cases);
}

/// Where no policy enforces, everything leaves as it came.
fn check_passes(stream: &Bytes) {
    for policies in [Vec::new(), vec![built_in("noop", &json!({}))]] {
        let out = run(RESPONSES, &rules(policies), stream, 64).out.concat();
        assert!(out == *stream, "{}\nof {}", String::from_utf8_lossy(&out), String::from_utf8_lossy(stream));
    }
}

const MESSAGE: &str = r#"{"id":"msg_9","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"FORBIDDEN","annotations":[],"logprobs":[]}]}"#;
const CALL: &str =
    r#"{"id":"fc_9","type":"function_call","status":"completed","call_id":"call_9","name":"sesame","arguments":"{}"}"#;

#[test]
fn in_its_own_place() {
    let word = |deltas: &[&str]| events(&[Made::message("msg_1", deltas, "a FORBIDDEN b")]);
    let refusal = Made::parts("msg_1", &[("refusal", &["FORBIDDEN"], "FORBIDDEN")]);
    let input = Made::custom("ctc_1", "call_1", "ok", &["FORB", "IDDEN"]);
    let arguments = Made::call("fc_1", "call_1", "ok", &["{\\\"a\\\":\\\"FORB", "IDDEN\\\"}"]);
    check_all(vec![
        (WORD, WORD, word(&["a FORBIDDEN b"])),
        (WORD, "IDDEN", word(&["a FORB", "IDDEN b"])),
        (WORD, "IDDEN", word(&["a \\u0046ORB", "IDDEN b"])),
        (WORD, WORD, events(&[refusal])),
        (WORD, "IDDEN", events(&[input])),
        (WORD, "IDDEN", events(&[arguments])),
        (TOOL, TOOL, events(&[call(TOOL)])),
        (TOOL, TOOL, events(&[text(), call(" sesame")])),
        (TOOL, "sesam", events(&[call("sesam\\u0065")])),
        (TOOL, TOOL, events(&[Made::custom("ctc_1", "call_1", TOOL, &["x"])])),
    ]);
}

#[test]
fn in_one_of_the_places_that_repeat_a_text() {
    let second = |item: &Made, from: usize, to: &str| item.clone().with(from, "\"a\"", to);
    let mut cases: Vec<Case> = Vec::new();
    // The delta, its end, the part's end, the item's.
    for event in 2..6 {
        cases.push((WORD, WORD, events(&[second(&text(), event, "\"FORBIDDEN\"")])));
    }
    let last = events(&[text()]).len() - 1;
    cases.push((WORD, WORD, changed(&[text()], last, "\"text\":\"a\"", "\"text\":\"FORBIDDEN\"")));
    // The text goes on only there.
    for event in 3..6 {
        cases.push((WORD, "IDDEN", {
            let split = Made::message("msg_1", &["a FORB"], "a FORB");
            events(&[split.with(event, "a FORB\"", "a FORBIDDEN\"")])
        }));
    }
    let refusal = || Made::parts("msg_1", &[("refusal", &["a"], "a")]);
    for event in 2..6 {
        cases.push((WORD, WORD, events(&[second(&refusal(), event, "\"FORBIDDEN\"")])));
    }
    let custom = || Made::custom("ctc_1", "call_1", "ok", &["a"]);
    for event in 1..4 {
        cases.push((WORD, WORD, events(&[second(&custom(), event, "\"FORBIDDEN\"")])));
    }
    for event in 1..4 {
        let to = "{\\\"a\\\":\\\"FORBIDDEN\\\"}\"";
        cases.push((WORD, WORD, events(&[call("ok").with(event, "{}\"", to)])));
    }
    // Before it is streamed.
    let at_once = r#""content":[{"type":"output_text","text":"FORBIDDEN","annotations":[]}]"#;
    cases.push((WORD, WORD, events(&[text().with(0, "\"content\":[]", at_once)])));
    cases.push((WORD, WORD, events(&[text().with(1, "\"text\":\"\"", "\"text\":\"FORBIDDEN\"")])));
    cases.push((WORD, WORD, events(&[call("ok").with(0, "\"arguments\":\"\"", "\"arguments\":\"FORBIDDEN\"")])));
    cases.push((WORD, WORD, events(&[custom().with(0, "\"input\":\"\"", "\"input\":\"FORBIDDEN\"")])));
    // In the convenience of the terminal object.
    cases.push((WORD, WORD, changed(&[text()], last, "\"x\":1e3", "\"output_text\":\"FORBIDDEN\"")));
    check_wrong(cases);
}

#[test]
fn in_items_that_were_never_streamed() {
    let last = events(&[text()]).len() - 1;
    let mut cases: Vec<Case> = Vec::new();
    for (hides, item) in [(WORD, MESSAGE), (TOOL, CALL)] {
        for end in ["completed", "incomplete", "failed"] {
            let mut events = events(&[text()]);
            events[last] = lifecycle(end, &format!("{},{item}", text().item));
            cases.push((hides, hides, events));
        }
        let mut instead = events(&[text()]);
        instead[last] = lifecycle("completed", &item.replace("msg_9", "msg_1").replace("fc_9", "msg_1"));
        cases.push((hides, hides, instead));
        for first in 0..BEFORE {
            cases.push((hides, hides, changed(&[text()], first, "\"output\":[]", &format!("\"output\":[{item}]"))));
        }
        for word in ["created", "in_progress", "queued"] {
            cases.push((hides, hides, before_end(&[text()], &[lifecycle(word, item)])));
        }
        let done = format!(r#"{{"type":"response.output_item.done","output_index":1,"item":{item}}}"#);
        cases.push((hides, hides, before_end(&[text()], std::slice::from_ref(&done))));
        // Another item at the place of one, when it begins and when it ends.
        let again = done.replace("\"output_index\":1", "\"output_index\":0");
        cases.push((hides, hides, before_end(&[text()], std::slice::from_ref(&again))));
        cases.push((hides, hides, before_end(&[text()], &[again.replace("item.done", "item.added")])));
        cases.push((hides, hides, before_end(&[text()], &[done.replace("item.done", "item.added")])));
        // Behind the end.
        let mut behind = events(&[text()]);
        behind.extend([done.replace("item.done", "item.added"), done, lifecycle("completed", item)]);
        cases.push((hides, hides, behind));
        let mut twice = events(&[text()]);
        twice.push(lifecycle("completed", item));
        cases.push((hides, hides, twice));
    }
    let mut goes_on = events(&[Made::message("msg_1", &["FORB"], "FORB")]);
    goes_on.push(placed(&Made::message("msg_1", &["IDDEN"], "IDDEN"), 0)[2].clone());
    cases.push((WORD, "IDDEN", goes_on));
    check_wrong(cases);
}

#[test]
fn in_what_is_one_thing_at_first_and_another_in_the_end() {
    let last = events(&[call("ok")]).len() - 1;
    let ok = |event: usize| call("ok").with(event, "\"ok\"", "\"sesame\"");
    let secret = || Made::message("msg_1", &["FORBIDDEN"], "FORBIDDEN");
    let mut cases: Vec<Case> = vec![
        (TOOL, TOOL, events(&[ok(0)])),
        (TOOL, TOOL, events(&[ok(3)])),
        (TOOL, TOOL, events(&[call("ok").with(2, "\"arguments\"", "\"name\":\"sesame\",\"arguments\"")])),
        (TOOL, TOOL, changed(&[call("ok")], last, "\"ok\"", "\"sesame\"")),
        // Whose text it is, and what kind of text.
        (WORD, WORD, events(&[secret().with(2, "output_text.delta", "refusal.delta")])),
        (WORD, WORD, events(&[secret().with(2, "output_text.delta", "reasoning_text.delta")])),
        (WORD, WORD, events(&[secret().with(2, "output_text.delta", "function_call_arguments.delta")])),
        (WORD, WORD, events(&[secret().with(1, "\"output_text\"", "\"refusal\"")])),
        (WORD, WORD, events(&[secret().with(4, "\"output_text\"", "\"refusal\"")])),
        (WORD, WORD, events(&[secret().with(1, "\"output_text\"", "\"later\"")])),
        (WORD, WORD, events(&[secret().with(0, "\"message\"", "\"reasoning\"")])),
        (WORD, WORD, events(&[secret().with(0, "\"assistant\"", "\"tool\"").with(5, "\"assistant\"", "\"tool\"")])),
        (WORD, WORD, events(&[secret().with(2, "\"output_index\":\"@place\"", "\"output_index\":7")])),
        (WORD, WORD, events(&[secret().with(2, "\"output_index\":\"@place\"", "\"output_index\":0.0")])),
        (WORD, WORD, events(&[secret().with(2, "\"content_index\":0", "\"content_index\":1")])),
        (WORD, WORD, events(&[secret().with(2, "\"content_index\":0", "\"content_index\":\"0\"")])),
        (WORD, WORD, events(&[text().with(2, "output_text.delta", "later.delta").with(2, "\"a\"", "\"FORBIDDEN\"")])),
        (WORD, WORD, events(&[text().with(5, "[{\"type\"", "\"FORBIDDEN\",\"was\":[{\"type\"")])),
    ];
    // Some clients go by the item's id and some by its place.
    let other = Made::message("msg_2", &["IDDEN"], "IDDEN").with(2, "\"msg_2\"", "\"msg_1\"");
    cases.push((WORD, "IDDEN", events(&[Made::message("msg_1", &["FORB"], "FORB"), other])));
    let same = Made::message("msg_1", &["IDDEN"], "IDDEN");
    cases.push((WORD, "IDDEN", events(&[Made::message("msg_1", &["FORB"], "FORB"), same])));
    check_wrong(cases);
}

/// Nobody can say what a client makes of it that knows more.
#[test]
fn in_what_nobody_knows() {
    let mut cases: Vec<Case> = Vec::new();
    let later = r#"{"id":"x_1","type":"later","text":"FORBIDDEN"}"#;
    cases.push((WORD, WORD, events(&[Made::of(later, Vec::new(), later)])));
    let part = r#"{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"later","text":"FORBIDDEN"}]}"#;
    cases.push((WORD, WORD, events(&[Made::of(&part.replace("FORBIDDEN", ""), Vec::new(), part)])));
    let audio = r#"{"type":"response.audio.transcript.delta","delta":"FORBIDDEN"}"#;
    cases.push((WORD, WORD, before_end(&[text()], &[audio.to_owned()])));
    check_all(cases);
}

/// Clients that take the first of two members, and clients that take the last.
#[test]
fn in_one_of_two_equal_members() {
    let mut cases: Vec<Case> = Vec::new();
    for [one, two] in [["ok", "sesame"], ["sesame", "ok"]] {
        for event in [0, 3] {
            let names = format!("\"name\":\"{one}\",\"name\":\"{two}\"");
            cases.push((TOOL, TOOL, events(&[call("ok").with(event, "\"name\":\"ok\"", &names)])));
        }
    }
    for [one, two] in [["a", "FORBIDDEN"], ["FORBIDDEN", "a"]] {
        for (event, key) in [(2, "delta"), (3, "text"), (4, "text"), (5, "text")] {
            let to = format!("\"{key}\":\"{one}\",\"{key}\":\"{two}\"");
            cases.push((WORD, WORD, events(&[text().with(event, &format!("\"{key}\":\"a\""), &to)])));
        }
    }
    let last = events(&[text()]).len() - 1;
    for (hides, item) in [(WORD, MESSAGE), (TOOL, CALL)] {
        let two = |key: &str, value: &str| format!("\"{key}\":{value},\"{key}\":");
        cases.push((hides, hides, changed(&[text()], last, "\"output\":", &two("output", &format!("[{item}]")))));
        cases.push((hides, hides, events(&[text().with(0, "\"item\":", &two("item", item))])));
        cases.push((hides, hides, events(&[text().with(5, "\"item\":", &two("item", item))])));
        let response = format!(r#"{{"id":"resp_1","status":"completed","output":[{item}]}}"#);
        cases.push((hides, hides, changed(&[text()], last, "\"response\":", &two("response", &response))));
        let kinds = r#""type":"response.later","type":"response.output_item.done""#;
        let done = format!(r#"{{{kinds},"output_index":1,"item":{item}}}"#);
        cases.push((hides, hides, before_end(&[text()], &[done])));
    }
    check_all(cases);
}

/// What an event is called beside its data, which is all that some clients go by.
#[test]
fn behind_another_name() {
    let stream = numbered(&events(&[text().with(2, "\"a\"", "\"FORBIDDEN\"")]));
    let stream = String::from_utf8(stream.to_vec()).unwrap();
    let marked = stream.replacen("data: {\"type\":\"response.output_text.delta\"", "data: {\"type\":\"keepalive\"", 1);
    check(RESPONSES, WORD, WORD, &marked.clone().into());
    check_passes(&marked.into());
    let named = stream.replacen("event: response.output_text.delta", "event: keepalive", 1);
    check(RESPONSES, WORD, WORD, &named.clone().into());
    check_passes(&named.into());
    let unnamed = numbered(&events(&[Made::message("msg_1", &["FORBIDDEN"], "FORBIDDEN"), call(TOOL)]));
    let unnamed = String::from_utf8(unnamed.to_vec()).unwrap();
    let unnamed: String =
        unnamed.lines().filter(|line| !line.starts_with("event:")).fold(String::new(), |out, line| out + line + "\n");
    check(RESPONSES, TOOL, TOOL, &unnamed.clone().into());
    check(RESPONSES, WORD, WORD, &unnamed.into());
    let hidden = numbered(&events(&[call(TOOL)]));
    let hidden = String::from_utf8(hidden.to_vec()).unwrap().replace("\ndata:", "\n\u{feff}data:");
    check(RESPONSES, TOOL, TOOL, &hidden.into());
}

/// What has a secret in no place, and is still two things to two clients.
#[test]
fn what_says_two_things_ends_where_a_policy_enforces() {
    let last = events(&[call("ok")]).len() - 1;
    let two = || [call("ok"), Made::message("msg_1", &["a"], "a")];
    let end = events(&two()).len() - 1;
    let swapped = lifecycle("completed", &format!("{},{}", two()[1].item, two()[0].item));
    let mut reordered = events(&two());
    reordered[end] = swapped;
    let cases = [
        events(&[call("ok").with(3, "\"call_1\"", "\"call_2\"")]),
        events(&[call("ok").with(0, "\"call_1\"", "\"call_2\"")]),
        changed(&[call("ok")], last, "\"call_1\"", "\"call_2\""),
        changed(&[call("ok")], last, "\"arguments\":\"{}\"", "\"arguments\":\"{ }\""),
        events(&[text().with(3, "\"a\"", "\"b\"")]),
        events(&[text().with(5, "\"a\"", "\"b\"")]),
        changed(&[text()], events(&[text()]).len() - 1, "\"text\":\"a\"", "\"text\":\"b\""),
        reordered,
    ];
    for case in cases {
        let stream = numbered(&case);
        check_passes(&stream);
        for (name, policy) in enforcing() {
            let out = run(RESPONSES, &rules(vec![policy]), &stream, 64).out.concat();
            let out = String::from_utf8(out).unwrap();
            assert!(out.contains("cannot be read"), "{name}: {out}\nof {}", String::from_utf8_lossy(&stream));
            validator::assert_legal(RESPONSES, out.as_bytes(), name);
        }
    }
}

#[test]
fn in_a_whole_body() {
    let part = |part: &str| {
        MESSAGE.replace(r#"{"type":"output_text","text":"FORBIDDEN","annotations":[],"logprobs":[]}"#, part)
    };
    let with = |from: &str, to: &str| {
        let body = String::from_utf8(body(&[&text().item]).to_vec()).unwrap();
        assert!(body.contains(from));
        Bytes::from(body.replacen(from, to, 1))
    };
    let cases: Vec<(&str, Bytes)> = vec![
        (TOOL, body(&[CALL])),
        (TOOL, body(&[&text().item, CALL])),
        (TOOL, body(&[&CALL.replace("\"name\":", "\"name\":\"ok\",\"name\":")])),
        (TOOL, body(&[&CALL.replace("\"sesame\"", "\"sesame\",\"name\":\"ok\"")])),
        (TOOL, body(&[&Made::custom("ctc_1", "call_1", TOOL, &["x"]).item])),
        (TOOL, with("\"output\":[", &format!("\"output\":[{CALL}],\"output\":["))),
        (TOOL, with("\"x\":1e3", &format!("\"output\":[{CALL}]"))),
        (WORD, body(&[MESSAGE])),
        (WORD, body(&[&MESSAGE.replace("assistant", "tool")])),
        (WORD, body(&[&part(r#"{"type":"refusal","refusal":"FORBIDDEN"}"#)])),
        (WORD, body(&[&part(r#"{"type":"output_text","text":"a","text":"FORBIDDEN"}"#)])),
        (WORD, body(&[&part(r#"{"type":"output_text","text":"FORBIDDEN","text":"a"}"#)])),
        (WORD, body(&[&part(r#"{"type":"output_text","text":"a","refusal":"FORBIDDEN"}"#)])),
        (WORD, body(&[&part(r#"{"type":"refusal","refusal":"a","text":"FORBIDDEN"}"#)])),
        (WORD, body(&[&part(r#"{"type":"later","text":"FORBIDDEN"}"#)])),
        (WORD, body(&[&part("\"FORBIDDEN\"")])),
        (WORD, body(&[r#"{"id":"msg_1","type":"message","role":"assistant","content":"FORBIDDEN"}"#])),
        (WORD, body(&[r#"{"id":"x_1","type":"later","text":"FORBIDDEN"}"#])),
        (WORD, body(&["\"FORBIDDEN\""])),
        (WORD, body(&[&Made::custom("ctc_1", "call_1", "ok", &["FORBIDDEN"]).item])),
        (WORD, body(&[&CALL.replace("sesame", "ok").replace("\"{}\"", "{\"a\":\"FORBIDDEN\"}")])),
        (WORD, with("\"x\":1e3", "\"output_text\":\"FORBIDDEN\"")),
        (WORD, with("\"output\":[", "\"was\":[")),
    ];
    for (hides, body) in cases {
        let has_secret = String::from_utf8_lossy(&body).contains(hides);
        assert_eq!(run_body(RESPONSES, &rules(vec![built_in("noop", &json!({}))]), &body), body);
        for (name, factory) in enforcing().into_iter().filter(|(name, _)| forbids(name, hides)) {
            let out = run_body(RESPONSES, &rules(vec![factory]), &body);
            let out = String::from_utf8_lossy(&out).into_owned();
            assert!(!out.contains(hides), "{name}: {out}\nof {}", String::from_utf8_lossy(&body));
            assert!(has_secret || out.is_empty(), "{name}: a body without output: {out}");
        }
    }
}
