//! A headless Chromium, driven from the tests.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{SOON, within};

/// A browser with one page. It ends with the test.
pub(crate) struct Browser {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    base: String,
    _driver: Child,
    _profile: TempDir,
}

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) name: &'static str,
    width: u32,
    height: u32,
    scheme: &'static str,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    value: Value,
    error: Option<String>,
}

impl Look {
    /// What every page must be good at.
    pub(crate) const ALL: [Self; 3] = [
        Self { name: "dark", width: 1280, height: 800, scheme: "dark" },
        Self { name: "light", width: 1280, height: 800, scheme: "light" },
        Self { name: "phone", width: 360, height: 740, scheme: "dark" },
    ];
}

impl Browser {
    /// Starts one that looks at `base`, as `http://127.0.0.1:8081`.
    pub(crate) async fn start(base: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
        let modules = root.join("node_modules");
        assert!(modules.exists(), "{} is missing; run scripts/test.sh once", modules.display());
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new("node")
            .arg(root.join("driver.mjs"))
            .args([&chromium(), profile.path()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed");
        let (input, output) = (driver.stdin.take().unwrap(), driver.stdout.take().unwrap());
        let output = BufReader::new(output).lines();
        let mut browser = Self { input, output, base: base.to_owned(), _driver: driver, _profile: profile };
        browser.look(Look::ALL[0]).await;
        browser
    }

    /// Looks at pages in another way.
    pub(crate) async fn look(&mut self, Look { width, height, scheme, .. }: Look) {
        self.run::<()>("look", json!([width, height, scheme])).await;
    }

    /// Opens a path, and returns the status of the answer.
    pub(crate) async fn goto(&mut self, path: &str) -> u16 {
        self.run("goto", json!([format!("{}{path}", self.base)])).await
    }

    /// The path and the query that it is at.
    pub(crate) async fn at(&mut self) -> String {
        let url: String = self.run("url", json!([])).await;
        url.strip_prefix(&self.base).unwrap_or(&url).to_owned()
    }

    /// Clicks on what the selector finds.
    pub(crate) async fn click(&mut self, selector: &str) {
        self.run::<()>("click", json!([selector])).await;
    }

    /// Writes into a field.
    pub(crate) async fn fill(&mut self, selector: &str, text: &str) {
        self.run::<()>("fill", json!([selector, text])).await;
    }

    /// Presses a key.
    pub(crate) async fn press(&mut self, key: &str) {
        self.run::<()>("press", json!([key])).await;
    }

    /// Waits until the selector finds something that can be seen.
    pub(crate) async fn wait(&mut self, selector: &str) {
        self.run::<()>("wait", json!([selector])).await;
    }

    /// The text of what the selector finds, as a person sees it.
    pub(crate) async fn text(&mut self, selector: &str) -> String {
        self.run("text", json!([selector])).await
    }

    /// The text of each.
    pub(crate) async fn texts(&mut self, selector: &str) -> Vec<String> {
        self.run("texts", json!([selector])).await
    }

    /// How many there are.
    pub(crate) async fn count(&mut self, selector: &str) -> usize {
        self.run("count", json!([selector])).await
    }

    /// What has the focus, as HTML.
    pub(crate) async fn focused(&mut self) -> String {
        self.run("focused", json!([])).await
    }

    /// Checks that the page fits the window and that nothing went wrong in it, and keeps a picture of it.
    pub(crate) async fn looks_well(&mut self, name: &str) {
        let screens = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screens");
        fs::create_dir_all(&screens).unwrap();
        self.run::<()>("screenshot", json!([screens.join(format!("{name}.png"))])).await;
        let overflow: i64 = self.run("overflow", json!([])).await;
        assert_eq!(overflow, 0, "{name} is {overflow} pixels wider than the window");
        self.nothing_wrong().await;
    }

    /// Checks that no script failed, that nothing was stopped by the content security policy, and that nothing that came from
    /// outside was run.
    pub(crate) async fn nothing_wrong(&mut self) {
        let problems: Vec<String> = self.run("problems", json!([])).await;
        assert!(problems.is_empty(), "{problems:#?}");
    }

    async fn run<T: DeserializeOwned>(&mut self, command: &str, arguments: Value) -> T {
        let mut line = vec![json!(command)];
        line.extend(arguments.as_array().unwrap().iter().cloned());
        let line = format!("{}\n", Value::from(line));
        let answered = async {
            self.input.write_all(line.as_bytes()).await.expect("the browser's driver runs");
            self.output
                .next_line()
                .await
                .expect("the driver writes text")
                .expect("the driver answers; see its error above")
        };
        let answer = within(2 * SOON, &format!("the browser's {line}"), answered).await;
        let Reply { value, error } = serde_json::from_str(&answer).unwrap();
        if let Some(error) = error {
            panic!("{line}{error}");
        }
        serde_json::from_value(value).unwrap()
    }
}

/// Where Debian, or somebody else, has put it.
fn chromium() -> PathBuf {
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut found = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    found
        .find(|path| path.is_file())
        .expect("Chromium is installed; scripts/test.sh installs it (apt-get install chromium)")
}
