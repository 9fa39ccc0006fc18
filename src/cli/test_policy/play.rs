//! A call without Envoy: the request through its hooks, the recording through the pipeline.
//!
//! What is done here is what `extproc` does with Envoy's messages; clocks and credentials are left out.

use std::{future::poll_fn, num::NonZeroUsize, sync::Arc};

use bytes::Bytes;

use super::recording::Recording;
use crate::{
    config::{routes::Routes, settings::Settings},
    dialect::{self, ConvertedTools, Recipient, RequestView, Target},
    journal::Fact,
    model::{Block, CallHead, Failure, FailureKind, Refusal, RefusalForm, Request},
    pipeline::{Response, ResponseLimits, Runner, Setup, Stopped, run_request, select},
    policy::{Rules, Stateful},
    telemetry::trace::Parent,
};

/// What is to be played.
pub(super) struct Plan<'s> {
    pub(super) settings: &'s Settings,
    pub(super) routes: Routes,
    pub(super) rules: Arc<Rules>,
    pub(super) recording: Recording,
    pub(super) call: Arc<CallHead>,
    pub(super) view: RequestView,
    /// The client's request and what is read of it.
    pub(super) request: Option<(Bytes, Request)>,
}

/// What became of it.
#[derive(Default)]
pub(super) struct Played {
    /// The policies that ran.
    pub(super) policies: Vec<Arc<str>>,
    /// The request after the policies, and where the provider speaks the client's protocol, as it is sent.
    pub(super) request: Option<Bytes>,
    /// Fields of the request that the provider is not sent.
    pub(super) dropped: Vec<String>,
    /// What the client gets.
    pub(super) answer: Vec<u8>,
    /// The status, where the gateway answers in place of the provider.
    pub(super) status: Option<u16>,
    /// What happened.
    pub(super) facts: Vec<Fact>,
    /// Why it ended.
    pub(super) end: End,
    /// A policy changed something, or the call did not go through.
    pub(super) is_changed: bool,
}

/// Why a call ended.
#[derive(Default)]
pub(super) enum End {
    #[default]
    Completed,
    /// The provider itself reported an error.
    ProviderFailed,
    /// A policy answered, and the provider was not asked.
    Answered,
    Refused(Refusal),
    Failed(Failure),
}

pub(super) async fn play(plan: &Plan<'_>, chunk: Option<NonZeroUsize>) -> Played {
    let mut played = Played::default();
    let runners = select(&plan.rules, &plan.call);
    played.policies = runners.iter().map(Runner::name).collect();
    match ask(plan, runners, &mut played).await {
        Ok(Some((setup, runners))) => answer(plan, setup, runners, chunk, &mut played).await,
        Ok(None) => {}
        Err(stopped) => played.instead(plan, stopped),
    }
    let decided = |fact: &Fact| matches!(fact, Fact::Decided { shadow: false, .. } | Fact::Faulted { .. });
    let went_through = matches!(played.end, End::Completed | End::ProviderFailed);
    played.is_changed = !went_through || played.facts.iter().any(decided);
    played
}

/// The request: through its hooks, and as the provider takes it. `None`: a policy answered.
async fn ask(
    plan: &Plan<'_>,
    mut runners: Vec<Runner>,
    played: &mut Played,
) -> Result<Option<(Setup, Vec<Runner>)>, Stopped> {
    let (client, provider) = (plan.call.dialect, plan.recording.dialect);
    let mut model = plan.view.model.clone();
    let mut tools = ConvertedTools::default();
    if let Some((body, request)) = &plan.request {
        let run = run_request(runners, request.clone(), Parent::default()).await;
        played.facts.extend(run.facts);
        runners = run.runners;
        let request = run.outcome?;
        if let Some(blocks) = request.given_answer() {
            played.answer = dialect::answer(client, &plan.recipient(), blocks);
            (played.status, played.end) = (Some(200), End::Answered);
            return Ok(None);
        }
        request.model().clone_into(&mut model);
        let mut sent = dialect::patch_request(body, &request);
        let limit = plan.settings.limits.synthetic.get();
        if sent.len() > body.len().saturating_add(limit) {
            let message = format!("policies make the request larger than limits.synthetic allows ({limit} bytes more)");
            return Err(Stopped::Failed(Failure::new(FailureKind::LimitReached, message)));
        }
        if client == provider && plan.rules.stateful == Stateful::RequireStateless && plan.view.state.stores {
            sent = dialect::unstored(&sent);
        }
        if client == provider {
            (sent, played.dropped) = dialect::without_foreign_reasoning(client, &sent);
        }
        played.request = Some(sent.clone());
        let alias = plan.alias(&model);
        if client != provider || alias.is_some() {
            let target = Target { model: alias.unwrap_or(&model), lossy: plan.rules.lossy };
            let converted = dialect::convert_request(client, provider, &sent, &target)
                .map_err(|error| Stopped::Failed(Failure::new(FailureKind::BadRequest, error.to_string())))?;
            if client == provider {
                played.request = Some(converted.body);
            }
            played.dropped.extend(converted.dropped);
            tools = converted.tools;
        }
    }
    let limits = &plan.settings.limits;
    let setup = Setup {
        dialect: provider,
        client,
        request: plan.view.clone(),
        call: Arc::clone(&plan.call.id),
        created: 0,
        model: plan.alias(&model).map(|_| plan.view.model.clone()),
        tools,
        release: plan.rules.release,
        limits: ResponseLimits {
            event: limits.event.get(),
            body: limits.response_body.get(),
            held: limits.held.get(),
            synthetic: limits.synthetic.get(),
        },
        record: None,
        below: Parent::default(),
    };
    Ok(Some((setup, runners)))
}

