//! The log: one line an event, for people or for machines, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Begins to log. `level` is a level or filter directives; what cannot be read of it counts as `info`.
pub fn begin(format: Format, level: &str) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // A second call, as in tests, changes nothing.
    let _ = match format {
        Format::Pretty => builder.compact().with_target(false).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}
