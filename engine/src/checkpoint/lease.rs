//! Who may write to a folder, such as that of a checkpoint: one process at a time, and never again one that was replaced.
//!
//! ```text
//! acquire.lock                         held while a lease changes hands
//! owner-00000000000000000007/lock      locked (flock) by the holder, its pid inside, touched every second
//! owner-00000000000000000007/*         files on their way: everything is renamed out of here
//! ```
//! A holder that lives keeps others out. One that ended, even by SIGKILL, leaves an unlocked file behind. One that is
//! frozen (stopped, or silent for [`SILENCE`]) is replaced: the new holder renames the old one's folder, so whatever the
//! old one still has to rename out of it fails; that is the fence, and it has no window.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, Result};

/// How often the holder says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long a holder may be silent before it counts as frozen: long enough for a machine that swaps.
const SILENCE: Duration = Duration::from_secs(30);

/// How long to wait for another process that is acquiring.
const ACQUIRE_WAIT: Duration = Duration::from_secs(5);

const PREFIX: &str = "owner-";
const FENCED: &str = "fenced-";

/// The right to write to a folder. Ends when it is dropped; the folder [`Lease::folder`] stays until the next one, unless
/// it is [released](Lease::release).
#[derive(Debug)]
pub struct Lease {
    generation: u64,
    root: PathBuf,
    folder: PathBuf,
    _lock: File,
    heartbeat: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Lease {
    /// Takes the right to write to `root`, which is made if need be. Each holder has a higher generation than those
    /// before it whose folder is still there, and at least `least`.
    ///
    /// # Errors
    /// [`Error::Held`] while a living process has it; when the folder can't be written.
    pub fn acquire(root: &Path, least: u64) -> Result<Self> {
        fs::create_dir_all(root).map_err(Error::io("create the folder", root))?;
        let _acquiring = lock_to_acquire(root)?;
        let mut owners = owners(root)?;
        let last = owners.pop();
        if let Some((_, folder)) = &last {
            refuse_if_alive(root, folder)?;
        }
        let generation = last.as_ref().map_or(1, |(generation, _)| generation + 1).max(least);
        let folder = root.join(format!("{PREFIX}{generation:020}"));
        fs::create_dir(&folder).map_err(Error::io("create the folder", &folder))?;
        let lock = hold(&folder)?;
        for (_, old) in owners.into_iter().chain(last) {
            fence(root, &old)?;
        }
        let heartbeat = start_heartbeat(&lock, &folder)?;
        Ok(Self {
            generation,
            root: root.to_owned(),
            folder,
            _lock: lock,
            heartbeat: Some(heartbeat),
        })
    }

    /// Returns the number of this holder.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the folder that files are made in before they are renamed to their place.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns whether another holder has taken over.
    pub fn is_fenced(&self) -> bool {
        !self.folder.exists()
    }

    /// Gives the right back and leaves no trace of it but the empty `acquire.lock`. The next holder may get the same
    /// generation, unless its `least` is higher.
    ///
    /// # Errors
    /// When the folder can't be removed.
    pub fn release(mut self) -> Result<()> {
        let _acquiring = lock_to_acquire(&self.root)?;
        self.stop_heartbeat();
        match fs::remove_dir_all(&self.folder) {
            // Another holder has removed it.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(Error::io("remove", &self.folder)),
        }
    }

    /// Turns the failure of an act in the folder into [`Error::Fenced`] if the folder is gone.
    pub(super) fn explain(&self, root: &Path, error: Error) -> Error {
        match error {
            Error::Io { .. } if self.is_fenced() => Error::Fenced {
                what: format!("the checkpoint {}", root.display()),
            },
            other => other,
        }
    }
}

impl Lease {
    fn stop_heartbeat(&mut self) {
        if let Some((stop, thread)) = self.heartbeat.take() {
            drop(stop);
            // A panic in the heartbeat thread has nothing left to tell.
            let _ = thread.join();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.stop_heartbeat();
    }
}

fn lock_to_acquire(root: &Path) -> Result<File> {
    let path = root.join("acquire.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(Error::io("create", &path))?;
    let deadline = Instant::now() + ACQUIRE_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(Error::io("lock", &path)(error.into())),
        }
    }
}

/// Returns the owners' folders, oldest first, with their generations. Removes what earlier fences left.
fn owners(root: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut owners = vec![];
    for entry in fs::read_dir(root).map_err(Error::io("list", root))? {
        let path = entry.map_err(Error::io("list", root))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(FENCED) {
            fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        } else if let Some(generation) = name.strip_prefix(PREFIX).and_then(|number| number.parse().ok()) {
            owners.push((generation, path));
        }
    }
    owners.sort();
    Ok(owners)
}

fn refuse_if_alive(root: &Path, folder: &Path) -> Result<()> {
    let path = folder.join("lock");
    let Ok(file) = File::open(&path) else {
        return Ok(());
    };
    if !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        return Ok(());
    }
    let pid = fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    if is_stopped(pid) || is_silent(&file) {
        tracing::warn!(pid, folder = %root.display(), "the holder of the folder is frozen: taking over");
        return Ok(());
    }
    Err(Error::Held {
        path: root.to_owned(),
        pid,
    })
}

