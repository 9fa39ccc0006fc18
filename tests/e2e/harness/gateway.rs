//! The built program with its Envoy, as a process of its own.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{self, Instant},
};

use super::{
    client::{self, Answer, Request, Response, Version},
    process::{Process, Usage},
    within,
};
use crate::fakes::provider::Provider;

/// How long a start may take, Envoy's included.
const START: Duration = Duration::from_mins(1);
/// How long a stop may take when no call is in flight.
const STOP: Duration = Duration::from_secs(30);
/// How often another port is tried when somebody took the free one first.
const ATTEMPTS: u32 = 5;

/// A running `luthien up`. Dropping it kills it and what it started; a test that ends well calls [`Gateway::stop`].
pub(crate) struct Gateway {
    listen: SocketAddr,
    admin: SocketAddr,
    child: Child,
    main: Process,
    /// What it has started, as far as it was seen.
    family: Vec<Process>,
    builder: Builder,
    directory: TempDir,
}

/// What a gateway is started with.
#[derive(Debug, Clone)]
pub(crate) struct Builder {
    upstreams: String,
    policy: String,
    rules: String,
    /// Whether a start is over only when clients can connect.
    waits: bool,
    settings: String,
    environment: BTreeMap<String, String>,
}

/// Why a gateway did not start.
enum Failed {
    /// Another process took the port in the meantime.
    PortTaken,
    Otherwise(String),
}

impl Gateway {
    /// A gateway in front of this provider, which serves every model of every dialect, without any policy.
    pub(crate) fn with(provider: &Provider) -> Builder {
        Builder::at(&provider.url())
    }

    /// Where clients connect.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// `http://127.0.0.1:PORT`, where clients connect.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// `http://127.0.0.1:PORT` of the admin listener.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// Sends a request and returns once the head of its answer has come.
    pub(crate) async fn send(&self, version: Version, request: Request) -> Response {
        client::send(version, self.listen, request).await
    }

    /// Sends a request and reads its whole answer.
    pub(crate) async fn call(&self, version: Version, request: Request) -> Answer {
        self.send(version, request).await.finish().await
    }

    /// Asks the admin listener.
    pub(crate) async fn admin(&self, request: Request) -> Answer {
        self.send_admin(request).await.finish().await
    }

    /// Asks the admin listener, and returns once the head of its answer has come.
    pub(crate) async fn send_admin(&self, request: Request) -> Response {
        client::send(Version::Http1, self.admin, request).await
    }

