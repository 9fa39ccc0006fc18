//! Answers that are not streamed: untouched bytes stay, and policies do to them what they do to a stream.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use luthien::{
    model::Dialect,
    policy::{Factory, Watch},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    corpus::{WHOLE, assert_same, needle, run_cut},
    random::{Lots, Model, Script},
    reader::{self, Answer, Item, Kind, sse},
    support::{Stream, WatchAll, built_in, rules, run_body},
};

const HAND_MADE: [(Dialect, &str); 7] = [
    (
        Dialect::AnthropicMessages,
        r#"{"id":"msg_1", "type":"message","role":"assistant","model":"m","container":{"id":"c"},"content":[
            {"type":"thinking","thinking":"hm\u0041","signature":"s=="},
            {"type":"text","text":"See \u00e9 and \ud83d\ude00.","citations":[{"type":"char_location","cited_text":"x"}],"x":1e3},
            {"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"q":"a"}},
            {"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[]},
            {"type":"text","text":"two words"},
            {"type":"tool_use","id":"toolu_1","name":"rm","input":{"n": 9007199254740993, "f":1.0}},
            {"type":"tool_use","id":"toolu_2","name":"ls","input":{}, "caller":{"type":"direct"}}
        ],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":7},"later":[1.50]}"#,
    ),
    (
        Dialect::AnthropicMessages,
        r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":"end_turn","usage":{}}"#,
    ),
    (
        Dialect::OpenaiChat,
        r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[
            {"index":0,"message":{"role":"assistant","content":"some words here","refusal":null,"annotations":[]},"logprobs":{"content":[{"token":"some"}]},"finish_reason":"stop"},
            {"index":1,"message":{"role":"assistant","content":null,"tool_calls":[
                {"id":"call_1","type":"function","function":{"name":"rm","arguments":"{\"a\": 1.0}"},"extra":1},
                {"id":"call_2","type":"function","function":{"name":"ls","arguments":""}},
                {"id":"call_3","type":"custom","custom":{"name":"free","input":"free text"}}]},"logprobs":null,"finish_reason":"tool_calls","seed":1e2},
            {"index":2,"message":{"role":"assistant","content":null,"refusal":"No, I won't."},"logprobs":null,"finish_reason":"stop"}
        ],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3},"system_fingerprint":"fp", "later":{"n":1.50}}"#,
    ),
    (
        Dialect::OpenaiChat,
        r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant",
            "content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"some words"},{"type":"text","text":"more"}]},"finish_reason":"stop"}],"usage":null}"#,
    ),
    (
        Dialect::OpenaiChat,
        r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","reasoning_content":"hm","reasoning":"hm",
            "content":null,"function_call":{"name":"rm","arguments":"{}"}},"finish_reason":"function_call"}]}"#,
    ),
    (
        Dialect::OpenaiResponses,
        r#"{"id":"resp_1", "object":"response","created_at":1,"status":"completed","error":null,"incomplete_details":null,"model":"m","output":[
            {"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"hm\u0041"},{"type":"summary_text","text":"and so"}],"encrypted_content":"gAAA=="},
            {"id":"msg_1","type":"message","status":"completed","role":"assistant","phase":"commentary","content":[
                {"type":"output_text","text":"See \u00e9 and \ud83d\ude00.","annotations":[{"type":"url_citation","start_index":0,"end_index":3,"url":"https://a.test","title":"a"}],"logprobs":[],"x":1e3},
                {"type":"refusal","refusal":"No, I won't."}]},
            {"id":"ws_1","type":"web_search_call","status":"completed","action":{"type":"search","query":"a"}},
            {"id":"ci_1","type":"code_interpreter_call","status":"completed","container_id":"c","code":"print(1.0)","outputs":[{"type":"logs","logs":"1.0"}]},
            {"id":"mcp_1","type":"mcp_call","status":"completed","server_label":"s","name":"echo","arguments":"{\"a\": 1.0}","output":"1.0","error":null,"approval_request_id":null},
            {"id":"ig_1","type":"image_generation_call","status":"completed","result":"aGVsbG8="},
            {"id":"cmp_1","type":"compaction","encrypted_content":"gAAA=="},
            {"id":"fc_1","type":"function_call","status":"completed","call_id":"call_1","name":"rm","arguments":"{\"n\": 9007199254740993}","namespace":"ns"},
            {"id":"ctc_1","type":"custom_tool_call","status":"completed","call_id":"call_2","name":"patch","input":"*** Begin \"quoted\""},
            {"id":"lsh_1","type":"local_shell_call","status":"completed","call_id":"call_3","action":{"type":"exec","command":["ls","-l"],"timeout_ms":1e3,"env":{}}},
            {"id":"sh_1","type":"shell_call","status":"completed","call_id":"call_4","action":{"commands":["ls"],"timeout_ms":1000}},
            {"id":"ap_1","type":"apply_patch_call","status":"completed","call_id":"call_5","operation":{"type":"delete_file","path":"a"}},
            {"id":"cu_1","type":"computer_call","status":"completed","call_id":"call_6","action":{"type":"screenshot"},"pending_safety_checks":[]}
        ],"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3},"later":[1.50]}"#,
    ),
    (
        Dialect::OpenaiResponses,
        r#"{"id":"resp_1","object":"response","status":"incomplete","error":null,"incomplete_details":{"reason":"max_output_tokens"},"model":"m","output":[],"usage":null}"#,
    ),
];

