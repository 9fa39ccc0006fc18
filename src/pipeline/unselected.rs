//! What stands in the place of a policy of which nobody can say whether it runs.

use crate::{
    model::{Request, Start},
    policy::{Context, Ending, Outcome, Policy, Step, fault},
};

/// Fails at every hook that can. By `on_fault` the call ends, or goes on without the policy.
pub(super) struct Unselected(String);

impl Unselected {
    pub(super) fn begin(reason: &str) -> Box<dyn Policy> {
        Box::new(Self(format!("`match.when` has no value: {reason}")))
    }
}

impl Policy for Unselected {
    fn on_request(&mut self, _: &mut Context<'_>, _: Request) -> Step<Request> {
        Step::Ready(Err(fault(self.0.clone())))
    }

    fn on_response_start(&mut self, _: &mut Context<'_>, _: &Start) -> Outcome<()> {
        Err(fault(self.0.clone()))
    }

    fn on_response_end(&mut self, _: &mut Context<'_>, _: Ending) -> Step<Ending> {
        Step::Ready(Err(fault(self.0.clone())))
    }
}
