//! The debug API: what is recorded of calls, as JSON; for a browser the same paths are pages.
//!
//! `routes` is the list of all paths, from which the router and the OpenAPI document are made.

mod answers;
mod calls;
mod diff;
mod openapi;
mod query;
mod routes;
mod sessions;

pub(super) use self::{
    answers::{Conversation, Differences, Problem},
    calls::ask_diff,
    diff::{Change, Difference, Op, Words},
    routes::{openapi_json, routes},
};
