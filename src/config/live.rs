//! A value that is replaced while it is in use, and how its replacements went.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;

use crate::policy::Rules;

/// A value that may be replaced at any time. Who took one keeps it: a call runs under the rules that it began with.
///
/// ```
/// use luthien::config::live::Live;
///
/// let live = Live::new(1);
/// let before = live.current();
/// live.replace(2);
/// assert_eq!((*before, *live.current()), (1, 2));
/// ```
#[derive(Debug)]
pub struct Live<T> {
    current: ArcSwap<T>,
}

/// How the rules came to be what they are. For `/readyz`, metrics and pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadStatus {
    /// Hash of the rules that are in force.
    pub hash: String,
    /// Since when they are.
    pub loaded_at: SystemTime,
    /// Why the document as it stands now was refused; nothing while it is the one in force.
    pub last_error: Option<String>,
    /// Why the source of the rules cannot be asked; nothing while it can. What is in force may be older than what is wanted.
    pub source_error: Option<String>,
    /// How often a changed document was taken.
    pub reloads_ok: u64,
    /// How often a changed document was refused.
    pub reloads_failed: u64,
}

impl<T> Live<T> {
    /// Begins with `value`.
    pub fn new(value: T) -> Self {
        Self { current: ArcSwap::from_pointee(value) }
    }

    /// The value as it is now.
    pub fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Puts another in its place.
    pub fn replace(&self, value: T) {
        self.replace_shared(Arc::new(value));
    }

    /// As [`replace`](Self::replace), with a value that others have too.
    pub fn replace_shared(&self, value: Arc<T>) {
        self.current.store(value);
    }
}

impl ReloadStatus {
    /// The status of rules that were just loaded for the first time.
    pub fn first(rules: &Rules) -> Self {
        Self {
            hash: rules.hash.clone(),
            loaded_at: SystemTime::now(),
            last_error: None,
            source_error: None,
            reloads_ok: 0,
            reloads_failed: 0,
        }
    }
}
