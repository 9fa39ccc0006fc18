//! What happened in a call, in the order of time.

use std::time::SystemTime;

use serde_json::Value;

use crate::admin::pages::text::{count, dollars, span};

/// Something that happened.
#[derive(Debug, Default, PartialEq)]
pub(in crate::admin::pages) struct Moment {
    /// When, in milliseconds from the start. Missing: it does not say.
    pub(super) at: Option<f64>,
    pub(in crate::admin::pages) offset: String,
    pub(super) time: String,
    pub(in crate::admin::pages) tone: &'static str,
    pub(super) kind: String,
    /// In our words.
    pub(in crate::admin::pages) title: String,
    pub(in crate::admin::pages) policy: Option<String>,
    pub(in crate::admin::pages) is_shadow: bool,
    pub(in crate::admin::pages) badge: Option<String>,
    pub(in crate::admin::pages) facts: Vec<(&'static str, String)>,
    /// An explanation, an error.
    pub(in crate::admin::pages) text: Option<String>,
    /// Details that have no form of their own.
    pub(in crate::admin::pages) json: Option<String>,
}

/// What happened, from this start on.
pub(in crate::admin::pages) fn of(events: &[Value], started_at: &str) -> Vec<Moment> {
    let start = humantime::parse_rfc3339(started_at).ok();
    let mut moments: Vec<Moment> = Vec::new();
    for event in events {
        let moment = moment(event, start);
        // Policies begin together; one line says it.
        match moments.last_mut() {
            Some(last) if moment.kind == "policy.started" && last.kind == moment.kind => {
                last.facts.extend(moment.policy.map(|policy| ("and", policy)));
            }
            _ => moments.push(moment),
        }
    }
    moments
}

fn moment(event: &Value, start: Option<SystemTime>) -> Moment {
    let text = |key: &str| event.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key: &str| event.get(key).and_then(Value::as_u64);
    let is = |key: &str| event.get(key) == Some(&Value::Bool(true));
    let word = |key: &str| text(key).unwrap_or_default();
    let time = word("time");
    let since = humantime::parse_rfc3339(&time).ok().zip(start);
    // Events are told by the millisecond, and the start by the microsecond.
    let at = since.map(|(time, start)| time.duration_since(start).unwrap_or_default().as_secs_f64() * 1000.0);
    let kind = word("type");
    let mut moment = Moment {
        at,
        offset: at.map(|at| format!("+{}", span(at))).unwrap_or_default(),
        time,
        policy: text("policy"),
        is_shadow: is("shadow"),
        ..Moment::default()
    };
    let mut fact = |name, value: Option<String>| moment.facts.extend(value.map(|value| (name, value)));
    let bytes = || number("bytes").map(|bytes| bytesize::ByteSize::b(bytes).display().iec().to_string());
    let changed = || is("changed").then(|| "by a policy".to_owned());
    let (tone, title) = match kind.as_str() {
        "call.opened" => {
            fact("path", text("path"));
            fact("client", text("client"));
            ("", "The call began".to_owned())
        }
        "request.received" => {
            fact("size", bytes());
            fact("answer", Some(if is("stream") { "as a stream" } else { "whole" }.to_owned()));
            ("", "The request is whole".to_owned())
        }
        "request.sent" => {
            fact("upstream", text("upstream"));
            fact("dialect", text("dialect"));
            fact("size", bytes());
            fact("changed", changed());
            ("info", "Sent to the provider".to_owned())
        }
        "response.started" => {
            fact("status", number("status").map(|status| status.to_string()));
            ("info", "The provider answers".to_owned())
        }
        "response.sent" => {
            fact("status", number("status").map(|status| status.to_string()));
            fact("changed", changed());
            ("info", "The client has the whole answer".to_owned())
        }
        "policy.started" => ("", "Policies run".to_owned()),
        "policy.decided" => {
            moment.badge = text("decision");
            let place = number("block").map(|block| format!(", block {}", block + 1)).unwrap_or_default();
            ("warn", format!("Decision on {}{place}", word("on").replace('_', " ")))
        }
        "policy.faulted" => {
            moment.text = text("error");
            moment.badge = Some(format!("on fault: {}", word("on_fault")));
            ("bad", "The policy failed".to_owned())
        }
        "policy.emitted" => {
            let fields =
                event.get("fields").filter(|fields| fields.as_object().is_some_and(|fields| !fields.is_empty()));
            moment.json = fields.and_then(|fields| serde_json::to_string_pretty(fields).ok());
            ("note", sentence(&word("event")))
        }
        "judge.verdict" => return judged(event, moment),
        "stream.stalled" => {
            moment.text = text("error");
            ("bad", "The provider fell silent".to_owned())
        }
        "call.closed" => {
            let outcome = word("outcome");
            fact("status", number("status").filter(|status| *status > 0).map(|status| status.to_string()));
            moment.badge = Some(outcome.clone());
            (super::super::text::tone(&outcome), "The call is over".to_owned())
        }
        _ => {
            moment.json = serde_json::to_string_pretty(event).ok();
            ("", kind.clone())
        }
    };
    Moment { tone, kind, title, ..moment }
}

/// A policy's own word for something, as a title.
fn sentence(word: &str) -> String {
    let words = word.replace(['_', '.'], " ");
    let mut signs = words.chars();
    signs.next().map(|first| first.to_uppercase().chain(signs).collect()).unwrap_or_default()
}

/// What a judge said.
fn judged(event: &Value, moment: Moment) -> Moment {
    let text = |key: &str| event.get(key).and_then(Value::as_str).map(str::to_owned);
    let verdict = text("verdict").unwrap_or_default();
    let usage = |key: &str| event.get("usage").and_then(|usage| usage.get(key)).and_then(Value::as_u64).map(count);
    let probability = event.get("probability").and_then(Value::as_f64);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of one call are far below 2^53")]
    let took = event.get("duration_ms").and_then(Value::as_u64).map(|took| span(took as f64));
    let cached = (event.get("cached") == Some(&Value::Bool(true))).then(|| "known from before".to_owned());
    let facts = [
        ("judge", text("judge")),
        ("tool", text("tool")),
        ("probability", probability.map(|likely| format!("{:.0} %", likely * 100.0))),
        ("took", took),
        ("cached", cached),
        ("tokens in", usage("input_tokens").or_else(|| usage("input"))),
        ("tokens out", usage("output_tokens").or_else(|| usage("output"))),
        ("cost", event.get("cost_usd").and_then(Value::as_f64).map(dollars)),
    ];
    Moment {
        kind: "judge.verdict".to_owned(),
        tone: match verdict.as_str() {
            "allow" => "ok",
            "block" | "replace" => "warn",
            _ => "bad",
        },
        title: format!("Verdict on {}", text("on").unwrap_or_default().replace('_', " ")),
        badge: Some(verdict),
        facts: facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        text: text("explanation"),
        ..moment
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const START: &str = "2026-01-31T12:00:00.000000Z";

    #[test]
    fn events_are_told_in_words() {
        let event = |at: &str, rest: Value| {
            let mut event = json!({ "time": format!("2026-01-31T12:00:{at}Z") });
            event.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            event
        };
        let events = [
            event("00.000", json!({ "type": "call.opened", "path": "/v1/messages" })),
            event("00.002", json!({ "type": "policy.started", "policy": "a" })),
            event("00.002", json!({ "type": "policy.started", "policy": "b" })),
            event("00.010", json!({ "type": "request.sent", "upstream": "u", "dialect": "d", "bytes": 2048 })),
            event(
                "01.500",
                json!({ "type": "judge.verdict", "policy": "a", "judge": "j", "on": "tool_call",
                "verdict": "block", "probability": 0.93, "explanation": "why", "duration_ms": 420, "cached": false,
                "usage": { "input": 1200, "output": 3 }, "cost_usd": 0.001 }),
            ),
            event(
                "01.501",
                json!({ "type": "policy.decided", "policy": "a", "on": "tool_call", "block": 1,
                "decision": "replace", "shadow": true }),
            ),
            event("02.000", json!({ "type": "something.new", "x": 1 })),
            json!([1]),
        ];
        let moments = of(&events, START);
        let titles: Vec<_> = moments.iter().map(|moment| moment.title.as_str()).collect();
        let expected = [
            "The call began",
            "Policies run",
            "Sent to the provider",
            "Verdict on tool call",
            "Decision on tool call, block 2",
            "something.new",
            "",
        ];
        assert_eq!(titles, expected);
        assert_eq!((moments[1].policy.as_deref(), &moments[1].facts[..]), (Some("a"), &[("and", "b".to_owned())][..]));
        let judge = &moments[3];
        assert_eq!((judge.offset.as_str(), judge.tone, judge.badge.as_deref()), ("+1.50 s", "warn", Some("block")));
        let facts = [
            ("judge", "j"),
            ("probability", "93 %"),
            ("took", "420 ms"),
            ("tokens in", "1,200"),
            ("tokens out", "3"),
            ("cost", "$0.0010"),
        ];
        assert_eq!(judge.facts, facts.map(|(name, value)| (name, value.to_owned())));
        assert!(moments[4].is_shadow && moments[5].json.is_some());
        assert_eq!(sentence("tool_blocked"), "Tool blocked");
    }
}
