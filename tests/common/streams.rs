//! The streams that tests replay: hand-made vectors, which stand in the repository, and recorded provider streams, which
//! do not: they are found through the environment variable `LUTHIEN_STREAMS_DIR`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// The protocol that a stream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Anthropic,
    OpenaiChat,
    OpenaiResponses,
}

/// What a stream is, for a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A provider may send it.
    Legal,
    /// The legal result of an intermediary's work.
    Rewrite,
    /// To be read, never to be emitted.
    Tolerate,
    /// The stream reports a failure.
    Error,
    /// Never to be emitted.
    Illegal,
}

/// A hand-made stream.
#[derive(Debug, Clone)]
pub(crate) struct Vector {
    /// As in `expected.json`, `anthropic/01-basic-ping-padding`.
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    pub(crate) class: Class,
    pub(crate) bytes: Vec<u8>,
    expected: Value,
}

/// A stream that a provider sent to somebody.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// As in the manifest, `anthropic/….sse`.
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    /// Comma-separated features, as `text,tool,usage`.
    pub(crate) features: String,
    /// Whether the official Python SDK accepts it.
    pub(crate) accepted: bool,
    pub(crate) bytes: Vec<u8>,
    assembled: Option<PathBuf>,
}

impl Dialect {
    pub(crate) const ALL: [Self; 3] = [Self::Anthropic, Self::OpenaiChat, Self::OpenaiResponses];

    /// The folder that holds its streams; also its name in the jobs of the SDK drivers.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenaiChat => "openai-chat",
            Self::OpenaiResponses => "openai-responses",
        }
    }

    /// Where a call of it is posted.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Anthropic => "/v1/messages",
            Self::OpenaiChat => "/v1/chat/completions",
            Self::OpenaiResponses => "/v1/responses",
        }
    }

    fn of_folder(folder: &str) -> Self {
        match folder {
            "anthropic" => Self::Anthropic,
            "openai-chat" => Self::OpenaiChat,
            "openai-responses" => Self::OpenaiResponses,
            other => panic!("`{other}` is not a folder of streams"),
        }
    }
}

impl Class {
    fn of_word(word: &str) -> Self {
        match word {
            "legal" => Self::Legal,
            "rewrite" => Self::Rewrite,
            "tolerate" => Self::Tolerate,
            "error" => Self::Error,
            "illegal" => Self::Illegal,
            other => panic!("`{other}` is not a class of vectors"),
        }
    }
}

impl Vector {
    /// What an official SDK (`python`, `node`) makes of this stream when it reads it straight from the provider.
    pub(crate) fn expected(&self, sdk: &str) -> &Value {
        &self.expected[sdk]
    }
}

impl Recorded {
    /// What the official Python SDK made of it, in the recordings' own form. `None`: that was not kept.
    pub(crate) fn assembled(&self) -> Option<Value> {
        let kept = read(self.assembled.as_ref()?);
        let mut kept: Value = serde_json::from_slice(&kept).expect("what an SDK made of a recording is JSON");
        Some(kept["assembled"].take())
    }
}

/// The folder of the repository, also for the package in `fuzz/`.
pub(crate) fn repository() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().find(|folder| folder.join("tests/vectors").is_dir()).expect("the repository has vectors")
}

/// Every hand-made stream of a dialect, in the order of their numbers.
pub(crate) fn vectors(dialect: Dialect) -> Vec<Vector> {
    let root = repository().join("tests/vectors");
    let expected: Value = serde_json::from_slice(&read(&root.join("expected.json"))).expect("expected.json is JSON");
    let mut vectors: Vec<Vector> = expected
        .as_object()
        .expect("expected.json is an object")
        .iter()
        .filter(|(name, _)| name.starts_with(&format!("{}/", dialect.folder())))
        .map(|(name, expected)| Vector {
            name: name.clone(),
            dialect,
            class: Class::of_word(expected["class"].as_str().expect("a vector has a class")),
            bytes: read(&root.join(format!("{name}.sse"))),
            expected: expected.clone(),
        })
        .collect();
    vectors.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!vectors.is_empty(), "no vectors of {dialect:?}");
    vectors
}

