//! What all calls share.

use std::{
    future::pending,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::BoxFuture;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::Instant,
};

use crate::{
    config::{
        environment::Environment,
        live::Live,
        routes::Routes,
        secret::SecretError,
        settings::{Settings, Timeouts, Unreadable, UpstreamTimeouts},
        target::Target,
    },
    journal::Journal,
    lifecycle::{Ending, Endings},
    model::Dialect,
    pipeline::ResponseLimits,
    policy::Rules,
    record::Recorder,
    telemetry::trace::Tracing,
};

use super::{
    bodies::Pass,
    credentials::{ClientKeys, Credential},
    late::Late,
    routing::Unpoliced,
};

/// What all calls share.
pub struct Gateway {
    pub(super) rules: Arc<Live<Rules>>,
    pub(super) journal: Arc<Journal>,
    pub(super) tracing: Arc<Tracing>,
    pub(super) routes: Routes,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) clients: ClientKeys,
    pub(super) unpoliced: Unpoliced,
    pub(super) settings: Settings,
    pub(super) draining: watch::Receiver<Endings>,
    /// For policies in shadow mode that still decide when their call is over.
    pub(super) late: mpsc::Sender<Late>,
    /// Records calls. `None`: nobody does.
    pub(super) recorder: Option<Recorder>,
    calls: Arc<Semaphore>,
    held: AtomicUsize,
}

/// A provider, ready to be sent calls.
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) prefix: String,
    /// Host and port. `None`: it is built in.
    pub(super) server: Option<(String, u16)>,
    /// Whether its paths begin with `/v1` behind the prefix.
    pub(super) v1: bool,
    pub(super) credential: Credential,
    pub(super) timeouts: Timeouts,
}

/// What calls tell, and what they are told.
pub struct Links {
    /// Where facts are noted.
    pub journal: Arc<Journal>,
    /// Traces calls.
    pub tracing: Arc<Tracing>,
    /// Records calls. `None`: nobody does.
    pub recorder: Option<Recorder>,
    /// Says by when calls have to end, once the process is asked to stop.
    pub draining: watch::Receiver<Endings>,
    /// For policies in shadow mode that still decide when their call is over.
    pub late: mpsc::Sender<Late>,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A secret cannot be read.
    #[error("{0}")]
    Secret(#[from] SecretError),
    /// A pattern cannot be compiled.
    #[error("unpoliced.pass: {0}")]
    Unpoliced(#[from] globset::Error),
}

impl Gateway {
    /// The gateway that these settings describe.
    pub fn new(
        settings: Settings,
        base: &Path,
        environment: &Environment,
        rules: Arc<Live<Rules>>,
        links: Links,
    ) -> Result<Self, SetupError> {
        let Links { journal, tracing, recorder, draining, late } = links;
        let upstreams = settings
            .upstreams
            .iter()
            .map(|upstream| {
                let (prefix, server) = match upstream.url.parse() {
                    Ok(Target::Http(target)) => (target.prefix, Some((target.host, target.port))),
                    Ok(Target::Demo) | Err(_) => (String::new(), None),
                };
                Ok(Upstream {
                    name: upstream.name.clone(),
                    prefix,
                    server,
                    v1: upstream.v1,
                    credential: Credential::new(&upstream.credentials, base, environment)?,
                    timeouts: timeouts(&settings.timeouts, &upstream.timeouts),
                })
            })
            .collect::<Result<_, SetupError>>()?;
        Ok(Self {
            rules,
            journal,
            tracing,
            routes: Routes::new(&settings.upstreams),
            upstreams,
            clients: ClientKeys::new(&settings.clients, base, environment)?,
            unpoliced: Unpoliced::new(&settings.unpoliced)?,
            late,
            recorder,
            calls: Arc::new(Semaphore::new(settings.limits.calls as usize)),
            held: AtomicUsize::new(0),
            settings,
            draining,
        })
    }

    /// By when a call has to end that began then: once that is told, and if it is sooner than is `known`.
    pub(super) fn drained(&self, began: Instant, known: Option<Instant>) -> BoxFuture<'static, Ending> {
        let mut draining = self.draining.clone();
        Box::pin(async move {
            let sooner = |ending: &Ending| known.is_none_or(|known| ending.at() < known);
            let told = draining.wait_for(|endings| endings.of(began).as_ref().is_some_and(sooner)).await;
            let ending = told.ok().and_then(|endings| endings.of(began));
            match ending {
                Some(ending) => ending,
                // Nobody can tell it any more.
                None => pending().await,
            }
        })
    }

    /// Room for one more call.
    pub(super) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.calls).try_acquire_owned().ok()
    }

    /// Waits until no call is in flight.
    pub async fn idle(&self) {
        // Never closed, so that this fails never.
        let _ = self.calls.acquire_many(self.settings.limits.calls).await;
    }

    /// Accounts for what a call holds. `false`: it would be too much for all calls together, and what was accounted for before
    /// is as it was.
    pub(super) fn account(&self, before: usize, now: usize) -> bool {
        let most = self.settings.limits.held_total.get();
        let change = now.abs_diff(before);
        let gauge = i64::try_from(change).unwrap_or(i64::MAX);
        if now > before {
            let grown = |held: usize| held.checked_add(change).filter(|held| *held <= most);
            let fits = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok();
            if fits {
                self.journal.metrics().held.inc_by(gauge);
            }
            return fits;
        }
        if change > 0 {
            self.held.fetch_sub(change, Ordering::Relaxed);
            self.journal.metrics().held.dec_by(gauge);
        }
        true
    }

    pub(super) fn response_limits(&self) -> ResponseLimits {
        let limits = &self.settings.limits;
        ResponseLimits {
            event: limits.event.get(),
            body: limits.response_body.get(),
            held: limits.held.get(),
            synthetic: limits.synthetic.get(),
        }
    }

    /// Leave for what cannot be read to pass as it is. To a provider of another vendor it would mean nothing, or something else.
    pub(super) fn passes_unreadable(&self, client: Dialect) -> Option<Pass> {
        let is_understood = || self.unread_route(client).is_ok_and(|route| client.is_of_same_vendor(route.dialect));
        let passes = self.settings.unreadable == Unreadable::Pass && !self.settings.rules.required;
        Pass::by(passes && is_understood())
    }
}

/// The time limits of one provider: its own, otherwise the general ones.
fn timeouts(general: &Timeouts, own: &UpstreamTimeouts) -> Timeouts {
    Timeouts {
        connect: own.connect.unwrap_or(general.connect),
        first_byte: own.first_byte.unwrap_or(general.first_byte),
        first_byte_json: own.first_byte_json.unwrap_or(general.first_byte_json),
        stall: own.stall.unwrap_or(general.stall),
        total: own.total.unwrap_or(general.total),
        ..general.clone()
    }
}
