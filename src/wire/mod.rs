//! Server-sent events on bytes, after the WHATWG HTML standard, section 9.2 "Server-sent events".
//!
//! [`Framer`] cuts a body into [`Frame`]s at blank lines, however the body was cut into chunks. A frame keeps its bytes;
//! what it says is read on demand. Knows nothing of providers and nothing of JSON.

mod frame;
mod framer;

pub use frame::{Frame, Said, write_event};
pub use framer::{Framer, TooLarge};
