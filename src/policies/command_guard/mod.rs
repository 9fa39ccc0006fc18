//! `command_guard`: shell commands in tool calls, judged by what they would run.
//!
//! `calls` finds the commands in a call's arguments. `parse` reads one as a syntax tree, and `walk` goes through it in the
//! order in which it runs, with `words` for what words expand to and `wrappers` for commands that run others. What it finds
//! are invocations; `judge` asks the rules about each. Nothing is ever run.

mod braces;
mod calls;
mod defaults;
mod escapes;
mod foreign;
mod invocation;
mod invoke;
mod judge;
mod options;
mod output;
mod parameters;
mod parse;
mod paths;
mod pattern;
mod rewrite;
mod rules;
mod scan;
mod scope;
mod settings;
mod simple;
mod tables;
mod walk;
mod words;
mod wrappers;

use std::sync::Arc;

use serde_json::json;

use crate::{
    model::{Block, BlockHead, BlockKind, CallHead},
    policy::{Context, Factory, Fate, Policy, Step, Watch},
};

use super::{Built, PolicyType, Problem, build, schema};

use self::{
    calls::{Found, commands, edited},
    judge::{Judge, Note, Verdict},
    pattern::Glob,
    settings::Settings,
};

pub(super) const TYPE: PolicyType = PolicyType {
    name: "command_guard",
    summary: "denies or rewrites shell commands in tool calls by what they would run",
    schema: schema::<Settings>,
    timeout: None,
    build: |config, _| build(config, compile),
};

#[derive(Clone)]
struct CommandGuard(Arc<Guard>);

struct Guard {
    tools: Vec<Glob>,
    arguments: Vec<String>,
    judge: Judge,
    message: String,
}

fn compile(settings: Settings) -> Built {
    let mut problems = Vec::new();
    let mut tools = Vec::new();
    for (number, tool) in settings.tools.iter().enumerate() {
        match Glob::text(tool) {
            Some(glob) => tools.push(glob),
            None => problems.push(Problem::new(
                format!("/tools/{number}"),
                format!("`{tool}` is not a glob"),
                "use `*`, `?` and `{a,b}`, with few braces and none within braces",
            )),
        }
    }
    for (key, list) in [("tools", &settings.tools), ("arguments", &settings.arguments)] {
        if list.is_empty() {
            let message = format!("`{key}` is empty, so that no command is ever found");
            problems.push(Problem::new(format!("/{key}"), message, "leave it out for the usual names"));
        }
    }
    if settings.rules.is_empty() && !settings.defaults {
        problems.push(Problem::new("/rules", "there are no rules", "write rules, or leave out `defaults: false`"));
    }
    let mut rules = rules::compile(&settings.rules, "/rules", &mut problems);
    if settings.defaults {
        match defaults::rules() {
            Ok(defaults) => rules.extend(rules::compile(&defaults, "/defaults", &mut problems)),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let Settings { arguments, unparsable, unknown_program, unknown_code, message, .. } = settings;
    let judge = Judge { rules, unparsable, unknown_program, unknown_code };
    Ok(Arc::new(CommandGuard(Arc::new(Guard { tools, arguments, judge, message }))))
}

impl Guard {
    fn guards(&self, tool: &str) -> bool {
        // Whoever runs it may forgive a space.
        let tool = tool.trim();
        self.tools.iter().any(|glob| glob.fits(tool))
    }

    /// What becomes of the arguments of a call: `None`: they stay; the new ones; or the rule that denies them.
    fn judge(&self, arguments: &str) -> (Result<Option<String>, Note>, Vec<Note>) {
        let found = match commands(arguments, &self.arguments) {
            Ok(found) => found,
            Err(unreadable) => {
                return match self.judge.unreadable(unreadable) {
                    Verdict::Deny(note) => (Err(note), Vec::new()),
                    Verdict::Keep | Verdict::Edit(..) => (Ok(None), Vec::new()),
                };
            }
        };
        let mut edits = Vec::new();
        let mut notes = Vec::new();
        for (found, directory) in found {
            let verdict = match &found {
                Found::Plain(text) | Found::Text(text, _) => self.judge.text(text, directory.as_deref()),
                Found::Words(words, _) => self.judge.words(words, directory.as_deref()),
            };
            match verdict {
                Verdict::Keep => {}
                Verdict::Deny(note) => return (Err(note), Vec::new()),
                Verdict::Edit(edit, more) => {
                    edits.push((found, edit));
                    notes.extend(more);
                }
            }
        }
        (Ok((!edits.is_empty()).then(|| edited(arguments, &edits))), notes)
    }

    fn message(&self, tool: &str, note: &Note) -> String {
        // One pass, so that what is filled in is not filled in again.
        let mut text = String::new();
        let mut rest = &*self.message;
        while let Some(at) = rest.find('{') {
            let (before, behind) = rest.split_at(at);
            text.push_str(before);
            let known =
                [("{tool}", tool), ("{program}", &note.program), ("{rule}", &note.rule), ("{reason}", &note.reason)];
            let (name, value) = known.into_iter().find(|(name, _)| behind.starts_with(name)).unwrap_or(("{", "{"));
            text.push_str(value);
            rest = behind.strip_prefix(name).unwrap_or_default();
        }
        text.push_str(rest);
        text
    }
}

impl Factory for CommandGuard {
    fn begin(&self, _call: &CallHead) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

impl Policy for CommandGuard {
    fn on_block_start(&mut self, _cx: &mut Context<'_>, block: &BlockHead) -> Watch {
        match &block.kind {
            // A name that is not there yet may turn out to be a guarded one.
            BlockKind::ToolCall { name, .. } if name.is_empty() || self.0.guards(name) => Watch::Whole,
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
        if !self.0.guards(tool) {
            return Step::ready(Fate::Keep);
        }
        let (judged, notes) = self.0.judge(&block.text);
        for Note { rule, program, .. } in &notes {
            cx.emit("command_rewritten", json!({ "tool": tool, "rule": rule, "program": program }));
        }
        Step::ready(match judged {
            Ok(None) => Fate::Keep,
            Ok(Some(text)) => Fate::Replace(vec![Block { text, ..block }]),
            Err(note) => {
                let Note { rule, program, .. } = &note;
                cx.emit("command_blocked", json!({ "tool": tool, "rule": rule, "program": program }));
                Fate::Replace(vec![Block::text(self.0.message(tool, &note))])
            }
        })
    }
}
