//! Rules that change under load, from an API server and from a file; and rules that have to be there.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams, PostParams},
};
use luthien::config::kubernetes::crd::{LuthienPolicy, LuthienPolicySpec};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    common::{
        kubernetes::{Real, real},
        streams::Dialect,
    },
    fakes::{kubernetes::ApiServer, provider::Provider, script::Script},
    harness::{
        attached::{Attached, Shape},
        client::{self, End, Request, Version},
        gateway::{Builder, Gateway},
        samples, within,
    },
    load::span,
};

const DIALECT: Dialect = Dialect::OpenaiChat;
/// Clients at the same time.
const CLIENTS: usize = 8;
/// Where objects are.
const NAMESPACE: &str = "llm";

/// An API server with what the chart makes, and the way there.
pub(crate) struct Server {
    /// Nothing where it is a real one.
    pub(crate) double: Option<ApiServer>,
    objects: Api<LuthienPolicy>,
    pub(crate) namespace: String,
    pub(crate) kubeconfig: PathBuf,
    _folder: tempfile::TempDir,
}

impl Server {
    /// The real one, where there is one, and otherwise the double.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        match real().await {
            Some(Real { client, namespace, kubeconfig }) => Self::of(client, namespace, kubeconfig, None, folder).await,
            None => Self::double().await,
        }
    }

    /// The double, for what cannot be had of a real one.
    pub(crate) async fn double() -> Self {
        let (double, folder) = (ApiServer::start().await, tempfile::tempdir().unwrap());
        let client = Client::try_from(Config::new(double.url().parse().unwrap())).unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, double.kubeconfig(NAMESPACE)).unwrap();
        Self::of(client, NAMESPACE.to_owned(), kubeconfig, Some(double), folder).await
    }

    async fn of(
        client: Client,
        namespace: String,
        kubeconfig: PathBuf,
        double: Option<ApiServer>,
        folder: tempfile::TempDir,
    ) -> Self {
        let lease = serde_json::from_value(json!({ "metadata": { "name": "luthien-rules" } })).unwrap();
        let leases: Api<k8s_openapi::api::coordination::v1::Lease> = Api::namespaced(client.clone(), &namespace);
        leases.create(&PostParams::default(), &lease).await.unwrap();
        let kept = serde_json::from_value(json!({ "metadata": { "name": "luthien-rules-last-good" } })).unwrap();
        let config_maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client.clone(), &namespace);
        config_maps.create(&PostParams::default(), &kept).await.unwrap();
        Self { double, objects: Api::namespaced(client, &namespace), namespace, kubeconfig, _folder: folder }
    }

    /// A gateway that takes its rules from there.
    fn builder(&self, provider: &Provider) -> Builder {
        let gateway = Gateway::with(provider).rules_from("{ crd: {} }");
        gateway.env("KUBECONFIG", self.kubeconfig.to_str().unwrap()).env("POD_NAMESPACE", &self.namespace)
    }

    pub(crate) async fn create(&self, name: &str, policies: Value) {
        let service = json!([{ "group": "", "kind": "Service", "name": "luthien" }]);
        let spec = LuthienPolicySpec(json!({ "targetRefs": service, "policies": policies }));
        self.objects.create(&PostParams::default(), &LuthienPolicy::new(name, spec)).await.unwrap();
    }

    pub(crate) async fn change(&self, name: &str, policies: Value) {
        let patch = Patch::Merge(json!({ "spec": { "policies": policies } }));
        self.objects.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }
}

/// Rules whose two policies say the same number, one in the request and one in the answer.
pub(super) fn marks(number: usize) -> Value {
    let replace = |name: &str, to: &str, from: &str| {
        json!({
            "name": name,
            "type": "string_replacement",
            "config": { "replacements": { from: format!("{from}-{number}.") }, "apply_to": to },
        })
    };
    json!([replace("asks", "request", "asked"), replace("answers", "response", "answered")])
}

