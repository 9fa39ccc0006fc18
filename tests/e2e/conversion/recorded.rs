//! What providers really sent, converted: every recorded stream of a dialect, read by clients of the two others.
//!
//! Beside each recording stands what the official SDK of its own dialect assembled from it. Text, tool names and arguments
//! must be the same for a client of another dialect; what was cut off, refused or failed must stay so.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{
    read::{self, Seen, list, word},
    rules,
};
use crate::{
    common::streams::{self, Dialect, Recorded},
    fakes::{provider::Provider, script::Script},
    harness::sdk::{Job, Mode, Outcome, Sdk},
};

/// What is not held against the assembled message, by a part of the recording's name, and why.
const NOT_COMPARED: [(&str, Skip, &str); 3] = [
    (
        "incomplete_partial_json_response",
        Skip::Arguments,
        "the arguments are cut off: the SDK made an object of half of them, OpenAI's clients get the half itself",
    ),
    ("test_snowflake", Skip::Ending, "it says `[DONE]` and never why it ended: whole or failed, both are right"),
    ("opentelemetry-js-contrib__test_mock-responses_openai-streaming-chat", Skip::All, "two answers (n = 2)"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skip {
    All,
    Arguments,
    Ending,
}

fn skips(stream: &Recorded, skip: Skip) -> bool {
    NOT_COMPARED.iter().any(|(name, what, _)| *what == skip && stream.name.contains(name))
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Whole,
    /// By a limit on tokens.
    Cut,
    Refused,
    /// With an error, or without an end.
    Failed,
}

/// What the assembled message says.
#[derive(Debug)]
struct Wanted {
    text: String,
    /// Names, arguments, and their text where the dialect shows it.
    calls: Vec<(String, Value, Option<String>)>,
    ending: Ending,
}

impl Wanted {
    fn of(stream: &Recorded) -> Self {
        let file = stream.name.strip_suffix(".sse").expect("a recording is an .sse file");
        let root = PathBuf::from(std::env::var_os("LUTHIEN_STREAMS_DIR").expect("the recordings were found there"));
        let path = root.join("recorded").join(format!("{file}.assembled.json"));
        let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file: Value = serde_json::from_slice(&file).expect("an assembled message is JSON");
        let assembled = &file["assembled"];
        // An SDK may fail to add up what a client of another dialect can read; an error is another matter.
        let failed = word(&file["error"]).starts_with("APIError");
        let (seen, ending) = match stream.dialect {
            Dialect::Anthropic => {
                let seen = read::message(stream.dialect, &assembled["message"]);
                let ending = match seen.stop.as_str() {
                    "max_tokens" => Ending::Cut,
                    "refusal" => Ending::Refused,
                    "" => Ending::Failed,
                    _ => Ending::Whole,
                };
                (seen, ending)
            }
            Dialect::OpenaiChat => chat(&assembled["choices"][0]),
            Dialect::OpenaiResponses => {
                let seen = read::message(stream.dialect, &assembled["final"]);
                let completed = assembled["event_types"]["response.completed"].is_u64();
                let ending = match seen.stop.as_str() {
                    _ if completed => Ending::Whole,
                    "incomplete:max_output_tokens" => Ending::Cut,
                    "incomplete:content_filter" => Ending::Refused,
                    _ => Ending::Failed,
                };
                (seen, ending)
            }
        };
        let calls = seen.calls.into_iter().map(|call| (call.name, call.arguments, call.exact)).collect();
        Self { text: seen.text, calls, ending: if failed { Ending::Failed } else { ending } }
    }

    /// What is wrong with what a client got.
    fn problems(&self, stream: &Recorded, client: Dialect, outcome: &Outcome) -> Vec<String> {
        let items = outcome.items.as_deref().unwrap_or_default();
        let told = items.last().is_some_and(|last| last["type"] == "response.failed" || last["type"] == "error");
        let may_be_whole = skips(stream, Skip::Ending) && outcome.raw_error.is_none() && !told;
        let failed = self.ending == Ending::Failed && !may_be_whole;
        let mut problems = rules::problems(client, items, failed);
        let seen = read::items(client, items);
        let mut check = |holds: bool, problem: &str| {
            if !holds {
                problems.push(format!("{problem}: {:?} {:?}", outcome.raw_error, outcome.helper_error));
            }
        };
        if failed {
            check(outcome.raw_error.is_some() || told, "a failure looks like a whole answer");
            return problems;
        }
        check(outcome.raw_error.is_none(), "the iteration failed");
        let stops: &[&str] = match (self.ending, client) {
            (Ending::Cut, Dialect::Anthropic) => &["max_tokens"],
            (Ending::Cut, Dialect::OpenaiChat) => &["length"],
            (Ending::Cut, Dialect::OpenaiResponses) => &["incomplete:max_output_tokens"],
            (Ending::Refused, Dialect::Anthropic) => &["refusal"],
            (Ending::Refused, Dialect::OpenaiChat) => &["content_filter"],
            // A refusal that is said is a whole answer there.
            (Ending::Refused, Dialect::OpenaiResponses) if refuses(items) => &["completed"],
            (Ending::Refused, Dialect::OpenaiResponses) => &["incomplete:content_filter"],
            (_, Dialect::Anthropic) => &["end_turn", "tool_use"],
            (_, Dialect::OpenaiChat) => &["stop", "tool_calls"],
            (_, Dialect::OpenaiResponses) => &["completed"],
        };
        check(stops.contains(&seen.stop.as_str()), &format!("it ended with {:?}", seen.stop));
        // The helpers make an error of what was cut off or refused.
        if self.ending == Ending::Whole {
            check(outcome.helper_ok == Some(true), "the helper failed");
            let message = read::message(client, outcome.message.as_ref().unwrap_or(&Value::Null));
            problems.extend(self.differs(stream, "final", &message));
        }
        problems.extend(self.differs(stream, "items", &seen));
        problems
    }

    fn differs(&self, stream: &Recorded, of: &str, seen: &Seen) -> Option<String> {
        let empty = |value: &Value| if *value == "" || value.is_null() { json!({}) } else { value.clone() };
        let same = seen.calls.len() == self.calls.len()
            && seen.calls.iter().zip(&self.calls).all(|(call, (name, arguments, exact))| {
                let texts = call.exact.as_ref().zip(exact.as_ref()).filter(|(_, wanted)| !wanted.is_empty());
                let same =
                    empty(&call.arguments) == empty(arguments) && texts.is_none_or(|(text, wanted)| text == wanted);
                call.name == *name && (same || skips(stream, Skip::Arguments))
            });
        let calls = || format!("\n      calls {:?}\n      wanted {:?}", seen.calls, self.calls);
        if seen.text != self.text {
            return Some(format!("the {of} say {:?}\n      wanted {:?}", seen.text, self.text));
        }
        (!same).then(|| format!("the {of} have other calls{}", calls()))
    }
}

/// The assembled form of a chat stream is not the SDK's own.
fn chat(choice: &Value) -> (Seen, Ending) {
    let mut seen = Seen { text: word(&choice["content"]), ..Seen::default() };
    for call in list(&choice["tool_calls"]) {
        let exact = word(&call["arguments"]);
        let arguments = serde_json::from_str(&exact).unwrap_or_else(|_| exact.clone().into());
        seen.calls.push(read::Call { id: word(&call["id"]), name: word(&call["name"]), arguments, exact: Some(exact) });
    }
    let ending = match word(&choice["finish_reason"]).as_str() {
        "" => Ending::Failed,
        "length" => Ending::Cut,
        "content_filter" => Ending::Refused,
        _ => Ending::Whole,
    };
    (seen, ending)
}

/// Whether the events of a Responses stream say a refusal.
fn refuses(events: &[Value]) -> bool {
    events.iter().any(|event| event["type"] == "response.refusal.done")
}

/// Reads every recording of `upstream` as a client of each of `clients`.
async fn replay(upstream: Dialect, clients: &[Dialect]) {
    let recorded = streams::recorded(upstream).unwrap_or_default();
    for (name, skip, why) in NOT_COMPARED {
        for stream in recorded.iter().filter(|stream| stream.name.contains(name)) {
            println!("not compared, {skip:?}: {}: {why}", stream.name);
        }
    }
    let recorded: Vec<&Recorded> = recorded.iter().filter(|stream| !skips(stream, Skip::All)).collect();
    if recorded.is_empty() {
        return;
    }
    let provider = Provider::start().await;
    let gateway = super::gateway(&provider, upstream).await;
    let url = gateway.url();
    for stream in &recorded {
        provider.on_model(&stream.name, Script::sse_in_pieces(&stream.bytes, 1000));
    }
    let cases: Vec<(Dialect, &Recorded, Wanted)> = clients
        .iter()
        .flat_map(|client| recorded.iter().map(|stream| (*client, *stream, Wanted::of(stream))))
        .collect();
    let job = |(client, stream, _): &(Dialect, &Recorded, Wanted)| {
        let job = Job::new(*client, &url, Mode::Both, &stream.name).details();
        if *client == Dialect::OpenaiResponses { job.with(&json!({ "store": false })) } else { job }
    };
    let jobs: Vec<Job> = cases.iter().map(job).collect();
    let (python, node) = tokio::join!(Sdk::Python.run(&jobs), Sdk::Node.run(&jobs));
    let mut failed = Vec::new();
    for (sdk, outcomes) in [(Sdk::Python, python), (Sdk::Node, node)] {
        for ((client, stream, wanted), outcome) in cases.iter().zip(outcomes) {
            let problems = wanted.problems(stream, *client, &outcome);
            if !problems.is_empty() {
                let problems = problems.join("\n    ");
                failed.push(format!("{client:?} in {sdk:?}, {:?}: {}\n    {problems}", wanted.ending, stream.name));
            }
        }
    }
    gateway.stop().await;
    assert!(failed.is_empty(), "{} of {} failed\n{}", failed.len(), cases.len() * 2, failed.join("\n"));
}

#[tokio::test]
async fn recorded_messages_for_clients_of_other_dialects() {
    replay(Dialect::Anthropic, &[Dialect::OpenaiChat, Dialect::OpenaiResponses]).await;
}

#[tokio::test]
async fn recorded_chat_for_clients_of_other_dialects() {
    replay(Dialect::OpenaiChat, &[Dialect::Anthropic, Dialect::OpenaiResponses]).await;
}

#[tokio::test]
async fn recorded_responses_for_clients_of_other_dialects() {
    replay(Dialect::OpenaiResponses, &[Dialect::Anthropic, Dialect::OpenaiChat]).await;
}
