//! What each epoch committed: one small JSON file an epoch, `DIR/_millstream/manifest/epoch-NNN.json`.
//!
//! One file an epoch, and not one file that grows: it is staged with the data by `prepare` and takes its place by a rename
//! as the last step of `commit`. So it is whole or absent, its presence means that the epoch is complete, and a process
//! that was fenced can't add to it. Epochs without rows have no entry.

use std::fs;
use std::path::Path;

use engine::sink::{Barrier, Token};
use engine::{Epoch, Error, OffsetRange, Partition, Positions, Result};
use serde::{Deserialize, Serialize};

use super::naming;

/// The layout of entries and tokens that this version reads and writes.
const FORMAT: u32 = 1;

/// What one epoch put in the folder. The checkpoint keeps the same as the sink's token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The version of this layout.
    pub format: u32,
    /// The epoch.
    pub epoch: Epoch,
    /// The job's id.
    pub job: String,
    /// The next offset to read of every partition: all before it is in this epoch's files or an earlier one's.
    pub positions: Positions,
    /// The files, in the order in which they were begun.
    pub files: Vec<EntryFile>,
}

/// One file of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryFile {
    /// The file's path, relative to the sink's folder.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// The CRC-32C of its bytes.
    pub crc32c: u32,
    /// The partition that its rows came from, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// The offsets that it covers, if its rows have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offsets: Option<OffsetRange>,
}

/// Returns the entries of the sink's folder `dir`, by epoch.
///
/// # Errors
/// When the folder or an entry can't be read.
pub fn read(dir: &Path) -> Result<Vec<Entry>> {
    let folder = dir.join(super::folder::PRIVATE).join(super::folder::MANIFEST);
    let mut epochs = epochs(&folder)?;
    epochs.sort_unstable();
    epochs
        .into_iter()
        .map(|epoch| Entry::read(&folder.join(naming::entry(epoch))))
        .collect()
}

/// Returns the epochs whose entries are in `folder`, in no order.
pub(super) fn epochs(folder: &Path) -> Result<Vec<Epoch>> {
    let mut epochs = Vec::new();
    for item in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let name = item.map_err(Error::io("list", folder))?.file_name();
        epochs.extend(name.to_str().and_then(naming::entry_epoch));
    }
    Ok(epochs)
}

impl Entry {
    pub(super) fn new(barrier: &Barrier<'_>, job: &str, files: Vec<EntryFile>) -> Self {
        Self {
            format: FORMAT,
            epoch: barrier.epoch,
            job: job.to_owned(),
            positions: barrier.positions.clone(),
            files,
        }
    }

    /// Reads one entry.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        let entry = serde_json::from_slice::<Self>(&bytes).map_err(|error| error.to_string());
        entry.and_then(Self::checked).map_err(|problem| Error::Sink {
            output: path.display().to_string(),
            problem: format!("this is no entry of a manifest: {problem}"),
        })
    }

    /// Returns what a checkpoint kept of the epoch; `None` when there is nothing to commit.
    pub(super) fn from_token(token: &Token, dir: &Path) -> Result<Option<Self>> {
        if token.0.is_null() {
            return Ok(None);
        }
        let entry = Self::deserialize(&token.0).map_err(|error| error.to_string());
        let entry = entry.and_then(Self::checked).map_err(|problem| Error::Sink {
            output: dir.display().to_string(),
            problem: format!("the checkpoint's list of files can't be used: {problem}"),
        })?;
        Ok(Some(entry).filter(|entry| !entry.files.is_empty()))
    }

    pub(super) fn to_token(&self) -> Token {
        Token(serde_json::to_value(self).expect("an entry has string keys only"))
    }

    fn checked(self) -> Result<Self, String> {
        if self.format > FORMAT {
            return Err(format!(
                "its format is {}, this version reads up to {FORMAT}",
                self.format
            ));
        }
        match self.files.iter().find(|file| !naming::is_inside(&file.name)) {
            Some(file) => Err(format!("`{}` leads outside the folder", file.name)),
            None => Ok(self),
        }
    }
}
