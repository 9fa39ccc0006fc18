//! The end of a pod, step by step as Kubernetes does it: no call is cut off while there is time, and when there is none left,
//! each ends with its dialect's error.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::{net::TcpStream, task::JoinSet, time};

use crate::{
    common::streams::Dialect,
    fakes::{
        provider::Provider,
        script::{Gate, Script},
    },
    harness::{
        SOON,
        balancer::Balancer,
        client::{self, End, Request, Version},
        errors,
        pod::{Containers, Pod},
        samples, within,
    },
};

/// Time enough for every call, and no more notice than the test itself takes care of.
const PATIENT: &[&str] = &["--wait", "2m", "--notice", "0s"];
/// Calls at the same time, of each kind.
const EACH: usize = 3;

/// Clients that call all the time. Dropping it ends them.
struct Load {
    /// How many calls each has made.
    done: Vec<Arc<AtomicUsize>>,
    tasks: JoinSet<Infallible>,
}

impl Load {
    /// Streams at a pace, each over a connection of its own, and short calls that keep their connections.
    fn start(provider: &Provider, at: SocketAddr) -> Self {
        let (mut done, mut tasks) = (Vec::new(), JoinSet::new());
        let mut counter = || {
            let counter = Arc::<AtomicUsize>::default();
            done.push(Arc::clone(&counter));
            counter
        };
        for (number, dialect) in Dialect::ALL.into_iter().enumerate() {
            let pieces: Vec<String> = (0..20).map(|piece| format!("piece {piece} ")).collect();
            let whole = samples::text(dialect, &pieces.iter().map(String::as_str).collect::<Vec<_>>());
            let paced = whole
                .split_inclusive("\n\n")
                .fold(Script::stream(), |script, event| script.then(event.to_owned()).pause(Duration::from_millis(20)));
            let model = format!("paced-{}", dialect.path());
            provider.on_model(&model, paced);
            for _ in 0..EACH {
                let version = Version::BOTH[number % 2];
                tasks.spawn(streams(version, at, Request::call(dialect, &model, true), whole.clone(), counter()));
            }
            let short = samples::whole(dialect, "Hello", &[]);
            let model = format!("short-{}", dialect.path());
            provider.on_model(&model, Script::json(short.clone()));
            let body = client::call_body(dialect, &model, false).to_string();
            for _ in 0..EACH {
                tasks.spawn(short_calls(
                    format!("http://{at}{}", dialect.path()),
                    body.clone(),
                    short.clone(),
                    counter(),
                ));
            }
        }
        Self { done, tasks }
    }

