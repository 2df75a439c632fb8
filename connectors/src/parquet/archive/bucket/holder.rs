//! Who works on an archive in a bucket: what a process says of itself, and what tells whether it still lives.

use std::fs;
use std::process;

use serde::{Deserialize, Serialize};

/// What a process says of itself. Empty is what its machine does not tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    /// The name of its machine.
    pub(super) host: String,
    /// What tells the machine, this start of it, and its space of process ids from all others.
    pub(super) machine: String,
    /// Its process id.
    pub(super) pid: u32,
    /// When it was started, in ticks since the machine was: ids are used again.
    pub(super) started: String,
    /// Since when it works on the archive, in words.
    pub(super) since: String,
}

/// What is known of a process from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It runs on this machine.
    Alive,
    /// It ran on this machine and is no more, or is stopped.
    Gone,
    /// It is on another machine.
    Elsewhere,
}

impl Holder {
    /// Returns what this process says of itself.
    pub(super) fn this() -> Self {
        let now = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ");
        Self {
            host: read("/proc/sys/kernel/hostname"),
            machine: machine(),
            pid: process::id(),
            started: stat(process::id()).map(|stat| stat.started).unwrap_or_default(),
            since: now.to_string(),
        }
    }

    /// Returns what is known of it from here.
    pub(super) fn life(&self) -> Life {
        let here = machine();
        if here.is_empty() || self.machine != here || self.started.is_empty() {
            return Life::Elsewhere;
        }
        match stat(self.pid) {
            // A stopped process counts as frozen: it is replaced, and what it still sends is refused.
            Some(stat) if stat.started == self.started && !"TtZX".contains(stat.state) => Life::Alive,
            _ => Life::Gone,
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on {} since {}", self.pid, self.host, self.since)
    }
}

/// What `/proc` says of a process.
struct Stat {
    state: char,
    started: String,
}

/// Returns what `/proc` says of the process `pid`; `None` when there is none.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name, which may hold spaces and parentheses.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // The 22nd field of all, the 20th from the state on.
    let started = fields.nth(18)?.to_owned();
    Some(Stat { state, started })
}

/// Returns what tells this machine, this start of it, and this space of process ids from all others.
fn machine() -> String {
    let boot = read("/proc/sys/kernel/random/boot_id");
    let space = fs::read_link("/proc/self/ns/pid").map(|space| space.display().to_string());
    match (boot.as_str(), space) {
        ("", _) | (_, Err(_)) => String::new(),
        (boot, Ok(space)) => format!("{boot} {space}"),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that can not go on should stop there")]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_one_that_ended_is_gone() {
        let this = Holder::this();
        assert_eq!(this.life(), Life::Alive);
        let mut child = process::Command::new("true").spawn().unwrap();
        let ended = Holder {
            pid: child.id(),
            ..this.clone()
        };
        child.wait().unwrap();
        assert_eq!(ended.life(), Life::Gone);
        let other_start = Holder {
            started: "1".to_owned(),
            ..this.clone()
        };
        assert_eq!(other_start.life(), Life::Gone, "the id is used again");
        let elsewhere = Holder {
            machine: "other".to_owned(),
            ..this
        };
        assert_eq!(elsewhere.life(), Life::Elsewhere);
    }
}
