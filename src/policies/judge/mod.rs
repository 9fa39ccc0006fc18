//! Models that judge.
//!
//! A [`Judge`] is a model of an upstream that the settings name. [`question`] says what it is shown, and in which form: what
//! it judges stands as JSON between marks that JSON cannot say, so that nothing in it can pose as more than data. What a
//! judge answers is a JSON object of one form, or a fault: never leave to pass.

mod ask;
pub(super) mod question;
pub(super) mod verdicts;

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::Semaphore;

use crate::{
    model::{Dialect, Usage},
    policies::{Problem, http::Client, site::Site},
};

pub(super) use ask::{Said, Unjudged};

/// The time that one hook has, where the entry does not say: models take their time.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest explanation that is kept, in characters.
const LONGEST_EXPLANATION: usize = 2000;
/// What is left of a hook's time to say that the judge took too long.
const MARGIN: Duration = Duration::from_millis(50);

/// The model that judges.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JudgeSettings {
    /// The name of an upstream of the settings.
    upstream: String,
    /// The model, as that upstream names it.
    #[schemars(length(min = 1))]
    model: String,
    /// The most tokens of its answer, thinking included.
    #[serde(default = "max_tokens")]
    #[schemars(range(min = 1))]
    max_tokens: u64,
    /// What it costs, for the record and the metrics.
    #[serde(default)]
    price: Option<Price>,
    /// Questions that are asked at once; others wait within their time.
    #[serde(default = "concurrency")]
    #[schemars(range(min = 1, max = 1000))]
    concurrency: u32,
}

/// What a million tokens cost, in US dollars.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Price {
    /// Read.
    #[schemars(range(min = 0))]
    input: f64,
    /// Written.
    #[schemars(range(min = 0))]
    output: f64,
}

fn max_tokens() -> u64 {
    4096
}

fn concurrency() -> u32 {
    16
}

/// A model that judges.
pub(super) struct Judge {
    /// The upstream and the model.
    pub(super) name: String,
    client: Arc<Client>,
    dialect: Dialect,
    model: String,
    max_tokens: u64,
    price: Option<Price>,
    limit: Duration,
    room: Semaphore,
}

impl Judge {
    pub(super) fn new(settings: &JudgeSettings, site: &Site<'_>) -> Result<Self, Problem> {
        let Some(provider) = site.reach.provider(&settings.upstream) else {
            let known: Vec<_> = site.reach.providers.iter().map(|known| format!("`{}`", known.name)).collect();
            let message = format!("there is no upstream `{}`", settings.upstream);
            let remedy = match known.as_slice() {
                [] => "add an upstream of that name to the settings".to_owned(),
                known => format!("write one of {}", known.join(", ")),
            };
            return Err(Problem::new("/judge/upstream", message, remedy));
        };
        let limit = site.timeout.saturating_sub(MARGIN);
        if limit.is_zero() {
            let message = format!("a judge cannot answer within {:?}", site.timeout);
            return Err(Problem::new("/judge", message, "give the entry a longer `timeout`, such as `30s`"));
        }
        let client = provider.client().map_err(|why| {
            Problem::new("/judge/upstream", why, "name an upstream with a model, and correct its entry in the settings")
        })?;
        Ok(Self {
            name: format!("{}/{}", settings.upstream, settings.model),
            client,
            dialect: provider.dialect,
            model: settings.model.clone(),
            max_tokens: settings.max_tokens,
            price: settings.price,
            limit,
            room: Semaphore::new(settings.concurrency as usize),
        })
    }

    /// What these tokens cost, in US dollars.
    pub(super) fn cost(&self, usage: &Usage) -> Option<f64> {
        let Price { input, output } = self.price?;
        // Counts of tokens are far below what a double can say.
        #[expect(clippy::cast_precision_loss, reason = "the price is an estimate")]
        let dollars = |tokens: Option<u64>, price: f64| tokens.unwrap_or(0) as f64 * price / 1e6;
        Some(dollars(usage.input, input) + dollars(usage.output, output))
    }
}

/// The JSON object that a judge was asked for. An array of the same values, which the reader of JSON would take, is none.
pub(super) fn object<T: DeserializeOwned>(json: &str) -> Result<T, &'static str> {
    let object = json.trim_start().starts_with('{').then(|| serde_json::from_str(json).ok()).flatten();
    object.ok_or("it is not the JSON object that it was asked for")
}

/// Cuts an explanation to what a reader needs.
pub(super) fn shorten(explanation: &mut String) {
    if let Some((end, _)) = explanation.char_indices().nth(LONGEST_EXPLANATION) {
        explanation.truncate(end);
    }
}

/// What a judge is told to do: the task, what the operator adds, and the form of the answer.
pub(super) fn task(task: &str, instructions: &str, answer: &str) -> String {
    let own = instructions.trim();
    if own.is_empty() {
        return format!("{task}\n\n{answer}");
    }
    format!("{task}\n\nThe operator adds these rules:\n{own}\n\n{answer}")
}
