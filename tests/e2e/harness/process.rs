//! Processes, looked at through `/proc`.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// A process that cannot be mistaken for a later one with the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) id: i32,
    pub(super) name: String,
    parent: i32,
    started: u64,
}

impl Process {
    /// What runs under that id now.
    pub(super) fn of(id: i32) -> Option<Self> {
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
    pub(super) fn descendants(&self) -> Vec<Self> {
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

    pub(super) fn is_alive(&self) -> bool {
        Self::of(self.id).is_some_and(|now| now.started == self.started)
    }

    /// Sends a signal, unless the process has ended.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(id) = Pid::from_raw(self.id).filter(|_| self.is_alive()) {
            // It may end between the look and the signal.
            let _ = kill_process(id, signal);
        }
    }
}
