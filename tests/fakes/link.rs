//! A way to a stand-in that can fail as a process and a network can: it is gone, stands still, refuses, resets, is slow, or
//! talks garbage. What it does not do is to hurt the stand-in's memory: whoever is killed and started again keeps its scripts.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time,
};

/// What no protocol here begins with or goes on with.
const GARBAGE: &[u8] = b"\x00\xffthis is no answer\r\n}{\x01";
/// A slow link sends so many bytes, and then rests.
const DROP: usize = 64;
const REST: Duration = Duration::from_millis(2);

/// The way to one stand-in. Dropping it closes it.
pub(crate) struct Link {
    address: SocketAddr,
    target: SocketAddr,
    state: watch::Sender<State>,
    /// Nothing while it is killed.
    tasks: Mutex<Option<JoinSet<()>>>,
}

/// How the way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// Connections are taken and stay open, and nothing moves.
    Still,
    /// New connections are reset.
    Refusing,
    Slow,
    /// Garbage comes in place of answers, and the connection closes.
    Garbage,
}

#[derive(Debug, Clone, Copy)]
struct State {
    weather: Weather,
    /// How often all connections were reset.
    resets: u64,
}

/// Why a connection is over.
enum Over {
    Closed,
    Reset,
}

impl Link {
    /// A way to whoever listens there.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        // An address of the process's own, so that nobody takes the port while nobody listens there.
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let own = Ipv4Addr::new(127, 101 + a % 100, b, c.clamp(1, 254));
        let listener = TcpListener::bind((own, 0)).await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = watch::Sender::new(State { weather: Weather::Fair, resets: 0 });
        let link = Self { address, target, state, tasks: Mutex::default() };
        link.serve(listener);
        link
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.state.send_modify(|state| state.weather = weather);
    }

    /// Resets every connection there is.
    pub(crate) fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }

    /// As when the process is killed: every connection closes, and nobody listens.
    pub(crate) async fn kill(&self) {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
    }

    /// As when it was started again.
    pub(crate) async fn revive(&self) {
        self.serve(TcpListener::bind(self.address).await.expect("nobody else uses this address"));
    }

    fn serve(&self, listener: TcpListener) {
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, self.target, self.state.clone()));
        *self.tasks.lock().unwrap_or_else(PoisonError::into_inner) = Some(tasks);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, state: watch::Sender<State>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        if state.borrow().weather == Weather::Refusing {
            let _ = client.set_zero_linger();
            continue;
        }
        connections.spawn(relay(client, target, state.subscribe()));
    }
}

async fn relay(client: TcpStream, target: SocketAddr, state: watch::Receiver<State>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut talk = state.clone();
    let over = tokio::select! {
        over = copy(&mut from_client, to_server, state.clone()) => over,
        over = answer(from_server, &mut to_client, &mut talk) => over,
        () = reset(state) => Over::Reset,
    };
    if let (Over::Reset, Ok(client)) = (over, from_client.reunite(to_client)) {
        let _ = client.set_zero_linger();
    }
}

/// Returns when every connection is to be reset.
async fn reset(mut state: watch::Receiver<State>) {
    let before = state.borrow().resets;
    let _ = state.wait_for(|state| state.resets != before).await;
}

/// From the client to the server.
async fn copy(from: &mut OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) -> Over {
    let mut buffer = vec![0; 16 << 10];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return Over::Closed,
            Ok(read) if pass(&mut to, &buffer[..read], &mut state).await.is_err() => return Over::Closed,
            Ok(_) => {}
        }
    }
}

/// From the server to the client, or garbage in its place.
async fn answer(mut from: OwnedReadHalf, to: &mut OwnedWriteHalf, state: &mut watch::Receiver<State>) -> Over {
    let mut garbage = state.clone();
    let mut buffer = vec![0; 16 << 10];
    let honest = async {
        loop {
            match from.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(read) if pass(to, &buffer[..read], state).await.is_err() => return,
                Ok(_) => {}
            }
        }
    };
    let is_garbage = tokio::select! {
        () = honest => false,
        _ = garbage.wait_for(|state| state.weather == Weather::Garbage) => true,
    };
    if is_garbage {
        let _ = to.write_all(GARBAGE).await;
    }
    Over::Closed
}

/// Sends bytes as the weather lets them.
async fn pass(to: &mut OwnedWriteHalf, bytes: &[u8], state: &mut watch::Receiver<State>) -> io::Result<()> {
    let moving = async |state: &mut watch::Receiver<State>| {
        state
            .wait_for(|state| state.weather != Weather::Still)
            .await
            .map(|state| state.weather)
            .map_err(io::Error::other)
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let is_slow = moving(state).await? == Weather::Slow;
        let (drop, later) = rest.split_at(if is_slow { DROP.min(rest.len()) } else { rest.len() });
        to.write_all(drop).await?;
        if is_slow {
            time::sleep(REST).await;
        }
        rest = later;
    }
    Ok(())
}
