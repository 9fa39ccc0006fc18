//! Responses answers that end before their time, and events of ours in between.

use std::sync::Arc;

use bytes::Bytes;
use luthien::{
    model::{Dialect, Failure, FailureKind, Refusal, RefusalForm},
    pipeline::ResponseLimits,
    policy::{Factory, Watch},
};
use serde_json::{Value, json};

use super::{
    super::{
        reader::{self, Kind},
        support::{LIMITS, Run, Stream, WatchAll, before_error, built_in, response, rules, run, truncated},
        validator,
    },
    Made, data, events, lifecycle, numbered, output, stream,
};

const RESPONSES: Dialect = Dialect::OpenaiResponses;

/// A stream's events without their numbers, each as its text.
fn unnumbered(body: &[u8]) -> Vec<String> {
    let numbers = regex::Regex::new(r#""sequence_number": ?[0-9]+"#).unwrap();
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n");
    let events = text.split("\n\n").map(|event| numbers.replace(event, "").into_owned());
    events.filter(|event| event.contains("data:")).collect()
}

/// Panics unless what left is the stream with nothing but keepalives between its events, all numbered anew.
pub fn assert_only_keepalives_added(stream: &Stream, out: &[u8]) {
    validator::assert_legal(RESPONSES, out, &format!("{} with keepalives", stream.name));
    let mut rest = unnumbered(&stream.body).into_iter().peekable();
    let mut added = 0;
    for event in unnumbered(out) {
        if rest.next_if_eq(&event).is_none() {
            assert!(event.starts_with("event: response.in_progress\n"), "{}: {event}", stream.name);
            added += 1;
        }
    }
    assert!(rest.next().is_none() && added > 0, "{}: {added} keepalives, and events are lost", stream.name);
    let [first, others] = [true, false].map(|created| {
        let of = if created { "response.created" } else { "response.in_progress" };
        data(out)
            .into_iter()
            .filter(|event| event["type"] == of)
            .map(|event| event["response"].clone())
            .collect::<Vec<_>>()
    });
    assert!(others.iter().all(|other| *other == first[0]), "{}: a keepalive says another response", stream.name);
}

fn half() -> Vec<String> {
    let mut events = events(&[Made::message("msg_1", &["half", " of it"], "half of it")]);
    events.truncate(5);
    events
}

fn watching() -> Vec<Vec<Arc<dyn Factory>>> {
    vec![Vec::new(), vec![Arc::new(WatchAll(Watch::Deltas))], vec![Arc::new(WatchAll(Watch::Whole))]]
}

#[test]
fn a_stream_that_ends_without_its_end_is_told_to_be_cut() {
    let body = numbered(&half());
    for policies in watching() {
        let out = run(RESPONSES, &rules(policies), &body, 7).out.concat();
        assert_eq!(before_error(RESPONSES, &out, &truncated()), Some(&body[..]));
        validator::assert_legal(RESPONSES, &out, "cut");
        let last = data(&out).pop().unwrap();
        assert_eq!((&last["response"]["id"], &last["response"]["x"]), (&json!("resp_1"), &json!(1e3)));
    }
}

#[test]
fn a_failure_of_the_provider_passes_as_it_came() {
    let flat = r#"{"type":"error","code":"server_error","message":"m","param":null}"#;
    let nested = r#"{"type":"error","error":{"type":"server_error","code":"server_error","message":"m","param":null}}"#;
    for end in [lifecycle("failed", ""), flat.to_owned(), nested.to_owned()] {
        let body = numbered(&[half(), vec![end.clone()]].concat());
        for policies in watching() {
            let out = run(RESPONSES, &rules(policies), &body, 7).out.concat();
            assert!(out == body, "{}\nof {}", String::from_utf8_lossy(&out), String::from_utf8_lossy(&body));
        }
        // Behind an edit it is numbered anew.
        let begun = Made::message("msg_1", &["the secret"], "the secret");
        let items = [begun, Made::call("fc_1", "call_1", "rm", &["{}"]), Made::message("msg_2", &["a"], "a")];
        let mut events = events(&items);
        let last = events.len() - 1;
        events.truncate(last);
        events.push(end.clone());
        let out =
            run(RESPONSES, &rules(vec![built_in("tool_filter", &json!({"deny": ["rm"]}))]), &numbered(&events), 7);
        let out = out.out.concat();
        validator::assert_legal(RESPONSES, &out, &end);
        assert_eq!(data(&out).pop().unwrap()["type"], serde_json::from_str::<Value>(&end).unwrap()["type"]);
    }
}

#[test]
fn a_refusal_is_said_as_a_failure_that_no_client_repeats() {
    let mut run = Run::stream(RESPONSES, &rules(Vec::new()));
    run.push(&numbered(&half()));
    run.response.refuse(&Refusal::new("p", "<<not here>>"));
    run.out.extend(run.response.take_output());
    let out = run.out.concat();
    validator::assert_legal(RESPONSES, &out, "refused");
    let last = data(&out).pop().unwrap();
    assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.failed"), &json!("failed")));
    assert_eq!(last["response"]["error"]["code"], "invalid_prompt");
    assert!(last["response"]["error"]["message"].as_str().unwrap().contains("<<not here>>"));
    assert_eq!(last["response"]["output"], json!([]));
}

#[test]
fn a_polite_refusal_closes_what_is_open_and_completes() {
    let refusal = Refusal { form: RefusalForm::Message, ..Refusal::new("p", "<<not here>>") };
    let whole =
        [Made::call("fc_1", "call_1", "ls", &["{}"]), Made::message("msg_1", &["half", " of it"], "half of it")];
    let refusals = Made::parts("msg_1", &[("refusal", &["half", " of it"], "half of it")]);
    let reasoning = Made::reasoning("rs_1", &["half", "of it"]);
    for items in [whole.to_vec(), vec![refusals], vec![reasoning], vec![Made::message("msg_1", &[], "")]] {
        let all = events(&items);
        for events in 1..all.len() {
            let mut run = Run::stream(RESPONSES, &rules(vec![Arc::new(WatchAll(Watch::Deltas))]));
            run.push(&numbered(&all[..events]));
            run.response.refuse(&refusal);
            run.out.extend(run.response.take_output());
            let out = run.out.concat();
            validator::assert_legal(RESPONSES, &out, &format!("refused after {events}"));
            let last = data(&out).pop().unwrap();
            if last["type"] == "response.completed" {
                let items = output(&out);
                let said = items.last().expect("a message")["content"].as_array().unwrap().last().unwrap().clone();
                assert!(said["text"].as_str().unwrap().ends_with("<<not here>>"), "{said}");
                let texts = reader::stream(RESPONSES, &out).texts();
                assert!(texts.iter().any(|(kind, text)| *kind == Kind::Text && text.ends_with("<<not here>>")));
            } else {
                // Half of a call cannot be closed politely, nor can a reasoning without what only its provider can add.
                assert_eq!(last["response"]["error"]["code"], "invalid_prompt", "{last}");
                let half = |id: &str| all[events - 1].contains(id);
                assert!(half("fc_1") || half("rs_1"), "{events}: {last}");
            }
        }
    }
}

#[test]
fn a_failure_of_ours_says_the_whole_response() {
    let failure = Failure::new(FailureKind::Stalled, "silence");
    for events in 1..half().len() {
        let mut run = Run::stream(RESPONSES, &rules(vec![Arc::new(WatchAll(Watch::Whole))]));
        run.push(&numbered(&half()[..events]));
        run.response.fail(&failure);
        run.out.extend(run.response.take_output());
        let out = run.out.concat();
        validator::assert_legal(RESPONSES, &out, "failed");
        let last = data(&out).pop().unwrap();
        assert_eq!(last["response"]["error"], json!({"code": "server_error", "message": failure.message}));
        assert_eq!(last["response"]["model"], "m");
    }
}

#[test]
fn keepalives_say_the_response_as_it_began_also_while_all_is_held() {
    let items = [Made::message("msg_1", &["a", "b"], "ab"), Made::call("fc_1", "call_1", "ls", &["{}"])];
    let body = stream(&items);
    for policies in watching() {
        let mut run = Run::stream(RESPONSES, &rules(policies));
        for chunk in body.chunks(50) {
            run.push(&body.slice_ref(chunk));
            run.response.keepalive();
        }
        run.finish();
        let made =
            Stream { name: "made".to_owned(), class: None, accepted: true, dialect: RESPONSES, body: body.clone() };
        assert_only_keepalives_added(&made, &run.out.concat());
    }
    // Before anything of the response is known, and behind its end, there is nothing to say.
    let mut run = Run::stream(RESPONSES, &rules(Vec::new()));
    run.response.keepalive();
    run.push(&body);
    run.finish();
    run.response.keepalive();
    run.out.extend(run.response.take_output());
    let out = run.out.concat();
    validator::assert_legal(RESPONSES, &out, "too early and too late");
    assert_eq!(data(&out).len(), data(&body).len());
}

#[test]
fn limits_end_the_answer_and_nothing_held_leaves() {
    let items = [Made::call("fc_1", "call_1", "ls", &["{\\\"key\\\":\\\"sk-live-", "ABCDEF0123\\\"}"])];
    let body = stream(&items);
    let limited = |limits: ResponseLimits| {
        let mut run = Run::new(response(RESPONSES, &rules(vec![Arc::new(WatchAll(Watch::Whole))]), limits));
        for chunk in body.chunks(64) {
            run.push(&Bytes::copy_from_slice(chunk));
        }
        run.finish();
        String::from_utf8(run.out.concat()).unwrap()
    };
    let out = limited(ResponseLimits { held: 400, ..LIMITS });
    assert!(out.contains("limits.held (400 bytes)") && !out.contains("sk-"), "{out}");
    validator::assert_legal(RESPONSES, out.as_bytes(), "held");
    assert_eq!(limited(LIMITS).as_bytes(), body);
}
