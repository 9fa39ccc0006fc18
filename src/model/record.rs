//! How much of a call is recorded.

/// How much of a call is recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordLevel {
    /// Nothing.
    Off,
    /// What happened and what it took, and no text of requests and answers.
    Metadata,
    /// Everything.
    #[default]
    Full,
}

/// What is recorded of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recorded {
    /// How much.
    pub level: RecordLevel,
    /// Whether the bytes of answers are recorded as well. Only with [`RecordLevel::Full`].
    pub raw: bool,
}

impl RecordLevel {
    /// Its name in the configuration and in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Metadata => "metadata",
            Self::Full => "full",
        }
    }
}

impl Recorded {
    /// What is recorded where both shall have their way: the least.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        Self { level: self.level.min(other.level), raw: self.raw && other.raw }
    }
}