/// The answer of a stream as one body. `None`: it cannot be one.
pub fn body_of(stream: &Stream) -> Option<Bytes> {
    let answer = reader::stream(stream.dialect, &stream.body);
    let body = match stream.dialect {
        Dialect::AnthropicMessages => message(&answer)?,
        Dialect::OpenaiChat => completion(&answer),
        // The stream itself ends with it.
        Dialect::OpenaiResponses => reader::openai_responses::terminal(&sse::events(&stream.body))?,
    };
    Some(body.into())
}

fn message(answer: &Answer) -> Option<String> {
    let mut content = Vec::new();
    for (block, head) in answer.heads.iter().enumerate() {
        let text = answer.text(block);
        let input = || sse::json(&text).is_some().then(|| text.clone()).or(text.is_empty().then(|| "{}".to_owned()));
        content.push(match &head.kind {
            Kind::Text => json!({"type": "text", "text": text}).to_string(),
            Kind::Thinking if head.has_text => {
                json!({"type": "thinking", "thinking": text, "signature": "s"}).to_string()
            }
            Kind::Thinking => json!({"type": "redacted_thinking", "data": "d"}).to_string(),
            Kind::Tool { id, name } => {
                format!(r#"{{"type":"tool_use","id":{},"name":{},"input":{}}}"#, json!(id), json!(name), input()?)
            }
            Kind::ServerTool(id) => {
                format!(r#"{{"type":"server_tool_use","id":{},"name":"s","input":{}}}"#, json!(id), input()?)
            }
            Kind::ServerResult(of) => {
                json!({"type": "web_search_tool_result", "tool_use_id": of, "content": []}).to_string()
            }
            Kind::Other(kind) => json!({"type": kind, "x": 1}).to_string(),
            Kind::Refusal => return None,
        });
    }
    let reason = reasons(answer).last()?.1.clone();
    Some(format!(
        r#"{{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{}],"stop_reason":{},"stop_sequence":null,"stop_details":{},"usage":{{"input_tokens":1,"output_tokens":2}},"unknown":1.50}}"#,
        content.join(", "),
        json!(reason),
        json!(
            answer.explanation.as_ref().map(|text| json!({"type": "refusal", "category": null, "explanation": text}))
        ),
    ))
}

fn completion(answer: &Answer) -> String {
    let mut choices = Vec::new();
    for (choice, reason) in reasons(answer) {
        let mut message = serde_json::Map::from_iter([("role".to_owned(), json!("assistant"))]);
        let mut tools = Vec::new();
        for (block, head) in answer.heads.iter().enumerate().filter(|(_, head)| head.choice == choice) {
            let text = answer.text(block);
            match &head.kind {
                Kind::Tool { id, name } if id.is_empty() => {
                    message.insert("function_call".to_owned(), json!({"name": name, "arguments": text}));
                }
                Kind::Tool { id, name } => {
                    tools.push(json!({"id": id, "type": "function", "function": {"name": name, "arguments": text}}));
                    message.insert("tool_calls".to_owned(), Value::Array(tools.clone()));
                }
                kind => {
                    let key = match kind {
                        Kind::Refusal => "refusal",
                        Kind::Thinking => "reasoning_content",
                        _ => "content",
                    };
                    let old = message.get(key).and_then(Value::as_str).unwrap_or_default();
                    message.insert(key.to_owned(), json!(format!("{old}{text}")));
                }
            }
        }
        message.entry("content").or_insert(Value::Null);
        choices.push(json!({"index": choice, "message": message, "logprobs": null, "finish_reason": reason, "x": 1}));
    }
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices,
        "usage": {"prompt_tokens": 1, "completion_tokens": 2}, "unknown": {"a": null}})
    .to_string()
}

