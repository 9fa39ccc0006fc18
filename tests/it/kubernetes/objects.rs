//! Objects and what becomes of them: status, order, conflicts, last good.

use luthien::config::source::CrdSource;
use serde_json::json;

use super::world::{World, noop, spec, until};

#[tokio::test]
async fn a_good_object_is_accepted_and_runs() {
    let world = World::start().await;
    let replica = world.replica("a");
    // No objects are legal.
    replica.runs(&[]).await;
    world.create("one", spec(&[noop("first"), noop("second")])).await;
    replica.runs(&["first", "second"]).await;
    let accepted = world.says("one", "Accepted", "Accepted").await;
    assert_eq!(accepted["status"], "True");
    let programmed = world.says("one", "Programmed", "Programmed").await;
    assert_eq!(programmed["status"], "True");
    let hash = replica.live.current().hash.clone();
    until("the hash in the status", async || {
        let message = world.condition("one", "luthien", "luthien", "Programmed").await?;
        message["message"].as_str()?.contains(&hash).then_some(())
    })
    .await;
    world.delete("one").await;
    replica.runs(&[]).await;
    assert_ne!(replica.live.current().hash, hash);
}

#[tokio::test]
async fn a_bad_version_is_told_and_the_last_good_one_runs() {
    let world = World::start().await;
    let replica = world.replica("a");
    world.create("one", spec(&[noop("first")])).await;
    world.create("other", spec(&[noop("second")])).await;
    replica.runs(&["first", "second"]).await;
    world.says("one", "Accepted", "Accepted").await;
    let before = replica.live.current().hash.clone();

    world.change("one", spec(&[json!({ "name": "first", "type": "nop" })])).await;
    let accepted = world.says("one", "Accepted", "Invalid").await;
    assert_eq!(accepted["status"], "False");
    let message = accepted["message"].as_str().unwrap();
    assert!(
        message.starts_with(&format!("LuthienPolicy {}/one: policies[0].type: there is no policy", world.namespace)),
        "{message}"
    );
    assert!(message.contains("did you mean `noop`?"), "{message}");
    let programmed = world.says("one", "Programmed", "LastGood").await;
    assert!(programmed["message"].as_str().unwrap().contains("generation 1"), "{programmed}");
    assert_eq!(replica.live.current().hash, before);
    assert!(replica.status.borrow().last_error.as_ref().is_some_and(|error| error.contains("there is no policy type")));
    let events = until("an event", async || Some(world.events("one").await).filter(|all| !all.is_empty())).await;
    assert!(events.iter().any(|(reason, note)| reason == "Invalid" && note.contains("no policy type")), "{events:?}");

    // The others go on, and so does this one when it is good again.
    world.change("other", spec(&[noop("third")])).await;
    replica.runs(&["first", "third"]).await;
    world.change("one", spec(&[noop("fourth")])).await;
    replica.runs(&["fourth", "third"]).await;
    world.says("one", "Accepted", "Accepted").await;
    until("no error", async || replica.status.borrow().last_error.is_none().then_some(())).await;
}

#[tokio::test]
async fn a_first_version_that_is_bad_does_not_run() {
    let world = World::start().await;
    let replica = world.replica("a");
    let unknown = json!({ "name": "x", "type": "noop", "match": { "upstream": "nowhere" } });
    world.create("bad", spec(&[unknown])).await;
    world.create("good", spec(&[noop("good")])).await;
    replica.runs(&["good"]).await;
    let accepted = world.says("bad", "Accepted", "Invalid").await;
    assert!(accepted["message"].as_str().unwrap().contains("there is no upstream `nowhere`"), "{accepted}");
    world.says("bad", "Programmed", "Invalid").await;
}

#[tokio::test]
async fn priority_then_age_decide_the_order() {
    let world = World::start().await;
    let replica = world.replica("a");
    world.create("z-old", spec(&[noop("old")])).await;
    world.says("z-old", "Accepted", "Accepted").await;
    // Real servers tell ages in seconds.
    if world.double.is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    }
    world.create("a-young", spec(&[noop("young")])).await;
    replica.runs(&["old", "young"]).await;
    let mut first = spec(&[noop("first")]);
    first["priority"] = json!(10);
    world.create("first", first).await;
    let mut last = spec(&[noop("last")]);
    last["priority"] = json!(-1);
    world.create("last", last).await;
    replica.runs(&["first", "old", "young", "last"]).await;
    world.change("a-young", json!({ "priority": 11 })).await;
    replica.runs(&["young", "first", "old", "last"]).await;
}

#[tokio::test]
async fn who_runs_with_a_name_keeps_it() {
    // Real servers tell ages in seconds; names decide where these are the same.
    let world = World::start().await;
    let replica = world.replica("a");
    world.create("a-one", spec(&[noop("shared")])).await;
    world.create("b-two", spec(&[noop("own")])).await;
    replica.runs(&["shared", "own"]).await;
    // One that comes later.
    world.create("c-three", spec(&[noop("fresh"), noop("shared")])).await;
    let accepted = world.says("c-three", "Accepted", "Conflicted").await;
    let message = accepted["message"].as_str().unwrap();
    assert!(message.contains(&format!("{}/a-one", world.namespace)) && message.contains("`shared`"), "{message}");
    world.says("c-three", "Programmed", "Conflicted").await;
    // One that changes, and keeps what it had.
    world.change("b-two", spec(&[noop("shared")])).await;
    world.says("b-two", "Accepted", "Conflicted").await;
    world.says("b-two", "Programmed", "LastGood").await;
    assert_eq!(replica.policies(), ["shared", "own"]);
    // When the name is free the one that is older has it.
    world.change("a-one", spec(&[noop("renamed")])).await;
    replica.runs(&["renamed", "shared"]).await;
    world.says("b-two", "Accepted", "Accepted").await;
    world.says("c-three", "Accepted", "Conflicted").await;
    world.delete("b-two").await;
    replica.runs(&["renamed", "fresh", "shared"]).await;
}

