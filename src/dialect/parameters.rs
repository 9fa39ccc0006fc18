//! What a request asks of the model beside its conversation, for whoever looks on.

use bytes::Bytes;

use crate::{
    json::{Kind, Value},
    model::Dialect,
};

/// What a request asks of the model, as far as it says so.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    /// The most tokens of the answer.
    pub max_tokens: Option<u64>,
    /// Sampling.
    pub temperature: Option<f64>,
    /// Sampling.
    pub top_p: Option<f64>,
    /// Sampling.
    pub top_k: Option<u64>,
    /// Sampling.
    pub frequency_penalty: Option<f64>,
    /// Sampling.
    pub presence_penalty: Option<f64>,
    /// Sampling.
    pub seed: Option<i64>,
    /// How many answers.
    pub choices: Option<u64>,
    /// Texts at which the answer ends.
    pub stop: Vec<String>,
    /// How hard the model is to think, in the request's own word.
    pub reasoning: Option<String>,
    /// The answer that this one continues from.
    pub previous: Option<String>,
    /// The tier that it is to be served in.
    pub tier: Option<String>,
}

/// Reads what the request in `body` asks of the model. Of a body that cannot be read, nothing.
pub fn parameters(dialect: Dialect, body: &Bytes) -> Parameters {
    let Ok(value) = Value::parse(body) else { return Parameters::default() };
    let mut found = Parameters::default();
    for member in value.members() {
        let value = member.value;
        match (&*member.key, dialect) {
            ("max_tokens", Dialect::OpenaiChat | Dialect::AnthropicMessages)
            | ("max_completion_tokens", Dialect::OpenaiChat)
            | ("max_output_tokens", Dialect::OpenaiResponses) => found.max_tokens = value.as_u64(),
            ("temperature", _) => found.temperature = number(value),
            ("top_p", _) => found.top_p = number(value),
            ("top_k", Dialect::AnthropicMessages) => found.top_k = value.as_u64(),
            ("frequency_penalty", Dialect::OpenaiChat) => found.frequency_penalty = number(value),
            ("presence_penalty", Dialect::OpenaiChat) => found.presence_penalty = number(value),
            ("seed", Dialect::OpenaiChat) => found.seed = value.raw_str().parse().ok(),
            ("n", Dialect::OpenaiChat) => found.choices = value.as_u64(),
            ("stop", Dialect::OpenaiChat) | ("stop_sequences", Dialect::AnthropicMessages) => found.stop = texts(value),
            ("reasoning_effort", Dialect::OpenaiChat) => found.reasoning = text(value),
            ("reasoning", Dialect::OpenaiResponses) | ("output_config", Dialect::AnthropicMessages) => {
                found.reasoning = value.get("effort").and_then(text);
            }
            ("previous_response_id", Dialect::OpenaiResponses) => found.previous = text(value),
            ("service_tier", _) => found.tier = text(value),
            _ => {}
        }
    }
    found
}

fn text(value: Value<'_>) -> Option<String> {
    value.as_str().map(std::borrow::Cow::into_owned)
}

fn texts(value: Value<'_>) -> Vec<String> {
    if value.kind() == Kind::String {
        text(value).into_iter().collect()
    } else {
        value.items().filter_map(text).collect()
    }
}

fn number(value: Value<'_>) -> Option<f64> {
    value.raw_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_says_it_in_its_own_words() {
        let read = |dialect, body: &'static str| parameters(dialect, &Bytes::from(body));
        let chat =
            r#"{"max_completion_tokens":9,"temperature":0.5,"n":2,"stop":"x","reasoning_effort":"low","seed":7}"#;
        let expected = Parameters {
            max_tokens: Some(9),
            temperature: Some(0.5),
            choices: Some(2),
            stop: vec!["x".to_owned()],
            reasoning: Some("low".to_owned()),
            seed: Some(7),
            ..Parameters::default()
        };
        assert_eq!(read(Dialect::OpenaiChat, chat), expected);
        let responses = r#"{"max_output_tokens":9,"reasoning":{"effort":"high"},"previous_response_id":"r","n":2}"#;
        let expected = Parameters {
            max_tokens: Some(9),
            reasoning: Some("high".to_owned()),
            previous: Some("r".to_owned()),
            ..Parameters::default()
        };
        assert_eq!(read(Dialect::OpenaiResponses, responses), expected);
        let messages =
            r#"{"max_tokens":9,"top_k":3,"top_p":1,"stop_sequences":["a","b"],"output_config":{"effort":"max"}}"#;
        let expected = Parameters {
            max_tokens: Some(9),
            top_k: Some(3),
            top_p: Some(1.0),
            stop: vec!["a".to_owned(), "b".to_owned()],
            reasoning: Some("max".to_owned()),
            ..Parameters::default()
        };
        assert_eq!(read(Dialect::AnthropicMessages, messages), expected);
        assert_eq!(read(Dialect::OpenaiChat, "no"), Parameters::default());
    }
}
