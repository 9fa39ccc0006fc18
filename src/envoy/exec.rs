//! The step between Luthien and Envoy that keeps Envoy from outliving Luthien.
//!
//! A parent that is killed with SIGKILL cannot clean up. The kernel can: a process may ask for a signal when its parent
//! dies. It has to ask for itself, after the fork and before it becomes Envoy, so Luthien starts itself again as
//! `luthien exec-envoy`, which asks and then turns into Envoy. No unsafe code and no wrapper process stays.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// What to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecPlan {
    /// The process that must live for Envoy to live.
    pub parent: u32,
    /// The Envoy binary.
    pub envoy: PathBuf,
    /// Envoy's arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
}

/// What of our environment Envoy gets. The rest holds keys, which are none of its business: whoever takes over the process
/// that reads what strangers send would find them.
pub const INHERITED: [&str; 8] =
    ["PATH", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "GLIBC_TUNABLES", "LOCALDOMAIN", "RES_OPTIONS"];

/// Why this process did not become Envoy.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The parent died in between; there is nobody to run Envoy for.
    #[error("process {expected}, for which Envoy was to run, is gone")]
    ParentGone {
        /// The parent that was named.
        expected: u32,
    },
    /// The kernel refused the wish.
    #[error("cannot ask the kernel to stop Envoy with its parent: {0}; run Envoy by other means, and `luthien serve`")]
    DeathSignal(io::Error),
    /// It does not start.
    #[error("cannot run Envoy at `{}`: {error}; run `make tools`, or correct LUTHIEN_ENVOY", envoy.display())]
    Exec {
        /// The binary.
        envoy: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Becomes Envoy. Returns only when that fails.
///
/// The wish is bound to the *thread* that started us (`PR_SET_PDEATHSIG`, prctl(2)): it must be one that lives as long
/// as Envoy, see `Supervisor::start`.
pub fn exec_envoy(plan: &ExecPlan) -> Result<Infallible, ExecError> {
    ask_for_death_signal().map_err(ExecError::DeathSignal)?;
    // Only after asking: a parent that died before is noticed here, one that dies later is the kernel's business.
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent != Some(plan.parent) {
        return Err(ExecError::ParentGone { expected: plan.parent });
    }
    let error = Command::new(&plan.envoy).args(&plan.args).env_clear().envs(plan.environment.clone()).exec();
    Err(ExecError::Exec { envoy: plan.envoy.clone(), error })
}

/// SIGKILL, because Envoy has nothing to save and a hung Envoy must not survive either.
#[cfg(target_os = "linux")]
fn ask_for_death_signal() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?)
}

/// Other systems have no such wish: there, an Envoy may outlive a Luthien that was killed with SIGKILL.
#[cfg(not(target_os = "linux"))]
fn ask_for_death_signal() -> io::Result<()> {
    Ok(())
}
