//! What every database has to do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use luthien::{
    record::{Answer, Entry, Head, Line, spool::Position, spool::Spool},
    store::{Cursor, Filter, Keep, Page, Store, Summary},
    telemetry::metrics::Metrics,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    Database,
    support::{at, call, ending, head, opening},
};

fn ids(page: &Page<Summary>) -> Vec<&str> {
    page.items.iter().map(|call| call.call_id.as_str()).collect()
}

async fn list(db: &Database, filter: Filter) -> Vec<String> {
    ids(&db.store.list(&filter, None, 100).await.unwrap()).into_iter().map(str::to_owned).collect()
}

pub(super) async fn a_call_is_read_as_it_was_written(db: Database) {
    let head = Head {
        session: Some("s1".to_owned()),
        client: Some("team".to_owned()),
        stream: true,
        headers: vec![("user-agent".to_owned(), "x".to_owned())],
        ..head(0)
    };
    let request =
        json!({ "model": "claude-x", "messages": [{ "role": "user", "content": "hi ".repeat(100) }], "n": 1.5 });
    let delivered = json!({ "content": [{ "type": "text", "text": "bye" }] });
    let answer = Answer {
        original: Some(json!({ "content": [{ "type": "text", "text": "secret" }] })),
        delivered: Some(delivered.clone()),
        changed: true,
        raw: None,
    };
    db.write(&[opening("c1", head, request.clone()), ending("c1", 0, Some(answer.clone()))]).await;
    let read = db.store.call("c1").await.unwrap().unwrap();
    let Summary { outcome, status, upstream, session_id, usage, duration_ms, stream, changed, cost_usd, .. } =
        read.summary.clone();
    assert_eq!((outcome.as_deref(), status, upstream.as_deref()), (Some("completed"), Some(200), Some("up")));
    assert_eq!(
        (session_id.as_deref(), usage.input, usage.cached, duration_ms),
        (Some("s1"), Some(10), None, Some(1.5))
    );
    assert_eq!((stream, changed.request, changed.response, cost_usd), (true, false, true, Some(0.25)));
    assert_eq!(read.summary.started_at, "2026-09-21T14:13:20.000000Z");
    assert_eq!((read.request.original.as_ref(), read.request.sent.as_ref()), (Some(&request), Some(&request)));
    assert_eq!((read.response.original, read.response.sent), (answer.original, Some(delivered)));
    assert_eq!(read.headers, [("user-agent".to_owned(), "x".to_owned())]);
    assert_eq!(read.events[0]["policy"], "guard");
    assert_eq!(db.store.call("c2").await.unwrap(), None);
}

pub(super) async fn what_is_written_twice_is_there_once(db: Database) {
    let lines = call(0, head(0), json!({ "messages": ["a"] }), json!({ "content": ["b"] }));
    db.write(&lines).await;
    let once = db.store.call("call00000").await.unwrap();
    db.write(&lines).await;
    db.write(&lines[1..]).await;
    assert_eq!(db.store.call("call00000").await.unwrap(), once);
    assert_eq!(list(&db, Filter::default()).await, ["call00000"]);
    assert_eq!(db.store.position("s").await.unwrap(), Position { segment: 1, offset: 1 });
    assert_eq!(db.store.position("another").await.unwrap(), Position::default());
}

