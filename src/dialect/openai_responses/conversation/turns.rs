//! Turns as the items of a Responses request.

use std::collections::HashSet;

use crate::{
    dialect::{
        carried::Carried,
        convert::{
            Writing,
            losses::{Losses, Step},
            names::id,
            openai::{join, mark_error, url, write_content},
        },
    },
    json::{
        Text,
        build::{Object, array},
    },
    model::conversation::{
        Conversation, Document, Image, Input, Media, Part, PartKind, Role, Thinking, ToolCall, ToolResult, Turn,
    },
};

/// Writes turns.
pub(super) struct Turns<'a, 'b> {
    pub(super) writing: &'a mut Writing<'b>,
    /// The ids of the calls of custom tools, whose results are items of another kind.
    custom: HashSet<String>,
    items: Vec<String>,
}

impl<'a, 'b> Turns<'a, 'b> {
    pub(super) fn new(writing: &'a mut Writing<'b>) -> Self {
        Self { writing, custom: HashSet::new(), items: Vec::new() }
    }

    /// Writes every turn.
    pub(super) fn items(mut self, conversation: &Conversation) -> Step<Vec<String>> {
        for turn in &conversation.turns {
            match turn.role {
                Role::System => self.message("developer", &turn.parts)?,
                Role::User => self.user(turn)?,
                Role::Assistant => self.assistant(turn)?,
            }
        }
        Ok(self.items)
    }

    /// The system prompt as a message, which may say where a cache is to end.
    pub(super) fn system(&mut self, parts: &[Part]) -> Step {
        self.message("developer", parts)
    }

    fn message<'c>(&mut self, role: &str, parts: impl IntoIterator<Item = &'c Part>) -> Step {
        if let Some(content) = write_content(parts, self.writing.losses, part)? {
            self.items.push(item("message").str("role", role).raw("content", content).build());
        }
        Ok(())
    }

    fn user(&mut self, turn: &Turn) -> Step {
        let mut others = Vec::new();
        for part in &turn.parts {
            if let PartKind::ToolResult(result) = &part.kind {
                if let Some(cache) = &part.cache {
                    self.writing.losses.hint(cache.name)?;
                }
                self.result(result)?;
            } else {
                others.push(part);
            }
        }
        self.message("user", others)
    }

    fn result(&mut self, result: &ToolResult) -> Step {
        let mut parts = result.parts.clone();
        if result.is_error {
            mark_error(&mut parts);
        }
        let output = write_content(&parts, self.writing.losses, part)?.unwrap_or_else(|| "\"\"".to_owned());
        let custom = self.custom.contains(&result.call);
        let kind = if custom { "custom_tool_call_output" } else { "function_call_output" };
        self.items.push(item(kind).str("call_id", &id(&result.call)).raw("output", output).build());
        Ok(())
    }

    fn assistant(&mut self, turn: &Turn) -> Step {
        for part in &turn.parts {
            if let Some(cache) = &part.cache {
                self.writing.losses.hint(cache.name)?;
            }
            match &part.kind {
                PartKind::Text(text) => {
                    self.items.push(item("message").str("role", "assistant").text("content", text).build());
                }
                PartKind::Refusal(text) => self.refusal(text),
                PartKind::ToolCall(call) => self.call(call),
                PartKind::Thinking(thinking) => self.thinking(thinking)?,
                PartKind::Image(Image { field, .. }) | PartKind::Document(Document { field, .. }) => {
                    self.writing.losses.meaning(*field, "an assistant message takes texts only")?;
                }
                PartKind::ToolResult(_) => {}
            }
        }
        Ok(())
    }

    /// A refusal stands only in a message as the model wrote it, and such a one has an id.
    fn refusal(&mut self, text: &Text) {
        let content = Object::new().str("type", "refusal").text("refusal", text).build();
        let message = item("message")
            .str("id", &format!("msg_{}", self.items.len()))
            .str("role", "assistant")
            .str("status", "completed");
        self.items.push(message.raw("content", array([content])).build());
    }

    fn call(&mut self, call: &ToolCall) {
        let name = self.writing.names.sent(&call.name);
        let fields = |kind| item(kind).str("call_id", &id(&call.id)).str("name", &name);
        self.items.push(match &call.input {
            Input::Arguments(arguments) => fields("function_call").str("arguments", arguments).build(),
            Input::Free(text) => {
                self.custom.insert(call.id.clone());
                fields("custom_tool_call").text("input", text).build()
            }
        });
    }

    fn thinking(&mut self, thinking: &Thinking) -> Step {
        let Some(Carried::Reasoning { id, encrypted }) = thinking.sealed.as_deref().and_then(Carried::open) else {
            return self.writing.losses.hint(thinking.field);
        };
        let text = (!thinking.text.is_empty())
            .then(|| Object::new().str("type", "summary_text").text("text", &thinking.text).build());
        let item = item("reasoning");
        let item = if id.is_empty() { item } else { item.str("id", &id) };
        self.items.push(item.raw("summary", array(text)).str("encrypted_content", &encrypted).build());
        Ok(())
    }
}

fn item(kind: &str) -> Object {
    Object::new().str("type", kind)
}

fn part(part: &Part, losses: &mut Losses) -> Step<Option<Object>> {
    match &part.kind {
        PartKind::Text(text) | PartKind::Refusal(text) => Ok(Some(text_part(text))),
        PartKind::Image(image) => Ok(Some(image_part(image))),
        PartKind::Document(document) => Ok(Some(document_part(document))),
        PartKind::Thinking(thinking) => losses.hint(thinking.field).map(|()| None),
        // These are items of their own.
        PartKind::ToolCall(_) | PartKind::ToolResult(_) => Ok(None),
    }
}

fn text_part(text: &Text) -> Object {
    item("input_text").text("text", text)
}

fn image_part(image: &Image) -> Object {
    let out = item("input_image");
    let out = match &image.source {
        Media::Base64 { media_type, data } => out.text("image_url", &url(media_type, data)),
        Media::Url(url) | Media::Text(url) => out.text("image_url", url),
    };
    out.str("detail", image.detail.as_ref().map_or("auto", |detail| &detail.value))
}

fn document_part(document: &Document) -> Object {
    let title = document.title.as_ref();
    match &document.source {
        Media::Base64 { media_type, data } => {
            let unnamed = Text::new("document.pdf");
            let name = title.unwrap_or(&unnamed);
            item("input_file").text("filename", name).text("file_data", &url(media_type, data))
        }
        Media::Url(url) => item("input_file").text("file_url", url),
        Media::Text(text) => {
            let whole: Vec<&Text> = title.into_iter().chain([text]).collect();
            text_part(&join(&whole, "\n\n"))
        }
    }
}
