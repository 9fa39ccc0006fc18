//! Expressions, good and bad, and what they say of calls.

use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_oneof},
    proptest,
    sample::select,
};

use super::*;
use crate::model::Entrance;

static NOWHERE: Entrance = Entrance { route: None, virtual_host: None };

fn facts(headers: &[(String, String)]) -> CallFacts<'_> {
    CallFacts {
        id: "call-1",
        dialect: "openai_chat",
        model: "gpt-5",
        upstream: "openai",
        path: "/v1/chat/completions?beta=true",
        client: Some("team-a"),
        session: None,
        stream: true,
        headers,
        entrance: &NOWHERE,
    }
}

fn team() -> [(String, String); 2] {
    [("x-team".to_owned(), "red".to_owned()), ("x-team".to_owned(), "blue".to_owned())]
}

fn compiled(source: &str) -> When {
    When::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"))
}

#[test]
fn expressions_say_what_they_say_of_a_call() {
    let headers = team();
    for (source, expected) in [
        ("true", true),
        ("call.id == 'call-1' && call.dialect == 'openai_chat' && call.upstream == 'openai' && call.stream", true),
        ("call.path == '/v1/chat/completions'", true),
        ("call['model'] in ['gpt-4', 'gpt-5']", true),
        ("call.model.matches('^gpt-[0-9]$') && !call.model.contains('mini')", true),
        ("call.headers['x-team'] == 'red, blue'", true),
        ("'x-other' in call.headers", false),
        ("'x-other' in call.headers && int(call.headers['x-other']) > 3", false),
        ("call.headers[?'x-other'].orValue('none') == 'none'", true),
        ("has(call.headers.team)", false),
        ("call.headers.exists(name, name.startsWith('x-') && call.headers[name].endsWith('blue'))", true),
        ("size(call.headers) == 1", true),
        ("call.session == null && call.client != null && call.client.startsWith('team-')", true),
        ("call.stream ? call.model == 'o3' : true", false),
        ("call.model == 'é' || call.model == \"\"\"gpt-5\"\"\"", true),
    ] {
        let expected = if expected { Fit::True } else { Fit::False };
        assert_eq!(compiled(source).fit(&facts(&headers)), expected, "{source}");
    }
}

#[test]
fn what_has_no_value_in_a_call_fails() {
    for (source, reason) in [
        ("call.headers['x-other'] == 'a'", "No such key: x-other"),
        ("int(call.model) > 3", "Error executing function 'int': "),
        ("{'gpt-5': 1, '1': true}[call.model]", "it is of type int, not true or false"),
        ("1 / size(call.headers) == 1", "Division by zero of Int(1)"),
        ("call.model == '1' || call.session.size() > 3", "found no matching overload for 'size'"),
    ] {
        let Fit::Fails(told) = compiled(source).fit(&facts(&[])) else { panic!("{source}") };
        assert!(told.starts_with(reason) && !told.contains('\n') && told.len() < 300, "{source}: {told}");
    }
}

#[test]
fn mistakes_are_told_when_the_rules_are_loaded() {
    for (source, message, remedy) in [
        ("", "this is not a CEL expression: mismatched input '<EOF>' (line 1, column 1)", "correct it"),
        ("call.model = 'x'", "this is not a CEL expression: token recognition error at: '=", "correct it"),
        (
            "call.model ==\n  'a' ||",
            "this is not a CEL expression: mismatched input '<EOF>' (line 2, column 9)",
            "corr",
        ),
        ("model == 'x'", "there is no variable `model`", "write `call.model`"),
        ("modle == 'x'", "there is no variable `modle`", "there is only `call`, with `id`, "),
        ("call.modle == 'x'", "`call` has no `modle`", "it has `id`, `dialect`, "),
        ("call['modle'] == 'x'", "`call` has no `modle`", "it has `id`"),
        ("call.?modle.hasValue()", "`call` has no `modle`", "it has `id`"),
        ("call.model.lower() == 'x'", "there is no function `lower`", "there are `size`, "),
        ("call.model", "a condition is of type string, not true or false", "compare it"),
        ("call.stream && call.headers.size()", "a condition is of type int, not true or false", "compare it"),
        ("!(call.stream ? call.model : true)", "a condition is of type string", "compare it"),
        ("call.model > 3", "the expression cannot be evaluated: found no matching overload for '_>_'", "correct it"),
        ("false && call.model.matches('(')", "the expression cannot be evaluated: Error executing", "correct it"),
        (
            "call.client.startsWith('a')",
            "the expression fails where `call.client` or `call.session` is null",
            "ask for",
        ),
        ("call.headers['X-Team'] == 'x'", "no header has the name `X-Team`", "write `x-team`"),
        ("'X-Team' in call.headers", "no header has the name `X-Team`", "write `x-team`"),
        ("call.dialect == 'anthropic'", "there is no dialect `anthropic`", "there are `openai_chat`, "),
        ("'openai' != call.dialect", "there is no dialect `openai`", "there are `openai_chat`, "),
        ("call.dialect in ['openai_chat', 'claude']", "there is no dialect `claude`", "there are `openai_chat`, "),
        ("call.model == 1", "a text is compared with a number, which is never the same", "compare texts"),
        ("call.stream == 'true'", "true or false is compared with a text", "compare texts"),
        ("1 == 2 || call.client == 5", "a text is compared with a number", "compare texts"),
        ("call.headers != 5", "a map is compared with a number", "compare texts"),
        ("call.model in ['a', 1]", "a text is compared with a number", "compare texts"),
        ("call.model.size() == 'x'", "a number is compared with a text", "compare texts"),
        ("Foo{a: 1} == 1", "there is no type `Foo`", "compare texts"),
        ("[1].all(a, [1].all(b, [1].all(c, true)))", "more than 2 macros stand in each other", "ask for single"),
    ] {
        let error = When::compile(source).expect_err(source);
        assert!(error.message.starts_with(message), "{source}: {}", error.message);
        assert!(error.remedy.starts_with(remedy), "{source}: {}", error.remedy);
    }
}

