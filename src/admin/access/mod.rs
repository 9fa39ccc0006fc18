//! Who may use the admin listener, and for what.

mod login;
mod origin;
mod session;

use std::{sync::Arc, time::SystemTime};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{StatusCode, header, request::Parts},
    middleware::Next,
    response::Response,
};

use self::{
    login::Attempts,
    origin::{Origin, is_change, is_local},
    session::Sessions,
};
use super::reply;
use crate::config::{rotation::LiveSecret, secret::Secret};

pub(super) use login::routes as login_routes;

/// Who may use the admin listener.
#[derive(Clone)]
pub struct Access(Arc<Rule>);

enum Rule {
    /// Whoever is on this machine, for everything. A page of another site that a browser on this machine shows is not:
    /// its `Host` or its `Origin` tells (DNS rebinding).
    Loopback,
    /// Whoever has one of the tokens, or a session that one of them began.
    Tokens { admin: LiveSecret, viewer: Option<LiveSecret>, attempts: Attempts },
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Read everything.
    Viewer,
    /// Change and delete as well.
    Admin,
}

/// Who asks. Every handler behind [`guard`] can take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) role: Role,
    /// It is a person in a browser, who can log out.
    pub(super) has_session: bool,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Denied {
    ForeignHost,
    ForeignPage,
    Stranger,
    NotAdmin,
}

impl Access {
    /// For everyone on this machine.
    pub fn loopback() -> Self {
        Self(Arc::new(Rule::Loopback))
    }

    /// For whoever has the token; with that of viewers, only to read.
    pub fn tokens(admin: LiveSecret, viewer: Option<LiveSecret>) -> Self {
        Self(Arc::new(Rule::Tokens { admin, viewer, attempts: Attempts::default() }))
    }

    /// Who sends a request, if it may be answered.
    fn judge(&self, parts: &Parts, now: SystemTime) -> Result<Caller, Denied> {
        let changes = is_change(&parts.method);
        let origin = Origin::of(&parts.headers);
        let caller = match &*self.0 {
            Rule::Loopback if !is_local(parts) => return Err(Denied::ForeignHost),
            Rule::Loopback => Caller { role: Role::Admin, has_session: false },
            Rule::Tokens { .. } => {
                let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
                if let Some(sent) = bearer.and_then(|value| value.strip_prefix("Bearer ")) {
                    // No browser sends this of its own accord, so its origin does not matter.
                    let role = self.0.role_of(sent).ok_or(Denied::Stranger)?;
                    return Caller { role, has_session: false }.may(changes);
                }
                let role = self.0.sessions().and_then(|sessions| sessions.role(&parts.headers, now));
                let role = role.ok_or(Denied::Stranger)?;
                // A browser sends the cookie with whatever a page of another site makes it send.
                if changes && origin != Origin::Own {
                    return Err(Denied::ForeignPage);
                }
                Caller { role, has_session: true }
            }
        };
        if changes && origin == Origin::Foreign {
            return Err(Denied::ForeignPage);
        }
        caller.may(changes)
    }
}

impl Rule {
    /// The tokens as they are now. One whose file was removed lets nobody in.
    fn tokens(&self) -> (Option<Secret>, Option<Secret>) {
        match self {
            Self::Loopback => (None, None),
            Self::Tokens { admin, viewer, .. } => (admin.valid(), viewer.as_ref().and_then(LiveSecret::valid)),
        }
    }

    /// What tells sessions that the tokens began.
    fn sessions(&self) -> Option<Sessions> {
        let (admin, viewer) = self.tokens();
        admin.map(|admin| Sessions::new(&admin, viewer.as_ref()))
    }

    /// The role that a token gives. Looks at all of them whichever fits.
    fn role_of(&self, sent: &str) -> Option<Role> {
        let (admin, viewer) = self.tokens();
        let fits = |token: Option<Secret>| token.is_some_and(|token| token.matches(sent.as_bytes()));
        let (is_admin, is_viewer) = (fits(admin), fits(viewer));
        match (is_admin, is_viewer) {
            (true, _) => Some(Role::Admin),
            (false, true) => Some(Role::Viewer),
            (false, false) => None,
        }
    }
}

impl Role {
    /// As pages and cookies say it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Admin => "admin",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Admin].into_iter().find(|role| role.name() == name)
    }
}

impl Caller {
    fn may(self, changes: bool) -> Result<Self, Denied> {
        match self.role {
            Role::Viewer if changes => Err(Denied::NotAdmin),
            Role::Viewer | Role::Admin => Ok(self),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        // A route that is not behind the guard answers nobody.
        parts.extensions.get::<Self>().copied().ok_or(StatusCode::FORBIDDEN)
    }
}

/// Lets a request through, with the [`Caller`] in its extensions, or answers it. What changes something is for admins,
/// whatever the route.
pub(super) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match access.judge(&parts, SystemTime::now()) {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(denied) => denied.answer(&parts),
    }
}

/// Lets every request through, with the [`Caller`] where it is one: for probes, which have no token and learn whether but
/// not why.
pub(super) async fn recognise(State(access): State<Access>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    if let Ok(caller) = access.judge(&parts, SystemTime::now()) {
        parts.extensions.insert(caller);
    }
    next.run(Request::from_parts(parts, body)).await
}

impl Denied {
    fn answer(self, parts: &Parts) -> Response {
        let (status, remedy) = match self {
            Self::Stranger if reply::prefers_html(&parts.headers) && !is_change(&parts.method) => {
                return login::ask(&parts.uri);
            }
            Self::Stranger => {
                (StatusCode::UNAUTHORIZED, "send the admin token as `Authorization: Bearer TOKEN`, or log in at /login")
            }
            Self::ForeignHost => (StatusCode::FORBIDDEN, "use localhost or 127.0.0.1, or set `admin.token`"),
            Self::ForeignPage => {
                (StatusCode::FORBIDDEN, "the request comes from a page of another site; use the pages of this listener")
            }
            Self::NotAdmin => (StatusCode::FORBIDDEN, "viewers may only read; use the token of `admin.token`"),
        };
        let mut answer = reply::error(&parts.headers, status, remedy);
        if self == Self::Stranger {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

#[cfg(test)]
mod tests;
