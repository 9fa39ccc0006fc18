//! Every replica's events on every replica, each once.
//!
//! Each replica tells its own events, numbered, over a channel that all listen to. Nothing is kept there: what is told while
//! the channel is gone is missing, and the numbers show it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt, pin_mut};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use uuid::Uuid;

use super::{Activity, Event, Said, Told, What};
use crate::shared_state::SharedState;

/// The channel, behind the prefix of everything that is shared.
const CHANNEL: &str = "activity";
/// So many events are told at once.
const BATCH: usize = 64;
/// How long to wait before listening again.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest message that is read, in bytes.
const LONGEST: usize = 1 << 20;
/// From so many processes numbers are remembered. Each start of a replica is another.
const MOST_KNOWN: usize = 1000;

/// An event on its way.
#[derive(Debug, Serialize, Deserialize)]
struct Message<E> {
    /// The process that tells it.
    from: Uuid,
    /// Its number among the events of that process.
    number: u64,
    event: E,
}

/// Tells what happens here to the other replicas, and what happens there here. Ends never.
pub async fn bridge(activity: Arc<Activity>, shared: Arc<SharedState>) {
    let from = Uuid::new_v4();
    tokio::join!(tell(activity.news.subscribe(), &shared, from), hear(&activity, &shared, from));
}

async fn tell(mut news: Receiver<Told>, shared: &SharedState, from: Uuid) {
    loop {
        let mut messages = Vec::new();
        match news.recv().await {
            Ok(told) => messages.extend(message(&told, from)),
            // The numbers show what is missing.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
        while messages.len() < BATCH
            && let Ok(told) = news.try_recv()
        {
            messages.extend(message(&told, from));
        }
        if !messages.is_empty() {
            shared.publish(CHANNEL, &messages).await;
        }
    }
}

fn message(told: &Told, from: Uuid) -> Option<String> {
    let (Some(number), Said::Own(event)) = (told.own, &told.said) else { return None };
    serde_json::to_string(&Message { from, number, event: &**event }).ok()
}

async fn hear(activity: &Activity, shared: &SharedState, own: Uuid) {
    let mut known = HashMap::new();
    loop {
        if let Some(messages) = shared.subscribe(CHANNEL).await {
            pin_mut!(messages);
            while let Some(message) = messages.next().await {
                take(activity, &message, own, &mut known);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Takes what was told. What is no event of another replica is left out.
fn take(activity: &Activity, message: &str, own: Uuid, known: &mut HashMap<Uuid, u64>) {
    if message.len() > LONGEST {
        return;
    }
    let Ok(Message { from, number, event }) = serde_json::from_str::<Message<Value>>(message) else { return };
    let Some(said) = Said::foreign(event).filter(|_| from != own) else { return };
    let expected = known.get(&from).copied().unwrap_or(number);
    if number < expected {
        return;
    }
    if number > expected {
        let gap = Event::now(What::Gap { missed: Some(number - expected) });
        activity.push_foreign(Said::Own(Arc::new(gap)));
    }
    if known.len() >= MOST_KNOWN {
        known.clear();
    }
    known.insert(from, number.saturating_add(1));
    activity.push_foreign(said);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn what_others_tell_is_told_once_and_what_is_missing_shows() {
        let activity = Activity::default();
        let (own, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut known = HashMap::new();
        let mut listener = activity.listen(None);
        let mut take = |from: Uuid, number: u64, event: Value| {
            let message = json!({ "from": from, "number": number, "event": event }).to_string();
            super::take(&activity, &message, own, &mut known);
        };
        let event = |call: &str| json!({ "type": "call.closed", "call_id": call });
        take(own, 0, event("own"));
        take(other, 7, event("a"));
        take(other, 7, event("a"));
        take(other, 8, json!({ "type": "unknown" }));
        take(other, 8, json!(["call.closed"]));
        take(other, 11, event("b"));
        super::take(&activity, "no JSON", own, &mut HashMap::new());
        activity.push(Event::now(What::RulesReloaded { rules: "end".to_owned() }));
        let mut told = Vec::new();
        while told.last().is_none_or(|(kind, _)| *kind != "rules.reloaded") {
            let next = listener.next().await.unwrap().said;
            told.push((next.kind(), next.call().map(str::to_owned)));
        }
        let call = |call: &str| ("call.closed", Some(call.to_owned()));
        assert_eq!(told, [call("a"), ("gap", None), call("b"), ("rules.reloaded", None)]);
    }
}
