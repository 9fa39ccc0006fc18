//! Rules documents, good and bad, with policy types made for the purpose.

use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::{
    config::stub::Idle,
    policies::Problem as ConfigProblem,
    policy::{Demand, Mode, OnFault, Release},
};

/// A type with keys, and a check that its schema cannot make.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the schema and by serde")]
struct FilterConfig {
    /// Patterns.
    #[schemars(length(min = 1))]
    patterns: Vec<String>,
    #[serde(default)]
    hold: Option<units::Duration>,
}

/// A type without keys.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn build_filter(config: &Value, _: &Site<'_>) -> Result<Arc<dyn Factory>, Vec<ConfigProblem>> {
    let FilterConfig { patterns, .. } = FilterConfig::deserialize(config).expect("fits the schema");
    let bad = patterns.iter().enumerate().filter(|(_, pattern)| Regex::new(pattern).is_err());
    let problems: Vec<ConfigProblem> = bad
        .map(|(index, pattern)| ConfigProblem {
            pointer: format!("/patterns/{index}"),
            message: format!("`{pattern}` is not a regular expression"),
            remedy: "correct it".to_owned(),
        })
        .collect();
    if problems.is_empty() { Ok(Arc::new(Idle)) } else { Err(problems) }
}

const TYPES: &[PolicyType] = &[
    PolicyType {
        name: "noop",
        summary: "passes",
        schema: || schema_for!(Nothing),
        timeout: None,
        build: |_, _| Ok(Arc::new(Idle)),
    },
    PolicyType {
        name: "filter",
        summary: "filters",
        schema: || schema_for!(FilterConfig),
        timeout: None,
        build: build_filter,
    },
];

fn compiled(text: &str) -> Result<Rules, Report> {
    let context = Context {
        demand: Demand::Nothing,
        upstreams: vec!["openai".to_owned(), "ollama".to_owned()],
        hook: Duration::from_secs(10),
        reach: Arc::default(),
    };
    compile(&Document::parse("policy.yaml", text)?, &context, TYPES)
}

fn report(text: &str) -> String {
    compiled(text).err().expect("problems").to_string()
}

#[test]
fn entries_get_defaults_and_what_they_say() {
    let rules = compiled(
        "release: turn
policies:
  - name: first
    type: noop
  - name: second
    type: filter
    config: { patterns: ['a+'], hold: 1s }
    match:
      dialect: openai_chat
      model: [gpt-*, o?]
      upstream: openai
      header: { X-Team: '^red$' }
      when: 'call.stream'
      tool: bash
    mode: enforce
    on_fault: open
    timeout: 3s
",
    )
    .unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(rules.release, Release::Turn);
    let [first, second] = rules.entries.as_slice() else { panic!("two entries") };
    assert_eq!((&*first.name, first.kind, first.timeout), ("first", "noop", Duration::from_secs(10)));
    assert_eq!((first.mode, first.on_fault), (Mode::Enforce, OnFault::Closed));
    assert_eq!((second.mode, second.on_fault, second.timeout), (Mode::Enforce, OnFault::Open, Duration::from_secs(3)));
    let selects = &second.selects;
    assert_eq!(selects.dialects.as_deref(), Some(&["openai_chat".to_owned()][..]));
    assert!(selects.models.as_ref().is_some_and(|globs| globs.is_match("gpt-5") && globs.is_match("o3")));
    assert_eq!(selects.headers[0].0, "x-team");
    assert_eq!(selects.when.as_ref().map(When::source), Some("call.stream"));
    assert!(selects.selects_tool("bash") && !selects.selects_tool("read") && selects.clients.is_none());
}

#[test]
fn every_mistake_is_reported_with_its_line() {
    insta::assert_snapshot!(report(
        "version: 2
realease: turn
policies:
  - name: a
    type: filterr
  - name: a
    type: judge
  - name: b
    type: filter
    config: { patterns: ['(', ok, '['], timeout: 3s, mode: shadow }
  - name: c
    type: filter
    config: { patterns: ['(', ok, '['] }
  - name: d
    type: filter
    config: { patterns: [], hold: 3, patern: x }
  - name: e
    type: filter
  - name: f
    type: noop
    match:
      dialect: openai
      model: ['[', 3]
      upstream: [opena, other]
      path: []
      header: { 'x y': '(', z: 3 }
      tools: bash
    mode: dry
    on_fault: [open]
    timeout: 0s
  - type: noop
"
    ));
}

#[test]
fn an_expression_that_cannot_work_is_reported_with_its_line() {
    let rules = |when: &str| format!("policies:\n  - name: a\n    type: noop\n    match:\n      when: {when}\n");
    insta::assert_snapshot!(
        ["'call.model =='", "'modle == \"x\"'", "'call.modle == \"x\"'", "call.model", "''", "3"]
            .map(|when| report(&rules(when)))
            .join("\n")
    );
}

#[test]
fn no_policies_must_be_said() {
    assert!(compiled("policies: []\n").is_ok_and(|rules| rules.entries.is_empty()));
    for text in ["", "version: 1\n"] {
        assert!(report(text).contains("the key `policies` is missing"), "{text:?}");
    }
    assert!(report("policies:\n").contains("`policies` has no value"));
}

#[test]
fn the_hash_is_of_the_content() {
    let hash = |text| compiled(text).unwrap_or_else(|report| panic!("{report}")).hash;
    let plain = hash("policies: [{name: a, type: noop}]\n");
    assert_eq!(plain, hash("# a comment\npolicies:\n  - name: 'a'\n    type: noop\n"));
    assert_ne!(plain, hash("policies: [{name: b, type: noop}]\n"));
    assert!(plain.len() == 12 && plain.bytes().all(|byte| byte.is_ascii_hexdigit()), "{plain}");
    assert_eq!(super::hash(&json!({})), "44136fa355b3");
}

#[test]
fn keys_of_a_type_without_keys_are_unknown() {
    let told = report("policies: [{ name: n, type: noop, config: { a: 1, b: 2 } }]\n");
    assert_eq!(told.matches("remove it: no keys belong here").count(), 2, "{told}");
}
