//! The words of a prompt that the demo provider obeys.

use axum::http::StatusCode;

/// Every word and what it does, for people. The module header has the same table.
pub(super) const WORDS: [(&str, &str); 11] = [
    ("think", "thinking before the answer (not in Chat Completions)"),
    ("tool", "a call of the request's shell tool, or of its first tool"),
    ("parallel", "a call of every tool, or two of the only one"),
    ("secret", "a text with sk-live-ABCDEF0123, cut over several deltas"),
    ("long", "some hundred lines"),
    ("slow", "100 ms between two events"),
    ("stall", "half of the answer, then silence"),
    ("truncate", "ends without the terminal event"),
    ("reset", "half of the answer, then the connection is dropped"),
    ("error", "half of the answer, then an error event"),
    ("error 429", "an HTTP error, any status from 400 to 599"),
];

/// What a prompt asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Script {
    /// What the answer is made of.
    pub(super) text: Text,
    /// Thinking comes first.
    pub(super) think: bool,
    /// Which tools are called.
    pub(super) tools: Tools,
    /// Time passes between events.
    pub(super) slow: bool,
    /// How the answer ends.
    pub(super) ending: Ending,
    /// An HTTP error in place of any answer.
    pub(super) status: Option<StatusCode>,
}

/// The text of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Text {
    /// Says who speaks and repeats the prompt.
    #[default]
    Echo,
    /// Holds a secret.
    Secret,
    /// Has many lines.
    Long,
}

/// Which tools are called, if the request has any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Tools {
    /// None.
    #[default]
    None,
    /// The one that runs shell commands, or the first.
    One,
    /// All, at least two calls.
    Parallel,
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Ending {
    /// As it should.
    #[default]
    Whole,
    /// In silence, with the connection open.
    Stall,
    /// With the protocol's error.
    Error,
    /// Cleanly, but without the terminal event.
    Truncate,
    /// With a broken connection.
    Reset,
}

impl Script {
    /// Reads the words of `prompt`.
    pub(super) fn read(prompt: &str) -> Self {
        let words: Vec<String> =
            prompt.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect();
        let mut script = Self::default();
        let mut words = words.iter().map(String::as_str).peekable();
        while let Some(word) = words.next() {
            match word {
                "think" | "thinking" => script.think = true,
                "tool" | "tools" if script.tools == Tools::None => script.tools = Tools::One,
                "parallel" => script.tools = Tools::Parallel,
                "secret" => script.text = Text::Secret,
                "long" => script.text = Text::Long,
                "slow" => script.slow = true,
                "stall" => script.ending = Ending::Stall,
                "truncate" => script.ending = Ending::Truncate,
                "reset" => script.ending = Ending::Reset,
                "error" => match words.peek().and_then(|next| http_error(next)) {
                    Some(status) => script.status = Some(status),
                    None => script.ending = Ending::Error,
                },
                _ => {}
            }
        }
        script
    }
}

fn http_error(word: &str) -> Option<StatusCode> {
    let status = StatusCode::from_u16(word.parse().ok()?).ok()?;
    (status.is_client_error() || status.is_server_error()).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_in_any_case_count() {
        assert_eq!(Script::read("Please STALL."), Script { ending: Ending::Stall, ..Script::default() });
        assert_eq!(Script::read("installed a longer toolbox, thinker"), Script::default());
        assert_eq!(Script::read(""), Script::default());
    }

    #[test]
    fn an_error_with_a_status_is_an_http_error() {
        assert_eq!(Script::read("error 529!").status.map(|s| s.as_u16()), Some(529));
        for not_a_status in ["error", "error please", "error 200", "error 42", "error 99999"] {
            let script = Script::read(not_a_status);
            assert_eq!((script.status, script.ending), (None, Ending::Error), "{not_a_status}");
        }
    }

    #[test]
    fn words_combine() {
        let script = Script::read("think slow, then use tools in parallel and reset");
        let expected =
            Script { think: true, slow: true, tools: Tools::Parallel, ending: Ending::Reset, ..Script::default() };
        assert_eq!(script, expected);
        assert_eq!(Script::read("parallel tool").tools, Tools::Parallel);
    }
}
