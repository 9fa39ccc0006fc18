//! A real Prometheus of a test's own, and its `promtool`.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time;

use super::{
    SOON,
    client::{self, Request, Version},
    within,
};

/// How often another port is tried when somebody took the free one first.
const ATTEMPTS: u32 = 5;
/// Much more often than in earnest.
const INTERVAL: &str = "500ms";

/// A Prometheus that ends with the test.
pub(crate) struct Prometheus {
    process: Child,
    address: SocketAddr,
    _directory: TempDir,
}

/// What it scrapes: the job, where, and the path.
pub(crate) type Target<'a> = (&'a str, SocketAddr, &'a str);

impl Prometheus {
    /// Starts it with these targets and rules, and waits until it answers.
    pub(crate) async fn start(targets: &[Target<'_>], rules: &Path) -> Self {
        for _ in 0..ATTEMPTS {
            if let Some(prometheus) = Self::launch(targets, rules).await {
                return prometheus;
            }
        }
        panic!("Prometheus found its port taken {ATTEMPTS} times")
    }

    async fn launch(targets: &[Target<'_>], rules: &Path) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("prometheus.yaml");
        let job = |(name, address, path): &Target<'_>| {
            format!(
                "- {{ job_name: {name}, metrics_path: {path}, static_configs: [{{ targets: [\"{address}\"] }}] }}\n"
            )
        };
        let jobs: Vec<String> = targets.iter().map(job).collect();
        let global = format!("{{ scrape_interval: {INTERVAL}, scrape_timeout: {INTERVAL}, evaluation_interval: 1s }}");
        let text =
            format!("global: {global}\nrule_files: [\"{}\"]\nscrape_configs:\n{}", rules.display(), jobs.concat());
        fs::write(&config, text).unwrap();
        let address = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let process = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .spawn()
            .expect("Prometheus is there; scripts/test.sh unpacks it");
        let mut prometheus = Self { process, address, _directory: directory };
        let began = Instant::now();
        loop {
            let ready = client::try_send(Version::Http1, address, Request::new("GET", "/-/ready")).await;
            if ready.is_ok_and(|answer| answer.status == 200) {
                return Some(prometheus);
            }
            if prometheus.process.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(began.elapsed() < SOON, "Prometheus did not start");
            time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What its API says there, or what is wrong with the question.
    pub(crate) async fn ask(&self, path: &str) -> Result<Value, String> {
        let answer = client::send(Version::Http1, self.address, Request::new("GET", path)).await.finish().await.json();
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// What an expression comes to now.
    pub(crate) async fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let expression = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let data = self.ask(&format!("/api/v1/query?query={expression}")).await?;
        data["result"].as_array().cloned().ok_or_else(|| format!("no vector: {data}"))
    }

    /// Waits until an expression has a value.
    pub(crate) async fn until(&self, expression: &str) {
        let known = async {
            while self.query(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}")).is_empty() {
                time::sleep(Duration::from_millis(100)).await;
            }
        };
        within(SOON, expression, known).await;
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs `promtool` in this folder, with this input.
pub(crate) fn promtool(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut process = Command::new(program("promtool"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there; scripts/test.sh unpacks it");
    // It may be done before it has read everything.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
    process.wait_with_output().unwrap()
}

/// A program of Debian's package, which is installed or unpacked below `.tools`.
fn program(name: &str) -> PathBuf {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/prometheus/usr/bin").join(name);
    if unpacked.exists() { unpacked } else { PathBuf::from(name) }
}
