//! Each rule of the validator, broken once: what an encoder gets wrong is told by its name.

use luthien::model::Dialect;

use super::{super::validator, BEFORE, Made, events, lifecycle, numbered};

fn items() -> Vec<Made> {
    vec![Made::message("msg_1", &["a"], "a"), Made::call("fc_1", "call_1", "ls", &["{}"])]
}

/// The stream with some events changed, and what must be said of it.
fn told(problem: &str, change: impl FnOnce(&mut Vec<String>)) {
    let mut events = events(&items());
    change(&mut events);
    told_of(problem, &numbered(&events));
}

fn told_of(problem: &str, body: &[u8]) {
    let problems = validator::problems(Dialect::OpenaiResponses, body);
    assert!(problems.iter().any(|found| found.contains(problem)), "not `{problem}`: {problems:#?}");
}

/// Places of the events: those of the message, then those of the call.
const ADDED: usize = BEFORE;
const DELTA: usize = BEFORE + 2;
const TEXT_DONE: usize = BEFORE + 3;
const PART_DONE: usize = BEFORE + 4;
const ITEM_DONE: usize = BEFORE + 5;
const CALL_ADDED: usize = BEFORE + 6;
const CALL_DELTA: usize = BEFORE + 7;
const CALL_DONE: usize = BEFORE + 9;

fn swap(events: &mut [String], at: usize, from: &str, to: &str) {
    assert!(events[at].contains(from), "{} has no {from}", events[at]);
    events[at] = events[at].replace(from, to);
}

#[test]
fn in_the_order_of_events() {
    told("response.created is not the first", |events| drop(events.remove(0)));
    told("response.created is not the first", |events| events.insert(2, lifecycle("created", "")));
    told("the stream does not end", |events| drop(events.pop()));
    told("something stands behind the end", |events| events.push(lifecycle("in_progress", "")));
    told("an event of an item that was not added", |events| drop(events.remove(ADDED)));
    told("text of a part that was not added", |events| drop(events.remove(ADDED + 1)));
    told("a part is done before its text is", |events| drop(events.remove(TEXT_DONE)));
    told("an item is done before its parts are", |events| drop(events.remove(PART_DONE)));
    told("the end while an item is open", |events| drop(events.remove(ITEM_DONE)));
    told("a part says another text than the deltas", |events| drop(events.remove(DELTA)));
    told("an item goes on behind its end", |events| {
        let delta = events.remove(DELTA);
        events.insert(ITEM_DONE, delta);
    });
    told("a call is done before its text is", |events| drop(events.remove(CALL_DONE - 1)));
}

#[test]
fn in_numbers_and_names() {
    told("a gap in output_index", |events| swap(events, CALL_ADDED, "\"output_index\":1", "\"output_index\":2"));
    told("a gap in output_index", |events| swap(events, CALL_ADDED, "\"output_index\":1", "\"output_index\":0"));
    told("a gap in the indices of parts", |events| {
        swap(events, ADDED + 1, "\"content_index\":0", "\"content_index\":1");
    });
    told("item_id is not that of the item", |events| swap(events, DELTA, "msg_1", "msg_2"));
    told("two items have one id", |events| swap(events, CALL_ADDED, "fc_1", "msg_1"));
    told("a call without call_id or name", |events| swap(events, CALL_ADDED, "\"call_id\":\"call_1\",", ""));
    told("what an item is changes", |events| swap(events, CALL_DONE, "call_1", "call_2"));
    told("a message of another role", |events| swap(events, ADDED, "assistant", "user"));
    told("the id of the response changes", |events| swap(events, 1, "resp_1", "resp_2"));
    let body = String::from_utf8(numbered(&events(&items())).to_vec()).unwrap();
    let told_with = |problem: &str, from: &str, to: &str| told_of(problem, body.replacen(from, to, 1).as_bytes());
    told_with("sequence_number does not go up by one", "\"sequence_number\":4", "\"sequence_number\":5");
    told_with("sequence_number does not go up by one", "\"sequence_number\":0", "\"sequence_number\":1");
    told_with("an event has no sequence_number", "\"sequence_number\":4,", "");
    told_with("not called what its type says", "event: response.output_text.done", "event: message");
    told_with("not called what its type says", "event: response.output_text.done\n", "");
    told_of("[DONE] is no event of this dialect", format!("{body}data: [DONE]\n\n").as_bytes());
}

#[test]
fn in_what_is_said_again() {
    let other = |events: &mut Vec<String>, at: usize| swap(events, at, "\"text\":\"a\"", "\"text\":\"b\"");
    told("a text ends as another than its deltas", |events| other(events, TEXT_DONE));
    told("a part says another text than the deltas", |events| other(events, PART_DONE));
    told("an item says a part differently", |events| other(events, ITEM_DONE));
    let end = events(&items()).len() - 1;
    told("the terminal output says an item differently", |events| other(events, end));
    told("an item says its text differently", |events| swap(events, CALL_DONE, "\"{}\"", "\"{ }\""));
    told("the terminal output has other items", |events| events[end] = lifecycle("completed", &items()[0].item));
    told("the terminal output has another item", |events| {
        events[end] = lifecycle("completed", &format!("{},{}", items()[1].item, items()[0].item));
    });
    told("the terminal output is not a list", |events| events[end] = lifecycle("completed", "").replace("[]", "null"));
    told("output_text is not what the items say", |events| swap(events, end, "\"x\":1e3", "\"output_text\":\"b\""));
    told("a response has output before it is streamed", |events| {
        events[1] = lifecycle("in_progress", &items()[0].item);
    });
    let tokens = "\"logprobs\":[{\"token\":\"b\"}]";
    for at in [DELTA, TEXT_DONE, PART_DONE] {
        told("log probabilities are of another text", |events| swap(events, at, "\"logprobs\":[]", tokens));
    }
    let cited = "\"annotations\":[{\"type\":\"url_citation\",\"start_index\":0,\"end_index\":9}]";
    told("an annotation that no event added", |events| swap(events, PART_DONE, "\"annotations\":[]", cited));
    told("an annotation of more than the text", |events| swap(events, PART_DONE, "\"annotations\":[]", cited));
    told("a text without annotations", |events| swap(events, PART_DONE, ",\"annotations\":[]", ""));
}

#[test]
fn in_how_it_ends() {
    let end = events(&items()).len() - 1;
    told("response.completed with the status in_progress", |events| {
        swap(events, end, "\"status\":\"completed\",\"error\"", "\"status\":\"in_progress\",\"error\"");
    });
    told("incomplete_details does not fit", |events| swap(events, end, "completed", "incomplete"));
    told("an item is in progress at its end", |events| {
        swap(events, ITEM_DONE, "\"status\":\"completed\"", "\"status\":\"in_progress\"");
    });
    told("an error without a code", |events| events[end] = lifecycle("failed", "").replace("\"code\"", "\"was\""));
    told("an error without a message", |events| {
        events[end] = lifecycle("failed", "").replace("\"message\"", "\"was\"");
    });
    told("the output of a failure has", |events| {
        events[end] = lifecycle("failed", &items()[0].item.replace("msg_1", "msg_2"));
    });
    told("an error without a message", |events| events[end] = r#"{"type":"error","error":{}}"#.to_owned());
    for (text, problem) in [("{", "half of a tool call was closed"), ("{]", "the arguments of a call are not JSON")] {
        told(problem, |events| {
            for event in &mut events[CALL_DELTA..=end] {
                *event = event.replace("\"{}\"", &format!("\"{text}\""));
            }
        });
    }
}
