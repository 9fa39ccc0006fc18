//! The items of a Responses request as turns.

use crate::{
    dialect::{
        carried::{Carried, SEAL},
        convert::{
            losses::{LEAVE_OUT, Step, malformed},
            openai::{self, join, read_cache},
        },
    },
    json::{Kind, Text, Value, build::embedded},
    model::conversation::{Input, Part, PartKind, Role, Thinking, ToolCall, ToolResult, Turn, within},
};

use super::read::Reader;

/// Reads items.
pub(super) struct Items<'a, 'b> {
    pub(super) reader: &'a mut Reader<'b>,
}

impl Items<'_, '_> {
    pub(super) fn read(&mut self, input: Value<'_>) -> Step {
        if input.kind() == Kind::String {
            if let Some(text) = self.said(input) {
                self.add(Role::User, vec![Part::new(PartKind::Text(text))]);
            }
            return Ok(());
        }
        if input.kind() != Kind::Array {
            return Err(malformed("input", "a string or a list of items"));
        }
        for item in input.items() {
            self.item(item)?;
        }
        Ok(())
    }

    fn item(&mut self, item: Value<'_>) -> Step {
        let kind = item.str_at("type");
        let kind = match kind.as_deref() {
            Some(kind) => kind,
            None if item.some("role").is_some() => "message",
            None => "item_reference",
        };
        match kind {
            "message" => self.message(item),
            "function_call" => {
                self.rest(item, &["call_id", "name", "arguments", "namespace", "caller", "async"])?;
                self.plain_call(item)?;
                let arguments = self.text(item, "arguments");
                let arguments = arguments.ok_or_else(|| malformed("input[].arguments", "a string"))?;
                self.call(item, Input::Arguments(embedded(&arguments)))
            }
            "custom_tool_call" => {
                self.rest(item, &["call_id", "name", "input", "namespace", "caller", "async"])?;
                self.plain_call(item)?;
                let input = self.text(item, "input").unwrap_or_default();
                self.call(item, Input::Free(input))
            }
            "function_call_output" | "custom_tool_call_output" => self.result(item),
            "reasoning" => self.thought(item),
            "additional_tools" => {
                self.rest(item, &["role", "tools"])?;
                item.get("tools").into_iter().flat_map(Value::items).try_for_each(|tool| self.reader.tool(tool))
            }
            "configuration_update" => {
                self.rest(item, &["reasoning"])?;
                item.some("reasoning").map_or(Ok(()), |value| self.reader.reasoning(value, "input[].reasoning"))
            }
            "item_reference" => {
                let why = "nothing is kept of earlier answers there; send the item itself";
                self.reader.losses.meaning("input[].item_reference", why)
            }
            // What a tool at the provider did is over; what came of it is said in the message behind it.
            "web_search_call" | "file_search_call" | "code_interpreter_call" | "mcp_call" | "mcp_list_tools" => {
                self.reader.losses.hint(format!("input[].{kind}"))
            }
            other => {
                let why = "this kind of item exists at OpenAI only; leave it out";
                self.reader.losses.meaning(format!("input[].{other}"), why)
            }
        }
    }

    /// Ids and states of items are the provider's own books: they say nothing, and are left out whatever the rules say.
    fn rest(&mut self, item: Value<'_>, known: &[&str]) -> Step {
        let mut all = vec!["type", "id", "status"];
        all.extend_from_slice(known);
        for key in ["id", "status"].into_iter().filter(|key| item.some(key).is_some()) {
            self.reader.losses.note(&format!("input[].{key}"));
        }
        self.reader.losses.rest(item, "input[]", &all)
    }

    fn text(&self, value: Value<'_>, key: &str) -> Option<Text> {
        value.some(key).and_then(|text| text.text_in(self.reader.body))
    }

    /// A text, unless it says nothing.
    fn said(&self, value: Value<'_>) -> Option<Text> {
        value.text_in(self.reader.body).filter(|text| !text.is_empty())
    }

    /// What the model does in a row is one turn, and so are the results of its calls.
    fn add(&mut self, role: Role, mut parts: Vec<Part>) {
        let results = |parts: &[Part]| parts.first().is_some_and(|part| matches!(part.kind, PartKind::ToolResult(_)));
        match self.reader.out.turns.last_mut() {
            _ if parts.is_empty() => {}
            Some(turn) if turn.role == role && (role == Role::Assistant || results(&turn.parts) && results(&parts)) => {
                turn.parts.append(&mut parts);
            }
            _ => self.reader.out.turns.push(Turn { role, parts }),
        }
    }