/// The recording, chunk by chunk.
async fn answer(plan: &Plan<'_>, setup: Setup, runners: Vec<Runner>, chunk: Option<NonZeroUsize>, played: &mut Played) {
    let mut response =
        if plan.recording.is_stream { Response::stream(setup, runners) } else { Response::body(setup, runners) };
    for chunk in plan.recording.chunks(chunk) {
        let mut outcome = response.push(&chunk);
        while outcome.is_ok() && response.is_deciding() {
            outcome = poll_fn(|wakeup| response.poll_decisions(wakeup)).await;
        }
        if played.took(plan, &mut response, outcome) {
            return;
        }
    }
    let mut outcome = response.finish();
    while outcome.is_ok() && response.is_deciding() {
        outcome = poll_fn(|wakeup| response.poll_decisions(wakeup)).await;
    }
    if !played.took(plan, &mut response, outcome) && response.provider_failed() {
        played.end = End::ProviderFailed;
    }
    for shadow in response.take_shadows() {
        played.facts.extend(shadow.finish().await);
    }
}

impl Played {
    /// Takes what left. Returns whether the call stopped.
    fn took(&mut self, plan: &Plan<'_>, response: &mut Response, outcome: Result<(), Stopped>) -> bool {
        let over = response.over();
        let stopped = outcome.and(match over {
            Some(Err(failure)) => Err(Stopped::Failed(failure)),
            Some(Ok(())) | None => Ok(()),
        });
        self.facts.extend(response.take_facts());
        let was_released = !self.answer.is_empty();
        let out = response.take_output().collect::<Vec<_>>().concat();
        let Err(stopped) = stopped else {
            self.answer.extend(out);
            return false;
        };
        // What was decided before a failure still reaches the client. A refusal is better told as an HTTP error.
        let is_failure = matches!(stopped, Stopped::Failed(_));
        let has_begun = was_released || (is_failure && plan.recording.is_stream && !out.is_empty());
        if !has_begun {
            self.instead(plan, stopped);
            return true;
        }
        match &stopped {
            Stopped::Refused(refusal) => response.refuse(refusal),
            Stopped::Failed(failure) => response.fail(failure),
        }
        self.answer.extend(out);
        self.answer.extend(response.take_output().flatten());
        self.end = End::of(stopped);
        true
    }

    /// The call ends before anything of an answer left.
    fn instead(&mut self, plan: &Plan<'_>, stopped: Stopped) {
        let client = plan.call.dialect;
        (self.status, self.answer) = match &stopped {
            Stopped::Refused(refusal) if refusal.form == RefusalForm::Message => {
                let blocks = [Block::text(refusal.message.clone())];
                (Some(200), dialect::answer(client, &plan.recipient(), &blocks))
            }
            Stopped::Refused(refusal) => {
                let answer = dialect::refusal_answer(client, refusal, &plan.call.id);
                (Some(answer.status), answer.body)
            }
            Stopped::Failed(failure) => {
                let answer = dialect::failure_answer(client, failure, &plan.call.id);
                (Some(answer.status), answer.body)
            }
        };
        self.end = End::of(stopped);
    }
}

impl End {
    fn of(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Refused(refusal) => Self::Refused(refusal),
            Stopped::Failed(failure) => Self::Failed(failure),
        }
    }
}

impl Plan<'_> {
    /// The upstream's own name of the model, where it has another than the client.
    fn alias(&self, model: &str) -> Option<&str> {
        let choice = self.routes.choose(self.call.dialect.into(), model)?;
        self.routes.alias(choice.upstream, model)
    }

    fn recipient(&self) -> Recipient {
        Recipient {
            request: self.view.clone(),
            call: Arc::clone(&self.call.id),
            created: 0,
            converts: false,
            changes: true,
        }
    }
}
