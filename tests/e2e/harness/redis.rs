//! A real Redis of a test's own, on a Unix socket.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A Redis that ends with the test.
pub(crate) struct Redis {
    process: Child,
    socket: PathBuf,
    _directory: TempDir,
}

impl Redis {
    /// Starts it and waits until it takes connections.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("redis.sock");
        let process = launch(&socket);
        Self { process, socket, _directory: directory }
    }

    /// Starts it again where it was, empty.
    pub(crate) fn revive(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        self.process = launch(&self.socket);
    }

    /// Its entry in the settings; the password stands in `REDIS_PASSWORD`.
    pub(crate) fn settings(&self) -> String {
        format!("redis: {{ url: \"{}\", password: {{ env: REDIS_PASSWORD }} }}", self.url())
    }

    /// Where it is, as the settings say it.
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Takes another password from now on, and throws out whoever is connected.
    pub(crate) async fn change_password(&self, password: &str) {
        let url = format!("{}?pass={}", self.url(), Self::PASSWORD);
        let client = redis::Client::open(url).expect("its address");
        let mut connection = client.get_multiplexed_async_connection().await.expect("it takes connections");
        let changed = redis::cmd("CONFIG").arg(&["SET", "requirepass", password]).exec_async(&mut connection).await;
        changed.expect("a new password");
        // This connection as well, which may be before the answer comes.
        let _ = redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal"]).exec_async(&mut connection).await;
    }

    pub(crate) const PASSWORD: &str = "redis-secret";

    /// Its process.
    pub(crate) fn id(&self) -> i32 {
        self.process.id().try_into().expect("an id")
    }

    /// Ends it.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn launch(socket: &Path) -> Child {
    let process = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--requirepass", Redis::PASSWORD])
        .arg("--unixsocket")
        .arg(socket)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed; scripts/test.sh installs it");
    let began = Instant::now();
    while std::os::unix::net::UnixStream::connect(socket).is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "Redis did not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    process
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
