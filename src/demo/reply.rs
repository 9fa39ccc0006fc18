//! What is asked and what is answered, before any dialect.

use serde_json::Value;

use super::schema::{arguments, free_text, runs_commands};
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
    /// The tools that may be called.
    pub(super) tools: Vec<Tool>,
    /// Whether the request enables thinking.
    pub(super) thinking: bool,
    /// About how many tokens came in.
    pub(super) tokens: usize,
}

/// A tool of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tool {
    /// Its name.
    pub(super) name: String,
    /// What its arguments are.
    pub(super) input: Input,
}

/// What a tool takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// An object that fits a JSON Schema.
    Object(Value),
    /// Any text.
    Text,
}

impl Tool {
    /// A tool that takes an object, unless the model has to look for it first (`defer_loading`).
    pub(super) fn of_schema(tool: &Value, schema: &Value) -> Option<Self> {
        let deferred = tool.get("defer_loading").and_then(Value::as_bool).unwrap_or(false);
        let name = tool.get("name")?.as_str()?.to_owned();
        (!deferred).then(|| Self { name, input: Input::Object(schema.clone()) })
    }

    fn call(&self) -> Call {
        let input = match &self.input {
            Input::Object(schema) => arguments(schema),
            Input::Text => Value::String(free_text().to_owned()),
        };
        Call { name: self.name.clone(), input }
    }
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
    /// Tool calls.
    pub(super) calls: Vec<Call>,
}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// The tool.
    pub(super) name: String,
    /// An object, or a string for a tool that takes any text.
    pub(super) input: Value,
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
        let calls: usize = self.calls.iter().map(|call| call.name.len() + call.input.to_string().len()).sum();
        tokens(self.whole_text().len() + self.thinking.as_ref().map_or(0, String::len) + calls)
    }
}

fn calls(ask: &Ask, wish: Tools) -> Vec<Call> {
    let tools = &ask.tools;
    match wish {
        Tools::None => Vec::new(),
        Tools::One => {
            let shell = tools.iter().find(|tool| matches!(&tool.input, Input::Object(schema) if runs_commands(schema)));
            shell.or_else(|| tools.first()).map(Tool::call).into_iter().collect()
        }
        Tools::Parallel if tools.len() == 1 => tools.iter().cycle().take(2).map(Tool::call).collect(),
        Tools::Parallel => tools.iter().map(Tool::call).collect(),
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

    fn tool(name: &str, schema: Value) -> Tool {
        Tool { name: name.to_owned(), input: Input::Object(schema) }
    }

    #[test]
    fn no_delta_holds_the_whole_secret() {
        let reply = Reply::new(&Ask::default(), Script::read("secret"));
        assert!(reply.whole_text().contains("sk-live-ABCDEF0123"));
        assert!(reply.text.iter().all(|delta| delta.len() <= CUT));
    }

    #[test]
    fn a_tools_answer_ends_the_loop() {
        let tools = vec![tool("bash", json!({}))];
        let ask = Ask { prompt: "tool".to_owned(), tools, ..Ask::default() };
        assert_eq!(Reply::new(&ask, ask.script()).calls.len(), 1);
        let ask = Ask { tool_result: Some("42".to_owned()), ..ask };
        let reply = Reply::new(&ask, ask.script());
        assert_eq!((reply.calls.len(), reply.whole_text()), (0, "The tool answered: 42".to_owned()));
    }

    #[test]
    fn the_tool_is_one_that_shows_something() {
        let called = |tools: Vec<Tool>| {
            let ask = Ask { prompt: "tool".to_owned(), tools, ..Ask::default() };
            Reply::new(&ask, ask.script()).calls.into_iter().map(|call| call.name).collect::<Vec<_>>()
        };
        let shell = || tool("Bash", json!({ "properties": { "command": { "type": "string" } } }));
        assert_eq!(called(vec![tool("Agent", json!({})), shell()]), ["Bash"]);
        let script = Tool { name: "exec".to_owned(), input: Input::Text };
        assert_eq!(called(vec![script, tool("wait", json!({}))]), ["exec"]);
        assert_eq!(called(vec![tool("Agent", json!({})), tool("Wait", json!({}))]), ["Agent"]);
        // The model would have to search for it before it may call it.
        let deferred = json!({ "name": "Cron", "defer_loading": true });
        assert_eq!(Tool::of_schema(&deferred, &json!({})), None);
    }

    #[test]
    fn parallel_means_at_least_two() {
        let one = Ask { tools: vec![tool("a", json!({}))], ..Ask::default() };
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
