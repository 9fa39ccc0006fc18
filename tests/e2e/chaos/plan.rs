//! What is struck, how, and when in the life of a call: dealt from a seed, so that the same seed strikes the same.

use std::fmt;

use fastrand::Rng;

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Provider,
    Envoy,
    Luthien,
    Postgres,
    Redis,
    /// The models that judge, and the remote policy.
    Judge,
    Collector,
    ApiServer,
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// Killed, and started again.
    Kill,
    /// Stopped, and let go on.
    Stop,
    /// Takes no connections.
    Refuse,
    /// Resets every connection once.
    Reset,
    Slow,
    /// Says what is no answer.
    Garbage,
}

/// Where in its life a call is when it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The client has not said what it wants.
    Head,
    /// Half of the request is here.
    Upload,
    /// A policy decides on the request.
    Deciding,
    /// The provider has been asked, and has said nothing.
    Waiting,
    /// In the middle of a text, and of a word that is replaced.
    Text,
    /// In the middle of a tool call.
    ToolCall,
    /// A tool call is held until it is judged.
    Held,
    /// All is said but the last word.
    End,
    /// The client has all, and the store does not.
    Commit,
}

/// One fault of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Strike {
    pub(super) part: Part,
    pub(super) fault: Fault,
}

/// Calls that are brought to a phase, and what strikes them there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) phase: Phase,
    /// One or two, in this order.
    pub(super) strikes: Vec<Strike>,
    /// Whether what was struck last is healed first.
    pub(super) heals_backwards: bool,
    /// Whether it lasts longer than calls wait for anything.
    pub(super) is_long: bool,
    /// Decides on what the calls are.
    pub(super) seed: u64,
}

impl Part {
    pub(super) const ALL: [Self; 8] = [
        Self::Provider,
        Self::Envoy,
        Self::Luthien,
        Self::Postgres,
        Self::Redis,
        Self::Judge,
        Self::Collector,
        Self::ApiServer,
    ];

    /// Whether calls go through it, or wait for it. The others may be away, and no call fails.
    fn is_on_the_way(self) -> bool {
        matches!(self, Self::Provider | Self::Envoy | Self::Luthien | Self::Judge)
    }

    /// What can be done to it.
    pub(super) fn faults(self) -> &'static [Fault] {
        match self {
            Self::Envoy | Self::Luthien | Self::Postgres | Self::Redis => &[Fault::Kill, Fault::Stop],
            Self::Provider | Self::Judge | Self::Collector | Self::ApiServer => {
                &[Fault::Kill, Fault::Stop, Fault::Refuse, Fault::Reset, Fault::Slow, Fault::Garbage]
            }
        }
    }
}

impl Phase {
    pub(super) const ALL: [Self; 9] = [
        Self::Head,
        Self::Upload,
        Self::Deciding,
        Self::Waiting,
        Self::Text,
        Self::ToolCall,
        Self::Held,
        Self::End,
        Self::Commit,
    ];
}

impl Round {
    /// Whether calls have to succeed all the same: what is struck is not on their way, or they are over.
    pub(super) fn must_succeed(&self) -> bool {
        self.strikes.iter().all(|strike| !strike.part.is_on_the_way())
    }

    /// Whether calls are cut off by the end of Luthien, and by nothing else.
    pub(super) fn interrupts(&self) -> bool {
        let ends = |strike: &Strike| strike.part == Part::Luthien && strike.fault == Fault::Kill;
        let is_asked = matches!(self.phase, Phase::Waiting | Phase::Text | Phase::ToolCall | Phase::Held | Phase::End);
        let others = self.strikes.iter().filter(|strike| !ends(strike));
        is_asked && self.strikes.iter().any(ends) && others.into_iter().all(|strike| !strike.part.is_on_the_way())
    }

    /// Whether this part is struck.
    pub(super) fn strikes(&self, part: Part) -> bool {
        self.strikes.iter().any(|strike| strike.part == part)
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.part, self.fault)
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strikes: Vec<String> = self.strikes.iter().map(Strike::to_string).collect();
        let order = if self.heals_backwards { ", the last healed first" } else { "" };
        let long = if self.is_long { ", for long" } else { "" };
        write!(f, "{} at {:?}{order}{long}", strikes.join(" + "), self.phase)
    }
}

/// So many of 256 rounds last long.
const LONG: u8 = 26;
/// Rounds that `endless` makes before any fault alone, or any pair of parts, comes again: 32 and 28.
pub(super) const ALL: usize = 60;

