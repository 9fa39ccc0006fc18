//! Rules that change all the time while calls go on: each call is judged by one version of them, none is lost, what is written
//! last holds, and nothing is kept of what was before.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinSet;

use super::{MIB, quiet, span, traffic::Lot};
use crate::{
    cluster::{marks, said},
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{self, End, Request, Version},
        gateway::Gateway,
        samples, within,
    },
};

const DIALECT: Dialect = Dialect::OpenaiChat;
const LONG: Duration = Duration::from_mins(1);

fn document(number: usize) -> String {
    json!({ "policies": marks(number) }).to_string()
}

/// Clients that make calls until they are told to stop. Each says by which rules its answers were judged.
fn clients(gateway: &Gateway, stop: &Arc<AtomicBool>, made: &Arc<AtomicUsize>) -> JoinSet<BTreeSet<usize>> {
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let (address, stop, made) = (gateway.listen(), Arc::clone(stop), Arc::clone(made));
        clients.spawn(async move {
            let mut seen = BTreeSet::new();
            while !stop.load(Ordering::Relaxed) {
                let request = Request::stream(DIALECT);
                let answer = client::send(Version::BOTH[number % 2], address, request).await.finish().await;
                assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{}", answer.text());
                let by = said(&answer.text(), "answered");
                assert!(by.len() == 1 && answer.text().contains("[DONE]"), "judged by {by:?}: {}", answer.text());
                seen.extend(by);
                made.fetch_add(1, Ordering::Relaxed);
            }
            seen
        });
    }
    clients
}

fn answers(provider: &Provider) {
    provider.forget();
    let (mut text, opening) = samples::Text::open(DIALECT, &["answered "]);
    let (middle, pause) = (text.delta("and answered "), Duration::from_millis(30));
    let rest = text.delta("and answered") + &text.close();
    provider.otherwise(Script::stream().then(opening).pause(pause).then(middle).pause(pause).then(rest));
}

#[tokio::test]
async fn a_storm_of_writes_ends_in_the_last_good_document() {
    let provider = Provider::start().await;
    answers(&provider);
    let gateway = Gateway::with(&provider).policy(&document(0)).start().await;
    let (stop, made) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let mut clients = clients(&gateway, &stop, &made);
    let (mut lot, mut writes, ends) = (Lot(8), 0, Instant::now() + span().unwrap_or(Duration::from_secs(4)) / 4);
    while Instant::now() < ends {
        writes += 1;
        let good = document(writes);
        let file = gateway.rules();
        match lot.below(5) {
            // What no version of the rules is, in place and by a rename.
            0 => fs::write(file, "policies: [{ name: x, type: upercase }]\n").unwrap(),
            1 => fs::write(file, &good[..good.len() / 2]).unwrap(),
            // In two steps, as a slow writer does.
            2 => {
                let mut file = fs::File::create(file).unwrap();
                let (first, rest) = good.as_bytes().split_at(good.len() / 2);
                file.write_all(first).unwrap();
                tokio::time::sleep(Duration::from_millis(lot.below(5))).await;
                file.write_all(rest).unwrap();
            }
            3 => fs::write(file, &good).unwrap(),
            _ => {
                let new = file.with_extension("new");
                fs::write(&new, &good).unwrap();
                fs::rename(&new, file).unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(lot.below(5))).await;
    }
    let bad = |state: &serde_json::Value| !state["rules"]["last_error"].is_null();
    fs::write(gateway.rules(), document(writes + 1)).unwrap();
    let last = async || {
        let answer = gateway.call(Version::Http1, Request::stream(DIALECT)).await;
        said(&answer.text(), "answered") == BTreeSet::from([writes + 1])
    };
    within(LONG, "the last good rules", async { while !last().await {} }).await;
    let hash = gateway.readyz("no refusal", |state| !bad(state)).await["rules"]["hash"].clone();
    // What is wrong behind it changes nothing.
    fs::write(gateway.rules(), "policies: [").unwrap();
    let state = gateway.readyz("the refusal", bad).await;
    assert_eq!(state["rules"]["hash"], hash);
    assert!(last().await, "a document with a mistake took effect");
    stop.store(true, Ordering::Relaxed);
    let mut seen = BTreeSet::new();
    while let Some(by) = clients.join_next().await {
        seen.extend(by.expect("every call was answered by one version"));
    }
    println!("{writes} writes, {} calls by {} versions of the rules", made.load(Ordering::Relaxed), seen.len());
    assert!(made.load(Ordering::Relaxed) > 8 && seen.len() > 1, "{seen:?}");
    quiet(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn rules_that_were_replaced_are_freed() {
    // Some megabytes of automata in each version.
    let large = |number: usize| {
        let mut policies = marks(number);
        let pattern = format!("never-{number}-[a-z]{{1,20000}}");
        policies.as_array_mut().unwrap().push(json!({
            "name": "large", "type": "blocked_content", "config": { "patterns": [pattern], "message": "no" },
        }));
        json!({ "policies": policies }).to_string()
    };
    let provider = Provider::start().await;
    answers(&provider);
    let gateway = Gateway::with(&provider).policy(&large(0)).start().await;
    let (stop, made) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let mut clients = clients(&gateway, &stop, &made);
    let (mut sizes, ends) = (Vec::new(), Instant::now() + span().unwrap_or(Duration::from_secs(12)));
    let mut hash = gateway.readyz("the first rules", |_| true).await["rules"]["hash"].clone();
    while Instant::now() < ends || sizes.len() < 24 {
        fs::write(gateway.rules(), large(sizes.len() + 1)).unwrap();
        let state = gateway.readyz("other rules", |state| state["rules"]["hash"] != hash).await;
        hash = state["rules"]["hash"].clone();
        sizes.push(gateway.usage()[0].memory);
    }
    stop.store(true, Ordering::Relaxed);
    while clients.join_next().await.transpose().expect("every call was answered by one version").is_some() {}
    let median = |values: &[u64]| {
        let mut values = values.to_vec();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let third = sizes.len() / 3;
    let (first, last) = (median(&sizes[..third]), median(&sizes[sizes.len() - third..]));
    println!("{} versions: {} MiB in the first third, {} MiB in the last", sizes.len(), first / MIB, last / MIB);
    assert!(
        last <= first + first / 4 + 8 * MIB,
        "replaced rules are kept: {} MiB, then {} MiB",
        first / MIB,
        last / MIB
    );
    quiet(&gateway).await;
    gateway.stop().await;
}
