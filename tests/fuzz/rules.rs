//! Rules documents.

use std::{sync::Arc, time::Duration};

use luthien::{
    config::{
        compile::{Context, compile, compile_for},
        document::Document,
        report::{Place, Report, Style},
    },
    model::Dialect,
    pipeline::select,
    policies::{self, site::Reach},
    policy::{Demand, Target},
};

use super::input::Input;
use crate::core::support::call;

/// A document. It compiles, or every problem says where it stands and what to do.
pub fn run(data: &[u8]) {
    let Some(text) = Input::new(data).text() else { return };
    let document = match Document::parse("policy.yaml", text) {
        Ok(document) => document,
        Err(report) => return assert_helps(&report, Some(text)),
    };
    assert_compiles_or_helps(&document, None, Some(text));
}

pub fn assert_compiles_or_helps(document: &Document, targets: Option<&[Target]>, text: Option<&str>) {
    let compiled = match targets {
        Some(_) => compile_for(targets, document, &context(), policies::all()),
        None => compile(document, &context(), policies::all()),
    };
    match compiled {
        Ok(rules) => {
            let rules = Arc::new(rules);
            for dialect in Dialect::ALL {
                let _ = select(&rules, &call(dialect)).len();
            }
        }
        Err(report) => assert_helps(&report, text),
    }
}

fn context() -> Context {
    Context {
        upstreams: vec!["anthropic".to_owned(), "openai".to_owned()],
        hook: Duration::from_secs(5),
        reach: Arc::new(Reach::default()),
        demand: Demand::default(),
    }
}

/// Every problem has a place in the document, a message and a remedy, and can be shown.
pub fn assert_helps(report: &Report, text: Option<&str>) {
    assert!(!report.is_empty(), "nothing is wrong, and it was refused");
    for problem in report.problems() {
        assert!(!problem.message.is_empty() && !problem.remedy.is_empty(), "{problem:?}");
        if let (Place::Text { line, column, span, .. }, Some(text)) = (&problem.place, text) {
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            let lines = text.split('\n').count();
            assert!(*line >= 1 && *line <= lines && *column >= 1, "{problem:?} of {lines} lines");
            assert!(text.get(span.clone()).is_some(), "an excerpt outside the text: {problem:?}");
        }
    }
    for style in [Style::Plain, Style::Graphical] {
        let mut shown = Vec::new();
        report.render(style, &mut shown).expect("a report can be shown");
        assert!(!shown.is_empty());
    }
}
