//! One call of the run: what the client asks, what provider and judge answer, and where it can be made to wait.

use serde_json::json;

use super::plan::Phase;
use crate::{
    common::streams::Dialect,
    fakes::{
        provider::Provider,
        script::{Gate, Script},
    },
    harness::{
        client::{Place, Request, Version, call_body},
        samples::{self, Call as Tool},
    },
};

/// What no client may ever see.
pub(super) const MARKER: &str = "MAGIC-MARKER";
/// What stands in the arguments of a tool call that is never let through.
pub(super) const FORBIDDEN: &str = "FORBIDDEN";
/// The tool whose calls are dropped.
pub(super) const DENIED: &str = "rm_tree";

/// A call.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Unique, and no part of another; the model that it asks for, too.
    pub(super) id: String,
    pub(super) dialect: Dialect,
    pub(super) stream: bool,
    pub(super) version: Version,
    /// Whether the answer has a tool call that is dropped, besides the one that is judged.
    pub(super) is_denied: bool,
    /// Where it waits.
    pub(super) phase: Option<Phase>,
    /// It has come there.
    pub(super) reached: Gate,
    /// It may go on.
    pub(super) open: Gate,
    pub(super) answered: Answered,
}

/// Who has answered, to the last byte.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub(super) provider: Gate,
    /// Of the tool call.
    pub(super) judge: Gate,
    /// Of the request.
    pub(super) remote: Gate,
}

impl Call {
    pub(super) fn new(number: usize, dialect: Dialect, stream: bool) -> Self {
        let answered = Answered { provider: Gate::new(), judge: Gate::new(), remote: Gate::new() };
        Self {
            id: format!("c{number}x"),
            dialect,
            stream,
            version: Version::BOTH[number % 2],
            is_denied: number.is_multiple_of(3),
            phase: None,
            reached: Gate::new(),
            open: Gate::new(),
            answered,
        }
    }

    /// What the text of the answer begins with.
    pub(super) fn beginning(&self) -> String {
        format!("begins-{}", self.id)
    }

    /// What the text of the answer ends with.
    pub(super) fn ending(&self) -> String {
        format!("ends-{}", self.id)
    }

    /// What stands in the arguments of the tool call that is judged.
    pub(super) fn judged(&self) -> String {
        format!("tool-{}", self.id)
    }

    fn asked(&self) -> String {
        format!("ask-{}", self.id)
    }

    pub(super) fn request(&self) -> Request {
        let body = call_body(self.dialect, &self.id, self.stream).to_string();
        let request = Request::post(self.dialect.path(), body.replace("Hello", &self.asked()));
        match self.phase {
            Some(Phase::Head) => request.hold(Place::Head, &self.reached, &self.open),
            Some(Phase::Upload) => request.hold(Place::Body, &self.reached, &self.open),
            _ => request,
        }
    }

    /// Tells provider and judge what they answer.
    pub(super) fn expect(&self, provider: &Provider, judge: &Provider) {
        provider.on_model(&self.id, self.answer());
        let verdict = json!({ "probability": 0.0, "explanation": "fine" }).to_string();
        let verdict = Script::json(samples::whole(Dialect::OpenaiChat, &verdict, &[]));
        // What judges a tool call is shown the request as well, so this comes first.
        judge.on_text(&self.judged(), self.decided(verdict, Phase::Held, &self.answered.judge));
        let keep = Script::json(json!({ "keep": {} }).to_string());
        judge.on_text(&self.asked(), self.decided(keep, Phase::Deciding, &self.answered.remote));
    }

    fn decided(&self, script: Script, phase: Phase, answered: &Gate) -> Script {
        let script = script.reach(answered);
        if self.phase == Some(phase) { script.wait_at_first(&self.reached, &self.open) } else { script }
    }

    fn answer(&self) -> Script {
        // A delta leaves when all of it is decided, so the beginning is one of its own.
        let (begins, ends) = (format!("{}, it is ", self.beginning()), format!("ER and {}.", self.ending()));
        let pieces = [&*begins, "MAGIC", "-MARK", &*ends];
        let denied = json!({ "path": format!("/{FORBIDDEN}-{}", self.id), "force": true }).to_string();
        let judged = json!({ "path": format!("/tmp/{}", self.judged()) }).to_string();
        let denied: Tool = ("call_denied", DENIED, &denied);
        let judged: Tool = ("call_judged", "read_file", &judged);
        let tools = if self.is_denied { vec![denied, judged] } else { vec![judged] };
        let script = if self.stream {
            let told = samples::told(self.dialect, &pieces, &tools);
            let events: Vec<&str> = told.split_inclusive("\n\n").collect();
            let behind = |word| events.iter().position(|event| event.contains(word)).map_or(0, |at| at + 1);
            let at = self.stop(|| behind("-MARK"), || behind("path"), || events.len() - 1);
            self.halves(Script::stream(), events[..at].concat(), events[at..].concat())
        } else {
            let told = samples::whole(self.dialect, &pieces.concat(), &tools);
            let behind = |word: &str| told.find(word).map_or(0, |at| at + word.len());
            let at = self.stop(|| behind("-MARK"), || behind("path"), || told.len() - 1);
            self.halves(Script::json(""), told[..at].to_owned(), told[at..].to_owned())
        };
        if self.phase == Some(Phase::Waiting) { script.wait_at_first(&self.reached, &self.open) } else { script }
    }

    /// Where the answer stops; 0 where it does not.
    fn stop(&self, text: impl Fn() -> usize, tool: impl Fn() -> usize, end: impl Fn() -> usize) -> usize {
        let at = match self.phase {
            Some(Phase::Text) => text(),
            Some(Phase::ToolCall) => tool(),
            Some(Phase::End) => end(),
            _ => return 0,
        };
        assert!(at > 0, "{self:?} does not say what it is to stop behind");
        at
    }

    fn halves(&self, script: Script, first: String, second: String) -> Script {
        let script = if first.is_empty() { script } else { script.then(first).reach(&self.reached).wait(&self.open) };
        script.then(second).reach(&self.answered.provider)
    }
}
