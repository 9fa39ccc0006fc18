//! Every metric name and label, in one place.

/// Prefix of every metric.
pub const PREFIX: &str = "luthien";

/// Calls that ended, by dialect, upstream and outcome.
pub const CALLS: &str = "calls";
/// Calls in flight.
pub const CALLS_IN_FLIGHT: &str = "calls_in_flight";
/// From the request to the first byte of the provider's answer, in seconds.
pub const TIME_TO_FIRST_BYTE: &str = "time_to_first_byte";
/// The whole call, in seconds.
pub const CALL_DURATION: &str = "call_duration";
/// Bytes held back, of all calls.
pub const HELD_BYTES: &str = "held";
/// Decisions of policies, by policy, what was decided on, and decision.
pub const DECISIONS: &str = "policy_decisions";
/// Faults of policies, by policy.
pub const FAULTS: &str = "policy_faults";
/// What judges said, by judge, verdict and whether it was known from before.
pub const JUDGEMENTS: &str = "judgements";
/// How long judges took, in seconds, by judge.
pub const JUDGE_DURATION: &str = "judge_duration";
/// Tokens that judges took, by judge and direction.
pub const JUDGE_TOKENS: &str = "judge_tokens";
/// What judges cost by the prices in the rules, in US dollars, by judge.
pub const JUDGE_COST: &str = "judge_cost";
/// What was changed so that an answer stays legal, by what.
pub const REPAIRS: &str = "repairs";
/// Policies in shadow mode that were let go.
pub const SHADOWS_LOST: &str = "shadows_lost";
/// Tokens, by upstream and direction.
pub const TOKENS: &str = "tokens";
/// Loads of the rules, by result.
pub const RULES_RELOADS: &str = "rules_reloads";
/// Calls that were turned away or ended by a limit, by limit.
pub const LIMITED: &str = "limited";
/// Bytes of records that wait for the store.
pub const SPOOL: &str = "spool";
/// Calls that are not recorded, because there was no room for them.
pub const UNRECORDED: &str = "unrecorded_calls";
/// Records that are lost or incomplete, by why.
pub const LOST_RECORDS: &str = "lost_records";
/// Records that were written to the store.
pub const STORED: &str = "stored_records";
/// Times that the store could not be written to.
pub const STORE_FAILURES: &str = "store_failures";
