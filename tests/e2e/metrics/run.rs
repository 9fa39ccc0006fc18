//! A run in which about everything happens that is counted.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        SOON,
        client::{Request, Version},
        gateway::Gateway,
        samples::{self, CALLS, Text},
        within,
    },
};

const RULES: &str = "
policies:
  - { name: guard, type: tool_judge, on_fault: open, config: { judge: { upstream: judges, model: j-1, price: { input: 2.0, output: 1.0 } } } }
  - { name: broken, type: noop, on_fault: open, match: { when: 'call.headers.absent == \"1\"' } }
  - { name: withhold, type: blocked_content, config: { patterns: [forbidden], on_match: refuse } }
  - { name: trial, type: string_replacement, mode: shadow, config: { replacements: { Hello: Bye } } }
  - { name: upper, type: uppercase }
";

/// A gateway with judges, and what its calls meet.
pub(super) struct Run {
    pub(super) gateway: Gateway,
    provider: Provider,
    _judge: Provider,
    envoy: SocketAddr,
    calls: usize,
}

impl Run {
    pub(super) async fn start() -> Self {
        let (provider, judge) = (Provider::start().await, Provider::start().await);
        let says = |text: &str| Script::json(samples::whole(Dialect::OpenaiChat, text, &[]));
        let verdict = |probability: f64| says(&json!({ "probability": probability, "explanation": "so" }).to_string());
        judge.on_text("rm_tree", verdict(0.9));
        judge.on_text("list_files", says("no verdict"));
        judge.otherwise(verdict(0.1));
        let upstreams = format!(
            "- {{ name: fake, url: \"{}\", dialects: [openai_chat, openai_responses, anthropic_messages] }}\n\
             - {{ name: judges, url: \"{}\", dialects: [openai_chat], models: [no-client-asks-for-it], credentials: {{ env: JUDGE_KEY }} }}\n",
            provider.url(),
            judge.url()
        );
        let envoy = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let gateway = Gateway::with(&provider)
            .upstreams(&upstreams)
            .policy(RULES)
            .settings("timeouts: { stall: 1s }\nlog: { format: json }")
            .settings(&format!("telemetry: {{ metrics: {{ envoy_listen: \"{envoy}\" }} }}"))
            .env("JUDGE_KEY", "sk-judge")
            .start()
            .await;
        Self { gateway, provider, _judge: judge, envoy, calls: 0 }
    }

    /// Where the gateway tells its metrics.
    pub(super) fn admin(&self) -> SocketAddr {
        self.gateway.admin_url().strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Where Envoy tells its own.
    pub(super) fn envoy(&self) -> SocketAddr {
        self.envoy
    }

    /// How many calls have ended.
    pub(super) fn ended(&self) -> usize {
        self.calls
    }

    async fn call(&mut self, script: Script, request: Request) {
        self.provider.expect(script);
        self.gateway.call(Version::Http1, request).await;
        self.calls += 1;
    }

    /// One call of each kind; the rules document is refused, and taken.
    pub(super) async fn calls(&mut self) {
        for dialect in Dialect::ALL {
            let (mut text, begin) = Text::open(dialect, &["Hello"]);
            let more = text.delta(" you");
            let script = Script::sse(begin).pause(Duration::from_millis(20)).then(more).then(text.close());
            self.call(script, Request::call(dialect, "talker", true)).await;
        }
        let anthropic = Dialect::Anthropic;
        let tools = Script::json(samples::whole(anthropic, "Working.", &CALLS));
        self.call(tools, Request::whole(anthropic)).await;
        self.call(Script::sse(samples::text(anthropic, &["forbidden"])), Request::stream(anthropic)).await;
        self.call(Script::sse(samples::open_text(anthropic, &["Hello"])).hang(), Request::stream(anthropic)).await;
        self.call(Script::json("{}").status(500), Request::call(anthropic, "unheard-of", false)).await;
        self.gateway.call(Version::Http1, Request::new("GET", "/v1/files")).await;
        self.calls += 1;
        for (rules, refused) in [("policies: wrong", true), (RULES, false)] {
            std::fs::write(self.gateway.rules(), rules).unwrap();
            self.gateway.readyz("a reload", |state| state["rules"]["last_error"].is_null() != refused).await;
        }
    }

    /// The fields of its log lines.
    pub(super) fn log_fields(&self) -> BTreeSet<String> {
        let output = self.gateway.output();
        let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .flat_map(|line| line.as_object().into_iter().flat_map(|line| line.keys().cloned()).collect::<Vec<_>>())
            .collect()
    }

    pub(super) async fn stop(self) {
        within(SOON, "the gateway's end", self.gateway.stop()).await;
    }
}
