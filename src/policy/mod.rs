//! What a policy author reads.

mod rules;

pub use rules::{Entry, Mode, OnFault, Release, Rules, Selector};

/// Makes one policy value per call.
pub trait Factory: Send + Sync {}