    /// Waits until the admin listener's answer to `/readyz` fits.
    pub(crate) async fn readyz(&self, what: &str, fits: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let fitting = async {
            loop {
                let state = self.admin(Request::new("GET", "/readyz")).await.json();
                if fits(&state) {
                    return state;
                }
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(Duration::from_secs(30), what, fitting).await
    }

    /// The rules document that it watches.
    pub(crate) fn rules(&self) -> std::path::PathBuf {
        self.directory.path().join("policy.yaml")
    }

    /// The settings document that it was started with.
    pub(crate) fn settings(&self) -> std::path::PathBuf {
        self.directory.path().join("luthien.yaml")
    }

    /// Everything that it wrote into its state folder.
    pub(crate) fn state(&self) -> String {
        let files = fs::read_dir(self.directory.path().join("state")).into_iter().flatten().flatten();
        let bytes: Vec<u8> = files.filter_map(|file| fs::read(file.path()).ok()).flatten().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Asks it to stop, without waiting.
    pub(crate) fn terminate(&self) {
        self.main.signal(Signal::TERM);
    }

    /// Asks it to stop, waits, and checks that it ended well and left nothing running.
    pub(crate) async fn stop(mut self) {
        self.family = self.main.descendants();
        self.main.signal(Signal::TERM);
        let status = self.exited(STOP).await;
        assert!(status.success(), "the gateway was asked to stop and ended with {status}");
        self.nothing_left().await;
    }

    /// Kills the gateway itself, without a chance to clean up, and waits until it is gone.
    pub(crate) async fn kill9(&mut self) {
        self.family = self.main.descendants();
        self.main.signal(Signal::KILL);
        self.exited(STOP).await;
    }

    /// Stops Luthien alone, as somebody does with Ctrl-Z: it stands still, and its Envoy goes on.
    pub(crate) fn freeze(&self) {
        self.main.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.main.signal(Signal::CONT);
    }

    /// Kills its Envoy.
    pub(crate) fn kill_envoy(&mut self) {
        self.family = self.main.descendants();
        self.envoy().signal(Signal::KILL);
    }

    /// What Luthien takes, and what its Envoy does.
    pub(crate) fn usage(&self) -> [Usage; 2] {
        [self.main.usage(), self.envoy().usage()]
    }

    /// The value of a metric without labels, as it is now.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let metrics = self.admin(Request::new("GET", "/metrics")).await.text();
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {metrics}"))
    }

    /// Waits until a metric without labels has a value that fits.
    pub(crate) async fn metric_is(&self, name: &str, fits: impl Fn(f64) -> bool) -> f64 {
        let fitting = async {
            loop {
                let value = self.metric(name).await;
                if fits(value) {
                    return value;
                }
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(Duration::from_mins(1), name, fitting).await
    }

    /// Its Envoy.
    pub(crate) fn envoy(&self) -> &Process {
        let envoy = self.family.iter().find(|process| process.name.contains("envoy"));
        envoy.unwrap_or_else(|| panic!("no Envoy among {:?}", self.family))
    }

    /// Waits until the gateway has ended.
    pub(crate) async fn exited(&mut self, limit: Duration) -> ExitStatus {
        within(limit, "the gateway's end", self.child.wait()).await.expect("a child can be waited for")
    }

    /// Checks that nothing it had started is running, with a moment's grace.
    pub(crate) async fn nothing_left(&self) {
        let gone = async {
            while self.family.iter().any(Process::is_alive) {
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        let what = format!("the end of what the gateway had started, {:?}", self.family);
        within(Duration::from_secs(10), &what, gone).await;
    }

    /// What the system tells of it and of what it has started: each one's name, arguments, and environment.
    pub(crate) fn processes(&self) -> Vec<(String, String, String)> {
        let read = |id: i32, what: &str| {
            let bytes =
                fs::read(format!("/proc/{id}/{what}")).unwrap_or_else(|error| panic!("{what} of {id}: {error}"));
            String::from_utf8_lossy(&bytes).replace('\0', "\n")
        };
        let all = std::iter::once(self.main.clone()).chain(self.main.descendants());
        all.map(|process| (process.name, read(process.id, "cmdline"), read(process.id, "environ"))).collect()
    }

    /// How many files and sockets it has open.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.main.id)).expect("it runs").count()
    }

    /// Everything it has printed.
    pub(crate) fn output(&self) -> String {
        output(self.directory.path())
    }

    /// Starts it again, in the folder of one that has ended, at other ports.
    pub(crate) async fn again(mut self) -> Self {
        let (mut directory, builder) = (tempfile::tempdir().expect("a temporary directory"), self.builder.clone());
        std::mem::swap(&mut directory, &mut self.directory);
        drop(self);
        match Self::start_in(&builder, directory).await {
            Ok(gateway) => gateway,
            Err(Failed::PortTaken) => panic!("the gateway found its port taken"),
            Err(Failed::Otherwise(reason)) => panic!("the gateway did not start again: {reason}"),
        }
    }

    /// Its state folder.
    pub(crate) fn state_folder(&self) -> std::path::PathBuf {
        self.directory.path().join("state")
    }

    async fn start(builder: &Builder) -> Result<Self, Failed> {
        Self::start_in(builder, tempfile::tempdir().expect("a temporary directory")).await
    }

    async fn start_in(builder: &Builder, directory: TempDir) -> Result<Self, Failed> {
        let (listen, admin) = free_ports();
        let root = directory.path();
        let config = root.join("luthien.yaml");
        fs::write(&config, builder.config(listen, admin)).expect("the temporary directory is writable");
        fs::write(root.join("policy.yaml"), &builder.policy).expect("the temporary directory is writable");
        let log = |name: &str| File::create(root.join(name)).expect("the temporary directory is writable");
        // A run of everything in the other mode of Envoy's filter, where a test does not choose one.
        let bodies = std::env::var_os("LUTHIEN_TEST_BODIES");
        // Measurements name another build.
        let program = std::env::var_os("MEASURED_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_luthien").into());
        let child = Command::new(program)
            .arg("up")
            .arg("--config")
            .arg(&config)
            .arg("--state-dir")
            .arg(root.join("state"))
            .envs(bodies.map(|bodies| ("LUTHIEN_EXTPROC_BODIES", bodies)))
            .envs(&builder.environment)
            // `.tools/envoy` is found from here.
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .stdout(log("stdout.log"))
            .stderr(log("stderr.log"))
            .kill_on_drop(true)
            .spawn()
            .expect("the built program starts");
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let main = id.and_then(Process::of).ok_or_else(|| Failed::of(root, "it ended at once"))?;
        let mut gateway = Self { listen, admin, child, main, family: Vec::new(), builder: builder.clone(), directory };
        gateway.ready().await?;
        gateway.family = gateway.main.descendants();
        Ok(gateway)
    }

    /// Waits until clients can connect.
    async fn ready(&mut self) -> Result<(), Failed> {
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be looked at") {
                return Err(Failed::of(self.directory.path(), &format!("it ended with {status}")));
            }
            let probe = client::try_send(Version::Http1, self.admin, Request::new("GET", "/readyz")).await;
            if probe.is_ok_and(|answer| answer.status == 200 || !self.builder.waits) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failed::of(self.directory.path(), &format!("not ready after {START:?}")));
            }
            time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the gateway printed ---\n{}", self.output());
        }
        let mut family = self.main.descendants();
        family.append(&mut self.family);
        self.main.signal(Signal::KILL);
        for process in family {
            process.signal(Signal::KILL);
        }
    }
}

