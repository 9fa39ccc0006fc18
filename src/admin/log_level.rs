//! The level of the log, while the process runs.

use axum::{
    Json,
    extract::rejection::JsonRejection,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reply;
use crate::telemetry::log;

/// The level of the log.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogLevel {
    /// A level or filter directives, as `luthien=debug,warn`.
    level: String,
}

/// `GET /log/level`
pub(super) async fn show() -> Json<LogLevel> {
    Json(LogLevel { level: log::level().unwrap_or_default() })
}

/// `PUT /log/level`: until the process ends, or somebody says otherwise.
pub(super) async fn change(headers: HeaderMap, asked: Result<Json<LogLevel>, JsonRejection>) -> Response {
    let wrong = |message: &str| reply::error(&headers, StatusCode::BAD_REQUEST, message);
    let Ok(Json(LogLevel { level })) = asked else {
        return wrong("send {\"level\": \"debug\"} with `content-type: application/json`");
    };
    match log::set_level(&level) {
        Ok(()) => show().await.into_response(),
        Err(error) => wrong(&error.to_string()),
    }
}