/// The numbers that a text says behind a word.
pub(super) fn said(text: &str, word: &str) -> BTreeSet<usize> {
    let word = format!("{word}-");
    let numbers = text.match_indices(&word).map(|(at, found)| {
        let digits = text[at + found.len()..].split('.').next().unwrap();
        digits.parse().unwrap_or_else(|_| panic!("{word} in {text}"))
    });
    numbers.collect()
}

/// Makes calls while `flip` changes the rules: each is judged by the rules of one number, in its request and in its answer,
/// and none fails. In a soak there are ten times as many calls and changes.
async fn judged_by_one(provider: &Provider, gateway: &Gateway, flip: impl AsyncFn(usize)) {
    let (calls, flips) = if span().is_some() { (10_000, 200) } else { (1_000, 20) };
    let (mut text, opening) = samples::Text::open(DIALECT, &["answered "]);
    let middle = text.delta("and answered ");
    let pause = Duration::from_millis(30);
    let rest = text.delta("and answered") + &text.close();
    provider.otherwise(Script::stream().then(opening).pause(pause).then(middle).pause(pause).then(rest));
    let (made, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (address, made, done) = (gateway.listen(), Arc::clone(&made), Arc::clone(&done));
        clients.spawn(async move {
            let mut answers = Vec::new();
            while !done.load(Ordering::Relaxed) || made.load(Ordering::Relaxed) < calls {
                let id = format!("call {client}/{} ", answers.len());
                let mut body = client::call_body(DIALECT, "m", true);
                body["messages"] = json!([{ "role": "user", "content": format!("{id}asked") }]);
                let request = Request::post("/v1/chat/completions", body.to_string());
                let answer = client::send(Version::Http1, address, request).await.finish().await;
                assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{}", answer.text());
                assert!(answer.text().contains("[DONE]"), "{}", answer.text());
                answers.push((id, said(&answer.text(), "answered")));
                made.fetch_add(1, Ordering::Relaxed);
            }
            answers
        });
    }
    let mut hash = gateway.readyz("the first rules", |_| true).await["rules"]["hash"].clone();
    for number in 1..=flips {
        let enough = calls / flips * number;
        let wait = async {
            while made.load(Ordering::Relaxed) < enough {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(Duration::from_mins(2), "calls between two changes", wait).await;
        flip(number).await;
        let state = gateway.readyz("other rules", |state| state["rules"]["hash"] != hash).await;
        hash = state["rules"]["hash"].clone();
    }
    done.store(true, Ordering::Relaxed);
    let answers: Vec<(String, BTreeSet<usize>)> = clients.join_all().await.concat();
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    let requests: Vec<String> =
        provider.requests().iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect();
    let by_call: std::collections::HashMap<String, &String> = requests
        .iter()
        .map(|body| (body[body.find("call ").unwrap()..body.find("asked").unwrap()].to_owned(), body))
        .collect();
    assert!(answers.len() >= calls, "{}", answers.len());
    for (id, marks) in &answers {
        let asked = said(by_call[id], "asked");
        assert_eq!(marks.len(), 1, "{id} was judged by {marks:?}");
        assert_eq!(&asked, marks, "{id} was asked and answered by different rules");
        seen.extend(marks);
    }
    // Else nothing was shown.
    assert!(seen.len() > flips / 2, "{seen:?}");
    println!("{} calls, each judged by one of {} rules", answers.len(), seen.len());
}

#[tokio::test]
async fn each_call_is_judged_by_one_of_the_rules_that_objects_bring() {
    let (provider, server) = (Provider::start().await, Server::start().await);
    server.create("marks", marks(0)).await;
    let gateway = server.builder(&provider).start().await;
    judged_by_one(&provider, &gateway, async |number| server.change("marks", marks(number)).await).await;
    gateway.stop().await;
}

#[tokio::test]
async fn each_call_is_judged_by_one_of_the_rules_that_a_file_brings() {
    let provider = Provider::start().await;
    let document = |number| json!({ "policies": marks(number) }).to_string();
    let gateway = Gateway::with(&provider).policy(&document(0)).start().await;
    judged_by_one(&provider, &gateway, async |number| fs::write(gateway.rules(), document(number)).unwrap()).await;
    gateway.stop().await;
}

#[tokio::test]
async fn objects_rule_a_gateway_that_runs() {
    let (provider, server) = (Provider::start().await, Server::start().await);
    provider.otherwise(Script::sse(samples::text(DIALECT, &["hello"])));
    server.create("upper", json!([{ "name": "upper", "type": "uppercase" }])).await;
    let gateway = server.builder(&provider).start().await;
    let answer = async || gateway.call(Version::Http1, Request::stream(DIALECT)).await.text();
    assert!(answer().await.contains("HELLO"));
    let words =
        json!([{ "name": "words", "type": "string_replacement", "config": { "replacements": { "hello": "moin" } } }]);
    let first = gateway.readyz("the rules", |_| true).await["rules"]["hash"].clone();
    server.change("upper", words).await;
    gateway.readyz("the second rules", |state| state["rules"]["hash"] != first).await;
    assert!(answer().await.contains("moin"));

    // A mistake changes nothing, and is told.
    server.change("upper", json!([{ "name": "upper", "type": "upercase" }])).await;
    let state = gateway.readyz("the refusal", |state| !state["rules"]["last_error"].is_null()).await;
    let error = state["rules"]["last_error"].as_str().unwrap();
    assert!(
        error.contains(&format!("LuthienPolicy {}/upper", server.namespace))
            && error.contains("did you mean `uppercase`?"),
        "{error}"
    );
    assert!(answer().await.contains("moin"));
    let metrics = gateway.admin(Request::new("GET", "/metrics")).await.text();
    let hash = state["rules"]["hash"].as_str().unwrap();
    assert!(metrics.contains(&format!("luthien_rules_info{{hash=\"{hash}\"}} 1")), "{metrics}");
    assert_eq!(metrics.matches("luthien_rules_info{").count(), 1, "{metrics}");
    assert!(metrics.contains("luthien_rules_rejected 1"), "{metrics}");

    // Nor does an API server that is gone.
    let Some(double) = server.double else { return gateway.stop().await };
    drop(double);
    let failing = async {
        while !gateway.admin(Request::new("GET", "/metrics")).await.text().contains("luthien_rules_source_failing 1") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(Duration::from_mins(1), "the metric", failing).await;
    assert!(answer().await.contains("moin"));
    gateway.stop().await;
}

#[tokio::test]
async fn where_rules_are_required_no_call_goes_on_without() {
    let provider = Provider::start().await;
    provider.otherwise(Script::sse(samples::text(DIALECT, &["hello"])));
    let rules = "policies: [{ name: chat, type: noop, match: { dialect: openai_chat } }]";
    let gateway =
        Gateway::with(&provider).policy(rules).rules_from("{ file: policy.yaml, required: true }").start().await;
    for (dialect, code) in [
        (Dialect::OpenaiChat, None),
        (Dialect::Anthropic, Some("/error/details/error_code")),
        (Dialect::OpenaiResponses, Some("/error/code")),
    ] {
        let answer = gateway.call(Version::Http1, Request::stream(dialect)).await;
        match code {
            None => assert_eq!(answer.status, 200, "{}", answer.text()),
            Some(pointer) => {
                assert_eq!(answer.status, 503, "{}", answer.text());
                assert_eq!(answer.json().pointer(pointer), Some(&json!("gateway_no_rules")), "{}", answer.text());
                assert!(answer.text().contains("rules.required"), "{}", answer.text());
                assert_eq!(answer.header("x-should-retry"), Some("false"));
            }
        }
    }
    assert_eq!(provider.requests().len(), 1, "what is refused is not asked");
    // One that only looks on is no protection.
    let before = gateway.readyz("the rules", |_| true).await["rules"]["hash"].clone();
    fs::write(gateway.rules(), rules.replace("noop,", "noop, mode: shadow,")).unwrap();
    gateway.readyz("other rules", |state| state["rules"]["hash"] != before).await;
    let answer = gateway.call(Version::Http1, Request::stream(Dialect::OpenaiChat)).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let metrics = gateway.admin(Request::new("GET", "/metrics")).await.text();
    assert!(
        metrics.lines().any(|line| line.starts_with("luthien_calls_total") && line.contains("outcome=\"no_rules\""))
    );
    gateway.stop().await;
}

/// Until there are rules, the process is not ready, and answers no call.
#[tokio::test]
async fn before_there_are_rules_no_call_goes_on() {
    let (provider, server) = (Provider::start().await, Server::double().await);
    let double = server.double.as_ref().unwrap();
    double.forbid("list", "luthien.dev/luthienpolicies");
    server.create("upper", json!([{ "name": "upper", "type": "uppercase" }])).await;
    provider.otherwise(Script::sse(samples::text(DIALECT, &["hello"])));
    let starting = server.builder(&provider).starting().await;
    let refused = async {
        loop {
            let request = Request::stream(DIALECT);
            if let Ok(response) = client::try_send(Version::Http1, starting.listen(), request).await {
                let answer = response.finish().await;
                if answer.text().contains("gateway_no_rules") {
                    return answer;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let answer = within(Duration::from_mins(1), "a refusal", refused).await;
    assert_eq!(answer.status, 503);
    assert_eq!(provider.requests().len(), 0);
    let state = starting.admin(Request::new("GET", "/readyz")).await;
    assert_eq!(state.status, 503);
    assert!(state.text().contains("the API server forbids it"), "{}", state.text());
    double.allow();
    let state = starting.readyz("the rules", |state| state["ready"] == true).await;
    assert_ne!(state["rules"]["hash"], "none");
    let answer = starting.call(Version::Http1, Request::stream(DIALECT)).await;
    assert!(answer.text().contains("HELLO"), "{}", answer.text());
    starting.stop().await;
}

/// By the names that Envoy Gateway gives routes and virtual hosts, in a real Envoy.
#[tokio::test]
async fn objects_hold_for_their_route_and_their_gateway_alone() {
    let server = Server::double().await;
    for (number, (kind, name)) in
        [("HTTPRoute", "luthien"), ("Gateway", "eg"), ("HTTPRoute", "elsewhere"), ("Gateway", "other")]
            .iter()
            .enumerate()
    {
        let target = json!({ "group": "gateway.networking.k8s.io", "kind": kind, "name": name });
        let replacements = json!({ format!("<{number}>"): format!("[{name}]") });
        let policy = json!({ "name": format!("p{number}"), "type": "string_replacement", "config": { "replacements": replacements } });
        let spec = LuthienPolicySpec(json!({ "targetRefs": [target], "policies": [policy] }));
        let object = LuthienPolicy::new(&format!("object-{number}"), spec);
        server.objects.create(&PostParams::default(), &object).await.unwrap();
    }
    let providers = (Provider::start().await, Provider::start().await);
    let environment = [("KUBECONFIG", server.kubeconfig.to_str().unwrap()), ("POD_NAMESPACE", NAMESPACE)];
    let rules = "rules: { crd: { gateway_api: true } }";
    let shape = Shape::EnvoyGateway;
    let attached = Attached::start_with(shape, (&providers.0, &providers.1), "", rules, &environment).await;
    let answer = "<0> <1> <2> <3>";
    providers.1.expect(Script::sse(samples::text(DIALECT, &[answer])));
    let said = attached.call(Version::Http1, Request::stream(DIALECT)).await;
    assert_eq!(said.text(), samples::text(DIALECT, &["[luthien] [eg] <2> <3>"]));
    attached.stop().await;
}
