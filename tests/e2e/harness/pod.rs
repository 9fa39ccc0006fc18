//! A pod: Envoy and Luthien as processes of their own, in a folder that they share, started and ended as the chart does it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use luthien::envoy::{Address, AdminClient};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time,
};

use super::{
    SOON,
    client::{Request, Version, try_send},
    process::Process,
    within,
};
use crate::fakes::provider::Provider;

/// The folder that both containers share, below the pod's own.
const RUN: &str = "run";

/// A pod. Dropping it kills what it runs.
pub(crate) struct Pod {
    listen: SocketAddr,
    admin: SocketAddr,
    envoy: Child,
    luthien: Child,
    environment: BTreeMap<String, String>,
    directory: TempDir,
}

/// What a pod is started with.
pub(crate) struct Setup {
    /// The items of `upstreams`.
    pub(crate) upstreams: String,
    /// More top-level settings.
    pub(crate) settings: String,
    /// Luthien's environment.
    pub(crate) environment: BTreeMap<String, String>,
}

/// One of its containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    Envoy,
    Luthien,
}

/// Which containers have a `preStop`.
#[derive(Clone, Copy)]
pub(crate) enum Containers {
    /// Envoy's only: Luthien is a native sidecar, which is asked to end after it.
    Sidecar,
    /// Both, and both begin at the same time.
    Both,
}

impl Pod {
    /// Starts one in front of this provider, and waits until it is ready. `settings` are more top-level ones.
    pub(crate) async fn start(provider: &Provider, settings: &str) -> Self {
        let dialects = "[openai_chat, openai_responses, anthropic_messages]";
        let upstreams = format!("- {{ name: fake, url: \"{}\", dialects: {dialects} }}\n", provider.url());
        Self::with(Setup { upstreams, settings: settings.to_owned(), environment: BTreeMap::new() }).await
    }

    /// Starts one with these settings, and waits until it is ready.
    pub(crate) async fn with(Setup { upstreams, settings, environment }: Setup) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path();
        let run = root.join(RUN);
        fs::create_dir(&run).expect("the temporary directory is writable");
        let [listen, admin] = addresses();
        let config = root.join("luthien.yaml");
        let text = format!(
            "listen: {listen}\nadmin: {{ listen: \"{admin}\" }}\nextproc: {{ listen: \"unix:{}/extproc.sock\" }}\n\
             upstreams:\n{upstreams}\n{settings}\n",
            run.display(),
        );
        fs::write(&config, text).expect("the temporary directory is writable");
        fs::write(root.join("policy.yaml"), "policies: []\n").expect("the temporary directory is writable");

