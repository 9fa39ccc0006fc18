//! What came out: a file for programs, tables for people, and whether the targets are met.

#![expect(clippy::cast_precision_loss, reason = "figures of five digits")]

use std::{fmt::Write as _, fs, path::Path};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::{
    plan::{Load, Plan, Subject},
    round::Round,
};

/// Between these lines of the page stands what a run writes.
const BEGIN: &str = "<!-- measured -->";
const END: &str = "<!-- /measured -->";
const KIB: f64 = 1024.0;
const MIB: f64 = KIB * KIB;

/// A figure of the rounds: their median, and between what they lie.
#[derive(Debug, Clone, Copy)]
struct Figure {
    median: f64,
    least: f64,
    most: f64,
}

impl Figure {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { median: values[values.len() / 2], least: values[0], most: values[values.len() - 1] }
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.least, "max": self.most })
    }

    /// As a ratio.
    fn ratio(self) -> String {
        format!("{:.2} ({:.2}–{:.2})", self.median, self.least, self.most)
    }
}

struct Rounds<'a> {
    rounds: &'a [Round],
}

impl Rounds<'_> {
    fn of(&self, load: &str, subject: Subject) -> impl Iterator<Item = &Round> {
        self.rounds.iter().filter(move |round| round.load == load && round.subject == subject)
    }

    fn has(&self, load: &str, subject: Subject) -> bool {
        self.of(load, subject).next().is_some()
    }

    fn figure(&self, load: &str, subject: Subject, read: impl Fn(&Round) -> f64) -> Figure {
        Figure::of(self.of(load, subject).map(read).collect())
    }

    /// Round by round, so that both were measured at about the same time.
    fn ratio(&self, load: &str, of: Subject, to: Subject, read: impl Fn(&Round) -> f64) -> Figure {
        Figure::of(self.of(load, of).zip(self.of(load, to)).map(|(of, to)| read(of) / read(to)).collect())
    }
}

fn micros(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64
}

/// CPU time of the processor for a request, in microseconds.
fn processor_cpu(round: &Round) -> f64 {
    round.cpu.processor.as_secs_f64() * 1e6 / round.times.total.len() as f64
}

fn gateway_cpu(round: &Round) -> f64 {
    (round.cpu.processor + round.cpu.envoy).as_secs_f64() * 1e6 / round.times.total.len() as f64
}

fn total(round: &Round) -> f64 {
    micros(&round.times.total, 0.5)
}

/// Prints and writes everything.
pub(crate) fn write(plan: &Plan, rounds: &[Round], into_page: bool) {
    let rounds = Rounds { rounds };
    let text = format!("{}\n{}\n{}", machine(plan), targets(plan, &rounds), tables(plan, &rounds));
    println!("{text}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let json = serde_json::to_string_pretty(&figures(plan, &rounds)).expect("plain data");
    fs::create_dir_all(root.join("target")).expect("the folder is writable");
    fs::write(root.join("target/bench.json"), json).expect("the folder is writable");
    if !into_page {
        return;
    }
    let path = root.join("docs/performance.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page says where");
    let (_, after) = rest.split_once(END).expect("the page says where");
    fs::write(&path, format!("{before}{BEGIN}\n{text}{END}{after}")).expect("the folder is writable");
}

fn machine(plan: &Plan) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, {}; {} rounds.\n", model.trim_start_matches([' ', '\t', ':']), plan.rounds)
}

/// One target: what was measured, what it must not exceed.
fn target(out: &mut String, what: &str, measured: Figure, at_most: f64, unit: &str) {
    let verdict = if measured.median <= at_most { "met" } else { "**not met**" };
    let _ = writeln!(out, "| {what} | {at_most}{unit} | {}{unit} | {verdict} |", measured.ratio());
}

fn targets(plan: &Plan, rounds: &Rounds<'_>) -> String {
    let mut out = "| target | at most | measured | |\n|---|---|---|---|\n".to_owned();
    let measured = |load: &str, subject| rounds.has(load, subject);
    for load in plan.loads.iter().filter(|load| load.events() > 0) {
        let name = load.name;
        for (subject, at_most) in [(Subject::Noop, 1.5), (Subject::Replacement, 2.0)] {
            if measured(name, subject) {
                let what = format!("{name}: CPU per event, {} to echo", subject.name());
                target(&mut out, &what, rounds.ratio(name, subject, Subject::Echo, processor_cpu), at_most, "");
            }
        }
    }
    for name in ["json-1", "burst-1"] {
        if measured(name, Subject::Noop) {
            let first = |round: &Round| micros(&round.times.first_byte, 0.5);
            let alone = rounds.figure(name, Subject::Alone, first).median;
            let added = rounds.ratio(name, Subject::Noop, Subject::Echo, |round| first(round) - alone);
            target(&mut out, &format!("{name}: added time to first byte, noop to echo"), added, 1.25, "");
        }
    }
    for load in &plan.loads {
        if measured(load.name, Subject::Recording) && measured(load.name, Subject::Noop) {
            let what = format!("{}: CPU of Envoy and Luthien, recording to noop", load.name);
            let ratio = rounds.ratio(load.name, Subject::Recording, Subject::Noop, gateway_cpu);
            target(&mut out, &what, ratio, 1.3, "");
            let ratio = rounds.ratio(load.name, Subject::Recording, Subject::Noop, total);
            target(&mut out, &format!("{}: time of a call, recording to noop", load.name), ratio, 1.3, "");
        }
    }
    if measured("paced-1000", Subject::Noop) {
        // What a process takes that has done the least so far.
        let of_noop = rounds.rounds.iter().filter(|round| round.subject == Subject::Noop);
        let idle = of_noop.map(|round| round.before).min().unwrap_or(0);
        let per_stream = |round: &Round| (round.peak - idle) as f64 / round.times.total.len() as f64 / KIB;
        let memory = rounds.figure("paced-1000", Subject::Noop, per_stream);
        target(&mut out, "paced-1000: memory per stream, noop", memory, 64.0, " KiB");
    }
    if measured("request-32MiB", Subject::Noop) {
        let body = plan.loads.iter().find(|load| load.name == "request-32MiB").map_or(0, |load| load.request) as f64;
        let peak = rounds.figure("request-32MiB", Subject::Noop, |round| round.peak as f64 / body);
        target(&mut out, "request-32MiB: peak memory to the body, noop", peak, 3.0, "");
        let time = rounds.ratio("request-32MiB", Subject::Noop, Subject::Echo, total);
        target(&mut out, "request-32MiB: time, noop to echo", time, 1.5, "");
    }
    out
}

