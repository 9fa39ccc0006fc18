//! A policy behind gRPC: one stream for each call.
//!
//! Nothing is spawned for it. Hooks that wait for their answers take turns at reading the stream; whoever reads keeps the
//! answers of the others for them.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tokio::sync::{Mutex as Turn, Notify, OnceCell, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status, Streaming,
    metadata::MetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{
    policies::{
        breaker::{Breaker, Circuit},
        site::ReadSecret,
    },
    telemetry::trace::Parent,
};

use super::{
    Unanswered,
    v1::{Decision, Hook, policy_service_client::PolicyServiceClient},
};

/// Hooks that may wait to be sent. A remote that takes fewer does not keep up.
const MOST_WAITING: usize = 4096;
/// Answers that nobody has asked for yet.
const MOST_KEPT: usize = 1024;
/// The largest message, in bytes: a request may be long.
const LARGEST: usize = 64 << 20;

/// Where a policy is, and how it is spoken to.
pub struct GrpcTarget {
    /// What it is called in errors.
    pub name: String,
    /// `http://` or `https://`, host and port.
    pub url: String,
    /// The token that it is shown.
    pub token: Option<ReadSecret>,
    /// A PEM file of certificate authorities to trust in place of the system's.
    pub ca: Option<PathBuf>,
    /// PEM files of our own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Time to connect.
    pub connect: Duration,
    /// Where replicas tell each other that it is not to be asked.
    pub circuit: Option<Circuit>,
}

/// A policy behind gRPC.
pub struct Grpc {
    target: GrpcTarget,
    channel: OnceCell<Channel>,
    breaker: Breaker,
}

/// One call's stream.
pub(super) struct Session {
    remote: Arc<Grpc>,
    out: mpsc::Sender<Hook>,
    hooks: Mutex<Option<mpsc::Receiver<Hook>>>,
    decisions: OnceCell<Turn<Streaming<Decision>>>,
    kept: Mutex<HashMap<u32, Decision>>,
    arrived: Notify,
    over: OnceLock<Unanswered>,
}

impl Grpc {
    /// A policy at `target`. It is connected to when it is first asked.
    pub fn new(target: GrpcTarget) -> Self {
        let breaker = Breaker::new(&target.name, target.circuit.clone());
        Self { target, channel: OnceCell::new(), breaker }
    }

    /// Whether nobody is asked for a while, because too many questions failed.
    pub(in crate::policies) fn rests(&self) -> bool {
        self.breaker.rests()
    }

    async fn client(&self) -> Result<PolicyServiceClient<Channel>, Unanswered> {
        let channel = self.channel.get_or_try_init(|| async { self.endpoint().map(|at| at.connect_lazy()) }).await?;
        Ok(PolicyServiceClient::new(channel.clone())
            .max_decoding_message_size(LARGEST)
            .max_encoding_message_size(LARGEST))
    }

    fn endpoint(&self) -> Result<Endpoint, Unanswered> {
        let GrpcTarget { name, url, ca, identity, connect, .. } = &self.target;
        let unusable = |why: String| Unanswered::Unusable { name: name.clone(), why };
        let mut endpoint = Endpoint::from_shared(url.clone())
            .map_err(|error| unusable(error.to_string()))?
            .connect_timeout(*connect)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .tcp_nodelay(true);
        if url.starts_with("https://") {
            crate::policies::http::choose_cryptography();
            let read =
                |path: &PathBuf| std::fs::read(path).map_err(|error| unusable(format!("{}: {error}", path.display())));
            let mut tls = match ca {
                Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?)),
                None => ClientTlsConfig::new().with_native_roots(),
            };
            if let Some((cert, key)) = identity {
                tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| unusable(error.to_string()))?;
        }
        Ok(endpoint)
    }
}

impl Session {
    pub(super) fn new(remote: Arc<Grpc>) -> Self {
        let (out, hooks) = mpsc::channel(MOST_WAITING);
        Self {
            remote,
            out,
            hooks: Mutex::new(Some(hooks)),
            decisions: OnceCell::new(),
            kept: Mutex::default(),
            arrived: Notify::new(),
            over: OnceLock::new(),
        }
    }

