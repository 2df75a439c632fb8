//! What an archive needs of the place it is in: the narrow waist between its format and a folder or a bucket.
//!
//! Names of files are relative to the archive, with `/` between their parts; those of the private sub-folder are relative to
//! that.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use engine::{Error, Result};

use super::journal::Commit;
use super::manifest::FileEntry;

/// Where an archive is, for those who only read it: they hold no lease, and disturb no one.
pub trait Site: Debug + Send + Sync {
    /// Returns the folder, or the address of the bucket as a path: what messages name, and what names are joined to for them.
    fn root(&self) -> &Path;

    /// Returns the content of a file of the private sub-folder; `None` when it is not there.
    ///
    /// # Errors
    /// When it can't be read.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>>;

    /// Returns the commits that are not in the manifest, oldest first.
    ///
    /// # Errors
    /// When one can't be read.
    fn journal(&self) -> Result<Vec<Commit>>;

    /// Returns the number of files that somebody is writing, or was.
    ///
    /// # Errors
    /// When they can't be counted.
    fn under_way(&self) -> Result<u64>;

    /// Returns the names of the Parquet files that readers see.
    ///
    /// # Errors
    /// When they can't be listed.
    fn names(&self) -> Result<BTreeSet<String>>;

    /// Checks that files are there and as long as they should be, without reading them.
    ///
    /// # Errors
    /// When one is not; it is named.
    fn check_lengths(&self, files: &[&FileEntry]) -> Result<()>;

    /// Returns a file as one of this machine; its content is not looked at.
    ///
    /// # Errors
    /// [`Error::Io`] when it is not there; when it can't be read.
    fn fetch(&self, name: &str) -> Result<LocalFile>;
}

/// Where an archive is, for the one process that may write to it. Many threads may commit at once. What an earlier process
/// had committed is finished, what it had not is gone.
pub(super) trait HeldSite: Debug + Send + Sync {
    /// Returns the place, as those see it who only read.
    fn site(&self) -> &dyn Site;

    /// Returns the place of a new file under way. What is not committed vanishes with the next start.
    fn stage(&self) -> StagedPath;

    /// Makes what was staged and synced appear, and other files vanish: all of it, also if the process ends in between.
    ///
    /// # Errors
    /// When it can't be written, another process took over, or a name is taken.
    fn commit(&self, commit: &Commit) -> Result<()>;

    /// Replaces a file of the private sub-folder, unless another process took over.
    ///
    /// # Errors
    /// When it can't be written, or another process took over.
    fn replace(&self, name: &str, content: &[u8]) -> Result<()>;

    /// Removes a file of the private sub-folder, if it is there.
    ///
    /// # Errors
    /// When it can't be removed, or another process took over.
    fn remove(&self, name: &str) -> Result<()>;

    /// Makes room for commits, which an archive that is complete has not.
    ///
    /// # Errors
    /// When it can't be written, or another process took over.
    fn begin_journal(&self) -> Result<()>;

    /// Forgets all commits at once: the manifest has them.
    ///
    /// # Errors
    /// When it can't be written, or another process took over.
    fn end_journal(&self) -> Result<()>;

    /// Gives the right to write back.
    ///
    /// # Errors
    /// When it can't be written.
    fn close(self: Box<Self>) -> Result<()>;

    /// Turns the failure of an act there into [`Error::Fenced`] if another process took over.
    fn explain(&self, error: Error) -> Error;
}

/// A file under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedPath {
    /// Its name, which a commit gives.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

impl StagedPath {
    /// Makes the file, new and empty.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn create(&self) -> Result<File> {
        File::create(&self.path).map_err(Error::io("create", &self.path))
    }
}

/// A file of an archive as one of this machine, for as long as this is kept.
#[derive(Debug)]
pub struct LocalFile {
    path: PathBuf,
    is_copy: bool,
}

impl LocalFile {
    /// Returns a file that is the archive's own.
    pub(super) fn own(path: PathBuf) -> Self {
        Self { path, is_copy: false }
    }

    /// Returns a copy, which is removed in the end.
    #[cfg(feature = "object-store")]
    pub(super) fn copy(path: PathBuf) -> Self {
        Self { path, is_copy: true }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        if self.is_copy {
            // The folder that it is in is removed later, whatever is in it.
            let _ = fs::remove_file(&self.path);
        }
    }
}