/// However the entries of many calls fall into batches, and whatever of them was written before.
pub(super) async fn entries_come_in_any_batches(db: Database) {
    let calls: Vec<[Line; 2]> = (0..300)
        .map(|number| {
            let mut lines = call(number, head(number), json!({ "messages": [number, "a"] }), json!({ "n": number }));
            // Some of them have a price.
            if let Line::Entry(entry) = &mut lines[1]
                && let Some(closing) = &mut entry.closing
                && number % 3 < 2
            {
                closing.cost = None;
            }
            lines
        })
        .collect();
    let openings: Vec<Line> = calls.iter().map(|[opening, _]| opening.clone()).collect();
    let all = calls.concat();
    // Beginnings alone, ends alone, both, both again, and one by one.
    db.write(&openings[..150]).await;
    db.write(&all[..100]).await;
    db.write(&all).await;
    db.write(&all[300..]).await;
    for line in &all[..40] {
        db.write(std::slice::from_ref(line)).await;
    }
    let page = db.store.list(&Filter::default(), None, 1000).await.unwrap();
    assert_eq!(page.items.len(), 300);
    for (number, summary) in page.items.iter().rev().enumerate() {
        let cost = (number % 3 == 2).then_some(0.25);
        assert_eq!((summary.outcome.as_deref(), summary.cost_usd), (Some("completed"), cost), "{number}");
        assert_eq!((summary.changed.request, summary.upstream.as_deref()), (false, Some("up")));
        let read = db.store.call(&summary.call_id).await.unwrap().unwrap();
        assert_eq!(read.request.original, Some(json!({ "messages": [number, "a"] })));
        assert_eq!(read.response.original, Some(json!({ "n": number })));
        assert_eq!(read.events.len(), 1);
    }
    let guarded = Filter { policy: Some("guard".to_owned()), ..Filter::default() };
    assert_eq!(db.store.list(&guarded, None, 1000).await.unwrap().items.len(), 300);
}

/// A batch in which a process ends and the next begins.
pub(super) async fn a_restart_stands_in_the_middle_of_a_batch(db: Database) {
    let mut lines = vec![opening("before", head(0), json!({}))];
    lines.extend(call(1, head(1), json!({}), json!({})));
    lines.push(Line::Started(at(5)));
    lines.push(opening("behind", head(6), json!({})));
    db.write(&lines).await;
    let outcome = async |call: &str| db.store.call(call).await.unwrap().unwrap().summary.outcome;
    assert_eq!(outcome("before").await.as_deref(), Some("interrupted"));
    assert_eq!(outcome("call00001").await.as_deref(), Some("completed"));
    assert_eq!(outcome("behind").await, None);
}

pub(super) async fn open_calls_are_interrupted_by_a_restart(db: Database) {
    db.write(&[opening("open", head(0), json!({})), opening("done", head(1), json!({})), ending("done", 1, None)])
        .await;
    let other = [opening("other", head(2), json!({}))];
    db.store.apply("another spool", &other, Position::default()).await.unwrap();
    db.write(&[Line::Started(at(5))]).await;
    let read = db.store.call("open").await.unwrap().unwrap().summary;
    assert_eq!((read.outcome.as_deref(), read.ended_at.is_some()), (Some("interrupted"), true));
    assert_eq!(db.store.call("done").await.unwrap().unwrap().summary.outcome.as_deref(), Some("completed"));
    assert_eq!(db.store.call("other").await.unwrap().unwrap().summary.outcome, None);
    let open = Filter { outcomes: vec!["open".to_owned()], ..Filter::default() };
    assert_eq!(list(&db, open.clone()).await, ["other"]);
    // Of a process whose spool is gone nobody will say how its calls ended.
    assert_eq!(db.store.close_lost(at(2) + 24 * 3600 * 1_000_000).await.unwrap(), 0);
    assert_eq!(db.store.close_lost(at(3) + 24 * 3600 * 1_000_000).await.unwrap(), 1);
    assert!(list(&db, open).await.is_empty());
}

