//! What a conversion leaves out, and what it refuses.

use indexmap::IndexSet;

use crate::{
    json::Value,
    model::conversation::{Field, Lossy},
};

/// Why a request cannot be said in another dialect. Its text tells the client what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Inconvertible {
    /// A field stands in the way.
    #[error("`{field}` cannot be sent to the provider that serves this model: {why}")]
    Field {
        /// The field, as the client writes it.
        field: String,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// The request is not what its dialect asks for.
    #[error("{0}")]
    Malformed(String),
}

/// The outcome of a step of a conversion.
pub(in crate::dialect) type Step<T = ()> = Result<T, Inconvertible>;

/// What a client is told when nobody says more.
pub(in crate::dialect) const LEAVE_OUT: &str = "it has no such thing; leave it out";

/// How much is reported of a field's name.
const LONGEST_FIELD: usize = 100;

/// Keeps account of what is left out.
#[derive(Debug)]
pub(in crate::dialect) struct Losses {
    mode: Option<Lossy>,
    dropped: IndexSet<String>,
}

impl Losses {
    pub(in crate::dialect) fn new(mode: Option<Lossy>) -> Self {
        Self { mode, dropped: IndexSet::new() }
    }

    /// The fields that were left out, each once.
    pub(in crate::dialect) fn into_dropped(self) -> Vec<String> {
        self.dropped.into_iter().collect()
    }

    /// Leaves out what does not change what the answer means.
    pub(in crate::dialect) fn hint(&mut self, field: impl Into<String>) -> Step {
        let field = field.into();
        if self.mode == Some(Lossy::Refuse) {
            return Err(refused(field, "it would be left out, and the rules refuse that; leave it out yourself"));
        }
        self.note(&field);
        Ok(())
    }

    /// A hint that is there or not.
    pub(in crate::dialect) fn maybe<T>(&mut self, field: Option<&Field<T>>) -> Step {
        field.map_or(Ok(()), |field| self.hint(field.name))
    }

    /// Refuses what changes what the answer means, unless the rules say to leave it out.
    pub(in crate::dialect) fn meaning(&mut self, field: impl Into<String>, why: impl Into<String>) -> Step {
        if self.mode == Some(Lossy::Drop) {
            self.note(&field.into());
            return Ok(());
        }
        Err(refused(field, why))
    }

    /// Reports what is left out whatever the rules say.
    pub(in crate::dialect) fn note(&mut self, field: &str) {
        // Names of members are the client's, and what is reported stands in a header.
        let plain = |char: char| if char.is_ascii_graphic() && char != ',' { char } else { '_' };
        self.dropped.insert(field.chars().take(LONGEST_FIELD).map(plain).collect());
    }

    /// Leaves out every member of `object` but those that are `known`. `path` is what the client calls the object.
    pub(in crate::dialect) fn rest(&mut self, object: Value<'_>, path: &str, known: &[&str]) -> Step {
        for member in object.members().filter(|member| !member.value.is_null()) {
            if !known.contains(&&*member.key) {
                self.hint(format!("{path}.{}", member.key))?;
            }
        }
        Ok(())
    }
}

/// A refusal that no rule can lift.
pub(in crate::dialect) fn refused(field: impl Into<String>, why: impl Into<String>) -> Inconvertible {
    Inconvertible::Field { field: field.into(), why: why.into() }
}

/// Refuses a request of which nothing is left to answer; `name` is what the client calls its turns.
pub(in crate::dialect) fn answerable(turns: &[String], name: &str) -> Step {
    if turns.is_empty() {
        return Err(refused(name, "there is nothing in it to answer; add a user message"));
    }
    Ok(())
}

/// The request is not what its dialect asks for.
pub(in crate::dialect) fn malformed(field: &str, wanted: &str) -> Inconvertible {
    Inconvertible::Malformed(format!("`{field}` is not {wanted}"))
}
