//! Proves the checks: a book without fault has no violation, and one that is forged has exactly the one that was put into it.

use serde_json::json;

use super::{
    call::{Call, DENIED, FORBIDDEN, MARKER},
    check::{Books, Rule, Stored, violations},
    ledger::{Account, Answers, Due, Ended, Seen},
};
use crate::{common::streams::Dialect, harness::samples};

const KINDS: [(Dialect, bool); 6] = [
    (Dialect::Anthropic, true),
    (Dialect::Anthropic, false),
    (Dialect::OpenaiChat, true),
    (Dialect::OpenaiChat, false),
    (Dialect::OpenaiResponses, true),
    (Dialect::OpenaiResponses, false),
];

/// What a client gets that says all of this.
fn body(dialect: Dialect, stream: bool, pieces: &[&str], arguments: &str) -> String {
    let arguments = json!({ "path": arguments }).to_string();
    let tools = [("call_judged", "read_file", arguments.as_str())];
    if stream { samples::told(dialect, pieces, &tools) } else { samples::whole(dialect, &pieces.concat(), &tools) }
}

/// A call without fault.
fn good(number: usize, dialect: Dialect, stream: bool) -> (Account, Stored) {
    let call = Call::new(number, dialect, stream);
    let (begins, ends) = (call.beginning(), call.ending());
    let body = body(dialect, stream, &[&begins, " redacted-0. ", &ends], &call.judged());
    let call_id = format!("id-{number}");
    let seen = Seen { status: Some(200), call_id: Some(call_id.clone()), body: body.into(), end: Ended::Clean };
    let account = Account {
        id: call.id.clone(),
        dialect,
        stream,
        seen,
        asked: 1,
        answers: Answers { provider: true, judge: true, remote: true },
        due: Due::Success,
    };
    (account, Stored { call_id, model: Some(call.id), outcome: Some("completed".to_owned()) })
}

/// Books without fault.
fn books() -> Books {
    let (accounts, stored) = (0..).zip(KINDS).map(|(number, (dialect, stream))| good(number, dialect, stream)).unzip();
    Books { accounts, stored, ..Books::default() }
}

fn rules(books: &Books) -> Vec<Rule> {
    violations(books).iter().map(|violation| violation.rule).collect()
}

/// Forges one call of each kind in turn, and expects this rule to be broken by it, and no other call to be named.
fn forge(rule: Rule, forge: impl Fn(&mut Account, &mut Stored)) {
    for (at, kind) in KINDS.iter().enumerate() {
        let mut books = books();
        forge(&mut books.accounts[at], &mut books.stored[at]);
        let found = violations(&books);
        assert!(found.iter().any(|found| found.rule == rule), "{rule:?} in {kind:?}: {found:?}");
        assert!(found.iter().all(|found| found.call == books.accounts[at].id), "{found:?}");
    }
}

#[test]
fn books_without_fault_have_no_violation() {
    assert_eq!(violations(&books()), Vec::new());
    assert!(books().accounts.iter().all(Account::is_success));
    // Nor has a call that failed, and said so.
    let mut books = books();
    for (account, stored) in books.accounts.iter_mut().zip(&mut books.stored) {
        account.due = Due::Anything;
        account.seen.status = Some(503);
        account.seen.body = "{\"error\":{}}".into();
        account.answers.provider = false;
        stored.outcome = Some("upstream_error".to_owned());
    }
    // Nor one that Luthien turned away before it knew which it was.
    let (mut account, mut stored) = good(7, Dialect::OpenaiChat, false);
    (account.due, account.seen.status, stored.model) = (Due::Anything, Some(503), None);
    stored.outcome = Some("no_rules".to_owned());
    books.accounts.push(account);
    books.stored.push(stored);
    // Nor one that Envoy turned away, of which nobody knows.
    let (account, _) = good(6, Dialect::Anthropic, true);
    let seen = Seen { status: None, call_id: None, body: "".into(), end: Ended::Unanswered("refused".to_owned()) };
    books.accounts.push(Account {
        seen,
        asked: 0,
        answers: Answers { provider: false, judge: false, remote: false },
        due: Due::Anything,
        ..account
    });
    assert_eq!(violations(&books), Vec::new());
}