/// A deck without end: each card comes once before any comes again.
struct Deck<T> {
    cards: Vec<T>,
    left: Vec<T>,
}

impl<T: Clone> Deck<T> {
    fn new(cards: Vec<T>) -> Self {
        Self { cards, left: Vec::new() }
    }

    fn deal(&mut self, rng: &mut Rng) -> T {
        if self.left.is_empty() {
            self.left.clone_from(&self.cards);
            rng.shuffle(&mut self.left);
        }
        self.left.pop().expect("a deck has cards")
    }
}

/// A few rounds that strike every part once, alone or together with another, in every phase.
pub(super) fn brief(seed: u64) -> Vec<Round> {
    let mut rng = Rng::with_seed(seed);
    let mut parts = Deck::new(Part::ALL.to_vec());
    let mut phases = Deck::new(Phase::ALL.to_vec());
    let mut rounds = Vec::new();
    for many in [1, 1, 2, 1, 1, 2, 1, 1, 2] {
        let mut strikes: Vec<Strike> = Vec::new();
        while strikes.len() < many {
            let part = parts.deal(&mut rng);
            // The deck may begin anew between the two.
            if strikes.iter().all(|strike| strike.part != part) {
                strikes.push(Strike { part, fault: *rng.choice(part.faults()).expect("it can fail") });
            }
        }
        let phase = phases.deal(&mut rng);
        rounds.push(round(&mut rng, phase, false, strikes));
    }
    rounds
}

/// Rounds without end: every fault of every part alone, then every pair of parts, each time in another phase.
pub(super) fn endless(seed: u64) -> impl Iterator<Item = Round> {
    let mut rng = Rng::with_seed(seed);
    let singles = Part::ALL.iter().flat_map(|part| part.faults().iter().map(|fault| vec![(*part, Some(*fault))]));
    let pairs = Part::ALL
        .iter()
        .enumerate()
        .flat_map(|(at, first)| Part::ALL.iter().skip(at + 1).map(|second| vec![(*first, None), (*second, None)]));
    let mut deck = Deck::new(singles.chain(pairs).collect());
    let mut phases = Deck::new(Phase::ALL.to_vec());
    std::iter::from_fn(move || {
        let mut strikes: Vec<Strike> = deck
            .deal(&mut rng)
            .into_iter()
            .map(|(part, fault)| {
                let fault = fault.unwrap_or_else(|| *rng.choice(part.faults()).expect("it can fail"));
                Strike { part, fault }
            })
            .collect();
        if rng.bool() {
            strikes.reverse();
        }
        let (phase, is_long) = (phases.deal(&mut rng), rng.u8(..) < LONG);
        Some(round(&mut rng, phase, is_long, strikes))
    })
}

fn round(rng: &mut Rng, phase: Phase, is_long: bool, strikes: Vec<Strike>) -> Round {
    Round { phase, strikes, heals_backwards: rng.bool(), is_long, seed: rng.u64(..) }
}

#[test]
fn the_same_seed_strikes_the_same() {
    let first: Vec<Round> = endless(7).take(200).collect();
    assert_eq!(first, endless(7).take(200).collect::<Vec<_>>());
    assert_ne!(first, endless(8).take(200).collect::<Vec<_>>());
    assert_eq!(brief(7), brief(7));
}

#[test]
fn few_rounds_strike_every_part_and_every_phase() {
    for seed in 0..50 {
        let rounds = brief(seed);
        assert!(Part::ALL.iter().all(|part| rounds.iter().any(|round| round.strikes(*part))), "{rounds:?}");
        assert!(Phase::ALL.iter().all(|phase| rounds.iter().any(|round| round.phase == *phase)), "{rounds:?}");
        assert!(rounds.iter().any(|round| round.strikes.len() == 2), "{rounds:?}");
    }
}

#[test]
fn many_rounds_strike_with_every_fault_and_every_pair() {
    let rounds: Vec<Round> = endless(1).take(ALL).collect();
    for part in Part::ALL {
        for fault in part.faults() {
            let alone = vec![Strike { part, fault: *fault }];
            assert!(rounds.iter().any(|round| round.strikes == alone), "{alone:?}");
        }
        for other in Part::ALL.into_iter().filter(|other| *other != part) {
            assert!(rounds.iter().any(|round| round.strikes(part) && round.strikes(other)), "{part:?} {other:?}");
        }
    }
    // A pair is never twice the same part.
    assert!(endless(1).take(600).all(|round| round.strikes.windows(2).all(|pair| pair[0].part != pair[1].part)));
}
