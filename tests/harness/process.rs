//! Child processes of the tests: the built program, run, signalled, waited for.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::eventually;
use super::leash::Leash;
use super::scratch::Scratch;

/// What the environment may not slip into a run.
const UNSET: &[&str] = &[
    "MILLSTREAM_CRASH_AT",
    "MILLSTREAM_BATCHES_MAX",
    "RUST_LOG",
    "NO_COLOR",
    "CLICOLOR_FORCE",
];

/// A run of a program to be started.
#[derive(Debug)]
pub(crate) struct Run {
    command: Command,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A program that runs. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    leash: Option<Leash>,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A program that ended, and all it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code, or the signal that ended it.
    pub(crate) status: ExitStatus,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

impl Run {
    /// Prepares a run of the built `millstream` in the scratch folder, which also gets what it writes: `NAME.stdout`
    /// and `NAME.stderr`.
    pub(crate) fn millstream(scratch: &Scratch, name: &str) -> Self {
        Self::program(env!("CARGO_BIN_EXE_millstream"), scratch, name)
    }

    /// Prepares a run of any program, in the same way.
    pub(crate) fn program(program: impl AsRef<OsStr>, scratch: &Scratch, name: &str) -> Self {
        let mut command = Command::new(program);
        command.current_dir(scratch.path()).stdin(Stdio::null());
        for variable in UNSET {
            command.env_remove(variable);
        }
        Self {
            command,
            stdout: scratch.join(format!("{name}.stdout")),
            stderr: scratch.join(format!("{name}.stderr")),
        }
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Runs the program in another folder than the scratch.
    pub(crate) fn in_dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Lets the program read a file as its standard input.
    ///
    /// # Panics
    /// When the file can't be opened.
    pub(crate) fn stdin(mut self, path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
        self.command.stdin(file);
        self
    }

    /// Starts the program.
    ///
    /// # Panics
    /// When it can't be started.
    #[track_caller]
    pub(crate) fn start(mut self) -> Running {
        let create = |path: &Path| File::create(path).expect("the scratch folder can be written");
        self.command.stdout(create(&self.stdout)).stderr(create(&self.stderr));
        let child = self.command.spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {:?}: {error}", self.command.get_program()));
        let leash = Some(Leash::tie(child.id(), None));
        Running {
            child,
            leash,
            stdout: self.stdout,
            stderr: self.stderr,
        }
    }

    /// Runs the program to its end.
    ///
    /// # Panics
    /// When it can't be started or does not end within `patience`.
    #[track_caller]
    pub(crate) fn finish(self, patience: Duration) -> Ended {
        self.start().wait(patience)
    }
}

impl Running {
    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name without `SIG`: `KILL`, `TERM`, `INT`, `STOP`, `CONT`.
    ///
    /// # Panics
    /// When the process ended and was waited for.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Returns what it wrote to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// Returns what it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Waits until `look` finds something and returns it.
    ///
    /// # Panics
    /// When nothing was found within `patience`, or the program ended before; the message shows its standard error.
    #[track_caller]
    pub(crate) fn wait_until<T>(
        &mut self,
        patience: Duration,
        what: &str,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let found = eventually(patience, what, || {
            // Asked before the look, so that what the program did at its very end counts.
            let is_over = self.child.try_wait().expect("a child of this process").is_some();
            match look(self) {
                Some(found) => Some(Some(found)),
                None => is_over.then_some(None),
            }
        });
        found.unwrap_or_else(|| panic!("the program ended before: {what}\n{}", self.stderr()))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within `patience`; the message names the file of its standard error.
    #[track_caller]
    pub(crate) fn wait(mut self, patience: Duration) -> Ended {
        let what = format!("the program ends, see {}", self.stderr.display());
        let status = eventually(patience, &what, || {
            self.child.try_wait().expect("a child of this process")
        });
        self.untie();
        Ended {
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    /// Kills it and waits for its end; nothing in it gets a chance to clean up.
    #[track_caller]
    pub(crate) fn kill(mut self) -> Ended {
        self.child.kill().expect("a child of this process");
        self.wait(super::PATIENCE)
    }

    fn untie(&mut self) {
        if let Some(leash) = self.leash.take() {
            leash.untie();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.leash.is_some() {
            let _ = self.child.kill();
            self.untie();
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    /// Asserts the exit code and returns what it ended with.
    ///
    /// # Panics
    /// When it ended otherwise; the message shows its output.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        let (status, stdout, stderr) = (self.status, &self.stdout, &self.stderr);
        assert_eq!(
            status.code(),
            Some(code),
            "{status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        );
        self
    }
}

/// Sends the signal `name` to the process `pid`.
///
/// # Panics
/// When there is no such process.
#[track_caller]
pub(crate) fn signal(pid: u32, name: &str) {
    // The shell has a `kill` of its own; small systems lack the program.
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "SIG{name} reaches the process {pid}"
    );
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
