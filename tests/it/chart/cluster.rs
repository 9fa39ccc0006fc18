//! As much of an API server as Helm asks for: it keeps objects, and merges what is patched. It knows no types.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

/// Group, version, plural, kind.
const KINDS: [(&str, &str, &str, &str); 14] = [
    ("", "v1", "configmaps", "ConfigMap"),
    ("", "v1", "namespaces", "Namespace"),
    ("", "v1", "pods", "Pod"),
    ("", "v1", "secrets", "Secret"),
    ("", "v1", "serviceaccounts", "ServiceAccount"),
    ("", "v1", "services", "Service"),
    ("apps", "v1", "deployments", "Deployment"),
    ("apps", "v1", "statefulsets", "StatefulSet"),
    ("coordination.k8s.io", "v1", "leases", "Lease"),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io", "v1", "roles", "Role"),
    ("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition"),
];

/// The objects by their paths.
#[derive(Default)]
pub(super) struct Cluster {
    objects: Mutex<BTreeMap<String, Value>>,
}

impl Cluster {
    /// Starts to listen; returns its address.
    pub(super) async fn start() -> (Arc<Self>, String) {
        let cluster = Arc::<Self>::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&cluster));
        #[expect(clippy::disallowed_methods, reason = "it answers for as long as the test runs")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        (cluster, address)
    }

    /// The object at a path.
    pub(super) fn get(&self, path: &str) -> Option<Value> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// Changes an object as its owner would.
    pub(super) fn change(&self, path: &str, change: &Value) {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        merge(objects.get_mut(path).unwrap_or_else(|| panic!("there is no {path}")), change);
    }
}

/// RFC 7396. Lists are replaced, which is not how the real one merges those of its own types.
fn merge(into: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else { return *into = patch.clone() };
    if !into.is_object() {
        *into = json!({});
    }
    let into = into.as_object_mut().expect("an object");
    for (key, value) in patch {
        if value.is_null() {
            into.remove(key);
        } else {
            merge(into.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn status(code: StatusCode, reason: &str) -> Response {
    let body =
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code.as_u16() });
    (code, Json(body)).into_response()
}

/// What the server has: `/api`, `/apis` and the list of each group.
fn discovery(path: &str) -> Option<Value> {
    let groups = || KINDS.iter().filter(|kind| !kind.0.is_empty());
    let version =
        |group: &str, version: &str| json!({ "groupVersion": format!("{group}/{version}"), "version": version });
    match path {
        "/version" => Some(json!({ "major": "1", "minor": "32", "gitVersion": "v1.32.0" })),
        "/api" => Some(json!({ "kind": "APIVersions", "versions": ["v1"] })),
        "/apis" => {
            let groups: BTreeMap<&str, Value> = groups().map(|kind| (kind.0, version(kind.0, kind.1))).collect();
            let groups: Vec<Value> = groups
                .iter()
                .map(|(name, version)| json!({ "name": name, "versions": [version], "preferredVersion": version }))
                .collect();
            Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
        }
        _ => {
            let group = match path.strip_prefix("/apis/") {
                Some(rest) => rest.strip_suffix("/v1")?,
                None if path == "/api/v1" => "",
                None => return None,
            };
            let resources: Vec<Value> = KINDS
                .iter()
                .filter(|kind| kind.0 == group)
                .map(|(_, _, plural, kind)| {
                    let namespaced = !["CustomResourceDefinition", "Namespace"].contains(kind);
                    let verbs = ["create", "delete", "get", "list", "patch", "update"];
                    json!({ "name": plural, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": verbs })
                })
                .collect();
            let version = path.trim_start_matches("/apis/").trim_start_matches("/api/");
            Some(json!({ "kind": "APIResourceList", "groupVersion": version, "resources": resources }))
        }
    }
}

/// Whether an object has the labels that a list asks for.
fn is_selected(object: &Value, query: &str) -> bool {
    let wanted = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "labelSelector");
    let wanted = wanted.map(|(_, value)| value.into_owned()).unwrap_or_default();
    wanted
        .split(',')
        .filter_map(|one| one.split_once('='))
        .all(|(key, value)| object["metadata"]["labels"][key] == value)
}

async fn answer(State(cluster): State<Arc<Cluster>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let path = uri.path();
    if path == "/openapi/v2" {
        // An empty message, as protobuf: no type is known, so none is checked.
        return StatusCode::OK.into_response();
    }
    if let Some(found) = discovery(path) {
        return Json(found).into_response();
    }
    let listed =
        KINDS.iter().find(|kind| path.rsplit('/').next() == Some(kind.2)).map(|kind| format!("{}List", kind.3));
    let is_list = listed.is_some();
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut objects = cluster.objects.lock().unwrap_or_else(PoisonError::into_inner);
    match (method.as_str(), is_list) {
        ("GET", true) => {
            let within = format!("{path}/");
            let items = objects
                .iter()
                .filter(|(at, object)| at.starts_with(&within) && is_selected(object, uri.query().unwrap_or_default()));
            let items: Vec<&Value> = items.map(|(_, object)| object).collect();
            Json(json!({ "kind": listed, "apiVersion": "v1", "metadata": {}, "items": items })).into_response()
        }
        ("POST", true) => {
            let at = format!("{path}/{}", sent["metadata"]["name"].as_str().unwrap_or_default());
            if objects.contains_key(&at) {
                return status(StatusCode::CONFLICT, "AlreadyExists");
            }
            objects.insert(at, sent.clone());
            (StatusCode::CREATED, Json(sent)).into_response()
        }
        (_, false) if !objects.contains_key(path) => status(StatusCode::NOT_FOUND, "NotFound"),
        ("PUT" | "PATCH", false) => {
            let object = objects.entry(path.to_owned()).or_default();
            if method == Method::PUT {
                *object = sent;
            } else {
                merge(object, &sent);
            }
            Json(&*object).into_response()
        }
        ("DELETE", false) => Json(objects.remove(path)).into_response(),
        ("GET", false) => Json(objects.get(path)).into_response(),
        _ => status(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    }
}
