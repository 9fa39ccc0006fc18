//! Every metric name and label, in one place.

/// Prefix of every metric.
pub const PREFIX: &str = "luthien";

/// The program, by version.
pub const BUILD_INFO: &str = "build_info";
/// Calls that ended, by dialect, upstream, model and outcome.
pub const CALLS: &str = "calls";
/// Calls in flight.
pub const CALLS_IN_FLIGHT: &str = "calls_in_flight";
/// Tasks of the runtime that have not ended.
pub const TASKS: &str = "tasks";
/// From the request to the first byte of the provider's answer, in seconds, by upstream and model.
pub const TIME_TO_FIRST_BYTE: &str = "time_to_first_byte";
/// The whole call, in seconds, by upstream and model.
pub const CALL_DURATION: &str = "call_duration";
/// Work of the gateway's own for a call, in seconds.
pub const OVERHEAD: &str = "overhead";
/// What a call waited for, in seconds, by whom.
pub const CALL_WAIT: &str = "call_wait";
/// Work of the gateway's own for a message that carries a chunk, in seconds, by direction.
pub const CHUNK_OVERHEAD: &str = "chunk_overhead";
/// From one chunk of a provider's stream to the next, in seconds, by upstream.
pub const CHUNK_GAP: &str = "chunk_gap";
/// Bytes held back, of all calls.
pub const HELD_BYTES: &str = "held";
/// Decisions of policies, by policy, what was decided on, and decision.
pub const DECISIONS: &str = "policy_decisions";
/// Faults of policies, by policy.
pub const FAULTS: &str = "policy_faults";
/// How long hooks of policies took, in seconds, by policy and hook.
pub const POLICY_DURATION: &str = "policy_duration";
/// What judges said, by judge, verdict and whether it was known from before.
pub const JUDGEMENTS: &str = "judgements";
/// How long judges took, in seconds, by judge.
pub const JUDGE_DURATION: &str = "judge_duration";
/// Tokens that judges took, by judge and direction.
pub const JUDGE_TOKENS: &str = "judge_tokens";
/// What judges cost by the prices in the rules, in US dollars, by judge.
pub const JUDGE_COST: &str = "judge_cost";
/// Whether questions are turned away because too many failed, by target.
pub const CIRCUIT_OPEN: &str = "circuit_open";
/// What was changed so that an answer stays legal, by what.
pub const REPAIRS: &str = "repairs";
/// Policies in shadow mode that were let go.
pub const SHADOWS_LOST: &str = "shadows_lost";
/// Tokens, by upstream, model and direction.
pub const TOKENS: &str = "tokens";
/// Loads of the rules, by result.
pub const RULES_RELOADS: &str = "rules_reloads";
/// The rules in force, by hash.
pub const RULES_INFO: &str = "rules_info";
/// Whether the source of the rules cannot be asked, so that what is in force may be older than what is wanted.
pub const RULES_SOURCE_FAILING: &str = "rules_source_failing";
/// Whether the rules document was refused, so that older rules are in force.
pub const RULES_REJECTED: &str = "rules_rejected";
/// How many keys of the settings have another value in their file, which a new process would use.
pub const RESTART_NEEDED: &str = "restart_needed";
/// Whether the settings file is wrong, so that a new process would not start.
pub const SETTINGS_REJECTED: &str = "settings_rejected";
/// Certificates and secrets that were read again because their file changed, by key of the settings and result.
pub const ROTATIONS: &str = "rotations";
/// Whether a certificate or secret cannot be read, so that an older one is in force, by key of the settings.
pub const ROTATION_FAILING: &str = "rotation_failing";
/// Calls that were turned away or ended by a limit, by limit.
pub const LIMITED: &str = "limited";
/// Bytes of records that wait for the store.
pub const SPOOL: &str = "spool";
/// The most of them that there may be.
pub const SPOOL_LIMIT: &str = "spool_limit";
/// Calls that are not recorded, because there was no room for them.
pub const UNRECORDED: &str = "unrecorded_calls";
/// Records that are lost or incomplete, by why.
pub const LOST_RECORDS: &str = "lost_records";
/// Records that were written to the store.
pub const STORED: &str = "stored_records";
/// Times that the store could not be written to.
pub const STORE_FAILURES: &str = "store_failures";