pub(super) async fn lists_are_filtered_and_come_in_pages(db: Database) {
    for number in 0..7 {
        let model = if number % 2 == 0 { "claude-even" } else { "gpt_odd" };
        let session = (number > 2).then(|| "late".to_owned());
        let probe = (number == 6).then(|| "quota".to_owned());
        // Two at the same time: the id decides.
        let head = Head { model: model.to_owned(), session, probe, ..head(number.min(5)) };
        db.write(&call(number, head, json!({}), json!({}))).await;
    }
    let mut seen = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = db.store.list(&Filter::default(), after.as_ref(), 2).await.unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.iter().map(|call| call.call_id.clone()));
        // What comes meanwhile moves nothing.
        if seen.len() == 2 {
            db.write(&call(9, head(9), json!({}), json!({}))).await;
        }
        match page.next_cursor {
            Some(cursor) => after = Some(cursor.parse().unwrap()),
            None => break,
        }
    }
    let expected: Vec<String> = (0..7).rev().map(|number| format!("call{number:05}")).collect();
    assert_eq!(seen, expected);
    let models =
        |globs: &[&str]| Filter { models: globs.iter().map(|&glob| glob.to_owned()).collect(), ..Filter::default() };
    for (filter, expected) in [
        (models(&["CLAUDE-even"]), vec![6, 4, 2, 0]),
        (models(&["gpt?odd", "none"]), vec![5, 3, 1]),
        (models(&["gpt%", "claude"]), vec![]),
        (Filter { session: Some("late".to_owned()), ..Filter::default() }, vec![6, 5, 4, 3]),
        (Filter { session: Some("late".to_owned()), without_probes: true, ..Filter::default() }, vec![5, 4, 3]),
        (Filter { from: Some(at(2)), to: Some(at(4)), ..Filter::default() }, vec![3, 2]),
        (Filter { policy: Some("guard".to_owned()), to: Some(at(2)), ..Filter::default() }, vec![1, 0]),
        (Filter { policy: Some("gu".to_owned()), ..Filter::default() }, vec![]),
        (Filter { outcomes: vec!["stalled".to_owned(), "open".to_owned()], ..Filter::default() }, vec![]),
        (Filter { client: Some("x".to_owned()), ..Filter::default() }, vec![]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|number: i32| format!("call{number:05}")).collect();
        assert_eq!(list(&db, filter.clone()).await, expected, "{filter:?}");
    }
}

pub(super) async fn words_are_found_wherever_they_stand(db: Database) {
    let long = format!("{} Zebra-crossing", "filler ".repeat(50));
    let message = |text: &str| json!({ "role": "user", "content": text });
    db.write(&call(0, head(0), json!({ "messages": [message("short Ärger"), message(&long)] }), json!({}))).await;
    db.write(&call(1, head(1), json!({ "system": "你好 world", "messages": [message("other")] }), json!({}))).await;
    let answer = json!({ "content": [{ "type": "tool_use", "input": { "command": "rm -rf /opt/zebra" } }] });
    db.write(&call(2, head(2), json!({ "messages": [message("other"), message("more")] }), answer)).await;
    db.write(&call(3, head(3), json!({ "messages": [message(&long), { "data": "zebra" }] }), json!({}))).await;
    for (words, expected) in [
        ("zebra", vec![3, 2, 0]),
        ("ZEBRA crossing", vec![3, 0]),
        ("zeb*", vec![3, 2, 0]),
        ("zeb", vec![]),
        ("ärger", vec![0]),
        ("好", vec![1]),
        ("other", vec![2, 1]),
        ("rm rf opt", vec![2]),
        ("zebra other", vec![]),
        ("' OR \" * : & !", vec![]),
        ("x') OR 1=1 --", vec![]),
        ("tool_use", vec![2]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|number: i32| format!("call{number:05}")).collect();
        let filter = Filter { text: Some(words.to_owned()), ..Filter::default() };
        assert_eq!(list(&db, filter).await, expected, "{words}");
    }
}

/// Numbers without an order, the same for each seed.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// A text of about this length, of words of which there are a few thousand.
fn prose(seed: u64, length: usize) -> String {
    let mut next = numbers(seed);
    let mut text = String::new();
    while text.len() < length {
        // Few words are said often, and many seldom.
        let rare = 1 + next(4000);
        let mut word = numbers(1 + next(rare));
        text.extend((0..=word(9) + 1).map(|_| char::from(b'a' + u8::try_from(word(26)).unwrap())));
        text.push(if next(12) == 0 { '.' } else { ' ' });
    }
    text
}

