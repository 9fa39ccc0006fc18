//! Calls whose provider speaks another dialect than the client, or knows the model by another name.

use bytes::Bytes;

use crate::{
    dialect::{self, ConvertedTools, Endpoint, ErrorAnswer, Target},
    model::{FailureKind, Request},
    pipeline::Stopped,
    policy::Stateful,
};

use super::{
    super::{replies, routing::Route},
    Call, Upload, failed,
};

impl Call {
    /// Holds a request to what the rules say of state that a provider keeps.
    pub(super) fn check_state(&self, endpoint: Endpoint) -> Result<(), Stopped> {
        let refused = |what: &str| failed(FailureKind::BadRequest, what);
        let (rule, state) = (self.rules.stateful, &self.view.state);
        match rule {
            Stateful::RequireStateless | Stateful::Refuse if !endpoint.asks => {
                refused("this gateway lets nobody read what a provider keeps; read the answer where it is made")
            }
            Stateful::RequireStateless | Stateful::Refuse if !state.needs.is_empty() => {
                let fields: Vec<String> = state.needs.iter().map(|field| format!("`{field}`")).collect();
                refused(&format!(
                    "{} needs what a provider keeps, which this gateway does not allow; send the whole conversation as \
                     `input`, with `store: false`",
                    fields.join(", ")
                ))
            }
            Stateful::Refuse if state.stores => {
                refused("this gateway does not allow that a provider keeps answers; send `store: false`")
            }
            Stateful::Allow | Stateful::RequireStateless | Stateful::Refuse => Ok(()),
        }
    }

    /// The body as the upstream takes it.
    pub(super) fn prepare(
        &mut self,
        route: Route<'_>,
        upload: &Upload,
        model: &str,
        mut body: Bytes,
    ) -> Result<(Bytes, ConvertedTools), Stopped> {
        let client = upload.endpoint.dialect;
        if !upload.endpoint.asks {
            return if route.dialect == client { Ok((body, ConvertedTools::default())) } else { keeps_nothing() };
        }
        if route.dialect == client {
            (body, self.dropped) = dialect::without_foreign_reasoning(client, &body);
            if self.rules.stateful == Stateful::RequireStateless && self.view.state.stores {
                body = dialect::unstored(&body);
                self.view.state.stores = false;
            }
            if route.alias.is_none() {
                return Ok((body, ConvertedTools::default()));
            }
        }
        let target = Target { model: route.alias.unwrap_or(model), lossy: self.rules.lossy };
        let converted = match dialect::convert_request(client, route.dialect, &body, &target) {
            Ok(converted) => converted,
            Err(error) => return failed(FailureKind::BadRequest, error.to_string()),
        };
        // Whoever is asked in other words is asked to keep nothing.
        self.view.state.stores &= route.dialect == client;
        self.dropped.extend(converted.dropped);
        Ok((converted.body, converted.tools))
    }

    /// Answers how many tokens a request has, where the provider has no such question.
    pub(super) fn count_tokens(&mut self, request: &Request) {
        let answer = ErrorAnswer {
            status: 200,
            headers: vec![("x-luthien-estimate", "input_tokens".to_owned())],
            body: dialect::estimate(request),
        };
        self.books.status = answer.status;
        self.books.outcome("completed");
        self.end_with(replies::immediate(answer, "application/json", &self.books.about.call, "luthien_estimated"));
    }
}

fn keeps_nothing<T>() -> Result<T, Stopped> {
    failed(FailureKind::NotFound, "the provider that answers here keeps no responses")
}
