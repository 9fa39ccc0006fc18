//! Stand-ins for what Luthien talks to.

pub(crate) mod collector;
#[expect(dead_code, reason = "each test binary uses its own share")]
pub(crate) mod kubernetes;
pub(crate) mod link;
pub(crate) mod provider;
pub(crate) mod script;