pub(super) async fn a_long_conversation_is_stored_once_and_read_fast(db: Database) {
    let system = prose(1, 8_000);
    let tools: Vec<Value> = (2..12).map(|seed| json!({ "name": seed, "description": prose(seed, 900) })).collect();
    let mut messages = Vec::new();
    let mut distinct = system.len() + serde_json::to_vec(&tools).unwrap().len();
    let before = db.bodies().await;
    for turn in 0..100u32 {
        let said =
            json!({ "role": "user", "content": [{ "type": "text", "text": prose(1000 + u64::from(turn), 2_000) }] });
        let answer = json!([{ "type": "text", "text": prose(5000 + u64::from(turn), 2_000) }]);
        distinct += serde_json::to_vec(&said).unwrap().len() + serde_json::to_vec(&answer).unwrap().len();
        messages.push(said);
        let request = json!({ "model": "m", "system": system, "tools": tools, "messages": messages });
        let head = Head { session: Some("long".to_owned()), ..head(i64::from(turn)) };
        let response = json!({ "id": turn, "role": "assistant", "content": answer });
        db.write(&call(i64::from(turn), head, request, response)).await;
        messages.push(json!({ "role": "assistant", "content": answer }));
    }
    let stored = db.bodies().await - before;
    println!("{stored} bytes for {distinct}, {} in all", db.store.size().await.unwrap());
    assert!(stored * 10 <= distinct as u64 * 12, "{stored} bytes for {distinct}");
    let began = Instant::now();
    let page = db.store.turns("long", None, 200).await.unwrap();
    let took = began.elapsed();
    assert_eq!(page.items.len(), 100);
    for (number, turn) in page.items.iter().enumerate() {
        // The echo of the answer before is no news to anybody but the client.
        let expected: Vec<&Value> = messages[(2 * number).saturating_sub(1)..=2 * number].iter().collect();
        assert_eq!(turn.messages.iter().collect::<Vec<_>>(), expected, "turn {number}");
        assert_eq!(turn.response.as_ref().unwrap()["id"], number);
    }
    // A request of Responses can have a text in the place of messages.
    let head = Head { session: Some("text".to_owned()), ..head(200) };
    db.write(&call(200, head, json!({ "input": "just a text ".repeat(20), "tools": [1] }), json!({}))).await;
    let turns = db.store.turns("text", None, 10).await.unwrap().items;
    assert_eq!(turns[0].messages, [Value::from("just a text ".repeat(20))]);
    let last = db.store.call("call00099").await.unwrap().unwrap();
    assert_eq!(last.request.original.unwrap()["messages"].as_array().unwrap().len(), 199);
    // Measured 20 to 40 ms in a debug build; ten times as much is no slow machine.
    assert!(took < Duration::from_secs(1), "{took:?}");
    let session = db.store.session("long").await.unwrap().unwrap();
    assert_eq!(
        (session.calls, session.failed, session.usage.output, session.cost_usd),
        (100, 0, Some(500), Some(25.0))
    );
    assert_eq!(db.store.sessions(None, 10).await.unwrap().items[1..], [session]);
}