#[test]
fn what_a_policy_keeps_back_is_found_wherever_it_stands() {
    forge(Rule::Unfiltered, |account, _| {
        let [begins, ends, tool] = ["begins", "ends", "tool"].map(|word| format!("{word}-{}", account.id));
        let (first, last) = MARKER.split_at(7);
        // In one piece and in two, also where the answer failed afterwards.
        account.seen.body = body(account.dialect, account.stream, &[&begins, first, last, &ends], &tool).into();
    });
    forge(Rule::Unfiltered, |account, _| {
        let text = body(account.dialect, account.stream, &["", FORBIDDEN], "x");
        let half = text.find(FORBIDDEN).unwrap() + FORBIDDEN.len();
        account.seen.body = text[..half].to_owned().into();
        account.seen.end = Ended::Broken("reset".to_owned());
    });
    forge(Rule::Unfiltered, |account, _| {
        account.seen.status = Some(500);
        account.seen.body = format!("{{\"error\":\"{DENIED}\"}}").into();
    });
}

#[test]
fn what_nobody_judged_is_found() {
    forge(Rule::NotJudged, |account, _| account.answers.judge = false);
    forge(Rule::NotJudged, |account, _| account.answers.remote = false);
    forge(Rule::NotJudged, |account, _| {
        account.answers.judge = false;
        let tool = format!("tool-{}", account.id);
        let text = body(account.dialect, account.stream, &[""], &tool);
        account.seen.body = text[..text.find(&tool).unwrap() + tool.len()].to_owned().into();
        account.seen.end = Ended::Broken("reset".to_owned());
    });
}

#[test]
fn an_invented_success_is_found() {
    forge(Rule::InventedSuccess, |account, _| account.answers.provider = false);
    for word in ["begins", "ends", "tool"] {
        forge(Rule::InventedSuccess, |account, _| {
            let whole = account.raw();
            account.seen.body = whole.replace(&format!("{word}-"), "nothing-").into();
        });
    }
    // Its last word counts, however the transfer ended behind it.
    forge(Rule::InventedSuccess, |account, _| {
        account.answers.provider = false;
        if account.stream {
            account.seen.end = Ended::Broken("reset".to_owned());
        }
    });
}

#[test]
fn a_needless_failure_is_found() {
    forge(Rule::Failed, |account, _| account.seen.status = Some(503));
    forge(Rule::Failed, |account, _| {
        let whole = account.raw();
        account.seen.body = whole[..whole.len() / 2].to_owned().into();
        account.seen.end = Ended::Broken("reset".to_owned());
    });
}

#[test]
fn a_lost_record_is_found_unless_it_is_counted() {
    // It is there for another call that nobody made.
    forge(Rule::LostRecord, |_, stored| {
        stored.model = None;
        "another".clone_into(&mut stored.call_id);
    });
    forge(Rule::LostRecord, |_, stored| stored.outcome = Some("client_gone".to_owned()));
    // An error that came whole is the end of a call, too.
    forge(Rule::LostRecord, |account, stored| {
        account.due = Due::Anything;
        account.seen.status = Some(502);
        stored.model = None;
        "another".clone_into(&mut stored.call_id);
    });
    forge(Rule::LostRecord, |_, stored| "another".clone_into(&mut stored.call_id));
    forge(Rule::LostRecord, |account, stored| {
        account.due = Due::Interruption;
        account.seen.end = Ended::Broken("reset".to_owned());
        account.seen.body = "".into();
        stored.outcome = Some("completed".to_owned());
    });
    let mut counted = books();
    counted.stored.remove(0);
    assert_eq!(rules(&counted), [Rule::LostRecord]);
    counted.lost = 1;
    assert_eq!(rules(&counted), []);
    counted.stored.remove(0);
    assert_eq!(rules(&counted), [Rule::LostRecord; 2], "one is counted, and two are lost");
}

#[test]
fn a_record_too_many_and_one_that_is_open_are_found() {
    let mut twice = books();
    let again = Stored { call_id: "again".to_owned(), ..twice.stored[0].clone() };
    twice.stored.push(again);
    assert_eq!(rules(&twice), [Rule::WrongRecord]);
    let mut listed = books();
    listed.stored.push(listed.stored[0].clone());
    assert!(rules(&listed).contains(&Rule::WrongRecord));
    let mut open = books();
    open.stored.push(Stored { call_id: "open".to_owned(), model: None, outcome: None });
    assert_eq!(rules(&open), [Rule::WrongRecord]);
}

#[test]
fn a_provider_that_was_asked_twice_and_a_call_without_end_are_found() {
    forge(Rule::AskedTwice, |account, _| account.asked = 2);
    forge(Rule::Hung, |account, _| account.seen.end = Ended::Hung);
    let mut sick = books();
    sick.sick.push("not ready again".to_owned());
    assert_eq!(rules(&sick), [Rule::NotHealed]);
}
