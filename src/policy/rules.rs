//! The rules as they run: compiled policies with their selection, pinned by each call as one snapshot.

use std::{borrow::Cow, sync::Arc, time::Duration};

use globset::GlobSet;
use regex::Regex;

use super::{Factory, Fit, Target, When};
use crate::model::{Entrance, Recorded, conversation::Lossy};

/// A compiled rules document.
#[derive(Default)]
pub struct Rules {
    /// Content hash of the document: the first 12 hexadecimal digits of its SHA-256.
    pub hash: String,
    /// The document's text as it may be shown: what looks like a secret is masked.
    pub text: Arc<str>,
    /// Which calls may go on at all.
    pub demand: Demand,
    /// When tool calls are released.
    pub release: Release,
    /// What is done with a field that the provider's dialect does not have.
    pub lossy: Option<Lossy>,
    /// What is done with requests that rest on what the provider keeps.
    pub stateful: Stateful,
    /// What is recorded of calls, unless policies that run in them say otherwise. `None`: as the settings say.
    pub record: Option<Recorded>,
    /// The policies, in the order in which they run.
    pub entries: Vec<Entry>,
}

/// Which calls may go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Demand {
    /// All of them, also without a policy.
    #[default]
    Nothing,
    /// Those that a policy runs on whose decisions take effect.
    Policy,
    /// None: there are no rules yet.
    Rules,
}

/// When the tool calls of one answer are released.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Release {
    /// Each as soon as it is decided.
    #[default]
    Block,
    /// All together, when all of them are decided.
    Turn,
}

/// What is done with requests that rest on what the provider keeps, or have it keep the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stateful {
    /// They pass.
    #[default]
    Allow,
    /// The provider is told to keep nothing; a request that rests on what it keeps is refused.
    RequireStateless,
    /// They are refused.
    Refuse,
}

/// One policy of the rules.
#[derive(Clone)]
pub struct Entry {
    /// Its name, unique in the document.
    pub name: Arc<str>,
    /// The policy type.
    pub kind: &'static str,
    /// Makes the value that one call runs.
    pub factory: Arc<dyn Factory>,
    /// Which calls it runs on.
    pub selects: Arc<Selector>,
    /// Enforce, or decide and record only.
    pub mode: Mode,
    /// What a fault of it does.
    pub on_fault: OnFault,
    /// Limit of one hook.
    pub timeout: Duration,
    /// What is recorded of the calls that it runs in.
    pub record: Option<Recorded>,
}

/// Whether a policy's decisions take effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// They do.
    #[default]
    Enforce,
    /// They are recorded only.
    Shadow,
}

/// What happens when a policy fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFault {
    /// The call ends with an error.
    #[default]
    Closed,
    /// The policy is skipped for the rest of the call.
    Open,
}

/// Which calls, and which blocks, a policy runs on. An absent condition is always true.
#[derive(Debug, Default)]
pub struct Selector {
    /// Dialect names, as `anthropic_messages`.
    pub dialects: Option<Vec<String>>,
    /// Model name globs.
    pub models: Option<GlobSet>,
    /// Upstream names.
    pub upstreams: Option<Vec<String>>,
    /// Path globs, without the query.
    pub paths: Option<GlobSet>,
    /// Client names.
    pub clients: Option<GlobSet>,
    /// Header name (lower case) and a pattern of its value; all must fit.
    pub headers: Vec<(String, Regex)>,
    /// An expression over the call; asked where all others fit.
    pub when: Option<When>,
    /// What the call came through: one of these.
    pub targets: Option<Vec<Target>>,
    /// Tool name globs: filters tool call blocks, not calls.
    pub tools: Option<GlobSet>,
    /// The conditions as the document says them, to be shown: key and value.
    pub said: Vec<(String, String)>,
}

/// Whether a policy runs on a call, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// It runs. With what its `when` has to say of it.
    Runs(Option<&'static str>),
    /// It does not, for this reason.
    Not(String),
    /// Its `when` has no value, for this reason: the policy fails before it begins.
    Fails(String),
}

/// What a [`Selector`] looks at.
#[derive(Debug, Clone, Copy)]
pub struct CallFacts<'a> {
    /// Luthien's id of the call.
    pub id: &'a str,
    /// Dialect name.
    pub dialect: &'a str,
    /// The model asked for.
    pub model: &'a str,
    /// The upstream chosen.
    pub upstream: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The client's name.
    pub client: Option<&'a str>,
    /// The client's id of the conversation.
    pub session: Option<&'a str>,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// Header names (lower case) and values.
    pub headers: &'a [(String, String)],
    /// Which way it took into Envoy.
    pub entrance: &'a Entrance,
}