pub(super) async fn what_is_deleted_takes_with_it_what_nothing_else_refers_to(db: Database) {
    let message = |word: &str| json!({ "role": "user", "content": format!("{word} ").repeat(60) });
    let empty = db.store.size().await.unwrap();
    let session = |name: &str, number| Head { session: Some(name.to_owned()), ..head(number) };
    let first = json!({ "messages": [message("shared")] });
    let second = json!({ "messages": [message("shared"), message("own")] });
    db.write(&call(0, session("a", 0), first.clone(), json!({ "content": [message("answer")] }))).await;
    db.write(&call(1, session("b", 1), second, json!({}))).await;
    assert!(db.store.delete_call("call00001").await.unwrap());
    assert!(!db.store.delete_call("call00001").await.unwrap());
    let found = async |word: &str| list(&db, Filter { text: Some(word.to_owned()), ..Filter::default() }).await;
    assert_eq!(found("shared").await, ["call00000"]);
    assert!(found("own").await.is_empty());
    assert_eq!(db.store.call("call00000").await.unwrap().unwrap().request.original, Some(first.clone()));
    assert!(db.store.session("b").await.unwrap().is_none());
    // What comes later of a call that was deleted does not bring it back.
    db.write(&[ending("call00001", 1, Some(Answer { original: Some(json!({ "x": 1 })), ..Answer::default() }))]).await;
    assert!(db.store.call("call00001").await.unwrap().is_none());
    assert_eq!(db.store.delete_session("a").await.unwrap(), 1);
    assert!(list(&db, Filter::default()).await.is_empty());
    assert!(db.store.session("a").await.unwrap().is_none());
    // Again, to see that nothing stands in the way.
    db.write(&call(2, session("a", 2), first.clone(), json!({}))).await;
    assert_eq!(db.store.call("call00002").await.unwrap().unwrap().request.original, Some(first));
    db.store.delete_session("a").await.unwrap();
    let left = db.store.size().await.unwrap();
    assert!(left <= empty + 20_000, "{left} bytes are left of {empty}");
}

pub(super) async fn the_old_and_the_too_much_are_forgotten(db: Database) {
    let request = |number: i64| json!({ "messages": [prose(number.cast_unsigned() + 1, 20_000)] });
    for number in 0..150 {
        db.write(&call(number, head(number), request(number), json!({}))).await;
    }
    let keep = Keep { age: Duration::from_secs(100), size: u64::MAX };
    assert_eq!(db.store.forget(keep, at(149)).await.unwrap(), 49);
    assert_eq!(list(&db, Filter::default()).await.last().map(String::as_str), Some("call00050"));
    let size = db.store.size().await.unwrap();
    for number in 150..300 {
        db.write(&call(number, head(number), request(number), json!({}))).await;
    }
    let keep = Keep { age: Duration::from_secs(100_000), size };
    let forgotten = db.store.forget(keep, at(300)).await.unwrap();
    assert!((100..=250).contains(&forgotten), "{forgotten}");
    assert!(db.store.size().await.unwrap() <= size);
    assert_eq!(list(&db, Filter::default()).await.first().map(String::as_str), Some("call00299"));
}

