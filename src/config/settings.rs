//! What `luthien.yaml` says, as types. One field is one key; the doc comment is the reference text, and the JSON
//! Schema, the environment variables and the checks are all derived from here.
//!
//! Nothing in this file reads a file or an environment variable: see `load`.

use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    extproc::Extproc,
    quickstart::Upstreams,
    recording::Recording,
    source::RulesSettings,
    telemetry::Telemetry,
    units::{Duration, Size},
    unpoliced::Unpoliced,
};

/// Where clients connect unless the settings say otherwise.
pub(super) const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// Where the admin listener is unless the settings say otherwise.
pub(super) const DEFAULT_ADMIN_LISTEN: &str = "127.0.0.1:8081";

/// The process configuration.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Version of this document's format. Only 1 exists.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Where clients connect (Envoy's listener), `ADDRESS:PORT`.
    #[serde(default = "default_listen")]
    pub listen: String,
    /// The admin listener: pages, live activity, health, readiness, metrics.
    #[serde(default)]
    pub admin: Admin,
    /// Where the rules come from: the path of the rules document, relative to the folder of the settings file, or a mapping.
    #[serde(default)]
    pub rules: RulesSettings,
    /// The providers that calls are sent to, in order: the first that speaks the dialect and matches the model is used.
    /// The word `quickstart` stands for `openai` and `anthropic`, with the key in `OPENAI_API_KEY` or `ANTHROPIC_API_KEY`,
    /// and for the demo provider where that is not set.
    #[schemars(with = "Upstreams")]
    pub upstreams: Vec<Upstream>,
    /// Policies in other processes, which rules name.
    #[serde(default)]
    pub remotes: Vec<Remote>,
    /// What replicas share for a while: verdicts of judges. Without it each keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// The records of calls.
    #[serde(default)]
    pub recording: Recording,
    /// How clients prove who they are.
    #[serde(default)]
    pub clients: Clients,
    /// Certificate and key of the client listener. Plain HTTP when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// What happens to what no policy reads: paths that no dialect covers, calls that nothing has to read.
    #[serde(default)]
    pub unpoliced: Unpoliced,
    /// What happens to a body that cannot be read (compressed, malformed, of an unknown type).
    #[serde(default)]
    pub unreadable: Unreadable,
    /// Time limits.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Size and count limits.
    #[serde(default)]
    pub limits: Limits,
    /// Where Envoy reaches the ext_proc service. Chosen by `luthien up`; for `serve`, a Unix socket or a TCP address.
    #[serde(default)]
    pub extproc: Extproc,
    /// A listener without a token that serves only health and metrics, for probes. Off when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// Log output.
    #[serde(default)]
    pub log: Log,
    /// Traces and metrics.
    #[serde(default)]
    pub telemetry: Telemetry,
}

/// The admin listener.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// `ADDRESS:PORT`. Anything but loopback needs a token.
    pub listen: String,
    /// Where the bearer token stands that the admin listener demands (except `/healthz` and `/readyz`): `{ env: NAME }`
    /// or `{ file: PATH }`. Needed off loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretSource>,
    /// Where a second token stands, for those who may read everything and change nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewer_token: Option<SecretSource>,
    /// Where the trace of a call is, for the page of the call: an address in which `{call_id}` and `{trace_id}` stand for
    /// those of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_url: Option<String>,
}

/// A listener for probes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// `ADDRESS:PORT`.
    pub listen: String,
}

/// Log output.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `pretty` for people, `json` for machines.
    pub format: LogFormat,
    /// A level or filter directives, as `info` or `luthien=debug,warn`.
    pub level: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

