//! Rules from a ConfigMap that is watched by its name.

use kube::api::DeleteParams;
use serde_json::json;

use super::world::{World, until};

const GOOD: &str = "policies: [{ name: first, type: noop }]\n";

#[tokio::test]
async fn a_config_map_is_followed() {
    let world = World::start().await;
    let replica = world.reader("rules");
    until("a reason", async || replica.reason().contains("there is no such ConfigMap").then_some(())).await;
    assert!(!replica.is_ready());
    // Another one is none of its business.
    world.make_config_map("others", Some(("policy.yaml", GOOD))).await;
    world.make_config_map("rules", Some(("policy.yaml", GOOD))).await;
    replica.runs(&["first"]).await;
    let error = async |words: &str| {
        until(&format!("an error with `{words}`"), async || {
            replica.status.borrow().last_error.as_ref()?.contains(words).then_some(())
        })
        .await;
        assert_eq!(replica.policies(), ["first"], "what ran goes on");
        assert!(replica.is_ready());
    };

    world.change_config_map("rules", json!({ "policy.yaml": "policies: [{ name: x, type: nop }]" })).await;
    error("did you mean `noop`?").await;
    world.change_config_map("rules", json!({ "policy.yaml": null, "other": GOOD })).await;
    error("put the rules document under `policy.yaml`").await;
    world.config_maps().delete("rules", &DeleteParams::default()).await.unwrap();
    error("there is no such ConfigMap").await;
    world.make_config_map("rules", Some(("policy.yaml", "policies: [{ name: second, type: noop }]"))).await;
    replica.runs(&["second"]).await;
    until("no error", async || replica.status.borrow().last_error.is_none().then_some(())).await;
}

#[tokio::test]
async fn an_outage_changes_nothing() {
    let world = World::double().await;
    world.make_config_map("rules", Some(("policy.yaml", GOOD))).await;
    let replica = world.reader("rules");
    replica.runs(&["first"]).await;
    world.server().forbid("list", "/configmaps");
    world.server().forget();
    replica.fails("forbids").await;
    assert_eq!(replica.policies(), ["first"]);
    world.change_config_map("rules", json!({ "policy.yaml": "policies: []" })).await;
    world.server().allow();
    replica.runs(&[]).await;
    replica.recovers().await;
}
