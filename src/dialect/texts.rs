//! The texts of a request, as both dialects find them.

use bytes::Bytes;

use crate::{
    json::{Text, Value},
    model::{Place, RequestText, Source, ToolDefinition},
};

/// Collects the texts of one request body.
pub(super) struct Texts<'a> {
    pub(super) body: &'a Bytes,
    pub(super) found: Vec<RequestText>,
    pub(super) tools: Vec<ToolDefinition>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(body: &'a Bytes) -> Self {
        Self { body, found: Vec::new(), tools: Vec::new() }
    }

    /// A string. Anything else has no text.
    pub(super) fn string(&mut self, value: Value<'_>, source: Source, tool: Option<&str>) {
        if let (Some(span), Some(text)) = (value.string_span(), value.text_in(self.body)) {
            self.found.push(RequestText::new(source, tool.map(str::to_owned), text, Place::String(span)));
        }
    }

    /// A JSON value whose own text it is.
    pub(super) fn value(&mut self, value: Value<'_>, source: Source, tool: Option<&str>) {
        let span = value.span();
        let text = Text::from_raw(self.body.slice(span.start..span.end));
        self.found.push(RequestText::new(source, tool.map(str::to_owned), text, Place::Value(span)));
    }

    /// The string that `key` names, if it is there.
    pub(super) fn member(&mut self, object: Value<'_>, key: &str, source: Source, tool: Option<&str>) {
        if let Some(value) = object.get(key) {
            self.string(value, source, tool);
        }
    }

    /// A tool, and what it is for.
    pub(super) fn description(&mut self, tool: Value<'_>) {
        let name = tool.str_at("name");
        if let Some(name) = &name {
            let span = tool.span();
            let json = Text::from_raw(self.body.slice(span.start..span.end));
            self.tools.push(ToolDefinition { name: name.clone().into_owned(), json });
        }
        self.member(tool, "description", Source::ToolDescription, name.as_deref());
    }
}
