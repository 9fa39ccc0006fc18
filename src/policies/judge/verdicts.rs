//! Verdicts, asked for once.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use moka::future::Cache;
use sha2::{Digest, Sha256};

use crate::{
    model::{Block, Judgement, Usage},
    policies::Problem,
    shared_state::SharedState,
    telemetry::{
        names::{attribute, span},
        trace::{Kind, Parent},
    },
};

use super::{Judge, Said, Unjudged, question::Question};

/// The longest that a verdict is kept.
const LONGEST: Duration = Duration::from_hours(30 * 24);
/// The most that is kept, in bytes.
const MOST_KEPT: u64 = 32 << 20;
/// What a verdict takes beside its text, in bytes.
const OVERHEAD: usize = 256;

/// An opinion that can be kept.
pub(in crate::policies) trait Opinion: Clone + Send + Sync + 'static {
    /// The bytes of its text.
    fn len(&self) -> usize;

    /// How likely the block does harm, where it says so.
    fn probability(&self) -> Option<f64> {
        None
    }

    /// Why.
    fn explanation(&self) -> &str;
}

/// The verdicts of one judge: what was judged already is not asked again, and who asks the same at the same time waits
/// for the same answer.
pub(in crate::policies) struct Verdicts<V> {
    judge: Judge,
    /// By the hash of the whole question.
    kept: Option<Cache<[u8; 32], V>>,
    ttl: Duration,
    /// Where other replicas find them, as the judge's own words.
    shared: Option<Arc<SharedState>>,
    read: fn(&str) -> Result<V, &'static str>,
}

/// A verdict, and what it took.
#[derive(Debug, Clone)]
pub(in crate::policies) struct Judged<V> {
    pub(in crate::policies) opinion: V,
    pub(in crate::policies) cached: bool,
    pub(in crate::policies) usage: Usage,
}

impl<V: Opinion> Verdicts<V> {
    /// Verdicts that are kept for `ttl` (zero: not at all) and read from JSON by `read`.
    pub(in crate::policies) fn new(
        judge: Judge,
        ttl: Duration,
        shared: Option<Arc<SharedState>>,
        read: fn(&str) -> Result<V, &'static str>,
    ) -> Self {
        let weigh = |_: &[u8; 32], opinion: &V| u32::try_from(opinion.len() + OVERHEAD).unwrap_or(u32::MAX);
        let kept =
            (!ttl.is_zero()).then(|| Cache::builder().max_capacity(MOST_KEPT).weigher(weigh).time_to_live(ttl).build());
        Self { judge, kept, ttl, shared, read }
    }

    /// What the operator is told. `took`: how long it took, `word`: what the opinion comes to.
    pub(in crate::policies) fn told(
        &self,
        block: &Block,
        judged: &Result<Judged<V>, Unjudged>,
        took: Duration,
        word: impl Fn(&V) -> &'static str,
    ) -> Judgement {
        let common = Judgement {
            judge: self.judge.name.clone(),
            on: block.kind.name(),
            tool: block.kind.tool_name().map(str::to_owned),
            verdict: "fault",
            probability: None,
            explanation: String::new(),
            took,
            cached: false,
            usage: Usage::default(),
            cost: None,
        };
        match judged {
            Ok(Judged { opinion, cached, usage }) => Judgement {
                verdict: word(opinion),
                probability: opinion.probability(),
                explanation: opinion.explanation().to_owned(),
                cached: *cached,
                usage: *usage,
                cost: self.judge.cost(usage).filter(|_| !cached),
                ..common
            },
            Err(error) => {
                let usage = error.usage();
                Judgement { explanation: error.to_string(), usage, cost: self.judge.cost(&usage), ..common }
            }
        }
    }

    /// The verdict on `question`, in a span of its own.
    pub(in crate::policies) async fn on(&self, question: &Question) -> Result<Judged<V>, Unjudged> {
        let mut span = Parent::current().child(span::JUDGE, Kind::Internal);
        span.set(attribute::JUDGE_NAME, self.judge.name.clone());
        let judged = span.parent().clone().around(Box::pin(self.judged(question))).await;
        match &judged {
            Ok(Judged { opinion, cached, .. }) => {
                span.set(attribute::JUDGE_CACHED, *cached);
                span.set_some(attribute::JUDGE_PROBABILITY, opinion.probability());
            }
            Err(error) => span.failed("judge_fault", error.to_string()),
        }
        judged
    }

    async fn judged(&self, question: &Question) -> Result<Judged<V>, Unjudged> {
        let Some(kept) = &self.kept else {
            let (opinion, usage) = self.ask(question).await?;
            return Ok(Judged { opinion, cached: false, usage });
        };
        let asked = AtomicBool::new(false);
        let usage = std::sync::Mutex::new(Usage::default());
        let key = self.key(question);
        let verdict = kept.try_get_with(key, async {
            let name = format!("verdict:{}", hex(&key));
            if let Some(verdict) = self.known_elsewhere(&name).await {
                return Ok(verdict);
            }
            asked.store(true, Ordering::Relaxed);
            let said = self.judge.ask(question).await?;
            if let Ok(mut usage) = usage.lock() {
                *usage = said.usage;
            }
            let verdict = self.opinion(&said)?;
            if let Some(shared) = &self.shared {
                shared.put(&name, &said.json, self.ttl).await;
            }
            Ok::<V, Unjudged>(verdict)
        });
        let verdict = match verdict.await {
            Ok(verdict) => verdict,
            Err(error) if asked.load(Ordering::Relaxed) => return Err(Unjudged::Shared(error)),
            Err(_) => {
                // Somebody else asked, and got no judgement: perhaps for want of time, which is here still.
                let (opinion, usage) = self.ask(question).await?;
                kept.insert(key, opinion.clone()).await;
                return Ok(Judged { opinion, cached: false, usage });
            }
        };
        let usage = usage.lock().map(|usage| *usage).unwrap_or_default();
        Ok(Judged { opinion: verdict, cached: !asked.load(Ordering::Relaxed), usage })
    }

    /// What another replica was told. It is read as if the judge said it.
    async fn known_elsewhere(&self, name: &str) -> Option<V> {
        let said = self.shared.as_ref()?.get(name).await?;
        (self.read)(&said).ok()
    }

    async fn ask(&self, question: &Question) -> Result<(V, Usage), Unjudged> {
        let said = self.judge.ask(question).await?;
        Ok((self.opinion(&said)?, said.usage))
    }

    fn opinion(&self, said: &Said) -> Result<V, Unjudged> {
        (self.read)(&said.json).map_err(|why| self.judge.malformed(why, said.usage))
    }

    fn key(&self, question: &Question) -> [u8; 32] {
        let mut hash = Sha256::new();
        for text in [&self.judge.name, &question.system, &question.shown] {
            hash.update(text.len().to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.finalize().into()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// How long verdicts are kept.
pub(in crate::policies) fn ttl(pointer: &str, text: &str) -> Result<Duration, Problem> {
    let problem =
        |message: String| Problem::new(pointer, message, "write it as `90s`, `10m` or `1h`; `0s`: not at all");
    let ttl = humantime::parse_duration(text).map_err(|error| problem(format!("`{text}` is no duration: {error}")))?;
    if ttl > LONGEST {
        return Err(problem(format!("`{text}` is longer than 30 days")));
    }
    Ok(ttl)
}