impl Builder {
    /// A gateway in front of one provider with this address.
    pub(crate) fn at(url: &str) -> Self {
        let upstreams = format!(
            "- name: fake\n  url: {url}\n  dialects: [openai_chat, openai_responses, anthropic_messages]\n  models: [\"*\"]\n"
        );
        Self {
            upstreams,
            policy: "policies: []\n".to_owned(),
            rules: "policy.yaml".to_owned(),
            waits: true,
            settings: String::new(),
            environment: BTreeMap::new(),
        }
    }

    /// The rules document.
    pub(crate) fn policy(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.policy);
        self
    }

    /// Where the rules come from, in place of the rules document.
    pub(crate) fn rules_from(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.rules);
        self
    }

    /// More top-level settings, as `timeouts: { stall: 1s }`.
    pub(crate) fn settings(mut self, yaml: &str) -> Self {
        self.settings.push_str(yaml);
        self.settings.push('\n');
        self
    }

    /// The items of `upstreams`, in place of the one that serves everything.
    pub(crate) fn upstreams(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.upstreams);
        self
    }

    /// A variable of the gateway's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Starts it and waits until clients can connect.
    pub(crate) async fn start(self) -> Gateway {
        for _ in 0..ATTEMPTS {
            match Gateway::start(&self).await {
                Ok(gateway) => return gateway,
                Err(Failed::PortTaken) => {}
                Err(Failed::Otherwise(reason)) => panic!("the gateway did not start: {reason}"),
            }
        }
        panic!("the gateway found its port taken {ATTEMPTS} times")
    }

    /// Starts it and waits only until its admin listener answers.
    pub(crate) async fn starting(mut self) -> Gateway {
        self.waits = false;
        self.start().await
    }

    fn config(&self, listen: SocketAddr, admin: SocketAddr) -> String {
        let Self { upstreams, settings, rules, .. } = self;
        format!("listen: {listen}\nadmin:\n  listen: {admin}\nrules: {rules}\nupstreams:\n{upstreams}\n{settings}")
    }
}

impl Failed {
    fn of(directory: &Path, reason: &str) -> Self {
        let output = output(directory);
        let taken = ["in use", "is taken", "already taken", "os error 98"];
        if taken.iter().any(|words| output.contains(words)) {
            return Self::PortTaken;
        }
        Self::Otherwise(format!("{reason}; it printed:\n{output}"))
    }
}

/// Two ports that nobody listened on a moment ago.
fn free_ports() -> (SocketAddr, SocketAddr) {
    let bind = || TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
    // Both are held at once, so that they differ.
    let (first, second) = (bind(), bind());
    let address = |listener: &TcpListener| listener.local_addr().expect("a bound listener has an address");
    (address(&first), address(&second))
}

fn output(directory: &Path) -> String {
    ["stdout.log", "stderr.log"]
        .map(|name| fs::read(directory.join(name)).unwrap_or_default())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat()
}
