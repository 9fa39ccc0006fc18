//! What a record costs: from a call's drafts to the spool, and from there to a store in SQLite.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use luthien::{
    dialect::Transcript,
    journal::activity::{Event, What},
    record::{
        Closing, Head, Prices, Recorder, Room, Said, Sent, Work, lanes,
        spool::{Reader, Spool},
        work,
    },
    redact::Redactor,
    store::{Place, Store},
    telemetry::metrics::Metrics,
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::watch};

/// Calls that are recorded in one go.
const CALLS: usize = 512;
/// What is said: the same in every call, or something new in each.
const SAID: [&str; 2] = ["same", "new"];

struct Recorded {
    folder: TempDir,
    store: Store,
    reader: Reader,
    work: Option<Work>,
}

impl Recorded {
    /// Drafts of many calls, which nobody has taken yet.
    fn drafted(runtime: &Runtime, said: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (spool, reader) = Spool::open(&folder.path().join("spool")).expect("a spool");
        let store = runtime.block_on(async {
            let store = Store::open(&Place::Sqlite(folder.path().join("luthien.db"))).expect("a store");
            store.migrate().await.expect("its tables");
            store
        });
        let (lanes, jobs) = lanes(4 * CALLS);
        let metrics = Arc::new(Metrics::default());
        let room = Room { spool: spool.shared(), most: u64::MAX, required: false };
        let recorder = Recorder::new(lanes.clone(), room, "host", Arc::clone(&metrics));
        for number in 0..CALLS {
            record(&recorder, number, said == "new");
        }
        runtime.block_on(lanes.last());
        let redactor = Arc::new(Redactor::new([]).expect("it is built in"));
        let prices = Prices::default();
        let work = Work { jobs, spool, redactor, prices, sync: false, metrics };
        Self { folder, store, reader, work: Some(work) }
    }

    fn into_spool(mut self) -> Self {
        self.work.take().map_or_else(|| unreachable!("once only"), work);
        self
    }

    async fn into_store(self) -> (Store, TempDir) {
        let Self { folder, store, reader, .. } = self;
        let (_tell, last) = watch::channel(true);
        store.tail(reader, &Metrics::default(), last).await;
        (store, folder)
    }
}

/// A call as the bench of the gateway makes it.
fn record(recorder: &Recorder, number: usize, is_new: bool) {
    let id: Arc<str> = format!("0199f0a3-2b5c-7d10-8f3e-{number:012}").into();
    let own = if is_new { format!("Number {number} ") } else { String::new() };
    let text = format!("{own}There was a gateway between an agent and its model, and nothing went by unseen. ");
    let request = format!(
        r#"{{"model":"m-1","max_tokens":1024,"stream":false,"messages":[{{"role":"user","content":[{{"type":"text","text":"{text}{text}{text}{text}"}}]}}]}}"#
    );
    let answer = format!(
        r#"{{"id":"msg_01","type":"message","role":"assistant","model":"m-1","content":[{{"type":"text","text":"{text}{text}"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":412,"output_tokens":31}}}}"#
    );
    let event = |what: What| Event {
        time: SystemTime::now(),
        replica: None,
        call_id: Some(id.to_string()),
        model: Some("m-1".to_owned()),
        what,
    };
    let upstream = || "provider".to_owned();
    let dialect = "anthropic_messages";
    let mut recording = recorder.begin(&id).expect("there is room");
    recording.hide("sk-ant-bench");
    recording.event(event(What::CallOpened { dialect: Some(dialect), path: "/v1/messages".to_owned(), client: None }));
    let bytes = request.len();
    recording.event(event(What::RequestReceived { session_id: None, stream: false, bytes }));
    recording.event(event(What::PolicyStarted { policy: "measured".to_owned(), shadow: false }));
    recording.begin(Head {
        at: 1_790_000_000_000_000 + i64::try_from(number).expect("few"),
        dialect: Some(dialect.to_owned()),
        path: "/v1/messages".to_owned(),
        model: "m-1".to_owned(),
        rules: "0123456789ab".to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        ..Head::default()
    });
    recording.request(Bytes::from(request.clone()));
    recording.event(event(What::RequestSent { upstream: upstream(), dialect, changed: false, bytes }));
    let sent = Sent { upstream: upstream(), dialect: dialect.to_owned(), model: "m-1".to_owned(), ..Sent::default() };
    recording.sent(sent, Bytes::from(request));
    recording.event(event(What::ResponseStarted { status: 200 }));
    recording.event(event(What::ResponseSent { status: 200, changed: false }));
    let mut original = Transcript::body(1 << 20, false);
    original.push(&Bytes::from(answer));
    let closing = Closing {
        at: 1_790_000_000_000_000,
        outcome: "completed".to_owned(),
        status: 200,
        duration: Duration::from_millis(2).as_micros().try_into().expect("short"),
        first_byte: Some(900),
        upstream: upstream(),
        model: "m-1".to_owned(),
        input: Some(412),
        output: Some(31),
        ..Closing::default()
    };
    drop(recording.close(closing, Some(Said { original: Some(original), delivered: None }), None));
}

/// Drafts, put into words and appended to the spool.
#[divan::bench(args = SAID, sample_count = 10, sample_size = 1)]
fn into_spool(bencher: Bencher<'_, '_>, said: &str) {
    let runtime = Runtime::new().expect("a runtime");
    bencher
        .counter(ItemsCount::new(CALLS))
        .with_inputs(|| Recorded::drafted(&runtime, said))
        .bench_local_values(Recorded::into_spool);
}

/// The spool, written to the store.
#[divan::bench(args = SAID, sample_count = 10, sample_size = 1)]
fn into_store(bencher: Bencher<'_, '_>, said: &str) {
    let runtime = Runtime::new().expect("a runtime");
    bencher
        .counter(ItemsCount::new(CALLS))
        .with_inputs(|| Recorded::drafted(&runtime, said).into_spool())
        .bench_local_values(|recorded| runtime.block_on(recorded.into_store()));
}
