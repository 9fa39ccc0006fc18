//! A real API server, where there is one.

use std::{path::PathBuf, time::Duration};

use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, Error,
    api::{ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use luthien::config::kubernetes::crd::{LuthienPolicy, crd};
use serde_json::json;

/// The variable that leads to it.
const VARIABLE: &str = "LUTHIEN_TEST_KUBECONFIG";

/// A namespace of its own for one test, on a real API server that knows our definition.
pub(crate) struct Real {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// The file that leads there.
    pub(crate) kubeconfig: PathBuf,
}

/// The real API server; nothing where no variable leads to one, which is said aloud.
pub(crate) async fn real() -> Option<Real> {
    let Some(file) = std::env::var_os(VARIABLE) else {
        eprintln!("SKIPPED: the real API server, as {VARIABLE} is not set; this runs against the double only");
        return None;
    };
    let kubeconfig = PathBuf::from(file);
    luthien::policies::http::choose_cryptography();
    let read = Kubeconfig::read_from(&kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.expect("a context");
    let client = Client::try_from(config).expect("a client");
    let definition: CustomResourceDefinition = serde_json::from_value(crd()).expect("a definition");
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let apply = PatchParams::apply("luthien-tests").force();
    definitions.patch("luthienpolicies.luthien.dev", &apply, &Patch::Apply(&definition)).await.expect("installed");
    let namespace = format!("luthien-test-{}", uuid::Uuid::new_v4().simple());
    let wanted = serde_json::from_value(json!({ "metadata": { "name": namespace } })).expect("a namespace");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match namespaces.create(&PostParams::default(), &wanted).await {
        Ok(_) => {}
        // A server for tests need not have any; then each name will do.
        Err(Error::Api(status)) if status.code == 404 => {}
        Err(error) => panic!("a namespace: {error}"),
    }
    let objects: Api<LuthienPolicy> = Api::namespaced(client.clone(), &namespace);
    let served = async {
        while objects.list(&ListParams::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), served).await.expect("the definition is served soon");
    Some(Real { client, namespace, kubeconfig })
}
