//! Small streams in which one decision once made an answer that clients refuse.

use std::sync::Arc;

use luthien::{
    model::{Block, BlockHead, CallHead, Dialect},
    policy::{Context, Ending, Factory, Fate, Policy, Step, Watch},
};

use super::{
    reader,
    support::{rules, run, stream_of},
    validator,
};

/// Watches everything whole, decides by the kind of a block, and adds blocks at the end.
#[derive(Clone)]
pub struct By {
    pub fate: fn(&Block) -> Fate,
    pub added: Vec<Block>,
}

impl Factory for By {
    fn begin(&self, _: &CallHead) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

impl Policy for By {
    fn on_block_start(&mut self, _: &mut Context<'_>, _: &BlockHead) -> Watch {
        Watch::Whole
    }

    fn on_block(&mut self, _: &mut Context<'_>, block: Block) -> Step<Fate> {
        Step::ready((self.fate)(&block))
    }

    fn on_response_end(&mut self, _: &mut Context<'_>, mut ending: Ending) -> Step<Ending> {
        self.added.iter().cloned().for_each(|block| ending.push(block));
        Step::ready(ending)
    }
}

/// What a client makes of the stream once the policy has been over it. It must be legal.
fn client_reads(dialect: Dialect, data: &[&str], policy: By) -> serde_json::Value {
    let out = run(dialect, &rules(vec![Arc::new(policy)]), &stream_of(dialect, data), 7).out.concat();
    validator::assert_legal(dialect, &out, "after the policy");
    reader::stream(dialect, &out).normal(dialect)
}

const CHAT_TEXT: [&str; 3] = [
    r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"a"},"finish_reason":null}]}"#,
    r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "[DONE]",
];

#[test]
fn text_added_at_the_end_of_a_chat_stands_before_the_one_finish_reason() {
    let policy = By { fate: |_| Fate::Keep, added: vec![Block::text(" the end")] };
    let read = client_reads(Dialect::OpenaiChat, &CHAT_TEXT, policy);
    assert_eq!(read["messages"]["0"]["text"], "a the end");
}

/// Some servers never say what their answer is called.
#[test]
fn the_role_is_said_once_where_no_chunk_has_an_id() {
    let data = [
        r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":null}]}"#,
        r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
        "[DONE]",
    ];
    let policy = By { fate: |_| Fate::Replace(vec![Block::text("no")]), added: Vec::new() };
    let read = client_reads(Dialect::OpenaiChat, &data, policy);
    assert_eq!(read["messages"]["0"]["text"], "no");
}

#[test]
fn the_role_of_a_second_choice_is_said_once() {
    let data = [
        r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"a"},"finish_reason":null}]}"#,
        r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":1,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
        r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ];
    let policy = By { fate: |_| Fate::Keep, added: vec![Block { choice: 1, ..Block::text("the end") }] };
    let read = client_reads(Dialect::OpenaiChat, &data, policy);
    assert_eq!(read["messages"]["1"]["text"], "the end");
}

#[test]
fn an_edited_thinking_is_not_repeated_under_another_key() {
    let edit = |block: &Block| match block.kind {
        luthien::model::BlockKind::Thinking => Fate::Replace(vec![Block { text: "edited".into(), ..block.clone() }]),
        _ => Fate::Keep,
    };
    let rules = rules(vec![Arc::new(By { fate: edit, added: Vec::new() })]);
    for keys in [["reasoning_content", "reasoning"], ["reasoning", "reasoning_content"]] {
        let thinking = format!(
            r#""{}":"the secret","{}":"the secret","reasoning_details":[{{"text":"the secret"}}]"#,
            keys[0], keys[1]
        );
        let chunk = format!(
            r#"{{"id":"c","object":"chat.completion.chunk","choices":[{{"index":0,"delta":{{"role":"assistant",{thinking}}},"finish_reason":null}}]}}"#
        );
        let stream = stream_of(Dialect::OpenaiChat, &[&chunk, CHAT_TEXT[1], CHAT_TEXT[2]]);
        let body = format!(
            r#"{{"id":"c","object":"chat.completion","choices":[{{"index":0,"message":{{"role":"assistant","content":"a",{thinking}}},"finish_reason":"stop"}}]}}"#
        );
        for out in [
            run(Dialect::OpenaiChat, &rules, &stream, 7).out.concat(),
            super::support::run_body(Dialect::OpenaiChat, &rules, &body.into()).to_vec(),
        ] {
            let out = String::from_utf8(out).unwrap();
            assert!(out.contains("edited") && !out.contains("secret"), "{out}");
        }
    }
}

