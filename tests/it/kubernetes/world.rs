//! A namespace of an API server, with replicas of one release in it.
//!
//! The server is the double, or a real one that `LUTHIEN_TEST_KUBECONFIG` leads to; everything goes through the same client.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap, events::v1::Event};
use kube::{
    Api, Client, Config, Error,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use luthien::{
    config::{
        compile::Context,
        kubernetes::{
            Cluster, Connection, Pace, Told,
            crd::{LuthienPolicy, LuthienPolicySpec},
        },
        live::{Live, ReloadStatus},
        source::{ConfigMapSource, CrdSource, Watched},
    },
    lifecycle::Readiness,
    policies::{self, site::Reach},
    policy::{Demand, Rules},
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet, time};

use crate::{
    api_server::ApiServer,
    common::kubernetes::{Real, real},
};

/// How long anything may take, on a busy machine too.
const SOON: Duration = Duration::from_secs(30);

/// The resource, as the double names it.
pub(super) const OBJECTS: &str = "luthien.dev/luthienpolicies";

/// A namespace for one test.
pub(super) struct World {
    pub(super) client: Client,
    /// Who replicas are for the server.
    account: Client,
    pub(super) namespace: String,
    /// Nothing where the server is a real one.
    pub(super) double: Option<ApiServer>,
}

/// One replica of the release.
pub(super) struct Replica {
    pub(super) live: Arc<Live<Rules>>,
    pub(super) status: watch::Receiver<ReloadStatus>,
    pub(super) readiness: Readiness,
    _task: JoinSet<()>,
}

/// An entry of `spec.policies` that does nothing.
pub(super) fn noop(name: &str) -> Value {
    json!({ "name": name, "type": "noop" })
}

/// What an object wants that holds for every call.
pub(super) fn spec(policies: &[Value]) -> Value {
    json!({ "targetRefs": [{ "group": "", "kind": "Service", "name": "luthien" }], "policies": policies })
}

impl World {
    /// The real server, where there is one, and otherwise the double.
    pub(super) async fn start() -> Self {
        let Some(Real { client, namespace, .. }) = real().await else { return Self::double().await };
        let world = Self { account: client.clone(), client, namespace, double: None };
        world.prepare().await;
        world
    }

    /// The double, for what cannot be had of a real server.
    pub(super) async fn double() -> Self {
        let double = ApiServer::start().await;
        let config = Config::new(double.url().parse().expect("a URL"));
        let client = Client::try_from(config).expect("a client");
        let world = Self { account: client.clone(), client, namespace: "llm".to_owned(), double: Some(double) };
        world.prepare().await;
        world
    }

    /// The double, in which replicas may do what these roles allow.
    pub(super) async fn with_rights(namespace: &str, roles: &[Value]) -> Self {
        let double = ApiServer::start().await;
        double.allow_only(roles);
        let mut config = Config::new(double.url().parse().expect("a URL"));
        let client = Client::try_from(config.clone()).expect("a client");
        config.auth_info.token = Some("of-the-service-account".to_owned().into());
        let account = Client::try_from(config).expect("a client");
        let world = Self { client, account, namespace: namespace.to_owned(), double: Some(double) };
        world.prepare().await;
        world
    }

    /// What the chart makes.
    async fn prepare(&self) {
        self.make_config_map("luthien-rules-last-good", None).await;
        let lease = serde_json::from_value(json!({ "metadata": { "name": "luthien-rules" } })).expect("a lease");
        self.leases().create(&PostParams::default(), &lease).await.expect("a lease");
    }

    pub(super) fn server(&self) -> &ApiServer {
        self.double.as_ref().expect("this runs against the double")
    }

    pub(super) fn objects(&self) -> Api<LuthienPolicy> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) async fn make_config_map(&self, name: &str, data: Option<(&str, &str)>) {
        let data: BTreeMap<&str, &str> = data.into_iter().collect();
        let object =
            serde_json::from_value(json!({ "metadata": { "name": name }, "data": data })).expect("a ConfigMap");
        self.config_maps().create(&PostParams::default(), &object).await.expect("a ConfigMap");
    }

    pub(super) async fn change_config_map(&self, name: &str, data: Value) {
        let patch = Patch::Merge(json!({ "data": data }));
        self.config_maps().patch(name, &PatchParams::default(), &patch).await.expect("changed");
    }

    pub(super) async fn create(&self, name: &str, spec: Value) -> LuthienPolicy {
        let object = LuthienPolicy::new(name, LuthienPolicySpec(spec));
        self.objects().create(&PostParams::default(), &object).await.expect("created")
    }

    /// Creates what the server turns down.
    pub(super) async fn refused(&self, name: &str, spec: Value) -> String {
        let object = LuthienPolicy::new(name, LuthienPolicySpec(spec));
        match self.objects().create(&PostParams::default(), &object).await {
            Err(Error::Api(status)) => status.message.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Changes some of an object's `spec`.
    pub(super) async fn change(&self, name: &str, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.objects().patch(name, &PatchParams::default(), &patch).await.expect("changed");
    }

    pub(super) async fn delete(&self, name: &str) {
        self.objects().delete(name, &DeleteParams::default()).await.expect("deleted");
    }

    /// A condition of the entry that a release wrote about a target.
    pub(super) async fn condition(&self, object: &str, controller: &str, target: &str, kind: &str) -> Option<Value> {
        let object = self.objects().get(object).await.expect("an object");
        let ancestors = object.status?.ancestors;
        let entry = ancestors.iter().find(|entry| {
            entry["ancestorRef"]["name"] == target
                && entry["controllerName"] == format!("luthien.dev/{}/{controller}", self.namespace)
        })?;
        entry["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind).cloned()
    }

    /// Waits until a condition has a reason, for the newest generation.
    pub(super) async fn says(&self, object: &str, kind: &str, reason: &str) -> Value {
        let what = format!("{object}: {kind} {reason}");
        until(&what, async || {
            let generation = self.objects().get(object).await.expect("an object").metadata.generation;
            let condition = self.condition(object, "luthien", "luthien", kind).await?;
            let is_new = condition["observedGeneration"].as_i64() == generation;
            (is_new && condition["reason"] == reason).then_some(condition)
        })
        .await
    }

    /// The events about an object, as reason and note.
    pub(super) async fn events(&self, object: &str) -> Vec<(String, String)> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let all = events.list(&ListParams::default()).await.expect("events");
        let about = all
            .items
            .into_iter()
            .filter(|event| event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref()) == Some(object));
        about.map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default())).collect()
    }

    /// A replica of the release `luthien`.
    pub(super) fn replica(&self, identity: &str) -> Replica {
        self.release(identity, CrdSource::default())
    }

    /// A replica of a release, with these settings.
    pub(super) fn release(&self, identity: &str, source: CrdSource) -> Replica {
        self.start_replica(identity, async move |cluster, told| Box::pin(cluster.follow_objects(source, told)).await)
    }

    /// A replica that takes its rules from a ConfigMap.
    pub(super) fn reader(&self, name: &str) -> Replica {
        let source = ConfigMapSource { name: name.to_owned(), key: "policy.yaml".to_owned(), namespace: None };
        self.start_replica("reader", async move |cluster, told| cluster.follow_config_map(source, told).await)
    }

    /// A replica whose settings name no upstream.
    pub(super) fn replica_without_upstreams(&self, identity: &str) -> Replica {
        self.start_replica(identity, async move |mut cluster, told| {
            cluster.context.upstreams.clear();
            Box::pin(cluster.follow_objects(CrdSource::default(), told)).await;
        })
    }

    fn start_replica<F: Future<Output = ()> + Send + 'static>(
        &self,
        identity: &str,
        run: impl FnOnce(Cluster, Told) -> F + Send + 'static,
    ) -> Replica {
        let none = Rules { hash: "none".to_owned(), demand: Demand::Rules, ..Rules::default() };
        let (sender, status) = watch::channel(ReloadStatus::first(&none));
        let (live, readiness) = (Arc::new(Live::new(none)), Readiness::default());
        let told = Told::new(Arc::clone(&live), sender, readiness.pending("rules", "are not loaded yet"));
        let cluster = Cluster {
            connection: Connection { client: self.account.clone(), namespace: self.namespace.clone() },
            context: Context {
                upstreams: vec!["anthropic".to_owned()],
                hook: Duration::from_secs(10),
                reach: Arc::new(Reach::default()),
                demand: Demand::Nothing,
            },
            types: policies::all(),
            identity: identity.to_owned(),
            pace: Pace {
                lease: Duration::from_secs(1),
                renew: Duration::from_millis(100),
                first_retry: Some(Duration::from_millis(20)),
                silence: Duration::from_millis(300),
            },
        };
        let mut task = JoinSet::new();
        task.spawn(run(cluster, told));
        Replica { live, status, readiness, _task: task }
    }
}

