//! An API server that breaks off, forgets, forbids, or has no definition: what runs goes on running.

use serde_json::json;

use super::world::{OBJECTS, World, noop, spec, until};

#[tokio::test]
async fn watches_that_end_are_begun_anew_and_nothing_is_lost() {
    let world = World::double().await;
    let replica = world.replica("a");
    world.create("one", spec(&[noop("one")])).await;
    replica.runs(&["one"]).await;
    let watches = || {
        world
            .server()
            .requests()
            .iter()
            .filter(|(verb, path)| verb == "watch" && path.contains("luthienpolicies"))
            .count()
    };
    for number in 0..3 {
        let before = watches();
        world.server().disconnect();
        until("another watch", async || (watches() > before).then_some(())).await;
        assert_eq!(replica.policies(), if number == 0 { vec!["one"] } else { vec!["one", "more"] });
        if number == 0 {
            world.create("more", spec(&[noop("more")])).await;
            replica.runs(&["one", "more"]).await;
        }
    }
    // What happened while nobody watched, and was forgotten.
    world.server().forget();
    world.delete("one").await;
    replica.runs(&["more"]).await;
    world.server().bookmark();
    let lists = || {
        world
            .server()
            .requests()
            .iter()
            .filter(|(verb, path)| verb == "list" && path.contains("luthienpolicies"))
            .count()
    };
    let before = lists();
    world.create("late", spec(&[noop("late")])).await;
    replica.runs(&["more", "late"]).await;
    world.server().bookmark();
    world.server().disconnect();
    world.change("late", spec(&[noop("later")])).await;
    replica.runs(&["more", "later"]).await;
    assert_eq!(lists(), before, "a watch goes on where it broke off, without a new list");
    assert!(replica.status.borrow().source_error.is_none());
}

#[tokio::test]
async fn what_is_forbidden_does_not_mean_that_there_is_nothing() {
    let world = World::double().await;
    world.create("one", spec(&[noop("one")])).await;
    world.server().forbid("list", OBJECTS);
    let replica = world.replica("a");
    replica.fails("the API server forbids it").await;
    assert!(!replica.is_ready());
    assert!(replica.reason().contains("as the chart's Role does"), "{}", replica.reason());
    assert_eq!(replica.live.current().demand, luthien::policy::Demand::Rules, "no call goes on");
    world.server().allow();
    replica.runs(&["one"]).await;
    replica.recovers().await;

    // While it runs, the same keeps what ran.
    world.server().forbid("list", OBJECTS);
    world.server().forbid("watch", OBJECTS);
    world.server().disconnect();
    replica.fails("forbids").await;
    assert_eq!(replica.policies(), ["one"]);
    assert!(replica.is_ready());
    world.change("one", spec(&[noop("two")])).await;
    world.server().allow();
    replica.runs(&["two"]).await;
    replica.recovers().await;
}

#[tokio::test]
async fn without_the_definition_a_restart_runs_what_ran_before() {
    let world = World::double().await;
    world.server().without("luthien.dev");
    let replica = world.replica("a");
    replica.fails("luthien crd").await;
    assert!(!replica.is_ready());
    world.server().allow();
    world.create("one", spec(&[noop("one")])).await;
    replica.runs(&["one"]).await;
    world.says("one", "Programmed", "Programmed").await;
    drop(replica);

    world.server().without("luthien.dev");
    let second = world.replica("b");
    second.runs(&["one"]).await;
    second.fails("luthien crd").await;
    assert!(second.is_ready());
}

#[tokio::test]
async fn what_the_release_may_not_write_keeps_no_rules_from_running() {
    let world = World::double().await;
    for (verb, resource) in [
        ("get", "coordination.k8s.io/leases"),
        ("get", "/configmaps"),
        ("patch", OBJECTS),
        ("create", "events.k8s.io/events"),
    ] {
        world.server().forbid(verb, resource);
    }
    let replica = world.replica("a");
    world.create("one", spec(&[noop("one")])).await;
    replica.runs(&["one"]).await;
    // What ran before is not known, and need not be: every object runs. That it cannot be asked is told.
    replica.fails("the last good rules").await;
    world.server().allow();
    world.says("one", "Accepted", "Accepted").await;
    replica.recovers().await;
}

#[tokio::test]
async fn last_good_rules_that_are_too_large_are_not_kept() {
    let world = World::double().await;
    let replica = world.replica("a");
    let large = json!({ "name": "large", "type": "string_replacement", "config": { "replacements": [["a", "b".repeat(1_100_000)]] } });
    world.create("large", spec(&[large])).await;
    replica.runs(&["large"]).await;
    world.says("large", "Programmed", "Programmed").await;
    let found = world.config_maps().get("luthien-rules-last-good").await.unwrap();
    let kept = found.data.unwrap_or_default();
    assert!(kept.get("objects.json").is_none_or(|text| !text.contains("large")));
}

