//! `luthien check`: says everything that is wrong with the settings and the rules.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use super::Surroundings;
use crate::{
    config::{
        compile::{Context, compile},
        report::Report,
    },
    policies::PolicyType,
    policy::Rules,
};

/// Checks the settings and the rules, and reports every problem at once.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// The settings file, `-` for standard input [default: `LUTHIEN_CONFIG`, or the built-in settings].
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Runs `luthien check` and returns its exit code: 0 when nothing is wrong, otherwise 1.
pub fn check(
    args: &CheckArgs,
    types: &[PolicyType],
    surroundings: Surroundings<'_>,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let draft = match super::settings(args.config.as_ref(), &[], surroundings) {
        Ok(draft) => draft,
        Err(report) => return refused(&report, surroundings, out),
    };
    for warning in &draft.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let mut report = draft.report.clone();
    let mut summary = vec![format!("{}: {}", draft.document.path.display(), upstreams(&Context::of_draft(&draft)))];
    // The rules are checked although the settings may be wrong: one run must tell everything.
    if let Some(source) = draft.rules() {
        match source.read().and_then(|document| {
            compile(&document, &Context::of_draft(&draft), types).map(|rules| (document.path, rules))
        }) {
            Ok((path, rules)) => summary.push(format!("{}: {}", path.display(), policies(&rules))),
            Err(wrong) => report.append(wrong),
        }
    }
    if !report.is_empty() {
        return refused(&report, surroundings, out);
    }
    for line in summary {
        writeln!(out, "ok: {line}")?;
    }
    Ok(0)
}

/// Prints a report and returns the exit code for it.
pub(super) fn refused(report: &Report, surroundings: Surroundings<'_>, out: &mut dyn Write) -> io::Result<u8> {
    report.render(surroundings.style, out)?;
    Ok(1)
}

fn upstreams(context: &Context) -> String {
    format!("{} ({})", counted(context.upstreams.len(), "upstream", "upstreams"), context.upstreams.join(", "))
}

fn policies(rules: &Rules) -> String {
    let names: Vec<&str> = rules.entries.iter().map(|entry| &*entry.name).collect();
    let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    format!("{}{names}, hash {}", counted(rules.entries.len(), "policy", "policies"), rules.hash)
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
