//! Envoy's own timers, derived so that none of them ever fires before Luthien's.
//!
//! Every Envoy timer that fires in mid-body gives the client an aborted response without a reason. Luthien's clocks end
//! a stream with the dialect's error, so Envoy's are only the net below: they bound a call when Luthien itself hangs.

use std::time::Duration;

use crate::config::settings::{Settings, Timeouts, Upstream, UpstreamTimeouts};
use crate::config::units;

/// Time between Luthien's last clock and Envoy's: enough for a busy machine, short against every limit it is added to.
const MARGIN: Duration = Duration::from_mins(1);

/// When Envoy gives up by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timers {
    /// No byte in either direction for that long: later than a whole call by Luthien's clocks, because a held answer is
    /// silence as well.
    pub(super) silence: Duration,
    /// An answer is over, and its client does not take the rest. It has as long to take that as to send its request.
    pub(super) rest: Duration,
    /// More waits for a client than is buffered, and it does not take it. By then the provider seems silent and Luthien has ended
    /// the call; from there on the client has as long as for the rest of any answer.
    pub(super) backlog: Duration,
}

impl Timers {
    /// The longest call that `settings` allow, and a margin.
    pub(super) fn new(settings: &Settings) -> Self {
        let (general, rest) = (&settings.timeouts, settings.timeouts.upload.get());
        let own = settings.upstreams.iter().map(|upstream| {
            let UpstreamTimeouts { stall, total, .. } = upstream.timeouts;
            stall.unwrap_or(general.stall).min(total.unwrap_or(general.total))
        });
        let ended = own.chain([general.stall.min(general.total)]).max().unwrap_or(general.total);
        Self {
            silence: Self::longest(general, &settings.upstreams).saturating_add(MARGIN),
            rest,
            backlog: ended.get().saturating_add(rest),
        }
    }

    /// The longest call, by Luthien's own clocks.
    pub(super) fn longest(general: &Timeouts, upstreams: &[Upstream]) -> Duration {
        let longest_answer = upstreams
            .iter()
            .flat_map(|upstream| own(&upstream.timeouts))
            .chain(
                [general.first_byte, general.first_byte_json, general.stall, general.total].map(units::Duration::get),
            )
            .max()
            .unwrap_or_default();
        let before = general.upload.get().saturating_add(general.hook.get());
        before.saturating_add(longest_answer)
    }
}

fn own(timeouts: &UpstreamTimeouts) -> impl Iterator<Item = Duration> {
    let UpstreamTimeouts { connect: _, first_byte, first_byte_json, stall, total } = *timeouts;
    [first_byte, first_byte_json, stall, total].into_iter().flatten().map(units::Duration::get)
}

/// As protobuf's JSON form of a duration. Rounded up to whole milliseconds, the finest that Envoy's timers know.
pub(super) fn seconds(duration: Duration) -> String {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    let (whole, rest) = (millis / 1000, millis % 1000);
    if rest == 0 { format!("{whole}s") } else { format!("{whole}.{rest:03}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(upstream_timeouts: &str) -> Settings {
        serde_json::from_str(&format!(
            r#"{{"upstreams":[{{"name":"a","url":"demo","dialects":["openai_chat"],"timeouts":{upstream_timeouts}}}]}}"#
        ))
        .unwrap()
    }

    #[test]
    fn a_whole_call_fits() {
        let settings = settings("{}");
        let longest = settings.timeouts.upload.get() + settings.timeouts.hook.get() + settings.timeouts.total.get();
        assert_eq!(Timers::new(&settings).silence, longest + MARGIN);
    }

    #[test]
    fn one_patient_upstream_moves_it() {
        for key in ["first_byte", "first_byte_json", "stall", "total"] {
            let patient = Timers::new(&settings(&format!(r#"{{"{key}":"9h"}}"#)));
            assert!(patient.silence > Duration::from_hours(9), "{key}: {patient:?}");
        }
    }

    #[test]
    fn an_unusual_general_limit_counts_too() {
        let mut settings = settings("{}");
        settings.timeouts.stall = units::Duration::from_secs(100_000);
        assert!(Timers::new(&settings).silence > Duration::from_secs(100_000));
    }

    #[test]
    fn the_rest_of_an_answer_has_as_long_as_a_request() {
        let settings = settings("{}");
        assert_eq!(Timers::new(&settings).rest, settings.timeouts.upload.get());
    }

    #[test]
    fn a_client_that_takes_nothing_is_left_behind_every_clock_that_ends_its_call() {
        let upload = settings("{}").timeouts.upload.get();
        for (timeouts, ended) in [
            (r#"{"stall":"1s"}"#, Duration::from_mins(3)),
            (r#"{"stall":"9m"}"#, Duration::from_mins(9)),
            (r#"{"stall":"9m","total":"5m"}"#, Duration::from_mins(5)),
        ] {
            assert_eq!(Timers::new(&settings(timeouts)).backlog, ended + upload, "{timeouts}");
        }
    }

    #[test]
    fn written_as_protobuf_does() {
        assert_eq!(seconds(Duration::from_mins(2)), "120s");
        assert_eq!(seconds(Duration::from_millis(1500)), "1.500s");
        assert_eq!(seconds(Duration::from_nanos(1)), "0.001s");
    }
}
