//! An event, whoever told it.

use std::sync::Arc;

use serde_json::Value;

use super::{Event, What};

/// An event of this replica or of another.
#[derive(Debug, Clone)]
pub enum Said {
    /// This one's.
    Own(Arc<Event>),
    /// Another's.
    Foreign(Arc<Foreign>),
}

/// What another replica told.
#[derive(Debug)]
pub struct Foreign {
    kind: &'static str,
    event: Value,
}

impl Said {
    /// What another replica told, if it is an event.
    pub(super) fn foreign(event: Value) -> Option<Self> {
        let kind = event.as_object()?.get("type")?.as_str()?;
        let kind = What::TYPES.into_iter().find(|known| *known == kind)?;
        Some(Self::Foreign(Arc::new(Foreign { kind, event })))
    }

    /// Its type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Own(event) => event.what.name(),
            Self::Foreign(foreign) => foreign.kind,
        }
    }

    /// The id of its call.
    pub fn call(&self) -> Option<&str> {
        match self {
            Self::Own(event) => event.call_id.as_deref(),
            Self::Foreign(foreign) => foreign.text("call_id"),
        }
    }

    /// The model of its call.
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Own(event) => event.model.as_deref(),
            Self::Foreign(foreign) => foreign.text("model"),
        }
    }

    /// The policy that it is about.
    pub fn policy(&self) -> Option<&str> {
        match self {
            Self::Own(event) => event.what.policy(),
            Self::Foreign(foreign) => foreign.text("policy"),
        }
    }

    /// The event as JSON text.
    pub fn json(&self) -> String {
        match self {
            // Plain data, which can be written.
            Self::Own(event) => serde_json::to_string(&**event).unwrap_or_default(),
            Self::Foreign(foreign) => foreign.event.to_string(),
        }
    }
}

impl Foreign {
    fn text(&self, key: &str) -> Option<&str> {
        self.event.get(key)?.as_str()
    }
}
