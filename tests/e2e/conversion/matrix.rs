//! The matrix: client dialect × upstream dialect × scenario × language × streamed or not.
//!
//! Every cell is looked at before a pair fails, so that the table shows all of what is wrong. What a pair cannot carry is
//! written in `lost`; the table in `docs/conversion.md` is made from it.

use std::{fmt::Write as _, path::Path};

use serde_json::{Value, json};

use super::{
    SEAL,
    answers::{ENCRYPTED, Part, REASONING_ID, SIGNATURE, breaks, rate_limit},
    asked, legal, name,
    read::{self, Call, Seen, Thought},
    rules,
    scenarios::{HALF, OVERLOADED, SLOW_DOWN, Scenario},
};
use crate::{
    common::streams::Dialect,
    fakes::{
        provider::{Provider, Received},
        script::Script,
    },
    harness::sdk::{Job, Mode, Outcome, Sdk},
};

/// One call of one client.
#[derive(Debug, Clone, Copy)]
struct Cell {
    client: Dialect,
    upstream: Dialect,
    sdk: Sdk,
    scenario: Scenario,
    stream: bool,
}

/// What the upstream's dialect, or the client's, has no place for.
fn lost(client: Dialect, upstream: Dialect, scenario: Scenario) -> &'static [&'static str] {
    use Dialect::{Anthropic, OpenaiChat, OpenaiResponses};
    match (scenario, client, upstream) {
        (Scenario::Thinking, Anthropic, OpenaiChat | OpenaiResponses) => &["budget, told as an effort"],
        (Scenario::Thinking, OpenaiChat, Anthropic | OpenaiResponses) => {
            &["the provider's proof, so the next turn goes without"]
        }
        (Scenario::Image, OpenaiChat | OpenaiResponses, Anthropic) => &["`detail`"],
        (Scenario::Schema, OpenaiChat | OpenaiResponses, Anthropic) => &["the schema's `name`"],
        _ => &[],
    }
}

/// Runs every cell of a pair against the gateway, or, without conversion, straight against the provider.
async fn pair(client: Dialect, upstream: Dialect, through_gateway: bool) {
    let provider = Provider::start().await;
    let gateway = if through_gateway { Some(super::gateway(&provider, upstream).await) } else { None };
    let url = gateway.as_ref().map_or_else(|| provider.url(), super::Gateway::url);
    let mut table = format!("{} to {}\n", name(client), name(upstream));
    let mut failed = 0;
    let run = async |sdk: Sdk| {
        let cells = Cell::all(client, upstream, sdk);
        for cell in &cells {
            provider.on_model(&cell.model(), cell.script());
        }
        let jobs: Vec<Job> = cells.iter().map(|cell| cell.job(&url)).collect();
        let outcomes = sdk.run(&jobs).await;
        cells.into_iter().zip(outcomes).collect::<Vec<_>>()
    };
    let (python, node) = tokio::join!(run(Sdk::Python), run(Sdk::Node));
    let requests = provider.requests();
    for (cell, outcome) in python.into_iter().chain(node) {
        let problems = [cell.answered(&outcome), cell.asked(&requests)].concat();
        let lost = lost(client, upstream, cell.scenario).join("; ");
        let verdict = match (problems.as_slice(), lost.as_str()) {
            ([], "") => "ok".to_owned(),
            ([], lost) => format!("lossy: {lost}"),
            (problems, _) => format!("FAILED\n      {}", problems.join("\n      ")),
        };
        failed += usize::from(!problems.is_empty());
        writeln!(table, "  {:40} {verdict}", cell.model()).expect("a string can be written to");
    }
    if let Some(gateway) = gateway {
        gateway.stop().await;
    }
    assert!(failed == 0, "{failed} cells failed\n{table}");
    println!("{table}");
}

impl Cell {
    fn all(client: Dialect, upstream: Dialect, sdk: Sdk) -> Vec<Self> {
        let both = Scenario::ALL.into_iter().flat_map(|scenario| [(scenario, true), (scenario, false)]);
        both.filter(|(scenario, stream)| *stream || *scenario != Scenario::Broken)
            .map(|(scenario, stream)| Self { client, upstream, sdk, scenario, stream })
            .collect()
    }

    /// The model's name tells the calls apart.
    fn model(self) -> String {
        let way = if self.stream { "stream" } else { "whole" };
        format!("{}.{}.{way}", self.scenario.title().replace(' ', "-"), self.sdk.key())
    }

