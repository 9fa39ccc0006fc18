//! Calls.

use axum::{
    extract::{Path, Query, State},
    http::HeaderMap,
    response::Response,
};
use serde_json::Value;

use super::{
    super::{access::Caller, pages, reply::Wants, routes::AdminState},
    answers::{Deleted, Differences, Problem, json},
    diff,
    query::Asked,
};
use crate::store::Call;

pub(super) type Queried = Query<Vec<(String, String)>>;

/// `GET /debug/calls`
pub(super) async fn list(
    State(state): State<AdminState>,
    caller: Caller,
    wants: Wants,
    Query(query): Queried,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let Asked { filter, after, limit } = Asked::of(&query, true)?;
        Ok(state.store.list(&filter, after.as_ref(), limit).await?)
    };
    match wants {
        Wants::Page => pages::list(&state, caller, &query, answer.await),
        Wants::Json => json(&headers, answer.await),
    }
}

/// `GET /debug/calls/{call_id}`
pub(super) async fn one(
    State(state): State<AdminState>,
    caller: Caller,
    wants: Wants,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match (find(&state, &id).await, wants) {
        (Ok(call), Wants::Page) => pages::one(&state, caller, call),
        (answer, _) => json(&headers, answer),
    }
}

/// `GET /debug/calls/{call_id}/diff`
pub(super) async fn diff(
    State(state): State<AdminState>,
    caller: Caller,
    wants: Wants,
    Path(id): Path<String>,
    Query(query): Queried,
    headers: HeaderMap,
) -> Response {
    match (find(&state, &id).await, wants) {
        (Ok(call), Wants::Page) => {
            let is_side = query.iter().any(|(name, value)| name == "view" && value == "side");
            pages::diff(caller, is_side, &call, differences(&call))
        }
        (answer, _) => json(&headers, answer.map(|call| differences(&call))),
    }
}

/// `GET /debug/diff`
pub(in crate::admin) async fn ask_diff(caller: Caller, Query(ask): Query<pages::Ask>) -> Response {
    pages::ask(caller, &ask)
}

/// `DELETE /debug/calls/{call_id}`
pub(super) async fn delete(
    State(state): State<AdminState>,
    _: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answer =
        async { if state.store.delete_call(&id).await? { Ok(Deleted { deleted: 1 }) } else { Err(missing()) } };
    json(&headers, answer.await)
}

/// The call, or that there is none.
pub(in crate::admin) async fn find(state: &AdminState, id: &str) -> Result<Call, Problem> {
    state.store.call(id).await?.ok_or_else(missing)
}

/// What became of a call's bodies.
pub(in crate::admin) fn differences(call: &Call) -> Differences {
    let decisions = diff::decisions(&call.events);
    let nothing = Value::Null;
    // Where nothing left, there is nothing to compare.
    let sides = |sides: &crate::store::Sides,
                 compare: fn(&Value, &Value, &[diff::Decision]) -> Vec<diff::Difference>| {
        match (&sides.original, &sides.sent) {
            (before, Some(after)) => compare(before.as_ref().unwrap_or(&nothing), after, &decisions),
            (Some(_) | None, None) => Vec::new(),
        }
    };
    Differences {
        call_id: call.summary.call_id.clone(),
        record: call.summary.record.clone(),
        request: sides(&call.request, diff::of_request),
        response: sides(&call.response, diff::of_response),
    }
}

fn missing() -> Problem {
    Problem::missing("no such call is recorded; it may be too old (`recording.keep`), or still on its way to the store")
}
