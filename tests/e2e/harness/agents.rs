//! The coding agents themselves, from their packages, started as `make claude` and `make codex` start them.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::process::Command;

use super::{gateway::Gateway, within};

/// How long an agent may take for a prompt. They take about a second.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the user has configured; the agents must leave it as it is.
const CONFIGURED: [(&str, &str); 2] = [
    (".claude/settings.json", "{ \"cleanupPeriodDays\": 7 }\n"),
    (".codex/config.toml", "# mine\nmodel_reasoning_effort = \"low\"\n"),
];

/// A coding agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agent {
    ClaudeCode,
    Codex,
}

/// A user of one agent: a home folder, with configuration of theirs.
pub(crate) struct User {
    agent: Agent,
    home: TempDir,
    environment: Vec<(String, String)>,
}

impl Agent {
    pub(crate) const ALL: [Self; 2] = [Self::ClaudeCode, Self::Codex];

    /// Its name for `luthien client-env`, its program, and what Node runs for that.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            // The package's own program is put in its place by an install script; those do not run here.
            Self::ClaudeCode => ("claude-code", "claude", "@anthropic-ai/claude-code/cli-wrapper.cjs"),
            Self::Codex => ("codex", "codex", "@openai/codex/bin/codex.js"),
        }
    }

    /// A user of it, or none with a word on standard error where it is not installed or does not run on this machine.
    pub(crate) async fn user(self) -> Option<User> {
        let (_, program, script) = self.names();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/node_modules").join(script);
        let user = User::new(self, &script);
        let version = Command::new(user.programs().join(program)).arg("--version").kill_on_drop(true).output();
        match within(PATIENCE, "the agent's version", version).await {
            Ok(output) if output.status.success() => Some(user),
            result => {
                eprintln!("SKIPPED: {self:?} does not run here: {} ({result:?})", script.display());
                None
            }
        }
    }
}

impl User {
    fn new(agent: Agent, script: &Path) -> Self {
        let user = Self { agent, home: tempfile::tempdir().unwrap(), environment: Vec::new() };
        for (file, text) in CONFIGURED {
            user.write(file, text);
        }
        let (_, program, _) = agent.names();
        let path = user.programs().join(program);
        fs::create_dir_all(user.programs()).unwrap();
        fs::write(&path, format!("#!/bin/sh\nexec node '{}' \"$@\"\n", script.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        user
    }

    /// Writes a file into the home folder.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.home.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A variable of the user's shell.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has the agent answer `prompt`, and checks that it left the user's configuration alone. Returns the answer.
    pub(crate) async fn asks(&self, gateway: &Gateway, prompt: &str) -> String {
        let (name, program, _) = self.agent.names();
        let path =
            env::join_paths([self.programs()].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap())));
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/client.sh"));
        command
            .arg(name)
            .args(self.agent.arguments(prompt))
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", path.unwrap())
            .env("LUTHIEN", env!("CARGO_BIN_EXE_luthien"))
            .env("LUTHIEN_CONFIG", gateway.settings())
            // Nothing but the gateway can be reached.
            .env("HTTPS_PROXY", "http://127.0.0.1:9")
            .env("NO_PROXY", "127.0.0.1")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .envs(self.environment.iter().cloned())
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = within(PATIENCE, "the agent's end", command.output()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let answer = text(&output.stdout);
        // Seen where the test fails.
        eprintln!("{program} said besides its answer:\n{}", text(&output.stderr));
        assert!(output.status.success(), "{program} ended with {}: {answer}", output.status);
        for (file, text) in CONFIGURED {
            assert_eq!(fs::read_to_string(self.home.path().join(file)).unwrap(), text, "{program} changed {file}");
        }
        answer
    }

    fn programs(&self) -> PathBuf {
        self.home.path().join("programs")
    }
}

impl Agent {
    /// Arguments for one prompt without a terminal.
    fn arguments(self, prompt: &str) -> Vec<String> {
        let arguments: &[&str] = match self {
            Self::ClaudeCode => &["--allowedTools=Bash", "-p"],
            Self::Codex => &[
                "-c",
                "analytics.enabled=false",
                "-c",
                "check_for_update_on_startup=false",
                "exec",
                "--skip-git-repo-check",
            ],
        };
        arguments.iter().chain(&[prompt]).map(ToString::to_string).collect()
    }
}