    fn script(self) -> Script {
        let (model, mut said) = (self.model(), self.scenario.said());
        // The chat helpers parse a strict tool's arguments as soon as the next call begins.
        said.interleaved = self.client != Dialect::OpenaiChat;
        match self.scenario {
            Scenario::Error => {
                Script::json(rate_limit(self.upstream, SLOW_DOWN)).status(429).header("retry-after", "7")
            }
            Scenario::Broken => Script::sse(breaks(self.upstream, &model, HALF, OVERLOADED)),
            Scenario::Text
            | Scenario::Tools
            | Scenario::Parallel
            | Scenario::Thinking
            | Scenario::Image
            | Scenario::Schema => {
                if self.stream {
                    Script::sse_in_pieces(said.stream(self.upstream, &model).as_bytes(), 100)
                } else {
                    Script::json(said.whole(self.upstream, &model))
                }
            }
        }
    }

    fn job(self, url: &str) -> Job {
        let mode = if self.stream { Mode::Both } else { Mode::Json };
        let job = Job::new(self.client, url, mode, &self.model()).with(&self.scenario.request(self.client));
        job.include_usage().details()
    }

    /// What is wrong with what the client got.
    fn answered(self, outcome: &Outcome) -> Vec<String> {
        let items = outcome.items.as_deref().unwrap_or_default();
        match self.scenario {
            Scenario::Error => return self.refused(outcome),
            Scenario::Broken => return [self.broken(outcome), rules::problems(self.client, items, true)].concat(),
            Scenario::Text
            | Scenario::Tools
            | Scenario::Parallel
            | Scenario::Thinking
            | Scenario::Image
            | Scenario::Schema => {}
        }
        let mut problems = Vec::new();
        if outcome.helper_ok != Some(true) || outcome.raw_error.is_some() {
            problems.push(format!("the SDK failed: {:?} {:?}", outcome.raw_error, outcome.helper_error));
        }
        let wanted = self.wanted();
        if self.stream {
            problems.extend(rules::problems(self.client, items, false));
            problems.extend(self.differs("items", &wanted, read::items(self.client, items)));
        }
        let mut seen = read::message(self.client, outcome.message.as_ref().unwrap_or(&Value::Null));
        if self.stream && self.client == Dialect::OpenaiChat {
            // The helpers do not add up a field that they do not know: Node keeps the last fragment.
            seen.thinking.clone_from(&wanted.thinking);
        }
        problems.extend(self.differs("final", &wanted, seen));
        problems
    }

    fn wanted(self) -> Seen {
        let said = self.scenario.said();
        let mut wanted = Seen { model: self.model(), tokens: Some(said.tokens), ..Seen::default() };
        for part in &said.parts {
            let kind = match part {
                Part::Thinking(pieces) => {
                    wanted.thinking.push(Thought { text: pieces.concat(), proof: self.proof() });
                    "thinking"
                }
                Part::Text(pieces) => {
                    wanted.text += &pieces.concat();
                    "text"
                }
                Part::Call(id, name, arguments) => {
                    wanted.calls.push(Call {
                        id: (*id).to_owned(),
                        name: (*name).to_owned(),
                        arguments: serde_json::from_str(arguments).expect("arguments are JSON"),
                        exact: Some((*arguments).to_owned()),
                    });
                    "call"
                }
            };
            if wanted.order.last() != Some(&kind) {
                wanted.order.push(kind);
            }
        }
        let stops = match self.client {
            Dialect::Anthropic => ["end_turn", "tool_use"],
            Dialect::OpenaiChat => ["stop", "tool_calls"],
            Dialect::OpenaiResponses => ["completed", "completed"],
        };
        stops[usize::from(said.has_calls())].clone_into(&mut wanted.stop);
        wanted
    }

    /// What comes with thinking: the provider's own proof, or the same sealed.
    fn proof(self) -> String {
        match (self.client, self.upstream) {
            (Dialect::Anthropic, Dialect::Anthropic) => SIGNATURE.to_owned(),
            (Dialect::OpenaiResponses, Dialect::OpenaiResponses) => ENCRYPTED.to_owned(),
            (Dialect::OpenaiResponses, Dialect::Anthropic) => format!("{SEAL}signature.{SIGNATURE}"),
            (Dialect::Anthropic, Dialect::OpenaiResponses) => {
                format!("{SEAL}reasoning.{}.{REASONING_ID}{ENCRYPTED}", REASONING_ID.len())
            }
            (Dialect::OpenaiChat, _) | (_, Dialect::OpenaiChat) => String::new(),
        }
    }

