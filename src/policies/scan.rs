//! Which texts of a call a policy looks at.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::{Request, RequestText, Source};

/// Which half of a call a policy on text looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ApplyTo {
    /// The answer.
    #[default]
    Response,
    /// The request.
    Request,
    /// Both.
    Both,
}

/// Which texts of a request are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scan {
    /// All of them.
    Conversation,
    /// What was said behind the model's last words: by the user, by tools, in documents. What is in the history already does
    /// not count again.
    LatestTurn,
}

impl ApplyTo {
    pub(super) fn has_request(self) -> bool {
        matches!(self, Self::Request | Self::Both)
    }

    pub(super) fn has_response(self) -> bool {
        matches!(self, Self::Response | Self::Both)
    }
}

impl Scan {
    /// For each text of the request, whether it is looked at.
    pub(super) fn of(self, request: &Request) -> Vec<bool> {
        let texts = request.texts();
        let by_model = |text: &RequestText| matches!(text.source(), Source::Assistant | Source::ToolCall);
        let first = texts.iter().rposition(by_model).map_or(0, |last| last + 1);
        let said = |text: &RequestText| matches!(text.source(), Source::User | Source::ToolResult | Source::Document);
        let is_in = |(index, text): (usize, &RequestText)| self == Self::Conversation || (index >= first && said(text));
        texts.iter().enumerate().map(is_in).collect()
    }
}
