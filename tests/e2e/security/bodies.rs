//! Bodies that say one thing to a policy and another to a provider.

use super::{SECRET, Scene, WATCHING, body, call, request, samples_body};
use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{Request, Version},
        gateway::Gateway,
        samples,
    },
};

const LINE: &str = "POST /v1/messages HTTP/1.1";
const JSON: &str = "host: gateway\r\ncontent-type: application/json\r\n";

#[tokio::test]
async fn what_readers_differ_about_is_refused() {
    let scene = Scene::start(|builder| builder).await;
    let plain = body();
    let inner = &plain[1..];
    let messages = |message: &str| samples_body(&format!("[{message}]"));
    let deep = |depth: usize| {
        let block = r#"{"type":"tool_result","tool_use_id":"t","content":["#;
        messages(&format!(r#"{{"role":"user","content":[{}{}]}}"#, block.repeat(depth), "]}".repeat(depth)))
    };
    for (what, body) in [
        ("two messages", format!(r#"{{"messages":[{{"role":"user","content":"Hello"}}],{inner}"#)),
        ("two models", format!(r#"{{"model":"other",{inner}"#)),
        ("two streams", format!(r#"{{"stream":true,"stream":false,{inner}"#)),
        ("two systems", format!(r#"{{"system":"unseen","system":"x",{inner}"#)),
        ("two tools", format!(r#"{{"tools":[],"tools":[{{"name":"a"}}],{inner}"#)),
        ("escaped letters", format!(r#"{{"mod\u0065l":"other",{inner}"#)),
        ("two contents", messages(r#"{"role":"user","content":"unseen","content":"Hello"}"#)),
        ("two texts", messages(r#"{"role":"user","content":[{"type":"text","text":"unseen","te\u0078t":"Hello"}]}"#)),
        ("two types", messages(r#"{"role":"user","content":[{"type":"text","type":"image","text":"unseen"}]}"#)),
        ("two roles", messages(r#"{"role":"system","role":"user","content":"Hello"}"#)),
        (
            "two arguments",
            messages(
                r#"{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"a","input":{"path":"unseen","path":"b"}}]}"#,
            ),
        ),
        ("capitals", format!(r#"{{"Messages":[{{"role":"user","content":"unseen"}}],{inner}"#)),
        ("capitals within", messages(r#"{"role":"user","Content":"unseen"}"#)),
        ("a long s", plain.replace("messages", "meſſages")),
        ("a byte order mark", format!("\u{feff}{plain}")),
        ("more behind it", format!("{plain}{plain}")),
        ("a line of JSON behind it", format!("{plain}\n{{}}")),
        ("NUL behind it", format!("{plain}\0")),
        ("NUL within", plain.replace("unseen", "\0unseen")),
        ("a comment", plain.replacen('{', "{/**/", 1)),
        ("a line comment", plain.replacen('{', "{//\n", 1)),
        ("a comma too many", plain.replacen("}]", "},]", 1)),
        ("single quotes", plain.replace('"', "'")),
        ("NaN", plain.replace(":1,", ":NaN,")),
        ("infinity", plain.replace(":1,", ":-Infinity,")),
        ("a number with a plus", plain.replace(":1,", ":+1,")),
        ("a number in hexadecimal", plain.replace(":1,", ":0x1,")),
        ("a list", format!("[{plain}]")),
        ("a string", "\"unseen\"".to_owned()),
        ("nothing", String::new()),
        ("deep", deep(200)),
        ("deeper than any stack", deep(200_000)),
        ("lists deeper than any stack", format!(r#"{{"x":{}{},{inner}"#, "[".repeat(2_000_000), "]".repeat(2_000_000))),
    ] {
        let answer = scene.is_refused(request(LINE, JSON, &body), what).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("invalid_request_error"), "{what}: {answer}");
    }
    // It is still there.
    scene.goes_through(call(""), "a plain call").await;
    scene.stop().await;
}

#[tokio::test]
async fn what_is_odd_but_plain_goes_through_the_policy() {
    let scene = Scene::start(|builder| builder).await;
    let plain = body();
    for (what, body) in [
        ("escapes", plain.replace("unseen", r"\u0075nse\u0065n")),
        ("half a pair", plain.replace("unseen", r"\ud83d unseen")),
        ("escaped key", plain.replace("content", r"cont\u0065nt")),
        ("a huge number", plain.replace(":1,", ":1e999999,")),
        ("a long number", plain.replace(":1,", &format!(":{},", "9".repeat(10_000)))),
        ("white space", plain.replace(':', " :\r\n\t ")),
        ("keys nobody knows", plain.replacen('{', r#"{"vendor":{"Text":1},"":0,"#, 1).replace("Text", "Own")),
    ] {
        let received = scene.goes_through(request(LINE, JSON, &body), what).await;
        assert!(String::from_utf8_lossy(&received.body).contains("judged"), "{what}");
    }
    scene.stop().await;
}

#[tokio::test]
async fn bodies_in_another_encoding_are_refused() {
    let scene = Scene::start(|builder| builder).await;
    let plain = body();
    let utf16 = |bytes: fn(u16) -> [u8; 2]| plain.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
    let marked = |mark: &[u8], bytes: Vec<u8>| [mark, &bytes].concat();
    let latin = plain
        .replace("unseen", "unseen \u{1}")
        .into_bytes()
        .iter()
        .map(|byte| if *byte == 1 { 0xe9 } else { *byte })
        .collect();
    for (what, body) in [
        ("UTF-16, low byte first", utf16(u16::to_le_bytes)),
        ("UTF-16, high byte first", utf16(u16::to_be_bytes)),
        ("UTF-16 with a mark", marked(b"\xff\xfe", utf16(u16::to_le_bytes))),
        ("UTF-32", plain.chars().flat_map(|char| u32::from(char).to_le_bytes()).collect()),
        ("Latin-1", latin),
        (
            "overlong UTF-8",
            plain
                .clone()
                .into_bytes()
                .iter()
                .flat_map(|byte| if *byte == b'u' { vec![0xc1, 0xb5] } else { vec![*byte] })
                .collect(),
        ),
        (
            "a surrogate in UTF-8",
            plain
                .replace("unseen", "\u{1}")
                .into_bytes()
                .iter()
                .flat_map(|byte| if *byte == 1 { vec![0xed, 0xa0, 0x80] } else { vec![*byte] })
                .collect(),
        ),
        ("gzip that nobody announced", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec()),
    ] {
        let head = format!("{LINE}\r\nconnection: close\r\n{JSON}content-length: {}\r\n\r\n", body.len());
        scene.is_refused([head.into_bytes(), body].concat(), what).await;
    }
    for coding in ["gzip", "br", "zstd", "deflate", "x-gzip", "identity, gzip", "GZIP", "aws-chunked"] {
        scene.is_refused(call(&format!("content-encoding: {coding}\r\n")), coding).await;
    }
    scene.is_refused(call("content-encoding: identity\r\ncontent-encoding: gzip\r\n"), "two codings").await;
    scene.goes_through(call("content-encoding: identity\r\n"), "identity").await;
    scene.stop().await;
}

/// A provider that goes by the type takes the body for something else than JSON in UTF-8.
#[tokio::test]
async fn bodies_that_say_to_be_something_else_are_refused() {
    let scene = Scene::start(|builder| builder).await;
    for kind in [
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "text/plain",
        "text/json",
        "application/xml",
        "application/json; charset=utf-16",
        "application/json; charset=utf-7",
        "application/json;charset=\"iso-8859-1\"",
        "application/json, text/plain",
        "application/jsonx",
        "*/*",
    ] {
        let sent = request(LINE, &format!("host: gateway\r\ncontent-type: {kind}\r\n"), &body());
        let answer = scene.is_refused(sent, kind).await;
        assert!(answer.contains("content-type: application/json"), "{kind}: {answer}");
    }
    let twice = "host: gateway\r\ncontent-type: application/json\r\ncontent-type: text/plain\r\n";
    scene.is_refused(request(LINE, twice, &body()), "two types").await;
    for headers in [
        "host: gateway\r\n",
        "host: gateway\r\ncontent-type: Application/JSON ; Charset=\"UTF-8\"\r\n",
        "host: gateway\r\ncontent-type: application/vnd.api+json\r\n",
    ] {
        scene.goes_through(request(LINE, headers, &body()), headers).await;
    }
    scene.stop().await;
}

/// Each dialect, over HTTP/2: the same rules.
#[tokio::test]
async fn every_dialect_is_read_once() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(WATCHING).start().await;
    for (dialect, bodies) in [
        (
            Dialect::OpenaiChat,
            [
                r#"{"model":"m","messages":[{"role":"user","content":"unseen","content":"x"}]}"#,
                r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"a","arguments":"{\"a\":\"unseen\"}","arguments":"{}"}}]}]}"#,
                r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"unseen","Text":"x"}]}]}"#,
            ],
        ),
        (
            Dialect::OpenaiResponses,
            [
                r#"{"model":"m","instructions":"unseen","instructions":"x","input":"x"}"#,
                r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"unseen","text":"x"}]}]}"#,
                r#"{"model":"m","Input":"unseen","input":"x"}"#,
            ],
        ),
        (
            Dialect::Anthropic,
            [
                r#"{"model":"m","messages":[],"system":[{"type":"text","text":"unseen","text":"x"}]}"#,
                r#"{"model":"m","messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","data":"unseen","data":"x"}}]}]}"#,
                r#"{"model":"m","messages":[],"SYSTEM":"unseen"}"#,
            ],
        ),
    ] {
        provider.otherwise(Script::json(samples::whole(dialect, SECRET, &[])));
        for body in bodies {
            let answer = gateway.call(Version::Http2, Request::post(dialect.path(), body)).await;
            assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        }
    }
    assert!(provider.requests().is_empty());
    gateway.stop().await;
}
