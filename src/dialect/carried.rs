//! Reasoning of one provider, carried through a client of another dialect and back.
//!
//! A client sends an earlier answer's reasoning back as it got it, and only the provider that made it can read it. Where
//! the client speaks another dialect, what the provider needs stands sealed in the field that the client's dialect has for
//! its own provider's: `signature` or `data` in Messages, `encrypted_content` in Responses. The seal says whose it is, so
//! that it goes to nobody else: a foreign signature is an error to every provider.

/// What a provider needs to see again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Carried {
    /// The `signature` of an Anthropic thinking block, whose text stands beside it.
    Signature(String),
    /// The `data` of an Anthropic `redacted_thinking` block.
    Redacted(String),
    /// A reasoning item of OpenAI Responses.
    Reasoning {
        /// The item's id.
        id: String,
        /// Its `encrypted_content`.
        encrypted: String,
    },
}

/// What every sealed text begins with. No provider's own begins so.
pub(super) const SEAL: &str = "luthien1.";

impl Carried {
    /// The sealed text.
    pub(super) fn seal(&self) -> String {
        match self {
            Self::Signature(signature) => format!("{SEAL}signature.{signature}"),
            Self::Redacted(data) => format!("{SEAL}redacted.{data}"),
            Self::Reasoning { id, encrypted } => format!("{SEAL}reasoning.{}.{id}{encrypted}", id.len()),
        }
    }

    /// What was sealed, if it was.
    pub(super) fn open(text: &str) -> Option<Self> {
        let (kind, rest) = text.strip_prefix(SEAL)?.split_once('.')?;
        match kind {
            "signature" => Some(Self::Signature(rest.to_owned())),
            "redacted" => Some(Self::Redacted(rest.to_owned())),
            "reasoning" => {
                let (len, rest) = rest.split_once('.')?;
                let (id, encrypted) = rest.split_at_checked(len.parse().ok()?)?;
                Some(Self::Reasoning { id: id.to_owned(), encrypted: encrypted.to_owned() })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_again() {
        let reasoning = Carried::Reasoning { id: "rs.1".to_owned(), encrypted: "gAAA.b==".to_owned() };
        for carried in [Carried::Signature("EqoB/+=".to_owned()), Carried::Redacted(String::new()), reasoning] {
            assert_eq!(Carried::open(&carried.seal()), Some(carried));
        }
        assert_eq!(Carried::open("EqoBCkYIBxgCIkA"), None);
        assert_eq!(Carried::open("luthien1.other.x"), None);
        assert_eq!(Carried::open("luthien1.reasoning.9.rs_1"), None);
    }
}
