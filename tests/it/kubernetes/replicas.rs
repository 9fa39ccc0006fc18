//! Several replicas, several controllers: who writes, and what is left alone.

use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use luthien::config::source::CrdSource;
use serde_json::{Value, json};

use super::world::{World, noop, spec, until};

async fn holder(world: &World) -> Option<String> {
    world.leases().get("luthien-rules").await.ok()?.spec?.holder_identity
}

/// Waits until the Lease was renewed so many times.
async fn renewed(world: &World, by: &str, times: usize) {
    let mut before = None;
    for _ in 0..times {
        before = until("a renewed Lease", async || {
            let spec = world.leases().get("luthien-rules").await.ok()?.spec?;
            let now = spec.renew_time.map(|time| time.0);
            (spec.holder_identity.as_deref() == Some(by) && now.is_some() && now != before).then_some(now)
        })
        .await;
    }
}

#[tokio::test]
async fn one_writes_and_another_takes_over() {
    let world = World::start().await;
    let first = world.replica("first");
    until("a holder", async || holder(&world).await.filter(|holder| holder == "first")).await;
    let second = world.replica("second");
    world.create("one", spec(&[noop("x")])).await;
    first.runs(&["x"]).await;
    second.runs(&["x"]).await;
    assert_eq!(first.live.current().hash, second.live.current().hash);
    world.says("one", "Programmed", "Programmed").await;
    renewed(&world, "first", 3).await;
    let version = world.objects().get("one").await.unwrap().resource_version();
    drop(first);
    until("the other holder", async || holder(&world).await.filter(|holder| holder == "second")).await;
    // It has nothing to say that is not said.
    renewed(&world, "second", 4).await;
    assert_eq!(world.objects().get("one").await.unwrap().resource_version(), version);
    let transitions = world.leases().get("luthien-rules").await.unwrap().spec.unwrap().lease_transitions;
    assert_eq!(transitions, Some(2));
    world.change("one", spec(&[noop("y")])).await;
    second.runs(&["y"]).await;
    world.says("one", "Programmed", "Programmed").await;
}

#[tokio::test]
async fn a_restart_with_a_bad_object_runs_what_ran_before() {
    let world = World::start().await;
    let first = world.replica("first");
    world.create("one", spec(&[noop("kept")])).await;
    world.create("two", spec(&[noop("gone")])).await;
    first.runs(&["kept", "gone"]).await;
    let hash = first.live.current().hash.clone();
    world.says("two", "Accepted", "Accepted").await;
    let kept = async || {
        let found = world.config_maps().get("luthien-rules-last-good").await.ok()?;
        let text = found.data?.get("objects.json")?.clone();
        (text.contains("kept") && text.contains("gone")).then_some(())
    };
    until("the last good rules", kept).await;
    drop(first);
    world.change("one", spec(&[json!({ "name": "kept", "type": "nop" })])).await;
    let second = world.replica("second");
    second.runs(&["kept", "gone"]).await;
    assert_eq!(second.live.current().hash, hash);
    world.says("one", "Accepted", "Invalid").await;
    world.says("one", "Programmed", "LastGood").await;
    // What is deleted is not brought back by it.
    drop(second);
    world.delete("two").await;
    let third = world.replica("third");
    third.runs(&["kept"]).await;
    // Nor is what was deleted and made anew.
    world.delete("one").await;
    world.create("one", spec(&[json!({ "name": "kept", "type": "nop" })])).await;
    third.runs(&[]).await;
}

