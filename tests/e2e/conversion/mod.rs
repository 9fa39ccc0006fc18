//! Conversion: each client dialect, spoken by the official SDKs, against each upstream dialect.
//!
//! `matrix` goes through what every pair must carry, `turns` through a conversation, `recorded` through what providers
//! really sent, `regressions` through the mistakes that converters are known for, `names` through what has another name
//! or none. The rest are their tools: `answers`, `scenarios` and `cases` say what the provider and the client say, `read`
//! and `asked` read what came in one form for all dialects, `rules` and `legal` know what a stream and a request must
//! keep to.

mod answers;
mod asked;
mod borders;
mod cases;
mod clients;
mod legal;
mod matrix;
mod models;
mod names;
mod read;
mod recorded;
mod regressions;
mod rules;
mod scenarios;
mod silence;
mod turns;
mod unread;

use crate::{common::streams::Dialect, fakes::provider::Provider, harness::gateway::Gateway};

/// What the gateway puts before reasoning that it carries for another provider.
const SEAL: &str = "luthien1.";

/// The dialect's name in the settings.
fn name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Anthropic => "anthropic_messages",
        Dialect::OpenaiChat => "openai_chat",
        Dialect::OpenaiResponses => "openai_responses",
    }
}

/// A gateway whose only upstream is this provider, which speaks only this dialect.
async fn gateway(provider: &Provider, upstream: Dialect) -> Gateway {
    let upstreams = format!("- {{ name: only, url: \"{}\", dialects: [{}] }}\n", provider.url(), name(upstream));
    Gateway::with(provider).upstreams(&upstreams).start().await
}
