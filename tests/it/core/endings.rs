//! Answers that end before their time: refused, failed, cut off, too large. And keepalives in between.

use std::sync::Arc;

use bytes::Bytes;
use luthien::{
    model::{Block, Dialect, Failure, FailureKind, Refusal, RefusalForm},
    pipeline::{Response, ResponseLimits},
    policy::{Fate, Halt, OnFault, Release, Step, Watch},
};

use super::{
    corpus::WHOLE,
    reader::{self, Item, Kind},
    repairs::By,
    support::{
        LIMITS, Run, Stream, WatchAll, before_error, response, rules, rules_with, run, streams, truncated, vector,
    },
    validator,
};
use crate::common::streams::Class;

/// The vectors that clients read to their end.
fn vectors() -> impl Iterator<Item = &'static Stream> {
    WHOLE.iter().filter(|stream| stream.class.is_some())
}

/// The events of a body, as they came.
fn frames(body: &Bytes) -> Vec<Bytes> {
    let mut out = Vec::new();
    luthien::wire::Framer::new(16 << 20).push(body, &mut out).unwrap();
    out.iter().map(|frame| frame.raw().clone()).collect()
}

/// Pushes so many events of a stream, then ends it.
fn ended(stream: &Stream, watch: Option<Watch>, events: usize, end: impl Fn(&mut Response)) -> Vec<u8> {
    let policies = watch.map(|watch| Arc::new(WatchAll(watch)) as _).into_iter().collect();
    let mut run = Run::stream(stream.dialect, &rules(policies));
    frames(&stream.body).iter().take(events).for_each(|frame| run.push(frame));
    end(&mut run.response);
    run.out.extend(run.response.take_output());
    run.out.concat()
}

#[test]
fn a_polite_refusal_is_a_legal_answer_wherever_it_comes() {
    let refusal = Refusal { form: RefusalForm::Message, ..Refusal::new("p", "<<not here>>") };
    let mut polite = 0;
    for stream in vectors() {
        for watch in [None, Some(Watch::Whole), Some(Watch::Deltas)] {
            for events in 0..frames(&stream.body).len() {
                let what = format!("{} refused after {events}, {watch:?}", stream.name);
                let out = ended(stream, watch, events, |response| response.refuse(&refusal));
                if stopped(stream, events) || stream.name.contains("35-cut-tool") {
                    continue;
                }
                validator::assert_legal(stream.dialect, &out, &what);
                let read = reader::stream(stream.dialect, &out);
                let said = read.texts().iter().any(|(kind, text)| *kind == Kind::Text && text.contains("<<not here>>"));
                let error = read.items.last() == Some(&Item::Error);
                assert!(said != error, "{what}: {read:?}");
                polite += usize::from(said);
            }
        }
    }
    assert!(polite > 100, "{polite}");
}

/// Whether a reason of the end is among the first events: what comes then cannot be polite, and need not be.
fn stopped(stream: &Stream, events: usize) -> bool {
    let read = reader::stream(stream.dialect, &frames(&stream.body)[..events].concat());
    read.items.iter().any(|item| matches!(item, Item::Stop(..) | Item::End))
}

#[test]
fn a_failure_is_the_last_word_wherever_it_comes() {
    let failure = Failure::new(FailureKind::Stalled, "silence");
    for stream in vectors() {
        for watch in [None, Some(Watch::Whole)] {
            for events in 0..frames(&stream.body).len() {
                let out = ended(stream, watch, events, |response| response.fail(&failure));
                let what = format!("{} failed after {events}", stream.name);
                let before = before_error(stream.dialect, &out, &failure).unwrap_or_else(|| panic!("{what}"));
                assert!(stream.body.starts_with(before), "{what}");
                // A call that a token limit cut is closed before the limit is said.
                if !stopped(stream, events) && !stream.name.contains("35-cut-tool") {
                    validator::assert_legal(stream.dialect, &out, &what);
                }
            }
        }
    }
}

