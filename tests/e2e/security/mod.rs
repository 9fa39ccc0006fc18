//! Attempts to get past the gateway, through the real Envoy. `docs/security.md` names these tests.

mod admin;
mod answers;
mod bodies;
mod framing;
mod headers;
mod paths;
mod secrets;

use crate::{
    common::streams::Dialect,
    fakes::{
        provider::{Provider, Received},
        script::Script,
    },
    harness::{
        gateway::{Builder, Gateway},
        raw, samples,
    },
};

/// What a policy takes out of every request that it sees.
const UNSEEN: &str = "unseen";
/// What a policy takes out of every answer that it sees.
const SECRET: &str = "secret";
/// Reads requests and answers.
const WATCHING: &str = "
policies:
  - name: watching
    type: string_replacement
    config: { replacements: { unseen: judged, secret: public }, apply_to: both, include_tool_calls: true }
";

/// A gateway with a policy that leaves its mark on whatever it sees, and two providers, of which no call may reach the second.
struct Scene {
    provider: Provider,
    forbidden: Provider,
    gateway: Gateway,
}

impl Scene {
    async fn start(change: impl FnOnce(Builder) -> Builder) -> Self {
        let (provider, forbidden) = (Provider::start().await, Provider::start().await);
        let dialects = "dialects: [openai_chat, openai_responses, anthropic_messages]";
        let upstreams = format!(
            "- {{ name: open, url: \"{}\", {dialects} }}\n\
             - {{ name: forbidden, url: \"{}\", {dialects}, models: [\"nobody asks for it\"] }}\n",
            provider.url(),
            forbidden.url()
        );
        provider.otherwise(Script::json(samples::whole(Dialect::Anthropic, SECRET, &[])));
        let builder = Gateway::with(&provider).upstreams(&upstreams).policy(WATCHING);
        let gateway = change(builder).start().await;
        Self { provider, forbidden, gateway }
    }

    /// Sends bytes on a connection of their own. Returns what came back, and the requests that reached the provider.
    async fn sends(&self, bytes: impl AsRef<[u8]>) -> (String, Vec<Received>) {
        let before = self.provider.requests().len();
        let answer = raw::exchange(self.gateway.listen(), bytes.as_ref()).await;
        (answer, self.provider.requests().split_off(before))
    }

    /// Fails if something got past the policy.
    fn is_policed(&self, answer: &str, received: &[Received], what: &str) {
        for request in received {
            let body = String::from_utf8_lossy(&request.body);
            assert!(!body.contains(UNSEEN), "{what}: the provider got {body}");
        }
        assert!(!answer.contains(SECRET), "{what}: the client got {answer}");
        assert!(self.forbidden.requests().is_empty(), "{what}: another provider was asked");
    }

    /// The requests that reached the provider after the policy saw them, of which there has to be exactly one, answered.
    async fn goes_through(&self, bytes: impl AsRef<[u8]>, what: &str) -> Received {
        let (answer, mut received) = self.sends(bytes).await;
        assert_eq!(raw::statuses(&answer), [200], "{what}: {answer}");
        self.is_policed(&answer, &received, what);
        assert!(answer.contains("public"), "{what}: {answer}");
        assert_eq!(received.len(), 1, "{what}");
        received.remove(0)
    }

    /// Fails unless the request is refused, and nobody hears of it.
    async fn is_refused(&self, bytes: impl AsRef<[u8]>, what: &str) -> String {
        let (answer, received) = self.sends(bytes).await;
        let statuses = raw::statuses(&answer);
        assert!(statuses.iter().all(|status| (400..600).contains(status)), "{what}: {answer}");
        assert!(received.is_empty(), "{what}: {:?}", received.first().map(|request| &request.path));
        self.is_policed(&answer, &received, what);
        answer
    }

    async fn stop(self) {
        assert!(self.forbidden.requests().is_empty());
        self.gateway.stop().await;
    }
}

/// A call of Messages with a text that a policy has to see.
fn body() -> String {
    samples_body(&format!(r#"[{{"role":"user","content":"{UNSEEN}"}}]"#))
}

fn samples_body(messages: &str) -> String {
    format!(r#"{{"model":"m","max_tokens":1,"messages":{messages}}}"#)
}

/// A request line, headers as they are written, and a body with its length.
fn request(line: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("{line}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

/// A call of Messages with more headers, each with its line end.
fn call(headers: &str) -> String {
    request(
        "POST /v1/messages HTTP/1.1",
        &format!("host: gateway\r\ncontent-type: application/json\r\n{headers}"),
        &body(),
    )
}
