//! One policy in one call: every hook runs under a panic guard and a time limit, and its halts are settled by the rules.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};

use crate::{
    journal::{Change, Fact},
    model::{BlockHead, BlockId, CallHead, Failure, FailureKind, Recorded, Refusal, Request, RequestText, seconds},
    policy::{CallFacts, Context, Emitted, Emitter, Entry, Halt, Mode, OnFault, Outcome, Policy, Rules, Step, fault},
    telemetry::{
        metrics::{Histogram, HookLabels, Metrics},
        trace::Parent,
    },
};

use super::{hook::Hook, unselected::Unselected};

/// One policy in one call.
pub struct Runner {
    rules: Arc<Rules>,
    entry: usize,
    call: Arc<CallHead>,
    policy: Box<dyn Policy>,
    skipped: bool,
    emitter: Emitter,
    /// The block that the next hook is about.
    about: Option<BlockId>,
    /// What the spans of its hooks lie below.
    below: Parent,
    /// The hook that ran last, as long as it matters what becomes of it.
    running: Option<Hook>,
    /// In shadow mode: what the request hook will come to, and what it was asked about.
    late: Option<(Request, Later<Request>)>,
    /// How many bytes its edits may still add.
    budget: usize,
    facts: Vec<Fact>,
    /// Where the time of its hooks is counted.
    metrics: Option<Arc<Metrics>>,
    /// Those that its hooks have used.
    histograms: Vec<(&'static str, Histogram)>,
}

/// The call does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// A policy said no.
    Refused(Refusal),
    /// Something failed.
    Failed(Failure),
}

/// What a hook came to: now, or later under its time limit.
pub(super) enum Now<T> {
    Ready(Outcome<T>),
    Later(Later<T>),
}

/// What a hook will come to. It goes on where [`Runner::resume`] is given the hook.
pub(super) type Later<T> = BoxFuture<'static, (Hook, Outcome<T>)>;

/// Begins the policies that run in a call, in the order of the rules. One whose `when` has no value fails at its first
/// hook, as any policy that cannot do its work.
pub fn select(rules: &Arc<Rules>, call: &Arc<CallHead>) -> Vec<Runner> {
    let facts = CallFacts {
        id: &call.id,
        dialect: call.dialect.name(),
        model: &call.model,
        upstream: &call.upstream,
        path: &call.path,
        client: call.client.as_deref(),
        session: call.session.as_deref(),
        stream: call.stream,
        headers: &call.headers,
        entrance: &call.entrance,
    };
    let begin = |(number, entry): (usize, &Entry)| {
        let policy = match entry.selects.selects(&facts) {
            Ok(false) => return None,
            Ok(true) => entry.factory.begin(call),
            Err(reason) => Unselected::begin(&reason),
        };
        Some(Runner {
            rules: Arc::clone(rules),
            entry: number,
            call: Arc::clone(call),
            policy,
            skipped: false,
            emitter: Emitter::default(),
            about: None,
            below: Parent::default(),
            running: None,
            late: None,
            budget: usize::MAX,
            facts: Vec::new(),
            metrics: None,
            histograms: Vec::new(),
        })
    };
    rules.entries.iter().enumerate().filter_map(begin).collect()
}

/// What is recorded of a call: what the policies say that run in it, the least of it where several do, and otherwise what
/// is recorded of every call.
pub fn recorded(runners: &[Runner], otherwise: impl FnOnce() -> Recorded) -> Recorded {
    runners.iter().filter_map(Runner::record).reduce(Recorded::least).unwrap_or_else(otherwise)
}

impl Runner {
    /// Its entry in the rules. The number was taken from this very list.
    fn entry(&self) -> Option<&Entry> {
        self.rules.entries.get(self.entry)
    }

    /// The limit of one hook.
    fn timeout(&self) -> Duration {
        self.entry().map_or(Duration::ZERO, |entry| entry.timeout)
    }

    /// The policy's name.
    pub fn name(&self) -> Arc<str> {
        self.entry().map_or_else(|| Arc::from(""), |entry| Arc::clone(&entry.name))
    }

    /// The time of its hooks is counted there.
    pub fn measured_by(&mut self, metrics: &Arc<Metrics>) {
        self.metrics = Some(Arc::clone(metrics));
    }

