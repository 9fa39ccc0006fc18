//! An API server of Kubernetes over plain HTTP: lists, watches with bookmarks, writes with versions, and faults on demand.
//!
//! It knows no schemas: objects are JSON. What it does keep to is what a controller relies on: versions that only grow, 409
//! for a write to an older one, 410 for a watch from a version that is forgotten, a generation that counts changes of
//! `spec`, and a status that only its subresource changes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

/// The server. Dropping it ends it and every watch.
pub(crate) struct ApiServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    state: Mutex<Cluster>,
    /// Counts what happened, for watches that wait.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Cluster {
    version: u64,
    /// By resource, as `luthien.dev/luthienpolicies`, then namespace and name.
    objects: BTreeMap<String, BTreeMap<(String, String), Value>>,
    history: Vec<Happened>,
    /// What is older is forgotten.
    forgotten: u64,
    /// Watches of an older time are broken off.
    epoch: u64,
    /// Verbs and resources that are forbidden.
    forbidden: BTreeSet<(String, String)>,
    /// Roles of who shows a token; who shows none may do everything.
    roles: Option<Roles>,
    /// Groups that do not exist.
    missing: BTreeSet<String>,
    /// What somebody else writes into the status right before the next write.
    rivals: VecDeque<Value>,
    requests: Vec<(String, String)>,
}

struct Happened {
    version: u64,
    resource: String,
    namespace: String,
    name: String,
    /// `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`.
    kind: &'static str,
    object: Value,
}

/// What a request is about.
#[derive(Clone)]
struct Asked {
    group: String,
    api_version: String,
    resource: String,
    namespace: String,
    name: Option<String>,
    is_status: bool,
    query: BTreeMap<String, String>,
}

impl ApiServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared { state: Mutex::default(), changed: watch::Sender::new(0) });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { address, shared, tasks }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A kubeconfig that leads here.
    pub(crate) fn kubeconfig(&self, namespace: &str) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "double", "cluster": { "server": self.url() } }],
            "users": [{ "name": "nobody", "user": {} }],
            "contexts": [{ "name": "c", "context": { "cluster": "double", "user": "nobody", "namespace": namespace } }],
            "current-context": "c",
        })
        .to_string()
    }

    /// Breaks off every watch in mid-stream.
    pub(crate) fn disconnect(&self) {
        self.change(|cluster| cluster.epoch += 1);
    }

    /// Forgets what happened: a watch from before is told that it is gone.
    pub(crate) fn forget(&self) {
        self.change(|cluster| {
            cluster.version += 1;
            cluster.forgotten = cluster.version;
            cluster.history.clear();
        });
    }

    /// Tells every watch the version, as real ones do from time to time.
    pub(crate) fn bookmark(&self) {
        self.change(|cluster| {
            cluster.version += 1;
            let resources: Vec<String> = cluster.objects.keys().cloned().collect();
            for resource in resources {
                let object = json!({ "metadata": { "resourceVersion": cluster.version.to_string() } });
                let (namespace, name) = (String::new(), String::new());
                let version = cluster.version;
                cluster.history.push(Happened { version, resource, namespace, name, kind: "BOOKMARK", object });
            }
        });
    }

    /// Forbids a verb (`get`, `list`, `watch`, `create`, `update`, `patch`) on a resource, as `luthien.dev/luthienpolicies`.
    pub(crate) fn forbid(&self, verb: &str, resource: &str) {
        self.change(|cluster| _ = cluster.forbidden.insert((verb.to_owned(), resource.to_owned())));
    }

    /// Allows everything again, and every group exists.
    pub(crate) fn allow(&self) {
        self.change(|cluster| {
            cluster.forbidden.clear();
            cluster.missing.clear();
        });
    }

    /// Whoever shows a token may do what these `Role` objects allow, each in its namespace, and nothing else.
    pub(crate) fn allow_only(&self, roles: &[Value]) {
        self.change(|cluster| cluster.roles = Some(Roles::new(roles)));
    }

    /// What was asked for and is in no role, and what roles allow and nobody asked for.
    pub(crate) fn rights(&self) -> (Vec<String>, Vec<String>) {
        self.shared.lock().roles.as_ref().map(|roles| (roles.refused.clone(), roles.unused())).unwrap_or_default()
    }

    /// Nobody has installed the definitions of a group.
    pub(crate) fn without(&self, group: &str) {
        self.change(|cluster| _ = cluster.missing.insert(group.to_owned()));
    }

    /// Right before the next write of a status, somebody else writes this one.
    pub(crate) fn rival(&self, status: Value) {
        self.change(|cluster| cluster.rivals.push_back(status));
    }

    /// Every request so far: verb and path.
    pub(crate) fn requests(&self) -> Vec<(String, String)> {
        self.shared.lock().requests.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Cluster)) {
        change(&mut self.shared.lock());
        self.shared.changed.send_modify(|count| *count += 1);
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.tasks.abort_all();
        self.disconnect();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Cluster> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    fn of(request: &Request) -> Option<Self> {
        let mut steps = request.uri().path().split('/').filter(|step| !step.is_empty());
        let group = match steps.next()? {
            "api" => String::new(),
            "apis" => steps.next()?.to_owned(),
            _ => return None,
        };
        let api_version = steps.next()?.to_owned();
        let mut rest: Vec<&str> = steps.collect();
        let namespace = match rest.as_slice() {
            ["namespaces", namespace, _, ..] => {
                let namespace = (*namespace).to_owned();
                rest.drain(..2);
                namespace
            }
            _ => String::new(),
        };
        let mut rest = rest.into_iter();
        let resource = rest.next()?.to_owned();
        let name = rest.next().map(str::to_owned);
        let is_status = rest.next() == Some("status");
        let query = request.uri().query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Some(Self { group, api_version, resource, namespace, name, is_status, query })
    }

    /// As rules of access name it.
    fn resource(&self) -> String {
        format!("{}/{}", self.group, self.resource)
    }

    fn verb(&self, method: &Method) -> &'static str {
        match (method.as_str(), &self.name) {
            ("GET", Some(_)) => "get",
            ("GET", None) if self.query.get("watch").is_some_and(|watch| watch != "false") => "watch",
            ("GET", None) => "list",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            _ => "delete",
        }
    }

    /// The only name that a list or a watch is about.
    fn field(&self) -> Option<&str> {
        self.query.get("fieldSelector").and_then(|field| field.strip_prefix("metadata.name="))
    }

    fn selects(&self, namespace: &str, name: &str) -> bool {
        let field = self.field();
        (self.namespace.is_empty() || self.namespace == namespace) && field.is_none_or(|only| only == name)
    }
}

