//! The `luthien` program.
fn main() {}
