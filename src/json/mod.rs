//! JSON as text: find a value's place, replace it, keep every other byte.
//!
//! Providers' JSON is not rebuilt here, because a rebuilt object loses what a client may depend on: unknown fields,
//! key order, number text (`1e3`, `9007199254740993`), lone surrogate escapes, padding. [`Value`] is a view of a
//! checked text, [`Text`] is the content of a JSON string as it was written, [`Patch`] replaces spans.
//! What has to be written anew, in another provider's form, is put together from raw pieces by [`build`].
//!
//! Knows nothing of providers or of streams.

pub mod build;
mod check;
mod object;
mod patch;
mod steps;
mod text;
mod value;

pub use object::Object;
pub use patch::Patch;
pub use steps::{Step, Steps};
pub use text::{Decoder, Edit, Text, escape, literals, quote};
pub use value::{Items, Kind, Malformed, Member, Members, Span, Value};
