//! The custom resource `LuthienPolicy`.
//!
//! Its policies are those of `policy.yaml`: the schema that the API server holds objects to is made of the types that
//! read that document, so that there is one definition of both. What that schema cannot say, the controller checks.

use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{super::rules::RulesDocument, super::schema, structural::structural};

/// The group of the resource.
pub const GROUP: &str = "luthien.dev";
/// Its kind.
pub const KIND: &str = "LuthienPolicy";
/// The group of `Gateway` and `HTTPRoute`.
pub const GATEWAY_API: &str = "gateway.networking.k8s.io";
/// Keys of `policy.yaml` that an object may have beside `policies`, as they hold for every call.
pub const DOCUMENT_KEYS: [&str; 4] = ["release", "lossy", "stateful", "record"];
/// The most entries of `status.ancestors`, and the most targets of an object, as the Gateway API has it.
pub const MOST_ANCESTORS: usize = 16;

/// What an object wants, as it is written. It is read by the controller and not here: an object that cannot be read must
/// not keep others from being seen.
#[expect(clippy::duplicated_attributes, reason = "each belongs to a column of its own")]
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
#[kube(
    group = "luthien.dev",
    version = "v1alpha1",
    kind = "LuthienPolicy",
    plural = "luthienpolicies",
    namespaced,
    shortname = "lpol",
    category = "luthien",
    status = "PolicyStatus",
    schema = "disabled",
    derive = "PartialEq",
    doc = "Policies that run on calls, and where they hold.",
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.ancestors[*].conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.ancestors[*].conditions[?(@.type==\"Accepted\")].reason"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.ancestors[*].conditions[?(@.type==\"Programmed\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct LuthienPolicySpec(pub Value);

/// What controllers say of an object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// One entry for each target and controller; those of other controllers stay as they are.
    #[serde(default)]
    pub ancestors: Vec<Value>,
}

/// What an object's policies hold for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct TargetRef {
    /// The API group; empty for a Service.
    #[serde(default)]
    pub group: String,
    /// `Service`, `Gateway` or `HTTPRoute`.
    pub kind: String,
    /// Its name, in the namespace of the object.
    pub name: String,
}

/// The definition of the resource.
pub fn crd() -> Value {
    // The type has no field that JSON cannot say.
    let mut crd = serde_json::to_value(LuthienPolicy::crd()).unwrap_or_default();
    if let Some(version) = crd.pointer_mut("/spec/versions/0").and_then(Value::as_object_mut) {
        version.insert("schema".to_owned(), json!({ "openAPIV3Schema": object() }));
    }
    if let Some(metadata) = crd.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        // So tools know a policy of the Gateway API's kind.
        metadata.insert("labels".to_owned(), json!({ "gateway.networking.k8s.io/policy": "Direct" }));
    }
    crd
}

fn object() -> Value {
    json!({
        "description": "Policies that run on calls, and what they hold for.",
        "type": "object",
        "required": ["spec"],
        "properties": { "spec": spec(), "status": status() },
    })
}

/// The schema of `spec`.
pub(super) fn spec() -> Value {
    let document = schema::of::<RulesDocument>();
    let of = |name: &str| {
        let node = document.pointer(&format!("/properties/{name}"));
        node.map_or(Value::Null, |node| structural(node, &document))
    };
    let mut fields = Map::new();
    fields.insert("targetRefs".to_owned(), target_refs());
    fields.insert(
        "priority".to_owned(),
        json!({
            "description": "Policies of objects with a higher priority run first. Default 0; among equals those of the older \
                            object, then in the order of namespace and name.",
            "type": "integer",
            "format": "int32",
            "minimum": -1_000_000,
            "maximum": 1_000_000,
        }),
    );
    for name in DOCUMENT_KEYS {
        fields.insert(name.to_owned(), of(name));
    }
    let mut policies = of("policies");
    if let Some(list) = policies.as_object_mut() {
        list.insert(
            "x-kubernetes-validations".to_owned(),
            json!([{
                "rule": "self.all(one, self.exists_one(other, other.name == one.name))",
                "message": "two policies have the same name; give each its own",
            }]),
        );
    }
    fields.insert("policies".to_owned(), policies);
    json!({
        "type": "object",
        "required": ["targetRefs", "policies"],
        "properties": fields,
        "x-kubernetes-validations": [{
            "rule": "!(has(self.release) || has(self.lossy) || has(self.stateful) || has(self.record)) || \
                     self.targetRefs.exists(target, target.kind == 'Service')",
            "message": "release, lossy, stateful and record hold for every call; set them in an object that targets the Service",
        }],
    })
}

fn target_refs() -> Value {
    let text = |about: &str, longest: u64| json!({ "description": about, "type": "string", "maxLength": longest });
    let mut kind = text("Service, Gateway or HTTPRoute.", 63);
    let mut name = text("The name, in the namespace of this object.", 253);
    for text in [&mut kind, &mut name] {
        if let Some(fields) = text.as_object_mut() {
            fields.insert("minLength".to_owned(), json!(1));
        }
    }
    json!({
        "description": "What the policies hold for. The Service of a release stands for every call of it; with the Gateway \
                        API also a Gateway or an HTTPRoute, for the calls that come through it.",
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_ANCESTORS,
        "items": {
            "type": "object",
            "required": ["group", "kind", "name"],
            "properties": {
                "group": text("The API group: empty for a Service, otherwise gateway.networking.k8s.io.", 253),
                "kind": kind,
                "name": name,
            },
            "x-kubernetes-validations": [{
                "rule": format!(
                    "self.group == '' ? self.kind == 'Service' : \
                     self.group == '{GATEWAY_API}' && self.kind in ['Gateway', 'HTTPRoute']"
                ),
                "message": format!(
                    "policies hold for a Service (group \"\"), a Gateway or an HTTPRoute (group {GATEWAY_API})"
                ),
            }],
        },
        "x-kubernetes-validations": [{
            "rule": "self.all(one, self.exists_one(other, other.group == one.group && other.kind == one.kind && \
                     other.name == one.name))",
            "message": "a target is named twice; name it once",
        }],
    })
}

/// As the Gateway API's `PolicyStatus`.
fn status() -> Value {
    let text = |longest: u64| json!({ "type": "string", "maxLength": longest });
    json!({
        "description": "What controllers say of the object.",
        "type": "object",
        "required": ["ancestors"],
        "properties": {
            "ancestors": {
                "description": "One entry for each target, written by the release that it belongs to.",
                "type": "array",
                "maxItems": MOST_ANCESTORS,
                "items": {
                    "type": "object",
                    "required": ["ancestorRef", "controllerName"],
                    "properties": {
                        "ancestorRef": {
                            "type": "object",
                            "required": ["name"],
                            "properties": {
                                "group": text(253),
                                "kind": text(63),
                                "namespace": text(63),
                                "name": text(253),
                                "sectionName": text(253),
                                "port": { "type": "integer", "format": "int32", "minimum": 1, "maximum": 65535 },
                            },
                        },
                        "controllerName": {
                            "description": "The release, as luthien.dev/NAMESPACE/NAME.",
                            "type": "string",
                            "minLength": 1,
                            "maxLength": 253,
                        },
                        "conditions": conditions(),
                    },
                },
            },
        },
    })
}

/// As `metav1.Condition`.
fn conditions() -> Value {
    json!({
        "description": "Accepted: the object as it is now is good. Programmed: it is what runs.",
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "minLength": 1, "maxLength": 316 },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": { "type": "string", "maxLength": 32768 },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
                "lastTransitionTime": { "type": "string", "format": "date-time" },
            },
        },
    })
}
