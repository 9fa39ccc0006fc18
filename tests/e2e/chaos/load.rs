//! The clients: those whose calls are struck, and those that call all the time beside them.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    sync::{RwLock, watch},
    task::JoinSet,
    time,
};

use super::{
    call::Call,
    ledger::{Account, Answers, Due, Ended, Seen},
};
use crate::{
    common::streams::Dialect,
    fakes::provider::Provider,
    harness::client::{self, Request, Version},
};

/// Every call has to end within this, whatever happens: longer than any limit of Luthien's, and shorter than the harness's.
const LIMIT: Duration = Duration::from_secs(28);
/// Clients that call all the time.
const CLIENTS: usize = 2;
/// What they do between two calls, so that those who are refused at once do not fill the ledger.
const REST: Duration = Duration::from_millis(100);

/// What all clients share. Clones are the same.
#[derive(Clone)]
pub(super) struct Load {
    listen: SocketAddr,
    provider: Arc<Provider>,
    judge: Arc<Provider>,
    number: Arc<AtomicUsize>,
    ledger: Arc<Mutex<Vec<Client>>>,
    /// Calls beside the struck ones are made while somebody may read it.
    pub(super) traffic: Arc<RwLock<()>>,
}

/// A call and what its client has seen so far.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) call: Call,
    progress: watch::Receiver<Progress>,
    due: Due,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    status: Option<u16>,
    call_id: Option<String>,
    body: BytesMut,
    end: Option<Ended>,
}

impl Load {
    pub(super) fn new(listen: SocketAddr, provider: &Arc<Provider>, judge: &Arc<Provider>) -> Self {
        Self {
            listen,
            provider: Arc::clone(provider),
            judge: Arc::clone(judge),
            number: Arc::default(),
            ledger: Arc::default(),
            traffic: Arc::default(),
        }
    }

    /// A call of this kind that nobody has made yet.
    pub(super) fn call(&self, dialect: Dialect, stream: bool) -> Call {
        Call::new(self.number.fetch_add(1, Ordering::Relaxed), dialect, stream)
    }

    /// Makes the call, as one of these tasks.
    pub(super) fn make(&self, call: Call, tasks: &mut JoinSet<()>) -> Client {
        call.expect(&self.provider, &self.judge);
        let (sender, progress) = watch::channel(Progress::default());
        tasks.spawn(talk(call.version, self.listen, call.request(), sender));
        let client = Client { call, progress, due: Due::Anything };
        self.ledger().push(client.clone());
        client
    }

    /// Clients that make call after call, each of another kind, until they are aborted between two calls.
    pub(super) fn others(&self) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let load = self.clone();
            clients.spawn(async move {
                for number in client.. {
                    {
                        let _turn = load.traffic.read().await;
                        let mut task = JoinSet::new();
                        let call = load.call(Dialect::ALL[number % 3], number % 2 == 0);
                        load.make(call, &mut task).ended().await;
                    }
                    time::sleep(REST).await;
                }
            });
        }
        clients
    }

    /// What has to become of these calls.
    pub(super) fn due(&self, calls: &[Client], due: Due) {
        let mut ledger = self.ledger();
        let of_these = |client: &&mut Client| calls.iter().any(|call| call.call.id == client.call.id);
        for client in ledger.iter_mut().filter(of_these) {
            client.due = due;
        }
    }

    /// Every call, as all who took part saw it.
    pub(super) fn accounts(&self) -> Vec<Account> {
        let mut asked = std::collections::HashMap::new();
        for request in self.provider.requests() {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
            *asked.entry(body["model"].as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
        }
        self.ledger().iter().map(|client| client.account(asked.get(&client.call.id).copied().unwrap_or(0))).collect()
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Returns once the call is over.
    pub(super) async fn ended(&self) {
        let _ = self.progress.clone().wait_for(|progress| progress.end.is_some()).await;
    }

    /// Returns once the client has seen the beginning of the answer's text.
    pub(super) async fn begun(&self) {
        let word = self.call.beginning();
        let has = |progress: &Progress| memchr::memmem::find(&progress.body, word.as_bytes()).is_some();
        let _ = self.progress.clone().wait_for(has).await;
    }

    pub(super) fn account(&self, asked: usize) -> Account {
        let Progress { status, call_id, body, end } = self.progress.borrow().clone();
        let Call { id, dialect, stream, answered, .. } = self.call.clone();
        Account {
            id,
            dialect,
            stream,
            seen: Seen { status, call_id, body: body.freeze(), end: end.unwrap_or(Ended::Hung) },
            asked,
            answers: Answers {
                provider: answered.provider.is_open(),
                judge: answered.judge.is_open(),
                remote: answered.remote.is_open(),
            },
            due: self.due,
        }
    }
}

async fn talk(version: Version, listen: SocketAddr, request: Request, progress: watch::Sender<Progress>) {
    let call = async {
        let mut response = match client::try_send(version, listen, request).await {
            Ok(response) => response,
            Err(error) => return Ended::Unanswered(error),
        };
        progress.send_modify(|progress| {
            progress.status = Some(response.status);
            let id = response.headers.iter().find(|(name, _)| name == "x-luthien-call-id");
            progress.call_id = id.map(|(_, value)| value.clone());
        });
        loop {
            match response.piece().await {
                Ok(piece) => progress.send_modify(|progress| progress.body.extend_from_slice(&piece)),
                Err(client::End::Clean) => return Ended::Clean,
                Err(end) => return Ended::Broken(format!("{end:?}")),
            }
        }
    };
    let end = time::timeout(LIMIT, call).await.unwrap_or(Ended::Hung);
    progress.send_modify(|progress| progress.end = Some(end));
}
