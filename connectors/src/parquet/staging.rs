//! The folder of the files under way of one run.
//!
//! It carries the number of the run in its name. A new run takes it over by renaming it, so an older run that is still
//! alive finds nothing under the name that it knows: whatever it still has to rename out of it fails.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use engine::{Error, Result};

const PREFIX: &str = "staging-";

/// The staging folder of this run.
#[derive(Debug)]
pub(super) struct Staging {
    /// The folder that it belongs to, for messages.
    root: PathBuf,
    path: PathBuf,
}

impl Staging {
    /// Takes the staging folder in `private` over for run `generation`, or makes it.
    ///
    /// # Errors
    /// [`Error::Fenced`] when a later run has it; when it can't be renamed or made.
    pub(super) fn take_over(root: &Path, private: &Path, generation: u64) -> Result<Self> {
        let staging = Self {
            root: root.to_owned(),
            path: private.join(format!("{PREFIX}{generation}")),
        };
        let mut runs = generations(private)?;
        runs.retain(|&run| run < generation);
        let is_there = staging.path.try_exists().map_err(Error::io("look at", &staging.path))?;
        if !is_there && let Some(last) = runs.pop() {
            let old = private.join(format!("{PREFIX}{last}"));
            fs::rename(&old, &staging.path).map_err(|error| staging.failed("rename", &old, error))?;
        }
        super::folder::create_folder(&staging.path)?;
        for run in runs {
            let old = private.join(format!("{PREFIX}{run}"));
            fs::remove_dir_all(&old).map_err(Error::io("remove", &old))?;
        }
        // Looked at last: of two runs that start at once, at least the older one sees the other's folder.
        match generations(private)?.last() {
            Some(&last) if last > generation => Err(staging.fenced()),
            _ => Ok(staging),
        }
    }

    /// Returns the folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a file in it.
    pub(super) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the error of an act in the folder: one that is gone was taken over by a later run.
    pub(super) fn failed(&self, act: &'static str, path: &Path, error: io::Error) -> Error {
        if error.kind() == ErrorKind::NotFound && !self.path.is_dir() {
            return self.fenced();
        }
        Error::io(act, path)(error)
    }

    /// Returns an error of a staged file; if the folder was taken over, that.
    pub(super) fn explain(&self, error: Error) -> Error {
        match error {
            Error::Io { act, path, source } => self.failed(act, &path, source),
            other => other,
        }
    }

    fn fenced(&self) -> Error {
        Error::Fenced {
            what: self.root.display().to_string(),
        }
    }
}

/// Returns the numbers of the runs that have a staging folder, ascending.
fn generations(private: &Path) -> Result<Vec<u64>> {
    let mut runs = Vec::new();
    for item in fs::read_dir(private).map_err(Error::io("list", private))? {
        let name = item.map_err(Error::io("list", private))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        runs.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    runs.sort_unstable();
    Ok(runs)
}
