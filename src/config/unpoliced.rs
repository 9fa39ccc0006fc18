//! What `luthien.yaml` says about what passes unread.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to what no policy reads.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Unpoliced {
    /// `METHOD PATH-GLOB` of what passes unread, as `GET /v1/models*`.
    pub pass: Vec<String>,
    /// What happens to the rest of the paths that no dialect covers.
    pub otherwise: Otherwise,
    /// What happens to calls of a dialect that nothing has to read, by rules, recording and upstreams: `read`, or `pass` unread.
    pub calls: Calls,
}

/// Pass or refuse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// Answer with an error that names this setting.
    #[default]
    Refuse,
    /// Pass it unread.
    Pass,
}

/// Read or pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Calls {
    /// Read it, for usage, limits and clocks.
    #[default]
    Read,
    /// Pass it unread.
    Pass,
}

impl Default for Unpoliced {
    fn default() -> Self {
        Self { pass: vec!["GET /v1/models*".to_owned()], otherwise: Otherwise::Refuse, calls: Calls::Read }
    }
}