/// The condition that no document names: it follows from what rules are attached to.
const TARGETS: &str = "targets";

impl Selector {
    /// Whether the policy runs on this call. `Err`: its `when` has no value, for this reason. Tool names are another
    /// question: [`selects_tool`](Self::selects_tool).
    pub fn selects(&self, facts: &CallFacts<'_>) -> Result<bool, String> {
        if self.unmet(facts).is_some() {
            return Ok(false);
        }
        match self.when.as_ref().map(|when| when.fit(facts)) {
            None | Some(Fit::True | Fit::Unasked) => Ok(true),
            Some(Fit::False) => Ok(false),
            Some(Fit::Fails(reason)) => Err(reason),
        }
    }

    /// Whether the policy may run on a call of which only the headers are known: `model` is empty, and `when` is not asked.
    pub fn may_select(&self, facts: &CallFacts<'_>) -> bool {
        self.unmet(facts).is_none()
    }

    /// Whether the policy sees this tool call, in a call that it runs on.
    pub fn selects_tool(&self, name: &str) -> bool {
        self.tools.as_ref().is_none_or(|tools| tools.is_match(name))
    }

    /// As [`selects`](Self::selects), with the reason: the first condition that does not fit with the value that it met,
    /// or what `when` says.
    pub fn explain(&self, facts: &CallFacts<'_>) -> Chosen {
        match self.unmet(facts) {
            None => {}
            Some((Cow::Borrowed(TARGETS), _)) => {
                let targets: Vec<String> = self.targets.iter().flatten().map(ToString::to_string).collect();
                return Chosen::Not(format!("the call does not come through {}", targets.join(" or ")));
            }
            Some((condition, Some(value))) => {
                return Chosen::Not(format!("`match.{condition}` does not fit `{value}`"));
            }
            Some((condition, None)) => {
                return Chosen::Not(format!("`match.{condition}` is given and the call has none"));
            }
        }
        let Some(when) = &self.when else { return Chosen::Runs(None) };
        match when.fit(facts) {
            Fit::True => Chosen::Runs(Some("`match.when` is true")),
            Fit::Unasked => Chosen::Runs(Some("`match.when` counts as true where the call names no model")),
            Fit::False => Chosen::Not(format!("`match.when` is false: `{}`", when.source())),
            Fit::Fails(reason) => Chosen::Fails(format!("`match.when` has no value: {reason}, in `{}`", when.source())),
        }
    }

    /// The first condition that does not fit, and what it met. Allocates only where a header does not fit.
    fn unmet<'f>(&self, facts: &CallFacts<'f>) -> Option<(Cow<'static, str>, Option<&'f str>)> {
        let is_one_of = |names: &Option<Vec<String>>, value: &str| {
            names.as_ref().is_none_or(|names| names.iter().any(|n| n == value))
        };
        let fits = |globs: &Option<GlobSet>, value: &str| globs.as_ref().is_none_or(|globs| globs.is_match(value));
        let path = facts.path.split_once('?').map_or(facts.path, |(path, _)| path);
        // Who fetches an answer that the provider kept says no model, and a longer path than who had it made. Such a call is
        // held to all that the other could have been held to.
        let fits_model = facts.model.is_empty() || fits(&self.models, facts.model);
        let made_at = if path.starts_with("/v1/responses/") { "/v1/responses" } else { path };
        if self.targets.as_ref().is_some_and(|all| !all.iter().any(|target| target.fits(facts.entrance))) {
            return Some((TARGETS.into(), facts.entrance.route.as_deref()));
        }
        if !is_one_of(&self.dialects, facts.dialect) {
            return Some(("dialect".into(), Some(facts.dialect)));
        }
        if !fits_model {
            return Some(("model".into(), Some(facts.model)));
        }
        if !is_one_of(&self.upstreams, facts.upstream) {
            return Some(("upstream".into(), Some(facts.upstream)));
        }
        if !fits(&self.paths, path) && !fits(&self.paths, made_at) {
            return Some(("path".into(), Some(path)));
        }
        if let Some(clients) = &self.clients
            && !facts.client.is_some_and(|client| clients.is_match(client))
        {
            return Some(("client".into(), facts.client));
        }
        self.headers.iter().find_map(|(name, pattern)| {
            let values = facts.headers.iter().filter(|(header, _)| header == name);
            let mut values = values.map(|(_, value)| value.as_str()).peekable();
            let first = values.peek().copied();
            (!values.any(|value| pattern.is_match(value))).then(|| (format!("header.{name}").into(), first))
        })
    }
}

