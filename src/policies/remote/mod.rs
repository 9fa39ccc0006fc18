//! `remote`: a policy in any language, behind gRPC or a webhook.
//!
//! [`v1`] is the contract. What is asked and what is told is the same over both ways; `grpc` keeps one stream for each call,
//! `webhook` sends one signed request for each hook that asks. Rules name a remote of the settings, never a URL.

mod grpc;
mod messages;
mod seen;
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    missing_docs,
    rustdoc::all,
    reason = "made by a tool"
)]
pub mod v1;
mod webhook;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::{
    model::{Block, BlockHead, BlockId, BlockKind, CallHead, Refusal, RefusalForm, Request, Start},
    policy::{Context, Emitted, Emitter, Ending, Factory, Fate, Halt, Outcome, Policy, Step, Watch, fault},
};

use self::{
    grpc::Session,
    seen::{Like, Seen},
    v1::{decision::Decision as Decided, hook::Hook as Kind},
};
use super::{
    Built, PolicyType, Problem, build,
    http::Unanswered,
    judge::verdicts::ttl,
    scan::Scan,
    schema,
    site::{RemoteKind, Site},
};

pub use grpc::{Grpc, GrpcTarget};
pub use webhook::Webhook;

pub(super) const TYPE: PolicyType = PolicyType {
    name: "remote",
    summary: "asks a policy in another process, over gRPC or a webhook",
    schema: schema::<Settings>,
    timeout: None,
    build: |config, site| build(config, |settings| compile(settings, site)),
};

/// What is left of a hook's time to say that the remote took too long.
const MARGIN: Duration = Duration::from_millis(20);

/// Asks a policy in another process, over gRPC or a webhook.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The name of one of `remotes` in the settings.
    remote: String,
    /// What it is asked about, and told.
    #[serde(default = "hooks")]
    #[schemars(length(min = 1))]
    hooks: Vec<Hook>,
    /// Which texts of a request it is asked about, among those that it has not been asked about before.
    #[serde(default = "scan")]
    scan: Scan,
    /// How long it is remembered what it said of a text of a request, after it was last met; `0s`: not at all.
    #[serde(default = "cache_ttl")]
    cache_ttl: String,
}

/// Something that a remote is asked about, or told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Hook {
    /// Asked about requests.
    Request,
    /// Asked about texts, refusals among them. Each is held until it has answered.
    Text,
    /// Asked about thinking.
    Thinking,
    /// Asked about tool calls.
    ToolCall,
    /// Asked about the end of answers.
    ResponseEnd,
    /// Told that an answer begins. gRPC only.
    ResponseStart,
    /// Told of blocks that it will be asked about as they come. gRPC only.
    Deltas,
}

fn hooks() -> Vec<Hook> {
    vec![Hook::Request, Hook::Text, Hook::ToolCall]
}

fn scan() -> Scan {
    Scan::Conversation
}

fn cache_ttl() -> String {
    "1h".to_owned()
}

struct Remote(Arc<Shared>);

struct Shared {
    to: RemoteKind,
    hooks: Vec<Hook>,
    scan: Scan,
    seen: Seen,
    policy: String,
    limit: Duration,
}

/// The remote in one call.
#[derive(Clone)]
struct Asking {
    shared: Arc<Shared>,
    call: Arc<v1::Call>,
    way: Way,
    sequence: Arc<AtomicU32>,
}

/// How hooks reach the remote.
#[derive(Clone)]
enum Way {
    Stream(Arc<Session>),
    Webhook(Arc<Webhook>),
}

