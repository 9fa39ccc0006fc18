//! Luthien behind an Envoy that somebody else configures: the shapes in `tests/attach`, with real processes.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use luthien::envoy::{Address, Launch, Supervisor};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time,
};

use super::{
    SOON,
    client::{self, Answer, Request, Response, Version, try_send},
    within,
};
use crate::fakes::provider::Provider;

/// Who configures Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    EnvoyGateway,
    Istio,
}

/// Both processes. Dropping it ends them.
pub(crate) struct Attached {
    listen: SocketAddr,
    extproc: SocketAddr,
    luthien: Child,
    envoy: Supervisor,
    directory: TempDir,
}

impl Shape {
    pub(crate) const ALL: [Self; 2] = [Self::EnvoyGateway, Self::Istio];

    /// Its configuration, with the words of this test.
    fn configuration(self, words: &[(&str, String)]) -> String {
        let name = match self {
            Self::EnvoyGateway => "envoy-gateway.yaml",
            Self::Istio => "istio.yaml",
        };
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/attach").join(name);
        let text = fs::read_to_string(path).expect("the configuration is there");
        words.iter().fold(text, |text, (word, value)| text.replace(word, value))
    }
}

impl Attached {
    /// Starts both in front of the provider `anthropic`, for its own dialect, and `openai`, for the other two. `unrouted` is
    /// an upstream of the settings for which Envoy has no route.
    pub(crate) async fn start(shape: Shape, anthropic: &Provider, openai: &Provider, policy: &str, more: &str) -> Self {
        Self::start_with(shape, (anthropic, openai), policy, more, &[]).await
    }

    /// The same, with variables of the environment for Luthien.
    pub(crate) async fn start_with(
        shape: Shape,
        (anthropic, openai): (&Provider, &Provider),
        policy: &str,
        more: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path();
        let held = [0; 3].map(|_| TcpListener::bind("127.0.0.1:0").expect("a loopback port is free"));
        let [listen, extproc, admin] = held.map(|held| held.local_addr().expect("a bound listener has an address"));
        let config = root.join("luthien.yaml");
        let text = format!(
            "admin: {{ listen: \"{admin}\" }}\nextproc: {{ listen: \"{extproc}\" }}\nupstreams:\n\
             - {{ name: anthropic, url: \"https://api.anthropic.test\", dialects: [anthropic_messages], models: [\"test-*\"] }}\n\
             - {{ name: openai, url: \"https://api.openai.test\", dialects: [openai_chat, openai_responses], models: [\"test-*\"] }}\n\
             - {{ name: unrouted, url: \"https://api.unrouted.test\", dialects: [openai_chat], models: [unrouted] }}\n{more}\n"
        );
        fs::write(&config, text).expect("the temporary directory is writable");
        fs::write(root.join("policy.yaml"), policy).expect("the temporary directory is writable");
        let luthien = serve(root, &config, "first", admin, environment).await;

        let socket = root.join("envoy-admin.sock");
        let words = [
            ("<ADMIN>", socket.display().to_string()),
            ("<LISTEN>", listen.port().to_string()),
            ("<EXTPROC>", extproc.port().to_string()),
            ("<ANTHROPIC>", anthropic.address().port().to_string()),
            ("<OPENAI>", openai.address().port().to_string()),
        ];
        let envoys = root.join("envoy.yaml");
        fs::write(&envoys, shape.configuration(&words)).expect("the temporary directory is writable");
        let launch = Launch {
            through: vec![env!("CARGO_BIN_EXE_luthien").into(), "exec-envoy".into()],
            envoy: super::envoy(),
            config: envoys,
            log: root.join("envoy.log"),
            admin: Address::Pipe(socket),
            concurrency: 1,
            ready_within: Duration::from_secs(30),
        };
        let envoy = Supervisor::start(launch).await.expect("Envoy starts");
        Self { listen, extproc, luthien, envoy, directory }
    }

    /// Sends a request and returns once the head of its answer has come.
    pub(crate) async fn send(&self, version: Version, request: Request) -> Response {
        client::send(version, self.listen, request).await
    }

    /// Sends a request and reads its whole answer.
    pub(crate) async fn call(&self, version: Version, request: Request) -> Answer {
        self.send(version, request).await.finish().await
    }

    /// `luthien doctor` on the Envoy that runs.
    pub(crate) async fn doctor(&self) -> Output {
        let root = self.directory.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_luthien"));
        command.arg("doctor").arg(format!("unix:{}", root.join("envoy-admin.sock").display()));
        command.arg("--config").arg(root.join("luthien.yaml")).args(["--format", "json"]).kill_on_drop(true);
        within(SOON, "the doctor", command.output()).await.expect("the built program starts")
    }

    /// Asks Luthien to end, and puts another in its place once it takes no connection any more, as behind the address of a Service.
    /// Returns the one that ends.
    pub(crate) async fn replace_luthien(&mut self) -> Child {
        let root = self.directory.path();
        let pid = Pid::from_raw(i32::try_from(self.luthien.id().expect("it runs")).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::TERM).expect("it can be asked");
        let gone = async {
            while TcpStream::connect(self.extproc).await.is_ok() {
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(SOON, "no connection to be taken", gone).await;
        let held = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let admin = held.local_addr().expect("a bound listener has an address");
        drop(held);
        let config = fs::read_to_string(root.join("luthien.yaml")).expect("the settings");
        let (_, others) = config.split_once('\n').expect("a line");
        let second = root.join("second.yaml");
        fs::write(&second, format!("admin: {{ listen: \"{admin}\" }}\n{others}")).expect("the directory is writable");
        let luthien = serve(root, &second, "second", admin, &[]).await;
        std::mem::replace(&mut self.luthien, luthien)
    }

    /// Kills Luthien, and waits until it is gone.
    pub(crate) async fn kill_luthien(&mut self) {
        self.luthien.kill().await.expect("it can be killed");
    }

    /// Ends both.
    pub(crate) async fn stop(mut self) {
        self.envoy.stop(Duration::from_secs(10)).await;
        self.luthien.kill().await.expect("it can be killed");
    }
}

/// Starts Luthien, and waits until it is ready.
async fn serve(root: &Path, config: &Path, name: &str, admin: SocketAddr, environment: &[(&str, &str)]) -> Child {
    let log = root.join(format!("{name}.log"));
    let file = File::create(&log).expect("the temporary directory is writable");
    let luthien = Command::new(env!("CARGO_BIN_EXE_luthien"))
        .args(["serve", "--config"])
        .arg(config)
        .arg("--state-dir")
        .arg(root.join(name))
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a file"))
        .stderr(file)
        .kill_on_drop(true)
        .spawn()
        .expect("the built program starts");
    ready(admin, log).await;
    luthien
}

async fn ready(at: SocketAddr, log: PathBuf) {
    let asked = async {
        let status =
            async || try_send(Version::Http1, at, Request::new("GET", "/readyz")).await.map(|answer| answer.status);
        while status().await != Ok(200) {
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ready = time::timeout(SOON, asked).await;
    assert!(ready.is_ok(), "Luthien is not ready; it printed:\n{}", fs::read_to_string(log).unwrap_or_default());
}
