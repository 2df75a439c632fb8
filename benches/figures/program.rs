//! The built program as a child process, watched from outside.

use std::io::Read;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use super::cpu_clock;
use crate::harness::leash::Leash;
use crate::harness::{PATIENCE, eventually};

/// How often the memory of a running program is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A run of `millstream`. Dropping it kills it.
pub(crate) struct Program {
    child: Child,
    leash: Option<Leash>,
    clock: ClockId,
    started: Instant,
}

impl Program {
    /// Starts the program with its standard output going to `stdout`.
    pub(crate) fn start(arguments: &[&str], stdout: Stdio) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null());
        let started = Instant::now();
        let child = command.spawn().expect("the program was built");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        Self {
            leash: Some(Leash::tie(child.id(), None)),
            clock: clock_getcpuclockid(pid).expect("the child was not waited for"),
            child,
            started,
        }
    }

    /// Returns how long ago it was started.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the processor time it used so far.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_clock::read(self.clock)
    }

    /// Takes its standard output, which is a pipe.
    pub(crate) fn take_stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("started with a pipe")
    }

    /// Returns a line of its `/proc/PID/status`, in MiB: `VmHWM` is the peak of resident memory, `VmRSS` the present one.
    /// `None` when it has ended.
    pub(crate) fn memory_mib(&self, line: &str) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let found = status
            .lines()
            .find_map(|found| found.strip_prefix(line)?.strip_prefix(':'))?;
        let kib: f64 = found.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib / 1024.0)
    }

    /// Waits for its end and returns the peak of its resident memory in MiB, as last seen.
    pub(crate) fn wait_for_peak(mut self) -> f64 {
        let mut peak: f64 = 0.0;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child of this process") {
                break status;
            }
            peak = peak.max(self.memory_mib("VmHWM").unwrap_or(0.0));
            std::thread::sleep(LOOK);
        };
        assert!(status.success(), "the program ended with {status}");
        peak
    }

    /// Waits until it has used less than a tenth of a core for half a second.
    pub(crate) fn wait_until_quiet(&self) {
        const SPAN: Duration = Duration::from_millis(500);
        let (mut before, mut at) = (self.cpu(), Instant::now());
        eventually(PATIENCE, "the program has nothing to do", || {
            if at.elapsed() < SPAN {
                return None;
            }
            let used = self.cpu() - before;
            (before, at) = (self.cpu(), Instant::now());
            (used < SPAN / 10).then_some(())
        });
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        if let Some(leash) = self.leash.take() {
            leash.untie();
        }
        let _ = self.child.wait();
    }
}

/// Waits for the first byte.
pub(crate) fn wait_for_output(stdout: &mut ChildStdout) {
    stdout.read_exact(&mut [0]).expect("the program writes");
}
