//! A folder on this machine for files on their way into a bucket or out of it.
//!
//! It is below the folder for temporary files, `TMPDIR`, and named after the process: what a killed one left is removed by
//! the next.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use engine::{Error, Result};

/// All spools of a user's processes.
const SPOOLS: &str = "millstream-spool";

/// Tells apart the spools of one process.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A folder that is made when a file is put into it, and goes with this.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    next: AtomicU64,
}

impl Spool {
    /// Returns a new spool.
    pub(super) fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let parent = std::env::temp_dir().join(SPOOLS);
        Self {
            folder: parent.join(format!("{}-{number}", std::process::id())),
            next: AtomicU64::new(0),
        }
    }

    /// Makes the folder.
    ///
    /// # Errors
    /// When it can't be made.
    pub(super) fn make(&self) -> Result<()> {
        if let Some(parent) = self.folder.parent() {
            sweep(parent);
        }
        fs::create_dir_all(&self.folder).map_err(Error::io("create", &self.folder))
    }

    /// Returns the path of the file `name`.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns a name that no file of the spool has had.
    pub(super) fn new_name(&self) -> String {
        format!("{:08}.inprogress", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // What can't be removed now is swept by a later process.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes the spools of processes that are no more.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.split('-').next());
        let is_alive = pid.is_none_or(|pid| Path::new("/proc").join(pid).exists());
        if !is_alive {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
