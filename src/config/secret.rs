//! Secrets: values that are compared and sent, and never shown.

use std::{fmt, fs, path::Path};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    environment::Environment,
    mask,
    settings::{ClientKey, SecretSource},
};

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

impl ClientKey {
    /// The SHA-256 of the key, read from where it stands. A relative file is looked for in `base`.
    pub fn digest(&self, base: &Path, environment: &Environment) -> Result<[u8; 32], SecretError> {
        let Self { name, file, env, value_sha256 } = self;
        match (file, env, value_sha256) {
            (Some(path), None, None) => from_file(&base.join(path)).map(|secret| secret.digest()),
            (None, Some(variable), None) => from_variable(variable, environment).map(|secret| secret.digest()),
            (None, None, Some(digits)) => from_hex(digits).ok_or_else(|| SecretError {
                message: format!("`value_sha256` of the client key `{name}` is not 64 hexadecimal digits"),
                remedy: "write what `printf %s KEY | sha256sum` prints".to_owned(),
            }),
            _ => Err(SecretError {
                message: format!("the client key `{name}` does not have exactly one value"),
                remedy: "keep exactly one of `file`, `env` and `value_sha256`".to_owned(),
            }),
        }
    }
}

fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
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

    #[test]
    fn client_keys_have_one_digest_wherever_they_stand() {
        let environment: Environment = [("KEY", "s3cret")].into_iter().collect();
        let expected = Secret::new("s3cret").expect("a secret").digest();
        let hex = "1EC1C26B50D5D3C58D9583181AF8076655FE00756BF7285940BA3670F99FCBA0";
        let key = |env: Option<&str>, value_sha256: Option<&str>| ClientKey {
            name: "a".to_owned(),
            file: None,
            env: env.map(str::to_owned),
            value_sha256: value_sha256.map(str::to_owned),
        };
        let digest = |key: ClientKey| key.digest(Path::new("."), &environment);
        assert_eq!(digest(key(Some("KEY"), None)), Ok(expected));
        assert_eq!(digest(key(None, Some(hex))), Ok(expected));
        assert!(digests_equal(&expected, &expected) && !digests_equal(&expected, &[0; 32]));
        for wrong in [key(None, None), key(Some("KEY"), Some(hex)), key(None, Some("é")), key(Some("ABSENT"), None)] {
            assert!(digest(wrong.clone()).is_err(), "{wrong:?}");
        }
    }
}
