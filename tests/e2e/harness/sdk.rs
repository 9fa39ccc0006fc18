//! Runs the official SDKs, one process for many calls.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use super::within;
use crate::common::streams::Dialect;

/// A language whose SDKs are driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sdk {
    Python,
    Node,
}

/// A call that an SDK makes.
#[derive(Debug, Clone)]
pub(crate) struct Job(Value);

/// What an SDK made of a call; the fields are those of `tests/vectors/expected.json`, and those of [`Job::details`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outcome {
    pub(crate) raw_items: Option<u64>,
    pub(crate) raw_types: Option<Vec<String>>,
    pub(crate) raw_error: Option<String>,
    pub(crate) helper_ok: Option<bool>,
    pub(crate) helper_error: Option<Value>,
    #[serde(rename = "final")]
    pub(crate) message: Option<Value>,
    /// What the iteration gave.
    pub(crate) items: Option<Vec<Value>>,
    /// The headers that the helper's error came with.
    pub(crate) headers: Option<BTreeMap<String, String>>,
}

/// How the SDK reads the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Iterates the stream, then, as a second call, lets the helper accumulate it.
    Both,
    /// The helper that accumulates a stream.
    Stream,
    /// No stream.
    Json,
}

impl Sdk {
    pub(crate) const BOTH: [Self; 2] = [Self::Python, Self::Node];

    /// Its key in `expected.json`.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    /// Runs the jobs one after the other.
    pub(crate) async fn run(self, jobs: &[Job]) -> Vec<Outcome> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let (program, driver, installed) = match self {
            Self::Python => {
                let program = root.join(".tools/sdk-python/bin/python");
                (program.clone(), "tests/sdk/python/driver.py", program)
            }
            Self::Node => {
                (PathBuf::from("node"), "tests/sdk/node/driver.mjs", root.join("tests/sdk/node/node_modules"))
            }
        };
        assert!(installed.exists(), "{} is missing; run scripts/test.sh once", installed.display());
        let mut child = Command::new(program)
            .arg(root.join(driver))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start the {self:?} driver: {error}"));
        let input = serde_json::to_vec(&jobs.iter().map(|job| &job.0).collect::<Vec<_>>()).expect("jobs are JSON");
        let mut stdin = child.stdin.take().expect("standard input is piped");
        let run = async {
            let write = async move { stdin.write_all(&input).await };
            tokio::join!(write, child.wait_with_output())
        };
        let (written, output) = within(Duration::from_mins(2), "the SDK driver", run).await;
        let output = output.expect("the driver's output can be read");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(written.is_ok() && output.status.success(), "the {self:?} driver failed ({}): {errors}", output.status);
        let outcomes: Vec<Outcome> = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("the {self:?} driver's output is not what it should be ({error}): {errors}")
        });
        assert_eq!(outcomes.len(), jobs.len());
        outcomes
    }

    /// Runs one job.
    pub(crate) async fn run_one(self, job: Job) -> Outcome {
        self.run(&[job]).await.pop().expect("one outcome for one job")
    }
}

impl Job {
    /// A call to `base_url`, as `http://127.0.0.1:8080`, for that model.
    pub(crate) fn new(dialect: Dialect, base_url: &str, mode: Mode, model: &str) -> Self {
        let mode = match mode {
            Mode::Both => "both",
            Mode::Stream => "stream",
            Mode::Json => "json",
        };
        Self(json!({
            "dialect": dialect.folder(),
            "base_url": base_url,
            "mode": mode,
            "request": { "model": model },
        }))
    }

    /// With these fields in its request.
    pub(crate) fn with(mut self, fields: &Value) -> Self {
        for (name, value) in fields.as_object().expect("a request's fields are an object") {
            self.0["request"][name] = value.clone();
        }
        self
    }

    /// Asks chat for the chunk with token counts, where it streams.
    pub(crate) fn include_usage(mut self) -> Self {
        self.0["include_usage"] = true.into();
        self
    }

    /// Fills the fields of the outcome that `expected.json` has not.
    pub(crate) fn details(mut self) -> Self {
        self.0["details"] = true.into();
        self
    }
}

impl Outcome {
    /// What `expected.json` says. It leaves `raw_types` out where the dialect has none.
    pub(crate) fn expected(value: &Value) -> Self {
        serde_json::from_value(value.clone()).expect("expected.json has the structure of an outcome")
    }
}
