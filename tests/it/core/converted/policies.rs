//! Policies decide the same whatever the client speaks: what they make of an answer is told in the client's dialect.

use std::sync::Arc;

use luthien::{
    model::{Block, BlockHead, CallHead, Dialect},
    policy::{BlockText, Context, Edits, Factory, Fate, OnFault, Outcome, Policy, Release, Rules, Step, Watch, fault},
};
use proptest::prelude::*;
use regex::Regex;
use serde_json::json;

use super::{
    super::{
        corpus::{WHOLE, needle, run_cut},
        random::{Lots, Script, lot},
        reader,
        support::{Run, Stream, built_in, rules_with},
        validator,
    },
    others, said,
    said::{Part, Said, differences},
};

/// What stands where policies left nothing, which Messages alone need.
const REMOVED: &str = "[removed by policy]";

/// The stream without what stands beside its answer, which policies see only where it becomes part of the answer.
fn unexplained(stream: &Stream) -> Stream {
    let explained = Regex::new(r#""explanation":"[^"]*""#).unwrap();
    let body = explained.replace_all(std::str::from_utf8(&stream.body).unwrap(), r#""explanation":null"#).into_owned();
    Stream { body: body.into(), ..stream.clone() }
}

/// Holds what a client is sent against what a client of the provider's own dialect is sent.
fn check(stream: &Stream, rules: &dyn Fn(u64) -> Arc<Rules>, run: u64, what: &str) {
    let from = stream.dialect;
    let native = run_cut(from, &rules(run), &stream.body, run).out.concat();
    let came = without_removed(said::stream(from, &native));
    for to in others(from) {
        let out = converted(stream, to, &rules(run), run);
        let what = format!("{} for {to:?}, {what}, run {run}", stream.name);
        let sent = without_removed(said::stream(to, &out));
        let mut problems = differences(from, to, &came, &sent);
        problems.extend(validator::problems(to, &out));
        let known = validator::problems(from, &native);
        problems.retain(|problem| {
            ["not JSON", "half of a tool call"]
                .iter()
                .all(|what| !problem.contains(what) || !known.iter().any(|known| known.contains(what)))
        });
        let [native, out] = [&native, &out].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(problems.is_empty(), "{what}:\n{}\nnative:\n{native}\nconverted:\n{out}", problems.join("\n"));
        // When later decisions come is of no consequence.
        let other = converted(stream, to, &rules(run + 1), run + 1);
        assert_eq!(sent, without_removed(said::stream(to, &other)), "{what}: depends on how it comes");
    }
}

fn converted(stream: &Stream, to: Dialect, rules: &Arc<Rules>, cut: u64) -> Vec<u8> {
    let mut run: Run = super::stream(stream.dialect, to, rules);
    let most = [3, 40, 400, 4000][usize::try_from(cut % 4).unwrap()].max(stream.body.len() / 200);
    let mut rest = stream.body.clone();
    while !rest.is_empty() {
        let len = 1 + usize::try_from(lot((cut, rest.len()))).unwrap_or(usize::MAX) % most;
        run.push(&rest.split_to(len.min(rest.len())));
    }
    run.finish();
    run.out.concat()
}

fn without_removed(said: Said) -> Said {
    let parts = said.parts.into_iter().map(|part| match part {
        Part::Text(text) => Part::Text(text.replace(REMOVED, "")),
        other => other,
    });
    Said { parts: parts.filter(|part| *part != Part::Text(String::new())).collect(), ..said }
}

/// A policy that fails at one of its hooks.
#[derive(Debug, Clone, Copy)]
struct Failing {
    /// So many hooks go well.
    after: u64,
    watch: Watch,
}

impl Factory for Failing {
    fn begin(&self, _: &CallHead) -> Box<dyn Policy> {
        Box::new(*self)
    }
}

impl Failing {
    fn fails(&mut self) -> bool {
        self.after = self.after.saturating_sub(1);
        self.after == 0
    }
}

impl Policy for Failing {
    fn on_block_start(&mut self, _: &mut Context<'_>, _: &BlockHead) -> Watch {
        self.watch
    }

    fn on_delta(&mut self, _: &mut Context<'_>, block: &BlockText<'_>, edits: &mut Edits) -> Outcome<usize> {
        if self.fails() {
            return Err(fault("as the test asks"));
        }
        // Half of an argument with something in front of it would be no JSON.
        if block.decided == 0 && !block.text.is_empty() && block.head.kind.is_prose() {
            edits.replace(0..0, "x".to_owned());
        }
        Ok(block.text.len())
    }

    fn on_block(&mut self, _: &mut Context<'_>, _: Block) -> Step<Fate> {
        if self.fails() { Err(fault("as the test asks")).into() } else { Step::ready(Fate::Keep) }
    }
}

fn in_runtime(test: impl FnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _guard = runtime.enter();
    test();
}

fn release() -> impl Strategy<Value = Release> {
    prop_oneof![Just(Release::Block), Just(Release::Turn)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_decisions_say_the_same(
        stream: prop::sample::Index, seeds in proptest::collection::vec(0_u64..1_000_000, 1..4), release in release(), run in 0_u64..1_000_000,
    ) {
        let stream = &unexplained(&WHOLE[stream.index(WHOLE.len())]);
        let rules = |patience: u64| {
            let factory = |seed: &u64| -> Arc<dyn Factory> {
                Arc::new(Lots { script: Script { seed: *seed, appends: &[] }, patience })
            };
            rules_with(seeds.iter().map(factory).collect(), release, OnFault::Closed)
        };
        in_runtime(|| check(stream, &rules, run, &format!("seeds {seeds:?} {release:?}")));
    }

    #[test]
    fn built_in_policies_say_the_same(stream: prop::sample::Index, seed in 0_u64..1_000_000, policy in 0_usize..7, release in release()) {
        let stream = &unexplained(&WHOLE[stream.index(WHOLE.len())]);
        let texts: Vec<String> =
            reader::stream(stream.dialect, &stream.body).texts().into_iter().map(|(_, text)| text).collect();
        let needle = needle(&texts, seed).unwrap_or_else(|| "x".to_owned());
        let (name, config) = match policy {
            0 => ("uppercase", json!({})),
            1 => ("uppercase_nth_word", json!({"n": seed % 4 + 1})),
            2 => ("string_replacement", json!({"replacements": {needle: "R"}, "include_tool_calls": true})),
            3 => ("blocked_content", json!({"patterns": [regex::escape(&needle)], "on_match": "replace_block"})),
            4 => ("tool_filter", json!({"deny": ["*"], "message": "no {tool}"})),
            5 => ("tool_filter", json!({"deny": ["*a*"]})),
            _ => ("debug_log", json!({})),
        };
        let rules = |_: u64| rules_with(vec![built_in(name, &config)], release, OnFault::Closed);
        in_runtime(|| check(stream, &rules, seed, &format!("{name} {config}")));
    }

    #[test]
    fn policies_that_fail_open_leave_a_legal_answer(stream: prop::sample::Index, after in 1_u64..30, whole: bool, run in 0_u64..1000) {
        let stream = &unexplained(&WHOLE[stream.index(WHOLE.len())]);
        let watch = if whole { Watch::Whole } else { Watch::Deltas };
        let rules = || rules_with(vec![Arc::new(Failing { after, watch })], Release::Block, OnFault::Open);
        for to in others(stream.dialect) {
            let [native, out] = [
                run_cut(stream.dialect, &rules(), &stream.body, run).out.concat(),
                converted(stream, to, &rules(), run),
            ];
            let [came, sent] = [said::stream(stream.dialect, &native), said::stream(to, &out)];
            let differences = differences(stream.dialect, to, &came, &sent);
            prop_assert!(differences.is_empty(), "{} for {to:?}: {}", stream.name, differences.join("\n"));
            let problems = validator::problems(to, &out);
            let known = validator::problems(stream.dialect, &stream.body);
            prop_assert!(problems.is_empty() || !known.is_empty(), "{} for {to:?}: {problems:?}", stream.name);
        }
    }
}
