//! The only code that knows Envoy: external processing over gRPC.
//!
//! One gRPC stream is one call, and one `Call` drives it: it reads Envoy's messages, keeps the clocks, runs the pipeline
//! and answers. Read `call` first, then `half` (what may follow what) and `rescue` (what becomes of every error).
//!
//! Bodies go through in full duplex both ways (`bodies` says when they come at all). Envoy fails closed, and must be told so: an OK end of the gRPC stream before both
//! directions are done would let the rest pass unread, so an unfinished stream always ends with an error status.

mod alarm;
mod bodies;
mod books;
mod call;
mod credentials;
mod gateway;
mod half;
mod headers;
mod late;
mod probe;
mod replies;
mod rescue;
mod routing;
mod service;
mod spans;
mod tls;

pub use gateway::{Gateway, Links, SetupError};
pub use late::{Late, decide_late, late};
pub use service::{Listener, serve};
pub use tls::{Identity, TlsError};
