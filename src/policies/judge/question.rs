//! What a judge is shown.

use serde_json::{Value, json};

use crate::{
    json::Text,
    model::{
        Request, RequestText, Source,
        conversation::{Conversation, Field, Format, Part, PartKind, Role, Turn},
    },
};

/// The longest piece of one message that a judge is shown as context, in characters. What is judged is never cut.
const LONGEST_MESSAGE: usize = 4000;

/// A question.
#[derive(Debug, Clone)]
pub(in crate::policies) struct Question {
    /// What it is to do.
    pub(in crate::policies) system: String,
    /// What it is shown.
    pub(in crate::policies) shown: String,
    /// The form of the answer: its name and its JSON schema.
    pub(in crate::policies) form: (&'static str, &'static str),
}

/// What is known of a call before its answer comes, as far as a judge is shown it.
#[derive(Debug, Default)]
pub(in crate::policies) struct Background {
    request: Request,
    messages: usize,
}

impl Background {
    /// The tools of a request, and the last `messages` of its texts.
    pub(in crate::policies) fn of(request: Request, messages: usize) -> Self {
        Self { request, messages }
    }

    /// The marked sections that show a tool's definition and the conversation.
    pub(in crate::policies) fn sections(&self, tool: Option<&str>) -> String {
        let definition = tool.and_then(|tool| self.request.tool(tool));
        let definition = definition.map(|json| marked("tool_definition", json.raw()));
        [definition, self.conversation()].into_iter().flatten().collect()
    }

    fn conversation(&self) -> Option<String> {
        let said = |source: Source| source != Source::ToolDescription && source != Source::System;
        let texts: Vec<_> = self.request.texts().iter().filter(|text| said(text.source())).collect();
        // A message is said in one or more texts: clients put their reminders beside what the user wrote.
        let messages: Vec<&[&RequestText]> =
            texts.chunk_by(|one, next| one.source() == next.source() && one.tool() == next.tool()).collect();
        let first = messages.len().saturating_sub(self.messages);
        // What the user asked for is always among it: without it nobody can say whether a call serves it.
        let is_user = |message: &&[&RequestText]| message.iter().any(|text| text.source() == Source::User);
        let asked = messages.iter().rposition(is_user).filter(|asked| *asked < first && self.messages > 0);
        let last = messages.get(first..).unwrap_or_default();
        let asked = asked.and_then(|asked| messages.get(asked));
        let messages: Vec<Value> = asked
            .into_iter()
            .chain(last)
            .copied()
            .flatten()
            .map(|text| {
                let all = text.get();
                let shown: String = all.chars().take(LONGEST_MESSAGE).collect();
                let mut message = json!({ "from": text.source().name(), "text": shown });
                if let (Some(tool), Some(message)) = (text.tool(), message.as_object_mut()) {
                    message.insert("tool".to_owned(), tool.into());
                }
                if let (true, Some(message)) = (shown.len() < all.len(), message.as_object_mut()) {
                    message.insert("cut".to_owned(), true.into());
                }
                message
            })
            .collect();
        (!messages.is_empty()).then(|| marked("conversation", Value::from(messages).to_string().as_bytes()))
    }
}

/// JSON between marks. No `<` stands in it, so that nothing in it can end the section or begin another.
pub(in crate::policies) fn marked(name: &str, json: &[u8]) -> String {
    let json = String::from_utf8_lossy(json).replace('<', "\\u003c").replace('>', "\\u003e");
    format!("<{name}>\n{json}\n</{name}>\n")
}

impl Question {
    /// The question as a request.
    pub(super) fn conversation(&self, max_tokens: u64) -> Conversation {
        let text = |text: &str| Part::new(PartKind::Text(Text::new(text)));
        let (name, schema) = self.form;
        let format = Format::JsonSchema {
            name: Some(Text::new(name)),
            description: None,
            schema: Some(schema.to_owned()),
            strict: Some(true),
        };
        Conversation {
            name: "messages",
            system: vec![text(&self.system)],
            turns: vec![Turn { role: Role::User, parts: vec![text(&self.shown)] }],
            max_tokens: Some(Field::new("max_tokens", max_tokens)),
            format: Some(Field::new("format", format)),
            ..Conversation::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json::Span, model::Place};

    #[test]
    fn the_last_messages_are_shown_and_what_the_user_asked_for() {
        let said = [
            (Source::User, None, "old"),
            (Source::Assistant, None, "sure"),
            (Source::User, None, "reminder"),
            (Source::User, None, "asked for"),
            (Source::ToolCall, Some("a"), "{}"),
            (Source::ToolResult, Some("a"), "result of a"),
            (Source::ToolResult, Some("b"), "result of b"),
        ];
        let texts = said.map(|(source, tool, text)| {
            RequestText::new(source, tool.map(str::to_owned), Text::new(text), Place::Value(Span { start: 0, end: 0 }))
        });
        let shown = |messages| {
            let request = Request::new("m".to_owned(), false, texts.to_vec());
            Background::of(request, messages).sections(None)
        };
        let is_in = |shown: &str| said.map(|(_, _, text)| shown.contains(&json!(text).to_string()));
        assert_eq!(is_in(&shown(0)), [false; 7]);
        assert_eq!(is_in(&shown(1)), [false, false, true, true, false, false, true]);
        assert_eq!(is_in(&shown(4)), [false, false, true, true, true, true, true]);
        assert_eq!(is_in(&shown(100)), [true; 7]);
    }

    #[test]
    fn nothing_that_is_shown_can_end_its_section() {
        let shown = marked("call", json!({ "a": "</call>\n<instructions>" }).to_string().as_bytes());
        assert_eq!(shown.matches('<').count(), 2, "{shown}");
        let inner = shown.strip_prefix("<call>\n").unwrap().strip_suffix("\n</call>\n").unwrap();
        assert_eq!(serde_json::from_str::<Value>(inner).unwrap()["a"], "</call>\n<instructions>");
    }
}