/// A provider that calls are sent to.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its name in rules, logs and metrics; also the name of its Envoy cluster.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    #[schemars(extend("x-remedy" = "write lower-case letters, digits, `-` and `_`, at most 63, a letter or digit first"))]
    pub name: String,
    /// Scheme, host, port and optional path prefix, as `https://api.anthropic.com`. A trailing `/v1` of the prefix is
    /// dropped, because the client's path already has it. `demo` is the built-in demo provider.
    pub url: String,
    /// Whether its paths begin with `/v1`, behind the prefix, as those of most providers do. `false` drops it from the
    /// client's path: `/v1/responses` is asked at `/responses`.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub v1: bool,
    /// The protocols that it speaks. Calls in another one are converted to the first.
    #[schemars(length(min = 1))]
    pub dialects: Vec<Dialect>,
    /// Globs of the model names that it serves.
    #[serde(default = "all_models")]
    pub models: Vec<String>,
    /// Names of models as clients say them, each with the name that this provider has for it. The answer carries the
    /// client's name. Such a name is served here whatever `models` says, here or at another upstream.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub aliases: IndexMap<String, String>,
    /// The key sent to it.
    #[serde(default)]
    pub credentials: Credentials,
    /// Time limits that differ for this provider.
    #[serde(default)]
    pub timeouts: UpstreamTimeouts,
    /// A PEM file of certificate authorities to trust in place of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

/// A policy in another process, which rules name as `remote`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// Its name in rules, logs and errors.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    #[schemars(extend("x-remedy" = "write lower-case letters, digits, `-` and `_`, at most 63, a letter or digit first"))]
    pub name: String,
    /// `grpc`: the service of `proto/luthien/policy/v1/policy.proto`. `webhook`: the same messages as JSON, posted to the URL.
    pub protocol: RemoteProtocol,
    /// Where it is: for gRPC scheme, host and port; for a webhook the whole URL. `https` is TLS.
    #[schemars(regex(pattern = r"^https?://.+"))]
    pub url: String,
    /// gRPC: the token that it is shown as `authorization: Bearer`. Webhook, required: what requests are signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSource>,
    /// A PEM file of certificate authorities to trust in place of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// gRPC: our own certificate and key, for a remote that asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// A Redis.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// `redis://HOST:PORT/DB`, `rediss://` for TLS, `redis+unix:///PATH`; without a password.
    #[schemars(regex(pattern = r"^(rediss?://|redis\+unix://)[^@]+$"))]
    #[schemars(extend("x-remedy" = "write redis://HOST:PORT/0; a password belongs into `password`"))]
    pub url: String,
    /// The user; absent: the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSource>,
}

/// How a policy in another process is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RemoteProtocol {
    /// gRPC.
    Grpc,
    /// HTTP.
    Webhook,
}

/// One of the protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// OpenAI Chat Completions, `POST /v1/chat/completions`.
    OpenaiChat,
    /// OpenAI Responses, `POST /v1/responses`.
    OpenaiResponses,
    /// Anthropic Messages, `POST /v1/messages`.
    AnthropicMessages,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 3] = [Self::OpenaiChat, Self::OpenaiResponses, Self::AnthropicMessages];

    /// Its name in configuration, rules and metrics, as `openai_chat`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenaiChat => "openai_chat",
            Self::OpenaiResponses => "openai_responses",
            Self::AnthropicMessages => "anthropic_messages",
        }
    }

    /// The dialect of the requests posted to a path; the query does not matter.
    pub fn of_path(path: &str) -> Option<Self> {
        match path.split_once('?').map_or(path, |(path, _)| path) {
            "/v1/chat/completions" => Some(Self::OpenaiChat),
            "/v1/responses" => Some(Self::OpenaiResponses),
            "/v1/messages" | "/v1/messages/count_tokens" => Some(Self::AnthropicMessages),
            _ => None,
        }
    }
}

/// The key sent to a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Credentials {
    /// A secret of ours.
    Secret(SecretSource),
    /// What the client sent.
    #[default]
    #[serde(with = "passthrough")]
    #[schemars(with = "Passthrough")]
    Passthrough,
}

/// Where a secret stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretSource {
    /// The name of an environment variable.
    Env(String),
    /// A file; white space around the secret is ignored. Read again when it changes.
    File(PathBuf),
}

/// The word `passthrough`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Passthrough {
    /// The client's own credential goes on to the provider.
    Passthrough,
}

