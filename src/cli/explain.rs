//! `luthien explain`: says what would happen to a call, and why.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use globset::Glob;

use super::{Surroundings, call::CallArgs, check::refused};
use crate::{
    config::{
        compile::{Context, compile},
        routes::{Routes, Why},
        settings::{Dialect, Settings},
        unpoliced::Otherwise,
    },
    dialect::{endpoint, is_disguised},
    envoy::read_path,
    policies::PolicyType,
    policy::{CallFacts, Chosen, Entry, Mode, OnFault, Rules},
};

/// Says which upstream and which policies a call would get.
#[derive(Debug, Clone, clap::Args)]
pub struct ExplainArgs {
    /// The settings file, `-` for standard input [default: `LUTHIEN_CONFIG`, or the built-in settings].
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The path of the request as the client writes it, as /v1/messages.
    #[arg(long, value_name = "PATH")]
    pub path: String,
    /// The rest of the call.
    #[command(flatten)]
    pub call: CallArgs,
    /// The method of the request.
    #[arg(long, value_name = "METHOD", default_value = "POST")]
    pub method: String,
    /// The name of the client's key.
    #[arg(long, value_name = "NAME")]
    pub client: Option<String>,
    /// The client asks for a stream.
    #[arg(long)]
    pub stream: bool,
    /// A tool that the model calls.
    #[arg(long, value_name = "NAME")]
    pub tool: Option<String>,
}

/// Runs `luthien explain` and returns its exit code: 0, or 1 when settings or rules are wrong.
pub fn explain(
    args: &ExplainArgs,
    types: &[PolicyType],
    surroundings: Surroundings<'_>,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let loaded = super::settings(args.config.as_ref(), &[], surroundings)
        .and_then(|draft| draft.finish(surroundings.environment))
        .and_then(|loaded| {
            let document = loaded.rules.read()?;
            let rules =
                compile(&document, &Context::of(&loaded.settings, &loaded.base, surroundings.environment), types)?;
            Ok((loaded.settings, document.path, rules))
        });
    let (settings, file, rules) = match loaded {
        Ok(loaded) => loaded,
        Err(report) => return refused(&report, surroundings, out),
    };
    let Some(path) = read_path(&args.path) else {
        writeln!(out, "result:   is refused by Envoy with 400: no path, or one with `#`, `%2F`, `%5C` or `%00` in it")?;
        return Ok(0);
    };
    if path != args.path {
        writeln!(out, "path:     {path}, as Envoy passes it on")?;
    }
    let Some(dialect) = endpoint(&args.method, &path).map(|endpoint| Dialect::from(endpoint.dialect)) else {
        writeln!(out, "dialect:  none covers {} {path}", args.method)?;
        writeln!(out, "result:   {}", unpoliced(&settings, &args.method, &path))?;
        return Ok(0);
    };
    writeln!(out, "dialect:  {}", dialect.name())?;
    let routes = Routes::new(&settings.upstreams);
    let choice = routes.choose(dialect, &args.call.model);
    let upstream = choice.and_then(|choice| settings.upstreams.get(choice.upstream));
    let (Some(choice), Some(upstream)) = (choice, upstream) else {
        writeln!(out, "upstream: there is none; the call is refused")?;
        return Ok(0);
    };
    let model = &args.call.model;
    let why = match choice.why {
        Why::Alias => format!("first that has `{model}` among its aliases"),
        Why::Model => format!("first that speaks it and serves `{model}`"),
        Why::OtherDialect => format!("first that serves `{model}`; none that speaks the dialect does"),
        Why::Dialect => format!("first that speaks it; none serves `{model}`"),
        Why::First => format!("first of all; none speaks the dialect or serves `{model}`"),
    };
    writeln!(out, "upstream: {} {} ({why})", upstream.name, upstream.url)?;
    if choice.dialect != dialect {
        writeln!(out, "convert:  to {}", choice.dialect.name())?;
    }
    if let Some(alias) = routes.alias(choice.upstream, model) {
        writeln!(out, "model:    {alias} there; the answer says `{model}`")?;
    }
    writeln!(out, "rules:    {} ({})", file.display(), rules.hash)?;
    let facts = args.call.facts(dialect.into(), &upstream.name, &path, args.client.as_deref(), args.stream);
    policies(&rules, &facts, args.tool.as_deref(), out)?;
    Ok(0)
}

fn policies(rules: &Rules, facts: &CallFacts<'_>, tool: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    if rules.entries.is_empty() {
        return writeln!(out, "policies: none; the call passes unchanged");
    }
    writeln!(out, "policies:")?;
    for (index, entry) in rules.entries.iter().enumerate() {
        let Entry { name, kind, .. } = entry;
        writeln!(out, "  {}. {name} ({kind}): {}", index + 1, verdict(entry, facts, tool))?;
    }
    Ok(())
}

fn verdict(entry: &Entry, facts: &CallFacts<'_>, tool: Option<&str>) -> String {
    let why = match (entry.selects.explain(facts), entry.on_fault) {
        (Chosen::Runs(why), _) => why,
        (Chosen::Not(reason), _) => return format!("does not run: {reason}"),
        (Chosen::Fails(reason), OnFault::Closed) => return format!("fails, and the call with it: {reason}"),
        (Chosen::Fails(reason), OnFault::Open) => return format!("fails, and is skipped: {reason}"),
    };
    let runs = match entry.mode {
        Mode::Enforce => "runs",
        Mode::Shadow => "runs in shadow, changes nothing",
    };
    let runs = why.map_or_else(|| runs.to_owned(), |why| format!("{runs}, as {why}"));
    match tool {
        Some(tool) if entry.selects.selects_tool(tool) => format!("{runs}, sees calls of `{tool}`"),
        Some(tool) => format!("{runs}, does not see calls of `{tool}`: `match.tool` does not fit"),
        None => runs,
    }
}

/// What happens to a request that no dialect covers.
fn unpoliced(settings: &Settings, method: &str, path: &str) -> String {
    // Whether it has a body, nobody has said; a POST has one.
    if is_disguised(method, path, false) {
        return "is refused: it could be read as a path whose calls go through policies".to_owned();
    }
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let fits = |entry: &&String| {
        let (wanted, glob) = entry.split_once(' ').unwrap_or_default();
        wanted == method && Glob::new(glob).is_ok_and(|glob| glob.compile_matcher().is_match(path))
    };
    match (settings.unpoliced.pass.iter().find(fits), settings.unpoliced.otherwise) {
        (Some(entry), _) => format!("passes unread, by `{entry}` in `unpoliced.pass`"),
        (None, Otherwise::Pass) => "passes unread, by `unpoliced.otherwise: pass`".to_owned(),
        (None, Otherwise::Refuse) => "is refused, by `unpoliced.otherwise: refuse`".to_owned(),
    }
}

#[cfg(test)]
mod tests;
