//! The log: one line an event, for people or for machines, on standard error. Its level can be changed while the process runs.

use std::{
    io::IsTerminal,
    sync::{Mutex, OnceLock, PoisonError},
};

use tracing::{Value, field::display};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

use super::trace::Ids;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Text that is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a log level: {why}; write error, warn, info, debug or trace, or directives as `luthien=debug,warn`"
)]
pub struct NoLevel {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// The level in force, and how it is changed. There is one log in a process.
struct Level {
    text: Mutex<String>,
    change: Change,
}

type Change = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

static LEVEL: OnceLock<Level> = OnceLock::new();

/// Reads a level or filter directives.
pub fn read_level(text: &str) -> Result<EnvFilter, NoLevel> {
    let wrong = |why: String| NoLevel { text: text.to_owned(), why };
    if text.trim().is_empty() {
        return Err(wrong("it is empty".to_owned()));
    }
    // A word alone would be taken for the name of a target, and nothing else would be logged any more.
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let lone = text.split(',').map(str::trim).find(|part| !part.contains(['=', '[', ':']) && !is_level(part));
    if let Some(word) = lone {
        return Err(wrong(format!("`{word}` is no level")));
    }
    EnvFilter::try_new(text).map_err(|error| wrong(error.to_string()))
}

/// Begins to log. `level` is a level or filter directives; what cannot be read of it counts as `info`.
pub fn begin(format: Format, level: &str) {
    let (level, filter) = read_level(level).map_or_else(|_| ("info", EnvFilter::new("info")), |filter| (level, filter));
    let text = Mutex::new(level.to_owned());
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // A second call, as in tests, changes nothing.
    let (begun, change): (_, Change) = match format {
        Format::Pretty => {
            let builder = builder.compact().with_target(false).with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())))
        }
        Format::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())))
        }
    };
    if begun.is_ok() {
        let _ = LEVEL.set(Level { text, change });
    }
}

/// The ids of a span as the fields `trace_id` and `span_id` of a line.
pub fn ids(of: Option<Ids>) -> (Option<impl Value>, Option<impl Value>) {
    (of.map(|ids| display(ids.trace)), of.map(|ids| display(ids.span)))
}

/// The level in force. `None`: nobody logs.
pub fn level() -> Option<String> {
    LEVEL.get().map(|level| level.text.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Logs at another level from now on, until the process ends, and says so.
pub fn set_level(text: &str) -> Result<(), NoLevel> {
    let filter = read_level(text)?;
    let Some(level) = LEVEL.get() else { return Ok(()) };
    let mut now = level.text.lock().unwrap_or_else(PoisonError::into_inner);
    // Before and behind the change, because only one of them may be heard.
    tracing::warn!(from = *now, to = text, "the log level changes");
    (level.change)(filter).map_err(|why| NoLevel { text: text.to_owned(), why })?;
    tracing::warn!(from = *now, to = text, "the log level was changed");
    text.clone_into(&mut now);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_no_level() {
        for level in ["info", "WARN", "off", "luthien=debug,warn", "luthien::journal=trace", "info,hyper=off"] {
            assert!(read_level(level).is_ok(), "{level}");
        }
        for wrong in ["", " ", "warnning", "luthien", "debug,luthien", "luthien=loud"] {
            assert!(read_level(wrong).is_err(), "{wrong}");
        }
    }
}
