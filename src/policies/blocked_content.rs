//! `blocked_content`: no byte of a match is released.

use std::{collections::HashMap, sync::Arc};

use regex::Regex;
use regex_automata::{
    Anchored, Input,
    hybrid::dfa::{Cache, DFA},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::{
    model::{Block, BlockHead, BlockId, BlockKind, CallHead, Refusal, Request, Source},
    policy::{BlockText, Context, Edits, Factory, Fate, Halt, Outcome, Policy, Step, Watch},
};

use super::{
    Built, PolicyType, Problem, build,
    scan::{ApplyTo, Scan},
    schema, text,
};

pub(super) const TYPE: PolicyType = PolicyType {
    name: "blocked_content",
    summary: "refuses answers, or replaces blocks of them, in which a pattern is found",
    schema: schema::<Settings>,
    timeout: None,
    build: |config, _| build(config, compile),
};

/// Blocks answers in which a pattern is found.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Regular expressions.
    #[schemars(length(min = 1))]
    patterns: Vec<String>,
    /// The text in place of a blocked block, or what a refused client is told.
    #[serde(default = "default_message")]
    message: String,
    /// Also in tool calls: the name, the arguments as JSON text, and each string in them.
    #[serde(default = "yes")]
    include_tool_calls: bool,
    /// Also in the model's thinking. A blocked thinking block is dropped.
    #[serde(default)]
    include_thinking: bool,
    /// Where: in the `response`, the `request`, or `both`.
    #[serde(default)]
    apply_to: ApplyTo,
    /// Which texts of a request can refuse it: the whole `conversation`, or only the `latest_turn`, so that a refused text
    /// that stays in the history does not refuse every later turn.
    #[serde(default = "latest_turn")]
    scan: Scan,
    /// `replace_block` holds each block until it is whole; `refuse` lets text stream as far as it can be no part of a
    /// match, and ends the answer with an error at a match.
    #[serde(default)]
    on_match: OnMatch,
}

/// What a match does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnMatch {
    /// The message stands in place of the block.
    #[default]
    ReplaceBlock,
    /// The call is refused.
    Refuse,
}

fn default_message() -> String {
    "This content was blocked by policy.".to_owned()
}

fn yes() -> bool {
    true
}

fn latest_turn() -> Scan {
    Scan::LatestTurn
}

struct Blocked {
    patterns: Vec<Regex>,
    /// The same patterns, to ask what could still become a match.
    automaton: DFA,
    settings: Settings,
}

struct BlockedContent {
    shared: Arc<Blocked>,
    cache: Option<Cache>,
    /// How much text must be held of each block before it is searched again.
    patience: HashMap<BlockId, usize>,
}

struct Shared(Arc<Blocked>);

