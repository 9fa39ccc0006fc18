//! No input makes the policy panic, run on, or change what it does not mean to change.

use std::time::{Duration, Instant};

use luthien::model::Dialect;
use proptest::prelude::*;
use serde_json::json;

use super::{judged, table};

/// What nests, repeats or begins something.
const PIECES: [&str; 98] = [
    "(",
    ")",
    "{",
    "}",
    "$(",
    "${",
    "$[",
    "$((",
    "((",
    "`",
    "\"",
    "'",
    "\"$(",
    "${a:-",
    "${a:-\"",
    "<(",
    ">(",
    "@(",
    "a(",
    "[[ ",
    "[[ ( ",
    "[[ ! ",
    "! ",
    "if ",
    "if a; then ",
    "while a; do ",
    "for x in a; do ",
    "case a in a) ",
    "case ",
    "{ ",
    "f() { ",
    "f() ",
    "coproc ",
    "time ",
    "function f { ",
    "select ",
    "\\",
    "\\\n",
    "a;",
    "a|",
    "a&&",
    "a ",
    "a\n",
    "x[",
    "x[$(",
    "a=(",
    "a=",
    "<<E ",
    "<<E\n",
    "<<<",
    ">",
    "> a ",
    "<",
    "{a,b}",
    "{a,",
    "{1..9}",
    "{{",
    "[",
    "~",
    "$",
    "$a",
    "$'",
    "$'\\",
    "#",
    "#\n",
    "sudo ",
    "env ",
    "bash -c ",
    "bash -c '",
    "eval ",
    "xargs ",
    "find . -exec ",
    "X=$X$X;",
    "f(){ f|f; };",
    "\u{F8F0}",
    "é",
    "\r",
    "\0",
    "9",
    "99999999999999999999>",
    "-",
    "--",
    "*",
    "?",
    "a=$(",
    "trap ",
    "$(echo ",
    "| sh ",
    "echo a | ",
    "\"\\",
    "esac ",
    "fi ",
    "done ",
    "} ",
    ") ",
    "case a in a) esac ",
    "( ) ",
    "a=b ",
];

/// Whatever the text, the call is kept byte for byte or a text stands in its place.
fn holds(command: &str) -> bool {
    let arguments = json!({ "command": command }).to_string();
    judged(Dialect::OpenaiChat, &json!({}), "bash", &arguments).map_or(true, |kept| kept == arguments)
}

#[test]
fn deep_and_long_commands_are_decided_soon() {
    let mut slow = Vec::new();
    for piece in PIECES {
        for (count, close) in
            [(9, ""), (40, ""), (300, ""), (1000, ""), (7, ")"), (30, "; fi"), (200, ")"), (1000, "}")]
        {
            for ending in ["", "a"] {
                let command = format!("{}{ending}{}", piece.repeat(count), close.repeat(count));
                let start = Instant::now();
                assert!(holds(&command), "{piece:?} {count}");
                let took = start.elapsed();
                if took > Duration::from_secs(4) {
                    slow.push(format!("{piece:?} {count} {close:?} {ending:?}: {took:?}"));
                }
            }
        }
    }
    for piece in
        ["(", "$(", "((", "{", "`", "\"", "${a:-", "{a,b}", "{a,", "\"$(", "case a in a) ", "if ", "x[", "eval "]
    {
        assert!(holds(&piece.repeat(10_000)), "{piece:?}");
    }
    // A build without optimisation on a busy machine is some fifty times slower than what runs.
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}

#[test]
fn variables_and_loops_do_not_multiply_without_end() {
    let values: Vec<String> = (0..60).map(|number| format!("v{number}")).collect();
    let loops: String = ["a", "b", "c", "d"].map(|name| format!("for {name} in {}; do ", values.join(" "))).concat();
    let nested = (0..12).fold("ls".to_owned(), |code, _| format!("$(echo $({code}) $({code}))"));
    let doubling = (0..40).fold("X=aaaa".to_owned(), |code, _| format!("{code};X=$X$X"));
    let functions: Vec<_> = (1..30).map(|at| format!("f{at}() {{ f{}; f{}; }};", at - 1, at - 1)).collect();
    let functions = functions.concat();
    for command in [
        format!("{loops} $a $b $c $d; done; done; done; done"),
        nested,
        format!("{doubling}; $X"),
        format!("f0() {{ ls; }}; {functions} f29"),
    ] {
        let start = Instant::now();
        assert!(holds(&command));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?} {command:.80}", start.elapsed());
    }
}

fn fragment() -> impl Strategy<Value = String> {
    let words = [
        "rm", "-rf", "/", "bash", "-c", "'", "\"", "`", "$(", ")", "${", "}", "(", "{", ";", "|", "&", "&&", "\n", " ",
        "<<EOF\n", "EOF\n", "<", ">", "$X", "X=", "\\", "#", "if", "then", "fi", "case", "in", "esac", "for", "do",
        "done", "sudo", "env", "-S", "xargs", "-I{}", "find", "-exec", "\\;", "eval", "echo", "printf", "%s", "*", "?",
        "[a]", "{a,b}", "{1..3}", "~", "!", "[[", "]]", "((", "))", "é", "\r", "$'", "\\x", "read", "set", "--", "cd",
        "=", ":", "[@]", "function", "()", "alias", "trap", "source", "<(", "parallel", ":::", "ssh",
    ];
    prop_oneof![3 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,6}", 1 => any::<char>().prop_map(String::from)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_decided(command in any::<String>()) {
        prop_assert!(holds(&command));
    }

    #[test]
    fn anything_like_a_shell_is_decided(parts in prop::collection::vec(fragment(), 0..30), blank in any::<bool>()) {
        let command = parts.join(if blank { " " } else { "" });
        prop_assert!(holds(&command));
    }

    #[test]
    fn commands_with_a_change_are_decided(number in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), part in fragment()) {
        let rows = table();
        let command = &rows[number.index(rows.len())].0;
        let places: Vec<usize> = command.char_indices().map(|(at, _)| at).collect();
        let at = places[at.index(places.len())];
        let changed = format!("{}{part}{}", &command[..at], &command[at..]);
        prop_assert!(holds(&changed));
        prop_assert!(holds(&command[..at]));
    }

    #[test]
    fn arguments_that_are_no_json_are_decided(arguments in "[{\\[\"a-z:, \\\\]{0,40}") {
        let kept = judged(Dialect::OpenaiChat, &json!({}), "bash", &arguments);
        prop_assert!(kept.map_or(true, |kept| kept == arguments));
    }
}
