//! Child processes that do not outlive the test process, however that one ends.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Waits for the end of its input, which comes when the holder of the pipe closes it or dies, then kills the process
/// `$1` and removes the folder `$2`.
const WATCH: &str = r#"read _; kill -KILL "$1" 2>/dev/null; [ -z "$2" ] || rm -rf "$2""#;

/// Ties a process to this one: a watchdog kills it when this process is gone, be it by panic, Ctrl-C or SIGKILL.
///
/// The watchdog reads a pipe whose other end only this process holds, and the kernel closes that end with it.
#[derive(Debug)]
pub(crate) struct Leash {
    watchdog: Child,
}

impl Leash {
    /// Ties the process `pid`. The folder `leavings`, if given, is removed after the process was killed.
    ///
    /// # Panics
    /// When the watchdog can't be started.
    pub(crate) fn tie(pid: u32, leavings: Option<&Path>) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", WATCH, "watchdog"]).arg(pid.to_string());
        command.arg(leavings.unwrap_or(Path::new("")));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // A Ctrl-C reaches the whole foreground group; the watchdog must live to see the end of the test process.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let watchdog = command.spawn().expect("the shell can be started");
        Self { watchdog }
    }

    /// Unties the process: from now on nobody kills it. To be called before or right after its end was waited for, so
    /// that the watchdog never kills a stranger of the same number.
    pub(crate) fn untie(mut self) {
        self.watchdog.kill().expect("the watchdog is a child of this process");
        self.watchdog.wait().expect("the watchdog is a child of this process");
    }
}
