//! A small matrix against real providers: those for which a key, or a server, is there. `make test-live` runs it.
//!
//! | provider | is there with | model, unless the variable names another |
//! |---|---|---|
//! | Anthropic | `ANTHROPIC_API_KEY` | `LUTHIEN_LIVE_ANTHROPIC_MODEL`: the first that it lists |
//! | OpenAI | `OPENAI_API_KEY` | `LUTHIEN_LIVE_OPENAI_MODEL`: the one below |
//! | Ollama | a server at `OLLAMA_HOST`, or on its usual port | `LUTHIEN_LIVE_OLLAMA_MODEL`: the first that it has |
//!
//! Keys go to the gateway through its environment, never into a file or onto a screen.

use std::{
    env,
    net::{SocketAddr, ToSocketAddrs},
};

use serde_json::{Value, json};

use crate::{
    common::streams::Dialect,
    harness::{
        client::{self, Request, Version},
        gateway::{Builder, Gateway},
        sdk::{Job, Mode, Outcome, Sdk},
    },
};

const OPENAI_MODEL: &str = "gpt-5-mini";
const OLLAMA_PORT: u16 = 11434;

/// A provider that can be called.
struct Live {
    name: &'static str,
    url: String,
    /// The variable that holds its key.
    key: Option<&'static str>,
    dialects: &'static [Dialect],
    model: String,
}

fn variable(name: &str) -> Option<String> {
    env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty())
}

impl Live {
    /// Everybody who is there.
    async fn all() -> Vec<Self> {
        let mut found = Vec::new();
        if variable("ANTHROPIC_API_KEY").is_some() {
            found.push(Self {
                name: "anthropic",
                url: "https://api.anthropic.com".to_owned(),
                key: Some("ANTHROPIC_API_KEY"),
                dialects: &[Dialect::Anthropic],
                model: variable("LUTHIEN_LIVE_ANTHROPIC_MODEL").unwrap_or_default(),
            });
        }
        if variable("OPENAI_API_KEY").is_some() {
            found.push(Self {
                name: "openai",
                url: "https://api.openai.com".to_owned(),
                key: Some("OPENAI_API_KEY"),
                dialects: &[Dialect::OpenaiChat, Dialect::OpenaiResponses],
                model: variable("LUTHIEN_LIVE_OPENAI_MODEL").unwrap_or_else(|| OPENAI_MODEL.to_owned()),
            });
        }
        found.extend(Self::ollama().await);
        found
    }

    async fn ollama() -> Option<Self> {
        let host = variable("OLLAMA_HOST").unwrap_or_else(|| "127.0.0.1".to_owned());
        let host = host.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let host = if host.contains(':') { host } else { format!("{host}:{OLLAMA_PORT}") };
        let address: SocketAddr = host.to_socket_addrs().ok()?.next()?;
        let tags = client::try_send(Version::Http1, address, Request::new("GET", "/api/tags")).await.ok()?;
        let tags = tags.finish().await;
        if tags.status != 200 {
            return None;
        }
        let first = tags.json()["models"][0]["name"].as_str().map(str::to_owned);
        let model = variable("LUTHIEN_LIVE_OLLAMA_MODEL").or(first);
        if model.is_none() {
            println!("ollama: it has no model");
        }
        Some(Self {
            name: "ollama",
            url: format!("http://{address}"),
            key: None,
            dialects: &[Dialect::OpenaiChat],
            model: model?,
        })
    }

    async fn gateway(&self, dialect: Dialect) -> Gateway {
        let dialect = match dialect {
            Dialect::Anthropic => "anthropic_messages",
            Dialect::OpenaiChat => "openai_chat",
            Dialect::OpenaiResponses => "openai_responses",
        };
        let credentials = self.key.map_or(String::new(), |key| format!(", credentials: {{ env: {key} }}"));
        let upstream = format!("- {{ name: live, url: \"{}\", dialects: [{dialect}]{credentials} }}\n", self.url);
        Builder::at(&self.url).upstreams(&upstream).start().await
    }

