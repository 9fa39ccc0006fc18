//! Runs Envoy as a child process: started, found ready, listened to, stopped, never orphaned.
//!
//! Envoy gets a process group of its own, so that Ctrl-C in a terminal reaches only Luthien, which ends the calls first
//! and Envoy last. What Envoy says on standard error goes into a file, from which it is logged line by line. A pipe would
//! be full at some time while Luthien is stopped, and then Envoy would stand still too, where it has to refuse calls. Its
//! last words are kept for the case that it dies.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

use super::address::Address;
use super::admin::AdminClient;

/// How many lines of Envoy's log are kept.
const LAST_LINES: usize = 20;

/// How often Envoy's log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often a starting Envoy is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// What to run.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The command that becomes Envoy: this program and `exec-envoy`.
    pub through: Vec<PathBuf>,
    /// The Envoy binary; see [`super::find_envoy`].
    pub envoy: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// The file for what it says on standard error; what is in it from before goes.
    pub log: PathBuf,
    /// Where that configuration puts Envoy's admin interface.
    pub admin: Address,
    /// Worker threads; see [`default_concurrency`].
    pub concurrency: usize,
    /// How long Envoy may take to be ready. DNS that does not answer delays it by some seconds.
    pub ready_within: Duration,
}

/// Half of the cores, but at least one and at most four. Envoy and Luthien share the machine and use about the same CPU
/// time for each event. Each worker keeps its own connections to Luthien and to every provider, so that more workers
/// than needed mean more TLS handshakes; four carry thousands of streams.
pub fn default_concurrency() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).div_ceil(2).clamp(1, 4)
}

/// How Envoy ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// The exit code, if it was not ended by a signal.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The last lines that it logged, oldest first.
    pub last_lines: Vec<String>,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "Envoy exited with code {code}")?,
            (None, Some(signal)) => write!(f, "Envoy was ended by signal {signal}")?,
            (None, None) => write!(f, "Envoy ended")?,
        }
        if self.last_lines.is_empty() {
            return Ok(());
        }
        write!(f, "; its last words:")?;
        self.last_lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Why Envoy does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not even the process started.
    #[error("cannot start Envoy through `{}`: {error}", through.display())]
    Spawn {
        /// The program that was to become Envoy.
        through: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It ended before it was ready: a wrong configuration, or a port that somebody took in between.
    #[error("Envoy did not start with `{}`. {death}", config.display())]
    Died {
        /// Its configuration.
        config: PathBuf,
        /// How it ended.
        death: Death,
    },
    /// It runs but is not ready.
    #[error(
        "Envoy was not ready within {} s ({last}); if this machine's DNS does not answer, repair that or name the \
         providers by address",
        within.as_secs()
    )]
    NotReady {
        /// The limit.
        within: Duration,
        /// The last answer of its admin interface.
        last: String,
    },
}

/// A running Envoy. Dropping it ends Envoy at once.
#[derive(Debug)]
pub struct Supervisor {
    process: Arc<Process>,
    death: watch::Receiver<Option<Death>>,
    admin: AdminClient,
}

/// The process id while it is certainly Envoy's: a reaped child's id may already belong to another process.
#[derive(Debug)]
struct Process(Mutex<Option<Pid>>);

impl Process {
    fn signal(&self, signal: Signal) {
        let pid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = *pid
            && let Err(error) = rustix::process::kill_process(pid, signal)
        {
            tracing::warn!(%error, "envoy cannot be signalled");
        }
    }
}

impl Supervisor {
    /// Starts Envoy and waits until it is ready. When this fails, Envoy does not run.
    ///
    /// A thread of its own starts it and reaps it, another one reads its log. The first lives exactly as long as Envoy, which
    /// matters: the kernel takes the *thread* that started a process for its parent when it comes to `exec_envoy`'s
    /// wish, and a runtime's worker may end early.
    pub async fn start(launch: Launch) -> Result<Self, StartError> {
        let (started, start) = oneshot::channel();
        let (dead, death) = watch::channel(None);
        let config = launch.config.clone();
        let within = launch.ready_within;
        let admin = AdminClient::new(launch.admin.clone());
        let through = launch.through.first().cloned().unwrap_or_default();
        let failed = |error| StartError::Spawn { through: through.clone(), error };

        thread::Builder::new()
            .name("envoy".to_owned())
            .spawn(move || parent(&launch, started, &dead))
            .map_err(failed)?;
        let process = match start.await {
            Ok(result) => result.map_err(failed)?,
            Err(_) => return Err(failed(io::Error::other("its thread ended"))),
        };
        let mut supervisor = Self { process, death, admin };

        let deadline = Instant::now() + within;
        loop {
            let last = match supervisor.admin.ready().await {
                Ok(()) => return Ok(supervisor),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(StartError::NotReady { within, last });
            }
            if let Ok(death) = timeout(ASK_EVERY, supervisor.wait()).await {
                return Err(StartError::Died { config, death });
            }
        }
    }

    /// Envoy's admin interface.
    pub const fn admin(&self) -> &AdminClient {
        &self.admin
    }

    /// Waits for Envoy's end and says how it came. Cancel-safe, and may be called again.
    pub async fn wait(&mut self) -> Death {
        match self.death.wait_for(Option::is_some).await {
            Ok(death) => death.clone(),
            Err(_) => None,
        }
        .unwrap_or(Death { code: None, signal: None, last_lines: Vec::new() })
    }

