//! Content blocks of Messages as parts.

use bytes::Bytes;

use crate::{
    dialect::{
        carried::{Carried, SEAL},
        convert::{
            losses::{Losses, Step, malformed},
            openai::join,
        },
    },
    json::{Kind, Text, Value, build::compact},
    model::conversation::{Document, Field, Image, Input, Media, Part, PartKind, Thinking, ToolCall, ToolResult, Ttl},
};

use super::read::{cache, said};

/// Reads blocks.
pub(super) struct Blocks<'a> {
    pub(super) body: &'a Bytes,
    pub(super) losses: &'a mut Losses,
    /// What the client calls them.
    pub(super) path: &'static str,
}

impl Blocks<'_> {
    /// Reads a string or a list of blocks.
    pub(super) fn content(&mut self, content: Value<'_>, out: &mut Vec<Part>) -> Step {
        if content.kind() == Kind::String {
            out.extend(said(content.text_in(self.body)).map(|text| Part::new(PartKind::Text(text))));
            return Ok(());
        }
        if content.kind() != Kind::Array {
            return Err(malformed(self.path, "a string or a list of blocks"));
        }
        // A text with citations was cut into blocks by them, and is put together again.
        let mut joins = false;
        for block in content.items() {
            let cited = block.some("citations").is_some_and(|list| list.items().next().is_some());
            let before = out.len();
            self.block(block, out)?;
            if (joins || cited) && out.len() == before + 1 {
                join_last(out);
            }
            joins = cited;
        }
        Ok(())
    }

    fn block(&mut self, block: Value<'_>, out: &mut Vec<Part>) -> Step {
        let kind = block.str_at("type").unwrap_or_default();
        let found = match &*kind {
            "text" => {
                self.rest(block, &["text"])?;
                said(self.text(block, "text")).map(PartKind::Text)
            }
            "image" => self.image(block)?,
            "document" => return self.document(block, out),
            "search_result" => self.search_result(block)?,
            "tool_use" => self.tool_use(block)?,
            "tool_result" => self.tool_result(block)?,
            "tool_reference" => {
                self.rest(block, &["tool_name"])?;
                let name = block.str_at("tool_name").unwrap_or_default();
                Some(PartKind::Text(Text::new(&format!("Tool found: {name}"))))
            }
            "thinking" => {
                self.rest(block, &["thinking", "signature"])?;
                let signature = block.str_at("signature").unwrap_or_default();
                let sealed = seal(&signature, |own| Carried::Signature(own.to_owned()));
                let text = self.text(block, "thinking").unwrap_or_default();
                Some(PartKind::Thinking(Thinking { field: "messages[].content[].thinking", text, sealed }))
            }
            "redacted_thinking" => {
                self.rest(block, &["data"])?;
                let data = block.str_at("data").unwrap_or_default();
                let sealed = seal(&data, |own| Carried::Redacted(own.to_owned()));
                let field = "messages[].content[].redacted_thinking";
                Some(PartKind::Thinking(Thinking { field, text: Text::default(), sealed }))
            }
            // What a tool at the provider did is over; what came of it is said in the text behind it.
            other if other == "server_tool_use" || other == "mcp_tool_use" || other.ends_with("_tool_result") => {
                self.losses.hint(format!("{}.{other}", self.path))?;
                None
            }
            other => {
                // Files that lie at the provider, and what nobody knows.
                let why = "this kind of block exists at the provider that made it only; leave it out";
                self.losses.meaning(format!("{}.{other}", self.path), why)?;
                None
            }
        };
        let cache = self.cache(block);
        out.extend(found.map(|kind| Part { kind, cache }));
        Ok(())
    }

    fn cache(&self, block: Value<'_>) -> Option<Field<Ttl>> {
        cache(
            block,
            if self.path.starts_with("system") { "system[].cache_control" } else { "messages[].cache_control" },
        )
    }

    fn text(&self, value: Value<'_>, key: &str) -> Option<Text> {
        value.some(key).and_then(|text| text.text_in(self.body))
    }

    /// Reports what a block has besides what is read of it. What says only the usual is no loss.
    fn rest(&mut self, block: Value<'_>, known: &[&str]) -> Step {
        let mut all = vec!["type", "cache_control"];
        all.extend_from_slice(known);
        if block.some("citations").is_some_and(|list| list.kind() == Kind::Array && list.items().next().is_none()) {
            all.push("citations");
        }
        if block.some("caller").is_some_and(|caller| caller.str_at("type").as_deref() == Some("direct")) {
            all.push("caller");
        }
        self.losses.rest(block, self.path, &all)
    }

    fn image(&mut self, block: Value<'_>) -> Step<Option<PartKind>> {
        const FIELD: &str = "messages[].content[].image";
        self.rest(block, &["source"])?;
        let found = block.get("source").map_or(Ok(None), |source| self.media(source))?;
        if found.is_none() {
            self.losses.meaning(FIELD, "a file's id means nothing elsewhere; put the image itself into the request")?;
        }
        Ok(found.map(|source| PartKind::Image(Image { field: FIELD, source, detail: None })))
    }

    fn media(&mut self, source: Value<'_>) -> Step<Option<Media>> {
        let path = format!("{}.source", self.path);
        self.losses.rest(source, &path, &["type", "media_type", "data", "url", "file_id", "content"])?;
        let kind = source.str_at("type");
        let text = |key| self.text(source, key);
        Ok(match kind.as_deref() {
            Some("base64") => source
                .str_at("media_type")
                .zip(text("data"))
                .map(|(media_type, data)| Media::Base64 { media_type: media_type.into_owned(), data }),
            Some("url") => text("url").map(Media::Url),
            Some("text") => text("data").map(Media::Text),
            _ => None,
        })
    }

    fn document(&mut self, block: Value<'_>, out: &mut Vec<Part>) -> Step {
        const FIELD: &str = "messages[].content[].document";
        self.rest(block, &["source", "title", "context", "citations"])?;
        self.citations(block)?;
        let (title, context) = (said(self.text(block, "title")), said(self.text(block, "context")));
        // Nobody else has a context of a document's: it stands in front of it.
        out.extend(context.map(|context| Part::new(PartKind::Text(context))));
        let Some(source) = block.get("source") else { return Err(malformed(FIELD, "a document with a source")) };
        let media = self.media(source)?;
        if source.str_at("type").as_deref() == Some("content") {
            out.extend(title.map(|title| Part::new(PartKind::Text(title))));
            let before = out.len();
            if let Some(content) = source.get("content") {
                self.content(content, out)?;
            }
            mark_last(out, before, self.cache(block));
            return Ok(());
        }
        match media {
            Some(source) => {
                let kind = PartKind::Document(Document { field: FIELD, source, title });
                out.push(Part { kind, cache: self.cache(block) });
                Ok(())
            }
            None => self.losses.meaning(FIELD, "a file's id means nothing elsewhere; put the file into the request"),
        }
    }

    fn citations(&mut self, block: Value<'_>) -> Step {
        let asked = block.some("citations").and_then(|citations| citations.get("enabled")?.as_bool());
        if asked == Some(true) {
            let field = format!("{}.citations", self.path);
            self.losses.meaning(field, "the answer could not cite; leave it out")?;
        }
        Ok(())
    }

    fn search_result(&mut self, block: Value<'_>) -> Step<Option<PartKind>> {
        self.rest(block, &["source", "title", "content", "citations"])?;
        self.citations(block)?;
        let mut parts = Vec::new();
        if let Some(content) = block.some("content") {
            self.content(content, &mut parts)?;
        }
        let head = [self.text(block, "title"), self.text(block, "source")];
        let texts: Vec<&Text> = head.iter().flatten().chain(parts.iter().filter_map(Part::text)).collect();
        Ok(said(Some(join(&texts, "\n"))).map(PartKind::Text))
    }

    fn tool_use(&mut self, block: Value<'_>) -> Step<Option<PartKind>> {
        self.rest(block, &["id", "name", "input"])?;
        let need = |key: &str| {
            let wanted = || malformed(&format!("messages[].content[].{key}"), "a string");
            block.str_at(key).map(std::borrow::Cow::into_owned).ok_or_else(wanted)
        };
        let input = block.some("input").map_or_else(|| "{}".to_owned(), |input| compact(input.raw_str()));
        Ok(Some(PartKind::ToolCall(ToolCall {
            field: "messages[].content[].input",
            id: need("id")?,
            name: need("name")?,
            input: Input::Arguments(input),
        })))
    }

    fn tool_result(&mut self, block: Value<'_>) -> Step<Option<PartKind>> {
        self.rest(block, &["tool_use_id", "content", "is_error"])?;
        let Some(call) = block.str_at("tool_use_id") else {
            return Err(malformed("messages[].content[].tool_use_id", "a string"));
        };
        let mut parts = Vec::new();
        if let Some(content) = block.some("content") {
            self.content(content, &mut parts)?;
        }
        let is_error = block.get("is_error").and_then(Value::as_bool).unwrap_or(false);
        Ok(Some(PartKind::ToolResult(ToolResult { call: call.into_owned(), is_error, parts })))
    }
}

/// The sealed form of what a provider made; what is sealed already stays.
fn seal(text: &str, own: impl FnOnce(&str) -> Carried) -> Option<String> {
    match text {
        "" => None,
        sealed if sealed.starts_with(SEAL) => Some(sealed.to_owned()),
        other => Some(own(other).seal()),
    }
}

fn join_last(parts: &mut Vec<Part>) {
    let Some(last) = parts.pop() else { return };
    match (parts.last_mut(), last.text()) {
        (Some(Part { kind: PartKind::Text(before), cache }), Some(text)) => {
            *before = join(&[before, text], "");
            *cache = last.cache.or(cache.take());
        }
        _ => parts.push(last),
    }
}

fn mark_last(parts: &mut [Part], from: usize, cache: Option<Field<Ttl>>) {
    if let (Some(last), Some(cache)) = (parts.get_mut(from..).and_then(<[Part]>::last_mut), cache) {
        last.cache = Some(cache);
    }
}