pub(super) async fn several_write_at_once(db: Database) {
    let shared = json!({ "role": "user", "content": prose(7, 500) });
    let other = Arc::new(Store::open(&db.place).unwrap());
    let store = Arc::new(db.store);
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..4i64 {
        let (store, other, shared) = (Arc::clone(&store), Arc::clone(&other), shared.clone());
        tasks.spawn(async move {
            let store = if writer % 2 == 0 { store } else { other };
            for number in 0..15 {
                let number = writer * 100 + number;
                let request =
                    json!({ "messages": [shared, { "role": "user", "content": prose(number.cast_unsigned(), 300) }] });
                let lines = call(number, head(number), request, json!({}));
                // Whoever is in the way is waited for, as the task does it that tails the spool.
                while let Err(error) = store.apply(&format!("s{writer}"), &lines, Position::default()).await {
                    assert!(matches!(error, luthien::store::ApplyError::Away(_)), "{error}");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                if number % 3 == 0 {
                    while store.delete_call(&format!("call{number:05}")).await.is_err() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let page = store.list(&Filter::default(), None, 100).await.unwrap();
    assert_eq!(page.items.len(), 40);
    for call in page.items {
        let read = store.call(&call.call_id).await.unwrap().unwrap();
        assert_eq!(read.request.original.unwrap()["messages"][0], shared);
    }
}

pub(super) async fn odd_values_survive(db: Database) {
    let request = json!({
        "nul": "\0", "mark": "\u{1}x", "list": "\u{1}[", "big": 18_446_744_073_709_551_615_u64, "float": 0.1,
        "long": format!("\0{}", "\u{1}".repeat(200)), "": [], "messages": [null, 1, "\u{1}", [], {}, "x".repeat(300)],
        "deep": { "a": [{ "b": "y".repeat(300) }] }, "surrogate": "\u{fffd}", "emoji": "🦀".repeat(100)
    });
    let head = Head { path: "/\0".to_owned(), model: "m\0'\"%_\\".to_owned(), session: Some(String::new()), ..head(0) };
    db.write(&call(0, head, request.clone(), Value::String("no JSON object".to_owned()))).await;
    let read = db.store.call("call00000").await.unwrap().unwrap();
    assert_eq!(read.request.original, Some(request));
    assert_eq!(read.response.original, Some(Value::String("no JSON object".to_owned())));
    assert_eq!(read.summary.model, "m\u{fffd}'\"%_\\");
    let filter = Filter { models: vec!["m*'\"%_\\".to_owned()], ..Filter::default() };
    assert_eq!(list(&db, filter).await, ["call00000"]);
    // Something without a head is of no call.
    db.write(&[Line::Entry(Box::new(Entry { call: "none".to_owned(), seq: 3, ..Entry::default() }))]).await;
    assert!(db.store.call("none").await.unwrap().is_none());
}

pub(super) async fn migrations_run_once_and_let_a_newer_version_be(db: Database) {
    db.write(&call(0, head(0), json!({}), json!({}))).await;
    let again = Store::open(&db.place).unwrap();
    let (one, two) = tokio::join!(again.migrate(), db.store.migrate());
    one.unwrap();
    two.unwrap();
    assert!(again.call("call00000").await.unwrap().is_some());
    // As the next version may leave it: this one goes on, as it does while pods are replaced one by one, and after a rollback.
    db.execute("ALTER TABLE calls ADD COLUMN later TEXT; CREATE TABLE later (id BIGINT PRIMARY KEY, call_id TEXT)")
        .await;
    db.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .await;
    let older = Store::open(&db.place).unwrap();
    older.migrate().await.unwrap();
    older.apply("s", &call(1, head(1), json!({}), json!({})), Position { segment: 1, offset: 2 }).await.unwrap();
    assert!(older.call("call00001").await.unwrap().is_some());
    assert_eq!(older.list(&Filter::default(), None, 10).await.unwrap().items.len(), 2);
}

pub(super) async fn the_spool_is_written_however_often_the_store_fails(mut db: Database) {
    let (mut spool, reader) = Spool::open(&db.folder.path().join("spool")).unwrap();
    let metrics = Metrics::default();
    let (tell, last) = watch::channel(false);
    let lines = |numbers: std::ops::Range<i64>| {
        numbers.flat_map(|number| call(number, head(number), json!({ "n": number }), json!({}))).collect::<Vec<_>>()
    };
    spool.append(&lines(0..50)).unwrap();
    // One of the two can be taken away and brought back.
    let mut postgres = db.postgres.take();
    let shared = spool.shared();
    let drive = async {
        spool.append(&lines(50..100)).unwrap();
        while db.store.call("call00020").await.ok().flatten().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if let Some(postgres) = &mut postgres {
            postgres.kill();
        }
        spool.append(&lines(100..150)).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        if let Some(postgres) = &mut postgres {
            postgres.revive();
        }
        spool.append(&lines(150..200)).unwrap();
        tell.send(true).unwrap();
    };
    tokio::join!(db.store.tail(reader, &metrics, last), drive);
    let page = db.store.list(&Filter::default(), None, 1000).await.unwrap();
    assert_eq!(page.items.len(), 200);
    assert!(page.items.iter().all(|call| call.outcome.as_deref() == Some("completed")));
    let position = db.store.position(&shared.id).await.unwrap();
    assert_eq!((position.segment, shared.bytes()), (1, 0));
}
