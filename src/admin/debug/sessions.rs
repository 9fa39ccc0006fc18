//! Conversations.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};

use super::{
    super::{access::Caller, pages, reply::Wants, routes::AdminState},
    answers::{Conversation, Deleted, Problem, json},
    calls::Queried,
    query::Asked,
};
use crate::store::{Filter, StoreError};

/// So many ids are asked for at once.
const PAGE: u16 = 500;

/// `GET /debug/sessions`
pub(super) async fn list(
    State(state): State<AdminState>,
    caller: Caller,
    wants: Wants,
    Query(query): Queried,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let Asked { after, limit, .. } = Asked::of(&query, false)?;
        Ok(state.store.sessions(after.as_ref(), limit).await?)
    };
    match (answer.await, wants) {
        (Ok(found), Wants::Page) => pages::sessions(&state, caller, &query, &found),
        (answer, _) => json(&headers, answer),
    }
}

/// `GET /debug/sessions/{session_id}`
pub(super) async fn one(
    State(state): State<AdminState>,
    caller: Caller,
    wants: Wants,
    Path(id): Path<String>,
    Query(query): Queried,
    headers: HeaderMap,
) -> Response {
    match (conversation(&state, &id, &query).await, wants) {
        (Ok(found), Wants::Page) => pages::session(caller, &query, found),
        (answer, _) => json(&headers, answer),
    }
}

/// A conversation with the turns that are asked for.
pub(in crate::admin) async fn conversation(
    state: &AdminState,
    id: &str,
    query: &[(String, String)],
) -> Result<Conversation, Problem> {
    let Asked { after, limit, .. } = Asked::of(query, false)?;
    let session = state.store.session(id).await?.ok_or_else(missing)?;
    let turns = state.store.turns(id, after.as_ref(), limit).await?;
    Ok(Conversation { session, turns })
}

/// `GET /debug/sessions/{session_id}/export`: every call of it in full, one JSON object a line, in the order of time.
pub(super) async fn export(State(state): State<AdminState>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let calls = match ids(&state, &id).await {
        Ok(calls) if calls.is_empty() => return missing().answer(&headers),
        Ok(calls) => calls,
        Err(error) => return Problem::from(error).answer(&headers),
    };
    let lines = stream::iter(calls).then(move |call| {
        let store = state.store.clone();
        async move {
            let line = match store.call(&call).await {
                Ok(call) => call.and_then(|call| serde_json::to_string(&call).ok()),
                // The lines before have left; the last one says that more were to come.
                Err(error) => Some(serde_json::json!({ "error": error.to_string() }).to_string()),
            };
            Ok::<_, Infallible>(line.map(|line| line + "\n").unwrap_or_default())
        }
    });
    ([(header::CONTENT_TYPE, "application/jsonl")], Body::from_stream(lines)).into_response()
}

/// The calls of a conversation, probes included, in the order of time.
async fn ids(state: &AdminState, session: &str) -> Result<Vec<String>, StoreError> {
    let filter = Filter { session: Some(session.to_owned()), ..Filter::default() };
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = state.store.list(&filter, after.as_ref(), PAGE).await?;
        ids.extend(page.items.into_iter().map(|call| call.call_id));
        after = page.next_cursor.and_then(|cursor| cursor.parse().ok());
        if after.is_none() {
            ids.reverse();
            return Ok(ids);
        }
    }
}

/// `DELETE /debug/sessions/{session_id}`
pub(super) async fn delete(
    State(state): State<AdminState>,
    _: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        match state.store.delete_session(&id).await? {
            0 => Err(missing()),
            deleted => Ok(Deleted { deleted }),
        }
    };
    json(&headers, answer.await)
}

fn missing() -> Problem {
    Problem::missing("no such session is recorded; it may be too old (`recording.keep`), or its client sends no id")
}
