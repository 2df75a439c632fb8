//! Scratch folders under cargo's target folder: removed when a test passes, kept until the next run when it fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static NUMBER: AtomicU64 = AtomicU64::new(0);
static SWEPT: Once = Once::new();

/// A folder of a test's own.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// Makes an empty folder; `name` is the test's, for people who look at what a failed test left.
    ///
    /// # Panics
    /// When it can't be made.
    pub(crate) fn new(name: &str) -> Self {
        let parent = target().join("test-scratch");
        SWEPT.call_once(|| sweep(&parent));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("{}-{number}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
        Self { folder }
    }

    /// Returns the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Returns the path `name` in the folder.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the test's files are kept in {}", self.folder.display());
        } else {
            // What can't be removed now is swept by the next run.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Returns cargo's target folder.
pub(crate) fn target() -> &'static Path {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    scratch
        .parent()
        .expect("cargo's scratch folder is in its target folder")
}

/// Returns the root of the project.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Removes the folders `PID-…` of `parent` whose process is gone.
pub(crate) fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.split('-').next());
        let is_alive = pid.is_some_and(|pid| Path::new("/proc").join(pid).exists());
        if !is_alive {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
