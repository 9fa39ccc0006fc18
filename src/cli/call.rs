//! A call as arguments describe it: what rules and routes choose by.

use http::HeaderName;

use crate::{
    model::{Dialect, Entrance},
    policy::CallFacts,
};

/// What the client sends.
#[derive(Debug, Clone, clap::Args)]
pub struct CallArgs {
    /// The model that the client asks for.
    #[arg(long, value_name = "MODEL", default_value = "", hide_default_value = true)]
    pub model: String,
    /// A header of the request, NAME=VALUE; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    pub header: Vec<(String, String)>,
    /// The client's id of the conversation.
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// Which way it took into Envoy; nobody says so here.
    #[arg(skip)]
    pub entrance: Entrance,
}

/// Luthien's id of a call that is only described.
pub(super) const ID: &str = "call-1";

impl CallArgs {
    /// The facts of this call.
    pub(super) fn facts<'a>(
        &'a self,
        dialect: Dialect,
        upstream: &'a str,
        path: &'a str,
        client: Option<&'a str>,
        stream: bool,
    ) -> CallFacts<'a> {
        CallFacts {
            id: ID,
            dialect: dialect.name(),
            model: &self.model,
            upstream,
            path,
            client,
            session: self.session.as_deref(),
            stream,
            headers: &self.header,
            entrance: &self.entrance,
        }
    }
}

/// A header as policies see it: the name in lower case.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is not the name of a header"))?;
    Ok((name.as_str().to_owned(), value.to_owned()))
}
