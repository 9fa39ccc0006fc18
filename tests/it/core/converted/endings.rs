//! Answers for another dialect that end before their time: refused, failed, cut off. And keepalives in between.

use std::sync::Arc;

use bytes::Bytes;
use luthien::{
    model::{Dialect, Failure, FailureKind, Refusal, RefusalForm},
    pipeline::Response,
    policy::{Rules, Watch},
};

use super::{
    super::{
        corpus::WHOLE,
        support::{Run, Stream, WatchAll, rules},
        validator,
    },
    nobody, others, run, said,
    said::{End, Part, Said, differences},
};

const NOTE: &str = "<<not here>>";

fn vectors(from: Dialect) -> impl Iterator<Item = &'static Stream> {
    WHOLE.iter().filter(move |stream| stream.class.is_some() && stream.dialect == from)
}

/// The events of a body, as they came.
fn frames(body: &Bytes) -> Vec<Bytes> {
    let mut out = Vec::new();
    luthien::wire::Framer::new(16 << 20).push(body, &mut out).unwrap();
    out.iter().map(|frame| frame.raw().clone()).collect()
}

fn watching(watch: Option<Watch>) -> Arc<Rules> {
    rules(watch.map(|watch| Arc::new(WatchAll(watch)) as _).into_iter().collect())
}

/// Pushes some events, then ends it.
fn ended(mut run: Run, frames: &[Bytes], end: impl Fn(&mut Response)) -> Vec<u8> {
    for frame in frames {
        run.push(frame);
    }
    end(&mut run.response);
    run.out.extend(run.response.take_output());
    run.out.concat()
}

type Way = fn(&mut Response);

const WAYS: [(&str, Way); 3] = [
    ("refused politely", |response| {
        response.refuse(&Refusal { form: RefusalForm::Message, ..Refusal::new("p", NOTE) });
    }),
    ("refused", |response| response.refuse(&Refusal { form: RefusalForm::Error, ..Refusal::new("p", NOTE) })),
    ("failed", |response| response.fail(&Failure::new(FailureKind::Stalled, NOTE))),
];

/// Ends every vector of a dialect behind every one of its events, in every way.
fn check(from: Dialect) {
    let mut polite = 0;
    for stream in vectors(from) {
        let frames = frames(&stream.body);
        let cut = said::stream(from, &stream.body).end == End::Cut;
        for (to, watch) in others(from).flat_map(|to| [None, Some(Watch::Whole)].map(|watch| (to, watch))) {
            let whole = run(from, to, &nobody(), &stream.body, usize::MAX).out.concat();
            for events in 0..frames.len() {
                let native = ended(Run::stream(from, &watching(watch)), &frames[..events], |_| {});
                let native = said::stream(from, &native);
                for (way, end) in WAYS {
                    let out = ended(super::stream(from, to, &watching(watch)), &frames[..events], end);
                    let what = format!("{} for {to:?} {way} after {events}, {watch:?}", stream.name);
                    if out == whole {
                        continue;
                    }
                    let problems: Vec<_> = validator::problems(to, &out)
                        .into_iter()
                        // A call that a limit on tokens cut is closed before the limit is said.
                        .filter(|problem| !(cut && problem.contains("half of a tool call")))
                        .collect();
                    assert!(problems.is_empty(), "{what}: {problems:?}\n{}", String::from_utf8_lossy(&out));
                    let mut sent = said::stream(to, &out);
                    let noted = take_note(&mut sent);
                    assert!(noted != (sent.end == End::Failed), "{what}: {}", String::from_utf8_lossy(&out));
                    assert!(!noted || way == "refused politely", "{what}");
                    assert!(String::from_utf8_lossy(&out).contains(NOTE), "{what}: nobody is told why");
                    polite += usize::from(noted);
                    assert_no_more(&native, &sent, &what);
                }
            }
        }
    }
    assert!(polite > 100, "{polite}");
}

/// Takes a polite refusal out.
fn take_note(said: &mut Said) -> bool {
    let text = said.parts.iter_mut().rev().find_map(|part| if let Part::Text(text) = part { Some(text) } else { None });
    let Some(text) = text.filter(|text| text.ends_with(NOTE)) else { return false };
    text.truncate(text.len() - NOTE.len());
    true
}

