//! The one JSON body that says what a stream said.
//!
//! It is what the official Python SDKs make of the stream: the final message of `messages.stream` (of the beta namespace,
//! which knows more), the final completion of `ChatCompletionStreamState`, the final `response`. They give up where a
//! stream breaks their rules. This one is for keeping what was said, so it never fails: what fits nowhere is kept where it
//! would have stood, a stream that was cut gives what came, and nothing is made up for what did not come.
//!
//! Where the SDKs drop something, it says more than they do:
//!
//! - a tool's input that was cut is the text that came, not the part of it that can be read;
//! - what only a later chunk of a completion says of it or of a choice is kept, as Azure's `content_filter_results`; the SDK
//!   keeps what the first one says;
//! - what cannot be joined stands side by side, as Mistral's parts of `content` and the text behind them.
//!
//! Every value stays as it was written until the end, or until something is added to it. Only then is it read, so that an
//! integer beyond 64 bits becomes a float there, and a lone surrogate escape U+FFFD.

mod anthropic;
mod openai_chat;
mod openai_responses;
mod tree;

use serde_json::{Map, Value as Json};

use crate::{
    json::{Kind, Value},
    model::Dialect,
    wire::Frame,
};

use tree::{Fields, Tree};

/// Puts a stream together into the one body that says the same.
///
/// ```
/// use luthien::{dialect::Assembler, model::Dialect, wire::Frame};
///
/// let mut assembler = Assembler::new(Dialect::OpenaiChat);
/// for text in ["Hel", "lo"] {
///     let data = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
///     assembler.take(&Frame::new(data.into(), true));
/// }
/// let completion = assembler.finish().unwrap();
/// assert_eq!(completion["choices"][0]["message"]["content"], "Hello");
/// ```
#[derive(Debug, Clone)]
pub struct Assembler {
    answer: Answer,
    /// What an error event said.
    failure: Fields,
    failure_size: usize,
}

/// What came so far.
#[derive(Debug, Clone)]
enum Answer {
    Anthropic(anthropic::Message),
    OpenaiChat(openai_chat::Completion),
    OpenaiResponses(openai_responses::Response),
}

impl Assembler {
    /// An assembler for one stream in `dialect`.
    pub fn new(dialect: Dialect) -> Self {
        let answer = match dialect {
            Dialect::AnthropicMessages => Answer::Anthropic(anthropic::Message::default()),
            Dialect::OpenaiChat => Answer::OpenaiChat(openai_chat::Completion::default()),
            Dialect::OpenaiResponses => Answer::OpenaiResponses(openai_responses::Response::default()),
        };
        Self { answer, failure: Fields::new(), failure_size: 0 }
    }

    /// Takes the next frame of the stream. What says nothing in the dialect is passed over.
    pub fn take(&mut self, frame: &Frame) {
        let said = frame.said();
        let Some(data) = said.data else { return };
        let named_error = said.event == Some(b"error");
        match Value::parse(&data).ok().filter(|event| event.kind() == Kind::Object) {
            Some(event) if named_error || event.str_at("type").as_deref() == Some("error") => self.fail(event),
            Some(event) => match &mut self.answer {
                Answer::Anthropic(message) => message.take(event),
                Answer::OpenaiChat(completion) => completion.take(event),
                Answer::OpenaiResponses(response) => response.take(event),
            },
            // Whoever stands between may have written no JSON at all.
            None if named_error => self.keep_failure("error", Tree::text(&String::from_utf8_lossy(&data))),
            None if data.starts_with(b"[DONE]") => match &mut self.answer {
                Answer::Anthropic(_) => {}
                // The SDKs stop reading here, whatever follows.
                Answer::OpenaiChat(completion) => completion.end(),
                Answer::OpenaiResponses(response) => response.end(),
            },
            None => {}
        }
    }

    /// About how many bytes it keeps.
    pub fn size(&self) -> usize {
        self.failure_size
            + match &self.answer {
                Answer::Anthropic(message) => message.size(),
                Answer::OpenaiChat(completion) => completion.size(),
                Answer::OpenaiResponses(response) => response.size(),
            }
    }

    /// What the stream said. An error that it said stands under `error`, beside what came before. `None`: nothing.
    pub fn finish(self) -> Option<Json> {
        let mut body = match self.answer {
            Answer::Anthropic(message) => message.finish(),
            Answer::OpenaiChat(completion) => completion.finish(),
            Answer::OpenaiResponses(response) => response.finish(),
        };
        let is_alone = body.is_empty();
        for (key, value) in self.failure {
            match key.as_str() {
                "type" if !is_alone => {}
                "error" => {
                    body.insert(key, value.json());
                }
                _ => {
                    body.entry(key).or_insert_with(|| value.json());
                }
            }
        }
        (!body.is_empty()).then_some(Json::Object(body))
    }

