//! Policies that fail: what leaves, and what is noted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use luthien::{
    journal::Fact,
    model::{Block, BlockHead, CallHead, Dialect, Failure, FailureKind, Request, Start},
    pipeline::{Stopped, run_request, select},
    policy::{BlockText, Context, Edits, Ending, Factory, Fate, OnFault, Outcome, Policy, Release, Step, Watch, fault},
    telemetry::trace::Parent,
};
use serde_json::json;

use super::{
    corpus::WHOLE,
    reader::{self, Item, sse},
    support::{Run, Stream, TIMEOUT, WatchAll, before_error, built_in, call, rules_with, vector},
    validator,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hook {
    Request,
    Start,
    Open,
    Delta,
    Block,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Panics,
    Fails,
    PanicsLater,
    Hangs,
}

/// Fails at one hook, and keeps everything elsewhere.
#[derive(Debug, Clone, Copy)]
struct Faulty(Hook, How);

impl Factory for Faulty {
    fn begin(&self, _: &CallHead) -> Box<dyn Policy> {
        Box::new(*self)
    }
}

impl Faulty {
    fn at<T>(self, hook: Hook, value: T) -> Outcome<T> {
        match (self.0 == hook, self.1) {
            (true, How::Panics | How::PanicsLater) => panic!("as the test asks"),
            (true, _) => Err(fault("as the test asks")),
            (false, _) => Ok(value),
        }
    }

    fn step<T: Send + 'static>(self, hook: Hook, value: T) -> Step<T> {
        match self.1 {
            How::Hangs if self.0 == hook => Step::later(std::future::pending()),
            How::PanicsLater if self.0 == hook => Step::later(async { panic!("as the test asks") }),
            _ => self.at(hook, value).into(),
        }
    }
}

impl Policy for Faulty {
    fn on_request(&mut self, _: &mut Context<'_>, request: Request) -> Step<Request> {
        self.step(Hook::Request, request)
    }

    fn on_response_start(&mut self, _: &mut Context<'_>, _: &Start) -> Outcome<()> {
        self.at(Hook::Start, ())
    }

    fn on_block_start(&mut self, _: &mut Context<'_>, _: &BlockHead) -> Watch {
        let watch = if self.0 == Hook::Delta { Watch::Deltas } else { Watch::Whole };
        self.at(Hook::Open, watch).expect("a hook that cannot fail can panic")
    }

    fn on_delta(&mut self, _: &mut Context<'_>, block: &BlockText<'_>, _: &mut Edits) -> Outcome<usize> {
        self.at(Hook::Delta, block.text.len())
    }

    fn on_block(&mut self, _: &mut Context<'_>, _: Block) -> Step<Fate> {
        self.step(Hook::Block, Fate::Keep)
    }

    fn on_response_end(&mut self, _: &mut Context<'_>, ending: Ending) -> Step<Ending> {
        self.step(Hook::End, ending)
    }
}

const HOOKS: [Hook; 5] = [Hook::Start, Hook::Open, Hook::Delta, Hook::Block, Hook::End];

fn cases() -> Vec<Faulty> {
    let later = |hook| matches!(hook, Hook::Block | Hook::End);
    let all = HOOKS.into_iter().flat_map(|hook| {
        [How::Panics, How::Fails, How::PanicsLater, How::Hangs].into_iter().map(move |how| Faulty(hook, how))
    });
    all.filter(|Faulty(hook, how)| later(*hook) || matches!(how, How::Panics | How::Fails)).collect()
}

/// Runs a stream, letting the time limit of every hook pass where one hangs.
async fn run(stream: &Stream, policies: Vec<Arc<dyn Factory>>, on_fault: OnFault) -> Run {
    let mut run = Run::stream(stream.dialect, &rules_with(policies, Release::Block, on_fault));
    for chunk in stream.body.chunks(50) {
        run.push(&stream.body.slice_ref(chunk));
        if run.response.is_deciding() {
            tokio::time::advance(TIMEOUT + Duration::from_secs(1)).await;
        }
    }
    for _ in 0..3 {
        run.push(&Bytes::new());
        tokio::time::advance(TIMEOUT + Duration::from_secs(1)).await;
    }
    run.finish();
    run
}

fn faults(run: &Run) -> Vec<bool> {
    let open = |fact: &Fact| if let Fact::Faulted { open, .. } = fact { Some(*open) } else { None };
    run.facts.iter().filter_map(open).collect()
}

fn failed_closed() -> Failure {
    Failure::new(FailureKind::PolicyFault, "the policy p0 failed and is set to fail closed")
}