#[test]
fn a_stream_that_ends_between_two_events_is_told_to_be_cut() {
    for stream in streams().iter().filter(|stream| matches!(stream.class, Some(Class::Legal | Class::Rewrite))) {
        let frames = frames(&stream.body);
        for watch in [None, Some(Watch::Whole), Some(Watch::Deltas)] {
            for events in 0..frames.len() {
                if stopped(stream, events) {
                    continue;
                }
                let body = Bytes::from(frames[..events].concat());
                let policies = watch.map(|watch| Arc::new(WatchAll(watch)) as _).into_iter().collect();
                let out = run(stream.dialect, &rules(policies), &body, 64).out.concat();
                let what = format!("{} {events} {watch:?}", stream.name);
                let before = before_error(stream.dialect, &out, &truncated());
                let before = before.unwrap_or_else(|| panic!("{what}: {}", String::from_utf8_lossy(&out)));
                assert_eq!(String::from_utf8_lossy(before), String::from_utf8_lossy(&body), "{what}");
            }
        }
    }
}

#[test]
fn keepalives_stand_between_events_and_change_nothing() {
    for stream in vectors() {
        for watch in [None, Some(Watch::Whole)] {
            let policies = watch.map(|watch| Arc::new(WatchAll(watch)) as _).into_iter().collect();
            let mut run = Run::stream(stream.dialect, &rules(policies));
            for chunk in stream.body.chunks(11) {
                run.push(&stream.body.slice_ref(chunk));
                run.response.keepalive();
            }
            run.finish();
            let out = String::from_utf8(run.out.concat()).unwrap();
            let keepalive = match stream.dialect {
                Dialect::AnthropicMessages => "event: ping\ndata: {\"type\":\"ping\"}\n\n",
                Dialect::OpenaiChat => ": keepalive\n\n",
                // Is an event with a number of its own, so that later frames change.
                Dialect::OpenaiResponses => {
                    super::responses::endings::assert_only_keepalives_added(stream, out.as_bytes());
                    continue;
                }
            };
            assert!(out.contains(keepalive));
            let plain = String::from_utf8(stream.body.to_vec()).unwrap();
            assert_eq!(out.replace(keepalive, ""), plain.replace(keepalive, ""), "{}", stream.name);
        }
    }
}

fn limited(stream: &Stream, limits: ResponseLimits, policies: By) -> (String, Run) {
    let mut run = Run::new(response(stream.dialect, &rules(vec![Arc::new(policies)]), limits));
    for chunk in stream.body.chunks(64) {
        run.push(&stream.body.slice_ref(chunk));
    }
    run.finish();
    (String::from_utf8(run.out.concat()).unwrap(), run)
}

fn keep() -> By {
    By { fate: |_| Fate::Keep, added: Vec::new() }
}

#[test]
fn limits_end_the_answer_and_nothing_held_leaves() {
    for name in ["anthropic/46-secret-split-text", "openai-chat/43-secret-split-args"] {
        let stream = vector(name);
        let (out, _) = limited(&stream, ResponseLimits { held: 400, ..LIMITS }, keep());
        assert!(out.contains("limits.held (400 bytes)") && !out.contains("sk-"), "{out}");
        validator::assert_legal(stream.dialect, out.as_bytes(), name);

        let (out, _) = limited(&stream, ResponseLimits { event: 100, ..LIMITS }, keep());
        assert!(out.contains("limits.event (100 bytes)") && out.matches("data:").count() == 1, "{out}");

        let added = vec![Block::text("x".repeat(5000))];
        let (out, _) = limited(&stream, ResponseLimits { synthetic: 1000, ..LIMITS }, By { added, ..keep() });
        assert!(out.contains("limits.synthetic (1000 bytes)"), "{out}");
        let (out, _) = limited(&stream, LIMITS, keep());
        assert_eq!(out.as_bytes(), stream.body);
    }
}

#[test]
fn a_body_beyond_its_limit_cannot_be_read() {
    let limits = ResponseLimits { body: 10, ..LIMITS };
    let setup = luthien::pipeline::Setup::native(Dialect::OpenaiChat, "c".into(), Release::Block, limits);
    let mut response = Response::body(setup, Vec::new());
    response.push(&Bytes::from_static(b"0123456789")).unwrap();
    let stopped = response.push(&Bytes::from_static(b"!")).unwrap_err();
    assert!(format!("{stopped:?}").contains("limits.response_body (10 bytes)"), "{stopped:?}");
    assert_eq!(response.take_output().count(), 0);
}

/// Refuses the second of two calls.
fn refuses_second(block: &Block) -> bool {
    matches!(&block.kind, luthien::model::BlockKind::ToolCall { name, .. } if name == "second")
}

struct RefusesSecond;

