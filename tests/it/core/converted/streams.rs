//! Every stream there is, for clients of the other dialects.

use luthien::model::Dialect;

use super::{
    super::{
        bodies::{ALL, body_of},
        corpus::{WHOLE, assert_same},
        reader::sse,
        support::streams,
        validator,
    },
    nobody, others, run, run_body,
    said::{self, End, Part, Said, differences},
};
use crate::common::streams::Class;

/// Converts every stream of a dialect, in chunks of several sizes.
fn check(from: Dialect) {
    let mut wrong = Vec::new();
    for stream in streams().iter().filter(|stream| stream.dialect == from) {
        for to in others(from) {
            let what = format!("{} for {to:?}", stream.name);
            let out = run(from, to, &nobody(), &stream.body, usize::MAX).out.concat();
            for size in [1, 7, 64] {
                let cut = run(from, to, &nobody(), &stream.body, size).out.concat();
                let [cut, out] = [&cut, &out].map(|bytes| String::from_utf8_lossy(bytes));
                assert_same(&cut, &out, &format!("{what} in pieces of {size}"));
            }
            let mut problems = validator::problems(to, &out);
            // What the provider says of a call is told as it is.
            let known = validator::problems(from, &stream.body);
            problems.retain(|problem| {
                ["not JSON", "half of a tool call"]
                    .iter()
                    .all(|what| !problem.contains(what) || !known.iter().any(|known| known.contains(what)))
            });
            let sent = said::stream(to, &out);
            let whole = WHOLE.iter().any(|whole| whole.name == stream.name);
            if whole {
                problems.extend(differences(from, to, &said::stream(from, &stream.body), &sent));
            } else if sent.end != End::Failed
                && (stream.class == Some(Class::Error) || !reads_to_its_end(from, &stream.body))
            {
                problems.push(format!("what failed became {:?}", sent.end));
            }
            if !problems.is_empty() {
                wrong.push(format!("{what} ({:?}):\n{}", stream.class, problems.join("\n")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether the plain reader gets to an end without an error, also where the empty line behind the last event is missing.
fn reads_to_its_end(dialect: Dialect, body: &[u8]) -> bool {
    let body = [body, b"\n\n"].concat();
    std::panic::catch_unwind(|| said::stream(dialect, &body).end != End::Failed).unwrap_or(true)
}

#[test]
fn every_stream_of_messages_says_the_same_in_other_dialects() {
    check(Dialect::AnthropicMessages);
}

#[test]
fn every_stream_of_chat_says_the_same_in_other_dialects() {
    check(Dialect::OpenaiChat);
}

#[test]
fn every_stream_of_responses_says_the_same_in_other_dialects() {
    check(Dialect::OpenaiResponses);
}

/// Arguments in bodies are values: what is compared is their JSON. Half of them cannot be one.
fn parsed(said: Said) -> Said {
    let cut = said.end == End::Cut;
    let parts = said.parts.into_iter().map(|part| match part {
        Part::Call { id, name, arguments } => {
            let half = if cut { String::new() } else { arguments.clone() };
            let arguments = sse::json(&arguments).map_or(half, |value| value.to_string());
            Part::Call { id, name, arguments }
        }
        other => other,
    });
    Said { parts: parts.collect(), ..said }
}

#[test]
fn every_body_says_the_same_in_other_dialects() {
    let mut wrong = Vec::new();
    for (name, from, body) in ALL.iter() {
        for to in others(*from) {
            let out = run_body(*from, to, &nobody(), body);
            let what = format!("{name} for {to:?}");
            let [came, sent] = [said::body(*from, body), said::body(to, &out)].map(parsed);
            let differences = differences(*from, to, &came, &sent);
            if !differences.is_empty() {
                wrong.push(format!("{what}:\n{}", differences.join("\n")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_body_says_what_its_stream_says() {
    let mut wrong = Vec::new();
    for stream in WHOLE.iter() {
        let (from, Some(body)) = (stream.dialect, body_of(stream)) else { continue };
        for to in others(from) {
            let streamed = run(from, to, &nobody(), &stream.body, usize::MAX).out.concat();
            let whole = run_body(from, to, &nobody(), &body);
            let [streamed, whole] = [said::stream(to, &streamed), said::body(to, &whole)].map(parsed);
            let differences = differences(to, to, &Said { tokens: whole.tokens, ..streamed }, &whole);
            if !differences.is_empty() {
                wrong.push(format!("{} for {to:?}:\n{}", stream.name, differences.join("\n")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn heads_are_of_the_clients_dialect() {
    for stream in WHOLE.iter() {
        for to in others(stream.dialect) {
            let out = run(stream.dialect, to, &nobody(), &stream.body, usize::MAX).out.concat();
            let events = sse::events(&out).into_iter().filter_map(|event| sse::json(&event.data));
            let first = events.into_iter().find(|event| event["type"] != "ping").expect("an answer begins");
            let (head, prefix) = match to {
                Dialect::AnthropicMessages => (&first["message"], "msg_"),
                Dialect::OpenaiChat => (&first, "chatcmpl-"),
                Dialect::OpenaiResponses => (&first["response"], "resp_"),
            };
            assert!(head["id"].as_str().unwrap().starts_with(prefix), "{} for {to:?}: {first}", stream.name);
        }
    }
}