    /// Counts how long a hook takes, from now until the result is called.
    fn measure(&mut self, hook: &'static str) -> impl FnOnce() + Send + 'static + use<> {
        // Deltas are many: each histogram is looked up once.
        let known = self.histograms.iter().find(|(name, _)| *name == hook).map(|(_, histogram)| histogram.clone());
        let histogram = known.or_else(|| {
            let labels = HookLabels { policy: self.name(), hook };
            let histogram = self.metrics.as_ref()?.policy_duration.get_or_create_owned(&labels);
            self.histograms.push((hook, histogram.clone()));
            Some(histogram)
        });
        let began = tokio::time::Instant::now();
        move || {
            if let Some(histogram) = histogram {
                histogram.observe(began.elapsed().as_secs_f64());
            }
        }
    }

    /// Whether its decisions are told only.
    pub fn is_shadow(&self) -> bool {
        self.entry().is_some_and(|entry| entry.mode == Mode::Shadow)
    }

    /// Whether it could change or stop anything, as opposed to only looking on.
    pub fn enforces(&self) -> bool {
        !self.skipped && !self.is_shadow() && self.entry().is_none_or(|entry| entry.factory.enforces())
    }

    /// What the rules say is recorded of the calls that it runs in.
    pub fn record(&self) -> Option<Recorded> {
        self.entry().and_then(|entry| entry.record)
    }

    /// Whether a fault took it out of the call.
    pub fn is_skipped(&self) -> bool {
        self.skipped
    }

    /// How many bytes its edits may still add.
    pub(super) fn budget(&self) -> usize {
        self.budget
    }

    /// Sets how many bytes its edits may add (`limits.synthetic`).
    pub(super) fn set_budget(&mut self, budget: usize) {
        self.budget = budget;
    }

    /// Its edits add so many bytes. More than it may is a fault of the policy.
    pub(super) fn spend(&mut self, grown: usize) -> Outcome<()> {
        let left = self.budget.checked_sub(grown);
        self.budget = left.unwrap_or(self.budget);
        left.map(drop).ok_or_else(|| fault("its edits make the answer larger than limits.synthetic allows"))
    }

    /// Says what the spans of its hooks lie below from now on.
    pub(super) fn set_below(&mut self, below: Parent) {
        self.below = below;
    }

    /// A hook that answered later has its answer. What the policy told meanwhile came before that.
    pub(super) fn resume(&mut self, hook: Hook) {
        self.take_emitted();
        self.running = Some(hook);
    }

    /// What happened since the last time.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        self.running = None;
        self.take_emitted();
        std::mem::take(&mut self.facts)
    }

    /// Whether the rules let it see this block at all.
    pub(super) fn may_watch(&self, head: &BlockHead) -> bool {
        let Some(tools) = self.entry().and_then(|entry| entry.selects.tools.as_ref()) else { return true };
        // A name that comes later could still fit.
        head.kind.tool_name().is_some_and(|name| name.trim().is_empty() || tools.is_match(name.trim()))
    }

    /// Whether the rules let it see a tool of this name.
    pub(super) fn may_watch_tool(&self, name: &str) -> bool {
        let tools = self.entry().and_then(|entry| entry.selects.tools.as_ref());
        tools.is_none_or(|tools| tools.is_match(name.trim()))
    }

    /// Says which block the next hook is about.
    pub(super) fn about(&mut self, block: Option<BlockId>) -> &mut Self {
        self.about = block;
        self
    }