impl luthien::policy::Factory for RefusesSecond {
    fn begin(&self, _: &luthien::model::CallHead) -> Box<dyn luthien::policy::Policy> {
        Box::new(Self)
    }
}

impl luthien::policy::Policy for RefusesSecond {
    fn on_block_start(&mut self, _: &mut luthien::policy::Context<'_>, _: &luthien::model::BlockHead) -> Watch {
        Watch::Whole
    }

    fn on_block(&mut self, _: &mut luthien::policy::Context<'_>, block: Block) -> Step<Fate> {
        if refuses_second(&block) {
            return Step::Ready(Err(Halt::Refuse(Refusal::new("", "no second"))));
        }
        Step::ready(Fate::Keep)
    }
}

#[test]
fn no_call_of_a_turn_leaves_before_all_are_decided_where_the_rules_say_so() {
    let block = |index: u32, name: &str| {
        [
            format!(
                r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"tool_use","id":"t{index}","name":"{name}","input":{{}}}}}}"#
            ),
            format!(
                r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"input_json_delta","partial_json":"{{}}"}}}}"#
            ),
            format!(r#"{{"type":"content_block_stop","index":{index}}}"#),
        ]
    };
    let mut data = vec![r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#.to_owned()];
    data.extend(block(0, "first"));
    data.extend(block(1, "second"));
    data.push(r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#.to_owned());
    data.push(r#"{"type":"message_stop"}"#.to_owned());
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    let body = super::support::stream_of(Dialect::AnthropicMessages, &data);
    for (release, left) in [(Release::Block, true), (Release::Turn, false)] {
        let rules = rules_with(vec![Arc::new(RefusesSecond)], release, OnFault::Closed);
        let out = run(Dialect::AnthropicMessages, &rules, &body, 64).out.concat();
        validator::assert_legal(Dialect::AnthropicMessages, &out, "refused");
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.contains("first"), left, "{release:?}: {text}");
        assert!(text.contains("no second") && !text.contains("\"second\""), "{text}");
    }
}

#[test]
fn what_was_to_be_replaced_does_not_leave_where_its_replacement_is_too_long() {
    let limits = ResponseLimits { synthetic: 1000, ..LIMITS };
    let stream = vector("anthropic/46-secret-split-text");
    let replaced: fn(&Block) -> Fate = |_| Fate::Replace(vec![Block::text("x".repeat(5000))]);
    let added: fn(&Block) -> Fate = |block| Fate::Replace(vec![block.clone(), Block::text("x".repeat(5000))]);
    for (fate, left) in [(replaced, false), (added, true)] {
        let rules = rules_with(vec![Arc::new(By { fate, ..keep() })], Release::Block, OnFault::Open);
        let mut run = Run::new(response(stream.dialect, &rules, limits));
        run.push(&stream.body);
        run.finish();
        let out = run.out.concat();
        validator::assert_legal(stream.dialect, &out, &stream.name);
        let text = String::from_utf8(out).unwrap();
        // It is the same with the second: a policy that said too much once goes on deciding.
        assert_eq!(text.matches("content_block_start").count(), if left { 4 } else { 2 }, "{text}");
        assert_eq!(text.contains("[removed by policy]"), !left, "{text}");
        assert_eq!(text.contains("456 next block"), left, "{text}");
        assert!(!text.contains("xxxx"), "{text}");
    }
}

#[test]
fn nothing_stands_behind_the_end() {
    let added = vec![Block::text("x".repeat(5000))];
    let limits = ResponseLimits { synthetic: 1000, ..LIMITS };
    for stream in vectors() {
        let run = |policies: Vec<Arc<dyn luthien::policy::Factory>>, more: &[u8]| {
            let mut run = Run::new(response(stream.dialect, &rules(policies), limits));
            run.push(&[&stream.body[..], more].concat().into());
            run.response.keepalive();
            run.finish();
            run.out.concat()
        };
        // The limit is passed in the frame that says the end, or in the one before.
        let out = run(vec![Arc::new(By { added: added.clone(), ..keep() })], b"");
        if !stream.name.contains("35-cut-tool") {
            validator::assert_legal(stream.dialect, &out, &stream.name);
        }
        // A policy cannot judge what comes behind the end.
        let out = run(vec![Arc::new(WatchAll(Watch::Whole))], b"data: garbage\n\n");
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&stream.body), "{}", stream.name);
    }
}