#[test]
fn what_is_too_large_is_refused_and_never_overflows_the_stack() {
    let deep = "the expression is more than 32 levels deep";
    for (source, message) in [
        (format!("'{}' == ''", "a".repeat(LONGEST)), "the expression is longer than 4096 bytes"),
        (format!("{}true{}", "(".repeat(2000), ")".repeat(2000)), deep),
        (format!("{}{} == 1", "[".repeat(2000), "]".repeat(2000)), deep),
        ("[{(".repeat(1300), deep),
        (format!("call{} == 2", ".a".repeat(2000)), deep),
        (format!("call.headers{} == 2", "[0]".repeat(1300)), deep),
        (format!("{}1 == 2", "1*".repeat(2000)), deep),
        (format!("{}1", "1==".repeat(1300)), deep),
        (format!("{}true", "true?true:".repeat(400)), deep),
        (format!("{}1 == 2", "1+".repeat(2000)), "there are more than 16 `+`"),
    ] {
        assert_eq!(When::compile(&source).expect_err("too large").message, message, "{}", &source[..20]);
    }
    for source in [
        format!("{}true", "true&&".repeat(680)),
        format!("{}true", "!".repeat(4000)),
        format!("{}{} == []", "[".repeat(29), "]".repeat(29)),
        format!("{}1 == 2", "1*".repeat(29)),
        format!("{}true", "!call.stream?true:".repeat(28)),
    ] {
        assert!(!matches!(compiled(&source).fit(&facts(&[])), Fit::Fails(_)), "{}", &source[..20]);
    }
}

#[test]
fn a_call_without_a_model_is_held_to_what_its_maker_was() {
    let kept = CallFacts { model: "", path: "/v1/responses/resp_1", ..facts(&[]) };
    for (source, fit) in [
        ("call.model == 'gpt-5'", Fit::Unasked),
        ("call['model'] == 'gpt-5'", Fit::Unasked),
        ("call.path == '/v1/responses'", Fit::Unasked),
        ("!call.stream && call.upstream == 'other'", Fit::Unasked),
        ("call.exists(field, field == 'other')", Fit::Unasked),
        ("[call].exists(it, it.model == 'gpt-5')", Fit::Unasked),
        ("call.headers['model'] == 'gpt-5'", Fit::Fails("No such key: model".to_owned())),
        ("call.upstream == 'other'", Fit::False),
        ("call.client == 'team-a'", Fit::True),
    ] {
        assert_eq!(compiled(source).fit(&kept), fit, "{source}");
    }
}

const WORDS: [&str; 40] = [
    "call",
    ".",
    "model",
    "headers",
    "client",
    "session",
    "stream",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ",",
    ":",
    "?",
    "&&",
    "||",
    "!",
    "-",
    "+",
    "*",
    "%",
    "/",
    "==",
    "<",
    " in ",
    "'a'",
    "'x-team'",
    "\"(\"",
    "r'\\d+'",
    "b'\\xff'",
    "9223372036854775807",
    "1u",
    "1e400",
    "null",
    "has",
    "matches",
    ".all(x, ",
    "size",
];

proptest! {
    #[test]
    fn nothing_panics(words in vec(prop_oneof![4 => select(&WORDS[..]).prop_map(str::to_owned), 1 => any::<String>()], 0..12)) {
        let source = words.concat();
        if let Ok(when) = When::compile(&source) {
            let headers = team();
            let fits = [when.fit(&facts(&headers)), when.fit(&CallFacts { client: None, model: "", ..facts(&[]) })];
            for fit in fits {
                assert!(!matches!(&fit, Fit::Fails(reason) if reason.contains("panicked")), "{source}: {fit:?}");
            }
        }
    }

    #[test]
    fn conditions_of_any_shape_are_evaluated(parts in vec(select(&[
        "call.model == 'a'", "call.stream", "call.client != null", "'x' in call.headers", "call.headers['x'] == '1'",
        "call.headers.all(n, n != 'x')", "call.session in ['a', null]", "1 / size(call.headers) > 0", "call.model < 'b'",
    ][..]), 1..9), joints in vec(select(&["&&", "||", "&& !", "|| !", "? call.stream :"][..]), 9)) {
        let mut source = String::new();
        for (part, joint) in parts.iter().zip(&joints) {
            source = if source.is_empty() { format!("({part})") } else { format!("({source}) {joint} ({part})") };
        }
        compiled(&source).fit(&facts(&team()));
    }
}
