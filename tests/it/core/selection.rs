//! Which policies run on a call, where the rules ask an expression.

use std::sync::Arc;

use luthien::{
    dialect::retrieval,
    journal::Fact,
    model::{CallHead, Dialect, Failure, FailureKind, Request},
    pipeline::{Response, Setup, Stopped, run_request, select},
    policy::{OnFault, Release, Rules, Selector, When},
    telemetry::trace::Parent,
};
use serde_json::json;

use super::support::{LIMITS, Run, built_in, call, rules_with, vector};

/// Rules with one policy that writes everything in capitals, where the expression says so.
fn rules(when: &str, on_fault: OnFault) -> Arc<Rules> {
    let uppercase = built_in("uppercase", &json!({}));
    let mut rules = Arc::into_inner(rules_with(vec![uppercase], Release::Block, on_fault)).expect("rules of our own");
    let when = Some(When::compile(when).unwrap_or_else(|error| panic!("{when}: {error}")));
    rules.entries[0].selects = Arc::new(Selector { when, ..Selector::default() });
    Arc::new(rules)
}

fn asked_by(model: &str, headers: &[(&str, &str)]) -> Arc<CallHead> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Arc::new(CallHead { model: model.to_owned(), headers, ..(*call(Dialect::OpenaiChat)).clone() })
}

#[test]
fn a_policy_runs_where_its_expression_is_true() {
    for (when, runs) in [
        ("call.model.startsWith('claude-') && 'x-team' in call.headers", true),
        ("call.model.startsWith('claude-') && !('x-team' in call.headers)", false),
        ("call.headers['x-team'] == 'red, blue' && call.dialect == 'openai_chat'", true),
        ("call.client == null && call.session == null && call.stream && call.id == 'call-1'", true),
        ("call.client == 'team-a'", false),
    ] {
        let call = asked_by("claude-x", &[("x-team", "red"), ("x-team", "blue")]);
        assert_eq!(select(&rules(when, OnFault::Closed), &call).len(), usize::from(runs), "{when}");
    }
}

#[tokio::test]
async fn an_expression_without_a_value_is_a_fault_of_the_policy() {
    let when = "call.headers['x-team'] == 'red'";
    for on_fault in [OnFault::Closed, OnFault::Open] {
        let open = on_fault == OnFault::Open;
        let runners = select(&rules(when, on_fault), &asked_by("claude-x", &[]));
        assert_eq!(runners.len(), 1);
        let run = run_request(runners, Request::new("claude-x".into(), true, Vec::new()), Parent::default()).await;
        let [Fact::Faulted { policy, error, open: noted }] = &run.facts[..] else { panic!("{:?}", run.facts) };
        assert_eq!((&**policy, error.as_str()), ("p0", "`match.when` has no value: No such key: x-team"));
        assert_eq!(*noted, open);
        match run.outcome {
            Ok(_) => assert!(open && run.runners[0].is_skipped()),
            Err(stopped) => {
                let message = "the policy p0 failed and is set to fail closed";
                assert_eq!(stopped, Stopped::Failed(Failure::new(FailureKind::PolicyFault, message)));
                assert!(!open);
            }
        }
    }
}

#[test]
fn without_request_hooks_the_fault_shows_before_anything_leaves() {
    let stream = vector("openai-chat/01-basic-usage-done");
    for on_fault in [OnFault::Closed, OnFault::Open] {
        let rules = rules("call.headers['x-team'] == 'red'", on_fault);
        let call = asked_by("m", &[]);
        let setup = Setup::native(stream.dialect, call.id.clone(), rules.release, LIMITS);
        let mut run = Run::new(Response::stream(setup, select(&rules, &call)));
        for chunk in stream.body.chunks(50) {
            run.push(&stream.body.slice_ref(chunk));
        }
        run.finish();
        assert!(matches!(run.facts[..], [Fact::Faulted { open, .. }] if open == (on_fault == OnFault::Open)));
        let out = run.out.concat();
        assert_eq!(out == stream.body, on_fault == OnFault::Open);
        let whole = String::from_utf8_lossy(&out);
        assert!(on_fault == OnFault::Open || !whole.contains("\"choices\""), "{whole}");
    }
}

#[test]
fn who_fetches_an_answer_that_was_kept_gets_around_nothing() {
    let (view, _) = retrieval("/v1/responses/resp_1?stream=true");
    let fetches = Arc::new(CallHead {
        dialect: Dialect::OpenaiResponses,
        path: "/v1/responses/resp_1".to_owned(),
        model: view.model,
        stream: view.stream,
        ..(*call(Dialect::OpenaiResponses)).clone()
    });
    for (when, runs) in [
        ("call.model.startsWith('claude-')", true),
        ("call.path == '/v1/responses' && !call.stream", true),
        ("call.dialect == 'openai_chat'", false),
    ] {
        assert_eq!(select(&rules(when, OnFault::Closed), &fetches).len(), usize::from(runs), "{when}");
    }
}