    fn message(&mut self, item: Value<'_>) -> Step {
        self.rest(item, &["role", "content"])?;
        let mut parts = Vec::new();
        if let Some(content) = item.some("content") {
            self.content(content, "input[].content[]", &mut parts)?;
        }
        let role = match item.str_at("role").as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system" | "developer") if self.reader.out.turns.is_empty() => {
                self.reader.out.system.append(&mut parts);
                return Ok(());
            }
            Some("system" | "developer") => Role::System,
            _ => return Err(malformed("input[].role", "one of the roles")),
        };
        self.add(role, parts);
        Ok(())
    }

    fn content(&mut self, content: Value<'_>, path: &'static str, out: &mut Vec<Part>) -> Step {
        if content.kind() == Kind::String {
            out.extend(self.said(content).map(|text| Part::new(PartKind::Text(text))));
            return Ok(());
        }
        if content.kind() != Kind::Array {
            return Err(malformed(path, "a string or a list of parts"));
        }
        for part in content.items() {
            if let Some(kind) = self.part(part, path)? {
                out.push(Part { kind, cache: read_cache(part, "input[].content[].prompt_cache_breakpoint") });
            }
        }
        Ok(())
    }

    fn part(&mut self, part: Value<'_>, path: &str) -> Step<Option<PartKind>> {
        let kind = part.str_at("type").unwrap_or_default();
        let mut known = vec!["type", "prompt_cache_breakpoint"];
        for key in ["annotations", "logprobs"] {
            // A list of nothing says nothing.
            known.extend(part.get(key).is_some_and(|list| list.items().next().is_none()).then_some(key));
        }
        match &*kind {
            "input_text" | "output_text" | "text" => known.push("text"),
            "refusal" => known.push("refusal"),
            "input_image" => known.extend(["image_url", "detail", "file_id"]),
            "input_file" => known.extend(["file_data", "file_url", "filename", "file_id"]),
            other => {
                let why = "it takes texts, images and files only";
                return self.reader.losses.meaning(format!("{path}.{other}"), why).map(|()| None);
            }
        }
        self.reader.losses.rest(part, path, &known)?;
        match &*kind {
            "refusal" => Ok(part.get("refusal").and_then(|text| self.said(text)).map(PartKind::Refusal)),
            "input_image" => {
                let url = self.text(part, "image_url");
                let names = ("input[].content[].input_image", "input[].content[].detail");
                openai::image(names.0, names.1, url.as_ref(), part.get("detail"), self.reader.losses)
            }
            "input_file" => openai::file("input[].content[].input_file", part, self.reader.body, self.reader.losses),
            _ => Ok(part.get("text").and_then(|text| self.said(text)).map(PartKind::Text)),
        }
    }

    /// Refuses what a call says of where it came from and how it runs, if that is not the usual.
    fn plain_call(&mut self, item: Value<'_>) -> Step {
        for key in ["caller", "async"] {
            let usual =
                |value: Value<'_>| value.as_bool() == Some(false) || value.str_at("type").as_deref() == Some("direct");
            if item.some(key).is_some_and(|value| !usual(value)) {
                self.reader.losses.meaning(format!("input[].{key}"), LEAVE_OUT)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, item: Value<'_>, input: Input) -> Step {
        let need = |key: &str| {
            let wanted = || malformed(&format!("input[].{key}"), "a string");
            item.str_at(key).map(std::borrow::Cow::into_owned).ok_or_else(wanted)
        };
        let name = within(&item.str_at("namespace").unwrap_or_default(), &need("name")?);
        let call = ToolCall { field: "input[].arguments", id: need("call_id")?, name, input };
        self.add(Role::Assistant, vec![Part::new(PartKind::ToolCall(call))]);
        Ok(())
    }

    fn result(&mut self, item: Value<'_>) -> Step {
        self.rest(item, &["call_id", "output", "name", "caller", "namespace"])?;
        let Some(call) = item.str_at("call_id") else { return Err(malformed("input[].call_id", "a string")) };
        let mut parts = Vec::new();
        if let Some(output) = item.some("output") {
            self.content(output, "input[].output[]", &mut parts)?;
        }
        let result = ToolResult { call: call.into_owned(), is_error: false, parts };
        self.add(Role::User, vec![Part::new(PartKind::ToolResult(result))]);
        Ok(())
    }

    fn thought(&mut self, item: Value<'_>) -> Step {
        self.reader.losses.rest(
            item,
            "input[]",
            &["type", "id", "status", "summary", "content", "encrypted_content"],
        )?;
        for key in ["summary", "content"] {
            for part in item.get(key).into_iter().flat_map(Value::items) {
                self.reader.losses.rest(part, &format!("input[].{key}[]"), &["type", "text"])?;
            }
        }
        let texts = |key: &str| -> Vec<Text> {
            let parts = item.get(key).into_iter().flat_map(Value::items);
            parts.filter_map(|part| self.text(part, "text")).collect()
        };
        let mut found = texts("summary");
        if found.is_empty() {
            found = texts("content");
        }
        let text = join(&found.iter().collect::<Vec<_>>(), "\n\n");
        let sealed = item.str_at("encrypted_content").filter(|encrypted| !encrypted.is_empty()).map(|encrypted| {
            if encrypted.starts_with(SEAL) {
                return encrypted.into_owned();
            }
            let id = item.str_at("id").unwrap_or_default().into_owned();
            Carried::Reasoning { id, encrypted: encrypted.into_owned() }.seal()
        });
        let thinking = Thinking { field: "input[].reasoning", text, sealed };
        self.add(Role::Assistant, vec![Part::new(PartKind::Thinking(thinking))]);
        Ok(())
    }
}