    fn name(&self) -> String {
        self.remote.target.name.clone()
    }

    /// Tells something that is not answered.
    pub(super) fn tell(&self, hook: Hook) -> Result<(), Unanswered> {
        self.out.try_send(hook).map_err(|_| match self.over.get() {
            Some(over) => over.clone(),
            None => Unanswered::Behind(self.name()),
        })
    }

    /// Asks, and waits for the answer for as long as `limit`.
    pub(super) async fn ask(&self, hook: Hook, limit: Duration) -> Result<Decision, Unanswered> {
        let asked = async {
            let answered = tokio::time::timeout(limit, self.asked(hook)).await;
            answered.unwrap_or_else(|_| Err(Unanswered::TooSlow { name: self.name(), limit }))
        };
        self.remote.breaker.ask(asked).await
    }

    async fn asked(&self, hook: Hook) -> Result<Decision, Unanswered> {
        let sequence = hook.sequence;
        self.tell(hook)?;
        let decisions = self.decisions.get_or_try_init(|| self.open()).await?;
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(decision) = self.take(sequence) {
                return Ok(decision);
            }
            if let Some(over) = self.over.get() {
                return Err(over.clone());
            }
            tokio::select! {
                mut decisions = decisions.lock() => {
                    // It may have come while we waited for our turn.
                    if let Some(decision) = self.take(sequence) {
                        return Ok(decision);
                    }
                    self.read(&mut decisions).await?;
                }
                () = arrived => {}
            }
        }
    }

    /// Reads one answer, whoever it is for.
    async fn read(&self, decisions: &mut Streaming<Decision>) -> Result<(), Unanswered> {
        let failed = match decisions.message().await {
            Ok(Some(decision)) => {
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.insert(decision.sequence, decision);
                if kept.len() <= MOST_KEPT {
                    drop(kept);
                    self.arrived.notify_waiters();
                    return Ok(());
                }
                Unanswered::Unusable { name: self.name(), why: "it answers what nobody asked".to_owned() }
            }
            Ok(None) => Unanswered::Gone { name: self.name(), why: "it ended the stream".to_owned() },
            Err(status) => self.failed(&status),
        };
        let failed = self.over.get_or_init(|| failed).clone();
        self.arrived.notify_waiters();
        Err(failed)
    }

    /// The words of the other side stay out of the log. Only what says that it is not there says so for other calls as well.
    fn failed(&self, status: &Status) -> Unanswered {
        let (name, why) = (self.name(), format!("{:?}", status.code()));
        let is_gone = matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted | Code::Unknown
        );
        if is_gone { Unanswered::Gone { name, why } } else { Unanswered::Unusable { name, why } }
    }

    fn take(&self, sequence: u32) -> Option<Decision> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&sequence)
    }

    async fn open(&self) -> Result<Turn<Streaming<Decision>>, Unanswered> {
        let gone = |why: String| Unanswered::Gone { name: self.name(), why };
        let hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let hooks = hooks.ok_or_else(|| gone("the stream was given up".to_owned()))?;
        let mut request = Request::new(ReceiverStream::new(hooks));
        for (name, value) in Parent::current().headers() {
            if let Ok(value) = MetadataValue::try_from(value) {
                request.metadata_mut().insert(name, value);
            }
        }
        if let Some(read) = &self.remote.target.token {
            let no_key = |why: String| Unanswered::NoKey { name: self.name(), why };
            let token = format!("Bearer {}", read().map_err(no_key)?);
            let mut token = MetadataValue::try_from(token)
                .map_err(|_| no_key("it has characters that no header may have".to_owned()))?;
            token.set_sensitive(true);
            request.metadata_mut().insert("authorization", token);
        }
        let answered = self.remote.client().await?.run(request).await;
        let decisions = answered.map_err(|status| self.failed(&status))?;
        Ok(Turn::new(decisions.into_inner()))
    }
}
