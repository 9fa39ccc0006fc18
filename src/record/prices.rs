//! What tokens cost.

use globset::{Glob, GlobMatcher};
use serde::Deserialize;

use super::Closing;

/// Tokens that a price is for.
const MILLION: f64 = 1_000_000.0;

/// What the tokens of models cost.
#[derive(Debug, Default)]
pub struct Prices {
    models: Vec<(GlobMatcher, Price)>,
}

/// Why a list of prices cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    /// A glob is wrong.
    #[error("`{glob}`: {error}")]
    Glob {
        /// The glob.
        glob: String,
        /// What is wrong with it.
        error: globset::Error,
    },
}

/// What a million tokens cost, in US dollars.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Tokens read.
    pub input: f64,
    /// Tokens read from a cache; as the others where it is absent.
    pub cached: Option<f64>,
    /// Tokens written to a cache; as the others where it is absent.
    pub cache_write: Option<f64>,
    /// Tokens written.
    pub output: f64,
}

impl Prices {
    /// Prices by globs of model names; the first that fits counts.
    pub fn new(models: impl IntoIterator<Item = (String, Price)>) -> Result<Self, PricesError> {
        let compile = |(glob, price): (String, Price)| match Glob::new(&glob) {
            Ok(compiled) => Ok((compiled.compile_matcher(), price)),
            Err(error) => Err(PricesError::Glob { glob, error }),
        };
        Ok(Self { models: models.into_iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// What a call cost, in US dollars. `None`: the price of the model is not known, or no tokens were reported.
    pub fn cost(&self, closing: &Closing) -> Option<f64> {
        let (_, price) = self.models.iter().find(|(glob, _)| glob.is_match(&closing.model))?;
        let (input, output) = match (closing.input, closing.output) {
            (None, None) => return None,
            (input, output) => (input.unwrap_or(0), output.unwrap_or(0)),
        };
        let (cached, written) = (closing.cached.unwrap_or(0), closing.cache_write.unwrap_or(0));
        let fresh = input.saturating_sub(cached).saturating_sub(written);
        let of = |tokens: u64, price: f64| count(tokens) * price / MILLION;
        Some(
            of(fresh, price.input)
                + of(cached, price.cached.unwrap_or(price.input))
                + of(written, price.cache_write.unwrap_or(price.input))
                + of(output, price.output),
        )
    }
}

/// A number of tokens. Exact for all that a provider could report.
fn count(tokens: u64) -> f64 {
    f64::from(u32::try_from(tokens).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_without_a_price_costs_nothing_that_is_known() {
        let price = Price { input: 3.0, cached: Some(0.3), cache_write: None, output: 15.0 };
        let prices = Prices::new([("claude-sonnet-*".to_owned(), price)]).unwrap();
        let closing = Closing {
            input: Some(1_000_000),
            cached: Some(500_000),
            cache_write: Some(100_000),
            output: Some(100_000),
            model: "claude-sonnet-4-5".to_owned(),
            ..Closing::default()
        };
        let cost = prices.cost(&closing).unwrap();
        assert!((cost - (0.4 * 3.0 + 0.5 * 0.3 + 0.1 * 3.0 + 0.1 * 15.0)).abs() < 1e-9, "{cost}");
        let other = Closing { model: "other".to_owned(), ..closing.clone() };
        assert_eq!(prices.cost(&other), None);
        let silent = Closing { model: closing.model, ..Closing::default() };
        assert_eq!(prices.cost(&silent), None);
        assert!(Prices::new([("[".to_owned(), price)]).is_err());
    }
}