    fn fail(&mut self, event: Value<'_>) {
        if event.some("error").is_none() {
            return self.keep_failure("error", Tree::of(event));
        }
        for member in event.members().filter(|member| member.key != "sequence_number") {
            self.keep_failure(&member.key, Tree::of(member.value));
        }
    }

    /// The first error is the one that clients are told.
    fn keep_failure(&mut self, key: &str, value: Tree) {
        if !self.failure.contains_key(key) {
            self.failure_size += key.len() + value.size();
            self.failure.insert(key.to_owned(), value);
        }
    }
}

/// The object that these fields are.
fn object(fields: Fields) -> Map<String, Json> {
    fields.into_iter().map(|(key, value)| (key, value.json())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn assembled(dialect: Dialect, events: &[&str]) -> Option<Json> {
        let mut assembler = Assembler::new(dialect);
        for event in events {
            assembler.take(&Frame::new(format!("data: {event}\n\n").into(), true));
        }
        assembler.finish()
    }

    #[test]
    fn nothing_said_is_nothing() {
        for dialect in [Dialect::AnthropicMessages, Dialect::OpenaiChat, Dialect::OpenaiResponses] {
            assert_eq!(assembled(dialect, &["[1]", "no JSON", "{}", "[DONE]"]), None);
        }
        assert_eq!(assembled(Dialect::AnthropicMessages, &[r#"{"type":"ping"}"#]), None);
    }

    #[test]
    fn an_error_stands_beside_what_came_before() {
        let start = r#"{"type":"message_start","message":{"type":"message","content":[]}}"#;
        let error = r#"{"type":"error","error":{"type":"overloaded_error"},"request_id":"req_1"}"#;
        assert_eq!(
            assembled(Dialect::AnthropicMessages, &[start, error]).unwrap(),
            json!({"type": "message", "content": [], "error": {"type": "overloaded_error"}, "request_id": "req_1"})
        );
        assert_eq!(
            assembled(Dialect::AnthropicMessages, &[error]).unwrap(),
            json!({"type": "error", "error": {"type": "overloaded_error"}, "request_id": "req_1"})
        );
        let mut assembler = Assembler::new(Dialect::OpenaiChat);
        assembler.take(&Frame::new("event: error\ndata: upstream is gone\n\n".into(), true));
        assert_eq!(assembler.finish().unwrap(), json!({"error": "upstream is gone"}));
    }

    #[test]
    fn indexes_may_be_anything() {
        let start = r#"{"type":"content_block_start","index":18446744073709551615,"content_block":{"type":"text"}}"#;
        let delta =
            r#"{"type":"content_block_delta","index":18446744073709551615,"delta":{"type":"text_delta","text":"a"}}"#;
        let lost = r#"{"type":"content_block_delta","index":-1,"delta":{"type":"text_delta","text":"b"}}"#;
        assert_eq!(
            assembled(Dialect::AnthropicMessages, &[start, delta, lost]).unwrap(),
            json!({"content": [{"type": "text", "text": "a"}, {"text": "b"}]})
        );
        let call = |index: &str, name: &str| {
            format!(
                r#"{{"choices":[{{"index":9,"delta":{{"tool_calls":[{{{index}"function":{{"name":"{name}"}}}}]}}}}]}}"#
            )
        };
        let calls = [call("\"index\":5,", "a"), call("\"index\":3,", "b"), call("", "c"), call("\"index\":5,", "d")];
        let completion = assembled(Dialect::OpenaiChat, &calls.each_ref().map(String::as_str)).unwrap();
        let names: Vec<_> = completion["choices"][0]["message"]["tool_calls"].as_array().unwrap().iter().collect();
        assert_eq!(names.iter().map(|call| &call["function"]["name"]).collect::<Vec<_>>(), ["b", "ad", "c"]);
    }

    #[test]
    fn a_body_that_nests_too_deeply_is_kept_as_text() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        for merged in [false, true] {
            let chunk = format!(r#"{{"choices":[{{"index":0,"delta":{{"x":{deep}}}}}]}}"#);
            let chunks = vec![chunk.as_str(); 1 + usize::from(merged)];
            let completion = assembled(Dialect::OpenaiChat, &chunks).unwrap();
            assert!(completion.to_string().contains(&deep[100..deep.len() - 100]), "{merged}");
        }
    }
}
