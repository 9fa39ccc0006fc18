//! The records of calls: what stands in them, what does not, and that none is lost.

mod answers;
mod api;
mod load;
mod pages;
mod secrets;

use serde_json::Value;

use crate::harness::{SOON, client::Answer, client::Request, gateway::Gateway, within};

/// What the debug API answers.
async fn ask(gateway: &Gateway, path: &str) -> Answer {
    gateway.admin(Request::new("GET", path)).await
}

/// A call that is over, as soon as the store has it.
pub(crate) async fn recorded(gateway: &Gateway, call: &str) -> Value {
    let path = format!("/debug/calls/{call}");
    let there = async {
        loop {
            let answer = ask(gateway, &path).await;
            if answer.status == 200 && answer.json().get("outcome").is_some() {
                return answer.json();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within(SOON, "the record of a call", there).await
}

/// The record of the only call that asked for this model.
async fn recorded_of(gateway: &Gateway, model: &str) -> Value {
    let found = async {
        loop {
            let list = ask(gateway, &format!("/debug/calls?model={model}")).await.json();
            if let Some(call) = list["items"][0]["call_id"].as_str() {
                return call.to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let call = within(SOON, "a call with this model", found).await;
    recorded(gateway, &call).await
}

/// Luthien's id of a call, from its answer.
fn call_of(answer: &Answer) -> String {
    answer.header("x-luthien-call-id").expect("the answer names its call").to_owned()
}
