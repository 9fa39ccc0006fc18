//! What stands before pods: a service that sends connections to those that are ready, and notices late when one is not.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::{
    SOON,
    client::{Request, Version, try_send},
    within,
};

/// So many checks have to fail before a pod gets no more connections. A check is made with each connection that is meant
/// for it, and until then they go there: so some always come to a pod that is about to end, however fast the machine is.
const CHECKS: u32 = 3;

/// Spreads connections over pods.
pub(crate) struct Balancer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    pods: Mutex<Pods>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Pods {
    ready: Vec<Pod>,
    next: usize,
    /// Connections for which there was no pod.
    lost: u32,
}

#[derive(Clone, Copy)]
struct Pod {
    address: SocketAddr,
    failed: u32,
}

impl Balancer {
    /// In front of nobody yet.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::<Shared>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, _tasks: tasks }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this pod gets connections as well.
    pub(crate) fn add(&self, address: SocketAddr) {
        self.shared.pods().ready.push(Pod { address, failed: 0 });
    }

    /// Waits until this pod gets no more connections.
    pub(crate) async fn has_left(&self, address: SocketAddr) {
        let mut changed = self.shared.changed.subscribe();
        let left = changed.wait_for(|()| self.shared.pods().ready.iter().all(|pod| pod.address != address));
        within(SOON, "the end of connections to a pod", left).await.expect("the balancer runs");
    }

    /// How many connections had nowhere to go.
    pub(crate) fn lost(&self) -> u32 {
        self.shared.pods().lost
    }
}

impl Shared {
    fn pods(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().expect("no holder of the pods panics")
    }

    fn choose(&self) -> Option<SocketAddr> {
        let mut pods = self.pods();
        pods.next += 1;
        let at = pods.next.checked_rem(pods.ready.len())?;
        pods.ready.get(at).map(|pod| pod.address)
    }

    /// A check of this pod failed.
    fn failed(&self, address: SocketAddr) {
        let mut pods = self.pods();
        pods.ready.iter_mut().filter(|pod| pod.address == address).for_each(|pod| pod.failed += 1);
        pods.ready.retain(|pod| pod.failed < CHECKS);
        drop(pods);
        self.changed.send_replace(());
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("the listener accepts");
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let Some(pod) = shared.choose() else {
                shared.pods().lost += 1;
                return;
            };
            let checked = try_send(Version::Http1, pod, Request::new("GET", "/readyz")).await;
            if !checked.is_ok_and(|answer| answer.status == 200) {
                shared.failed(pod);
            }
            join(client, pod, &shared).await;
        });
    }
}

async fn join(mut client: TcpStream, pod: SocketAddr, shared: &Shared) {
    let Ok(mut server) = TcpStream::connect(pod).await else {
        shared.pods().lost += 1;
        return;
    };
    // Whoever leaves first: the other side sees it.
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