fn compile(settings: Settings, site: &Site<'_>) -> Built {
    let remote = site.reach.remote(&settings.remote).ok_or_else(|| {
        let known: Vec<_> = site.reach.remotes.iter().map(|known| format!("`{}`", known.name)).collect();
        let remedy = match known.as_slice() {
            [] => "add one of that name to `remotes` in the settings".to_owned(),
            known => format!("write one of {}", known.join(", ")),
        };
        Problem::new("/remote", format!("there is no remote `{}`", settings.remote), remedy)
    });
    let to = remote.and_then(|remote| {
        remote.kind().map_err(|why| Problem::new("/remote", why, "correct its entry in `remotes` of the settings"))
    });
    let told = [Hook::ResponseStart, Hook::Deltas];
    let only_stream = settings.hooks.iter().position(|hook| told.contains(hook));
    let untold = match (&to, only_stream) {
        (Ok(RemoteKind::Webhook(_)), Some(at)) => {
            let message = "a webhook is only asked, and told of nothing";
            Some(Problem::new(format!("/hooks/{at}"), message, "leave it out, or reach the remote over gRPC"))
        }
        _ => None,
    };
    let untold = untold.or_else(|| {
        let asks = settings.hooks.iter().any(|hook| !told.contains(hook));
        let message = "the remote is told, and asked about nothing: it could decide nothing";
        (!asks).then(|| Problem::new("/hooks", message, "add `request`, `text`, `tool_call` or `response_end`"))
    });
    let ttl = ttl("/cache_ttl", &settings.cache_ttl);
    match (to, ttl, untold) {
        (Ok(to), Ok(ttl), None) => Ok(Arc::new(Remote(Arc::new(Shared {
            to,
            hooks: settings.hooks,
            scan: settings.scan,
            seen: Seen::new(ttl),
            policy: site.name.to_owned(),
            limit: site.timeout.saturating_sub(MARGIN),
        })))),
        (to, ttl, untold) => Err([to.err(), ttl.err(), untold].into_iter().flatten().collect()),
    }
}

impl Factory for Remote {
    fn begin(&self, call: &CallHead) -> Box<dyn Policy> {
        let way = match &self.0.to {
            RemoteKind::Grpc(remote) => Way::Stream(Arc::new(Session::new(Arc::clone(remote)))),
            RemoteKind::Webhook(webhook) => Way::Webhook(Arc::clone(webhook)),
        };
        Box::new(Asking {
            shared: Arc::clone(&self.0),
            call: Arc::new(messages::call(call, &self.0.policy)),
            way,
            sequence: Arc::default(),
        })
    }
}

impl Asking {
    fn has(&self, hook: Hook) -> bool {
        self.shared.hooks.contains(&hook)
    }

    fn hook(&self, kind: Kind) -> v1::Hook {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        // A stream knows its call from its first hook on.
        let call = (sequence == 1 || matches!(self.way, Way::Webhook(_))).then(|| (*self.call).clone());
        v1::Hook { sequence, call, hook: Some(kind) }
    }

    /// Tells something that is not answered. A remote that does not keep up is not told everything.
    fn tell(&self, kind: Kind) {
        if let Way::Stream(session) = &self.way {
            let _ = session.tell(self.hook(kind));
        }
    }

    /// What the remote decides on a hook.
    fn ask(&self, emitter: Emitter, kind: Kind) -> impl Future<Output = Outcome<Option<Decided>>> + Send + 'static {
        let (hook, way, limit) = (self.hook(kind), self.way.clone(), self.shared.limit);
        async move {
            let decision = match way {
                Way::Stream(session) => session.ask(hook, limit).await,
                Way::Webhook(webhook) => webhook.ask(hook, limit).await,
            }?;
            tell_operator(&emitter, decision.events);
            match decision.decision {
                Some(Decided::Refuse(refuse)) => Err(Halt::Refuse(refusal(refuse))),
                Some(Decided::Keep(_)) => Ok(None),
                // What this version does not know might be a no.
                None => Err(fault("the remote's answer holds no decision that is known here")),
                decided => Ok(decided),
            }
        }
    }
}

impl Asking {
    /// Asks about the texts of a request that nobody knows yet; what became of the others before becomes of them again.
    async fn request(self, emitter: Emitter, mut request: Request) -> Outcome<Request> {
        let (seen, like) = (&self.shared.seen, Like::of(&self.call, &request));
        let scanned = self.shared.scan.of(&request);
        let mut asked = Vec::new();
        for (index, text) in request.texts_mut().iter_mut().enumerate() {
            match seen.get(&like, text).await {
                Some(Some(became)) => text.set(became),
                None if scanned.get(index) == Some(&true) => asked.push(index),
                Some(None) | None => {}
            }
        }
        if asked.is_empty() {
            return Ok(request);
        }
        let shown = asked.iter().filter_map(|index| Some(messages::request_text(*index, request.texts().get(*index)?)));
        let tools = request.tools().iter().map(messages::tool);
        let shown = v1::Request { model: request.model().to_owned(), texts: shown.collect(), tools: tools.collect() };
        let mut became = std::collections::HashMap::new();
        let mut remembers = true;
        match self.ask(emitter, Kind::Request(shown)).await? {
            None => {}
            Some(Decided::Edit(edit)) => {
                if let Some(model) = edit.model {
                    // It is said of the whole request, and has to be asked for again.
                    remembers = false;
                    request.set_model(model);
                }
                became = edit.texts.into_iter().map(|edit| (edit.index as usize, edit.text)).collect();
                if became.keys().any(|index| !asked.contains(index)) {
                    return Err(fault("the remote changed a text that it was not asked about"));
                }
            }
            Some(Decided::Answer(blocks)) => {
                request.answer(messages::blocks(blocks, None)?);
                return Ok(request);
            }
            Some(_) => return Err(fault("the remote answered a request with what is no decision on one")),
        }
        for index in asked {
            let Some(text) = request.texts_mut().get_mut(index) else { continue };
            let became = became.remove(&index);
            if remembers {
                seen.put(&like, text, became.clone()).await;
            }
            if let Some(became) = became {
                text.set(became);
            }
        }
        Ok(request)
    }
}

