//! What is told of calls: lists of them, and one in full.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sqlx::{Any, AssertSqlSafe, Row, any::AnyRow, query::Query};

use super::{
    Store, StoreError,
    bodies::{Wanted, bodies, events, json, raws},
    search,
    write::text,
};

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is asked of a call.
const COLUMNS: &str = "id, started_at, ended_at, replica, level, dialect, path, model, client, session, probe, trace_id, stream, \
                       rules, upstream, upstream_dialect, upstream_model, request_changed, response_changed, status, \
                       outcome, error, duration, first_byte, input_tokens, cached_tokens, cache_write_tokens, \
                       output_tokens, reasoning_tokens, cost";

/// A call, in short.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Summary {
    /// Luthien's id of the call.
    pub call_id: String,
    /// When it began, as in RFC 3339.
    pub started_at: String,
    /// When it ended. Missing: it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// How it ended: `completed`, `refused`, `stalled`, …. Missing: it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// What the client was told, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The HTTP status. Missing: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    /// How long after the request left the provider's first byte came, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_first_byte_ms: Option<f64>,
    /// The client's protocol. Missing: the path has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// The path, without the query.
    pub path: String,
    /// The model that the client asked for. Empty: not known.
    pub model: String,
    /// The provider. Missing: none was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The provider's protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_dialect: Option<String>,
    /// The model that the provider was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_model: Option<String>,
    /// The name of the client's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The client's id of the conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// What the client tries with it, where it is no part of the conversation: `quota`, `title`, `count_tokens`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// The trace that it is a part of, 32 hexadecimal digits. Missing: nobody traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// What policies changed.
    pub changed: Changed,
    /// The tokens that the provider reported.
    pub usage: Tokens,
    /// What they cost, in US dollars. Missing: the price is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Hash of the rules.
    pub rules: String,
    /// The host that served it.
    pub replica: String,
    /// How much is recorded: `metadata` or `full`.
    pub record: String,
}

/// What policies changed of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Changed {
    /// The provider got another request than the client sent.
    pub request: bool,
    /// The client got another answer than the provider gave.
    pub response: bool,
}

/// Token counts. Missing: not reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tokens {
    /// Read, cached ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    /// Of these, read from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<u64>,
    /// Of these, written to a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<u64>,
    /// Written, thinking included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    /// Of these, of thinking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<u64>,
}

/// A call, in full.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Call {
    /// In short.
    #[serde(flatten)]
    pub summary: Summary,
    /// The request's headers, without credentials.
    pub headers: Vec<(String, String)>,
    /// Fields of the request that were left out, because the provider's protocol does not have them.
    pub dropped_fields: Vec<String>,
    /// What the client sent, and what the provider got.
    pub request: Sides,
    /// What the provider answered, and what the client got. Of a stream: put together as the official SDKs do it.
    pub response: Sides,
    /// What happened, in the form of the live activity.
    pub events: Vec<Value>,
}

/// A body before and behind the policies.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Sides {
    /// As it came. Missing: nothing did, or it is not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<Value>,
    /// As it left. Missing: nothing did, or it is not recorded.
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    pub sent: Option<Value>,
    /// The bytes as they came, in base64, where they are recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_raw: Option<String>,
    /// The bytes as they left, in base64, where they are recorded.
    #[serde(rename = "final_raw", skip_serializing_if = "Option::is_none")]
    pub sent_raw: Option<String>,
}

/// Some of a list, and where the rest begins.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Page<T> {
    /// The newest first.
    pub items: Vec<T>,
    /// What `cursor` has to say to get those behind them. Missing: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Which calls are asked for. All that is given has to fit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Globs of the model; one has to fit.
    pub models: Vec<String>,
    /// Outcomes; one has to fit. `open`: it goes on.
    pub outcomes: Vec<String>,
    /// A policy that did something.
    pub policy: Option<String>,
    /// The client's id of the conversation.
    pub session: Option<String>,
    /// The name of the client's key.
    pub client: Option<String>,
    /// Not before, in microseconds since 1970.
    pub from: Option<i64>,
    /// Before, in microseconds since 1970.
    pub to: Option<i64>,
    /// Words that have to stand in one text.
    pub text: Option<String>,
    /// Only those that are a part of a conversation.
    pub without_probes: bool,
}

/// Where the rest of a list begins: behind this time, in microseconds since 1970, and this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The time.
    pub at: i64,
    /// The id.
    pub id: String,
}

/// A statement and its values, in the order of their numbers.
#[derive(Default)]
pub(super) struct Asking {
    conditions: Vec<String>,
    values: Vec<Bound>,
}

#[derive(Debug, Clone)]
enum Bound {
    Text(String),
    Number(i64),
}

