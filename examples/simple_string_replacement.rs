//! Strings replaced, in the answer and in the request. `cargo run --example simple_string_replacement` shows what a client
//! receives.

use luthien::{
    model::RequestText,
    policy::{Context, Outcome, Simple, SimplePolicy},
};

mod support;

/// Replaces a word in every text. The same text always changes in the same way, as a conversation needs it.
pub struct SimpleStringReplacement {
    /// The word.
    pub from: &'static str,
    /// What stands in its place.
    pub to: &'static str,
}

impl SimplePolicy for SimpleStringReplacement {
    fn on_request_text(&self, _cx: &mut Context<'_>, text: &RequestText) -> Outcome<Option<String>> {
        Ok(Some(text.get().replace(self.from, self.to)))
    }

    fn on_text(&self, _cx: &mut Context<'_>, text: String) -> Outcome<String> {
        Ok(text.replace(self.from, self.to))
    }
}

fn main() -> std::io::Result<()> {
    support::show(Simple::new(SimpleStringReplacement { from: "secret", to: "[redacted]" }))
}
