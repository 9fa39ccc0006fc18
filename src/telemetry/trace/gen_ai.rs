//! Names of OpenTelemetry's conventions for generative AI, and of the general ones beside them.
//!
//! Their status is still "development", and names change. One set is written: the one that libraries in the field write, as it
//! stood last in `open-telemetry/semantic-conventions`, or with `OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental` the
//! newest of `open-telemetry/semantic-conventions-genai`. What both call the same stands here once.

/// Which set is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Convention {
    /// What libraries in the field write.
    #[default]
    Published,
    /// The newest.
    Latest,
}

/// What is done, as `chat`.
pub const OPERATION: &str = "gen_ai.operation.name";
/// The operation of all our dialects.
pub const CHAT: &str = "chat";
/// Whose protocol the provider speaks.
pub const PROVIDER: &str = "gen_ai.provider.name";
/// The model that was asked for.
pub const REQUEST_MODEL: &str = "gen_ai.request.model";
/// Whether a stream was asked for. Only `true` is written.
pub const REQUEST_STREAM: &str = "gen_ai.request.stream";
/// The most tokens of the answer.
pub const MAX_TOKENS: &str = "gen_ai.request.max_tokens";
/// Sampling.
pub const TEMPERATURE: &str = "gen_ai.request.temperature";
/// Sampling.
pub const TOP_P: &str = "gen_ai.request.top_p";
/// Sampling.
pub const TOP_K: &str = "gen_ai.request.top_k";
/// Sampling.
pub const FREQUENCY_PENALTY: &str = "gen_ai.request.frequency_penalty";
/// Sampling.
pub const PRESENCE_PENALTY: &str = "gen_ai.request.presence_penalty";
/// Sampling.
pub const SEED: &str = "gen_ai.request.seed";
/// How many answers are asked for, unless it is one.
pub const CHOICE_COUNT: &str = "gen_ai.request.choice.count";
/// Texts at which the answer ends.
pub const STOP_SEQUENCES: &str = "gen_ai.request.stop_sequences";
/// How hard the model is to think, in the request's own word.
pub const REASONING_LEVEL: &str = "gen_ai.request.reasoning.level";
/// The answer that this one continues from.
pub const PREVIOUS_RESPONSE: &str = "gen_ai.request.previous_response.id";
/// The client's id of the conversation.
pub const CONVERSATION: &str = "gen_ai.conversation.id";
/// The provider's id of the answer.
pub const RESPONSE_ID: &str = "gen_ai.response.id";
/// The model that answered.
pub const RESPONSE_MODEL: &str = "gen_ai.response.model";
/// Why it ended, one for each alternative.
pub const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// From the request to the first piece of the answer, in seconds.
pub const TIME_TO_FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
/// Tokens read, cached ones included.
pub const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Tokens written.
pub const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// Of those read, those from a cache.
pub const CACHE_READ: &str = "gen_ai.usage.cache_read.input_tokens";
/// Of those written, those of thinking.
pub const REASONING_TOKENS: &str = "gen_ai.usage.reasoning.output_tokens";
/// What the model was sent, as JSON.
pub const INPUT_MESSAGES: &str = "gen_ai.input.messages";
/// What the client got, as JSON.
pub const OUTPUT_MESSAGES: &str = "gen_ai.output.messages";
/// What stands above the conversation, as JSON.
pub const SYSTEM_INSTRUCTIONS: &str = "gen_ai.system_instructions";
/// The tools that the model may call, as JSON.
pub const TOOL_DEFINITIONS: &str = "gen_ai.tool.definitions";
/// The tool that a judge was asked about.
pub const TOOL_NAME: &str = "gen_ai.tool.name";
/// Which of OpenAI's interfaces it is.
pub const OPENAI_API: &str = "openai.api.type";
/// The tier that was asked for.
pub const OPENAI_TIER: &str = "openai.request.service_tier";
/// The host behind everything in between.
pub const SERVER_ADDRESS: &str = "server.address";
/// Its port.
pub const SERVER_PORT: &str = "server.port";
/// How it failed, in a word for programs.
pub const ERROR_TYPE: &str = "error.type";
/// The status of the answer.
pub const HTTP_STATUS: &str = "http.response.status_code";
/// The path, without the query.
pub const URL_PATH: &str = "url.path";

/// Whose protocol it is, which every provider of ours speaks: Anthropic's or OpenAI's.
pub fn vendor(is_anthropic: bool) -> &'static str {
    if is_anthropic { "anthropic" } else { "openai" }
}

impl Convention {
    /// The set that the value of `OTEL_SEMCONV_STABILITY_OPT_IN` asks for.
    pub fn of_opt_in(value: Option<&str>) -> Self {
        let asks = |value: &str| value.split(',').any(|word| word.trim() == "gen_ai_latest_experimental");
        if value.is_some_and(asks) { Self::Latest } else { Self::Published }
    }

    /// Of the tokens read, those written to a cache.
    pub fn cache_write(self) -> &'static str {
        match self {
            Self::Published => "gen_ai.usage.cache_creation.input_tokens",
            Self::Latest => "gen_ai.usage.cache_write.input_tokens",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_names_are_opted_into() {
        for (value, expected) in [
            (None, Convention::Published),
            (Some("http"), Convention::Published),
            (Some("http, gen_ai_latest_experimental"), Convention::Latest),
        ] {
            assert_eq!(Convention::of_opt_in(value), expected, "{value:?}");
        }
    }
}