/// CPU time of the process, in seconds. The names of what every exporter tells of its process have no prefix.
pub const PROCESS_CPU: &str = "process_cpu";
/// Its memory, in bytes.
pub const PROCESS_RESIDENT_MEMORY: &str = "process_resident_memory";
/// Its address space, in bytes.
pub const PROCESS_VIRTUAL_MEMORY: &str = "process_virtual_memory";
/// Its threads.
pub const PROCESS_THREADS: &str = "process_threads";
/// When it began, in seconds since 1970.
pub const PROCESS_START_TIME: &str = "process_start_time";
/// Its open files and sockets.
pub const PROCESS_OPEN_FDS: &str = "process_open_fds";
/// The most that it may open.
pub const PROCESS_MAX_FDS: &str = "process_max_fds";

/// Names of spans.
pub mod span {
    /// A call, from its headers to the end of its answer. Everything else of it lies below.
    pub const CALL: &str = "luthien.call";
    /// Its request: received, decided on, sent.
    pub const REQUEST: &str = "luthien.request";
    /// Its answer: read, decided on, handed on.
    pub const RESPONSE: &str = "luthien.response";
    /// One hook of a policy.
    pub const POLICY: &str = "luthien.policy";
    /// One question to a model that judges.
    pub const JUDGE: &str = "luthien.judge";
}

/// Names of events on spans.
pub mod event {
    /// A policy decided on something.
    pub const DECISION: &str = "luthien.policy.decision";
    /// A policy told something.
    pub const POLICY: &str = "luthien.policy.event";
    /// A policy failed.
    pub const FAULT: &str = "luthien.policy.fault";
    /// A judge said something, or could not.
    pub const JUDGED: &str = "luthien.judge.verdict";
    /// Something was changed so that the answer stays legal.
    pub const REPAIR: &str = "luthien.repair";
}

/// Names of attributes of our own.
pub mod attribute {
    /// Luthien's id of the call.
    pub const CALL_ID: &str = "luthien.call_id";
    /// The client's id of the conversation.
    pub const SESSION_ID: &str = "luthien.session_id";
    /// The model that the client asked for.
    pub const MODEL: &str = "luthien.model";
    /// The protocol of the client.
    pub const DIALECT: &str = "luthien.dialect";
    /// The provider, as the settings name it.
    pub const UPSTREAM: &str = "luthien.upstream";
    /// Whether a stream was asked for.
    pub const STREAM: &str = "luthien.stream";
    /// The name of the client's key.
    pub const CLIENT: &str = "luthien.client";
    /// Pieces of the answer's body that came from the provider.
    pub const CHUNKS_IN: &str = "luthien.chunks.in";
    /// Pieces of the answer's body that left for the client.
    pub const CHUNKS_OUT: &str = "luthien.chunks.out";
    /// The policy.
    pub const POLICY_NAME: &str = "luthien.policy.name";
    /// What it decided: `edit`, `drop`, `refuse`, ….
    pub const POLICY_DECISION: &str = "luthien.policy.decision";
    /// The hook that ran.
    pub const POLICY_HOOK: &str = "luthien.policy.hook";
    /// What it was about: the kind of the block, or `request`.
    pub const POLICY_ON: &str = "luthien.policy.on";
    /// `enforce`, or `shadow`: it has no effect.
    pub const POLICY_MODE: &str = "luthien.policy.mode";
    /// What a policy tells: its word for it.
    pub const POLICY_EVENT: &str = "luthien.policy.event";
    /// What it tells of it, as JSON.
    pub const POLICY_FIELDS: &str = "luthien.policy.fields";
    /// Why it failed.
    pub const POLICY_ERROR: &str = "luthien.policy.error";
    /// Whether the call went on without it: `open` or `closed`.
    pub const POLICY_ON_FAULT: &str = "luthien.policy.on_fault";
    /// What was changed so that the answer stays legal.
    pub const REPAIR: &str = "luthien.repair";
    /// Who judged: the upstream and the model.
    pub const JUDGE_NAME: &str = "luthien.judge.name";
    /// `allow`, `block`, `replace` or `fault`.
    pub const JUDGE_VERDICT: &str = "luthien.judge.verdict";
    /// Whether the verdict was known from before.
    pub const JUDGE_CACHED: &str = "luthien.judge.cached";
    /// How likely it is that what was judged does harm, where the judge says so.
    pub const JUDGE_PROBABILITY: &str = "luthien.judge.probability";
    /// How the call ended: `completed`, `refused`, `stalled`, ….
    pub const OUTCOME: &str = "luthien.outcome";
    /// Hash of the rules.
    pub const RULES: &str = "luthien.rules";
    /// Time that the call spent in Luthien itself, in seconds.
    pub const OVERHEAD: &str = "luthien.overhead";
}
