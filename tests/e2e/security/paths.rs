//! Spellings of a path that a provider could take for one with policies.

use tokio::process::Command;

use super::{Scene, body, request};
use crate::harness::{
    client::{self, Request, Version},
    raw,
};

/// Each leads to `/v1/messages` on some server.
const SPELLINGS: [&str; 44] = [
    "/v1/messages",
    "/v1/messages?beta=true",
    "/v1/messages?",
    "/v1/messages??x",
    "/v1/messages?x=/v1/models",
    "/v1/messages/",
    "/v1/messages//",
    "//v1/messages",
    "/v1//messages",
    "/v1/./messages",
    "/./v1/messages",
    "/v1/x/../messages",
    "/v1/models/../messages",
    "/v1/models/%2e%2e/messages",
    "/v1/models/%252e%252e/messages",
    "/v1/models/..%2fmessages",
    "/v1/models/..;/messages",
    "/v1/models/..%3b/messages",
    "/../v1/messages",
    "/v1%2fmessages",
    "/v1%2Fmessages",
    "/v1%5cmessages",
    "/v1\\messages",
    "/v1%252fmessages",
    "/v1/%6dessages",
    "/v1/%6Dessages",
    "/v1/%256dessages",
    "/%76%31/messages",
    "/V1/messages",
    "/v1/Messages",
    "/V1/MESSAGES",
    "/v1/messages;x=y",
    "/v1;x/messages",
    "/v1/messages%3bx",
    "/v1/messages%20",
    "/v1/messages.",
    "/v1/messages%00",
    "/v1/messages%0d%0ax-luthien-upstream:%20forbidden",
    "/v1/messages%3Fx",
    "/v1/messages#x",
    "/v1/messages%23x",
    "/v1/%c0%ae%c0%ae/v1/messages",
    "/v1/models/%c0%af../messages",
    "/anthropic/v1/messages",
];

/// What no server should be sent at all.
const BROKEN: [&str; 8] = [
    "v1/messages",
    "*",
    "/v1/messages\t",
    "/v1/mess\x01ages",
    "/v1/mess\0ages",
    "/v1/mess\u{fe}ages",
    "http:/v1/messages",
    "http://",
];

/// Every spelling goes through the policy, or is refused: also where every unpoliced path passes.
#[tokio::test]
async fn no_spelling_of_a_path_gets_past_the_policies() {
    for settings in [
        "unpoliced: { otherwise: pass }",
        "unpoliced: { pass: [\"POST /*\", \"GET /*\", \"POST /v1/models*\"] }",
        "unpoliced: { otherwise: refuse }",
    ] {
        let scene = Scene::start(|builder| builder.settings(settings)).await;
        let mut through = 0;
        for path in SPELLINGS.into_iter().chain(BROKEN) {
            let line = format!("POST {path} HTTP/1.1");
            let sent = request(&line, "host: gateway\r\ncontent-type: application/json\r\n", &body());
            let (answer, received) = scene.sends(sent).await;
            let what = format!("{path:?} with {settings}");
            scene.is_policed(&answer, &received, &what);
            let statuses = raw::statuses(&answer);
            assert_eq!(statuses.contains(&200), !received.is_empty(), "{what}: {answer}");
            // The provider reads what was judged.
            for request in &received {
                let path = request.path.split('?').next();
                assert_eq!(path, Some("/v1/messages"), "{what}");
                through += 1;
            }
        }
        assert!(through >= 5, "{through}");
        scene.stop().await;
    }
}

/// What is said beforehand is what happens: a path is covered by a dialect, or refused.
#[tokio::test]
async fn explain_says_what_becomes_of_every_spelling() {
    let scene = Scene::start(|builder| builder.settings("unpoliced: { otherwise: pass }")).await;
    for path in SPELLINGS {
        let line = format!("POST {path} HTTP/1.1");
        let (_, received) =
            scene.sends(request(&line, "host: gateway\r\ncontent-type: application/json\r\n", &body())).await;
        let explained = Command::new(env!("CARGO_BIN_EXE_luthien"))
            .args(["explain", "--path", path, "--config"])
            .arg(scene.gateway.settings())
            .output()
            .await
            .expect("the built program runs");
        let explained = String::from_utf8_lossy(&explained.stdout);
        let covered = explained.contains("dialect:  anthropic_messages");
        assert!(covered || explained.contains("result:   is refused"), "{path}: {explained}");
        assert_eq!(covered, !received.is_empty(), "{path}: {explained}");
    }
    scene.stop().await;
}

#[tokio::test]
async fn http2_spells_no_path_in_another_way() {
    let scene = Scene::start(|builder| builder.settings("unpoliced: { otherwise: pass }")).await;
    for path in SPELLINGS.into_iter().filter(|path| path.parse::<http::Uri>().is_ok()) {
        let before = scene.provider.requests().len();
        let sent = client::try_send(Version::Http2, scene.gateway.listen(), Request::post(path, body())).await;
        let answer = match sent {
            Ok(answer) => String::from_utf8_lossy(&answer.finish().await.body).into_owned(),
            Err(refused) => refused,
        };
        let received = scene.provider.requests().split_off(before);
        scene.is_policed(&answer, &received, path);
        assert!(received.iter().all(|request| request.path.split('?').next() == Some("/v1/messages")), "{path}");
    }
    scene.stop().await;
}

/// An upstream without `/v1` has its calls where others have something else.
#[tokio::test]
async fn a_provider_without_a_version_is_asked_through_policies_only() {
    let scene = Scene::start(|builder| builder.settings("unpoliced: { otherwise: pass }")).await;
    let upstream = format!(
        "- {{ name: open, url: \"{}/api\", v1: false, dialects: [anthropic_messages, openai_chat, openai_responses] }}\n",
        scene.provider.url()
    );
    let gateway = crate::harness::gateway::Gateway::with(&scene.provider)
        .upstreams(&upstream)
        .policy(super::WATCHING)
        .settings("unpoliced: { otherwise: pass }")
        .start()
        .await;
    for (path, arrives) in [
        ("/v1/messages", Some("/api/messages")),
        ("/messages", None),
        ("/Messages/", None),
        ("/chat/completions", None),
        ("/responses", None),
        ("/v1/../messages", None),
        ("/v1/v1/messages", None),
    ] {
        let before = scene.provider.requests().len();
        let sent = request(&format!("POST {path} HTTP/1.1"), "host: gateway\r\n", &body());
        let answer = raw::exchange(gateway.listen(), sent.as_bytes()).await;
        let received = scene.provider.requests().split_off(before);
        scene.is_policed(&answer, &received, path);
        let paths: Vec<_> = received.iter().map(|request| request.path.as_str()).collect();
        assert_eq!(paths, arrives.into_iter().collect::<Vec<_>>(), "{path}: {answer}");
    }
    gateway.stop().await;
    scene.stop().await;
}

/// What providers keep of answers is policed as well.
#[tokio::test]
async fn no_spelling_of_a_kept_answer_gets_past_the_policies() {
    let scene = Scene::start(|builder| builder.settings("unpoliced: { otherwise: pass }")).await;
    for path in [
        "/v1/responses/resp_1/",
        "//v1/responses/resp_1;x",
        "/V1/responses/resp_1",
        "/v1/responses/%72esp_1",
        "/v1/responses/.%2e/responses/resp_1",
        "/responses/resp_1",
    ] {
        let sent = format!("GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n");
        let (answer, received) = scene.sends(sent).await;
        // The scene's answer is one of Messages, which as a response says nothing: what matters is that a policy looked.
        scene.is_policed(&answer, &received, path);
    }
    scene.stop().await;
}
