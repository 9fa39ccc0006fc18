//! Policies in shadow mode that still decide when their call is over: one task for all of them.

use std::sync::Arc;

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::mpsc;

use crate::{
    journal::{About, Fact, Journal},
    pipeline::Shadow,
    record::Afterwards,
    telemetry::trace::Span,
};

/// So many decide at once, and so many more wait for their turn.
const MOST: usize = 256;

/// A policy that has not decided on everything, and its call.
pub struct Late {
    pub(super) about: About,
    pub(super) shadow: Shadow,
    /// Where it is recorded, if it is.
    pub(super) record: Option<Afterwards>,
}

/// Where calls leave them, and where they are taken up.
pub fn late() -> (mpsc::Sender<Late>, mpsc::Receiver<Late>) {
    mpsc::channel(MOST)
}

/// Lets them decide, for as long as calls leave any.
pub async fn decide_late(mut left: mpsc::Receiver<Late>, journal: Arc<Journal>) {
    let mut deciding = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some((about, record, facts)) = deciding.next(), if !deciding.is_empty() => {
                let (about, record, facts): (About, Option<Afterwards>, Vec<Fact>) = (about, record, facts);
                let told = facts.iter().filter_map(|fact| journal.note(&about, &mut Span::default(), fact)).collect();
                if let Some(record) = record {
                    record.events(told);
                }
            }
            next = left.recv(), if deciding.len() < MOST => match next {
                Some(Late { about, shadow, record }) => {
                    deciding.push(async move { (about, record, shadow.finish().await) });
                }
                None if deciding.is_empty() => return,
                None => {}
            },
        }
    }
}