fn tables(plan: &Plan, rounds: &Rounds<'_>) -> String {
    let mut out = String::new();
    for load in &plan.loads {
        let _ = writeln!(out, "#### {}\n\n{}\n", load.name, described(load));
        out.push_str(
            "| | requests/s | first byte p50 / p99 / p99.9, ms | gap p50 / p99 / p99.9, ms | total p50 / p99 / p99.9, ms | CPU \
             of Luthien or echo, µs per request (event) | to echo | CPU of Envoy, µs per request | peak, MiB |\n\
             |---|---|---|---|---|---|---|---|---|\n",
        );
        for subject in &plan.subjects {
            row(&mut out, rounds, load, *subject);
        }
        out.push('\n');
    }
    out
}

fn described(load: &Load) -> String {
    let answer = match load.answer {
        "json" => "a small JSON body".to_owned(),
        "burst" => format!("a stream of {} events at once", load.events()),
        _ => format!("a stream of {} events, one every {} ms", load.events(), crate::provider::PACE.as_millis()),
    };
    format!(
        "{} requests of {} bytes over {} connections; the answer is {answer}.",
        load.requests, load.request, load.connections
    )
}

fn row(out: &mut String, rounds: &Rounds<'_>, load: &Load, subject: Subject) {
    let name = load.name;
    let times = |read: fn(&Round) -> &Histogram<u64>| {
        let at = |quantile| rounds.figure(name, subject, |round| micros(read(round), quantile) / 1e3).median;
        format!("{:.2} / {:.2} / {:.2}", at(0.5), at(0.99), at(0.999))
    };
    let rate = rounds.figure(name, subject, rate).median;
    let cpu = rounds.figure(name, subject, processor_cpu).median;
    let events = load.events();
    let per_event = if events == 0 { String::new() } else { format!(" ({:.1})", cpu / events as f64) };
    let envoy = rounds.figure(name, subject, envoy_cpu).median;
    let peak = rounds.figure(name, subject, |round| round.peak as f64 / MIB).median;
    let gap = if events == 0 { "–".to_owned() } else { times(|round| &round.times.gap) };
    let (cpu, ratio, peak) = if subject == Subject::Alone {
        ("–".to_owned(), "–".to_owned(), "–".to_owned())
    } else {
        let ratio = rounds.ratio(name, subject, Subject::Echo, processor_cpu).ratio();
        (format!("{cpu:.0}{per_event}"), ratio, format!("{peak:.0}"))
    };
    let _ = writeln!(
        out,
        "| {} | {rate:.0} | {} | {gap} | {} | {cpu} | {ratio} | {envoy:.0} | {peak} |",
        subject.name(),
        times(|round| &round.times.first_byte),
        times(|round| &round.times.total),
    );
}

fn rate(round: &Round) -> f64 {
    round.times.total.len() as f64 / round.times.took.as_secs_f64()
}

fn envoy_cpu(round: &Round) -> f64 {
    round.cpu.envoy.as_secs_f64() * 1e6 / round.times.total.len() as f64
}

/// Everything, for programs: microseconds and bytes.
fn figures(plan: &Plan, rounds: &Rounds<'_>) -> Value {
    let mut all = Vec::new();
    for load in &plan.loads {
        for subject in &plan.subjects {
            let figure = |read: &dyn Fn(&Round) -> f64| rounds.figure(load.name, *subject, read).json();
            let times = |read: fn(&Round) -> &Histogram<u64>| {
                let at = |quantile| figure(&|round| micros(read(round), quantile));
                json!({ "p50": at(0.5), "p99": at(0.99), "p99.9": at(0.999) })
            };
            let per_request =
                |cpu: fn(&Round) -> f64| figure(&|round| cpu(round) * 1e6 / round.times.total.len() as f64);
            let ratio = rounds.ratio(load.name, *subject, Subject::Echo, processor_cpu);
            all.push(json!({
                "load": load.name,
                "subject": subject.name(),
                "requests_per_second": figure(&rate),
                "first_byte_us": times(|round| &round.times.first_byte),
                "gap_us": (load.events() > 0).then(|| times(|round| &round.times.gap)),
                "total_us": times(|round| &round.times.total),
                "cpu_us_per_request": {
                    "processor": figure(&processor_cpu),
                    "envoy": figure(&envoy_cpu),
                    "provider": per_request(|round| round.cpu.provider.as_secs_f64()),
                    "client": per_request(|round| round.cpu.client.as_secs_f64()),
                },
                "processor_cpu_to_echo": (*subject != Subject::Alone).then(|| ratio.json()),
                "events_per_request": load.events(),
                "processor_peak_bytes": figure(&|round| round.peak as f64),
                "processor_before_bytes": figure(&|round| round.before as f64),
            }));
        }
    }
    json!({ "rounds": plan.rounds, "results": all })
}
