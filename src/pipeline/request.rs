//! The request hooks, one policy after the other.

use crate::{journal::Fact, model::Request, telemetry::trace::Parent};

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
/// Their spans lie below `below`.
pub async fn run_request(mut runners: Vec<Runner>, mut request: Request, below: Parent) -> RequestRun {
    let mut facts = Vec::new();
    let mut outcome = Ok(());
    for runner in &mut runners {
        runner.set_below(below.clone());
        let decided = match runner.request(request.clone()) {
            Now::Ready(outcome) => outcome,
            Now::Later(future) => {
                let (hook, outcome) = future.await;
                runner.resume(hook);
                outcome
            }
        };
        match decided {
            Ok(new) => {
                runner.note_request(&request, &new);
                if !runner.is_shadow() {
                    request = new;
                }
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
