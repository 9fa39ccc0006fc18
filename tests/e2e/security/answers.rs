//! Answers that say one thing to a policy and another to a client, through Envoy. The core's tests (`core::hiding`,
//! `core::responses`) go through every place in a stream; these are about what HTTP adds.

use super::{SECRET, Scene, call};
use crate::{
    common::streams::Dialect,
    fakes::script::Script,
    harness::{
        client::{Request, Version},
        samples,
    },
};

#[tokio::test]
async fn an_answer_is_read_as_its_client_reads_it_or_refused() {
    let scene = Scene::start(|builder| builder).await;
    let json = samples::whole(Dialect::Anthropic, SECRET, &[]);
    let stream = || samples::text(Dialect::Anthropic, &[SECRET]);
    let twice = json.replacen('{', r#"{"content":[{"type":"text","text":"x"}],"#, 1);
    for (what, script) in [
        ("gzip that is none", Script::json(json.clone()).header("content-encoding", "gzip")),
        ("two codings", Script::json(json.clone()).header("content-encoding", "identity, br")),
        ("no type", Script::json(json.clone()).header("content-type", "")),
        ("text", Script::json(json.clone()).header("content-type", "text/plain")),
        ("HTML", Script::json(json.clone()).header("content-type", "text/html")),
        (
            "parts of it",
            Script::json(json.clone()).status(206).header("content-type", "multipart/byteranges; boundary=x"),
        ),
        ("a stream that is said to be JSON", Script::json(stream())),
        ("JSON that is said to be a stream", Script::sse(json.clone())),
        ("a key twice", Script::json(twice)),
        ("a mark before it", Script::json(format!("\u{feff}{json}"))),
        ("more behind it", Script::json(format!("{json}{json}"))),
        ("UTF-16", Script::json(json.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())),
        ("another status", Script::json(json.clone()).status(299)),
        ("nothing behind 204", Script::json("").status(204)),
    ] {
        scene.provider.otherwise(script);
        let (answer, received) = scene.sends(call("")).await;
        scene.is_policed(&answer, &received, what);
        assert_eq!(received.len(), 1, "{what}: {answer}");
    }
    scene.stop().await;
}

#[tokio::test]
async fn a_stream_is_cut_into_events_as_its_client_cuts_it() {
    let scene = Scene::start(|builder| builder).await;
    let plain = samples::text(Dialect::Anthropic, &["x", SECRET]);
    let in_two = |with: &str| plain.replace(SECRET, with);
    for (what, stream) in [
        ("CR", plain.replace('\n', "\r")),
        ("CR LF", plain.replace('\n', "\r\n")),
        ("all of them", plain.replace("\n\n", "\r\n\r")),
        ("a mark", format!("\u{feff}{plain}")),
        ("marks before events", plain.replace("event:", "\u{feff}event:")),
        ("NUL in a name", plain.replace("event:", "ev\0ent:")),
        ("data in two lines", plain.replace("\"type\"", "\ndata: \"type\"")),
        ("another name", plain.replace("event: content_block_delta", "event: ping")),
        ("names in capitals", plain.replace("event:", "Event:")),
        ("escapes", in_two(r"\u0073ecre\u0074")),
        ("a text twice in one event", plain.replace("\"text\":\"secret\"", "\"text\":\"secret\",\"text\":\"x\"")),
        ("a key in capitals", plain.replace("\"text\":\"secret\"", "\"Text\":\"secret\",\"text\":\"x\"")),
        ("events behind the end", format!("{plain}{plain}")),
        ("the last event without its end", plain.trim_end().to_owned()),
    ] {
        for version in Version::BOTH {
            scene.provider.otherwise(Script::sse_in_pieces(stream.as_bytes(), 5));
            let before = scene.provider.requests().len();
            let answer = scene.gateway.call(version, Request::stream(Dialect::Anthropic)).await;
            let received = scene.provider.requests().split_off(before);
            scene.is_policed(&String::from_utf8_lossy(&answer.body), &received, what);
            assert_eq!(received.len(), 1, "{what}");
        }
    }
    scene.stop().await;
}

#[tokio::test]
async fn a_provider_speaks_in_no_other_name() {
    let scene = Scene::start(|builder| builder).await;
    let json = samples::whole(Dialect::Anthropic, SECRET, &[]);
    let names =
        ["x-luthien-call-id", "x-luthien-policy", "x-luthien-dropped", "x-luthien-upstream", "x-luthien-client"];
    let script = names.iter().fold(Script::json(json), |script, name| script.header(name, "forged"));
    scene
        .provider
        .otherwise(script.header("x-envoy-upstream-service-time", "forged").header("etag", "\"of other bytes\""));
    let answer = scene.gateway.call(Version::Http1, Request::whole(Dialect::Anthropic)).await;
    assert_eq!(answer.status, 200);
    let forged: Vec<_> =
        answer.headers.iter().filter(|(_, value)| value.contains("forged") || value.contains("other")).collect();
    assert!(forged.is_empty(), "{forged:?}");
    let length = answer.header("content-length").map(str::parse);
    assert!(length.is_none_or(|length| length == Ok(answer.body.len())), "{:?}", answer.headers);
    scene.stop().await;
}