fn tell_operator(emitter: &Emitter, events: Vec<v1::Event>) {
    for v1::Event { name, fields } in events {
        emitter.emit(Emitted::Event { event: "remote", fields: json!({ "name": name, "fields": fields }) });
    }
}

fn refusal(refuse: v1::Refuse) -> Refusal {
    let form = if refuse.polite { RefusalForm::Message } else { RefusalForm::Error };
    Refusal { form, ..Refusal::new("", refuse.message) }
}

impl Policy for Asking {
    fn on_request(&mut self, cx: &mut Context<'_>, request: Request) -> Step<Request> {
        if !self.has(Hook::Request) {
            return Step::ready(request);
        }
        let (asking, emitter) = (self.clone(), cx.emitter());
        Step::later(async move { asking.request(emitter, request).await })
    }

    fn on_response_start(&mut self, _cx: &mut Context<'_>, start: &Start) -> Outcome<()> {
        if !self.has(Hook::ResponseStart) {
            return Ok(());
        }
        self.tell(Kind::ResponseStart(v1::ResponseStart { id: start.id.clone(), model: start.model.clone() }));
        Ok(())
    }

    fn on_block_start(&mut self, cx: &mut Context<'_>, block: &BlockHead) -> Watch {
        let asked = match block.kind {
            // What is of a kind that nobody here knows may be prose.
            BlockKind::Text | BlockKind::Refusal | BlockKind::Other(_) => Hook::Text,
            BlockKind::Thinking => Hook::Thinking,
            BlockKind::ToolCall { .. } => Hook::ToolCall,
            BlockKind::ServerTool { .. } | BlockKind::ServerResult { .. } => return Watch::Ignore,
        };
        if !self.has(asked) {
            return Watch::Ignore;
        }
        if !self.has(Hook::Deltas) {
            return Watch::Whole;
        }
        let id = cx.block().unwrap_or(BlockId(0));
        self.tell(Kind::BlockStart(messages::block_start(id, block)));
        Watch::Parts
    }

    fn on_part(&mut self, cx: &mut Context<'_>, text: &str) -> Outcome<()> {
        let block = cx.block().map_or(0, |id| id.0);
        self.tell(Kind::BlockDelta(v1::BlockDelta { block, text: text.to_owned() }));
        Ok(())
    }

    fn on_block(&mut self, cx: &mut Context<'_>, block: Block) -> Step<Fate> {
        let asked = self.ask(cx.emitter(), Kind::Block(messages::block(cx.block(), &block)));
        Step::later(async move {
            match asked.await? {
                None => Ok(Fate::Keep),
                Some(Decided::Replace(blocks)) => {
                    let blocks = messages::blocks(blocks, Some(&block))?;
                    Ok(if blocks.is_empty() { Fate::Drop } else { Fate::Replace(blocks) })
                }
                Some(_) => Err(fault("the remote answered a block with what is no decision on one")),
            }
        })
    }

    fn on_response_end(&mut self, cx: &mut Context<'_>, mut ending: Ending) -> Step<Ending> {
        if !self.has(Hook::ResponseEnd) {
            return Step::ready(ending);
        }
        let end = v1::ResponseEnd { reason: messages::reason(ending.reason()) };
        let asked = self.ask(cx.emitter(), Kind::ResponseEnd(end));
        Step::later(async move {
            match asked.await? {
                None => {}
                Some(Decided::Append(blocks)) => {
                    messages::blocks(blocks, None)?.into_iter().for_each(|block| ending.push(block));
                }
                Some(_) => {
                    return Err(fault("the remote answered the end of an answer with what is no decision on one"));
                }
            }
            Ok(ending)
        })
    }
}
