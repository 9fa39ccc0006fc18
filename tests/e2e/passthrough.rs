//! What no policy changes arrives byte for byte, in both directions.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use crate::{
    common::streams::{self, Class, Dialect, Vector},
    fakes::{
        provider::Provider,
        script::{Gate, Script},
    },
    harness::{
        client::{self, End, Request, Version},
        gateway::Gateway,
        samples,
        sdk::{Job, Mode, Outcome, Sdk},
    },
};

/// No rules at all, and rules that read every text and never find what they look for.
const INERT: [&str; 2] = ["policies: []\n", NEVER_MATCHES];
const NEVER_MATCHES: &str = "
policies:
  - name: never
    type: string_replacement
    config: { replacements: { 'words that nobody says': 'nothing' } }
";
/// Sizes of the provider's pieces.
const PIECES: [usize; 4] = [7, 64, 1, 4096];

fn legal_vectors() -> Vec<Vector> {
    Dialect::ALL
        .into_iter()
        .flat_map(streams::vectors)
        .filter(|vector| matches!(vector.class, Class::Legal | Class::Rewrite))
        .collect()
}

#[tokio::test]
async fn every_legal_vector_arrives_as_it_was_sent() {
    let provider = Provider::start().await;
    for policy in INERT {
        let gateway = Gateway::with(&provider).policy(policy).start().await;
        for (vector, size) in legal_vectors().iter().zip(PIECES.into_iter().cycle()) {
            for version in Version::BOTH {
                provider.expect(Script::sse_in_pieces(&vector.bytes, size));
                let answer = gateway.call(version, Request::stream(vector.dialect)).await;
                let context = format!("{} over {version:?} in pieces of {size} under {policy}", vector.name);
                assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{context}");
                assert_eq!(answer.text(), String::from_utf8_lossy(&vector.bytes), "{context}");
                assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"), "{context}");
            }
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn every_recorded_stream_arrives_as_it_was_sent() {
    let provider = Provider::start().await;
    for policy in INERT {
        let gateway = Gateway::with(&provider).policy(policy).start().await;
        for dialect in Dialect::ALL {
            for (index, stream) in streams::recorded(dialect).unwrap_or_default().iter().enumerate() {
                let (version, size) = (Version::BOTH[index % 2], PIECES[index % PIECES.len()]);
                provider.expect(Script::sse_in_pieces(&stream.bytes, size));
                let answer = gateway.call(version, Request::stream(dialect)).await;
                let context = format!("{} over {version:?} in pieces of {size} under {policy}", stream.name);
                assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{context}");
                assert_eq!(String::from_utf8_lossy(&answer.body), String::from_utf8_lossy(&stream.bytes), "{context}");
            }
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn the_sdks_read_every_legal_vector_as_without_the_gateway() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(NEVER_MATCHES).start().await;
    let vectors = legal_vectors();
    for vector in &vectors {
        provider.on_model(&vector.name, Script::sse_in_pieces(&vector.bytes, 7));
    }
    let jobs: Vec<Job> =
        vectors.iter().map(|vector| Job::new(vector.dialect, &gateway.url(), Mode::Both, &vector.name)).collect();
    for sdk in Sdk::BOTH {
        for (vector, outcome) in vectors.iter().zip(sdk.run(&jobs).await) {
            assert_eq!(outcome, Outcome::expected(vector.expected(sdk.key())), "{} in {sdk:?}", vector.name);
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_whole_answer_arrives_as_it_was_sent() {
    // What a rebuilt JSON would not keep: white space, key order, number texts, a lone surrogate, a repeated key.
    let odd = "{ \"zeta\": 1e3,\t\"big\": 9007199254740993, \"one\": 1.0, \"half\": \"\\ud83d\", \"zeta\": -0,\n ";
    let provider = Provider::start().await;
    for policy in INERT {
        let gateway = Gateway::with(&provider).policy(policy).start().await;
        for dialect in Dialect::ALL {
            let plain = samples::whole(dialect, "Hello", &samples::CALLS);
            for body in [format!("{odd}{} \n", &plain[1..]), plain] {
                for version in Version::BOTH {
                    provider.expect(Script::json(body.clone()).header("request-id", "req_1"));
                    let answer = gateway.call(version, Request::whole(dialect)).await;
                    assert_eq!((answer.status, &answer.end), (200, &End::Clean));
                    assert_eq!(answer.text(), body, "{dialect:?} over {version:?} under {policy}");
                    assert_eq!(answer.header("request-id"), Some("req_1"));
                }
            }
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_provider_error_arrives_as_it_was_sent() {
    let body = "{\"type\":\"error\", \"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}";
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(NEVER_MATCHES).start().await;
    for status in [400, 401, 429, 500, 529] {
        for (version, dialect) in Version::BOTH.into_iter().cycle().zip(Dialect::ALL) {
            provider.expect(Script::json(body).status(status).header("retry-after", "7"));
            let answer = gateway.call(version, Request::stream(dialect)).await;
            assert_eq!((answer.status, &answer.end), (status, &End::Clean));
            assert_eq!((answer.text().as_str(), answer.header("retry-after")), (body, Some("7")));
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_reaches_the_provider_as_it_was_sent() {
    let body = "{ \"stream\":false,\n\"model\" : \"m\", \"temperature\": 1e0, \"seed\": 9007199254740993, \
                \"messages\":[ {\"role\":\"user\",\"content\":\"half \\ud83d\"} ], \"max_tokens\": 16.0 }  ";
    let provider = Provider::start().await;
    for policy in INERT {
        let gateway = Gateway::with(&provider).policy(policy).start().await;
        for (dialect, path) in [
            (Dialect::Anthropic, "/v1/messages?beta=true"),
            (Dialect::OpenaiChat, "/v1/chat/completions"),
            (Dialect::OpenaiResponses, "/v1/responses?include=nothing"),
        ] {
            let own = if dialect == Dialect::OpenaiResponses { "\"input\"" } else { "\"messages\"" };
            let body = body.replace("\"messages\"", own);
            for version in Version::BOTH {
                let number = provider.requests().len();
                provider.expect(Script::json(samples::whole(dialect, "Hello", &[])));
                let request = Request::post(path, body.clone())
                    .header("anthropic-beta", "a-1,b-2")
                    .header("x-stainless-retry-count", "0")
                    .header("accept-encoding", "gzip, br");
                assert_eq!(gateway.call(version, request).await.status, 200);
                let received = provider.request(number).await;
                assert_eq!(received.body, body, "{dialect:?} over {version:?} under {policy}");
                assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", path));
                assert_eq!(received.header("anthropic-beta"), Some("a-1,b-2"));
                assert_eq!(received.header("x-stainless-retry-count"), Some("0"));
                assert_eq!(received.header("content-type"), Some("application/json"));
                // A compressed answer could not be read.
                assert_eq!(received.header("accept-encoding"), None);
            }
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_request_of_32_mib_reaches_the_provider() {
    const SIZE: usize = 32 << 20;
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(NEVER_MATCHES).start().await;
    let (start, end) = (r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":""#, r#""}]}"#);
    let body = format!("{start}{}{end}", "x".repeat(SIZE - start.len() - end.len()));
    for (number, version) in Version::BOTH.into_iter().enumerate() {
        provider.expect(Script::json(samples::whole(Dialect::Anthropic, "Hello", &[])));
        let answer = gateway.call(version, Request::post("/v1/messages", body.clone())).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(provider.request(number).await.body == body, "the body was changed on its way");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn five_hundred_streams_at_once_all_arrive() {
    const STREAMS: usize = 500;
    allow_open_files();
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(NEVER_MATCHES).start().await;
    let vector = streams::vector("anthropic/08-thinking-signature-redacted");
    let gate = Gate::new();
    let (first, rest) = vector.bytes.split_at(vector.bytes.len() / 2);
    provider.otherwise(Script::sse(first.to_vec()).wait(&gate).then(rest.to_vec()));
    let mut calls = JoinSet::new();
    for index in 0..STREAMS {
        let (address, version) = (gateway.listen(), Version::BOTH[index % 2]);
        calls.spawn(
            async move { client::send(version, address, Request::stream(Dialect::Anthropic)).await.finish().await },
        );
    }
    // All of them are open before any of them ends.
    provider.request(STREAMS - 1).await;
    gate.open();
    while let Some(answer) = calls.join_next().await {
        let answer = answer.expect("the call's task ends well");
        assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{}", answer.text());
        assert_eq!(answer.body, vector.bytes);
    }
    gateway.stop().await;
}

/// Both ends of each stream are sockets of this process, and the gateway inherits its limit from here.
fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .expect("a process may raise its limit of open files to the maximum");
}
