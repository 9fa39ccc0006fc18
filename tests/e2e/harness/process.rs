//! Processes, looked at through `/proc`.

use std::{fs, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

/// A process that cannot be mistaken for a later one with the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(super) id: i32,
    pub(super) name: String,
    parent: i32,
    started: u64,
}

/// What a process takes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Usage {
    /// Resident memory of its own, in bytes.
    pub(crate) memory: u64,
    /// Open files and sockets.
    pub(crate) files: usize,
}

impl Process {
    /// What runs under that id now.
    pub(crate) fn of(id: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name stands in parentheses and may hold anything, also parentheses.
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // A zombie has ended; only its parent has not looked yet.
        if matches!(fields.first(), Some(&("Z" | "X"))) {
            return None;
        }
        Some(Self {
            id,
            name: name.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    /// The processes that this one has started, and theirs.
    pub(crate) fn descendants(&self) -> Vec<Self> {
        let all: Vec<Self> = fs::read_dir("/proc")
            .expect("/proc is there")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Self::of)
            .collect();
        let mut found: Vec<Self> = Vec::new();
        let mut parents = vec![self.id];
        while let Some(parent) = parents.pop() {
            for process in all.iter().filter(|process| process.parent == parent) {
                parents.push(process.id);
                found.push(process.clone());
            }
        }
        found
    }

    /// What it takes now.
    pub(super) fn usage(&self) -> Usage {
        let folder = format!("/proc/{}", self.id);
        let status = fs::read_to_string(format!("{folder}/status")).expect("the process runs");
        let value = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            kib.unwrap_or_else(|| panic!("no {name} in {status}")) << 10
        };
        // Its program's pages can be read again, and the system takes and gives them as it likes.
        let memory = value("RssAnon:") + value("RssShmem:");
        Usage { memory, files: fs::read_dir(format!("{folder}/fd")).expect("the process runs").count() }
    }

    pub(super) fn is_alive(&self) -> bool {
        Self::of(self.id).is_some_and(|now| now.started == self.started)
    }

    /// Whether it was stopped and goes on no more.
    fn is_still(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        // One that has ended stands still as well.
        matches!(state, None | Some('T' | 'Z' | 'X'))
    }

    /// Stops it and what it has started, and returns when all stand still.
    pub(crate) async fn pause(&self) {
        self.signal(Signal::STOP);
        let family = self.descendants();
        for process in &family {
            process.signal(Signal::STOP);
        }
        while !self.is_still() || !family.iter().all(Self::is_still) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lets it and what it has started go on.
    pub(crate) fn resume(&self) {
        for process in self.descendants().iter().chain([self]) {
            process.signal(Signal::CONT);
        }
    }

    /// Kills it and what it has started.
    pub(crate) fn kill_family(&self) {
        let family = self.descendants();
        self.signal(Signal::KILL);
        for process in family {
            process.signal(Signal::KILL);
        }
    }

    /// Sends a signal, unless the process has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(id) = Pid::from_raw(self.id).filter(|_| self.is_alive()) {
            // It may end between the look and the signal.
            let _ = kill_process(id, signal);
        }
    }
}
