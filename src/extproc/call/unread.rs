//! What passes unread: whether a call may, and how it goes.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    config::unpoliced::Calls,
    dialect::{self, Endpoint},
    model::{Entrance, FailureKind, RecordLevel},
    pipeline::{
        Stopped,
        clock::{Deadline, Limits},
    },
    policy::{CallFacts, Demand, Stateful},
};

use super::{
    super::{
        bodies::{Bodies, Leave, Pass},
        credentials::Client,
        half::Half,
        headers::HeaderView,
        replies::{self, Headers},
        routing::{Route, request_headers, vendor},
    },
    Call, Listing, Phase, failed,
    request::tell_of_trace,
};

impl Call {
    /// Leave for a call of a dialect to pass unread: the settings give it, and nothing has to read the call, whatever its body says.
    pub(super) fn nobody_reads(&self, endpoint: Endpoint, path: &str, entrance: &Entrance) -> Option<Pass> {
        let (gateway, rules) = (&self.gateway, &self.rules);
        let is_recorded = || {
            let recorded = rules.record.unwrap_or_else(|| gateway.settings.recorded());
            gateway.recorder.is_some() && recorded.level != RecordLevel::Off
        };
        let may_be_selected = || {
            gateway.only_route(endpoint.dialect).is_none_or(|route| {
                let facts = CallFacts {
                    id: &self.books.about.call,
                    dialect: endpoint.dialect.name(),
                    model: "",
                    upstream: &route.upstream.name,
                    path,
                    client: self.books.client.as_deref(),
                    session: None,
                    stream: false,
                    headers: &self.books.headers,
                    entrance,
                };
                rules.entries.iter().any(|entry| entry.selects.may_select(&facts))
            })
        };
        let is_free = gateway.settings.unpoliced.calls == Calls::Pass
            && rules.demand == Demand::Nothing
            && rules.stateful == Stateful::Allow;
        Pass::by(is_free && !is_recorded() && !may_be_selected())
    }

    /// A path that no dialect covers.
    pub(super) fn unread(
        &mut self,
        method: &str,
        path: &str,
        headers: &HeaderView,
        client: &Client,
    ) -> Result<(), Stopped> {
        let shown = path.split_once('?').map_or(path, |(path, _)| path);
        if dialect::is_disguised(method, path, self.request != Half::Done) {
            let message = format!(
                "{method} {shown} could be read as a path whose calls go through policies, and is refused; write the path \
                 as the provider's API reference does"
            );
            return failed(FailureKind::NotFound, message);
        }
        if let Some(pass) = self.gateway.unpoliced.passes(method, path) {
            return self.send_unread(pass, None, path, headers, client);
        }
        let message = format!(
            "{method} {shown} is not covered by any policy and is refused; to let it through unread, add \
             \"{method} {shown}\" to `unpoliced.pass` in the gateway's configuration"
        );
        failed(FailureKind::NotFound, message)
    }

    /// Lets both directions of a call pass unread that no dialect covers, or that cannot be read. `came`: its bodies are on their way
    /// here already.
    pub(super) fn send_unread(
        &mut self,
        pass: Pass,
        came: Option<Bodies>,
        path: &str,
        headers: &HeaderView,
        client: &Client,
    ) -> Result<(), Stopped> {
        let gateway = Arc::clone(&self.gateway);
        let asks = vendor(headers, path);
        let route = gateway.unread_route(asks).map_err(Stopped::Failed)?;
        self.books.probe = Some(if path.starts_with("/v1/models") { "models" } else { "unpoliced" });
        let shown = path.split_once('?').map_or(path, |(path, _)| path);
        if asks.is_of_same_vendor(route.dialect) || !shown.starts_with("/v1/models") {
            let bodies = came.or_else(|| self.base.unread(&pass));
            let changes = request_headers(route, client, path, None);
            return self.pass_on(pass, bodies, route, client, changes);
        }
        // Told in another form, and so read.
        let bodies = came.unwrap_or_else(|| self.base.bodies(&mut self.outbox));
        self.listing = Some(Listing {
            dialects: (route.dialect, asks),
            aliases: gateway.aliases(route.upstream),
            bodies,
            timeouts: route.upstream.timeouts.clone(),
            sent: Instant::now(),
        });
        let changes = request_headers(route, client, shown, Some(headers));
        self.pass_on(pass, Some(bodies), route, client, changes)
    }

    /// Lets both directions of a call pass that nothing has to read.
    pub(super) fn send_unpoliced(
        &mut self,
        pass: Pass,
        endpoint: Endpoint,
        path: &str,
        client: &Client,
    ) -> Result<(), Stopped> {
        let gateway = Arc::clone(&self.gateway);
        let route = gateway.route(endpoint.dialect, "").map_err(Stopped::Failed)?;
        let bodies = self.base.unread(&pass);
        self.pass_on(pass, bodies, route, client, request_headers(route, client, path, None))
    }

    fn pass_on(
        &mut self,
        pass: Pass,
        bodies: Option<Bodies>,
        route: Route<'_>,
        client: &Client,
        mut changes: Headers,
    ) -> Result<(), Stopped> {
        let Route { upstream, .. } = route;
        self.check_client(client, upstream)?;
        self.books.upstream.clone_from(&upstream.name);
        tell_of_trace(&mut changes, &self.books.spans.pass());
        let (now, timeouts) = (Instant::now(), &upstream.timeouts);
        self.clocks.first_byte = Some(Deadline::new(Limits::FirstByteJson, now, timeouts.first_byte_json.get()));
        self.clocks.total = Some(Deadline::new(Limits::Total, now, timeouts.total.get()));
        self.outbox.push(replies::request_headers(&Leave::Unread(pass, bodies), changes, self.books.metadata()));
        self.phase = Phase::Unread(bodies);
        Ok(())
    }
}
