//! The words that every other module shares: calls, blocks, events, requests, failures. Plain data.
//!
//! A *call* is one HTTP exchange. Its answer is a stream of *events* about *blocks* (a text, a thinking, a tool call). What
//! an event looked like on the wire is not said here: an [`Origin`] names the frame that it came from.

mod block;
mod call;
pub mod conversation;
mod event;
mod failure;
mod judgement;
mod record;
mod request;

pub use block::{Block, BlockHead, BlockId, BlockKind};
pub use call::{CallHead, Dialect, Entrance};
pub use event::{Body, ErrorKind, Event, Extra, Origin, Piece, ProviderError, Slot, Start, Stop, StopReason, Usage};
pub use failure::{Failure, FailureKind, Refusal, RefusalForm, seconds};
pub use judgement::Judgement;
pub use record::{RecordLevel, Recorded};
pub use request::{Place, Request, RequestText, Source, ToolDefinition};