    /// Asks Envoy to end (SIGTERM: it closes all connections at once, so calls should have ended), and makes it end when
    /// `grace` is over.
    pub async fn stop(mut self, grace: Duration) -> Death {
        self.process.signal(Signal::TERM);
        if let Ok(death) = timeout(grace, self.wait()).await {
            return death;
        }
        tracing::warn!(grace_s = grace.as_secs_f64(), "envoy does not end when asked, killing it");
        self.process.signal(Signal::KILL);
        self.wait().await
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.process.signal(Signal::KILL);
    }
}

/// Envoy's parent: the body of its thread.
fn parent(launch: &Launch, started: oneshot::Sender<io::Result<Arc<Process>>>, dead: &watch::Sender<Option<Death>>) {
    let (mut child, log) = match spawn(launch) {
        Ok(spawned) => spawned,
        Err(error) => {
            // Nobody listens any more: then nobody wants to know.
            let _ = started.send(Err(error));
            return;
        }
    };
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let process = Arc::new(Process(Mutex::new(pid)));
    if started.send(Ok(Arc::clone(&process))).is_err() {
        process.signal(Signal::KILL);
    }
    let (status, last_lines) = thread::scope(|threads| {
        // Dropped when Envoy has ended.
        let (runs, ended) = sync_channel(0);
        let listener =
            thread::Builder::new().name("envoy-log".to_owned()).spawn_scoped(threads, move || listen(log, &ended));
        let status = reap(&mut child, pid, &process);
        drop(runs);
        (status, listener.ok().and_then(|listener| listener.join().ok()).unwrap_or_default())
    });
    let death = Death {
        code: status.as_ref().ok().and_then(ExitStatus::code),
        signal: status.as_ref().ok().and_then(ExitStatusExt::signal),
        last_lines,
    };
    let _ = dead.send(Some(death));
}

/// Starts Envoy, and returns it with its log, to be read from the beginning.
fn spawn(launch: &Launch) -> io::Result<(Child, File)> {
    let at = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", launch.log.display()));
    File::create(&launch.log).map_err(at)?;
    let log = File::options().append(true).open(&launch.log).map_err(at)?;
    let child = command(launch).stderr(log).spawn()?;
    Ok((child, File::open(&launch.log).map_err(at)?))
}

fn command(launch: &Launch) -> Command {
    let mut through = launch.through.iter();
    let mut command = Command::new(through.next().map_or_else(PathBuf::new, Clone::clone));
    command
        .args(through)
        .args(["--parent", &std::process::id().to_string(), "--"])
        .arg(&launch.envoy)
        .arg("--config-path")
        .arg(&launch.config)
        .args(["--concurrency", &launch.concurrency.to_string()])
        // One Envoy at a time: no shared memory, no base id that could collide with another Envoy's.
        .arg("--disable-hot-restart")
        .args(["--log-level", "warning", "--log-format", "%l %n %v", "--log-format-escaped"])
        // An access log that lags by ten seconds, the default, is of no use to somebody who watches it.
        .args(["--file-flush-interval-msec", "500"])
        .stdin(Stdio::null())
        .process_group(0);
    command
}

/// Logs what Envoy says until it has ended. Returns its last lines.
fn listen(log: File, ended: &Receiver<()>) -> Vec<String> {
    let (mut log, mut line, mut last) = (BufReader::new(log), Vec::new(), VecDeque::with_capacity(LAST_LINES));
    let mut runs = true;
    loop {
        // A line that is not complete yet stays until it is, or until Envoy has ended.
        let read = log.read_until(b'\n', &mut line).unwrap_or_default();
        if line.ends_with(b"\n") || (!runs && !line.is_empty()) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            relay(&text);
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(text);
        } else if !runs {
            return last.into();
        } else if read == 0 {
            runs = ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout);
        }
    }
}

/// One line of Envoy's log, `LEVEL COMPONENT TEXT` by our `--log-format`. What has another form (a crash's backtrace)
/// is logged as it is.
fn relay(line: &str) {
    let mut parts = line.splitn(3, ' ');
    let (level, component, text) = (parts.next(), parts.next(), parts.next());
    match (level, component, text) {
        (Some("critical" | "error"), Some(component), Some(text)) => {
            tracing::error!(target: "envoy", component, "{text}");
        }
        (Some("warning"), Some(component), Some(text)) => tracing::warn!(target: "envoy", component, "{text}"),
        (Some("info"), Some(component), Some(text)) => tracing::info!(target: "envoy", component, "{text}"),
        (Some("debug" | "trace"), Some(component), Some(text)) => {
            tracing::debug!(target: "envoy", component, "{text}");
        }
        _ => tracing::warn!(target: "envoy", "{line}"),
    }
}

/// Waits for the child without reaping it, then forgets its id and reaps it under one lock: a signal sent in between
/// reaches a process that is dead but still ours, never another one that got its id.
fn reap(child: &mut Child, pid: Option<Pid>, process: &Process) -> io::Result<ExitStatus> {
    if let Some(pid) = pid {
        while let Err(rustix::io::Errno::INTR) =
            rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {}
    }
    let mut known = process.0.lock().unwrap_or_else(PoisonError::into_inner);
    *known = None;
    child.wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_says_how_and_what_was_said_last() {
        let death = Death { code: Some(1), signal: None, last_lines: vec!["critical main no port".to_owned()] };
        assert_eq!(death.to_string(), "Envoy exited with code 1; its last words:\n  critical main no port");
        let death = Death { code: None, signal: Some(11), last_lines: Vec::new() };
        assert_eq!(death.to_string(), "Envoy was ended by signal 11");
    }

    #[test]
    fn some_workers_but_not_many() {
        assert!((1..=4).contains(&default_concurrency()));
    }
}