#[cfg(test)]
mod tests {
    use globset::{Glob, GlobSetBuilder};

    use super::*;

    fn set(globs: &[&str]) -> GlobSet {
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            set.add(Glob::new(glob).expect("a glob"));
        }
        set.build().expect("a set")
    }

    fn when(source: &str) -> When {
        When::compile(source).expect("an expression")
    }

    #[test]
    fn the_first_condition_that_does_not_fit_is_named() {
        let headers = [("x-team".to_owned(), "red".to_owned()), ("x-team".to_owned(), "blue".to_owned())];
        let facts = CallFacts {
            id: "call-1",
            dialect: "openai_chat",
            model: "openrouter/gpt-5",
            upstream: "openai",
            path: "/v1/chat/completions?beta=true",
            client: None,
            session: None,
            stream: false,
            headers: &headers,
            entrance: &Entrance { route: Some("httproute/ns/chat/rule/0/match/0/*".to_owned()), virtual_host: None },
        };
        let route = |name: &str| Target::HttpRoute { namespace: "ns".to_owned(), name: name.to_owned() };
        let header = |name: &str, pattern: &str| (name.to_owned(), Regex::new(pattern).expect("a pattern"));
        let names = |name: &str| Some(vec![name.to_owned()]);
        let none = Selector::default;
        for (selector, expected) in [
            (none(), Ok(())),
            (Selector { models: Some(set(&["claude-*", "*gpt-*"])), ..none() }, Ok(())),
            (
                Selector { models: Some(set(&["claude-*"])), ..none() },
                Err("`match.model` does not fit `openrouter/gpt-5`"),
            ),
            (
                Selector { dialects: names("anthropic_messages"), ..none() },
                Err("`match.dialect` does not fit `openai_chat`"),
            ),
            (Selector { upstreams: names("openai"), ..none() }, Ok(())),
            (Selector { upstreams: names("ollama"), ..none() }, Err("`match.upstream` does not fit `openai`")),
            (Selector { paths: Some(set(&["/v1/chat/*s"])), ..none() }, Ok(())),
            (Selector { clients: Some(set(&["*"])), ..none() }, Err("`match.client` is given and the call has none")),
            (Selector { headers: vec![header("x-team", "^r"), header("x-team", "^b")], ..none() }, Ok(())),
            (
                Selector { headers: vec![header("x-team", "r"), header("x-team", "^g")], ..none() },
                Err("`match.header.x-team` does not fit `red`"),
            ),
            (
                Selector { headers: vec![header("x-other", "")], ..none() },
                Err("`match.header.x-other` is given and the call has none"),
            ),
            (Selector { targets: Some(vec![route("chat"), route("other")]), ..none() }, Ok(())),
            (
                Selector { targets: Some(vec![route("other")]), ..none() },
                Err("the call does not come through HTTPRoute ns/other"),
            ),
            (Selector { tools: Some(set(&["bash"])), ..none() }, Ok(())),
            (Selector { when: Some(when("call.path != '/v1/messages'")), ..none() }, Ok(())),
            (Selector { when: Some(when("call.stream")), ..none() }, Err("`match.when` is false: `call.stream`")),
            (
                Selector { upstreams: names("ollama"), when: Some(when("call.headers.x == ''")), ..none() },
                Err("`match.upstream` does not fit `openai`"),
            ),
        ] {
            match expected {
                Ok(()) => assert!(matches!(selector.explain(&facts), Chosen::Runs(_)), "{selector:?}"),
                Err(reason) => assert_eq!(selector.explain(&facts), Chosen::Not(reason.to_owned()), "{selector:?}"),
            }
            assert_eq!(selector.selects(&facts), Ok(expected.is_ok()));
        }
        let failing = Selector { when: Some(when("call.headers.x == ''")), ..none() };
        assert_eq!(failing.selects(&facts), Err("No such key: x".to_owned()));
        assert!(matches!(failing.explain(&facts), Chosen::Fails(_)));
        let kept = CallFacts { model: "", path: "/v1/responses/resp_1", ..facts };
        for selector in [
            Selector { models: Some(set(&["claude-*"])), ..none() },
            Selector { paths: Some(set(&["/v1/responses"])), ..none() },
            Selector { when: Some(when("call.stream && call.model.startsWith('claude-')")), ..none() },
        ] {
            assert_eq!(selector.selects(&kept), Ok(true), "an answer that was kept is held to {selector:?}");
        }
        let bash = Selector { tools: Some(set(&["bash"])), ..none() };
        assert!(bash.selects_tool("bash") && !bash.selects_tool("read") && none().selects_tool("read"));
    }
}
