//! A real PostgreSQL of a test's own, on a Unix socket.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A PostgreSQL that ends with the test.
pub(crate) struct Postgres {
    process: Child,
    programs: PathBuf,
    folder: TempDir,
}

impl Postgres {
    pub(crate) const USER: &str = "luthien";
    pub(crate) const PASSWORD: &str = "postgres-secret";

    /// Makes a database and starts it.
    pub(crate) fn start() -> Self {
        let programs = programs();
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let own = folder.path().join("own");
        fs::create_dir(&own).unwrap();
        if let Some((user, group)) = servant() {
            std::os::unix::fs::chown(&own, Some(user), Some(group)).unwrap();
        }
        let password = folder.path().join("password");
        fs::write(&password, Self::PASSWORD).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
        let made = servants(Command::new(programs.join("initdb")))
            .args(["--no-sync", "--encoding=UTF8", "--auth=scram-sha-256", "--username", Self::USER, "--pgdata"])
            .arg(own.join("data"))
            .arg("--pwfile")
            .arg(&password)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let process = launch(&programs, &own);
        Self { process, programs, folder }
    }

    /// The process that has started all others.
    pub(crate) fn id(&self) -> i32 {
        self.process.id().try_into().expect("an id")
    }

    /// Starts it again, with all that it had.
    pub(crate) fn revive(&mut self) {
        self.process = launch(&self.programs, &self.folder.path().join("own"));
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        // As an operator would: SIGQUIT, "immediate shutdown"; SIGKILL would leave its children.
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }

    /// Its address, without a password.
    pub(crate) fn url(&self) -> String {
        let socket = self.folder.path().join("own").display().to_string().replace('/', "%2F");
        format!("postgres://{}@localhost/postgres?host={socket}", Self::USER)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The newest that Debian has installed, or the one in the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.retain(|folder| folder.join("initdb").exists());
    folders.sort();
    folders.pop().unwrap_or_else(|| {
        let found = Command::new("pg_config").arg("--bindir").output();
        let found = found.expect("PostgreSQL is installed; scripts/test.sh installs it");
        PathBuf::from(String::from_utf8(found.stdout).unwrap().trim())
    })
}

/// PostgreSQL does not run as root: the user that Debian's package has made for it.
fn servant() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").ok()?.uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let fields: Vec<&str> = users.lines().find(|line| line.starts_with("postgres:"))?.split(':').collect();
    Some((fields[2].parse().ok()?, fields[3].parse().ok()?))
}

fn servants(mut command: Command) -> Command {
    if let Some((user, group)) = servant() {
        command.uid(user).gid(group);
    }
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
    command
}

fn launch(programs: &std::path::Path, own: &std::path::Path) -> Child {
    let socket = own.join(".s.PGSQL.5432");
    let _ = fs::remove_file(&socket);
    let process = servants(Command::new(programs.join("postgres")))
        .arg("-D")
        .arg(own.join("data"))
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=50", "-k"])
        .arg(own)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let ready = || {
        let asked = servants(Command::new(programs.join("pg_isready"))).arg("-q").arg("-h").arg(own).status();
        asked.is_ok_and(|status| status.success())
    };
    while !ready() {
        assert!(began.elapsed() < Duration::from_mins(1), "PostgreSQL did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    process
}
