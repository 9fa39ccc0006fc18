//! The contract `proto/luthien/policy/v1/policy.proto`, as code that is made from it.

include!("messages.rs");
include!("json.rs");
