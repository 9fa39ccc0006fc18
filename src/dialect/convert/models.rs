//! What is known of models by their names. A name that nobody knows gets what most servers take.
//!
//! Sources: Anthropic's model overview and migration guides, OpenAI's model pages, `DeepSeek`'s guide to thinking mode
//! (November 2026).

use crate::model::conversation::Effort;

/// A model of OpenAI's, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) enum OpenAi {
    /// The o-series.
    O,
    /// GPT with its version.
    Gpt(u32, u32),
    /// Somebody else's.
    Other,
}

impl OpenAi {
    /// Reads a name as `gpt-5.2-mini`, `o3`, `openai/gpt-4o`.
    pub(in crate::dialect) fn of(model: &str) -> Self {
        let name = model.rsplit('/').next().unwrap_or_default();
        if name.strip_prefix('o').is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_digit())) {
            return Self::O;
        }
        // `gpt-5-chat` does not reason.
        if name.starts_with("gpt-5-chat") {
            return Self::Gpt(4, 9);
        }
        let version = name.strip_prefix("gpt-").or(name.strip_prefix("chatgpt-")).map(digits);
        match version {
            Some((Some(major), rest)) => {
                Self::Gpt(major, rest.strip_prefix('.').map_or(0, |minor| digits(minor).0.unwrap_or(0)))
            }
            Some((None, _)) | None => Self::Other,
        }
    }

    /// Whether it is known to reason.
    pub(in crate::dialect) const fn reasons(self) -> bool {
        matches!(self, Self::O | Self::Gpt(5.., _))
    }

    /// Whether it is known not to reason.
    pub(in crate::dialect) const fn is_plain(self) -> bool {
        matches!(self, Self::Gpt(..5, _))
    }

    /// The most tokens of an answer, where known.
    pub(in crate::dialect) fn most_tokens(self, model: &str) -> Option<u64> {
        match self {
            Self::O => Some(100_000),
            Self::Gpt(5.., _) => Some(128_000),
            Self::Gpt(4, 1) => Some(32_768),
            Self::Gpt(4, 0) if model.contains("gpt-4o") => Some(16_384),
            Self::Gpt(..5, _) | Self::Other => None,
        }
    }

    /// The effort that comes closest to one of Anthropic's scale. `None`: nothing comes close.
    pub(in crate::dialect) fn effort(self, effort: Effort) -> Option<Effort> {
        match self {
            Self::O => Some(effort.clamp(Effort::Low, Effort::High)),
            Self::Gpt(..5, _) => None,
            Self::Gpt(5, 0) => Some(effort.clamp(Effort::Minimal, Effort::High)),
            Self::Gpt(5, 1) => Some(effort.min(Effort::High)),
            Self::Gpt(5, _) => Some(effort.min(Effort::Xhigh)),
            Self::Gpt(6.., _) => Some(effort),
            // Compatible servers know three words, and to many of them `none` is an error.
            Self::Other => (effort != Effort::None).then(|| effort.clamp(Effort::Low, Effort::High)),
        }
    }
}

/// The version of a Claude model by its name, as `claude-sonnet-4-5-20250929` or `claude-3-5-haiku-latest`.
///
/// The default is the one of a name that nobody knows: a compatible server, which takes what the early models took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::dialect) struct Claude {
    major: u32,
    minor: u32,
}

impl Claude {
    pub(in crate::dialect) fn of(model: &str) -> Self {
        let Some((_, name)) = model.rsplit_once("claude-") else { return Self::default() };
        // A date is no version.
        let mut numbers = name
            .split(['-', '.', '@', ':'])
            .skip_while(|word| word.parse::<u32>().is_err())
            .map_while(|word| word.parse::<u32>().ok().filter(|number| *number < 100));
        Self { major: numbers.next().unwrap_or(0), minor: numbers.next().unwrap_or(0) }
    }

    const fn at_least(self, major: u32, minor: u32) -> bool {
        self.major > major || (self.major == major && self.minor >= minor)
    }

    /// Whether the name told a version.
    pub(in crate::dialect) const fn is_known(self) -> bool {
        self.major > 0
    }

    /// Takes `role:"system"` messages in mid-conversation. Claude Code sends them to Opus 4.8.
    pub(in crate::dialect) const fn takes_system_turns(self) -> bool {
        self.at_least(4, 8)
    }

    /// Takes `thinking:{type:"adaptive"}` and `output_config.effort`; earlier ones take a budget.
    pub(in crate::dialect) const fn is_adaptive(self) -> bool {
        self.at_least(4, 6)
    }

    /// Takes `temperature` and `top_p`.
    pub(in crate::dialect) const fn takes_sampling(self) -> bool {
        !self.at_least(4, 7)
    }

    /// Refuses `temperature` beside `top_p`.
    pub(in crate::dialect) const fn takes_one_sampling(self) -> bool {
        self.at_least(4, 1)
    }

    /// Takes `output_config.format`.
    pub(in crate::dialect) const fn takes_format(self) -> bool {
        !self.is_known() || self.at_least(4, 1)
    }

    /// Continues an answer that the request ends with.
    pub(in crate::dialect) const fn takes_prefill(self) -> bool {
        !self.at_least(4, 6)
    }

    /// The longest name of a tool.
    pub(in crate::dialect) const fn longest_name(self) -> usize {
        if self.at_least(4, 0) { 128 } else { 64 }
    }

    /// `max_tokens` where the client names none: what the model can write, as far as that is known.
    pub(in crate::dialect) fn most_tokens(self, model: &str) -> u64 {
        match (self.major, self.minor) {
            (0, _) | (3, 5) => 8_192,
            (3, 7) => 64_000,
            (1..=3, _) => 4_096,
            (4, 0 | 1) if model.contains("opus") => 32_000,
            (4, _) => 64_000,
            _ => 128_000,
        }
    }
}

/// Whether a chat server wants back what the model thought before its calls, in `reasoning_content`. `DeepSeek` and Kimi
/// refuse a call that comes back without it; others refuse the field.
pub(in crate::dialect) fn wants_thoughts(model: &str) -> bool {
    let name = model.to_ascii_lowercase();
    ["deepseek", "kimi"].iter().any(|known| name.contains(known))
}

/// The number that a text begins with, and what follows.
fn digits(text: &str) -> (Option<u32>, &str) {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).map_or((None, text), |(number, rest)| (number.parse().ok(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_versions() {
        for (name, major, minor) in [
            ("claude-sonnet-4-5-20250929", 4, 5),
            ("claude-sonnet-4-20250514", 4, 0),
            ("claude-3-5-haiku-latest", 3, 5),
            ("us.anthropic.claude-opus-4-1-20250805-v1:0", 4, 1),
            ("claude-fable-5-1", 5, 1),
            ("claude-opus-5", 5, 0),
            ("deepseek-chat", 0, 0),
        ] {
            assert_eq!(Claude::of(name), Claude { major, minor }, "{name}");
        }
        for (name, model) in [
            ("gpt-4o-mini", OpenAi::Gpt(4, 0)),
            ("gpt-4.1", OpenAi::Gpt(4, 1)),
            ("openai/gpt-5.2-codex", OpenAi::Gpt(5, 2)),
            ("gpt-6-astra", OpenAi::Gpt(6, 0)),
            ("o4-mini", OpenAi::O),
            ("gpt-oss-120b", OpenAi::Other),
            ("openhermes", OpenAi::Other),
            ("llama-4", OpenAi::Other),
        ] {
            assert_eq!(OpenAi::of(name), model, "{name}");
        }
    }
}