    fn differs(self, of: &str, wanted: &Seen, mut seen: Seen) -> Option<String> {
        for (wanted, seen) in wanted.calls.iter().zip(&mut seen.calls) {
            // A whole answer of Messages shows no text of the arguments.
            seen.exact = seen.exact.take().or_else(|| wanted.exact.clone());
        }
        for thought in &mut seen.thinking {
            if self.upstream == Dialect::OpenaiChat && thought.proof.starts_with(SEAL) {
                thought.proof.clear();
            }
        }
        (seen != *wanted).then(|| format!("the {of} say {seen:?}\n      and should say {wanted:?}"))
    }

    fn refused(self, outcome: &Outcome) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, problem: &str| {
            if !holds {
                problems.push(format!("{problem}: {:?} {:?}", outcome.helper_error, outcome.headers));
            }
        };
        let error = outcome.helper_error.clone().unwrap_or_default();
        let word = |field: &str| read::word(&error[field]);
        check(word("class").ends_with("RateLimitError"), "class");
        check(error["status_code"] == 429, "status");
        check(word("message").contains(SLOW_DOWN), "message");
        let kinds: &[&str] = match (self.client, self.upstream) {
            (Dialect::Anthropic, _) => &["rate_limit_error"],
            (_, Dialect::Anthropic) => &["rate_limit_error", "rate_limit_exceeded"],
            _ => &["tokens", "rate_limit_error", "rate_limit_exceeded"],
        };
        check(kinds.contains(&word("type").as_str()), "type");
        check(self.client == Dialect::Anthropic || error["code"] == "rate_limit_exceeded", "code");
        let after = outcome.headers.as_ref().and_then(|headers| headers.get("retry-after"));
        check(after.map(String::as_str) == Some("7"), "retry-after");
        let raw = outcome.raw_error.as_deref().unwrap_or_default();
        check(!self.stream || raw.ends_with("RateLimitError"), "the class of the iteration's error");
        problems
    }

    /// The SDK raises, or, in Responses, gets the event that says the failure; the text before it has come.
    fn broken(self, outcome: &Outcome) -> Vec<String> {
        let mut problems = Vec::new();
        let items = outcome.items.as_deref().unwrap_or_default();
        let mut check = |holds: bool, problem: &str| {
            if !holds {
                problems.push(format!("{problem}: {:?} {:?} {items:?}", outcome.raw_error, outcome.helper_error));
            }
        };
        check(read::items(self.client, items).text == HALF, "text");
        if self.client == Dialect::OpenaiResponses {
            let last = items.last().unwrap_or(&Value::Null);
            check(last["type"] == "response.failed", "the last event");
            check(read::word(&last["response"]["error"]["message"]).contains(OVERLOADED), "message");
            return problems;
        }
        let error = outcome.helper_error.clone().unwrap_or_default();
        check(outcome.raw_error.is_some() && outcome.helper_ok == Some(false), "no error");
        check(read::word(&error["message"]).contains(OVERLOADED), "message");
        let kind = match (self.client, self.upstream) {
            (Dialect::Anthropic, Dialect::OpenaiResponses) => "api_error",
            (Dialect::Anthropic, _) => "overloaded_error",
            _ => "server_error",
        };
        check(error["type"] == kind, "type");
        problems
    }

    /// What is wrong with what the provider got.
    fn asked(self, requests: &[Received]) -> Vec<String> {
        let mine: Vec<(&Received, Value)> = requests
            .iter()
            .map(|request| (request, serde_json::from_slice(&request.body).unwrap_or_default()))
            .filter(|(_, body): &(_, Value)| body["model"] == self.model())
            .collect();
        let mut problems = Vec::new();
        // A stream is read twice: iterated, and by the helper.
        let count = if self.stream { 2 } else { 1 };
        if mine.len() != count {
            problems.push(format!("the provider got {} requests", mine.len()));
        }
        let mut sent = self.scenario.request(self.client);
        sent["stream"] = self.stream.into();
        let wanted = asked::read(self.client, &sent);
        for (request, body) in mine {
            problems
                .extend(legal::problems(self.upstream, request).into_iter().map(|problem| format!("asked: {problem}")));
            let got = asked::read(self.upstream, &body);
            if got != wanted {
                problems.push(format!("the provider was asked {got:?}\n      and should be {wanted:?}"));
            }
            if self.scenario == Scenario::Image && !body.to_string().contains("image/png") {
                problems.push("the picture's type was lost".to_owned());
            }
            problems.extend(self.details(&body));
        }
        problems
    }

    /// What only one family of dialects can say.
    fn details(self, body: &Value) -> Option<String> {
        let paths = match self.upstream {
            Dialect::Anthropic => return None,
            Dialect::OpenaiChat => [
                "/response_format/json_schema/name",
                "/response_format/json_schema/strict",
                "/messages/1/content/0/image_url/detail",
                "/stream_options/include_usage",
            ],
            Dialect::OpenaiResponses => {
                ["/text/format/name", "/text/format/strict", "/input/0/content/0/detail", "/stream_options/none"]
            }
        };
        let get = |path: &str| body.pointer(path).cloned().unwrap_or_default();
        let [name, strict, detail, usage] = paths.map(get);
        let from_openai = self.client != Dialect::Anthropic;
        let holds = match self.scenario {
            Scenario::Schema if from_openai => (name, strict) == (json!("the_answer"), json!(true)),
            Scenario::Schema => name.is_string(),
            Scenario::Image => !from_openai || detail == "low",
            Scenario::Text
            | Scenario::Tools
            | Scenario::Parallel
            | Scenario::Thinking
            | Scenario::Error
            | Scenario::Broken => true,
        };
        let counts = !self.stream || self.upstream != Dialect::OpenaiChat || usage == true;
        (!holds || !counts).then(|| format!("a detail was lost: {body}"))
    }
}

