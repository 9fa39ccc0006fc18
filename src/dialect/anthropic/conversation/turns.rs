//! Turns as the messages of a Messages request.

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::{
    dialect::{
        carried::Carried,
        convert::{
            Writing,
            losses::{LEAVE_OUT, Step, refused},
            models::Claude,
            names::id,
        },
    },
    json::{
        Kind, Text, Value,
        build::{Object, array},
    },
    model::conversation::{
        Conversation, Document, Field, Image, Input, Media, Part, PartKind, Role, Thinking, ToolCall, ToolResult, Ttl,
    },
};

/// More marks than this are an error to the provider.
const MOST_CACHE_MARKS: usize = 4;
/// The images that the provider reads.
const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Writes turns, and counts their cache marks.
pub(super) struct Turns<'a, 'b> {
    pub(super) writing: &'a mut Writing<'b>,
    pub(super) marks: usize,
}

/// The messages, and the system texts that had to move to the front.
pub(super) struct Messages<'a> {
    pub(super) messages: Vec<String>,
    pub(super) moved: Vec<&'a Part>,
}

impl Turns<'_, '_> {
    /// Writes every turn; neighbours of the same side become one message.
    pub(super) fn messages<'c>(&mut self, conversation: &'c Conversation) -> Step<Messages<'c>> {
        let claude = Claude::of(self.writing.target.model);
        let mut moved = Vec::new();
        let mut messages: Vec<(Role, Vec<String>)> = Vec::new();
        for turn in &conversation.turns {
            if turn.role == Role::System && !claude.takes_system_turns() {
                moved.extend(&turn.parts);
                continue;
            }
            let blocks = self.blocks(&turn.parts)?;
            match messages.last_mut() {
                Some((role, before)) if *role == turn.role => before.extend(blocks),
                _ if blocks.is_empty() => {}
                _ => messages.push((turn.role, blocks)),
            }
        }
        if !claude.takes_prefill() && messages.last().is_some_and(|(role, _)| *role == Role::Assistant) {
            let field = format!("{}[-1]", conversation.name);
            self.writing.losses.meaning(field, "this model does not continue an answer; end with a user message")?;
            messages.pop();
        }
        let written = messages.into_iter().map(|(role, blocks)| {
            let role = match role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            Object::new().str("role", role).raw("content", content(&blocks)).build()
        });
        Ok(Messages { messages: written.collect(), moved })
    }

    /// Writes parts as blocks.
    pub(super) fn blocks<'c>(&mut self, parts: impl IntoIterator<Item = &'c Part>) -> Step<Vec<String>> {
        let mut out = Vec::new();
        for part in parts {
            if let Some(block) = self.block(&part.kind)? {
                out.push(self.marked(block, part.cache.as_ref())?.build());
            }
        }
        Ok(out)
    }

    /// A block or a tool with its cache mark.
    pub(super) fn marked(&mut self, object: Object, cache: Option<&Field<Ttl>>) -> Step<Object> {
        let Some(cache) = cache else { return Ok(object) };
        if self.marks == MOST_CACHE_MARKS {
            self.writing.losses.hint(cache.name)?;
            return Ok(object);
        }
        self.marks += 1;
        let mark = Object::new().str("type", "ephemeral");
        let mark = match cache.value {
            Ttl::Default => mark,
            Ttl::Short => mark.str("ttl", "5m"),
            Ttl::Long => mark.str("ttl", "1h"),
        };
        Ok(object.raw("cache_control", mark.build()))
    }

    fn block(&mut self, kind: &PartKind) -> Step<Option<Object>> {
        match kind {
            // A text of nothing but white space is an error to the provider.
            PartKind::Text(text) | PartKind::Refusal(text) => {
                Ok((!text.decode().trim().is_empty()).then(|| object("text").text("text", text)))
            }
            PartKind::Image(image) => self.image(image),
            PartKind::Document(document) => self.document(document),
            PartKind::ToolCall(call) => self.tool_call(call).map(Some),
            PartKind::ToolResult(result) => self.tool_result(result).map(Some),
            PartKind::Thinking(thinking) => self.thinking(thinking),
        }
    }

    fn image(&mut self, image: &Image) -> Step<Option<Object>> {
        if let Some(detail) = &image.detail {
            self.writing.losses.hint(detail.name)?;
        }
        let source = match &image.source {
            Media::Base64 { media_type, data } if IMAGES.contains(&media_type.as_str()) => base64(media_type, data),
            // A common mistake that other providers forgive.
            Media::Base64 { media_type, data } if media_type == "image/jpg" => base64("image/jpeg", data),
            Media::Url(url) => object("url").text("url", url),
            Media::Base64 { .. } | Media::Text(_) => {
                self.writing.losses.meaning(image.field, "it reads JPEG, PNG, GIF and WebP only")?;
                return Ok(None);
            }
        };
        Ok(Some(object("image").raw("source", source.build())))
    }

    fn document(&mut self, document: &Document) -> Step<Option<Object>> {
        let source = match &document.source {
            Media::Base64 { media_type, data } if media_type == "application/pdf" => base64(media_type, data),
            Media::Url(url) => object("url").text("url", url),
            Media::Text(text) => object("text").str("media_type", "text/plain").text("data", text),
            Media::Base64 { media_type, data } => {
                let Some(text) = plain_text(media_type, data) else {
                    self.writing.losses.meaning(document.field, "it reads PDF files and texts in UTF-8 only")?;
                    return Ok(None);
                };
                object("text").str("media_type", "text/plain").str("data", &text)
            }
        };
        let out = object("document").raw("source", source.build());
        Ok(Some(match &document.title {
            Some(title) => out.text("title", title),
            None => out,
        }))
    }

    fn tool_call(&mut self, call: &ToolCall) -> Step<Object> {
        let (name, input) = match &call.input {
            Input::Free(text) => (self.writing.names.wrapped(&call.name), Object::new().text("input", text).build()),
            Input::Arguments(arguments) => (self.writing.names.sent(&call.name), input(call.field, arguments)?),
        };
        Ok(object("tool_use").str("id", &id(&call.id)).str("name", &name).raw("input", input))
    }

    fn tool_result(&mut self, result: &ToolResult) -> Step<Object> {
        let blocks = self.blocks(&result.parts)?;
        let mut out = object("tool_result").str("tool_use_id", &id(&result.call));
        if !blocks.is_empty() {
            out = out.raw("content", content(&blocks));
        }
        Ok(if result.is_error { out.bool("is_error", true) } else { out })
    }

    fn thinking(&mut self, thinking: &Thinking) -> Step<Option<Object>> {
        Ok(match thinking.sealed.as_deref().and_then(Carried::open) {
            Some(Carried::Signature(signature)) => {
                Some(object("thinking").text("thinking", &thinking.text).str("signature", &signature))
            }
            Some(Carried::Redacted(data)) => Some(object("redacted_thinking").str("data", &data)),
            Some(Carried::Reasoning { .. }) | None => {
                self.writing.losses.hint(thinking.field)?;
                None
            }
        })
    }
}

