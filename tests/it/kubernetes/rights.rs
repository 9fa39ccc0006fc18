//! The chart's roles, as `helm template` prints them, against what the program asks for: enough, and nothing more.

use serde_json::{Value, json};

use super::world::{World, noop, spec, until};
use crate::chart::{NAMESPACE, render};

fn roles(values: &str, more: &[&str]) -> Vec<Value> {
    render(values, more).of("Role").cloned().collect()
}

/// Nothing was refused, and nothing is allowed that nobody needs.
fn assert_minimal(world: &World) {
    let (refused, unused) = world.server().rights();
    assert_eq!((refused, unused), (Vec::<String>::new(), Vec::<String>::new()));
}

#[tokio::test]
async fn the_roles_for_objects_are_enough_and_no_more() {
    let world = World::with_rights(NAMESPACE, &roles("crd", &[])).await;
    world.create("one", spec(&[noop("x")])).await;
    let replica = world.replica("a");
    replica.runs(&["x"]).await;
    world.says("one", "Programmed", "Programmed").await;
    world.create("bad", spec(&[json!({ "name": "y", "type": "nop" })])).await;
    world.says("bad", "Accepted", "Invalid").await;
    until("an event", async || (!world.events("bad").await.is_empty()).then_some(())).await;
    // Somebody else writes at the same time, so that the object has to be read again.
    world.server().rival(json!({ "ancestors": [] }));
    world.change("one", spec(&[noop("z")])).await;
    replica.runs(&["z"]).await;
    world.says("one", "Programmed", "Programmed").await;
    until("the last good rules", async || {
        let kept = world.config_maps().get("luthien-rules-last-good").await.expect("a ConfigMap");
        kept.data?.values().any(|text| text.contains("\"z\"")).then_some(())
    })
    .await;
    // One that is started anew reads them.
    drop(replica);
    world.replica("b").runs(&["z"]).await;
    assert_minimal(&world);
}

#[tokio::test]
async fn the_role_for_a_config_map_is_enough_and_no_more() {
    let world = World::with_rights(NAMESPACE, &roles("watched-config-map", &[])).await;
    let document = |name: &str| format!("policies: [{{ name: {name}, type: noop }}]");
    world.make_config_map("luthien-rules", Some(("policy.yaml", &document("x")))).await;
    let reader = world.reader("luthien-rules");
    reader.runs(&["x"]).await;
    world.change_config_map("luthien-rules", json!({ "policy.yaml": document("y") })).await;
    reader.runs(&["y"]).await;
    assert_minimal(&world);
}

/// The other side: a right that is missing is noticed, and one too many.
#[tokio::test]
async fn a_right_too_few_or_too_many_shows() {
    let mut roles = roles("crd", &[]);
    for role in &mut roles {
        let listed = role["rules"].as_array_mut().expect("rules");
        listed.retain(|rule| rule["resources"] != json!(["luthienpolicies/status"]));
        for rule in listed {
            rule["verbs"].as_array_mut().expect("verbs").push(json!("delete"));
        }
    }
    let world = World::with_rights(NAMESPACE, &roles).await;
    world.create("one", spec(&[noop("x")])).await;
    let _replica = world.replica("a");
    until("a refusal", async || (!world.server().rights().0.is_empty()).then_some(())).await;
    let (refused, unused) = world.server().rights();
    assert_eq!(refused[0], format!("patch luthien.dev/luthienpolicies/status one in {NAMESPACE}"));
    assert!(unused.contains(&format!("delete luthien.dev/luthienpolicies * in {NAMESPACE}")), "{unused:?}");
}
