//! `tool_filter`: tool calls by name, dropped or replaced by text.

use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::{
    model::{Block, BlockHead, BlockKind, CallHead},
    policy::{Context, Factory, Fate, Policy, Step, Watch},
};

use super::{Built, PolicyType, Problem, build, schema};

pub(super) const TYPE: PolicyType = PolicyType {
    name: "tool_filter",
    summary: "drops tool calls by name, or puts a text in their place",
    schema: schema::<Settings>,
    timeout: None,
    build: |config, _| build(config, compile),
};

/// Tool calls by name. Only calls of the client's own tools: what the provider runs has run when it is seen here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Settings {
    /// Globs of tool names that are not let through.
    deny: Vec<String>,
    /// Globs of tool names that are let through, unless denied. When given, nothing else is.
    allow: Vec<String>,
    /// The text in place of a call. `{tool}` is the tool's name. Absent: the call is dropped.
    message: Option<String>,
}

#[derive(Clone)]
struct ToolFilter(Arc<Lists>);

struct Lists {
    deny: GlobSet,
    allow: Option<GlobSet>,
    message: Option<String>,
}

fn compile(settings: Settings) -> Built {
    let mut problems = Vec::new();
    if settings.deny.is_empty() && settings.allow.is_empty() {
        problems.push(Problem::new(
            "",
            "neither `deny` nor `allow` lists a tool",
            "list globs of tool names under `deny` or `allow`",
        ));
    }
    let deny = globs("/deny", &settings.deny, &mut problems);
    let allow = globs("/allow", &settings.allow, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let allow = (!settings.allow.is_empty()).then_some(allow);
    Ok(Arc::new(ToolFilter(Arc::new(Lists { deny, allow, message: settings.message }))))
}

fn globs(pointer: &str, patterns: &[String], problems: &mut Vec<Problem>) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for (number, pattern) in patterns.iter().enumerate() {
        match Glob::new(pattern) {
            Ok(glob) => {
                set.add(glob);
            }
            Err(error) => problems.push(Problem::new(
                format!("{pointer}/{number}"),
                format!("`{pattern}` is not a glob: {}", error.kind()),
                "use `*`, `?`, `[a-z]` and `{a,b}`, as in `rm*`",
            )),
        }
    }
    set.build().unwrap_or_default()
}

impl Lists {
    fn denies(&self, tool: &str) -> bool {
        // Whoever runs it may forgive a space.
        let tool = tool.trim();
        self.deny.is_match(tool) || self.allow.as_ref().is_some_and(|allow| !allow.is_match(tool))
    }
}

impl Factory for ToolFilter {
    fn begin(&self, _call: &CallHead) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

impl Policy for ToolFilter {
    fn on_block_start(&mut self, _cx: &mut Context<'_>, block: &BlockHead) -> Watch {
        match &block.kind {
            // A name that is not there yet may turn out to be a denied one.
            BlockKind::ToolCall { name, .. } if name.is_empty() || self.0.denies(name) => Watch::Whole,
            BlockKind::ToolCall { .. }
            | BlockKind::Text
            | BlockKind::Thinking
            | BlockKind::Refusal
            | BlockKind::ServerTool { .. }
            | BlockKind::ServerResult { .. }
            | BlockKind::Other(_) => Watch::Ignore,
        }
    }

    fn on_block(&mut self, cx: &mut Context<'_>, block: Block) -> Step<Fate> {
        let tool = block.kind.tool_name().unwrap_or_default();
        if !self.0.denies(tool) {
            return Step::ready(Fate::Keep);
        }
        cx.emit("tool_blocked", json!({ "tool": tool }));
        Step::ready(match &self.0.message {
            Some(message) => Fate::Replace(vec![Block::text(message.replace("{tool}", tool))]),
            None => Fate::Drop,
        })
    }
}
