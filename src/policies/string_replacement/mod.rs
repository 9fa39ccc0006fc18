//! `string_replacement`: strings in the answer, the request, or both, replaced as they stream.

mod capitals;
mod matcher;

use std::sync::Arc;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    model::{Block, BlockHead, BlockKind, CallHead, Request, Source},
    policy::{BlockText, Context, Edits, Factory, Fate, Outcome, Policy, Step, Watch},
};

use self::matcher::Matcher;
use super::{Built, PolicyType, Problem, build, scan::ApplyTo, schema, text};

pub(super) const TYPE: PolicyType = PolicyType {
    name: "string_replacement",
    summary: "replaces strings in the answer, the request, or both",
    schema: schema::<Settings>,
    timeout: None,
    build: |config, _| build(config, compile),
};

/// Replaces strings. What was replaced is not searched again. At each place the first string of the list that fits is
/// taken.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// What to replace by what: a map, or a list of pairs.
    replacements: Replacements,
    /// Matches whatever the case, and writes the replacement in the case of what it replaces: UPPER, lower, Title, or
    /// letter by letter.
    #[serde(default)]
    match_capitalization: bool,
    /// Where: in the `response`, the `request`, or `both`.
    #[serde(default)]
    apply_to: ApplyTo,
    /// Also in the arguments of tool calls: in their strings, keys and values, so that they stay JSON.
    #[serde(default)]
    include_tool_calls: bool,
}

/// What to replace by what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Replacements {
    /// A map from a string to its replacement.
    Map(IndexMap<String, String>),
    /// A list of pairs.
    Pairs(Vec<(String, String)>),
}

#[derive(Clone)]
struct StringReplacement {
    matcher: Arc<Matcher>,
    apply_to: ApplyTo,
    include_tool_calls: bool,
}

fn compile(settings: Settings) -> Built {
    let (pairs, by_name): (Vec<_>, bool) = match settings.replacements {
        Replacements::Map(map) => (map.into_iter().collect(), true),
        Replacements::Pairs(pairs) => (pairs, false),
    };
    let mut problems = Vec::new();
    if pairs.is_empty() {
        problems.push(Problem::new(
            "/replacements",
            "there is nothing to replace",
            "add at least one `\"from\": \"to\"`",
        ));
    }
    for (number, (from, _)) in pairs.iter().enumerate() {
        if from.is_empty() {
            let pointer = if by_name { "/replacements".to_owned() } else { format!("/replacements/{number}/0") };
            problems.push(Problem::new(pointer, "an empty string cannot be replaced", "give the string to look for"));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Arc::new(StringReplacement {
        matcher: Arc::new(Matcher::new(pairs, settings.match_capitalization)),
        apply_to: settings.apply_to,
        include_tool_calls: settings.include_tool_calls,
    }))
}

impl Factory for StringReplacement {
    fn begin(&self, _call: &CallHead) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

impl Policy for StringReplacement {
    fn on_request(&mut self, _cx: &mut Context<'_>, mut request: Request) -> Step<Request> {
        if !self.apply_to.has_request() {
            return Step::ready(request);
        }
        for part in request.texts_mut() {
            let old = part.get();
            let new = match part.source() {
                Source::ToolCall if self.include_tool_calls => self.in_json(&old),
                Source::ToolCall => continue,
                Source::System
                | Source::User
                | Source::Assistant
                | Source::ToolDescription
                | Source::ToolResult
                | Source::Document => text::apply(&old, &self.matcher.edits(&old)),
            };
            part.set(new);
        }
        Step::ready(request)
    }

    fn on_block_start(&mut self, _cx: &mut Context<'_>, block: &BlockHead) -> Watch {
        match block.kind {
            _ if !self.apply_to.has_response() => Watch::Ignore,
            BlockKind::ToolCall { .. } if self.include_tool_calls => Watch::Whole,
            BlockKind::Text
            | BlockKind::Thinking
            | BlockKind::Refusal
            | BlockKind::ToolCall { .. }
            | BlockKind::ServerTool { .. }
            | BlockKind::ServerResult { .. }
            | BlockKind::Other(_) => text::prose_in_deltas(block),
        }
    }

    fn on_delta(&mut self, _cx: &mut Context<'_>, block: &BlockText<'_>, edits: &mut Edits) -> Outcome<usize> {
        Ok(self.matcher.scan(block.text, block.decided, block.complete, |range, with| edits.replace(range, with)))
    }

    fn on_block(&mut self, _cx: &mut Context<'_>, block: Block) -> Step<Fate> {
        let text = self.in_json(&block.text);
        Step::ready(if text == block.text { Fate::Keep } else { Fate::Replace(vec![Block { text, ..block }]) })
    }
}

impl StringReplacement {
    fn in_json(&self, json: &str) -> String {
        text::edit_json_strings(json, |string| self.matcher.edits(string))
    }
}