    /// Waits until every client has made so many more calls from their beginning to their end. A call that failed, failed
    /// the test.
    async fn each_makes(&mut self, calls: usize) {
        let goals: Vec<usize> = self.done.iter().map(|done| done.load(Ordering::SeqCst) + calls + 1).collect();
        let made = async {
            while self.done.iter().zip(&goals).any(|(done, goal)| done.load(Ordering::SeqCst) < *goal) {
                time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = within(Duration::from_mins(2), "more calls", made) => {}
            Some(failed) = self.tasks.join_next() => panic!("a client ended: {:?}", failed.map(drop)),
        }
    }
}

async fn streams(
    version: Version,
    at: SocketAddr,
    request: Request,
    whole: String,
    done: Arc<AtomicUsize>,
) -> Infallible {
    loop {
        let answer = client::send(version, at, request.clone()).await.finish().await;
        assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{}", answer.text());
        assert_eq!(answer.text(), whole);
        done.fetch_add(1, Ordering::SeqCst);
    }
}

async fn short_calls(url: String, body: String, whole: String, done: Arc<AtomicUsize>) -> Infallible {
    luthien::policies::http::choose_cryptography();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    loop {
        let request = client.post(&url).header("content-type", "application/json").body(body.clone());
        let answer = request.send().await.unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.unwrap_or_else(|error| panic!("{error:?}")), whole);
        done.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_rolling_restart_under_load_fails_no_call_and_cuts_no_stream() {
    let provider = Provider::start().await;
    let balancer = Balancer::start().await;
    let mut pods = vec![Pod::start(&provider, "").await, Pod::start(&provider, "").await];
    for pod in &pods {
        balancer.add(pod.listen());
    }
    let mut load = Load::start(&provider, balancer.address());
    load.each_makes(1).await;
    for containers in [Containers::Sidecar, Containers::Both] {
        let new = Pod::start(&provider, "").await;
        balancer.add(new.listen());
        pods.push(new);
        let old = pods.remove(0);
        let (address, gate) = (old.listen(), Gate::new());
        // A stream that lasts until everybody else has gone.
        let (mut text, open) = samples::Text::open(Dialect::OpenaiChat, &["Hello"]);
        let rest = text.delta(" again") + &text.close();
        let whole = format!("{open}{rest}");
        provider.on_model("held", Script::sse(open).wait(&gate).then(rest));
        let held = Request::call(Dialect::OpenaiChat, "held", true);
        let mut held = client::send(Version::Http2, address, held).await;
        let read = held.until("Hello").await;
        let meanwhile = async {
            balancer.has_left(address).await;
            // Whoever was on the way there has arrived, and been served.
            load.each_makes(1).await;
            gate.open();
            let answer = held.finish_after(read).await;
            assert_eq!((answer.text(), answer.end), (whole, End::Clean));
        };
        let (said, ()) = tokio::join!(old.end(containers, PATIENT), meanwhile);
        assert!(said.contains("no call is in flight"), "{said}");
        load.each_makes(1).await;
    }
    assert_eq!(balancer.lost(), 0);
}

#[tokio::test]
async fn a_stream_that_outlasts_the_time_ends_with_its_dialects_error() {
    let provider = Provider::start().await;
    for (dialect, containers) in
        Dialect::ALL.into_iter().zip([Containers::Sidecar, Containers::Both, Containers::Sidecar])
    {
        let pod = Pod::start(&provider, "").await;
        let mut streams = Vec::new();
        for version in Version::BOTH {
            provider.expect(Script::sse(samples::open_text(dialect, &["Hello"])).hang());
            let mut stream = client::send(version, pod.listen(), Request::stream(dialect)).await;
            let read = stream.until("Hello").await;
            streams.push((stream, read));
        }
        let ended = async {
            for (stream, read) in streams {
                let answer = stream.finish_after(read).await;
                assert!(errors::at_end(dialect, &answer).message.contains("shutting down"), "{}", answer.text());
            }
        };
        let begun = Instant::now();
        let (said, ()) = tokio::join!(pod.end(containers, &["--wait", "1s", "--notice", "0s"]), ended);
        assert!(begun.elapsed() >= Duration::from_secs(1), "it did not wait");
        assert!(said.contains("2 calls are in flight after 1s") && said.contains("no call is in flight"), "{said}");
    }
}

#[tokio::test]
async fn connections_are_told_that_they_end() {
    let provider = Provider::start().await;
    let mut pod = Pod::start(&provider, "").await;
    provider.otherwise(Script::json(samples::whole(Dialect::OpenaiChat, "Hello", &[])));
    let call = || Request::whole(Dialect::OpenaiChat);
    let answer = client::send(Version::Http1, pod.listen(), call()).await.finish().await;
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    let mut connection = Http2::connect(pod.listen()).await;
    connection.call(&call()).await;

    let drained = pod.drain(&["--wait", "0s"]).await;
    assert!(drained.status.success(), "{drained:?}");
    let health = client::send(Version::Http1, pod.listen(), Request::new("GET", "/readyz")).await.finish().await;
    assert_eq!(health.status, 503);
    // Who still comes is served, and told to go.
    let answer = client::send(Version::Http1, pod.listen(), call()).await.finish().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    connection.call(&call()).await;
    let ended = within(SOON, "GOAWAY", connection.ended.join_next()).await.expect("it is watched");
    ended.expect("nothing panics").expect("it ends well");
    pod.stop().await;
    let gone = pod.drain(&[]).await;
    assert!(gone.status.success(), "{gone:?}");
    assert!(String::from_utf8_lossy(&gone.stdout).contains("Envoy has ended"), "{gone:?}");
}

/// A connection over which several calls are made.
struct Http2 {
    at: SocketAddr,
    sender: SendRequest<Bytes>,
    /// Whether the other side has ended it.
    ended: JoinSet<Result<(), h2::Error>>,
}

impl Http2 {
    async fn connect(at: SocketAddr) -> Self {
        let socket = TcpStream::connect(at).await.unwrap();
        let (sender, connection) = h2::client::handshake(socket).await.unwrap();
        let mut ended = JoinSet::new();
        ended.spawn(connection);
        Self { at, sender, ended }
    }

    /// Makes a call, which has to succeed.
    async fn call(&mut self, request: &Request) {
        let mut head = http::Request::post(format!("http://{}{}", self.at, request.path));
        for (name, value) in &request.headers {
            head = head.header(name, value);
        }
        let mut sender = self.sender.clone().ready().await.unwrap();
        let (answer, mut upload) = sender.send_request(head.body(()).unwrap(), false).unwrap();
        upload.send_data(request.body.clone(), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body();
        while let Some(piece) = body.data().await {
            body.flow_control().release_capacity(piece.unwrap().len()).unwrap();
        }
    }
}
