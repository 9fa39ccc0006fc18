//! Tool calls by name. `cargo run --example simple_tool_filter` shows what a client receives.

use luthien::policy::{Context, Outcome, Simple, SimplePolicy, ToolCall, Verdict};
use serde_json::json;

mod support;

/// Lets no tool through whose name begins with one of these.
pub struct SimpleToolFilter {
    /// Beginnings of tool names.
    pub denied: Vec<&'static str>,
}

impl SimplePolicy for SimpleToolFilter {
    fn on_tool_call(&self, cx: &mut Context<'_>, call: &ToolCall) -> Outcome<Verdict> {
        if !self.denied.iter().any(|denied| call.name.starts_with(denied)) {
            return Ok(Verdict::Keep);
        }
        cx.emit("tool_blocked", json!({ "tool": call.name }));
        Ok(Verdict::ReplaceWithText(format!("[{} is not allowed here]", call.name)))
    }
}

fn main() -> std::io::Result<()> {
    support::show(Simple::new(SimpleToolFilter { denied: vec!["delete_"] }))
}