/// What another controller says.
fn foreign(number: usize) -> Value {
    json!({
        "ancestorRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "x", "name": format!("g{number}") },
        "controllerName": "example.com/other",
        "conditions": [{
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    })
}

async fn write_status(world: &World, name: &str, ancestors: &[Value]) {
    let patch = Patch::Merge(json!({ "status": { "ancestors": ancestors } }));
    world.objects().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

async fn ancestors(world: &World, name: &str) -> Vec<Value> {
    world.objects().get(name).await.unwrap().status.map(|status| status.ancestors).unwrap_or_default()
}

#[tokio::test]
async fn what_other_controllers_say_stays() {
    let world = World::start().await;
    let replica = world.replica("a");
    world.create("one", spec(&[noop("x")])).await;
    write_status(&world, "one", &[foreign(1), foreign(2)]).await;
    world.says("one", "Accepted", "Accepted").await;
    world.change("one", spec(&[json!({ "name": "x", "type": "nop" })])).await;
    world.says("one", "Accepted", "Invalid").await;
    let now = ancestors(&world, "one").await;
    assert_eq!(now.len(), 3);
    assert_eq!(now[..2], [foreign(1), foreign(2)]);

    // A list that others fill has no room for ours, and loses nothing.
    let full: Vec<Value> = (0..16).map(foreign).collect();
    world.create("z-full", spec(&[noop("y")])).await;
    world.says("z-full", "Accepted", "Accepted").await;
    write_status(&world, "z-full", &full).await;
    world.change("z-full", spec(&[noop("z")])).await;
    replica.runs(&["x", "z"]).await;
    renewed(&world, "a", 3).await;
    assert_eq!(ancestors(&world, "z-full").await, full);
}

#[tokio::test]
async fn a_write_that_meets_another_is_made_again() {
    let world = World::double().await;
    let _replica = world.replica("a");
    for number in 0..3 {
        world.server().rival(json!({ "ancestors": [foreign(number)] }));
    }
    world.create("one", spec(&[noop("x")])).await;
    world.says("one", "Accepted", "Accepted").await;
    let now = ancestors(&world, "one").await;
    assert_eq!(now[0], foreign(2));
    assert_eq!(now.len(), 2);
}

#[tokio::test]
async fn two_releases_share_a_namespace() {
    let world = World::double().await;
    let lease = serde_json::from_value(json!({ "metadata": { "name": "blue-rules" } })).unwrap();
    world.leases().create(&kube::api::PostParams::default(), &lease).await.unwrap();
    world.make_config_map("blue-rules-last-good", None).await;
    let own = world.replica("a");
    let blue = world.release("b", CrdSource { name: "blue".to_owned(), ..CrdSource::default() });
    world.create("ours", spec(&[noop("x")])).await;
    let target = json!({ "group": "", "kind": "Service", "name": "blue" });
    world.create("theirs", json!({ "targetRefs": [target], "policies": [noop("x")] })).await;
    own.runs(&["x"]).await;
    blue.runs(&["x"]).await;
    // Each says what it knows, and complains of nothing that the other knows.
    until("one entry each", async || {
        let (ours, theirs) = (ancestors(&world, "ours").await, ancestors(&world, "theirs").await);
        let said = |all: &[Value]| {
            all.iter().map(|entry| entry["controllerName"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        (said(&ours) == ["luthien.dev/llm/luthien"] && said(&theirs) == ["luthien.dev/llm/blue"]).then_some(())
    })
    .await;
}

/// Each wants its entry to say something; neither has to be the last.
#[tokio::test]
async fn two_releases_that_both_complain_come_to_rest() {
    let world = World::double().await;
    let lease = serde_json::from_value(json!({ "metadata": { "name": "blue-rules" } })).unwrap();
    world.leases().create(&kube::api::PostParams::default(), &lease).await.unwrap();
    world.make_config_map("blue-rules-last-good", None).await;
    let _own = world.replica("a");
    let _blue = world.release("b", CrdSource { name: "blue".to_owned(), ..CrdSource::default() });
    world.create("bad", spec(&[json!({ "name": "x", "type": "nop" })])).await;
    until("an entry of each", async || (ancestors(&world, "bad").await.len() == 2).then_some(())).await;
    let writes = || {
        let requests = world.server().requests();
        requests.iter().filter(|(verb, path)| verb == "patch" && path.ends_with("/bad/status")).count()
    };
    let renewals =
        || world.server().requests().iter().filter(|(verb, path)| verb == "patch" && path.contains("leases")).count();
    let (written, renewed) = (writes(), renewals());
    until("renewals", async || (renewals() >= renewed + 12).then_some(())).await;
    // One may have been on its way.
    assert!(writes() <= written + 1, "{} more", writes() - written);
    let told = world.events("bad").await.len();

    // What other objects do changes the hash in the status, and is no news of this one.
    world.create("good", spec(&[noop("y")])).await;
    world.says("good", "Programmed", "Programmed").await;
    let renewed = renewals();
    until("renewals", async || (renewals() >= renewed + 6).then_some(())).await;
    assert_eq!(world.events("bad").await.len(), told);
}
