//! How a call stops before its time: what it ends with, wherever it stands.

use envoy_types::pb::envoy::service::ext_proc::v3::ProcessingResponse;
use tonic::Status;

use crate::{
    dialect::Transcript,
    model::{Failure, FailureKind},
    pipeline::Stopped,
};

use super::{
    super::{
        replies::{self, Outbox},
        rescue::{self, Instead},
    },
    Call, Phase, unix_now,
};

impl Call {
    /// Ends the call, in the one way that fits where it stands.
    pub(super) fn rescue(&mut self, stopped: &Stopped) -> Result<(), Status> {
        self.books.stopped(stopped);
        if let Phase::Answering(answering) = &mut self.phase {
            self.books.note(answering.response.take_facts());
            self.out.extend(answering.response.take_output());
            // What was decided before a failure still reaches the client. A refusal is better told as an HTTP error.
            let is_failure = matches!(stopped, Stopped::Failed(_));
            if self.released || (is_failure && answering.is_stream && !self.out.is_empty()) {
                match stopped {
                    Stopped::Refused(refusal) => answering.response.refuse(refusal),
                    Stopped::Failed(failure) => answering.response.fail(failure),
                }
                self.out.extend(answering.response.take_output());
                self.send_body(true);
                self.finish_answer("interrupted");
                return Ok(());
            }
        }
        self.out.clear();
        if self.released {
            return Err(Status::aborted("the answer that passed unread cannot go on"));
        }
        let (status, reply) = rescue::stopped(stopped, &self.instead());
        self.books.status = status;
        self.end_with(reply);
        Ok(())
    }

    pub(super) fn instead(&self) -> Instead<'_> {
        Instead { dialect: self.dialect, view: &self.view, call: &self.books.about.call, created: unix_now() }
    }

    pub(super) fn end_with(&mut self, reply: ProcessingResponse) {
        let said = self.books.records().map(|recorded| {
            let body = replies::immediate_body(&reply);
            let limit = self.gateway.settings.limits.response_body.get();
            let is_stream = self.view.stream && !body.starts_with(b"{");
            let mut said = if is_stream {
                Transcript::stream(self.dialect, limit, recorded.raw)
            } else {
                Transcript::body(limit, recorded.raw)
            };
            said.push(&body);
            said
        });
        let original = match &mut self.phase {
            Phase::Answering(answering) => answering.response.take_record().0,
            Phase::New
            | Phase::Uploading(_)
            | Phase::Deciding(_)
            | Phase::Asked(_)
            | Phase::Unread(_)
            | Phase::Over => None,
        };
        self.books.close(original, said);
        // What the provider was to get of the request, it gets no more.
        self.outbox = Outbox::default();
        self.outbox.push(replies::telling(reply, self.books.metadata()));
        self.phase = Phase::Over;
        self.over = true;
    }

    /// The call was to be recorded, and is not: nothing more of it reaches the client.
    pub(super) fn unrecorded(&mut self) -> Result<ProcessingResponse, Status> {
        tracing::error!(call_id = &*self.books.about.call, "the end of a call is withheld: it cannot be recorded");
        let has_begun = self.released && !std::mem::take(&mut self.outbox).has_answer_headers();
        self.outbox = Outbox::default();
        self.phase = Phase::Over;
        self.over = true;
        let message = "the gateway cannot record this call, and has to (recording.audit: required); try again";
        if has_begun {
            return Err(Status::unavailable(message));
        }
        let failure = Failure::new(FailureKind::Overloaded, message).by_limit("recording.audit");
        Ok(rescue::stopped(&Stopped::Failed(failure), &self.instead()).1)
    }
}