#[tokio::test]
async fn a_watch_that_goes_on_in_silence_is_noticed() {
    for of_objects in [true, false] {
        let world = World::double().await;
        world.make_config_map("rules", Some(("policy.yaml", "policies: [{ name: one, type: noop }]"))).await;
        world.create("one", spec(&[noop("one")])).await;
        let (replica, resource) =
            if of_objects { (world.replica("a"), OBJECTS) } else { (world.reader("rules"), "/configmaps") };
        replica.runs(&["one"]).await;
        for verb in ["watch", "list"] {
            world.server().forbid(verb, resource);
        }
        world.server().disconnect();
        replica.fails("forbids").await;
        // Nothing happens to any object.
        world.server().allow();
        replica.recovers().await;
        assert_eq!(replica.policies(), ["one"]);
    }
}

#[tokio::test]
async fn what_ran_before_and_does_not_compile_is_kept_and_waited_for() {
    let world = World::double().await;
    let good = spec(&[json!({ "name": "guard", "type": "noop", "match": { "upstream": "anthropic" } }), noop("x")]);
    let object = world.create("one", good).await;
    world.create("two", spec(&[noop("y")])).await;
    let replica = world.replica("a");
    replica.runs(&["guard", "x", "y"]).await;
    let kept = async |what: &str| {
        until(what, async || {
            let data = world.config_maps().get("luthien-rules-last-good").await.expect("a ConfigMap").data?;
            let objects: Vec<serde_json::Value> = serde_json::from_str(data.get("objects.json")?).ok()?;
            objects
                .iter()
                .any(|object| object["name"] == "one" && object["spec"].to_string().contains(what))
                .then_some(())
        })
        .await;
    };
    kept("anthropic").await;
    drop(replica);

    // A process that knows no such upstream, as after a change of settings. Nobody answers it yet.
    world.server().forbid("list", OBJECTS);
    let next = world.replica_without_upstreams("b");
    next.fails("forbids").await;
    assert!(!next.is_ready(), "it runs {:?}", next.policies());
    world.server().allow();
    next.runs(&["y"]).await;
    world.says("one", "Accepted", "Invalid").await;
    world.change("two", spec(&[noop("z")])).await;
    next.runs(&["z"]).await;
    kept("anthropic").await;
    drop(next);

    // And one that does again, although the object was made worse meanwhile.
    world.change("one", spec(&[json!({ "name": "guard", "type": "nop" })])).await;
    assert_eq!(world.objects().get("one").await.expect("an object").metadata.uid, object.metadata.uid);
    world.replica("c").runs(&["guard", "x", "z"]).await;
}

#[tokio::test]
async fn what_ran_before_has_to_be_known_before_anything_counts_as_never_good() {
    let world = World::double().await;
    world.create("one", spec(&[noop("guard")])).await;
    let replica = world.replica("a");
    replica.runs(&["guard"]).await;
    let kept = async || {
        let data = world.config_maps().get("luthien-rules-last-good").await.expect("a ConfigMap").data;
        data.and_then(|data| data.get("objects.json").cloned())
    };
    until("the last good rules", async || kept().await.filter(|text| text.contains("guard")).map(drop)).await;
    world.change("one", spec(&[json!({ "name": "guard", "type": "nop" })])).await;
    world.says("one", "Programmed", "LastGood").await;
    drop(replica);
    let before = kept().await;

    world.server().forbid("get", "/configmaps");
    let watches = || world.server().requests().iter().filter(|(verb, _)| verb == "watch").count();
    let already = watches();
    let next = world.replica("b");
    next.fails("forbids").await;
    until("a watch on the objects", async || (watches() > already).then_some(())).await;
    assert!(!next.is_ready(), "it runs {:?}", next.policies());
    world.server().allow();
    next.runs(&["guard"]).await;
    world.says("one", "Programmed", "LastGood").await;
    assert_eq!(kept().await, before);
}

#[tokio::test]
async fn that_nothing_ran_before_says_nothing_of_now() {
    let world = World::double().await;
    let replica = world.replica("a");
    replica.runs(&[]).await;
    until("the last good rules", async || {
        let data = world.config_maps().get("luthien-rules-last-good").await.expect("a ConfigMap").data?;
        (data.get("objects.json")? == "[]").then_some(())
    })
    .await;
    drop(replica);
    world.server().forbid("list", OBJECTS);
    let next = world.replica("b");
    next.fails("forbids").await;
    assert!(!next.is_ready());
    world.server().allow();
    next.runs(&[]).await;
}
