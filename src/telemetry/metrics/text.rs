//! The text format that came before OpenMetrics, for programs that do not ask for that one.

/// What is said in OpenMetrics, in the older format: there a counter's name ends as its samples' do, and units and the end
/// are not told.
pub(super) fn older(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    // `HELP` comes before `TYPE`, which says whether it is a counter.
    let mut help = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let words = help.take().map_or("", |(_, words)| words);
            for (what, said) in [("HELP", words), ("TYPE", kind)] {
                out.extend(["# ", what, " ", name, suffix, " ", said, "\n"]);
            }
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_as_their_samples() {
        let newer = "# HELP luthien_calls Calls.\n# TYPE luthien_calls counter\nluthien_calls_total{a=\"# b\"} 3\n\
                     # HELP luthien_held_bytes Held.\n# TYPE luthien_held_bytes gauge\n# UNIT luthien_held_bytes bytes\n\
                     luthien_held_bytes 0\n# EOF\n";
        let expected = "# HELP luthien_calls_total Calls.\n# TYPE luthien_calls_total counter\n\
                        luthien_calls_total{a=\"# b\"} 3\n# HELP luthien_held_bytes Held.\n\
                        # TYPE luthien_held_bytes gauge\nluthien_held_bytes 0\n";
        assert_eq!(older(newer), expected);
    }
}