/// The last reason of each choice.
fn reasons(answer: &Answer) -> Vec<(u32, Option<String>)> {
    let mut out: Vec<(u32, Option<String>)> = Vec::new();
    for item in &answer.items {
        if let Item::Stop(choice, reason) = item {
            out.retain(|(other, _)| other != choice);
            out.push((*choice, reason.clone()));
        }
    }
    out.sort_by_key(|(choice, _)| *choice);
    out
}

/// Every body there is, with its name.
pub static ALL: LazyLock<Vec<(String, Dialect, Bytes)>> = LazyLock::new(|| {
    let made = WHOLE.iter().filter_map(|stream| Some((stream.name.clone(), stream.dialect, body_of(stream)?)));
    let by_hand = HAND_MADE.iter().enumerate().map(|(number, (dialect, body))| {
        (format!("hand-made {number}"), *dialect, Bytes::from_static(body.as_bytes()))
    });
    made.chain(by_hand).collect()
});

#[test]
fn untouched_bytes_stay_untouched() {
    let never = json!({"replacements": {"\u{1}never": "x"}, "include_tool_calls": true});
    let policies: [Vec<Arc<dyn Factory>>; 4] = [
        Vec::new(),
        vec![Arc::new(WatchAll(Watch::Deltas))],
        vec![Arc::new(WatchAll(Watch::Whole)), Arc::new(WatchAll(Watch::Deltas))],
        vec![built_in("string_replacement", &never), built_in("debug_log", &json!({}))],
    ];
    for policies in policies {
        let rules = rules(policies);
        for (name, dialect, body) in ALL.iter() {
            assert_eq!(run_body(*dialect, &rules, body), *body, "{name}");
        }
    }
}

fn check_random(name: &str, dialect: Dialect, body: &Bytes, seeds: &[u64]) {
    let what = format!("{name} {seeds:?}");
    let scripts: Vec<Script> = seeds.iter().map(|seed| Script { seed: *seed, appends: &[] }).collect();
    let mut model = Model::new(dialect, &reader::body(dialect, body));
    let factory = |script: &Script| -> Arc<dyn Factory> { Arc::new(Lots { script: *script, patience: 7 }) };
    let out = run_body(dialect, &rules(scripts.iter().map(factory).collect()), body);
    for script in &scripts {
        model.apply(script);
    }
    let (expected, changed) = model.finish();
    let [found, expected] =
        [reader::body(dialect, &out), expected].map(|answer| format!("{:#}", comparable(answer.normal(dialect))));
    assert_same(&found, &expected, &format!("{what}\n{}\n", String::from_utf8_lossy(&out)));
    assert!(changed || out == *body, "{what}: nothing changed, and bytes did");
    // What nobody knows survives.
    let [before, after] = [body, &out].map(|body| serde_json::from_slice::<Value>(body).unwrap());
    for key in before
        .as_object()
        .unwrap()
        .keys()
        .filter(|key| !matches!(key.as_str(), "content" | "choices" | "output" | "stop_reason"))
    {
        assert_eq!(before[key], after[key], "{what}: {key}");
    }
}