/// What may be asked for, verb by verb, and what was.
struct Roles {
    rights: Vec<Right>,
    refused: Vec<String>,
}

/// One verb on one resource, of one name or of all.
struct Right {
    namespace: String,
    verb: String,
    resource: String,
    name: Option<String>,
    was_used: bool,
}

impl Roles {
    fn new(roles: &[Value]) -> Self {
        let texts = |list: &Value| -> Vec<String> {
            list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
        };
        let mut rights = Vec::new();
        for role in roles {
            let namespace = role["metadata"]["namespace"].as_str().unwrap_or_default();
            for rule in role["rules"].as_array().into_iter().flatten() {
                let names = texts(&rule["resourceNames"]);
                let names = if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
                for (group, resource) in texts(&rule["apiGroups"])
                    .iter()
                    .flat_map(|g| texts(&rule["resources"]).into_iter().map(move |r| (g, r)))
                {
                    for (verb, name) in
                        texts(&rule["verbs"]).into_iter().flat_map(|v| names.iter().map(move |n| (v.clone(), n)))
                    {
                        rights.push(Right {
                            namespace: namespace.to_owned(),
                            verb,
                            resource: format!("{group}/{resource}"),
                            name: name.clone(),
                            was_used: false,
                        });
                    }
                }
            }
        }
        Self { rights, refused: Vec::new() }
    }

    /// As the API server's RBAC decides it: a list or watch of one name is about that name, and what is created has none yet.
    fn allow(&mut self, asked: &Asked, verb: &str) -> bool {
        let resource = asked.resource() + if asked.is_status { "/status" } else { "" };
        let name = if verb == "create" { None } else { asked.name.as_deref().or(asked.field()) };
        let fits = |right: &&mut Right| {
            right.verb == verb
                && right.namespace == asked.namespace
                && right.resource == resource
                && right.name.as_deref().is_none_or(|only| Some(only) == name)
        };
        match self.rights.iter_mut().find(fits) {
            Some(right) => right.was_used = true,
            None => self.refused.push(format!("{verb} {resource} {} in {}", name.unwrap_or("*"), asked.namespace)),
        }
        self.refused.is_empty()
    }