    /// The first model that the provider lists.
    async fn first_model(gateway: &Gateway) -> String {
        let request = Request::new("GET", "/v1/models").header("anthropic-version", "2023-06-01");
        let answer = gateway.call(Version::Http1, request).await;
        answer.json()["data"][0]["id"].as_str().expect("the provider lists its models").to_owned()
    }

    /// The text without the key, should an error repeat it.
    fn hide(&self, text: &str) -> String {
        match self.key.and_then(variable) {
            Some(key) => text.replace(&key, "(the key)"),
            None => text.to_owned(),
        }
    }
}

/// A question, and whether a tool must be called for the answer.
fn request(client: Dialect, with_tool: bool) -> Value {
    let question = if with_tool { "What is the weather in Paris?" } else { "Answer with the one word: pong" };
    let schema = json!({
        "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"],
        "additionalProperties": false,
    });
    let described = json!({ "name": "weather", "description": "The weather in a city.", "strict": true });
    let mut tool = described.clone();
    let mut request = match client {
        Dialect::Anthropic => {
            tool["input_schema"] = schema;
            json!({ "max_tokens": 2000, "messages": [{ "role": "user", "content": question }] })
        }
        Dialect::OpenaiChat => {
            tool["parameters"] = schema;
            tool = json!({ "type": "function", "function": tool });
            json!({ "max_completion_tokens": 2000, "messages": [{ "role": "user", "content": question }] })
        }
        Dialect::OpenaiResponses => {
            tool["parameters"] = schema;
            tool["type"] = "function".into();
            json!({ "max_output_tokens": 2000, "input": question, "store": false })
        }
    };
    if with_tool {
        request["tools"] = json!([tool]);
    }
    request
}

/// What is wrong with an answer. Models are free in their words: the tests look for the word and the tool.
fn problem(outcome: &Outcome, with_tool: bool) -> Option<String> {
    if outcome.helper_ok != Some(true) {
        return Some(format!("{:?}", outcome.helper_error));
    }
    let mut message = outcome.message.clone().unwrap_or_default();
    // Responses repeats the request.
    message["tools"].take();
    let message = message.to_string();
    let wanted = if with_tool { "\"weather\"" } else { "pong" };
    (!message.to_lowercase().contains(wanted)).then(|| format!("no {wanted} in {message}"))
}

#[tokio::test]
#[ignore = "calls real providers: make test-live"]
async fn real_providers_answer_every_client() {
    let all = Live::all().await;
    if all.is_empty() {
        println!("ran nothing: there is no ANTHROPIC_API_KEY, no OPENAI_API_KEY, and no Ollama");
        return;
    }
    let mut failed = 0;
    for mut live in all {
        for upstream in live.dialects {
            let gateway = live.gateway(*upstream).await;
            if live.model.is_empty() {
                live.model = Live::first_model(&gateway).await;
            }
            println!("{}, {}, {}", live.name, upstream.folder(), live.model);
            let cells: Vec<(Dialect, bool, Mode)> = Dialect::ALL
                .into_iter()
                .flat_map(|client| {
                    [(client, false, Mode::Stream), (client, false, Mode::Json), (client, true, Mode::Stream)]
                })
                .collect();
            let job = |(client, with_tool, mode): &(Dialect, bool, Mode)| {
                Job::new(*client, &gateway.url(), *mode, &live.model).with(&request(*client, *with_tool))
            };
            let jobs: Vec<Job> = cells.iter().map(job).collect();
            for sdk in Sdk::BOTH {
                for ((client, with_tool, mode), outcome) in cells.iter().zip(sdk.run(&jobs).await) {
                    let problem = problem(&outcome, *with_tool);
                    failed += usize::from(problem.is_some());
                    let verdict = problem.map_or("ok".to_owned(), |problem| format!("FAILED: {}", live.hide(&problem)));
                    let asked = if *with_tool { "tool" } else { "text" };
                    println!("  {:17} {sdk:?} {mode:?} {asked}: {verdict}", client.folder());
                }
            }
            gateway.stop().await;
        }
    }
    assert_eq!(failed, 0, "some cells failed");
}
