//! What a judge says of a block.

use std::time::Duration;

use super::Usage;

/// What a judge said, and what it took to ask it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Who was asked: the upstream and the model.
    pub judge: String,
    /// The kind of the block.
    pub on: &'static str,
    /// The tool, where it is a call.
    pub tool: Option<String>,
    /// `allow`, `block`, `replace` or `fault`.
    pub verdict: &'static str,
    /// How likely the block breaks the rules, from 0 to 1.
    pub probability: Option<f64>,
    /// Why. In the judge's words, which may quote what it judged; for a fault, what went wrong.
    pub explanation: String,
    /// How long it took.
    pub took: Duration,
    /// It was known from before, and nobody was asked.
    pub cached: bool,
    /// The tokens that it took.
    pub usage: Usage,
    /// What they cost, in US dollars, where the rules name a price.
    pub cost: Option<f64>,
}