/// Returns whether the process is stopped by a signal or a debugger, where the system tells.
fn is_stopped(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the command in parentheses, which may hold anything.
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with(['T', 't']))
}

fn is_silent(lock: &File) -> bool {
    let touched = lock.metadata().and_then(|metadata| metadata.modified());
    touched.is_ok_and(|touched| {
        SystemTime::now()
            .duration_since(touched)
            .is_ok_and(|silence| silence > SILENCE)
    })
}

fn hold(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let mut file = File::create(&path).map_err(Error::io("create", &path))?;
    file.try_lock()
        .map_err(|error| Error::io("lock", &path)(error.into()))?;
    writeln!(file, "{}", std::process::id()).map_err(Error::io("write", &path))?;
    Ok(file)
}

fn fence(root: &Path, old: &Path) -> Result<()> {
    let name = old.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fenced = root.join(format!("{FENCED}{name}"));
    fs::rename(old, &fenced).map_err(Error::io("fence", old))?;
    fs::remove_dir_all(&fenced).map_err(Error::io("remove", &fenced))
}

fn start_heartbeat(lock: &File, folder: &Path) -> Result<(Sender<()>, JoinHandle<()>)> {
    let lock = lock.try_clone().map_err(Error::io("open", folder))?;
    let (stop, stopped) = mpsc::channel();
    let beat = move || {
        while stopped.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
            // A heartbeat that fails makes this process look frozen, which the fence makes safe.
            let _ = lock.set_modified(SystemTime::now());
        }
    };
    let thread = thread::Builder::new().name("heartbeat".to_owned()).spawn(beat);
    Ok((stop, thread.map_err(Error::io("start the heartbeat of", folder))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_refused_with_the_holders_pid() {
        let root = tempfile::tempdir().expect("a scratch folder");
        let first = Lease::acquire(root.path(), 1).expect("nobody holds it");
        match Lease::acquire(root.path(), 1) {
            Err(Error::Held { pid, .. }) => assert_eq!(pid, std::process::id()),
            other => panic!("{other:?}"),
        }
        drop(first);
        let second = Lease::acquire(root.path(), 1).expect("the first let go");
        assert_eq!(second.generation(), 2);
    }

    #[test]
    fn a_released_folder_keeps_no_trace_of_its_holder() {
        let root = tempfile::tempdir().expect("a scratch folder");
        let first = Lease::acquire(root.path(), 40).expect("nobody holds it");
        assert_eq!(first.generation(), 40);
        first.release().expect("it is ours");
        let names: Vec<_> = fs::read_dir(root.path())
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(names, ["acquire.lock"]);
        let second = Lease::acquire(root.path(), 50).expect("the first let go");
        assert_eq!(second.generation(), 50);
    }

    #[test]
    fn a_silent_holder_is_fenced() {
        let root = tempfile::tempdir().expect("a scratch folder");
        let mut frozen = Lease::acquire(root.path(), 1).expect("nobody holds it");
        let (stop, thread) = frozen.heartbeat.take().expect("it beats");
        drop(stop);
        thread.join().expect("the heartbeat ends");
        let lock = File::open(frozen.folder().join("lock")).expect("the lock file");
        lock.set_modified(SystemTime::now() - 2 * SILENCE)
            .expect("times can be set");
        let staged = frozen.folder().join("staged");
        fs::write(&staged, "late").expect("it still holds the lease");

        let second = Lease::acquire(root.path(), 1).expect("the first is frozen");
        assert_eq!(second.generation(), 2);
        let late = fs::rename(&staged, root.path().join("late")).map_err(Error::io("rename", &staged));
        let error = frozen.explain(root.path(), late.expect_err("the fence"));
        assert!(matches!(error, Error::Fenced { .. }), "{error}");
        assert!(!root.path().join("late").exists());
    }
}