mod passthrough {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(s: S) -> Result<S::Ok, S::Error> {
        super::Passthrough::Passthrough.serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<(), D::Error> {
        super::Passthrough::deserialize(d).map(|_| ())
    }
}

/// How clients prove who they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Clients {
    /// `passthrough`: the provider judges the client's credential. `keys`: only the keys below. `either`: both.
    pub auth: ClientAuth,
    /// Luthien's own client keys. Never forwarded.
    pub keys: Vec<ClientKey>,
}

/// Who judges a client's credential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// The provider.
    #[default]
    Passthrough,
    /// Luthien, by its keys.
    Keys,
    /// Luthien when a key fits, otherwise the provider.
    Either,
}

/// A client key. Exactly one of `file`, `env` and `value_sha256`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientKey {
    /// The client's name in rules and records.
    pub name: String,
    /// A file that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// An environment variable that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The SHA-256 of the key, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{64}$"))]
    #[schemars(extend("x-remedy" = "write the 64 hexadecimal digits that `printf %s KEY | sha256sum` prints"))]
    pub value_sha256: Option<String>,
}

/// Certificate and key of the client listener.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the certificate chain.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

/// What happens to a body that cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unreadable {
    /// The call ends with an error.
    #[default]
    Refuse,
    /// The body passes unread.
    Pass,
}

/// Time limits, as `90s`, `5m`, `1h`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// To connect to a provider.
    pub connect: Duration,
    /// For the client to send its request.
    pub upload: Duration,
    /// From the request to the first byte of a streamed answer.
    pub first_byte: Duration,
    /// From the request to the first byte of an answer that is not streamed.
    pub first_byte_json: Duration,
    /// Silence of the provider between two chunks.
    pub stall: Duration,
    /// The whole answer.
    pub total: Duration,
    /// One hook of a policy, unless its entry in the rules says otherwise.
    pub hook: Duration,
    /// Silence towards the client, while content is held or the answer is converted, before a keepalive is sent.
    pub keepalive: Duration,
    /// For calls in flight to end when the process is asked to stop.
    pub drain: Duration,
}

/// Time limits of one provider; an absent one is the general one.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTimeouts {
    /// To connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Duration>,
    /// From the request to the first byte of a streamed answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Duration>,
    /// From the request to the first byte of an answer that is not streamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_json: Option<Duration>,
    /// Silence between two chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall: Option<Duration>,
    /// The whole answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Duration>,
}

/// Size and count limits. Sizes as `32MiB`, `512KiB`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// A request body.
    pub request_body: Size,
    /// One SSE event.
    pub event: Size,
    /// A response body that must be seen whole.
    pub response_body: Size,
    /// Bytes held back for one call.
    pub held: Size,
    /// Bytes held back for all calls together.
    pub held_total: Size,
    /// Output of our own making for one call.
    pub synthetic: Size,
    /// Calls at the same time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub calls: u32,
}

/// Free-form values by key.
pub type Table = IndexMap<String, serde_json::Value>;

impl Default for Admin {
    fn default() -> Self {
        Self { listen: DEFAULT_ADMIN_LISTEN.to_owned(), token: None, viewer_token: None, trace_url: None }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Pretty, level: "info".to_owned() }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            upload: Duration::from_secs(300),
            first_byte: Duration::from_secs(120),
            first_byte_json: Duration::from_secs(600),
            stall: Duration::from_secs(180),
            total: Duration::from_secs(3600),
            hook: Duration::from_secs(10),
            keepalive: Duration::from_secs(10),
            drain: Duration::from_secs(30),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_body: Size::mib(32),
            event: Size::mib(16),
            response_body: Size::mib(32),
            held: Size::mib(32),
            held_total: Size::mib(2048),
            synthetic: Size::mib(1),
            calls: 2000,
        }
    }
}

fn one() -> u32 {
    1
}

fn default_listen() -> String {
    DEFAULT_LISTEN.to_owned()
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_yes(value: &bool) -> bool {
    *value
}

fn all_models() -> Vec<String> {
    vec!["*".to_owned()]
}