#[tokio::test]
async fn a_target_that_nobody_knows_is_told() {
    let world = World::start().await;
    let replica = world.replica("a");
    let other = json!({ "group": "", "kind": "Service", "name": "typo" });
    let mut both = spec(&[noop("x")]);
    both["targetRefs"].as_array_mut().unwrap().push(other.clone());
    world.create("both", both).await;
    replica.runs(&["x"]).await;
    world.says("both", "Accepted", "Accepted").await;
    let told = world.condition("both", "luthien", "typo", "Accepted").await.unwrap();
    assert_eq!((&told["status"], &told["reason"]), (&json!("False"), &json!("TargetNotFound")));
    // One that is pointed elsewhere does not run any more.
    world.change("both", json!({ "targetRefs": [other] })).await;
    replica.runs(&[]).await;
}

#[tokio::test]
async fn routes_are_targets_where_the_gateway_api_is_used() {
    let world = World::start().await;
    let replica = world.release("a", CrdSource { gateway_api: true, ..CrdSource::default() });
    let route = json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "chat" });
    world.create("a-routed", json!({ "targetRefs": [route], "policies": [noop("routed")] })).await;
    world.create("b-all", spec(&[noop("all")])).await;
    replica.runs(&["routed", "all"]).await;
    let rules = replica.live.current();
    let targets: Vec<String> = rules.entries[0].selects.targets.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(targets, [format!("HTTPRoute {}/chat", world.namespace)]);
    assert!(rules.entries[1].selects.targets.is_none());
    until("the status", async || {
        let accepted = world.condition("a-routed", "luthien", "chat", "Accepted").await?;
        (accepted["status"] == "True").then_some(())
    })
    .await;
}

#[tokio::test]
async fn of_what_holds_for_every_call_the_strictest_counts() {
    let world = World::start().await;
    let replica = world.replica("a");
    let with = |name: &str, more: serde_json::Value| {
        let mut spec = spec(&[noop(name)]);
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    world.create("a", with("a", json!({ "stateful": "require_stateless", "lossy": "drop", "record": "full" }))).await;
    world.create("b", with("b", json!({ "stateful": "allow", "release": "turn", "record": "metadata" }))).await;
    world.create("c", with("c", json!({ "lossy": "refuse" }))).await;
    replica.runs(&["a", "b", "c"]).await;
    let rules = replica.live.current();
    assert_eq!(rules.stateful, luthien::policy::Stateful::RequireStateless);
    assert_eq!(rules.release, luthien::policy::Release::Turn);
    assert_eq!(rules.lossy, Some(luthien::model::conversation::Lossy::Refuse));
    assert_eq!(rules.record.map(|record| record.level), Some(luthien::model::RecordLevel::Metadata));
}

#[tokio::test]
async fn other_namespaces_are_seen_only_where_they_are_watched() {
    let world = World::double().await;
    let elsewhere =
        kube::Api::<luthien::config::kubernetes::crd::LuthienPolicy>::namespaced(world.client.clone(), "apps");
    let route = json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge" });
    let object = luthien::config::kubernetes::crd::LuthienPolicy::new(
        "theirs",
        luthien::config::kubernetes::crd::LuthienPolicySpec(
            json!({ "targetRefs": [route], "policies": [noop("theirs")] }),
        ),
    );
    elsewhere.create(&kube::api::PostParams::default(), &object).await.unwrap();
    world.create("ours", spec(&[noop("ours")])).await;
    let own = world.replica("a");
    own.runs(&["ours"]).await;
    let both = world.release(
        "b",
        CrdSource {
            gateway_api: true,
            name: "second".to_owned(),
            service: Some("luthien".to_owned()),
            ..super::world::watching(&["llm", "apps"])
        },
    );
    both.runs(&["theirs", "ours"]).await;
}

/// Patterns are where people write what must not get out.
#[tokio::test]
async fn what_looks_like_a_secret_is_in_no_status_and_no_event() {
    let world = World::start().await;
    let replica = world.replica("a");
    let key = "sk-ant-api03-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let pattern = json!({ "name": "x", "type": "blocked_content", "config": { "patterns": [format!("{key}(")] } });
    world.create("one", spec(&[pattern, json!({ "name": "y", "type": key })])).await;
    let condition = world.says("one", "Accepted", "Invalid").await;
    let events = async || (!world.events("one").await.is_empty()).then_some(());
    until("an event", events).await;
    for said in
        [condition.to_string(), format!("{:?}", world.events("one").await), format!("{:?}", replica.status.borrow())]
    {
        assert!(said.contains("not a regular expression") && !said.contains("sk-ant"), "{said}");
    }
}
