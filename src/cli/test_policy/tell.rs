//! What is printed: the call, what changed as a diff, what happened, and how it ended.

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use serde_json::Value;
use similar::TextDiff;

use super::play::{End, Plan, Played};
use crate::{
    journal::{Change, Fact},
    model::Judgement,
};

/// How long the shortest diff is looked for.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn tell(
    rules: &Path,
    plan: &Plan<'_>,
    played: &Played,
    is_coloured: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (recording, call) = (&plan.recording, &plan.call);
    writeln!(out, "rules:    {} ({})", rules.display(), plan.rules.hash)?;
    let bytes = recording.bytes.len();
    let form = if recording.is_stream { format!("{} events, ", recording.events()) } else { "JSON, ".to_owned() };
    writeln!(out, "answer:   {}, {form}{bytes} bytes", recording.dialect.name())?;
    if call.dialect != recording.dialect {
        writeln!(out, "client:   {}", call.dialect.name())?;
    }
    writeln!(out, "model:    {}", if call.model.is_empty() { "none is named" } else { &call.model })?;
    writeln!(out, "upstream: {}", call.upstream)?;
    let names = played.policies.join(", ");
    match (plan.rules.entries.len(), played.policies.is_empty()) {
        (0, _) => writeln!(out, "policies: none")?,
        (all, true) => writeln!(out, "policies: none of {all} runs on this call; `luthien explain` says why")?,
        (_, false) => writeln!(out, "policies: {names}")?,
    }
    if let Some((before, _)) = &plan.request {
        match &played.request {
            Some(after) if before == after => writeln!(out, "request:  unchanged")?,
            Some(after) => {
                let headers = ("request of the client", "request after the policies");
                differences(before, after, headers, is_coloured, out)?;
            }
            None => {}
        }
    }
    match played.status {
        Some(status) => {
            let header = format!("answer to the client (HTTP {status}, in place of the provider's)");
            differences(b"", &played.answer, ("nothing", &header), is_coloured, out)?;
        }
        None if played.answer == recording.bytes => writeln!(out, "answer:   unchanged, byte for byte")?,
        None => {
            let headers = ("answer of the provider", "answer to the client");
            differences(&recording.bytes, &played.answer, headers, is_coloured, out)?;
        }
    }
    happened(played, out)?;
    writeln!(out, "result:   {}", result(played))
}

/// A unified diff. JSON is laid out in lines first.
fn differences(
    before: &[u8],
    after: &[u8],
    headers: (&str, &str),
    is_coloured: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (mut old, mut new) = (readable(before), readable(after));
    if old == new {
        // They differ in what laying out takes away.
        (old, new) = (String::from_utf8_lossy(before).into_owned(), String::from_utf8_lossy(after).into_owned());
    }
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(&old, &new);
    let text =
        diff.unified_diff().context_radius(3).missing_newline_hint(false).header(headers.0, headers.1).to_string();
    for (number, line) in text.lines().enumerate() {
        let colour = match line.bytes().next() {
            _ if !is_coloured => None,
            _ if number < 2 => Some("1"),
            Some(b'+') => Some("32"),
            Some(b'-') => Some("31"),
            Some(b'@') => Some("36"),
            Some(_) | None => None,
        };
        match colour {
            Some(colour) => writeln!(out, "\u{1b}[{colour}m{line}\u{1b}[0m")?,
            None => writeln!(out, "{line}")?,
        }
    }
    Ok(())
}

fn readable(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => format!("{value:#}\n"),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

/// What happened, each once with how often.
fn happened(played: &Played, out: &mut dyn Write) -> io::Result<()> {
    let mut lines: Vec<(String, usize)> = Vec::new();
    let dropped =
        played.dropped.iter().map(|field| format!("left out of the request, as the provider has no `{field}`"));
    for line in dropped.chain(played.facts.iter().map(sentence)) {
        match lines.iter_mut().find(|(told, _)| *told == line) {
            Some((_, count)) => *count += 1,
            None => lines.push((line, 1)),
        }
    }
    if !lines.is_empty() {
        writeln!(out, "facts:")?;
    }
    for (line, count) in lines {
        let often = if count > 1 { format!(" ({count} times)") } else { String::new() };
        writeln!(out, "  {line}{often}")?;
    }
    Ok(())
}

fn sentence(fact: &Fact) -> String {
    match fact {
        Fact::Decided { policy, on, decision, shadow, .. } => format!("{policy}{}: {decision} on {on}", mode(*shadow)),
        Fact::WouldChange { policy, on, before, after } => {
            let side =
                |side: &Option<Change>| side.as_ref().map_or("nothing".to_owned(), |side| format!("{:?}", side.text()));
            format!("{policy}{}: {} would become {} in {on}", mode(true), side(before), side(after))
        }
        Fact::ShadowLost { policy, why } => format!("{policy}{}: let go beyond {why}", mode(true)),
        Fact::Judged { policy, judgement, shadow } => judged(policy, judgement, *shadow),
        Fact::Emitted { policy, event, fields, shadow } => {
            format!("{policy}{}: event `{event}` {fields}", mode(*shadow))
        }
        Fact::Faulted { policy, error, open: true } => format!("{policy}: failed, and was skipped: {error}"),
        Fact::Faulted { policy, error, open: false } => format!("{policy}: failed: {error}"),
        Fact::Dropped { what } => format!("left out of the answer, as the client has no words for it: {what}"),
        Fact::Repaired { what } => format!("repaired: {what}"),
    }
}

fn judged(policy: &str, judgement: &Judgement, shadow: bool) -> String {
    let Judgement { judge, on, tool, verdict, probability, explanation, .. } = judgement;
    let what = tool.as_ref().map_or_else(|| (*on).to_owned(), |tool| format!("{on} `{tool}`"));
    let how = probability.map(|probability| format!(" at {probability}")).unwrap_or_default();
    format!("{policy}{}: {judge} says {verdict}{how} of {what}: {explanation}", mode(shadow))
}

const fn mode(shadow: bool) -> &'static str {
    if shadow { " (shadow)" } else { "" }
}

fn result(played: &Played) -> String {
    let place = match played.status {
        Some(status) => format!("with HTTP {status}"),
        None => "behind what had left".to_owned(),
    };
    match &played.end {
        End::Completed if played.is_changed => "completed, changed by policies".to_owned(),
        End::Completed => "completed, no policy changed anything".to_owned(),
        End::ProviderFailed => "the provider itself reported an error".to_owned(),
        End::Answered => "answered by a policy; the provider is not asked".to_owned(),
        End::Refused(refusal) => format!("refused by {}, {place}: {}", refusal.policy, refusal.message),
        End::Failed(failure) => format!("failed, {place}: {}", failure.message),
    }
}