/// The vector of that name, as `anthropic/10-parallel-tools-split-escapes`.
pub(crate) fn vector(name: &str) -> Vector {
    let (folder, _) = name.split_once('/').expect("a vector's name starts with its folder");
    let all = vectors(Dialect::of_folder(folder));
    all.into_iter().find(|vector| vector.name == name).unwrap_or_else(|| panic!("there is no vector `{name}`"))
}

/// Every recorded stream of a dialect, or none with a word on standard error where `LUTHIEN_STREAMS_DIR` is not set.
///
/// Where the variable is set, a file that is missing is a failure. `scripts/test.sh` counts the tests that say they
/// skip, by the words of this message.
pub(crate) fn recorded(dialect: Dialect) -> Option<Vec<Recorded>> {
    let Some(root) = std::env::var_os("LUTHIEN_STREAMS_DIR") else {
        eprintln!("SKIPPED: recorded streams are read only where LUTHIEN_STREAMS_DIR is set");
        return None;
    };
    let root = PathBuf::from(root).join("recorded");
    let manifest = String::from_utf8(read(&root.join("MANIFEST.tsv"))).expect("MANIFEST.tsv is UTF-8");
    let mut rows = manifest.lines();
    let header: Vec<&str> = rows.next().expect("MANIFEST.tsv has a header").split('\t').collect();
    let column = |name: &str| {
        header.iter().position(|title| *title == name).unwrap_or_else(|| panic!("MANIFEST.tsv has no column `{name}`"))
    };
    let (file, folder, features, verdict) =
        (column("file"), column("dialect"), column("features"), column("sdk_verdict"));
    let assembled = column("assembled");
    let streams: Vec<Recorded> = rows
        .map(|row| row.split('\t').collect::<Vec<_>>())
        .filter(|row| row[folder] == dialect.folder())
        .map(|row| Recorded {
            name: row[file].to_owned(),
            dialect,
            features: row[features].to_owned(),
            accepted: row[verdict] == "ok",
            bytes: read(&root.join(row[file])),
            assembled: (!row[assembled].is_empty()).then(|| root.join(row[assembled])),
        })
        .collect();
    assert!(!streams.is_empty(), "{} lists no stream of {dialect:?}", root.display());
    Some(streams)
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

mod tests {
    use super::{Class, Dialect, recorded, vector, vectors};

    #[test]
    fn every_file_of_the_vectors_is_listed_and_of_the_length_it_should_have() {
        for dialect in Dialect::ALL {
            let folder = format!("{}/tests/vectors/{}", env!("CARGO_MANIFEST_DIR"), dialect.folder());
            let files = std::fs::read_dir(folder)
                .unwrap()
                .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|ending| ending == "sse"))
                .count();
            let listed = vectors(dialect);
            assert_eq!(listed.len(), files);
            for vector in listed {
                assert_eq!(vector.expected["bytes"], vector.bytes.len(), "{}", vector.name);
            }
        }
    }

    #[test]
    fn a_vector_is_found_by_its_name() {
        let found = vector("anthropic/23-suppress-tool-index-gap");
        assert_eq!((found.dialect, found.class), (Dialect::Anthropic, Class::Illegal));
    }

    #[test]
    fn recorded_streams_are_all_there() {
        for dialect in Dialect::ALL {
            let streams = recorded(dialect).unwrap_or_default();
            for stream in &streams {
                assert!(!stream.bytes.is_empty() && !stream.features.is_empty(), "{}", stream.name);
                assert_eq!(stream.dialect, dialect);
                assert!(!stream.accepted || stream.assembled().is_some(), "{}", stream.name);
            }
            assert!(streams.is_empty() || streams.iter().any(|stream| stream.accepted));
        }
    }
}
