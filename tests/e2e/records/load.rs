//! No record is lost, and none is there twice: under load, while databases go away and come back, and when the process is
//! killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use super::{ask, call_of};
use crate::{
    common::{postgres::Postgres, streams::Dialect},
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{self, End, Request, Version},
        gateway::{Builder, Gateway},
        redis::Redis,
        samples, within,
    },
};

/// Streams at the same time.
const STREAMS: usize = 200;
const DIALECT: Dialect = Dialect::Anthropic;

/// What clients saw.
#[derive(Default)]
struct Seen {
    finished: Vec<String>,
    errors: Vec<String>,
}

/// An answer that takes about two seconds.
fn slow() -> Script {
    let (mut text, opening) = samples::Text::open(DIALECT, &["begins "]);
    let mut script = Script::stream().then(opening);
    for piece in ["one ", "two ", "three ", "four ", "five "] {
        script = script.pause(Duration::from_millis(400)).then(text.delta(piece));
    }
    script.then(text.close())
}

/// Clients that make call after call until they are told to stop.
fn load(gateway: &Gateway, stop: &Arc<AtomicBool>) -> JoinSet<Seen> {
    let mut clients = JoinSet::new();
    for number in 0..STREAMS {
        let (address, stop) = (gateway.listen(), Arc::clone(stop));
        clients.spawn(async move {
            // Not all at the same moment.
            tokio::time::sleep(Duration::from_millis(10 * number as u64)).await;
            let mut seen = Seen::default();
            while !stop.load(Ordering::Relaxed) {
                let answer = match client::try_send(Version::Http1, address, Request::stream(DIALECT)).await {
                    Ok(response) => response.finish().await,
                    Err(error) => {
                        seen.errors.push(error);
                        break;
                    }
                };
                if answer.status == 200 && answer.end == End::Clean && answer.text().contains("message_stop") {
                    seen.finished.push(call_of(&answer));
                } else {
                    seen.errors.push(format!("{} {:?} {}", answer.status, answer.end, answer.text()));
                    break;
                }
            }
            seen
        });
    }
    clients
}

async fn seen(mut clients: JoinSet<Seen>) -> Seen {
    let mut all = Seen::default();
    while let Some(seen) = clients.join_next().await {
        let Seen { finished, errors } = seen.unwrap();
        all.finished.extend(finished);
        all.errors.extend(errors);
    }
    all
}

/// Every call that the store has, with what became of it and how often it is there.
async fn stored(gateway: &Gateway) -> BTreeMap<String, (Option<String>, usize)> {
    let mut calls: BTreeMap<String, (Option<String>, usize)> = BTreeMap::new();
    let mut path = "/debug/calls?limit=500".to_owned();
    loop {
        let answer = ask(gateway, &path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.json();
        for call in page["items"].as_array().unwrap() {
            let outcome = call["outcome"].as_str().map(str::to_owned);
            calls.entry(call["call_id"].as_str().unwrap().to_owned()).or_insert((outcome, 0)).1 += 1;
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/debug/calls?limit=500&cursor={cursor}"),
            None => return calls,
        }
    }
}

/// Waits until every call is in the store that a client saw finish, and checks that each is there once.
async fn all_are_stored(gateway: &Gateway, finished: &[String]) -> BTreeMap<String, (Option<String>, usize)> {
    let distinct: BTreeSet<&String> = finished.iter().collect();
    assert_eq!(distinct.len(), finished.len());
    let complete = async {
        loop {
            let calls = stored(gateway).await;
            let is_there = |call: &&String| calls.get(*call).is_some_and(|(outcome, _)| outcome.is_some());
            if finished.iter().all(|call| is_there(&call)) {
                return calls;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let calls = within(Duration::from_mins(2), "every call in the store", complete).await;
    for call in finished {
        assert_eq!(calls[call], (Some("completed".to_owned()), 1), "{call}");
    }
    assert!(calls.values().all(|(_, times)| *times == 1));
    calls
}

async fn wait(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Databases stop and start while calls run; then the process is killed and begins again.
async fn survive(builder: Builder, postgres: Option<Postgres>, span: Duration) {
    let provider = Provider::start().await;
    provider.otherwise(slow());
    let mut redis = Redis::start();
    let settings = redis.settings();
    let upstream = format!("- {{ name: fake, url: \"{}\", dialects: [anthropic_messages] }}\n", provider.url());
    let builder = builder.upstreams(&upstream).settings(&settings).env("REDIS_PASSWORD", Redis::PASSWORD);
    let mut gateway = builder.start().await;
    let mut postgres = postgres;
    let stop = Arc::new(AtomicBool::new(false));
    let clients = load(&gateway, &stop);
    let began = Instant::now();
    wait(span / 5).await;
    if let Some(postgres) = &mut postgres {
        postgres.kill();
    }
    redis.kill();
    wait(span * 2 / 5).await;
    if let Some(postgres) = &mut postgres {
        postgres.revive();
    }
    redis.revive();
    tokio::time::sleep_until(began + span).await;
    stop.store(true, Ordering::Relaxed);
    let before = seen(clients).await;
    assert_eq!(before.errors, Vec::<String>::new(), "clients saw what became of the databases");
    assert!(before.finished.len() >= STREAMS, "only {} calls", before.finished.len());
    all_are_stored(&gateway, &before.finished).await;

    let stop = Arc::new(AtomicBool::new(false));
    let clients = load(&gateway, &stop);
    wait(Duration::from_secs(4)).await;
    gateway.kill9().await;
    gateway.nothing_left().await;
    let during = seen(clients).await;
    assert!(!during.finished.is_empty() && !during.errors.is_empty());
    let gateway = gateway.again().await;
    let mut finished = before.finished;
    finished.extend(during.finished);
    let interrupted = async {
        loop {
            let calls = all_are_stored(&gateway, &finished).await;
            // What was open when the process was killed is over.
            if calls.values().all(|(outcome, _)| outcome.is_some()) {
                return calls.values().filter(|(outcome, _)| outcome.as_deref() == Some("interrupted")).count();
            }
            wait(Duration::from_millis(100)).await;
        }
    };
    let interrupted = within(Duration::from_mins(1), "the end of calls that were open", interrupted).await;
    assert!(interrupted > 0);
    println!("{} calls finished, {interrupted} were interrupted", finished.len());
    gateway.stop().await;
}

/// How long clients make calls: longer by `make soak`.
fn span() -> Duration {
    crate::load::span().unwrap_or(Duration::from_secs(10))
}

#[tokio::test]
async fn no_record_is_lost_with_postgres() {
    let postgres = Postgres::start();
    let settings =
        format!("recording: {{ postgres: {{ url: \"{}\", password: {{ env: PG_PASSWORD }} }} }}", postgres.url());
    let builder = Builder::at("http://127.0.0.1:1").settings(&settings).env("PG_PASSWORD", Postgres::PASSWORD);
    survive(builder, Some(postgres), span()).await;
}

#[tokio::test]
async fn no_record_is_lost_with_sqlite() {
    survive(Builder::at("http://127.0.0.1:1"), None, span()).await;
}
