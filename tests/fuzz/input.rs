//! An input: some bytes that choose, and behind them what is fuzzed.

use bytes::Bytes;

/// What is left of an input.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// The next byte; 0 behind the end.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.rest.split_first().map_or((0, self.rest), |(first, rest)| (*first, rest));
        self.rest = rest;
        first
    }

    /// One of these, by the next byte.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    /// Everything else.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Everything else, if it is text.
    pub fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.rest).ok()
    }

    pub fn bytes(self) -> Bytes {
        Bytes::copy_from_slice(self.rest)
    }
}

/// Runs with a clock that stands still, as hooks need one.
pub fn with_clock<T>(run: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let _guard = runtime.enter();
    run()
}