/// Whole vectors, in which every hook is called.
fn vectors() -> impl Iterator<Item = &'static Stream> {
    let names = [
        "anthropic/01-basic-ping-padding",
        "anthropic/08-thinking-signature-redacted",
        "anthropic/10-parallel-tools-split-escapes",
        "openai-chat/01-basic-usage-done",
        "openai-chat/07-parallel-tools-interleaved",
        "openai-chat/41-tool-args-whole-in-one-chunk",
        "openai-responses/02-function-call",
        "openai-responses/04-reasoning-summary-encrypted",
        "openai-responses/17-custom-tool",
    ];
    WHOLE.iter().filter(move |stream| names.contains(&stream.name.as_str()))
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_fails_open_leaves_everything_as_it_came() {
    for stream in vectors() {
        for case in cases() {
            let run = run(stream, vec![Arc::new(case)], OnFault::Open).await;
            assert_eq!(faults(&run), [true], "{} {case:?}", stream.name);
            assert!(run.out.concat() == stream.body, "{} {case:?}", stream.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_fails_closed_ends_the_answer_with_an_error() {
    for stream in vectors() {
        for case in cases() {
            let what = format!("{} {case:?}", stream.name);
            let run = run(stream, vec![Arc::new(case)], OnFault::Closed).await;
            assert_eq!(faults(&run), [false], "{what}");
            let out = run.out.concat();
            let before = before_error(stream.dialect, &out, &failed_closed());
            let before = before.unwrap_or_else(|| panic!("{what}: the error is not last"));
            assert!(stream.body.starts_with(before), "{what}");
            validator::assert_legal(stream.dialect, &out, &what);
            let read = reader::stream(stream.dialect, before);
            // Blocks are decided on at their end, and a text with its first delta: none has left.
            let said = read.items.iter().any(|item| matches!(item, Item::Text(..)));
            assert!(!said || case.0 == Hook::End, "{what}: {read:?}");
            assert!(!read.items.iter().any(|item| matches!(item, Item::Stop(..) | Item::End)), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_other_policies_go_on_when_one_fails_open() {
    let stream = vector("anthropic/46-secret-split-text");
    let replace = || built_in("string_replacement", &json!({"replacements": {"sk-live-ABCDEF0123": "X"}}));
    for case in cases() {
        for policies in [vec![Arc::new(case) as Arc<dyn Factory>, replace()], vec![replace(), Arc::new(case)]] {
            let run = run(&stream, policies, OnFault::Open).await;
            let texts: String =
                reader::stream(stream.dialect, &run.out.concat()).texts().into_iter().map(|(_, text)| text).collect();
            assert!(texts.contains('X') && !texts.contains("sk-live"), "{case:?}: {texts}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_hook_that_fails_stops_the_call_or_is_left_out() {
    for how in [How::Panics, How::Fails, How::PanicsLater, How::Hangs] {
        for on_fault in [OnFault::Open, OnFault::Closed] {
            let rules = rules_with(vec![Arc::new(Faulty(Hook::Request, how))], Release::Block, on_fault);
            let runners = select(&rules, &call(Dialect::OpenaiChat));
            let run = run_request(runners, Request::new("m".into(), true, Vec::new()), Parent::default()).await;
            let open = on_fault == OnFault::Open;
            assert!(matches!(run.facts[..], [Fact::Faulted { open: noted, .. }] if noted == open), "{:?}", run.facts);
            match run.outcome {
                Ok(request) => assert!(open && !request.is_changed() && run.runners[0].is_skipped()),
                Err(stopped) => assert_eq!(stopped, Stopped::Failed(failed_closed())),
            }
        }
    }
}

/// Writes `a` as `B`, keeps two characters back, and fails when it has seen `!`.
#[derive(Clone)]
struct FailsLate;

impl Factory for FailsLate {
    fn begin(&self, _: &CallHead) -> Box<dyn Policy> {
        Box::new(Self)
    }
}

impl Policy for FailsLate {
    fn on_block_start(&mut self, _: &mut Context<'_>, _: &BlockHead) -> Watch {
        Watch::Deltas
    }

    fn on_delta(&mut self, _: &mut Context<'_>, block: &BlockText<'_>, edits: &mut Edits) -> Outcome<usize> {
        let decided = block.text.len().saturating_sub(2).max(block.decided);
        for (at, _) in block.text[block.decided..decided].match_indices('a') {
            edits.replace(block.decided + at..block.decided + at + 1, "B");
        }
        if block.text.contains('!') { Err(fault("seen")) } else { Ok(decided) }
    }
}

#[test]
fn nothing_leaves_beyond_what_was_decided_before_the_fault() {
    let chunk = |text: &str| {
        format!(
            r#"{{"id":"c","object":"chat.completion.chunk","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}"#
        )
    };
    let finish =
        r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let body = super::support::stream_of(
        Dialect::OpenaiChat,
        &[&chunk("aaaa"), &chunk("aaxx"), &chunk("aa!a"), &chunk("aaaa"), finish, "[DONE]"],
    );
    for (on_fault, expected) in [(OnFault::Closed, "BBBB"), (OnFault::Open, "BBBBBBxxaa!aaaaa")] {
        let rules = rules_with(vec![Arc::new(FailsLate)], Release::Block, on_fault);
        let run = super::support::run(Dialect::OpenaiChat, &rules, &body, 7);
        let text = reader::stream(Dialect::OpenaiChat, &run.out.concat()).text(0);
        assert_eq!(sse::joined(&text, false), expected, "{on_fault:?}");
    }
}

#[test]
fn a_policy_that_only_looks_on_does_not_stand_in_the_way_of_one_that_fails() {
    let stream = vector("openai-chat/01-basic-usage-done");
    let policies: Vec<Arc<dyn Factory>> =
        vec![Arc::new(WatchAll(Watch::Whole)), Arc::new(Faulty(Hook::Block, How::Fails))];
    let run =
        super::support::run(stream.dialect, &rules_with(policies, Release::Block, OnFault::Open), &stream.body, 9);
    assert_eq!(run.out.concat(), stream.body);
}
