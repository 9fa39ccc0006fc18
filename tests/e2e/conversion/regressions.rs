//! The mistakes that converters are known for: each stream of `cases`, and each hand-made vector, read by clients of the
//! other dialects.

use super::{
    cases::{self, Case, End},
    read::{self, Seen, word},
    rules,
};
use crate::{
    common::streams::{self, Class, Dialect},
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{self, Request, Version},
        gateway::Gateway,
        sdk::{Job, Mode, Outcome, Sdk},
    },
};

/// Legal streams that end with a failure.
const MAY_FAIL: [&str; 1] = ["openai-responses/35-truncate-failed-mid-call"];

/// Whether the client was told of a failure.
fn failed(outcome: &Outcome) -> bool {
    let last = outcome.items.as_ref().and_then(|items| items.last());
    let told = last.is_some_and(|last| last["type"] == "response.failed" || last["type"] == "error");
    told || outcome.raw_error.is_some()
}

fn job(client: Dialect, url: &str, model: &str) -> Job {
    let job = Job::new(client, url, Mode::Both, model).include_usage().details();
    if client == Dialect::OpenaiResponses { job.with(&serde_json::json!({ "store": false })) } else { job }
}

fn others(dialect: Dialect) -> impl Iterator<Item = Dialect> {
    Dialect::ALL.into_iter().filter(move |other| *other != dialect)
}

impl Case {
    /// What is wrong with what a client got.
    fn problems(&self, client: Dialect, outcome: &Outcome) -> Vec<String> {
        let items = outcome.items.as_deref().unwrap_or_default();
        let fails = matches!(self.wanted.end, End::Fails(_));
        let mut problems = rules::problems(client, items, fails);
        let seen = read::items(client, items);
        let mut check = |holds: bool, problem: &str| {
            if !holds {
                let errors = format!("{:?} {:?}", outcome.raw_error, outcome.helper_error);
                problems.push(format!("{problem}: {errors} {seen:?}"));
            }
        };
        if let End::Fails(message) = self.wanted.end {
            check(failed(outcome), "a failure looks like a whole answer");
            let error = outcome.helper_error.clone().unwrap_or_default();
            let last = items.last().cloned().unwrap_or_default();
            let told = word(&error["message"]) + &word(&last["response"]["error"]["message"]);
            check(told.contains(message), "the message");
            check(self.wanted.text.starts_with(&seen.text), "the text before the failure");
            return problems;
        }
        check(!failed(outcome), "the iteration failed");
        let stops = match client {
            Dialect::Anthropic => ["end_turn", "tool_use", "max_tokens", "refusal"],
            Dialect::OpenaiChat => ["stop", "tool_calls", "length", "content_filter"],
            Dialect::OpenaiResponses => {
                ["completed", "completed", "incomplete:max_output_tokens", "incomplete:content_filter"]
            }
        };
        let stop = match self.wanted.end {
            End::Turn | End::Fails(_) => stops[0],
            End::Tools => stops[1],
            End::Length => stops[2],
            End::Refused => stops[3],
        };
        check(seen.stop == stop, "the stop reason");
        check(self.says(client, &seen), "the items");
        if let Some([fresh, cached, output]) = self.wanted.tokens {
            let told = seen.tokens.map(|tokens| [tokens.fresh, tokens.cached, tokens.output]);
            check(told == Some([fresh, cached, output]), "the tokens");
        }
        // Chat has one text for all thinking, of which a later thought is a paragraph.
        let thoughts: Vec<_> =
            seen.thinking.iter().map(|thought| thought.text.trim_start()).filter(|text| !text.is_empty()).collect();
        check(thoughts == self.wanted.thinking, "the thinking");
        let twice = ["thinking", "text", "thinking", "text"];
        check(self.wanted.thinking.len() < 2 || seen.order == twice, "the order of thinking and text");
        // The helpers make an error of what was cut off or refused.
        if matches!(self.wanted.end, End::Turn | End::Tools) {
            let message = read::message(client, outcome.message.as_ref().unwrap_or_default());
            check(outcome.helper_ok == Some(true) && self.says(client, &message), "the helper");
        }
        problems
    }

    fn says(&self, client: Dialect, seen: &Seen) -> bool {
        let calls = seen.calls.len() == self.wanted.calls.len()
            && seen.calls.iter().zip(&self.wanted.calls).all(|(call, (name, arguments))| {
                let wanted: serde_json::Value = serde_json::from_str(arguments).expect("arguments are JSON");
                let exact = client == Dialect::Anthropic || call.exact.as_deref() == Some(*arguments);
                call.name == *name && !call.id.is_empty() && call.arguments == wanted && exact
            });
        calls && seen.text == self.wanted.text
    }

    /// What no SDK shows: how a chat stream ends.
    async fn end(&self, gateway: &Gateway) -> Option<String> {
        let request = Request::call(Dialect::OpenaiChat, self.name, true);
        let answer = client::send(Version::Http1, gateway.listen(), request).await.finish().await;
        let text = answer.text();
        let is_done = text.ends_with("data: [DONE]\n\n");
        let fails = matches!(self.wanted.end, End::Fails(_));
        if is_done == fails {
            return Some(format!("[DONE] belongs to whole answers, and only to them: {text}"));
        }
        text.contains("\"choices\":[]").then(|| format!("token counts that nobody asked for: {text}"))
    }
}