        // The init container.
        let (configuration, program) = (run.join("envoy.yaml"), run.join("luthien"));
        let init = Command::new(env!("CARGO_BIN_EXE_luthien"))
            .envs(&environment)
            .args(["envoy-config", "--sidecar", "--config"])
            .arg(&config)
            .arg("--dir")
            .arg(&run)
            .arg("--output")
            .arg(&configuration)
            .arg("--install-program")
            .arg(&program)
            .output();
        let init = within(SOON, "the init container", init).await.expect("the built program starts");
        assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));

        let luthien = launch(Container::Luthien, root, &environment);
        let status =
            async || try_send(Version::Http1, admin, Request::new("GET", "/readyz")).await.map(|answer| answer.status);
        until(root, "Luthien", async || status().await == Ok(200)).await;
        let envoy = launch(Container::Envoy, root, &environment);
        let pod = Self { listen, admin, envoy, luthien, environment, directory };
        until(pod.directory.path(), "Envoy", async || pod.envoy_is_ready().await).await;
        pod
    }

    /// Where the admin listener is.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Whether Envoy says so.
    pub(crate) async fn envoy_is_ready(&self) -> bool {
        AdminClient::new(Address::Pipe(self.run().join("envoy-admin.sock"))).ready().await.is_ok()
    }

    /// What both have printed, but for the calls.
    pub(crate) fn output(&self) -> String {
        output(self.directory.path())
    }

    /// The process of a container.
    pub(crate) fn process(&self, container: Container) -> Process {
        let child = match container {
            Container::Envoy => &self.envoy,
            Container::Luthien => &self.luthien,
        };
        child.id().and_then(|id| Process::of(id.try_into().ok()?)).expect("it runs")
    }

    /// Kills a container, without a chance to clean up.
    pub(crate) async fn kill(&mut self, container: Container) {
        let child = match container {
            Container::Envoy => &mut self.envoy,
            Container::Luthien => &mut self.luthien,
        };
        child.kill().await.expect("it can be killed");
    }

    /// Starts a container again that was killed, without waiting for it.
    pub(crate) fn revive(&mut self, container: Container) {
        let child = launch(container, self.directory.path(), &self.environment);
        match container {
            Container::Envoy => self.envoy = child,
            Container::Luthien => self.luthien = child,
        }
    }

    /// Where clients connect.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The folder that both containers share.
    pub(crate) fn run(&self) -> PathBuf {
        self.directory.path().join(RUN)
    }

    /// What runs before a container is asked to end: the installed program, as in Envoy's own container.
    pub(crate) fn drain(&self, arguments: &[&str]) -> impl Future<Output = Output> + Send + use<> {
        let run = self.run();
        let mut command = Command::new(run.join("luthien"));
        command.arg("drain").arg("--dir").arg(run).args(arguments).kill_on_drop(true);
        async move { within(Duration::from_mins(2), "the drain", command.output()).await.expect("the installed program") }
    }

    /// Ends it as kubelet does: each container first runs its `preStop`, and is asked to end as soon as that is over. Returns what
    /// the draining printed.
    pub(crate) async fn end(mut self, containers: Containers, arguments: &[&str]) -> String {
        let [first, second] = [self.drain(arguments), self.drain(arguments)];
        let Self { envoy, luthien, .. } = &mut self;
        let ended = async |drained: Output, container: &mut Child| {
            let said = String::from_utf8_lossy(&[drained.stdout, drained.stderr].concat()).into_owned();
            assert!(drained.status.success(), "{said}");
            end(container).await;
            said
        };
        let envoys = async { ended(first.await, envoy).await };
        match containers {
            Containers::Sidecar => {
                let said = envoys.await;
                end(luthien).await;
                said
            }
            Containers::Both => {
                let luthiens = async { ended(second.await, luthien).await };
                let (envoys, luthiens) = tokio::join!(envoys, luthiens);
                envoys + &luthiens
            }
        }
    }

    /// Asks both containers to end, Envoy's first, and waits for them.
    pub(crate) async fn stop(&mut self) {
        end(&mut self.envoy).await;
        end(&mut self.luthien).await;
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the pod at {} printed ---\n{}", self.listen, output(self.directory.path()));
        }
    }
}

/// Two addresses that nobody listens on: an IP address of our own for each process, because Envoy shares its port in a
/// container, and two Envoys of tests must not.
fn addresses() -> [SocketAddr; 2] {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 1 + a % 100, b, c.clamp(1, 254));
    let held = [address, Ipv4Addr::LOCALHOST].map(|ip| TcpListener::bind((ip, 0)).expect("a loopback port is free"));
    held.map(|listener| listener.local_addr().expect("a bound listener has an address"))
}

fn launch(container: Container, root: &Path, environment: &BTreeMap<String, String>) -> Child {
    let (mut command, log) = match container {
        Container::Luthien => {
            let mut serve = Command::new(env!("CARGO_BIN_EXE_luthien"));
            serve.arg("serve").arg("--config").arg(root.join("luthien.yaml"));
            serve.arg("--state-dir").arg(root.join("state")).envs(environment);
            (serve, "luthien.log")
        }
        Container::Envoy => {
            let mut envoy = Command::new(super::envoy());
            envoy.arg("--config-path").arg(root.join(RUN).join("envoy.yaml"));
            envoy.args(["--concurrency", "1", "--disable-hot-restart"]);
            // Its own drain is over long before ours: it must go on listening.
            envoy.args(["--drain-time-s", "1", "--log-level", "warning"]);
            (envoy, "envoy.log")
        }
    };
    let log =
        File::options().create(true).append(true).open(root.join(log)).expect("the temporary directory is writable");
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log).kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

async fn until(root: &Path, who: &str, is_ready: impl AsyncFn() -> bool) {
    let ready = async {
        while !is_ready().await {
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = time::timeout(SOON, ready).await.is_ok();
    assert!(in_time, "{who} is not ready; it printed:\n{}", output(root));
}

async fn end(child: &mut Child) {
    let id = child.id().and_then(|id| Pid::from_raw(id.try_into().expect("an id"))).expect("it runs");
    kill_process(id, Signal::TERM).expect("it can be signalled");
    let status = within(SOON, "the end of a container", child.wait()).await.expect("a child can be waited for");
    assert!(status.success(), "{status}");
}

/// What both have printed, but for the calls.
fn output(root: &Path) -> String {
    let printed =
        ["luthien.log", "envoy.log"].map(|name| fs::read_to_string(root.join(name)).unwrap_or_default()).concat();
    printed.lines().filter(|line| !line.contains("call_id")).collect::<Vec<_>>().join("\n")
}