impl Store {
    /// Calls that fit, the newest first.
    pub async fn list(&self, filter: &Filter, after: Option<&Cursor>, limit: u16) -> Result<Page<Summary>, StoreError> {
        let mut asking = Asking::default();
        asking.filter(self, filter);
        asking.after("started_at", after);
        let statement = format!(
            "SELECT {COLUMNS} FROM calls {} ORDER BY started_at DESC, id DESC LIMIT {}",
            asking.conditions(),
            limit + 1
        );
        let rows = within(asking.query(statement).fetch_all(self.pool())).await?;
        let mut items = rows.iter().map(summary).collect::<Result<Vec<_>, _>>()?;
        let times = rows.iter().map(|row| row.try_get(1)).collect::<Result<Vec<i64>, _>>()?;
        let next_cursor = (items.len() > usize::from(limit)).then(|| {
            items.truncate(usize::from(limit));
            let last = items.last().zip(times.get(usize::from(limit) - 1));
            last.map(|(last, at)| Cursor { at: *at, id: last.call_id.clone() }.to_string())
        });
        Ok(Page { items, next_cursor: next_cursor.flatten() })
    }

    /// A call. `None`: there is none.
    pub async fn call(&self, id: &str) -> Result<Option<Call>, StoreError> {
        let mut db = within(self.pool().acquire()).await?;
        let statement = format!("SELECT {COLUMNS}, headers, dropped FROM calls WHERE id = $1");
        let query = sqlx::query(AssertSqlSafe(statement)).bind(text(id));
        let Some(row) = within(query.fetch_optional(&mut *db)).await? else { return Ok(None) };
        let summary = summary(&row)?;
        let headers = json(&row.try_get::<Vec<u8>, _>("headers")?)?;
        let dropped = row.try_get::<Option<Vec<u8>>, _>("dropped")?.map(|dropped| json(&dropped)).transpose()?;
        let mut bodies = bodies(&mut db, &[id.to_owned()], Wanted::All).await?.remove(id).unwrap_or_default();
        let mut raws = raws(&mut db, id).await?;
        let mut take = |side: &'static str| (bodies.remove(side), raws.remove(side));
        let (request, _) = take("request");
        let (request_sent, _) = take("request_sent");
        let (response, response_raw) = take("response");
        let (response_sent, response_sent_raw) = take("response_sent");
        let events = events(&mut db, id).await?;
        // What did not change is stored once.
        let was_sent = summary.upstream_dialect.is_some();
        let sent = if summary.changed.request { request_sent } else { request.clone().filter(|_| was_sent) };
        let told = if summary.changed.response { response_sent } else { response.clone() };
        let told_raw = if summary.changed.response { response_sent_raw } else { response_raw.clone() };
        Ok(Some(Call {
            headers: serde_json::from_value(headers).unwrap_or_default(),
            dropped_fields: dropped.and_then(|dropped| serde_json::from_value(dropped).ok()).unwrap_or_default(),
            request: Sides { original: request, sent, original_raw: None, sent_raw: None },
            response: Sides { original: response, sent: told, original_raw: response_raw, sent_raw: told_raw },
            events,
            summary,
        }))
    }
}

impl Asking {
    /// The number of the next value, with the value.
    fn bind(&mut self, value: Bound) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    pub(super) fn text(&mut self, value: &str) -> String {
        self.bind(Bound::Text(text(value)))
    }

    pub(super) fn number(&mut self, value: i64) -> String {
        self.bind(Bound::Number(value))
    }

    pub(super) fn and(&mut self, condition: String) {
        self.conditions.push(condition);
    }

    /// Only what stands behind `after` in a list with the newest first.
    pub(super) fn after(&mut self, column: &str, after: Option<&Cursor>) {
        if let Some(Cursor { at, id }) = after {
            let (at, id) = (self.number(*at), self.text(id));
            self.and(format!("({column}, id) < ({at}, {id})"));
        }
    }

    fn filter(&mut self, store: &Store, filter: &Filter) {
        let Filter { models, outcomes, policy, session, client, from, to, text, without_probes } = filter;
        if !models.is_empty() {
            let globs: Vec<_> = models.iter().map(|glob| self.like("model", glob)).collect();
            self.and(format!("({})", globs.join(" OR ")));
        }
        if !outcomes.is_empty() {
            let each = |outcome: &String| match outcome.as_str() {
                "open" => "outcome IS NULL".to_owned(),
                outcome => format!("outcome = {}", self.text(outcome)),
            };
            let each: Vec<_> = outcomes.iter().map(each).collect();
            self.and(format!("({})", each.join(" OR ")));
        }
        for (column, value) in [("session", session), ("client", client)] {
            if let Some(value) = value {
                let value = self.text(value);
                self.and(format!("{column} = {value}"));
            }
        }
        if let Some(policy) = policy {
            let policy = self.text(policy);
            self.and(format!("EXISTS (SELECT 1 FROM decisions WHERE policy = {policy} AND call = calls.id)"));
        }
        for (compared, time) in [(">=", from), ("<", to)] {
            if let Some(time) = time {
                let time = self.number(*time);
                self.and(format!("started_at {compared} {time}"));
            }
        }
        if *without_probes {
            self.and("probe IS NULL".to_owned());
        }
        if let Some(words) = text {
            search::condition(store.kind, words, self);
        }
    }