    fn unused(&self) -> Vec<String> {
        let unused = self.rights.iter().filter(|right| !right.was_used);
        let said = |right: &Right| {
            let Right { namespace, verb, resource, name, .. } = right;
            format!("{verb} {resource} {} in {namespace}", name.as_deref().unwrap_or("*"))
        };
        unused.map(said).collect()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let Some(asked) = Asked::of(&request) else { return failure(404, "NotFound", "there is no such path") };
    let verb = asked.verb(request.method());
    let path = request.uri().path().to_owned();
    let has_token = request.headers().contains_key(header::AUTHORIZATION);
    let body = axum::body::to_bytes(request.into_body(), 4 << 20).await.unwrap_or_default();
    {
        let mut cluster = shared.lock();
        cluster.requests.push((verb.to_owned(), path));
        let resource = asked.resource();
        if cluster.missing.contains(&asked.group) {
            return failure(404, "NotFound", "the server could not find the requested resource");
        }
        let is_allowed = !has_token || cluster.roles.as_mut().is_none_or(|roles| roles.allow(&asked, verb));
        if !is_allowed || cluster.forbidden.contains(&(verb.to_owned(), resource.clone())) {
            let message = format!("{resource} is forbidden: User \"double\" cannot {verb} it");
            return failure(403, "Forbidden", &message);
        }
    }
    match verb {
        "watch" => watched(shared, asked),
        "list" => listed(&shared.lock(), &asked),
        "get" => {
            let cluster = shared.lock();
            cluster.find(&asked).map_or_else(|| missing(&asked), |object| json_of(200, object))
        }
        _ => {
            let written = shared.lock().write(&asked, verb, &body);
            shared.changed.send_modify(|count| *count += 1);
            written
        }
    }
}

fn listed(cluster: &Cluster, asked: &Asked) -> Response {
    let all = cluster.objects.get(&asked.resource()).into_iter().flatten();
    let items: Vec<&Value> =
        all.filter(|((namespace, name), _)| asked.selects(namespace, name)).map(|(_, object)| object).collect();
    let version = cluster.version.to_string();
    json_of(
        200,
        &json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": version }, "items": items }),
    )
}

/// Everything since the version that is asked for, and then what happens.
fn watched(shared: Arc<Shared>, asked: Asked) -> Response {
    let since = asked.query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    let epoch = shared.lock().epoch;
    let changes = shared.changed.subscribe();
    let lines = stream::unfold((since, changes, false), move |(since, mut changes, is_over)| {
        let (shared, asked) = (Arc::clone(&shared), asked.clone());
        async move {
            if is_over {
                return None;
            }
            loop {
                changes.mark_unchanged();
                {
                    let cluster = shared.lock();
                    if cluster.epoch != epoch {
                        let broken = io::Error::new(io::ErrorKind::ConnectionReset, "broken off");
                        return Some((Err(broken), (since, changes, true)));
                    }
                    if since < cluster.forgotten {
                        let gone =
                            json!({ "type": "ERROR", "object": status(410, "Expired", "too old resource version") });
                        return Some((Ok(line(&gone)), (since, changes, true)));
                    }
                    let resource = asked.resource();
                    let mut news = cluster.history.iter().filter(|happened| happened.version > since);
                    let next = news.find(|happened| {
                        happened.resource == resource
                            && (happened.kind == "BOOKMARK" || asked.selects(&happened.namespace, &happened.name))
                    });
                    if let Some(next) = next {
                        let event = json!({ "type": next.kind, "object": next.object });
                        return Some((Ok(line(&event)), (next.version, changes, false)));
                    }
                }
                if changes.changed().await.is_err() {
                    return None;
                }
            }
        }
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines.map(|line: io::Result<Bytes>| line)))
        .into_response()
}

impl Cluster {
    fn find(&self, asked: &Asked) -> Option<&Value> {
        self.objects.get(&asked.resource())?.get(&(asked.namespace.clone(), asked.name.clone()?))
    }