/// What a client of another dialect was sent is no more than what a client of the provider's own would have been sent: what
/// nobody has decided on does not leave.
#[track_caller]
fn assert_no_more(native: &Said, sent: &Said, what: &str) {
    assert!(native.text().starts_with(&sent.text()), "{what}: {:?} of {:?}", sent.text(), native.text());
    let [more, less] = [native, sent].map(|said| said.thinking().concat().replace('\n', ""));
    assert!(more.starts_with(&less), "{what}: thinking {less:?} of {more:?}");
    for (_, name, arguments) in sent.calls() {
        let known = native.calls().iter().any(|(_, of, more)| {
            // Free text leaves as an argument when it is complete.
            *of == name && (more.starts_with(arguments) || said::same_arguments(more, arguments))
        });
        assert!(known, "{what}: {name} {arguments:?} of {:?}", native.calls());
    }
}

#[test]
fn messages_end_legally_wherever_they_end() {
    check(Dialect::AnthropicMessages);
}

#[test]
fn chat_ends_legally_wherever_it_ends() {
    check(Dialect::OpenaiChat);
}

#[test]
fn responses_end_legally_wherever_they_end() {
    check(Dialect::OpenaiResponses);
}

#[test]
fn a_stream_that_ends_between_two_events_is_a_failure() {
    for (from, to) in super::pairs() {
        for stream in vectors(from) {
            let frames = frames(&stream.body);
            for events in 0..frames.len() {
                let body = Bytes::from(frames[..events].concat());
                if said::stream(from, &body).end != End::Failed {
                    continue;
                }
                let out = run(from, to, &nobody(), &body, 64).out.concat();
                let what = format!("{} for {to:?} after {events}", stream.name);
                assert_eq!(said::stream(to, &out).end, End::Failed, "{what}: {}", String::from_utf8_lossy(&out));
                let known = validator::problems(to, &out).iter().all(|problem| problem.contains("half of a tool call"));
                assert!(known, "{what}: {:?}", validator::problems(to, &out));
            }
        }
    }
}

#[test]
fn keepalives_between_any_two_events_change_nothing() {
    for (from, to) in super::pairs() {
        for (stream, watch) in vectors(from).flat_map(|stream| [None, Some(Watch::Whole)].map(|watch| (stream, watch)))
        {
            let what = format!("{} for {to:?} {watch:?}", stream.name);
            let mut run = super::stream(from, to, &watching(watch));
            run.response.keepalive();
            for frame in frames(&stream.body) {
                run.push(&frame);
                run.response.keepalive();
            }
            run.finish();
            let out = run.out.concat();
            let known = validator::problems(from, &stream.body);
            let problems = validator::problems(to, &out);
            assert!(
                problems.is_empty() || !known.is_empty(),
                "{what}: {problems:?}\n{}",
                String::from_utf8_lossy(&out)
            );
            let [came, sent] = [said::stream(from, &stream.body), said::stream(to, &out)];
            let differences = differences(from, to, &came, &sent);
            assert!(differences.is_empty(), "{what}: {}", differences.join("\n"));
        }
    }
}

#[test]
fn nothing_stands_behind_the_end() {
    for (from, to) in super::pairs() {
        for stream in vectors(from) {
            let whole = run(from, to, &nobody(), &stream.body, usize::MAX).out.concat();
            for more in
                ["data: garbage\n\n", "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"x\"}}\n\n"]
            {
                let body = Bytes::from([&stream.body[..], more.as_bytes()].concat());
                let mut run = super::stream(from, to, &nobody());
                run.push(&body);
                run.response.keepalive();
                run.finish();
                let out = run.out.concat();
                // A chat stream may end without its last word: then this is not behind the end.
                if said::stream(to, &out).end != End::Failed {
                    let [out, whole] = [&out, &whole].map(|bytes| String::from_utf8_lossy(bytes));
                    assert_eq!(out, whole, "{} for {to:?}", stream.name);
                }
                validator::assert_legal(to, &out, &stream.name);
            }
        }
    }
}