/// The part of the documentation that is generated.
#[test]
fn the_table_in_the_docs_is_current() {
    const MARKS: [&str; 2] = ["<!-- matrix -->\n", "<!-- /matrix -->\n"];
    let mut table = "| client | upstream |".to_owned();
    table += &Scenario::ALL.map(|scenario| format!(" {} |", scenario.title())).concat();
    table += &["\n|", &"---|".repeat(Scenario::ALL.len() + 2), "\n"].concat();
    for client in Dialect::ALL {
        for upstream in Dialect::ALL {
            table += &["| `", name(client), "` | `", name(upstream), "` |"].concat();
            for scenario in Scenario::ALL {
                let lost = lost(client, upstream, scenario).join("; ");
                table += &if lost.is_empty() { " ok |".to_owned() } else { [" lossy: ", &lost, " |"].concat() };
            }
            table += "\n";
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conversion.md");
    let found = std::fs::read_to_string(&path).unwrap_or_else(|_| MARKS.concat());
    let (before, rest) = found.split_once(MARKS[0]).expect("docs/conversion.md has a mark where the matrix begins");
    let (current, after) = rest.split_once(MARKS[1]).expect("docs/conversion.md has a mark where the matrix ends");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, [before, MARKS[0], &table, MARKS[1], after].concat()).expect("written");
    } else {
        assert!(current == table, "docs/conversion.md is out of date: run the tests with UPDATE=1");
    }
}

/// The scripts, the SDKs and the readers checked against each other, with no gateway between them.
#[tokio::test]
async fn without_the_gateway_every_dialect_reads_itself() {
    for dialect in Dialect::ALL {
        pair(dialect, dialect, false).await;
    }
}

macro_rules! pairs {
    ($($name:ident: $client:ident => $upstream:ident,)*) => {
        $(#[tokio::test]
        async fn $name() {
            pair(Dialect::$client, Dialect::$upstream, true).await;
        })*
    };
}

pairs! {
    messages_to_messages: Anthropic => Anthropic,
    messages_to_chat: Anthropic => OpenaiChat,
    messages_to_responses: Anthropic => OpenaiResponses,
    chat_to_messages: OpenaiChat => Anthropic,
    chat_to_chat: OpenaiChat => OpenaiChat,
    chat_to_responses: OpenaiChat => OpenaiResponses,
    responses_to_messages: OpenaiResponses => Anthropic,
    responses_to_chat: OpenaiResponses => OpenaiChat,
    responses_to_responses: OpenaiResponses => OpenaiResponses,
}
