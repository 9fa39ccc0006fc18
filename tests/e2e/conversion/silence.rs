//! A provider that says nothing for a while: clients of another dialect hear that the answer goes on.

use std::time::Duration;

use super::name;
use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{End, Request, Version},
        gateway::Gateway,
        samples::Text,
    },
};

#[tokio::test]
async fn keepalives_bridge_a_silence_behind_the_first_words() {
    for upstream in Dialect::ALL {
        let provider = Provider::start().await;
        let upstreams = format!("- {{ name: only, url: \"{}\", dialects: [{}] }}\n", provider.url(), name(upstream));
        let settings = "timeouts: { keepalive: 100ms }";
        let gateway = Gateway::with(&provider).upstreams(&upstreams).settings(settings).start().await;
        for client in Dialect::ALL {
            let (mut text, start) = Text::open(upstream, &["Hello"]);
            let rest = text.delta(" again") + &text.close();
            provider.expect(Script::sse(start).pause(Duration::from_millis(1500)).then(rest));
            let answer = gateway.call(Version::Http1, Request::stream(client)).await;
            let told = answer.text();
            assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{told}");
            let keepalive = match client {
                Dialect::Anthropic => "event: ping\n",
                Dialect::OpenaiChat => ": keepalive\n\n",
                Dialect::OpenaiResponses => "event: response.in_progress\n",
            };
            let (before, behind) = told.split_once("Hello").expect("the first words");
            let silence = behind.split_once(" again").expect("the last words").0;
            // What the provider itself says keeps its place and gets no company.
            let count = silence.matches(keepalive).count();
            assert!(if client == upstream { count == 0 } else { count >= 3 }, "{count} of {upstream:?} in {told}");
            assert!(!before.contains(": keepalive"), "{told}");
        }
        gateway.stop().await;
    }
}