/// Blocks as content: a lone text as a string.
pub(super) fn content(blocks: &[String]) -> String {
    if let [only] = blocks
        && let Ok(block) = Value::parse(only.as_bytes())
        && block.str_at("type").as_deref() == Some("text")
        && block.members().count() == 2
        && let Some(text) = block.get("text")
    {
        return text.raw_str().to_owned();
    }
    array(blocks)
}

/// The arguments of a call, which have to be an object.
fn input(field: &str, arguments: &str) -> Step<String> {
    let arguments = arguments.trim();
    if arguments.is_empty() {
        return Ok("{}".to_owned());
    }
    match Value::parse(arguments.as_bytes()) {
        Ok(value) if value.kind() == Kind::Object => Ok(arguments.to_owned()),
        Ok(_) | Err(_) => {
            Err(refused(field, "it takes a JSON object only; leave the call out, with its result, or repair it"))
        }
    }
}

/// The text of a file of text.
fn plain_text(media_type: &str, data: &Text) -> Option<String> {
    let is_text = media_type.starts_with("text/") || media_type == "application/json";
    let bytes = BASE64_STANDARD.decode(data.decode().as_bytes()).ok().filter(|_| is_text)?;
    String::from_utf8(bytes).ok().filter(|text| !text.trim().is_empty())
}

fn object(kind: &str) -> Object {
    Object::new().str("type", kind)
}

fn base64(media_type: &str, data: &Text) -> Object {
    object("base64").str("media_type", media_type).text("data", data)
}

/// Says that a field cannot be sent.
pub(super) fn lost(writing: &mut Writing<'_>, field: &str) -> Step {
    writing.losses.meaning(field, LEAVE_OUT)
}
