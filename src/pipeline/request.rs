//! The request hooks, one policy after the other.

use crate::{journal::Fact, model::Request, policy::Outcome};

use super::runner::{Now, Runner, Stopped};

/// What the request hooks came to.
pub struct RequestRun {
    /// The policies, for the answer.
    pub runners: Vec<Runner>,
    /// The request as it is to be sent, or why it is not.
    pub outcome: Result<Request, Stopped>,
    /// What happened.
    pub facts: Vec<Fact>,
}

/// Runs every policy's request hook in order, each on what the one before made of the request.
pub async fn run_request(mut runners: Vec<Runner>, mut request: Request) -> RequestRun {
    let mut facts = Vec::new();
    let mut outcome = Ok(());
    for runner in &mut runners {
        match run_one(runner, request.clone()).await {
            Ok(new) => {
                note(runner, &request, &new);
                request = new;
            }
            Err(halt) => outcome = runner.settle("request", halt),
        }
        facts.extend(runner.take_facts());
        if outcome.is_err() || request.given_answer().is_some() {
            break;
        }
    }
    RequestRun { runners, outcome: outcome.map(|()| request), facts }
}

async fn run_one(runner: &mut Runner, request: Request) -> Outcome<Request> {
    match runner.step(|policy, cx| policy.on_request(cx, request)) {
        Now::Ready(outcome) => outcome,
        Now::Later(future) => future.await,
    }
}

fn note(runner: &mut Runner, before: &Request, after: &Request) {
    if after.given_answer().is_some() {
        runner.decided("request", "answer");
    } else if before.model() != after.model()
        || before.texts().iter().zip(after.texts()).any(|(before, after)| before.edited() != after.edited())
    {
        runner.decided("request", "edit");
    }
}