    fn write(&mut self, asked: &Asked, verb: &str, body: &[u8]) -> Response {
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let before = self.find(asked).cloned();
        match verb {
            "create" => {
                let name = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
                let asked = Asked { name: Some(name), ..asked.clone() };
                if self.find(&asked).is_some() {
                    return failure(409, "AlreadyExists", "it exists");
                }
                let mut object = body;
                if let Some(fields) = object.as_object_mut() {
                    // Only the subresource writes it.
                    fields.remove("status");
                }
                json_of(201, &self.put(&asked, object, None))
            }
            "delete" => {
                let Some(object) = before else { return missing(asked) };
                let key = (asked.namespace.clone(), asked.name.clone().unwrap_or_default());
                self.objects.entry(asked.resource()).or_default().remove(&key);
                self.version += 1;
                self.happened(asked, "DELETED", object);
                json_of(200, &status(200, "", ""))
            }
            _ => {
                let rival = if asked.is_status { self.rivals.pop_front() } else { None };
                if let (Some(rival), Some(mut object)) = (rival, before.clone()) {
                    set(&mut object, "status", rival);
                    self.put(asked, object, before.as_ref());
                }
                let Some(before) = self.find(asked).cloned() else { return missing(asked) };
                let wanted = body.pointer("/metadata/resourceVersion").filter(|version| !version.is_null());
                if wanted.is_some_and(|version| Some(version) != before.pointer("/metadata/resourceVersion")) {
                    return failure(409, "Conflict", "the object has been modified");
                }
                let mut object = if verb == "patch" { merged(before.clone(), &body) } else { body };
                // Each of the two sides keeps what the other writes.
                let kept = if asked.is_status { "spec" } else { "status" };
                match before.get(kept) {
                    Some(value) => set(&mut object, kept, value.clone()),
                    None => _ = object.as_object_mut().and_then(|fields| fields.remove(kept)),
                }
                json_of(200, &self.put(asked, object, Some(&before)))
            }
        }
    }

    /// Stores an object, with the metadata that the server gives.
    fn put(&mut self, asked: &Asked, mut object: Value, before: Option<&Value>) -> Value {
        self.version += 1;
        let given = |key: &str| before.and_then(|before| before.pointer(&format!("/metadata/{key}")).cloned());
        // Each object is a second younger than the one before.
        let created = UNIX_EPOCH + Duration::from_secs(1_767_225_600 + self.version);
        let created = json!(humantime::format_rfc3339_seconds(created).to_string());
        let generation = given("generation").and_then(|generation| generation.as_i64()).unwrap_or(0);
        let has_changed = before.is_none_or(|before| before.get("spec") != object.get("spec"));
        let mut metadata = object.get("metadata").and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
        for (key, value) in [
            ("name", json!(asked.name)),
            ("namespace", json!(asked.namespace)),
            ("uid", given("uid").unwrap_or_else(|| json!(format!("uid-{}", self.version)))),
            ("creationTimestamp", given("creationTimestamp").unwrap_or(created)),
            ("generation", json!(generation + i64::from(has_changed))),
            ("resourceVersion", json!(self.version.to_string())),
        ] {
            metadata.insert(key.to_owned(), value);
        }
        set(&mut object, "metadata", Value::Object(metadata));
        let version = &asked.api_version;
        let api = if asked.group.is_empty() { version.clone() } else { format!("{}/{version}", asked.group) };
        if object.get("apiVersion").is_none() {
            set(&mut object, "apiVersion", json!(api));
        }
        let key = (asked.namespace.clone(), asked.name.clone().unwrap_or_default());
        self.objects.entry(asked.resource()).or_default().insert(key, object.clone());
        self.happened(asked, if before.is_some() { "MODIFIED" } else { "ADDED" }, object.clone());
        object
    }

    fn happened(&mut self, asked: &Asked, kind: &'static str, mut object: Value) {
        let (version, resource) = (self.version, asked.resource());
        if let Some(metadata) = object.get_mut("metadata") {
            set(metadata, "resourceVersion", json!(version.to_string()));
        }
        let (namespace, name) = (asked.namespace.clone(), asked.name.clone().unwrap_or_default());
        self.history.push(Happened { version, resource, namespace, name, kind, object });
    }
}

/// RFC 7396.
fn merged(mut value: Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else { return patch.clone() };
    if !value.is_object() {
        value = json!({});
    }
    if let Some(fields) = value.as_object_mut() {
        for (key, change) in changes {
            if change.is_null() {
                fields.remove(key);
            } else {
                let before = fields.remove(key).unwrap_or(Value::Null);
                fields.insert(key.clone(), merged(before, change));
            }
        }
    }
    value
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

fn line(event: &Value) -> Bytes {
    format!("{event}\n").into()
}

fn missing(asked: &Asked) -> Response {
    failure(404, "NotFound", &format!("{} {:?} not found", asked.resource(), asked.name))
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    let outcome = if code < 400 { "Success" } else { "Failure" };
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": outcome, "reason": reason, "message": message, "code": code })
}

fn failure(code: u16, reason: &str, message: &str) -> Response {
    json_of(code, &status(code, reason, message))
}

fn json_of(code: u16, value: &Value) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
