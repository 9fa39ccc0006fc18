//! `luthien check`: says everything that is wrong with the settings and the rules.

use std::{
    collections::HashMap,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::Surroundings;
use crate::{
    config::{
        compile::{Context, compile},
        document::{Document, Part},
        kubernetes::{crd::KIND, object},
        report::Report,
        source::RulesSource,
    },
    policies::PolicyType,
    policy::{Entry, Rules},
};

/// Checks the settings and the rules, and reports every problem at once.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// The settings file, `-` for standard input [default: `LUTHIEN_CONFIG`, or the built-in settings].
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Rules documents or LuthienPolicy objects to check, in place of the rules that the settings name; `-` for standard
    /// input.
    #[arg(value_name = "RULES")]
    pub rules: Vec<PathBuf>,
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
    let context = Context::of_draft(&draft);
    let documents: Vec<Result<Vec<Document>, Report>> = if args.rules.is_empty() {
        match draft.rules() {
            Some(source @ (RulesSource::ConfigMap(_) | RulesSource::Crd(_))) => {
                summary.push(format!("{}: not looked at; `luthien check FILE` checks those in files", source.name()));
                Vec::new()
            }
            source => source.iter().map(|source| source.read().map(|document| vec![document])).collect(),
        }
    } else {
        args.rules.iter().map(|path| Document::read_all(&beside(surroundings.folder, path))).collect()
    };
    let mut names = HashMap::new();
    for document in documents {
        let checked = document.and_then(|all| {
            all.iter()
                .try_for_each(|document| one(document, &context, types, &mut names).map(|line| summary.push(line)))
        });
        if let Err(wrong) = checked {
            report.append(wrong);
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

/// Checks one document: rules, or an object that holds some.
fn one(
    document: &Document,
    context: &Context,
    types: &[PolicyType],
    names: &mut HashMap<String, String>,
) -> Result<String, Report> {
    let path = document.path.display();
    if !object::is_object(document) {
        return compile(document, context, types).map(|rules| format!("{path}: {}", policies(&rules)));
    }
    let name = document.read_as::<String>("/metadata/name").unwrap_or_default();
    let wanted = object::read(document)?.document;
    let rules = compile(&wanted, context, types)?;
    object::out_of_bounds(document).or(())?;
    let problem = |(at, entry): (usize, &Entry)| {
        let other = names.insert(entry.name.to_string(), name.clone()).filter(|other| *other != name)?;
        let message = format!("{KIND} {other} has a policy of the name `{}`", entry.name);
        Some(wanted.problem(&format!("/policies/{at}/name"), Part::Value, message, "give each policy its own name"))
    };
    let twice = rules.entries.iter().enumerate().filter_map(problem).collect();
    wanted.report(twice).or(format!("{path}: {KIND} {name}: {}", policies(&rules)))
}

/// A path that starts from a folder; `-` is none.
fn beside(folder: &Path, path: &Path) -> PathBuf {
    if path == Path::new("-") { path.to_owned() } else { folder.join(path) }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        config::{environment::Environment, report::Style},
        policies,
    };

    const OBJECTS: &str = "\
# Two of them.
apiVersion: luthien.dev/v1alpha1
kind: LuthienPolicy
metadata: { name: first }
spec:
  targetRefs: [{ group: '', kind: Service, name: luthien }]
  policies: [{ name: one, type: noop }, { name: two, type: uppercase }]
---
apiVersion: luthien.dev/v1alpha1
kind: LuthienPolicy
metadata: { name: second }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: chat }]
  priority: 10
  policies:
    - { name: three, type: noop }
";

    /// What `luthien check` says of a file, below a settings file.
    fn said(text: &str) -> (u8, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = "upstreams: [{ name: a, url: demo, dialects: [openai_chat] }]\nrules: { crd: {} }\n";
        fs::write(folder.path().join("luthien.yaml"), settings).expect("written");
        fs::write(folder.path().join("objects.yaml"), text).expect("written");
        let args = CheckArgs { config: Some("luthien.yaml".into()), rules: vec!["objects.yaml".into()] };
        let surroundings =
            Surroundings { environment: &Environment::default(), folder: folder.path(), style: Style::Plain };
        let mut out = Vec::new();
        let code = check(&args, policies::all(), surroundings, &mut out).expect("written");
        let out = String::from_utf8(out).expect("text").replace(&format!("{}/", folder.path().display()), "");
        (code, out)
    }

    #[test]
    fn objects_are_checked_one_by_one() {
        let (code, out) = said(OBJECTS);
        assert_eq!(code, 0, "{out}");
        for line in [
            "objects.yaml: LuthienPolicy first: 2 policies (one, two)",
            "objects.yaml: LuthienPolicy second: 1 policy (three)",
        ] {
            assert!(out.contains(line), "{out}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_object_has_its_place() {
        for (from, to, wrong) in [
            (
                "name: three, type: noop",
                "name: three, type: nop",
                "objects.yaml:16:28: policies[0].type: there is no policy type `nop`",
            ),
            ("priority: 10", "priority: high", "objects.yaml:14:13: `priority` must be a whole number"),
            ("priority: 10", "stateful: refuse", "objects.yaml:14:3: `stateful` holds for every call"),
            ("kind: HTTPRoute", "kind: Route", "objects.yaml:13:16: targetRefs[0]: policies do not hold for a `Route`"),
            (
                "name: three",
                "name: one",
                "objects.yaml:16:15: policies[0].name: LuthienPolicy first has a policy of the name `one`",
            ),
            ("priority: 10", "polices: []", "objects.yaml:14:3: unknown key `polices`"),
        ] {
            let (code, out) = said(&OBJECTS.replace(from, to));
            assert!(code == 1 && out.contains(wrong), "{to}: {out}");
        }
    }

    /// The API server has bounds, by which it can say what its own checks cost at most.
    #[test]
    fn what_the_api_server_refuses_is_refused_here() {
        let many: Vec<String> = (0..65).map(|at| format!("    - {{ name: p{at}, type: noop }}\n")).collect();
        let (long, globs) = ("x".repeat(5000), vec!["a"; 65].join(", "));
        for (from, to) in [
            ("    - { name: three, type: noop }\n", many.concat()),
            ("name: chat }]", format!("name: {long} }}]")),
            (
                "name: chat }]",
                "name: chat }, { group: gateway.networking.k8s.io, kind: HTTPRoute, name: chat }]".to_owned(),
            ),
            ("type: noop }\n", format!("type: noop, match: {{ model: [{globs}] }} }}\n")),
            ("type: noop }\n", format!("type: noop, match: {{ model: {long} }} }}\n")),
            ("type: noop }\n", format!("type: noop, match: {{ header: {{ x-a: {long} }} }} }}\n")),
            ("priority: 10", "record: { level: off }".to_owned()),
        ] {
            let (code, out) = said(&OBJECTS.replace(from, &to));
            assert!(code == 1 && out.len() < 4000, "{from}: {}", out.chars().take(4000).collect::<String>());
        }
    }

    #[test]
    fn rules_of_a_cluster_are_not_looked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = "upstreams: [{ name: a, url: demo, dialects: [openai_chat] }]\nrules: { crd: {} }\n";
        fs::write(folder.path().join("luthien.yaml"), settings).expect("written");
        let args = CheckArgs { config: Some("luthien.yaml".into()), rules: Vec::new() };
        let surroundings =
            Surroundings { environment: &Environment::default(), folder: folder.path(), style: Style::Plain };
        let mut out = Vec::new();
        assert_eq!(check(&args, policies::all(), surroundings, &mut out).expect("written"), 0);
        assert!(String::from_utf8_lossy(&out).contains("not looked at"));
    }
}
