//! What a browser gets.
//!
//! A page is a type with `#[derive(Template)]`, a field `page: Page`, and a template below `src/admin/templates/` that extends
//! `layout.html`; its handler fills it in and calls [`render`]. Templates escape everything, and call functions by their whole
//! path, as those of [`text`]. `components.css` begins with the list of the classes that pages share.

mod calls;
mod conversation;
mod monitor;
mod overview;
mod policies;
mod sessions;
pub(super) mod text;

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};

use super::access::Caller;

pub(super) use self::{
    calls::{Ask, ask, diff, list, one},
    monitor::monitor,
    overview::overview,
    policies::policies,
    sessions::{session, sessions},
};

/// What every page knows: where it stands, and who reads it.
pub(super) struct Page {
    section: Section,
    caller: Option<Caller>,
    navigation: &'static [Link],
    version: &'static str,
}

/// A part of the pages, in the order of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Calls,
    Sessions,
    Activity,
    Policies,
    /// Outside of the navigation.
    None,
}

/// What can be deleted from a page, and what is said before.
struct Forget {
    title: &'static str,
    about: &'static str,
    path: String,
    /// Where to go afterwards.
    then: &'static str,
}

/// An entry of the navigation.
struct Link {
    section: Section,
    href: &'static str,
    label: &'static str,
}

const NAVIGATION: [Link; 5] = [
    Link { section: Section::Overview, href: "/", label: "Overview" },
    Link { section: Section::Calls, href: "/debug/calls", label: "Calls" },
    Link { section: Section::Sessions, href: "/debug/sessions", label: "Sessions" },
    Link { section: Section::Activity, href: "/activity/monitor", label: "Activity" },
    Link { section: Section::Policies, href: "/policies", label: "Policies" },
];

#[derive(Template)]
#[template(path = "login.html")]
struct Login<'a> {
    page: Page,
    next: &'a str,
    error: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct Error<'a> {
    page: Page,
    status: StatusCode,
    message: &'a str,
}

impl Page {
    pub(super) fn new(section: Section, caller: Caller) -> Self {
        Self { section, caller: Some(caller), ..Self::anonymous() }
    }

    /// A page of which it is not known who reads it.
    fn anonymous() -> Self {
        let section = Section::None;
        Self { section, caller: None, navigation: &NAVIGATION, version: env!("CARGO_PKG_VERSION") }
    }

    fn is_at(&self, link: &Link) -> bool {
        self.section == link.section
    }

    /// The role of a person who logged in, and can log out.
    fn session(&self) -> Option<&'static str> {
        self.caller.filter(|caller| caller.has_session).map(|caller| caller.role.name())
    }
}

/// The answer of a page.
pub(super) fn render(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "page cannot be written");
            (StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be written; the log says why\n").into_response()
        }
    }
}

/// The form for the token.
pub(super) fn login(status: StatusCode, next: &str, error: Option<&str>) -> Response {
    render(status, &Login { page: Page::anonymous(), next, error })
}

/// An error, for a person.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    render(status, &Error { page: Page::anonymous(), status, message })
}
