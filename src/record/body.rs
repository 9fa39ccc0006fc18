//! JSON on its way to the store: text that is passed on as it is, and read only where somebody has to know what it says.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error};
use serde_json::{Value, value::RawValue};

use crate::dialect::json;

/// JSON as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(Bytes);

impl Body {
    /// This text, which has to be JSON.
    pub(super) fn of(json: Bytes) -> Self {
        Self(json)
    }

    /// The text.
    pub fn text(&self) -> &[u8] {
        &self.0
    }

    /// What it says.
    pub fn value(&self) -> Value {
        json(&self.0)
    }
}

impl Default for Body {
    fn default() -> Self {
        Self(Bytes::from_static(b"null"))
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self(value.to_string().into())
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_slice::<&RawValue>(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(String::from(Box::<str>::from(raw)).into()))
    }
}
