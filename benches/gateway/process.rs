//! Processes of this run: started, measured through `/proc`, ended.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::{Child, Command};

/// A process that ends with this one.
pub(crate) struct Process {
    child: Child,
    id: u32,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints goes into `log`.
    pub(crate) fn start(program: &Path, arguments: &[&str], log: PathBuf) -> Self {
        let output = File::create(&log).expect("the folder is writable");
        let errors = output.try_clone().expect("a file can be opened twice");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let id = child.id().expect("it was just started");
        Self { child, id, log }
    }

    /// Panics with what it printed if it has ended.
    pub(crate) fn check(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child can be looked at") {
            panic!("a process ended with {status}:\n{}", self.printed());
        }
    }

    /// What it printed.
    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// CPU time so far.
    pub(crate) fn cpu(&self) -> Duration {
        cpu(&self.id.to_string())
    }

    /// Resident memory now and at most since the last [`Process::reset_peak`], in bytes.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).expect("the process runs");
        let read = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of every status");
            line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kilobytes") << 10
        };
        (read("VmRSS:"), read("VmHWM:"))
    }

    /// Lets the largest resident memory be counted from here.
    pub(crate) fn reset_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.id), "5").expect("a process of ours");
    }
}

/// CPU time of a process so far, of its ended threads too.
pub(crate) fn cpu(id: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("the process runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name in parentheses").1.split_whitespace().collect();
    let ticks: u64 = [fields[11], fields[12]].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).expect("a small number")
}
