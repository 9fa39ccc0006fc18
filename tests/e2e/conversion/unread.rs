//! What cannot be read cannot be converted either.

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{Request, Version},
        gateway::Gateway,
    },
};

/// Calls a gateway that lets pass what it cannot read, and whose only upstream speaks another vendor's dialect.
async fn call(request: Request, script: Script) -> (u16, String, usize) {
    let provider = Provider::start().await;
    let upstreams = format!("- {{ name: only, url: \"{}\", dialects: [anthropic_messages] }}\n", provider.url());
    let gateway = Gateway::with(&provider).upstreams(&upstreams).settings("unreadable: pass").start().await;
    provider.otherwise(script);
    let answer = gateway.call(Version::Http1, request).await;
    gateway.stop().await;
    (answer.status, answer.text(), provider.requests().len())
}

#[tokio::test]
async fn a_request_that_cannot_be_read_reaches_no_provider_of_another_vendor() {
    let (status, text, asked) = call(Request::post("/v1/chat/completions", "{"), Script::json("{}")).await;
    assert_eq!((status, asked), (400, 0), "{text}");
    let compressed = Request::whole(Dialect::OpenaiChat).header("content-encoding", "gzip");
    let (status, text, asked) = call(compressed, Script::json("{}")).await;
    assert_eq!((status, asked), (400, 0), "{text}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_an_error_in_the_clients_words() {
    for script in [
        Script::json("{\"x\":1").header("content-encoding", "gzip"),
        Script::json("{\"type\":\"message\""),
        Script::sse("event: message_stop\ndata: {}\n\n"),
    ] {
        let (status, text, asked) = call(Request::whole(Dialect::OpenaiChat), script).await;
        assert_eq!((status, asked), (502, 1), "{text}");
        assert!(text.starts_with("{\"error\":{\"message\":\"the provider's answer"), "{text}");
    }
}
