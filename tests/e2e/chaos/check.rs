//! What must hold after any run, whatever was struck. It reads what clients saw and what the store has, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    call::{DENIED, FORBIDDEN, MARKER},
    ledger::{Account, Due, Ended},
};

/// All that is known when everything is healed.
#[derive(Debug, Default, Clone)]
pub(super) struct Books {
    pub(super) accounts: Vec<Account>,
    pub(super) stored: Vec<Stored>,
    /// How many records the counters say are lost.
    pub(super) lost: u64,
    /// What did not work again after it was healed.
    pub(super) sick: Vec<String>,
}

/// A record in the store.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) call_id: String,
    /// The id of the client's call.
    pub(super) model: Option<String>,
    pub(super) outcome: Option<String>,
}

/// What may not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    /// What a policy replaces or drops reached a client.
    Unfiltered,
    /// A tool call passed that no judge had let pass, or a request that no policy had.
    NotJudged,
    /// A call failed though nothing was struck that it needs.
    Failed,
    /// A client was told of a success that was none.
    InventedSuccess,
    /// A call that a client saw finish is not in the store, or not as what it was.
    LostRecord,
    /// A record is there more than once, or is still open though nothing runs.
    WrongRecord,
    /// The provider was asked more than once.
    AskedTwice,
    /// A call did not end.
    Hung,
    /// Something did not work again.
    NotHealed,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) rule: Rule,
    /// The client's call, where it is about one.
    pub(super) call: String,
    pub(super) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {}", self.rule, self.call, self.what)
    }
}

/// Everything that is wrong.
pub(super) fn violations(books: &Books) -> Vec<Violation> {
    let mut found = Vec::new();
    for account in &books.accounts {
        let mut add = |rule, what: String| found.push(Violation { rule, call: account.id.clone(), what });
        filtered(account, &mut add);
        honest(account, &mut add);
    }
    records(books, &mut found);
    let sick =
        books.sick.iter().map(|what| Violation { rule: Rule::NotHealed, call: String::new(), what: what.clone() });
    found.extend(sick);
    found
}

/// Nothing left that a policy keeps back.
fn filtered(account: &Account, add: &mut impl FnMut(Rule, String)) {
    let (said, raw) = (account.said(), account.raw());
    for word in [MARKER, FORBIDDEN, DENIED] {
        if said.contains(word) || raw.contains(word) {
            add(Rule::Unfiltered, format!("{word} in {raw:?}"));
        }
    }
    let tool = format!("tool-{}", account.id);
    if (said.contains(&tool) || raw.contains(&tool)) && !account.answers.judge {
        add(Rule::NotJudged, format!("the judge said nothing, and a tool call came: {raw:?}"));
    }
    if account.asked > 0 && !account.answers.remote {
        add(Rule::NotJudged, "the remote policy said nothing, and the provider was asked".to_owned());
    }
}

/// What the client was told is so.
fn honest(account: &Account, add: &mut impl FnMut(Rule, String)) {
    if account.is_success() {
        if !account.answers.provider {
            add(Rule::InventedSuccess, format!("the provider was not done: {:?}", account.raw()));
        }
        let said = account.said();
        for word in ["begins", "ends", "tool"] {
            if !said.contains(&format!("{word}-{}", account.id)) {
                add(Rule::InventedSuccess, format!("without {word}-{}: {:?}", account.id, account.raw()));
            }
        }
    }
    if account.due == Due::Success && !account.is_success() {
        add(Rule::Failed, format!("{:?} {:?} with {:?}", account.seen.status, account.seen.end, account.raw()));
    }
    if account.asked > 1 {
        add(Rule::AskedTwice, format!("{} times", account.asked));
    }
    if account.seen.end == Ended::Hung {
        add(Rule::Hung, format!("{:?} with {:?}", account.seen.status, account.raw()));
    }
}

/// Each call that somebody saw finish is there once, and none is open.
fn records(books: &Books, found: &mut Vec<Violation>) {
    // Of a call that was turned away before its body was read, only its own number tells which it was.
    let known =
        books.accounts.iter().filter_map(|account| Some((account.seen.call_id.as_deref()?, account.id.as_str())));
    let known: BTreeMap<&str, &str> = known.collect();
    let mut by_id: BTreeMap<&str, Vec<&Stored>> = BTreeMap::new();
    let mut numbers = BTreeSet::new();
    for stored in &books.stored {
        let call = stored.model.clone().unwrap_or_default();
        let mut add = |what: String| found.push(Violation { rule: Rule::WrongRecord, call: call.clone(), what });
        if stored.outcome.is_none() {
            add(format!("{} is open", stored.call_id));
        }
        if !numbers.insert(&stored.call_id) {
            add(format!("{} is listed twice", stored.call_id));
        }
        if let Some(id) = stored.model.as_deref().or_else(|| known.get(stored.call_id.as_str()).copied()) {
            by_id.entry(id).or_default().push(stored);
        }
    }
    let mut lost = Vec::new();
    for account in &books.accounts {
        let call = account.id.clone();
        let mine = by_id.get(account.id.as_str()).map(Vec::as_slice).unwrap_or_default();
        if mine.len() > 1 {
            found.push(Violation { rule: Rule::WrongRecord, call, what: format!("{} records: {mine:?}", mine.len()) });
            continue;
        }
        let Some(wanted) = wanted(account) else { continue };
        let Some(stored) = mine.first() else {
            lost.push(Violation {
                rule: Rule::LostRecord,
                call,
                what: format!("no record of {wanted:?}: {:?}", account.seen),
            });
            continue;
        };
        let is_same = account.seen.call_id.as_ref().is_none_or(|id| *id == stored.call_id);
        // One that is still open is named above.
        let fits = stored.outcome.as_deref().is_none_or(|outcome| wanted.fits(outcome));
        if !is_same || !fits {
            let what = format!("{stored:?}, where it was {wanted:?} for {:?}", account.seen.call_id);
            found.push(Violation { rule: Rule::LostRecord, call, what });
        }
    }
    // What is counted as lost is not lost in silence.
    if lost.len() as u64 > books.lost {
        found.append(&mut lost);
    }
}

/// What the record of a call says of its end.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Completed,
    Interrupted,
    /// Another: it failed, and the client was told so.
    Failed,
}

impl Outcome {
    fn fits(self, outcome: &str) -> bool {
        match self {
            Self::Completed => outcome == "completed",
            Self::Interrupted => outcome == "interrupted",
            Self::Failed => outcome != "completed",
        }
    }
}

/// What has to be in the store; nothing where the client cannot know.
fn wanted(account: &Account) -> Option<Outcome> {
    let was_told = account.seen.end == Ended::Clean && account.seen.call_id.is_some();
    match account {
        _ if account.is_success() => Some(Outcome::Completed),
        _ if account.due == Due::Interruption => Some(Outcome::Interrupted),
        _ if was_told => Some(Outcome::Failed),
        _ => None,
    }
}
