//! Every path of the debug API, with what it takes and answers.

use axum::{
    Json, Router,
    routing::{MethodRouter, delete, get},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{
    super::routes::AdminState,
    answers::{Conversation, Deleted, Differences},
    calls,
    openapi::document,
    query::{FILTERS, FORMAT, PAGING},
    sessions,
};
use crate::store::{Call, Page, Session, Summary};

/// A path, and one thing that can be done there.
pub(super) struct Route {
    /// `get` or `delete`.
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// What may stand behind the `?`.
    pub(super) query: Vec<(&'static str, &'static str)>,
    /// The form of the answer.
    pub(super) answer: fn(&mut SchemaGenerator) -> Schema,
    /// Its media type.
    pub(super) media: &'static str,
    handler: fn() -> MethodRouter<AdminState>,
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// All of them.
pub(super) fn all() -> Vec<Route> {
    const JSON: &str = "application/json";
    let listing = || PAGING.to_vec();
    let filtered = || FILTERS.into_iter().chain(PAGING).collect();
    let route = |method, path, summary, query, answer, handler| Route {
        method,
        path,
        summary,
        query,
        answer,
        media: JSON,
        handler,
    };
    vec![
        route("get", "/debug/calls", "Calls, the newest first", filtered(), schema::<Page<Summary>>, || {
            get(calls::list)
        }),
        route("get", "/debug/calls/{call_id}", "A call in full", vec![FORMAT], schema::<Call>, || get(calls::one)),
        route("delete", "/debug/calls/{call_id}", "Forgets a call", vec![], schema::<Deleted>, || {
            delete(calls::delete)
        }),
        route(
            "get",
            "/debug/calls/{call_id}/diff",
            "What policies changed",
            vec![FORMAT],
            schema::<Differences>,
            || get(calls::diff),
        ),
        route(
            "get",
            "/debug/sessions",
            "Conversations, the last one first",
            listing(),
            schema::<Page<Session>>,
            || get(sessions::list),
        ),
        route("get", "/debug/sessions/{session_id}", "A conversation", listing(), schema::<Conversation>, || {
            get(sessions::one)
        }),
        route("delete", "/debug/sessions/{session_id}", "Forgets a conversation", vec![], schema::<Deleted>, || {
            delete(sessions::delete)
        }),
        Route {
            media: "application/jsonl",
            ..route(
                "get",
                "/debug/sessions/{session_id}/export",
                "Every call of a conversation in full, one a line, in the order of time",
                vec![],
                schema::<Call>,
                || get(sessions::export),
            )
        },
    ]
}

/// The debug API.
pub(in crate::admin) fn routes() -> Router<AdminState> {
    all().into_iter().fold(Router::new(), |router, route| router.route(route.path, (route.handler)()))
}

/// `GET /openapi.json`
pub(in crate::admin) async fn openapi_json() -> Json<serde_json::Value> {
    Json(document())
}
