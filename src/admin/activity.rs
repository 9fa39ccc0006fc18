//! `GET /activity/stream`: what happens, as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};
use globset::{Glob, GlobSet, GlobSetBuilder};
use serde_json::json;

use crate::journal::activity::{Listener, Said, What};

use super::routes::AdminState;

/// How often silence is broken.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What whoever listens wants to see.
#[derive(Debug, Default)]
struct Filter {
    call: Option<GlobSet>,
    model: Option<GlobSet>,
    kind: Option<GlobSet>,
    policy: Option<GlobSet>,
}

pub(super) async fn stream(
    State(state): State<AdminState>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let filter = match Filter::of(&query) {
        Ok(filter) => filter,
        Err(error) => return (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response(),
    };
    // What is no id of ours is one that nobody knows any more.
    let last = headers.get("last-event-id").map(|id| id.to_str().ok().and_then(|id| id.parse().ok()));
    let listener = state.activity.listen(last.map(Option::unwrap_or_default));
    let events = Sse::new(events(listener, filter)).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("alive"));
    ([("cache-control", "no-store"), ("x-accel-buffering", "no")], events).into_response()
}

/// The events that pass the filter.
fn events(listener: Listener, filter: Filter) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    stream::unfold((listener, filter), |(mut listener, filter)| async move {
        loop {
            let told = listener.next().await?;
            if filter.lets(&told.said) {
                let event = sse::Event::default().id(told.id.to_string()).event(told.said.kind());
                return Some((Ok(event.data(told.said.json())), (listener, filter)));
            }
        }
    })
}

impl Filter {
    fn of(query: &[(String, String)]) -> Result<Self, String> {
        let mut filter = Self::default();
        for (name, value) in query {
            let globs = globs(value).map_err(|error| format!("`{name}`: {error}"))?;
            let field = match name.as_str() {
                "call_id" => &mut filter.call,
                "model" => &mut filter.model,
                "policy" => &mut filter.policy,
                "event_type" => {
                    if !What::TYPES.iter().any(|kind| globs.is_match(kind)) {
                        return Err(format!("no event has the type `{value}`; there are {}", What::TYPES.join(", ")));
                    }
                    &mut filter.kind
                }
                other => {
                    return Err(format!(
                        "`{other}` is no filter; there are `call_id`, `model`, `event_type` and `policy`"
                    ));
                }
            };
            if field.replace(globs).is_some() {
                return Err(format!("`{name}` is given twice; write its values with commas between them"));
            }
        }
        Ok(filter)
    }

    fn lets(&self, said: &Said) -> bool {
        let fits = |globs: &Option<GlobSet>, value: Option<&str>| {
            globs.as_ref().is_none_or(|globs| value.is_some_and(|value| globs.is_match(value)))
        };
        // Who asks for some events wants to know as well that some are missing.
        said.kind() == "gap"
            || fits(&self.call, said.call())
                && fits(&self.model, said.model())
                && fits(&self.kind, Some(said.kind()))
                && fits(&self.policy, said.policy())
    }
}

/// Globs with commas between them.
fn globs(value: &str) -> Result<GlobSet, globset::Error> {
    let mut globs = GlobSetBuilder::new();
    for glob in value.split(',').map(str::trim).filter(|glob| !glob.is_empty()) {
        globs.add(Glob::new(glob)?);
    }
    globs.build()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::journal::activity::Event;

    fn filter(query: &[(&str, &str)]) -> Result<Filter, String> {
        let owned: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Filter::of(&owned)
    }

    #[test]
    fn filters_are_all_or_nothing() {
        let decided = Event {
            call_id: Some("c1".to_owned()),
            model: Some("claude-x".to_owned()),
            ..Event::now(What::PolicyStarted { policy: "guard".to_owned(), shadow: false })
        };
        let reloaded = Event::now(What::RulesReloaded { rules: "h".to_owned() });
        let gap = Event::now(What::Gap { missed: None });
        let [decided, reloaded, gap] = [decided, reloaded, gap].map(|event| Said::Own(Arc::new(event)));
        for (query, lets) in [
            (&[] as &[_], [true, true]),
            (&[("call_id", "c1")], [true, false]),
            (&[("call_id", "c2, c1")], [true, false]),
            (&[("call_id", "c2")], [false, false]),
            (&[("model", "claude-*"), ("policy", "guard")], [true, false]),
            (&[("model", "gpt-*"), ("policy", "guard")], [false, false]),
            (&[("event_type", "policy.*,rules.reloaded")], [true, true]),
            (&[("event_type", "call.*")], [false, false]),
        ] {
            let filter = filter(query).unwrap();
            assert_eq!([filter.lets(&decided), filter.lets(&reloaded)], lets, "{query:?}");
            assert!(filter.lets(&gap), "{query:?}");
        }
        for (query, error) in [
            (&[("modle", "x")] as &[_], "`modle` is no filter; there are `call_id`"),
            (&[("event_type", "call")], "no event has the type `call`; there are call.opened"),
            (&[("model", "{")], "`model`: "),
            (&[("model", "a"), ("model", "b")], "`model` is given twice"),
        ] {
            assert!(filter(query).unwrap_err().starts_with(error), "{query:?}");
        }
    }
}