    /// Runs a hook that answers at once.
    pub(super) fn hook<T>(
        &mut self,
        name: &'static str,
        hook: impl FnOnce(&mut dyn Policy, &mut Context<'_>) -> T,
    ) -> Outcome<T> {
        self.running = None;
        let measured = self.measure(name);
        let outcome = self.run(hook).0;
        measured();
        outcome
    }

    /// Runs a hook, and says how long it took.
    fn run<T>(&mut self, hook: impl FnOnce(&mut dyn Policy, &mut Context<'_>) -> T) -> (Outcome<T>, Duration) {
        let limit = self.timeout();
        let mut cx = Context::new(&self.call, &self.emitter, self.about);
        let policy = self.policy.as_mut();
        let began = Instant::now();
        let mut outcome = catch_unwind(AssertUnwindSafe(|| hook(policy, &mut cx))).map_err(|panic| panicked(&*panic));
        let took = began.elapsed();
        // A hook that blocks cannot be interrupted, but what it came to is worth nothing any more.
        if took > limit {
            outcome = Err(too_slow(limit));
        }
        self.take_emitted();
        (outcome, took)
    }

    /// What the policy told becomes facts.
    fn take_emitted(&mut self) {
        let (policy, shadow) = (self.name(), self.is_shadow());
        let fact = |emitted| match emitted {
            Emitted::Event { event, fields } => Fact::Emitted { policy: Arc::clone(&policy), event, fields, shadow },
            Emitted::Judged(judgement) => {
                Fact::Judged { policy: Arc::clone(&policy), judgement: Box::new(judgement), shadow }
            }
        };
        self.facts.extend(self.emitter.take().into_iter().map(fact));
    }

    /// Runs a hook that may answer later, under the entry's time limit.
    pub(super) fn step<T: Send + 'static>(
        &mut self,
        name: &'static str,
        hook: impl FnOnce(&mut dyn Policy, &mut Context<'_>) -> Step<T>,
    ) -> Now<T> {
        let (limit, measured) = (self.timeout(), self.measure(name));
        let mut running = Hook::begin(name, self.about, self.name(), self.is_shadow(), &self.below);
        let (step, took) = self.run(hook);
        running.took(took);
        let outcome = match step {
            Ok(Step::Later(future)) => {
                let below = running.waits();
                let guarded = below.around(AssertUnwindSafe(future).catch_unwind());
                let answered = async move {
                    let outcome = match tokio::time::timeout(limit, guarded).await {
                        Ok(Ok(outcome)) => outcome,
                        Ok(Err(panic)) => Err(panicked(&*panic)),
                        Err(_) => Err(too_slow(limit)),
                    };
                    measured();
                    (running, outcome)
                };
                return Now::Later(answered.boxed());
            }
            Ok(Step::Ready(outcome)) => outcome,
            Err(halt) => Err(halt),
        };
        measured();
        self.running = Some(running);
        Now::Ready(outcome)
    }

    /// Notes a decision.
    pub(super) fn decided(&mut self, on: &'static str, block: Option<BlockId>, decision: &'static str) {
        let policy = self.name();
        if let Some(running) = &mut self.running {
            running.decided(on, decision);
        }
        let block = block.filter(|block| block.is_providers()).map(|block| block.0);
        self.facts.push(Fact::Decided { policy, on, block, decision, shadow: self.is_shadow() });
    }

    /// Runs the request hook; in shadow mode it keeps nobody waiting.
    pub(super) fn request(&mut self, request: Request) -> Now<Request> {
        let before = self.is_shadow().then(|| request.clone());
        match (self.step("on_request", |policy, cx| policy.on_request(cx, request)), before) {
            (Now::Later(future), Some(before)) => {
                self.late = Some((before.clone(), future));
                Now::Ready(Ok(before))
            }
            (now, _) => now,
        }
    }

    /// What the request hook will come to, in shadow mode.
    pub(super) fn take_late(&mut self) -> Option<(Request, Later<Request>)> {
        self.late.take()
    }

    /// Notes what the request hook came to.
    pub(super) fn note_request(&mut self, before: &Request, after: &Request) {
        let changed = || before.texts().iter().zip(after.texts()).filter(|(old, new)| old.edited() != new.edited());
        if after.given_answer().is_some() {
            self.decided("request", None, "answer");
        } else if before.model() != after.model() || changed().next().is_some() {
            self.decided("request", None, "edit");
        }
        if self.is_shadow() {
            let side = |text: &RequestText| Some(Change::from(&*text.get()));
            let policy = self.name();
            self.facts.extend(changed().map(|(before, after)| Fact::WouldChange {
                policy: Arc::clone(&policy),
                on: "request",
                before: side(before),
                after: side(after),
            }));
        }
    }

    /// Settles a halt over one block: where a fault does not stop the call, the policy goes on with the others.
    pub(super) fn settle_one(&mut self, on: &'static str, halt: Halt) -> Result<(), Stopped> {
        let was_skipped = self.skipped;
        self.settle(on, halt)?;
        self.skipped = was_skipped;
        Ok(())
    }

    /// Settles a halt: a refusal stops the call, a fault stops it or takes the policy out of it.
    pub(super) fn settle(&mut self, on: &'static str, halt: Halt) -> Result<(), Stopped> {
        let policy = self.name();
        let error = match halt {
            Halt::Refuse(mut refusal) => {
                let about = self.running.as_ref().map_or(self.about, |running| running.about);
                self.decided(on, about, "refuse");
                if self.is_shadow() {
                    // The call would have been over.
                    self.skipped = true;
                    return Ok(());
                }
                if refusal.policy.is_empty() {
                    refusal.policy = policy.to_string();
                }
                return Err(Stopped::Refused(refusal));
            }
            Halt::Fault(error) => error.to_string(),
        };
        if let Some(running) = &mut self.running {
            running.failed();
        }
        let open = self.is_shadow() || self.entry().is_some_and(|entry| entry.on_fault == OnFault::Open);
        self.facts.push(Fact::Faulted { policy: Arc::clone(&policy), error, open });
        if open {
            self.skipped = true;
            return Ok(());
        }
        // What went wrong is for the operator's log: the client is told who, not what.
        let message = format!("the policy {policy} failed and is set to fail closed");
        Err(Stopped::Failed(Failure::new(FailureKind::PolicyFault, message)))
    }
}

fn too_slow(limit: Duration) -> Halt {
    fault(format!("the hook took longer than its limit of {}", seconds(limit)))
}

fn panicked(panic: &(dyn Any + Send)) -> Halt {
    let message = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    fault(format!("the hook panicked: {}", message.unwrap_or("no message")))
}