#[test]
fn a_text_of_which_nothing_is_left_says_so_where_an_empty_one_is_not_legal() {
    let replace = super::support::built_in("string_replacement", &serde_json::json!({"replacements": {"secret": ""}}));
    let body = r#"{"id":"m","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"secret"},{"type":"text","text":"b"}],"stop_reason":"end_turn","usage":{}}"#;
    let rules = rules(vec![replace]);
    let out = super::support::run_body(Dialect::AnthropicMessages, &rules, &body.into());
    assert_eq!(String::from_utf8_lossy(&out), body.replace("secret", "[removed by policy]"));

    let stream = stream_of(
        Dialect::AnthropicMessages,
        &[
            r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"sec"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ret"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            // One that was empty before is the provider's own.
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_stop","index":1}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#,
            r#"{"type":"message_stop"}"#,
        ],
    );
    let out = run(Dialect::AnthropicMessages, &rules, &stream, 7).out.concat();
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.matches("[removed by policy]").count(), 1, "{out}");
    let place = out.find("[removed by policy]").unwrap();
    assert!(out[..place].contains("content_block_start") && out[place..].contains("content_block_stop"), "{out}");
}

#[test]
fn a_polite_end_behind_a_call_that_left_says_that_the_call_is_to_be_run() {
    let refusal = luthien::model::Refusal {
        form: luthien::model::RefusalForm::Message,
        ..luthien::model::Refusal::new("p", "no more")
    };
    let data = [
        r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"ls","input":{}}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
    ];
    let mut run = super::support::Run::stream(Dialect::AnthropicMessages, &rules(Vec::new()));
    run.push(&stream_of(Dialect::AnthropicMessages, &data));
    run.response.refuse(&refusal);
    run.out.extend(run.response.take_output());
    let out = run.out.concat();
    validator::assert_legal(Dialect::AnthropicMessages, &out, "refused");
    assert!(String::from_utf8(out).unwrap().contains(r#""stop_reason":"tool_use""#));
}

const MESSAGE_START: &str = r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#;
const MESSAGE_END: [&str; 2] = [
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#,
    r#"{"type":"message_stop"}"#,
];

#[test]
fn a_citation_of_a_text_that_was_taken_out_goes_with_it() {
    let data = [
        MESSAGE_START,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"secret"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"cited_text":"the secret"}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"rest"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        MESSAGE_END[0],
        MESSAGE_END[1],
    ];
    let replace = super::support::built_in("string_replacement", &serde_json::json!({"replacements": {"secret": ""}}));
    let dialect = Dialect::AnthropicMessages;
    let out = run(dialect, &rules(vec![replace]), &stream_of(dialect, &data), 7).out.concat();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("rest") && !out.contains("secret"), "{out}");
}

#[test]
fn a_block_of_a_policys_own_is_text_to_anthropic_whatever_it_is_called() {
    let data = [
        MESSAGE_START,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"web_search_tool_result","tool_use_id":"s","content":[]}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        MESSAGE_END[0],
        MESSAGE_END[1],
    ];
    let data = [
        &data[..1],
        &[r#"{"type":"content_block_start","index":0,"content_block":{"type":"container_upload","file_id":"f"}}"#],
        &data[2..],
    ]
    .concat();
    let edit = |block: &Block| Fate::Replace(vec![Block { text: "not its text".into(), ..block.clone() }]);
    let added = vec![Block { kind: luthien::model::BlockKind::Thinking, ..Block::text("thought") }];
    let read = client_reads(Dialect::AnthropicMessages, &data, By { fate: edit, added });
    assert_eq!(read["blocks"][0][1], "", "a block that has no text keeps none");
    assert_eq!((&read["blocks"][1][0], &read["blocks"][1][1]), (&"Text".into(), &"thought".into()));
}

#[test]
fn a_text_that_goes_on_behind_its_end_is_not_let_through_in_two_halves() {
    let chunk = |content: &str, finish: &str| {
        format!(
            r#"{{"id":"c","object":"chat.completion.chunk","choices":[{{"index":0,"delta":{{"content":"{content}"}},"finish_reason":{finish}}}]}}"#
        )
    };
    let replace = super::support::built_in("string_replacement", &serde_json::json!({"replacements": {"secret": "X"}}));
    let rules = rules(vec![replace]);
    let run = |data: &[&str]| {
        let out = run(Dialect::OpenaiChat, &rules, &stream_of(Dialect::OpenaiChat, data), 7).out.concat();
        validator::problems(Dialect::OpenaiChat, &out);
        String::from_utf8(out).unwrap()
    };
    let out = run(&[&chunk("sec", "\"stop\""), &chunk("ret", "null"), "[DONE]"]);
    assert!(!out.contains("ret\"") && out.contains("cannot be read"), "{out}");
    // Some servers say an empty reason with every chunk: that is none.
    let out = run(&[&chunk("sec", "\"\""), &chunk("ret", "\"\""), &chunk("", "\"stop\""), "[DONE]"]);
    assert!(out.contains("\"X\"") && !out.contains("sec"), "{out}");
}
