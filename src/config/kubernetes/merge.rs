//! Objects to rules: which version of each object runs, in which order, and what is wrong with the others.
//!
//! A version that is bad or in conflict never takes effect, and never takes anything from what runs: its object keeps the
//! version that ran before. Nothing here knows an API server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    super::{
        compile::{Context, compile_for, hash},
        report::Report,
    },
    crd::TargetRef,
    object::{Holds, Name, Release, Written, read},
};
use crate::{
    model::{Recorded, conversation::Lossy},
    policies::PolicyType,
    policy::{self, Rules, Stateful, Target},
};

/// The objects of a release, and what of them runs.
pub struct Policies {
    release: Release,
    context: Context,
    types: &'static [PolicyType],
    /// What runs.
    running: BTreeMap<Name, Compiled>,
    /// What ran before this process, and does not compile in it. Kept for one in which it does, as after a rollback.
    unfit: BTreeMap<Name, Written>,
    /// What is known of versions that were looked at before, so that none is compiled twice.
    tried: BTreeMap<Name, Tried>,
}

/// What becomes of the objects as they are now.
#[derive(Clone, Default)]
pub struct View {
    /// The rules of all that runs.
    pub rules: Arc<Rules>,
    /// What is to be said of each object.
    pub standings: BTreeMap<Name, Standing>,
}

/// What an object holds for, with whether this release knows it.
pub type Targets = Vec<(TargetRef, bool)>;

/// What is to be said of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The version that it is said of.
    pub generation: i64,
    /// What it holds for, with whether this release knows it.
    pub targets: Targets,
    /// What is thought of the version.
    pub verdict: Verdict,
    /// The version that runs.
    pub runs: Option<i64>,
}

/// What is thought of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Accepted,
    /// It holds for nothing that this release knows.
    Elsewhere,
    /// It is wrong, as this report says.
    Invalid(String),
    /// Another object has the name of one of its policies.
    Conflicted(String),
}

/// A version that compiled.
#[derive(Clone)]
struct Compiled {
    written: Written,
    priority: i32,
    names: BTreeSet<Arc<str>>,
    /// For what it holds, as it goes into the hash.
    through: Value,
    document: Value,
    rules: Arc<Rules>,
}

struct Tried {
    written: Written,
    targets: Targets,
    result: Result<Option<Compiled>, String>,
}

impl View {
    /// Whether every object that wants to run does, in one version or another. Then what ran before need not be known.
    pub fn is_whole(&self) -> bool {
        self.standings.values().all(|standing| standing.runs.is_some() || standing.verdict == Verdict::Elsewhere)
    }
}

impl Policies {
    /// No objects yet.
    pub fn new(release: Release, context: Context, types: &'static [PolicyType]) -> Self {
        Self { release, context, types, running: BTreeMap::new(), unfit: BTreeMap::new(), tried: BTreeMap::new() }
    }

    /// Lets run what ran before, but not in place of what runs. Returns what is wrong with what cannot run any more.
    pub fn restore(&mut self, good: Vec<Written>) -> Vec<String> {
        let mut wrong = Vec::new();
        for written in good {
            let name = written.name.clone();
            if self.running.contains_key(&name) {
                continue;
            }
            match self.compile(&written).1 {
                Ok(Some(compiled)) if self.taken(&name, &compiled).is_none() => {
                    self.running.insert(name, compiled);
                }
                Ok(_) => {}
                Err(report) => {
                    wrong.push(report);
                    self.unfit.insert(name, written);
                }
            }
        }
        wrong
    }

    /// The versions that run, or ran last.
    pub fn good(&self) -> Vec<Written> {
        let running = self.running.values().map(|compiled| &compiled.written);
        running.chain(self.unfit.values()).cloned().collect()
    }