/// Watches only these namespaces.
pub(super) fn watching(namespaces: &[&str]) -> CrdSource {
    let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
    CrdSource { watch: Watched { namespaces }, ..CrdSource::default() }
}

impl Replica {
    /// The names of the policies that run, in their order.
    pub(super) fn policies(&self) -> Vec<String> {
        self.live.current().entries.iter().map(|entry| entry.name.to_string()).collect()
    }

    /// Waits until exactly these run.
    pub(super) async fn runs(&self, names: &[&str]) {
        until(&format!("{names:?} to run"), async || (self.is_ready() && self.policies() == names).then_some(())).await;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.readiness.missing().is_empty()
    }

    /// Why it is not ready.
    pub(super) fn reason(&self) -> String {
        self.readiness.missing().into_iter().map(|(_, reason)| reason).collect()
    }

    /// Waits until the source fails for a reason with these words.
    pub(super) async fn fails(&self, words: &str) {
        until(&format!("a failure with `{words}`"), async || {
            let error = self.status.borrow().source_error.clone()?;
            error.contains(words).then_some(())
        })
        .await;
    }

    /// Waits until the source answers again.
    pub(super) async fn recovers(&self) {
        until("the source", async || self.status.borrow().source_error.is_none().then_some(())).await;
    }
}

/// Waits until there is something.
pub(super) async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = found().await {
                return found;
            }
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    time::timeout(SOON, search).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
