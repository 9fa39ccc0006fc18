//! What the tests of the core read answers with.

#[path = "../../../tests/it/core/corpus.rs"]
pub mod corpus;
#[path = "../../../tests/it/core/random/mod.rs"]
pub mod random;
#[path = "../../../tests/it/core/reader/mod.rs"]
pub mod reader;
#[path = "../../../tests/it/core/support.rs"]
pub mod support;
#[path = "../../../tests/it/core/validator/mod.rs"]
pub mod validator;