    /// What is to run now that the objects are these.
    pub fn update(&mut self, objects: &BTreeMap<Name, Written>) -> View {
        // What is gone takes its policies with it, also when another has taken its name.
        self.running.retain(|name, runs| objects.get(name).is_some_and(|now| now.uid == runs.written.uid));
        self.tried.retain(|name, _| objects.contains_key(name));
        for (name, written) in objects {
            if self.tried.get(name).is_none_or(|tried| !tried.written.is_same(written)) {
                let (targets, result) = self.compile(written);
                self.tried.insert(name.clone(), Tried { written: written.clone(), targets, result });
            }
        }
        // At the first look at several at once the oldest comes first.
        let mut by_age: Vec<&Name> = objects.keys().collect();
        by_age.sort_by_key(|name| objects.get(*name).map(|written| &written.created));
        let mut conflicts = BTreeMap::new();
        // One that lets go of a name may make room for one that was looked at before.
        loop {
            let mut has_changed = false;
            conflicts.clear();
            for name in &by_age {
                has_changed |= self.try_to_run(name, &mut conflicts);
            }
            if !has_changed {
                break;
            }
        }
        let running = &self.running;
        self.unfit.retain(|name, kept| {
            !running.contains_key(name) && objects.get(name).is_some_and(|now| now.uid == kept.uid)
        });
        let standings = objects.iter().filter_map(|(name, written)| {
            let tried = self.tried.get(name)?;
            let verdict = match (&tried.result, conflicts.remove(name)) {
                (Err(report), _) => Verdict::Invalid(report.clone()),
                (Ok(None), _) => Verdict::Elsewhere,
                (Ok(Some(_)), Some(conflict)) => Verdict::Conflicted(conflict),
                (Ok(Some(_)), None) => Verdict::Accepted,
            };
            let runs = self.running.get(name).map(|runs| runs.written.generation);
            let generation = written.generation;
            Some((name.clone(), Standing { generation, targets: tried.targets.clone(), verdict, runs }))
        });
        View { standings: standings.collect(), rules: Arc::new(self.rules()) }
    }

    /// The rules of all that runs.
    pub fn rules(&self) -> Rules {
        let mut order: Vec<&Compiled> = self.running.values().collect();
        order.sort_by(|one, other| {
            let key = |of: &Compiled| (-i64::from(of.priority), of.written.created.clone(), of.written.name.clone());
            key(one).cmp(&key(other))
        });
        let mut rules = Rules { demand: self.context.demand, ..Rules::default() };
        let mut text = String::new();
        for Compiled { written, rules: own, .. } in &order {
            rules.entries.extend(own.entries.iter().cloned());
            rules.release = stricter_release(rules.release, own.release);
            rules.stateful = stricter_stateful(rules.stateful, own.stateful);
            rules.lossy = stricter_lossy(rules.lossy, own.lossy);
            rules.record = match (rules.record, own.record) {
                (Some(one), Some(other)) => Some(Recorded::least(one, other)),
                (one, other) => one.or(other),
            };
            // Writing to a string cannot fail.
            let _ = write!(text, "# {}, generation {}\n{}", written.name, written.generation, own.text);
        }
        let said = order.iter().map(|compiled| {
            let Name { namespace, name } = &compiled.written.name;
            json!({ "namespace": namespace, "name": name, "through": compiled.through, "rules": compiled.document })
        });
        rules.hash = hash(&Value::Array(said.collect()));
        rules.text = text.into();
        rules
    }

    /// Lets the version that an object has now run, if it may. Whether something changed.
    fn try_to_run(&mut self, name: &Name, conflicts: &mut BTreeMap<Name, String>) -> bool {
        let Some(tried) = self.tried.get(name) else { return false };
        let compiled = match &tried.result {
            Ok(Some(compiled)) => compiled,
            // It was pointed at something else: that is no mistake, and what ran is not wanted any more.
            Ok(None) => return self.running.remove(name).is_some(),
            Err(_) => return false,
        };
        if let Some(runs) = self.running.get_mut(name).filter(|runs| runs.written.is_same(&compiled.written)) {
            runs.written.generation = tried.written.generation;
            return false;
        }
        if let Some((taken, other)) = self.taken(name, compiled) {
            let message = format!("{other} has a policy of the name `{taken}`, which runs; give this one another name");
            conflicts.insert(name.clone(), message);
            return false;
        }
        self.running.insert(name.clone(), compiled.clone());
        true
    }

