//! A conversation: the client gives back what the assistant said, as it got it, with the results of its calls.
//!
//! The provider must get a request that it would take: calls with their results in order, the picture that a result
//! holds, its own reasoning with its own proof, and nobody else's.

use serde_json::{Value, json};

use super::{
    answers::{ENCRYPTED, Part, REASONING_ID, SIGNATURE, Said, Tokens},
    asked, legal, read,
    scenarios::{PARIS, PNG, SYSTEM, Scenario, TOKYO, think, tools},
};
use crate::{
    common::streams::Dialect,
    fakes::{
        provider::{Provider, Received},
        script::Script,
    },
    harness::sdk::{Job, Mode, Sdk},
};

const THOUGHT: &str = "Two cities, so two calls.";
const SAID: &str = "Let me look.";
const IDS: [&str; 2] = ["toolu_01A", "toolu_01B"];
const ANSWER: &str = "It rains.";
/// How the first answer comes.
const WAYS: [&str; 2] = ["stream", "whole"];

fn tokens() -> Tokens {
    Tokens { fresh: 9, cached: 0, written: 0, output: 9, reasoning: 0 }
}

fn first_answer() -> Said {
    let parts = vec![
        Part::Thinking(vec![THOUGHT]),
        Part::Text(vec![SAID]),
        Part::Call(IDS[0], "weather", PARIS),
        Part::Call(IDS[1], "weather", TOKYO),
    ];
    Said { parts, tokens: tokens(), interleaved: false }
}

fn first_request(client: Dialect) -> Value {
    let mut request = Scenario::Text.request(client);
    tools(client, &mut request, false);
    think(client, &mut request);
    request
}

/// The request of the second turn, made of the first one and of what the SDK made of its answer.
fn second_request(client: Dialect, message: &Value) -> Value {
    let mut request = first_request(client);
    let mut message = message.clone();
    without_parsed(&mut message);
    let url = format!("data:image/png;base64,{PNG}");
    let (turns, more) = match client {
        Dialect::Anthropic => {
            let picture =
                json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": PNG } });
            let chart = json!([{ "type": "text", "text": "a chart" }, picture]);
            let results = json!([
                { "type": "tool_result", "tool_use_id": IDS[0], "content": "rain" },
                { "type": "tool_result", "tool_use_id": IDS[1], "content": chart },
                { "type": "text", "text": "Go on." },
            ]);
            let assistant = json!({ "role": "assistant", "content": message["content"] });
            ("messages", vec![assistant, json!({ "role": "user", "content": results })])
        }
        Dialect::OpenaiChat => {
            let picture = json!({ "type": "image_url", "image_url": { "url": url } });
            let asks = json!([{ "type": "text", "text": "Go on." }, picture]);
            let turns = vec![
                message["choices"][0]["message"].clone(),
                json!({ "role": "tool", "tool_call_id": IDS[0], "content": "rain" }),
                json!({ "role": "tool", "tool_call_id": IDS[1], "content": [{ "type": "text", "text": "a chart" }] }),
                json!({ "role": "user", "content": asks }),
            ];
            ("messages", turns)
        }
        Dialect::OpenaiResponses => {
            let chart = json!([
                { "type": "input_text", "text": "a chart" },
                { "type": "input_image", "image_url": url, "detail": "auto" },
            ]);
            let results = [
                json!({ "type": "function_call_output", "call_id": IDS[0], "output": "rain" }),
                json!({ "type": "function_call_output", "call_id": IDS[1], "output": chart }),
                json!({ "role": "user", "content": "Go on." }),
            ];
            ("input", [read::list(&message["output"]).to_vec(), results.to_vec()].concat())
        }
    };
    request[turns].as_array_mut().expect("a request has turns").extend(more);
    request
}

/// The SDKs' helpers add fields that an application takes out before it sends the message back.
fn without_parsed(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !["parsed", "parsed_arguments", "parsed_output"].contains(&name.as_str()));
            fields.values_mut().for_each(without_parsed);
        }
        Value::Array(items) => items.iter_mut().for_each(without_parsed),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What is wrong with what the provider got in the second turn.