async fn run(upstream: Dialect) {
    let provider = Provider::start().await;
    let gateway = super::gateway(&provider, upstream).await;
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| case.upstream == upstream).collect();
    for case in &cases {
        provider.on_model(case.name, Script::sse_in_pieces(case.stream.as_bytes(), 50));
    }
    let calls: Vec<(Dialect, &Case)> =
        others(upstream).flat_map(|client| cases.iter().map(move |case| (client, case))).collect();
    let jobs: Vec<Job> = calls.iter().map(|(client, case)| job(*client, &gateway.url(), case.name)).collect();
    let mut failed = Vec::new();
    let (python, node) = tokio::join!(Sdk::Python.run(&jobs), Sdk::Node.run(&jobs));
    for (sdk, outcomes) in [(Sdk::Python, python), (Sdk::Node, node)] {
        for ((client, case), outcome) in calls.iter().zip(outcomes) {
            let problems = case.problems(*client, &outcome);
            if !problems.is_empty() {
                failed.push(format!("{}, {client:?} in {sdk:?}\n    {}", case.name, problems.join("\n    ")));
            }
        }
    }
    if upstream != Dialect::OpenaiChat {
        for case in &cases {
            failed.extend(case.end(&gateway).await.map(|problem| format!("{}\n    {problem}", case.name)));
        }
    }
    gateway.stop().await;
    assert!(failed.is_empty(), "{} failed\n{}", failed.len(), failed.join("\n"));
}

#[tokio::test]
async fn known_mistakes_from_messages() {
    run(Dialect::Anthropic).await;
}

#[tokio::test]
async fn known_mistakes_from_chat() {
    run(Dialect::OpenaiChat).await;
}

#[tokio::test]
async fn known_mistakes_from_responses() {
    run(Dialect::OpenaiResponses).await;
}

/// A connection that breaks is a failure as much as a stream that ends too early.
#[tokio::test]
async fn a_cut_connection_is_a_failure_in_every_dialect() {
    let provider = Provider::start().await;
    for upstream in Dialect::ALL {
        let gateway = super::gateway(&provider, upstream).await;
        let stream = super::scenarios::Scenario::Text.said().stream(upstream, "m");
        let half = stream.split_at(stream.find("Hello").expect("the answer says so")).0.to_owned();
        provider.otherwise(Script::sse(half).cut());
        let jobs: Vec<Job> = others(upstream).map(|client| job(client, &gateway.url(), "m")).collect();
        let number = provider.requests().len();
        let (python, node) = tokio::join!(Sdk::Python.run(&jobs), Sdk::Node.run(&jobs));
        // Each job asks twice.
        assert_eq!(provider.requests().len() - number, 8, "the provider was not asked");
        for (client, outcome) in others(upstream).zip(python).chain(others(upstream).zip(node)) {
            let context = format!("{client:?} to {upstream:?}: {outcome:?}");
            assert!(failed(&outcome), "{context}");
            let problems = rules::problems(client, outcome.items.as_deref().unwrap_or_default(), true);
            assert!(problems.is_empty(), "{problems:?}\n{context}");
        }
        gateway.stop().await;
    }
}

/// What it says is looked at above; here, that a client of another dialect never gets an illegal stream.
#[tokio::test]
async fn every_vector_becomes_a_legal_stream() {
    let provider = Provider::start().await;
    let mut wrong = Vec::new();
    for upstream in Dialect::ALL {
        let gateway = super::gateway(&provider, upstream).await;
        let vectors = streams::vectors(upstream);
        for vector in &vectors {
            provider.on_model(&vector.name, Script::sse_in_pieces(&vector.bytes, 50));
        }
        let calls: Vec<_> =
            others(upstream).flat_map(|client| vectors.iter().map(move |vector| (client, vector))).collect();
        let jobs: Vec<Job> = calls.iter().map(|(client, vector)| job(*client, &gateway.url(), &vector.name)).collect();
        let (python, node) = tokio::join!(Sdk::Python.run(&jobs), Sdk::Node.run(&jobs));
        for (sdk, outcomes) in [(Sdk::Python, python), (Sdk::Node, node)] {
            for ((client, vector), outcome) in calls.iter().zip(outcomes) {
                let failed = failed(&outcome);
                let items = outcome.items.as_deref().unwrap_or_default();
                let mut problems = rules::problems(*client, items, failed);
                if failed && matches!(vector.class, Class::Legal | Class::Rewrite) && !MAY_FAIL.contains(&&*vector.name)
                {
                    problems.push("a legal stream became a failure".to_owned());
                }
                if !failed && vector.class == Class::Error {
                    problems.push("a failure became a whole answer".to_owned());
                }
                if !problems.is_empty() {
                    let errors = format!("{:?} {:?}", outcome.raw_error, outcome.helper_error);
                    let problems = problems.join("\n    ");
                    wrong.push(format!("{}, {client:?} in {sdk:?}: {errors}\n    {problems}", vector.name));
                }
            }
        }
        gateway.stop().await;
    }
    assert!(wrong.is_empty(), "{} are wrong\n{}", wrong.len(), wrong.join("\n"));
}