    /// A name of a policy that another object runs.
    fn taken(&self, name: &Name, compiled: &Compiled) -> Option<(Arc<str>, Name)> {
        self.running.iter().filter(|(other, _)| *other != name).find_map(|(other, runs)| {
            let taken = compiled.names.iter().find(|name| runs.names.contains(*name))?;
            Some((Arc::clone(taken), other.clone()))
        })
    }

    /// Compiles a version. `None`: it holds for nothing that this release knows.
    fn compile(&self, written: &Written) -> (Targets, Result<Option<Compiled>, String>) {
        let wanted = match read(&written.document()) {
            Ok(wanted) => wanted,
            Err(report) => return (self.targets_of(written), Err(said(&report))),
        };
        let targets = self.known(&written.name.namespace, wanted.targets.clone());
        let Some(reach) = self.release.reach(&written.name.namespace, &wanted.targets) else {
            return (targets, Ok(None));
        };
        let through: Option<Vec<Target>> = reach
            .into_iter()
            .map(|holds| match holds {
                Holds::EveryCall => None,
                Holds::Through(target) => Some(target),
            })
            .collect();
        let rules = match compile_for(through.as_deref(), &wanted.document, &self.context, self.types) {
            Ok(rules) => rules,
            Err(report) => return (targets, Err(said(&report))),
        };
        let through = through.iter().flatten().map(|target| Value::String(target.to_string())).collect();
        let compiled = Compiled {
            written: written.clone(),
            priority: wanted.priority,
            names: rules.entries.iter().map(|entry| Arc::clone(&entry.name)).collect(),
            through,
            document: wanted.document.value,
            rules: Arc::new(rules),
        };
        (targets, Ok(Some(compiled)))
    }

    /// The targets of a version that cannot be read whole: its status has to stand somewhere.
    fn targets_of(&self, written: &Written) -> Targets {
        let targets = written.document().read_as::<Vec<TargetRef>>("/spec/targetRefs");
        self.known(&written.name.namespace, targets.unwrap_or_default())
    }

    fn known(&self, namespace: &str, targets: Vec<TargetRef>) -> Targets {
        let known = |target: TargetRef| {
            let is_known = self.release.holds(namespace, &target).is_some();
            (target, is_known)
        };
        targets.into_iter().map(known).collect()
    }
}

/// A report as `luthien check` prints it, without the number of problems.
fn said(report: &Report) -> String {
    let text = report.to_string();
    let problems = text.trim_end().rsplit_once('\n').map_or(text.as_str(), |(problems, _)| problems);
    problems.trim_end().to_owned()
}

fn stricter_release(one: policy::Release, other: policy::Release) -> policy::Release {
    match (one, other) {
        (policy::Release::Block, policy::Release::Block) => policy::Release::Block,
        (policy::Release::Turn, _) | (_, policy::Release::Turn) => policy::Release::Turn,
    }
}

fn stricter_stateful(one: Stateful, other: Stateful) -> Stateful {
    match (one, other) {
        (Stateful::Refuse, _) | (_, Stateful::Refuse) => Stateful::Refuse,
        (Stateful::RequireStateless, _) | (_, Stateful::RequireStateless) => Stateful::RequireStateless,
        (Stateful::Allow, Stateful::Allow) => Stateful::Allow,
    }
}

/// Of those that say something; leaving out is less strict than refusing.
fn stricter_lossy(one: Option<Lossy>, other: Option<Lossy>) -> Option<Lossy> {
    match (one, other) {
        (Some(Lossy::Refuse), _) | (_, Some(Lossy::Refuse)) => Some(Lossy::Refuse),
        (one, other) => one.or(other),
    }
}
