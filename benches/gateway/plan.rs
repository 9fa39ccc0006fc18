//! What is measured: loads and subjects.

use crate::streams::EVENTS;

/// One kind of traffic.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    /// What the provider is asked for.
    pub(crate) answer: &'static str,
    /// The size of a request's body, in bytes.
    pub(crate) request: usize,
    /// Connections that ask one after another.
    pub(crate) connections: usize,
    /// Requests of a round, over all connections.
    pub(crate) requests: usize,
}

impl Load {
    /// Events that carry text, of one answer.
    pub(crate) fn events(&self) -> usize {
        if self.answer == "json" { 0 } else { EVENTS }
    }
}

/// A small request, as a short turn of a chat.
const SMALL: usize = 600;

const LOADS: [Load; 9] = [
    Load { name: "json-1", answer: "json", request: SMALL, connections: 1, requests: 2000 },
    Load { name: "json-16", answer: "json", request: SMALL, connections: 16, requests: 8000 },
    Load { name: "json-64", answer: "json", request: SMALL, connections: 64, requests: 8000 },
    Load { name: "burst-1", answer: "burst", request: SMALL, connections: 1, requests: 600 },
    Load { name: "burst-16", answer: "burst", request: SMALL, connections: 16, requests: 3200 },
    Load { name: "paced-32", answer: "paced", request: SMALL, connections: 32, requests: 128 },
    Load { name: "paced-1000", answer: "paced", request: SMALL, connections: 1000, requests: 1000 },
    Load { name: "request-1MiB", answer: "json", request: 1 << 20, connections: 4, requests: 80 },
    Load { name: "request-32MiB", answer: "json", request: (32 << 20) - 4096, connections: 1, requests: 4 },
];

/// What stands between the client and the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Envoy without an external processor.
    Alone,
    Echo,
    /// Luthien, without any policy.
    Bare,
    Noop,
    Replacement,
    ToolFilter,
    Recording,
    Judge,
}

impl Subject {
    pub(crate) const ALL: [Self; 8] = [
        Self::Alone,
        Self::Echo,
        Self::Bare,
        Self::Noop,
        Self::Replacement,
        Self::ToolFilter,
        Self::Recording,
        Self::Judge,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alone => "envoy-alone",
            Self::Echo => "echo",
            Self::Bare => "no-policy",
            Self::Noop => "noop",
            Self::Replacement => "string-replacement",
            Self::ToolFilter => "tool-filter",
            Self::Recording => "recording",
            Self::Judge => "judge-5ms",
        }
    }

    /// What every ratio needs.
    fn is_reference(self) -> bool {
        matches!(self, Self::Alone | Self::Echo)
    }
}

/// Which of them are measured, and how often.
pub(crate) struct Plan {
    pub(crate) loads: Vec<Load>,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) rounds: usize,
}

impl Plan {
    pub(crate) fn new(load: &str, subject: &str, rounds: usize) -> Self {
        let wanted = |name: &str| subject.split(',').any(|part| name.contains(part));
        let plan = Self {
            loads: LOADS.into_iter().filter(|candidate| candidate.name.contains(load)).collect(),
            subjects: Subject::ALL
                .into_iter()
                .filter(|subject| subject.is_reference() || wanted(subject.name()))
                .collect(),
            rounds,
        };
        assert!(!plan.loads.is_empty(), "no load has `{load}` in its name");
        plan
    }
}
