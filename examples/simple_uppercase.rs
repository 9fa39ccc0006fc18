//! Texts in upper case. `cargo run --example simple_uppercase` shows what a client receives.

use luthien::policy::{Context, Outcome, Simple, SimplePolicy};

mod support;

/// Writes each text of an answer in upper case.
pub struct SimpleUppercase;

impl SimplePolicy for SimpleUppercase {
    fn on_text(&self, _cx: &mut Context<'_>, text: String) -> Outcome<String> {
        Ok(text.to_uppercase())
    }
}

fn main() -> std::io::Result<()> {
    support::show(Simple::new(SimpleUppercase))
}
