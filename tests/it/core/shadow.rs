//! Policies in shadow mode: they decide, and nothing changes.

use std::{
    sync::Arc,
    task::{Context as Wakeup, Poll, Waker},
};

use bytes::Bytes;
use luthien::{
    journal::Fact,
    json::Text,
    model::{Block, BlockHead, CallHead, Dialect, Place, Request, RequestText, Source},
    pipeline::{Response, run_request, select},
    policy::{Context, Factory, Fate, Mode, OnFault, Policy, Release, Rules, Step, Watch},
    telemetry::trace::Parent,
};
use serde_json::json;

use super::{
    random::{Lots, Script},
    support::{self, LIMITS, Run, built_in, rules_with, run, streams, vector},
};

fn shadows(factories: Vec<Arc<dyn Factory>>) -> Arc<Rules> {
    let mut rules = Arc::into_inner(rules_with(factories, Release::Block, OnFault::Closed)).unwrap();
    rules.entries.iter_mut().for_each(|entry| entry.mode = Mode::Shadow);
    Arc::new(rules)
}

fn all_that_change() -> Vec<Arc<dyn Factory>> {
    vec![
        built_in("uppercase", &json!({})),
        built_in("tool_filter", &json!({"deny": ["*"]})),
        built_in("blocked_content", &json!({"patterns": ["."], "on_match": "refuse"})),
        built_in("string_replacement", &json!({"replacements": {"e": "EEE"}, "include_tool_calls": true})),
        Arc::new(Lots { script: Script { seed: 7, appends: &["text"] }, patience: 3 }),
    ]
}

#[tokio::test]
async fn what_a_client_gets_is_what_it_would_get_without_a_policy() {
    let (shadow, nobody) = (shadows(all_that_change()), support::rules(Vec::new()));
    for stream in streams() {
        for size in [7, 4096, usize::MAX] {
            if size < 64 && stream.body.len() > 8 << 10 {
                continue;
            }
            let out = run(stream.dialect, &shadow, &stream.body, size).out.concat();
            let expected = run(stream.dialect, &nobody, &stream.body, size).out.concat();
            assert!(out == expected, "{} size {size}: {}", stream.name, String::from_utf8_lossy(&out));
        }
    }
}

#[tokio::test]
async fn what_would_change_is_told() {
    let stream = vector("anthropic/10-parallel-tools-split-escapes");
    let facts = run(stream.dialect, &shadows(all_that_change()), &stream.body, usize::MAX).facts;
    let all_shadow = facts.iter().all(|fact| match fact {
        Fact::Decided { shadow, .. } | Fact::Emitted { shadow, .. } => *shadow,
        _ => true,
    });
    assert!(all_shadow, "{facts:?}");
    let decided = |policy: &str, what: &str| {
        facts.iter().any(
            |fact| matches!(fact, Fact::Decided { policy: of, decision, .. } if **of == *policy && *decision == what),
        )
    };
    assert!(decided("p0", "edit") && decided("p1", "drop") && decided("p2", "refuse"), "{facts:?}");
    let changes: Vec<_> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::WouldChange { policy, on, before, after } => {
                let text = |side: &Option<luthien::journal::Change>| side.as_ref().map(|side| side.text().to_owned());
                Some((policy.to_string(), *on, text(before), text(after)))
            }
            _ => None,
        })
        .collect();
    let upper = changes.iter().find(|(policy, on, ..)| policy == "p0" && *on == "text").expect("a change of text");
    assert_eq!(upper.2.as_ref().map(|text| text.to_uppercase()), upper.3);
    let dropped = changes.iter().find(|(policy, ..)| policy == "p1").expect("a call that would be dropped");
    assert!(dropped.1 == "tool_call" && dropped.2.is_some() && dropped.3.is_none(), "{dropped:?}");
}

/// Decides when it is told to.
struct Slow(tokio::sync::watch::Receiver<bool>);

impl Factory for Slow {
    fn begin(&self, _: &CallHead) -> Box<dyn Policy> {
        Box::new(Self(self.0.clone()))
    }
}

impl Policy for Slow {
    fn on_request(&mut self, _: &mut Context<'_>, mut request: Request) -> Step<Request> {
        let mut go = self.0.clone();
        Step::later(async move {
            let _ = go.wait_for(|go| *go).await;
            request.texts_mut()[0].set("changed");
            Ok(request)
        })
    }

    fn on_block_start(&mut self, _: &mut Context<'_>, _: &BlockHead) -> Watch {
        Watch::Whole
    }

    fn on_block(&mut self, _: &mut Context<'_>, _: Block) -> Step<Fate> {
        let mut go = self.0.clone();
        Step::later(async move {
            let _ = go.wait_for(|go| *go).await;
            Ok(Fate::Drop)
        })
    }
}

#[tokio::test]
async fn a_slow_shadow_keeps_nobody_waiting_and_decides_behind_the_call() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let rules = shadows(vec![Arc::new(Slow(wait))]);
    let dialect = Dialect::AnthropicMessages;
    let text = RequestText::new(
        Source::User,
        None,
        Text::new("hello"),
        Place::String(luthien::json::Span { start: 0, end: 0 }),
    );
    let asked = run_request(
        select(&rules, &support::call(dialect)),
        Request::new("m".to_owned(), true, vec![text]),
        Parent::default(),
    )
    .await;
    assert_eq!(asked.outcome.unwrap().texts()[0].edited(), None);
    let (setup, _) = support::setup(dialect, &rules, LIMITS);
    let mut run = Run::new(Response::stream(setup, asked.runners));
    let stream = vector("anthropic/01-basic-ping-padding");
    let mut left = Vec::new();
    for chunk in stream.body.chunks(50) {
        run.push(&Bytes::copy_from_slice(chunk));
        left.extend(std::mem::take(&mut run.out));
        assert!(!run.response.is_holding() || left.len() < stream.body.len());
    }
    run.finish();
    left.extend(std::mem::take(&mut run.out));
    assert_eq!(left.concat(), stream.body);
    let shadows = run.response.take_shadows();
    assert_eq!(shadows.len(), 1);
    let mut late = Box::pin(futures::future::join_all(shadows.into_iter().map(luthien::pipeline::Shadow::finish)));
    assert!(matches!(late.as_mut().poll(&mut Wakeup::from_waker(Waker::noop())), Poll::Pending));
    go.send(true).unwrap();
    let facts = late.await.concat();
    let decided = |on: &str, decision: &str| {
        facts.iter().any(
            |fact| matches!(fact, Fact::Decided { on: o, decision: d, shadow: true, .. } if *o == on && *d == decision),
        )
    };
    assert!(decided("request", "edit") && decided("text", "drop"), "{facts:?}");
}

#[tokio::test]
async fn a_shadow_that_would_hold_too_much_is_let_go() {
    let (_go, wait) = tokio::sync::watch::channel(false);
    let rules = shadows(vec![Arc::new(Slow(wait))]);
    let limits = luthien::pipeline::ResponseLimits { held: 1, ..LIMITS };
    let stream = vector("openai-chat/01-basic-usage-done");
    let mut run = Run::new(support::response(stream.dialect, &rules, limits));
    run.push(&stream.body);
    run.finish();
    assert_eq!(run.out.concat(), stream.body);
    assert!(run.facts.iter().any(|fact| matches!(fact, Fact::ShadowLost { .. })), "{:?}", run.facts);
    assert!(run.response.take_shadows().is_empty());
}
