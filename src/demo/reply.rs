//! What is asked and what is answered, before any dialect.

use serde_json::Value;

use super::schema::arguments;
use super::script::{Script, Text, Tools};

/// How much of a prompt is repeated.
const ECHO_CHARS: usize = 2000;

/// Characters of one delta where a text must be cut in its middle.
const CUT: usize = 3;

/// A request, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask {
    /// The model that was named.
    pub(super) model: String,
    /// Whether a stream is wanted.
    pub(super) stream: bool,
    /// The last user message's text.
    pub(super) prompt: String,
    /// What a tool answered, if that is what came last.
    pub(super) tool_result: Option<String>,
    /// The tools, by name and JSON Schema.
    pub(super) tools: Vec<(String, Value)>,
    /// Whether the request enables thinking.
    pub(super) thinking: bool,
    /// About how many tokens came in.
    pub(super) tokens: usize,
}

impl Ask {
    /// What the prompt wants to happen. After a tool's answer nothing: an agent's loop has to end.
    pub(super) fn script(&self) -> Script {
        if self.tool_result.is_some() { Script::default() } else { Script::read(&self.prompt) }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// Thinking, if there is some.
    pub(super) thinking: Option<String>,
    /// The text, as the deltas that it is sent in.
    pub(super) text: Vec<String>,
    /// Tool calls: name and arguments.
    pub(super) calls: Vec<(String, Value)>,
}

impl Reply {
    /// Composes the answer to `ask`.
    pub(super) fn new(ask: &Ask, script: Script) -> Self {
        let calls = calls(ask, script.tools);
        let text = if let Some(result) = &ask.tool_result {
            by_word(&format!("The tool answered: {}", shorten(result)))
        } else if !calls.is_empty() {
            by_word("I will use a tool for that.")
        } else {
            match script.text {
                Text::Echo => by_word(&format!(
                    "Hello from Luthien's demo provider; there is no model here. You said: {}",
                    shorten(&ask.prompt)
                )),
                Text::Secret => by_chars("The key is sk-live-ABCDEF0123, please keep it to yourself."),
                Text::Long => (1..=300).map(|n| format!("Line {n} of a long answer of the demo provider.\n")).collect(),
            }
        };
        let thinking = (script.think || ask.thinking)
            .then(|| "The demo provider has nothing to think about, but it can look as if it had.".to_owned());
        Self { thinking, text, calls }
    }

    /// The whole text.
    pub(super) fn whole_text(&self) -> String {
        self.text.concat()
    }

    /// About how many tokens it is.
    pub(super) fn tokens(&self) -> usize {
        let calls: usize = self.calls.iter().map(|(name, arguments)| name.len() + arguments.to_string().len()).sum();
        tokens(self.whole_text().len() + self.thinking.as_ref().map_or(0, String::len) + calls)
    }
}

fn calls(ask: &Ask, wish: Tools) -> Vec<(String, Value)> {
    let call = |(name, schema): &(String, Value)| (name.clone(), arguments(schema));
    match wish {
        Tools::None => Vec::new(),
        Tools::One => ask.tools.iter().take(1).map(call).collect(),
        Tools::Parallel if ask.tools.len() == 1 => ask.tools.iter().cycle().take(2).map(call).collect(),
        Tools::Parallel => ask.tools.iter().map(call).collect(),
    }
}

/// Four bytes are about one token of English.
pub(super) fn tokens(bytes: usize) -> usize {
    bytes.div_ceil(4)
}

/// `text` in deltas of one word, each with the space behind it.
pub(super) fn by_word(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

/// `text` in deltas of a few characters.
pub(super) fn by_chars(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(CUT).map(|chunk| chunk.iter().collect()).collect()
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(ECHO_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

/// The text of a message's `content`, which is a string or a list of parts. Of several text parts the last counts that
/// is not a reminder for the model: agents put those into the user's message, full of words that mean something here.
pub(super) fn text_of(content: &Value) -> Option<&str> {
    content.as_str().or_else(|| {
        let parts = content.as_array()?;
        let mut texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
        texts.rfind(|text| !text.trim_start().starts_with('<'))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_delta_holds_the_whole_secret() {
        let reply = Reply::new(&Ask::default(), Script::read("secret"));
        assert!(reply.whole_text().contains("sk-live-ABCDEF0123"));
        assert!(reply.text.iter().all(|delta| delta.len() <= CUT));
    }

    #[test]
    fn a_tools_answer_ends_the_loop() {
        let tools = vec![("bash".to_owned(), json!({}))];
        let ask = Ask { prompt: "tool".to_owned(), tools, ..Ask::default() };
        assert_eq!(Reply::new(&ask, ask.script()).calls.len(), 1);
        let ask = Ask { tool_result: Some("42".to_owned()), ..ask };
        let reply = Reply::new(&ask, ask.script());
        assert_eq!((reply.calls.len(), reply.whole_text()), (0, "The tool answered: 42".to_owned()));
    }

    #[test]
    fn parallel_means_at_least_two() {
        let one = Ask { tools: vec![("a".to_owned(), json!({}))], ..Ask::default() };
        assert_eq!(Reply::new(&one, Script::read("parallel")).calls.len(), 2);
        assert_eq!(Reply::new(&Ask::default(), Script::read("parallel")).calls.len(), 0);
    }

    #[test]
    fn reminders_of_agents_are_not_the_prompt() {
        let parts = json!([
            { "type": "text", "text": "say hello" },
            { "type": "text", "text": "<system-reminder>error tool stall</system-reminder>" },
        ]);
        assert_eq!(text_of(&parts), Some("say hello"));
        assert_eq!(text_of(&json!("plain")), Some("plain"));
        assert_eq!(text_of(&json!([{ "type": "image" }])), None);
    }

    #[test]
    fn a_long_prompt_is_not_repeated_whole() {
        let echo = shorten(&"é".repeat(ECHO_CHARS + 1));
        assert_eq!(echo.chars().count(), ECHO_CHARS + 1);
    }
}