fn problems(client: Dialect, upstream: Dialect, request: &Received) -> Vec<String> {
    let mut problems = legal::problems(upstream, request);
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let asked = asked::read(upstream, &body);
    let mut check = |holds: bool, problem: &str| {
        if !holds {
            problems.push(problem.to_owned());
        }
    };
    let call = |id: &str, arguments| {
        (id.to_owned(), "weather".to_owned(), serde_json::from_str(arguments).expect("arguments are JSON"))
    };
    check(asked.calls == [call(IDS[0], PARIS), call(IDS[1], TOKYO)], "calls");
    let results: Vec<_> = asked.results.iter().map(|(id, _)| id.as_str()).collect();
    check(results == IDS, "the order of the results");
    let told = asked.results.iter().zip(["rain", "a chart"]).all(|((_, text), said)| text.contains(said));
    check(told, "the results");
    check(asked.images == [PNG], "the picture");
    check(asked.assistant == SAID, "what the assistant said");
    check(asked.user.iter().any(|text| text == "Go on."), "what the user said last");
    check(asked.system == SYSTEM && asked.tools.len() == 2, "the system prompt or the tools");
    let proof = match upstream {
        Dialect::Anthropic => SIGNATURE,
        Dialect::OpenaiResponses => ENCRYPTED,
        Dialect::OpenaiChat => "",
    };
    let thought = [(THOUGHT.to_owned(), proof.to_owned())];
    match (client, upstream) {
        // Some servers want it back and others ignore it.
        (_, Dialect::OpenaiChat) => check(asked.thoughts.is_empty() || asked.thoughts == thought, "thinking"),
        // A proof that chat has no place for cannot be made up.
        (Dialect::OpenaiChat, _) => check(asked.thoughts.is_empty(), "thinking that nothing proves"),
        _ => check(asked.thoughts == thought, "the provider's own thinking"),
    }
    if client != Dialect::OpenaiChat && upstream == Dialect::OpenaiResponses {
        let id = read::list(&body["input"]).iter().find(|item| item["type"] == "reasoning").map(|item| &item["id"]);
        check(id == Some(&json!(REASONING_ID)), "the id of the reasoning");
    }
    if !problems.is_empty() {
        problems.push(body.to_string());
    }
    problems
}

/// The model's name tells the calls apart.
fn model(turn: &str, sdk: Sdk, way: &str) -> String {
    format!("{turn}.{}.{way}", sdk.key())
}

async fn conversation(client: Dialect, upstream: Dialect, through_gateway: bool) {
    let provider = Provider::start().await;
    let gateway = if through_gateway { Some(super::gateway(&provider, upstream).await) } else { None };
    let url = gateway.as_ref().map_or_else(|| provider.url(), super::Gateway::url);
    let second = Said { parts: vec![Part::Text(vec![ANSWER])], tokens: tokens(), interleaved: false };
    for way in WAYS {
        for sdk in Sdk::BOTH {
            let (first, answer) = (model("first", sdk, way), first_answer());
            let script = match way {
                "stream" => Script::sse(answer.stream(upstream, &first)),
                _ => Script::json(answer.whole(upstream, &first)),
            };
            provider.on_model(&first, script);
            let last = model("second", sdk, way);
            provider.on_model(&last, Script::json(second.whole(upstream, &last)));
        }
    }
    let run = async |sdk: Sdk| {
        let jobs = [Mode::Stream, Mode::Json]
            .into_iter()
            .zip(WAYS)
            .map(|(mode, way)| Job::new(client, &url, mode, &model("first", sdk, way)).with(&first_request(client)));
        let jobs = sdk.run(&jobs.collect::<Vec<_>>()).await.into_iter().zip(WAYS).map(|(outcome, way)| {
            let message = outcome.message.unwrap_or_else(|| panic!("{sdk:?}, {way}: {:?}", outcome.helper_error));
            let job = Job::new(client, &url, Mode::Json, &model("second", sdk, way));
            job.with(&second_request(client, &message))
        });
        for (outcome, way) in sdk.run(&jobs.collect::<Vec<_>>()).await.into_iter().zip(WAYS) {
            let context = format!("{client:?} to {upstream:?} with {sdk:?}, {way}");
            let answer = outcome.message.unwrap_or_else(|| panic!("{context}: {:?}", outcome.helper_error));
            assert_eq!(read::message(client, &answer).text, ANSWER, "{context}");
            let body = |request: &Received| serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
            let requests = provider.requests();
            let mine = requests.iter().find(|request| body(request)["model"] == model("second", sdk, way));
            let problems = problems(client, upstream, mine.expect("the second request reached the provider"));
            assert!(problems.is_empty(), "{context}:\n  {}", problems.join("\n  "));
        }
    };
    tokio::join!(run(Sdk::Python), run(Sdk::Node));
    if let Some(gateway) = gateway {
        gateway.stop().await;
    }
}

#[tokio::test]
async fn without_the_gateway_every_conversation_goes_on() {
    for dialect in Dialect::ALL {
        conversation(dialect, dialect, false).await;
    }
}

macro_rules! conversations {
    ($($name:ident: $client:ident => $upstream:ident,)*) => {
        $(#[tokio::test]
        async fn $name() {
            conversation(Dialect::$client, Dialect::$upstream, true).await;
        })*
    };
}

conversations! {
    turns_of_messages_to_messages: Anthropic => Anthropic,
    turns_of_messages_to_chat: Anthropic => OpenaiChat,
    turns_of_messages_to_responses: Anthropic => OpenaiResponses,
    turns_of_chat_to_messages: OpenaiChat => Anthropic,
    turns_of_chat_to_chat: OpenaiChat => OpenaiChat,
    turns_of_chat_to_responses: OpenaiChat => OpenaiResponses,
    turns_of_responses_to_messages: OpenaiResponses => Anthropic,
    turns_of_responses_to_chat: OpenaiResponses => OpenaiChat,
    turns_of_responses_to_responses: OpenaiResponses => OpenaiResponses,
}