/// Citations of an edited text are taken out as a member, which a stream has not; white space of an input may change.
fn comparable(mut normal: Value) -> Value {
    for block in normal["blocks"].as_array_mut().into_iter().flatten() {
        if block[0].as_str().unwrap().contains("Tool") {
            // What is no JSON is free text.
            match sse::json(block[1].as_str().unwrap()) {
                Some(Value::Null) => block[1] = json!("{}"),
                Some(input) => block[1] = json!(input.to_string()),
                None if block[1] == "" => block[1] = json!("{}"),
                None => {}
            }
        }
        for extra in block[2].as_array_mut().into_iter().flatten() {
            extra.as_object_mut().map(|extra| extra.remove("citations"));
        }
        block[2].as_array_mut().unwrap().retain(|extra| *extra != json!({}));
    }
    normal
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_decisions_come_to_what_they_add_up_to(
        body: prop::sample::Index, seeds in proptest::collection::vec(0_u64..1_000_000, 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _guard = runtime.enter();
        let (name, dialect, body) = &ALL[body.index(ALL.len())];
        // What is added to a list of contents stands at its end, wherever the policy put it.
        prop_assume!(name != "hand-made 3");
        check_random(name, *dialect, body, &seeds);
    }

    #[test]
    fn policies_do_to_a_body_what_they_do_to_its_stream(stream: prop::sample::Index, seed: u64, policy in 0_usize..6) {
        let stream = &WHOLE[stream.index(WHOLE.len())];
        let texts: Vec<String> =
            reader::stream(stream.dialect, &stream.body).texts().into_iter().map(|(_, text)| text).collect();
        let needle = needle(&texts, seed).unwrap_or_else(|| "x".to_owned());
        let policy = match policy {
            0 => built_in("uppercase", &json!({})),
            1 => built_in("uppercase_nth_word", &json!({"n": seed % 4 + 1})),
            2 => built_in("string_replacement", &json!({"replacements": {needle: "R"}, "include_tool_calls": true})),
            3 => built_in("blocked_content", &json!({"patterns": [regex::escape(&needle)]})),
            4 => built_in("tool_filter", &json!({"deny": ["*"], "message": "no {tool}"})),
            _ => built_in("tool_filter", &json!({"deny": ["*a*"]})),
        };
        if let Some(body) = body_of(stream) {
            let rules = rules(vec![policy]);
            let streamed = reader::stream(stream.dialect, &run_cut(stream.dialect, &rules, &stream.body, seed).out.concat());
            let whole = reader::body(stream.dialect, &run_body(stream.dialect, &rules, &body));
            let [streamed, whole] = [streamed, whole].map(|answer| format!("{:#}", said(stream.dialect, &answer)));
            assert_same(&whole, &streamed, &stream.name);
        }
    }
}

/// Texts, calls and reasons alone. Kinds of blocks that bodies do not keep apart are one.
fn said(dialect: Dialect, answer: &Answer) -> Value {
    let normal = comparable(answer.normal(dialect));
    let blocks: Vec<Value> =
        normal["blocks"].as_array().into_iter().flatten().map(|block| json!([block[0], block[1]])).collect();
    json!({"blocks": blocks, "messages": normal["messages"], "tools": normal["tools"], "end": reasons(answer)})
}
