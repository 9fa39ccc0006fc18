//! Turns as the messages of a chat request.

use crate::{
    dialect::convert::{
        Writing,
        losses::{Losses, Step},
        models::{OpenAi, wants_thoughts},
        names::id,
        openai::{join, mark_error, url, write_content},
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
}

impl Turns<'_, '_> {
    /// Writes every turn, behind the system prompt.
    pub(super) fn messages(&mut self, conversation: &Conversation) -> Step<Vec<String>> {
        let reasons = OpenAi::of(self.writing.target.model).reasons();
        let system = if reasons { "developer" } else { "system" };
        let mut out = Vec::new();
        out.extend(self.message(system, &conversation.system)?);
        for turn in &conversation.turns {
            match turn.role {
                Role::System => out.extend(self.message(system, &turn.parts)?),
                Role::User => self.user(turn, &mut out)?,
                Role::Assistant => out.extend(self.assistant(turn)?),
            }
        }
        Ok(out)
    }

    fn message<'c>(&mut self, role: &str, parts: impl IntoIterator<Item = &'c Part>) -> Step<Option<String>> {
        let content = write_content(parts, self.writing.losses, part)?;
        Ok(content.map(|content| Object::new().str("role", role).raw("content", content).build()))
    }

    /// Results stand in messages of their own, directly behind the calls. They take texts only: what else a tool gave
    /// follows in a message of the user's.
    fn user(&mut self, turn: &Turn, out: &mut Vec<String>) -> Step {
        let mut attached = Vec::new();
        let mut others = Vec::new();
        for part in &turn.parts {
            match &part.kind {
                PartKind::ToolResult(result) => {
                    if let Some(cache) = &part.cache {
                        self.writing.losses.hint(cache.name)?;
                    }
                    out.push(self.result(result, &mut attached)?);
                }
                PartKind::Text(_)
                | PartKind::Refusal(_)
                | PartKind::Image(_)
                | PartKind::Document(_)
                | PartKind::ToolCall(_)
                | PartKind::Thinking(_) => others.push(part),
            }
        }
        let all: Vec<&Part> = attached.iter().chain(others).collect();
        out.extend(self.message("user", all)?);
        Ok(())
    }

    fn result(&mut self, result: &ToolResult, attached: &mut Vec<Part>) -> Step<String> {
        let call = id(&result.call);
        let mut content: Vec<Part> = Vec::new();
        let mut media = Vec::new();
        for part in &result.parts {
            match &part.kind {
                PartKind::Image(_) | PartKind::Document(_) => {
                    let text = "[This part of the result follows in the next user message.]";
                    content.push(Part::new(PartKind::Text(Text::new(text))));
                    media.push(part.clone());
                }
                PartKind::Text(_)
                | PartKind::Refusal(_)
                | PartKind::ToolCall(_)
                | PartKind::ToolResult(_)
                | PartKind::Thinking(_) => content.push(part.clone()),
            }
        }
        if !media.is_empty() {
            let text = format!("[From the result of the tool call {call}:]");
            attached.push(Part::new(PartKind::Text(Text::new(&text))));
            attached.append(&mut media);
        }
        if result.is_error {
            mark_error(&mut content);
        }
        let content = write_content(&content, self.writing.losses, part)?.unwrap_or_else(|| "\"\"".to_owned());
        Ok(Object::new().str("role", "tool").str("tool_call_id", &call).raw("content", content).build())
    }

    fn assistant(&mut self, turn: &Turn) -> Step<Option<String>> {
        let mut said = Vec::new();
        let mut refusals = Vec::new();
        let mut calls = Vec::new();
        let mut thoughts = Vec::new();
        let wants_thoughts = wants_thoughts(self.writing.target.model);
        for part in &turn.parts {
            if let Some(cache) = part.cache.as_ref() {
                self.writing.losses.hint(cache.name)?;
            }
            match &part.kind {
                PartKind::Text(text) => said.push(text),
                PartKind::Refusal(text) => refusals.push(text),
                PartKind::ToolCall(call) => calls.push(self.call(call)),
                PartKind::Thinking(Thinking { text, .. }) if wants_thoughts && !text.is_empty() => thoughts.push(text),
                PartKind::Thinking(thinking) => self.writing.losses.hint(thinking.field)?,
                PartKind::Image(Image { field, .. }) | PartKind::Document(Document { field, .. }) => {
                    self.writing.losses.meaning(*field, "an assistant message takes texts only")?;
                }
                PartKind::ToolResult(_) => {}
            }
        }
        if said.is_empty() && refusals.is_empty() && calls.is_empty() {
            return Ok(None);
        }
        let mut out = Object::new().str("role", "assistant");
        out = match said.as_slice() {
            [] => out.raw("content", "null"),
            _ => out.text("content", &join(&said, "\n\n")),
        };
        if !refusals.is_empty() {
            out = out.text("refusal", &join(&refusals, "\n\n"));
        }
        if !thoughts.is_empty() {
            out = out.text("reasoning_content", &join(&thoughts, "\n\n"));
        }
        if !calls.is_empty() {
            out = out.raw("tool_calls", array(calls));
        }
        Ok(Some(out.build()))
    }

    fn call(&mut self, call: &ToolCall) -> String {
        let name = self.writing.names.sent(&call.name);
        let inner = Object::new().str("name", &name);
        let (kind, inner) = match &call.input {
            Input::Arguments(arguments) => ("function", inner.str("arguments", arguments)),
            Input::Free(text) => ("custom", inner.text("input", text)),
        };
        Object::new().str("id", &id(&call.id)).str("type", kind).raw(kind, inner.build()).build()
    }
}

fn part(part: &Part, losses: &mut Losses) -> Step<Option<Object>> {
    match &part.kind {
        PartKind::Text(text) | PartKind::Refusal(text) => Ok(Some(text_part(text))),
        PartKind::Image(image) => Ok(Some(image_part(image))),
        PartKind::Document(document) => document_part(document, losses),
        PartKind::Thinking(thinking) => losses.hint(thinking.field).map(|()| None),
        // These stand in messages and fields of their own.
        PartKind::ToolCall(_) | PartKind::ToolResult(_) => Ok(None),
    }
}

fn document_part(document: &Document, losses: &mut Losses) -> Step<Option<Object>> {
    let title = document.title.as_ref();
    match &document.source {
        Media::Base64 { media_type, data } => {
            let unnamed = Text::new("document.pdf");
            let file =
                Object::new().text("filename", title.unwrap_or(&unnamed)).text("file_data", &url(media_type, data));
            Ok(Some(Object::new().str("type", "file").raw("file", file.build())))
        }
        Media::Text(text) => {
            let whole: Vec<&Text> = title.into_iter().chain([text]).collect();
            Ok(Some(text_part(&join(&whole, "\n\n"))))
        }
        Media::Url(_) => {
            let why = "it fetches no documents; put the file itself into the request";
            losses.meaning(document.field, why).map(|()| None)
        }
    }
}

fn text_part(text: &Text) -> Object {
    Object::new().str("type", "text").text("text", text)
}

fn image_part(image: &Image) -> Object {
    let inner = match &image.source {
        Media::Base64 { media_type, data } => Object::new().text("url", &url(media_type, data)),
        Media::Url(url) | Media::Text(url) => Object::new().text("url", url),
    };
    let inner = match &image.detail {
        Some(detail) => inner.str("detail", &detail.value),
        None => inner,
    };
    Object::new().str("type", "image_url").raw("image_url", inner.build())
}