    /// A glob of `*` and `?`, in whatever case.
    fn like(&mut self, column: &str, glob: &str) -> String {
        let mut pattern = String::new();
        for sign in glob.to_lowercase().chars() {
            match sign {
                '*' => pattern.push('%'),
                '?' => pattern.push('_'),
                '%' | '_' | '\\' => pattern.extend(['\\', sign]),
                other => pattern.push(other),
            }
        }
        let pattern = self.text(&pattern);
        format!("LOWER({column}) LIKE {pattern} ESCAPE '\\'")
    }

    pub(super) fn conditions(&self) -> String {
        if self.conditions.is_empty() { String::new() } else { format!("WHERE {}", self.conditions.join(" AND ")) }
    }

    /// The statement, which is made of constants and numbers of values only.
    pub(super) fn query(self, statement: String) -> Query<'static, Any, sqlx::any::AnyArguments> {
        let query = sqlx::query(AssertSqlSafe(statement));
        self.values.into_iter().fold(query, |query, value| match value {
            Bound::Text(text) => query.bind(text),
            Bound::Number(number) => query.bind(number),
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(format!("{} {}", self.at, self.id)))
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(drop)?;
        let text = String::from_utf8(bytes).map_err(drop)?;
        let (at, id) = text.split_once(' ').ok_or(())?;
        Ok(Self { at: at.parse().map_err(drop)?, id: id.to_owned() })
    }
}

/// An answer of the database, if it comes in time.
pub(super) async fn within<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    Ok(tokio::time::timeout(PATIENCE, answer).await.map_err(|_| StoreError::Slow)??)
}

fn summary(row: &AnyRow) -> Result<Summary, StoreError> {
    let count = |name: &str| row.try_get::<Option<i64>, _>(name).map(|count| count.map(i64::unsigned_abs));
    let milliseconds = |name: &str| {
        // Exact for 285 years.
        #[expect(clippy::cast_precision_loss, reason = "a duration in microseconds is far below 2^53")]
        row.try_get::<Option<i64>, _>(name).map(|micros| micros.map(|micros| micros as f64 / 1000.0))
    };
    let status = row.try_get::<Option<i64>, _>("status")?;
    let is = |name: &str| row.try_get::<i64, _>(name).map(|flag| flag != 0);
    Ok(Summary {
        call_id: row.try_get("id")?,
        started_at: rfc3339(row.try_get("started_at")?),
        ended_at: row.try_get::<Option<i64>, _>("ended_at")?.map(rfc3339),
        outcome: row.try_get("outcome")?,
        error: row.try_get("error")?,
        status: status.and_then(|status| u16::try_from(status).ok()).filter(|status| *status > 0),
        duration_ms: milliseconds("duration")?,
        time_to_first_byte_ms: milliseconds("first_byte")?,
        dialect: row.try_get("dialect")?,
        path: row.try_get("path")?,
        model: row.try_get("model")?,
        upstream: row.try_get("upstream")?,
        upstream_dialect: row.try_get("upstream_dialect")?,
        upstream_model: row.try_get("upstream_model")?,
        client: row.try_get("client")?,
        session_id: row.try_get("session")?,
        probe: row.try_get("probe")?,
        trace_id: row.try_get("trace_id")?,
        stream: is("stream")?,
        changed: Changed { request: is("request_changed")?, response: is("response_changed")? },
        usage: Tokens {
            input: count("input_tokens")?,
            cached: count("cached_tokens")?,
            cache_write: count("cache_write_tokens")?,
            output: count("output_tokens")?,
            reasoning: count("reasoning_tokens")?,
        },
        cost_usd: row.try_get("cost")?,
        rules: row.try_get("rules")?,
        replica: row.try_get("replica")?,
        record: row.try_get("level")?,
    })
}

/// A time in microseconds since 1970, as in RFC 3339.
pub(super) fn rfc3339(micros: i64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(micros.unsigned_abs());
    humantime::format_rfc3339_micros(time).to_string()
}
