//! Whatever policies decide: clients get a legal answer, and the one that the decisions add up to.

use std::sync::Arc;

use luthien::{
    model::Dialect,
    policy::{Factory, OnFault, Release, Rules},
};
use proptest::prelude::*;

use super::{
    super::{
        corpus::{WHOLE, assert_same, run_cut},
        reader,
        support::rules_with,
        validator,
    },
    Lots, Script,
    model::Model,
};

#[derive(Debug, Clone)]
struct Case {
    stream: usize,
    seeds: Vec<u64>,
    release: Release,
    /// How the body is cut, and when later answers come: twice.
    runs: [u64; 2],
}

fn cases() -> impl Strategy<Value = Case> {
    let seeds = proptest::collection::vec(0_u64..1_000_000, 1..4);
    let release = prop_oneof![Just(Release::Block), Just(Release::Turn)];
    (any::<prop::sample::Index>(), seeds, release, any::<[u64; 2]>()).prop_map(|(stream, seeds, release, runs)| Case {
        stream: stream.index(WHOLE.len()),
        seeds,
        release,
        runs,
    })
}

fn scripts(dialect: Dialect, seeds: &[u64]) -> Vec<Script> {
    // Text that is added behind a block's last goes with that, or by itself where that has left already. In a chat
    // message, whose texts are one, it would be of consequence whether that last text is still here.
    let appends: &[&str] = match dialect {
        Dialect::AnthropicMessages if seeds.len() < 3 => &["text", "refusal", "thinking"],
        // A part of a reasoning has said its end before the block has.
        Dialect::OpenaiResponses if seeds.len() < 3 => &["text", "refusal"],
        _ => &[],
    };
    seeds.iter().map(|seed| Script { seed: *seed, appends }).collect()
}

fn lots(scripts: &[Script], patience: u64, release: Release) -> Arc<Rules> {
    let factory = |script: &Script| -> Arc<dyn Factory> { Arc::new(Lots { script: *script, patience }) };
    rules_with(scripts.iter().map(factory).collect(), release, OnFault::Closed)
}

fn check(case: &Case) {
    let stream = &WHOLE[case.stream];
    let dialect = stream.dialect;
    let scripts = scripts(dialect, &case.seeds);
    let what = format!("{} {:?}", stream.name, case.seeds);
    let [first, second] = case.runs.map(|run| run_cut(dialect, &lots(&scripts, run, case.release), &stream.body, run));
    let out = first.out.concat();
    let second = second.out.concat();
    let [one, two] = [&out, &second].map(|bytes| String::from_utf8_lossy(bytes));
    if scripts.iter().all(|script| script.appends.is_empty()) {
        assert_same(&one, &two, &format!("{what}: depends on how it comes"));
    }
    let before = validator::problems(dialect, &stream.body);
    let problems: Vec<_> =
        validator::problems(dialect, &out).into_iter().filter(|problem| !before.contains(problem)).collect();
    assert!(problems.is_empty(), "{what}: {problems:?}\n{one}");

    // The terminal object says once more what was streamed, in the same order.
    let listed = |body: &[u8]| {
        let terminal = reader::openai_responses::terminal(&reader::sse::events(body))?;
        Some(reader::body(dialect, terminal.as_bytes()).texts())
    };
    if dialect == Dialect::OpenaiResponses {
        let known = listed(&stream.body) == Some(reader::stream(dialect, &stream.body).texts());
        assert!(!known || listed(&out) == Some(reader::stream(dialect, &out).texts()), "{what}: ends otherwise\n{one}");
    }

    let mut model = Model::new(dialect, &reader::stream(dialect, &stream.body));
    for script in &scripts {
        model.apply(script);
    }
    let (expected, changed) = model.finish();
    let read = [reader::stream(dialect, &out), reader::stream(dialect, &second), expected];
    let [found, other, expected] = read.map(|answer| format!("{:#}", answer.normal(dialect)));
    assert_same(&found, &expected, &what);
    assert_same(&other, &found, &format!("{what}: depends on how it comes"));
    assert!(changed || out == stream.body, "{what}: nothing changed, and bytes did");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_decisions_make_a_legal_answer_that_says_what_they_add_up_to(case in cases()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _guard = runtime.enter();
        check(&case);
    }
}
