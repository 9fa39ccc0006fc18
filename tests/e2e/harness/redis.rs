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
        format!("redis: {{ url: \"redis+unix://{}\", password: {{ env: REDIS_PASSWORD }} }}", self.socket.display())
    }

    pub(crate) const PASSWORD: &str = "redis-secret";

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
