//! What a policy author reads.
//!
//! A policy sees blocks: texts, thinking, tool calls. It never sees an index, a `data:` line or a protobuf, and it works
//! the same for every dialect, streaming or not. Begin with [`SimplePolicy`], which has whole texts and tool calls only;
//! [`Policy`] has every hook.

mod context;
mod hooks;
mod rules;
mod simple;
mod target;
mod when;

pub use context::{Context, Emitted, Emitter};
pub use hooks::{BlockText, Edits, Ending, Factory, Fate, Halt, Outcome, Policy, Step, Watch, fault};
pub use rules::{CallFacts, Chosen, Demand, Entry, Mode, OnFault, Release, Rules, Selector, Stateful};
pub use simple::{Simple, SimplePolicy, ToolCall, Verdict};
pub use target::Target;
pub use when::{Fit, When, WhenError};
