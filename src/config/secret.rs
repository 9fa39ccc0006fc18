//! Secrets: values that are compared and sent, and never shown.

use std::{fmt, fs, path::Path};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{environment::Environment, mask, settings::SecretSource};

/// A secret. Cannot be printed or serialised by accident.
#[derive(Clone)]
pub struct Secret(String);

/// Why a secret could not be read. Never holds the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {remedy}")]
pub struct SecretError {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Secret {
    /// A secret with white space around it removed; nothing when nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The secret itself, to be sent to whom it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its SHA-256.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// Whether `candidate` is this secret. Takes the same time whatever is different, and tells no length.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        digests_equal(&self.digest(), &Sha256::digest(candidate).into())
    }
}

/// Whether two SHA-256 sums are equal, in constant time.
pub fn digests_equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).into()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl SecretSource {
    /// Reads the secret. A relative file is looked for in `base`.
    pub fn read(&self, base: &Path, environment: &Environment) -> Result<Secret, SecretError> {
        match self {
            Self::Env(name) => from_variable(name, environment),
            Self::File(path) => from_file(&base.join(path)),
        }
    }
}

/// The secret in an environment variable.
pub fn from_variable(name: &str, environment: &Environment) -> Result<Secret, SecretError> {
    // A secret pasted where the name of its variable belongs must not be repeated.
    let shown = if mask::is_variable_name(name) { name } else { mask::MASK };
    environment.get(name).and_then(Secret::new).ok_or_else(|| SecretError {
        message: format!("the environment variable `{shown}` is not set, or is empty"),
        remedy: format!("set `{shown}`, or name the variable that holds the secret"),
    })
}

/// The secret in a file.
pub fn from_file(path: &Path) -> Result<Secret, SecretError> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| SecretError {
        message: format!("the secret's file {shown} cannot be read: {error}"),
        remedy: "create the file, or check its path and permissions".to_owned(),
    })?;
    Secret::new(&text).ok_or_else(|| SecretError {
        message: format!("the secret's file {shown} is empty"),
        remedy: "write the secret into it".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_variables_and_files() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("key"), " s3cret\n").expect("written");
        fs::write(folder.path().join("empty"), "\n").expect("written");
        let environment: Environment = [("KEY", "s3cret"), ("EMPTY", "")].into_iter().collect();
        let read = |source: SecretSource| source.read(folder.path(), &environment);
        for source in [SecretSource::Env("KEY".into()), SecretSource::File("key".into())] {
            let secret = read(source).expect("a secret");
            assert_eq!((secret.expose(), format!("{secret:?}").as_str()), ("s3cret", "[secret]"));
            assert!(secret.matches(b"s3cret") && !secret.matches(b"s3cret ") && !secret.matches(b""));
        }
        for source in [
            SecretSource::Env("EMPTY".into()),
            SecretSource::Env("ABSENT".into()),
            SecretSource::File("empty".into()),
            SecretSource::File("absent".into()),
        ] {
            assert!(read(source.clone()).is_err(), "{source:?}");
        }
        let pasted = read(SecretSource::Env("s3cret-in-the-wrong-place".into())).expect_err("no such variable");
        assert!(!pasted.to_string().contains("s3cret"), "{pasted}");
    }
}
