//! Stand-ins for what Luthien talks to.

pub(crate) mod collector;
pub(crate) mod kubernetes;
pub(crate) mod provider;
pub(crate) mod script;
