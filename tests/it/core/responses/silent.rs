//! A policy says something where the provider said nothing.

use std::sync::Arc;

use luthien::{
    model::{Block, BlockHead, CallHead, Dialect},
    policy::{BlockText, Context, Edits, Factory, Fate, Outcome, Policy, Step, Watch},
};

use super::{
    super::{
        reader,
        support::{rules, run},
        validator,
    },
    Made, stream,
};

const RESPONSES: Dialect = Dialect::OpenaiResponses;

/// Replaces the whole text of blocks of one kind.
struct Says(&'static str, &'static str, Watch);

impl Factory for Says {
    fn begin(&self, _: &CallHead) -> Box<dyn Policy> {
        Box::new(Self(self.0, self.1, self.2))
    }
}

impl Policy for Says {
    fn on_block_start(&mut self, _: &mut Context<'_>, head: &BlockHead) -> Watch {
        if head.kind.name() == self.0 { self.2 } else { Watch::Ignore }
    }

    fn on_delta(&mut self, _: &mut Context<'_>, block: &BlockText<'_>, edits: &mut Edits) -> Outcome<usize> {
        if block.complete {
            edits.replace(block.text.len()..block.text.len(), self.1.to_owned());
        }
        Ok(block.text.len())
    }

    fn on_block(&mut self, _: &mut Context<'_>, block: Block) -> Step<Fate> {
        Step::ready(Fate::Replace(vec![Block { text: self.1.to_owned(), ..block }]))
    }
}

/// Items that say nothing, or in a form that is not the usual one, and then get a text.
#[test]
fn a_text_for_what_said_none_is_legal() {
    let reasoned = |parts: usize| {
        let mut events = Vec::new();
        let mut content = Vec::new();
        for at in 0..parts {
            let place = format!(r#""item_id":"rs_1","output_index":"@place","content_index":{at}"#);
            events.extend([
                format!(
                    r#"{{"type":"response.content_part.added",{place},"part":{{"type":"reasoning_text","text":""}}}}"#
                ),
                format!(r#"{{"type":"response.reasoning_text.delta",{place},"delta":"so"}}"#),
                format!(r#"{{"type":"response.reasoning_text.done",{place},"text":"so"}}"#),
                format!(
                    r#"{{"type":"response.content_part.done",{place},"part":{{"type":"reasoning_text","text":"so"}}}}"#
                ),
            ]);
            content.push(r#"{"type":"reasoning_text","text":"so"}"#);
        }
        let item = |content: &str| {
            format!(r#"{{"id":"rs_1","type":"reasoning","summary":[],"content":[{content}],"encrypted_content":"g"}}"#)
        };
        Made::of(&item(""), events, &item(&content.join(",")))
    };
    let items = [
        ("a reasoning without a summary", "thinking", Made::reasoning("rs_1", &[])),
        ("a reasoning with a summary", "thinking", Made::reasoning("rs_1", &["one", "two"])),
        ("a reasoning whose last part is empty", "thinking", Made::reasoning("rs_1", &["one", ""])),
        ("a reasoning with a text", "thinking", reasoned(1)),
        ("a reasoning with two texts", "thinking", reasoned(2)),
        ("an empty message", "text", Made::message("msg_1", &[], "")),
        ("a message without parts", "text", Made::parts("msg_1", &[])),
        (
            "a message of two empty parts",
            "text",
            Made::parts("msg_1", &[("output_text", &[], ""), ("output_text", &[], "")]),
        ),
        (
            "a message whose last part is empty",
            "text",
            Made::parts("msg_1", &[("output_text", &["a"], "a"), ("refusal", &[], "")]),
        ),
        ("a call without arguments", "tool_call", Made::call("fc_1", "call_1", "ls", &[])),
        ("a custom call without input", "tool_call", Made::custom("ctc_1", "call_1", "x", &[])),
    ];
    let mut problems = Vec::new();
    for (what, kind, item) in items {
        let stream = stream(&[item, Made::message("msg_9", &["z"], "z")]);
        for watch in [Watch::Whole, Watch::Deltas] {
            if kind == "tool_call" && watch == Watch::Deltas {
                continue;
            }
            let text = if kind == "tool_call" { "{\"b\":1}" } else { "new" };
            let before = validator::problems(RESPONSES, &stream);
            let out = run(RESPONSES, &rules(vec![Arc::new(Says(kind, text, watch))]), &stream, 64).out.concat();
            let mut found = validator::problems(RESPONSES, &out);
            found.retain(|problem| !before.contains(problem));
            let listed = reader::openai_responses::terminal(&reader::sse::events(&out))
                .map(|terminal| reader::body(RESPONSES, terminal.as_bytes()).texts());
            if listed != Some(reader::stream(RESPONSES, &out).texts()) {
                found.push("the terminal object says something else".to_owned());
            }
            if !found.is_empty() {
                problems.push(format!("{what}, {watch:?}: {found:?}"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// What OpenAI refuses on the next turn.
#[test]
fn no_reasoning_stands_at_the_end_when_what_followed_it_is_dropped() {
    let call = Made::call("fc_1", "call_1", "rm", &["{}"]);
    let items = [Made::message("msg_1", &["a"], "a"), Made::reasoning("rs_1", &["one"]), call];
    let out = run(RESPONSES, &rules(vec![Arc::new(Drops)]), &stream(&items), 64).out.concat();
    validator::assert_legal(RESPONSES, &out, "after the policy");
    let types: Vec<String> = super::output(&out).iter().map(|item| item["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(types, ["message", "reasoning", "message"]);
}

/// Drops every call.
struct Drops;

impl Factory for Drops {
    fn begin(&self, _: &CallHead) -> Box<dyn Policy> {
        Box::new(Self)
    }
}

impl Policy for Drops {
    fn on_block_start(&mut self, _: &mut Context<'_>, head: &BlockHead) -> Watch {
        if head.kind.tool_name().is_some() { Watch::Whole } else { Watch::Ignore }
    }

    fn on_block(&mut self, _: &mut Context<'_>, _: Block) -> Step<Fate> {
        Step::ready(Fate::Drop)
    }
}