fn compile(settings: Settings) -> Built {
    let mut problems = Vec::new();
    let mut patterns = Vec::new();
    for (number, pattern) in settings.patterns.iter().enumerate() {
        match Regex::new(pattern) {
            Ok(regex) if regex.is_match("") => problems.push(Problem::new(
                format!("/patterns/{number}"),
                format!("`{pattern}` matches the empty text, and so every answer"),
                "make it match at least one character",
            )),
            Ok(regex) => patterns.push(regex),
            Err(error) => problems.push(Problem::new(
                format!("/patterns/{number}"),
                format!("`{pattern}` is not a regular expression: {}", last_line(&error.to_string())),
                "see https://docs.rs/regex/#syntax; look-around and back-references are not supported",
            )),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // Unicode word boundaries make the automaton give up at the first character beyond ASCII; giving up means to hold.
    let automaton = DFA::builder()
        .configure(DFA::config().unicode_word_boundary(true).skip_cache_capacity_check(true))
        .build_many(&settings.patterns)
        .map_err(|error| {
            vec![Problem::new("/patterns", format!("the patterns cannot be compiled: {error}"), "simplify them")]
        })?;
    Ok(Arc::new(Shared(Arc::new(Blocked { patterns, automaton, settings }))))
}

fn last_line(error: &str) -> &str {
    error.lines().last().unwrap_or(error).trim_start_matches("error: ")
}

impl Factory for Shared {
    fn begin(&self, _call: &CallHead) -> Box<dyn Policy> {
        Box::new(BlockedContent { shared: Arc::clone(&self.0), cache: None, patience: HashMap::new() })
    }
}

impl Policy for BlockedContent {
    fn on_request(&mut self, cx: &mut Context<'_>, mut request: Request) -> Step<Request> {
        let settings = &self.shared.settings;
        if !settings.apply_to.has_request() {
            return Step::ready(request);
        }
        let scanned = settings.scan.of(&request);
        for (text, scanned) in request.texts_mut().iter_mut().zip(scanned) {
            let is_call = text.source() == Source::ToolCall;
            if is_call && !settings.include_tool_calls {
                continue;
            }
            let Some(number) = self.shared.find_in(&text.get(), is_call.then_some("")) else { continue };
            match settings.on_match {
                OnMatch::Refuse if scanned => {
                    cx.emit("content_blocked", json!({ "pattern": number, "request": text.source().name() }));
                    return Step::Ready(Err(self.shared.refusal()));
                }
                // An edit is a function of the text alone, wherever it stands: it comes again on every later turn. The
                // arguments of an earlier call have to stay what the tool got.
                OnMatch::ReplaceBlock if !is_call => {
                    cx.emit("content_blocked", json!({ "pattern": number, "request": text.source().name() }));
                    text.set(settings.message.clone());
                }
                OnMatch::Refuse | OnMatch::ReplaceBlock => {}
            }
        }
        Step::ready(request)
    }

    fn on_block_start(&mut self, _cx: &mut Context<'_>, block: &BlockHead) -> Watch {
        let settings = &self.shared.settings;
        if !settings.apply_to.has_response() {
            return Watch::Ignore;
        }
        match block.kind {
            // What is of a kind that nobody here knows may be prose.
            BlockKind::Text | BlockKind::Refusal | BlockKind::Other(_) if settings.on_match == OnMatch::Refuse => {
                Watch::Deltas
            }
            BlockKind::Text | BlockKind::Refusal | BlockKind::Other(_) => Watch::Whole,
            BlockKind::Thinking if settings.include_thinking => Watch::Whole,
            BlockKind::ToolCall { .. } if settings.include_tool_calls => Watch::Whole,
            BlockKind::Thinking
            | BlockKind::ToolCall { .. }
            | BlockKind::ServerTool { .. }
            | BlockKind::ServerResult { .. } => Watch::Ignore,
        }
    }

    fn on_delta(&mut self, cx: &mut Context<'_>, block: &BlockText<'_>, _edits: &mut Edits) -> Outcome<usize> {
        let shared = Arc::clone(&self.shared);
        // Held text is searched from its beginning each time. A long one waits until there is a good deal more of it, so that
        // the work stays in proportion; to hold for longer is always safe.
        let held = block.text.len() - block.decided;
        if !block.complete && self.patience.get(&block.id).is_some_and(|patience| held < *patience) {
            return Ok(block.decided);
        }
        let matched = shared.patterns.iter().position(|pattern| {
            let found = pattern.find_at(block.text, block.decided);
            // At the end of a text that goes on, `$` and `\b` may be true only for now.
            found.is_some_and(|found| block.complete || found.end() < block.text.len())
        });
        if let Some(number) = matched {
            cx.emit("content_blocked", json!({ "pattern": number, "block": block.head.kind.name() }));
            return Err(shared.refusal());
        }
        if block.complete {
            return Ok(block.text.len());
        }
        let cache = self.cache.get_or_insert_with(|| shared.automaton.create_cache());
        let open = first_open(&shared.automaton, cache, block.text, block.decided);
        let left = block.text.len() - open;
        self.patience.insert(block.id, if left > PATIENT { left + left / 8 } else { 0 });
        Ok(open)
    }

    fn on_block(&mut self, cx: &mut Context<'_>, block: Block) -> Step<Fate> {
        let Some(number) = self.shared.find(&block) else { return Step::ready(Fate::Keep) };
        cx.emit("content_blocked", json!({ "pattern": number, "block": block.kind.name() }));
        let settings = &self.shared.settings;
        match settings.on_match {
            OnMatch::Refuse => Step::Ready(Err(self.shared.refusal())),
            OnMatch::ReplaceBlock if block.kind == BlockKind::Thinking => Step::ready(Fate::Drop),
            OnMatch::ReplaceBlock => {
                let kind = if block.kind.is_prose() { block.kind.clone() } else { BlockKind::Text };
                Step::ready(Fate::Replace(vec![Block { kind, text: settings.message.clone(), ..block }]))
            }
        }
    }
}

impl Blocked {
    /// The number of the first pattern that is found in a block.
    fn find(&self, block: &Block) -> Option<usize> {
        self.find_in(&block.text, block.kind.tool_name())
    }

    /// The number of the first pattern that is found in a text, which may be the arguments of a `tool`.
    fn find_in(&self, text: &str, tool: Option<&str>) -> Option<usize> {
        self.patterns.iter().position(|pattern| {
            pattern.is_match(text)
                || tool.is_some_and(|name| {
                    pattern.is_match(name) || text::json_strings(text).any(|string| pattern.is_match(&string))
                })
        })
    }

    fn refusal(&self) -> Halt {
        Halt::Refuse(Refusal::new("", self.settings.message.clone()))
    }
}

/// Held text up to this length is searched with every delta, in bytes.
const PATIENT: usize = 512;

/// The first place from which a match could still come, if more text follows; the end of the text where there is none.
fn first_open(automaton: &DFA, cache: &mut Cache, text: &str, from: usize) -> usize {
    let places = text.get(from..).unwrap_or_default().char_indices().map(|(at, _)| from + at);
    places.into_iter().find(|at| is_open(automaton, cache, text, *at)).unwrap_or(text.len())
}

/// Whether a match that begins at `at` could still come. An automaton that gives up leaves that open.
fn is_open(automaton: &DFA, cache: &mut Cache, text: &str, at: usize) -> bool {
    let input = Input::new(text).range(at..).anchored(Anchored::Yes);
    let Ok(mut state) = automaton.start_state_forward(cache, &input) else { return true };
    for byte in text.as_bytes().get(at..).unwrap_or_default() {
        state = match automaton.next_state(cache, state, *byte) {
            Ok(state) if state.is_dead() => return false,
            Ok(state) if state.is_quit() => return true,
            Ok(state) => state,
            Err(_) => return true,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pattern_has_a_size() {
        let compiled = |pattern: &str| {
            let settings = serde_json::from_value(json!({ "patterns": [pattern] })).expect("settings");
            compile(settings).map(drop).map_err(|problems| problems.len())
        };
        assert_eq!(compiled("a{1000}"), Ok(()));
        for pattern in
            ["((a{1000}){1000}){1000}", r"(\pL{100}){100}", &format!("{}a{}", "(".repeat(5000), ")".repeat(5000))]
        {
            assert_eq!(compiled(pattern), Err(1), "{}", pattern.get(..30).unwrap_or(pattern));
        }
    }
}
