//! The OpenAPI document of the debug API, made of its routes.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{answers::Error, routes::all};

/// The document (OpenAPI 3.1).
pub(super) fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut generator = settings.into_generator();
    let error = generator.subschema_for::<Error>();
    let mut paths: Map<String, Value> = Map::new();
    for route in all() {
        let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let in_path =
            in_path.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
        let in_query = route.query.iter().map(|(name, description)| {
            json!({ "name": name, "in": "query", "description": description, "schema": { "type": "string" } })
        });
        let parameters: Vec<Value> = in_path.chain(in_query).collect();
        let answer = (route.answer)(&mut generator);
        let failed = |description: &str| json!({ "description": description, "content": { "application/json": { "schema": error } } });
        let ok = json!({ "description": "OK", "content": { route.media: { "schema": answer } } });
        let responses: Map<String, Value> = [
            (true, "200", ok),
            (!route.query.is_empty(), "400", failed("The query cannot be understood")),
            (true, "401", failed("The token is missing or wrong")),
            (route.method == "delete", "403", failed("The token is a viewer's, or another site asks")),
            (route.path.contains('{'), "404", failed("There is no such thing")),
            (true, "503", failed("The store does not answer, or took too long")),
        ]
        .into_iter()
        .filter(|(applies, ..)| *applies)
        .map(|(_, status, answer)| (status.to_owned(), answer))
        .collect();
        let operation = json!({ "summary": route.summary, "parameters": parameters, "responses": responses });
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(methods) = path.as_object_mut() {
            methods.insert(route.method.to_owned(), operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Luthien debug API",
            "description": "What is recorded of calls. Times are as in RFC 3339; what is missing is not known.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "token": [] }, {}],
    })
}
