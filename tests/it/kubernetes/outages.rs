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
    assert!(replica.status.borrow().source_error.is_none());
    world.server().allow();
    world.says("one", "Accepted", "Accepted").await;
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
