//! What each client saw, and what it means: the words of the answer, and whether it says that it succeeded.

use bytes::Bytes;
use serde_json::Value;

use crate::common::streams::Dialect;

/// A call, as all who took part saw it.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) dialect: Dialect,
    pub(super) stream: bool,
    pub(super) seen: Seen,
    /// How often the provider was asked.
    pub(super) asked: usize,
    /// Who has answered, to the last byte.
    pub(super) answers: Answers,
    pub(super) due: Due,
}

/// Who has answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answers {
    pub(super) provider: bool,
    /// The judge said that the tool call is harmless.
    pub(super) judge: bool,
    /// The remote policy let the request through.
    pub(super) remote: bool,
}

/// What has to become of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// That depends on what was struck.
    Anything,
    /// Nothing was struck that it needs.
    Success,
    /// It was with the provider when Luthien, and nothing else that it needs, was killed.
    Interruption,
}

/// What the client saw.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Nothing where no head of an answer came.
    pub(super) status: Option<u16>,
    /// Luthien's id of the call.
    pub(super) call_id: Option<String>,
    pub(super) body: Bytes,
    pub(super) end: Ended,
}

/// How it ended for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// As HTTP wants it.
    Clean,
    /// The transfer broke off.
    Broken(String),
    /// Before the head of an answer.
    Unanswered(String),
    /// Not at all, within the limit.
    Hung,
}

/// An ending, for the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Success,
    /// 200, and the dialect's error in it.
    Error,
    /// Another status.
    Status(u16),
    Broken,
    Unanswered,
    Hung,
}

impl Account {
    /// Whether the client was told, in the dialect's own words, that this is the whole answer.
    pub(super) fn is_success(&self) -> bool {
        if self.seen.status != Some(200) {
            return false;
        }
        if !self.stream {
            let is_whole = serde_json::from_slice::<Value>(&self.seen.body).is_ok_and(|body| body["error"].is_null());
            return self.seen.end == Ended::Clean && is_whole;
        }
        let events = events(&self.seen.body);
        let is = |kind: &str| events.iter().any(|event| event.json()["type"] == kind);
        match self.dialect {
            Dialect::Anthropic => is("message_stop"),
            Dialect::OpenaiResponses => is("response.completed"),
            Dialect::OpenaiChat => {
                let stops =
                    |event: &Data| event.json().pointer("/choices/0/finish_reason").is_some_and(Value::is_string);
                events.iter().any(|event| event.0 == "[DONE]") && events.iter().any(stops)
            }
        }
    }

    /// What the answer says: texts and arguments, in order, put together again.
    pub(super) fn said(&self) -> String {
        let mut said = String::new();
        if self.stream {
            for event in events(&self.seen.body) {
                strings(&event.json(), &mut said);
            }
        } else if let Ok(body) = serde_json::from_slice(&self.seen.body) {
            strings(&body, &mut said);
        }
        said
    }

    /// All that came, as it came.
    pub(super) fn raw(&self) -> String {
        String::from_utf8_lossy(&self.seen.body).into_owned()
    }

    pub(super) fn kind(&self) -> Kind {
        match (&self.seen.end, self.seen.status) {
            (Ended::Hung, _) => Kind::Hung,
            (Ended::Unanswered(_), _) => Kind::Unanswered,
            _ if self.is_success() => Kind::Success,
            (Ended::Broken(_), _) => Kind::Broken,
            (Ended::Clean, Some(200) | None) => Kind::Error,
            (Ended::Clean, Some(status)) => Kind::Status(status),
        }
    }
}

/// What stands behind `data:` in one event.
struct Data(String);

impl Data {
    /// Null where it is none, as in an event that was cut off.
    fn json(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

fn events(body: &Bytes) -> Vec<Data> {
    let text = String::from_utf8_lossy(body);
    text.lines().filter_map(|line| line.strip_prefix("data:")).map(|data| Data(data.trim().to_owned())).collect()
}

/// Where dialects have what the model says.
const PLACES: [&str; 9] = ["delta", "text", "partial_json", "arguments", "content", "input", "path", "name", "refusal"];

/// Puts every text of the model together.
fn strings(value: &Value, said: &mut String) {
    if let Some(fields) = value.as_object() {
        for (key, value) in fields {
            match value.as_str() {
                Some(text) if PLACES.contains(&key.as_str()) => said.push_str(text),
                Some(_) | None => strings(value, said),
            }
        }
    }
    for item in value.as_array().into_iter().flatten() {
        strings(item, said);
    }
}
