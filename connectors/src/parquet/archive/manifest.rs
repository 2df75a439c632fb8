//! The manifest: a line of JSON for each file of a complete archive, sorted by name.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use engine::{Error, OffsetRange, Partition, Result};
use serde::{Deserialize, Serialize};

use super::super::naming;
use super::unusable;

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The file's path, relative to the archive, with `/` between its parts.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// The CRC-32C of its bytes.
    pub crc32c: u32,
    /// The topic that its rows came from.
    pub topic: String,
    /// The number of their partition.
    pub partition: i32,
    /// The first offset that the file covers.
    pub from: i64,
    /// The first offset after those that it covers.
    pub to: i64,
    /// The least time of its records, in milliseconds since 1970 as Kafka has it; `None` when no record has a time.
    pub least_timestamp: Option<i64>,
    /// The greatest time of its records.
    pub greatest_timestamp: Option<i64>,
}

impl FileEntry {
    /// Returns the partition that the rows came from.
    pub fn partition(&self) -> Partition {
        Partition::new(self.topic.as_str(), self.partition)
    }

    /// Returns the offsets that the file covers.
    pub fn offsets(&self) -> OffsetRange {
        OffsetRange {
            from: self.from,
            to: self.to,
        }
    }
}

/// Returns the files that the manifest at `path` lists, by name; none when there is no manifest.
///
/// # Errors
/// When it can't be read, or is none.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, FileEntry>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mut files = BTreeMap::new();
    for (line, number) in text.lines().zip(1..) {
        let entry: FileEntry =
            serde_json::from_str(line).map_err(|error| unusable(path, format!("line {number}: {error}")))?;
        check_name(path, &entry.name)?;
        files.insert(entry.name.clone(), entry);
    }
    Ok(files)
}

/// Returns the text of the manifest that lists `files`.
pub(super) fn to_text(files: &BTreeMap<String, FileEntry>) -> String {
    let line = |entry| serde_json::to_string(entry).expect("an entry has plain fields") + "\n";
    files.values().map(line).collect()
}

/// Checks that a name in the file `path` stays inside the archive.
///
/// # Errors
/// When it does not.
pub(super) fn check_name(path: &Path, name: &str) -> Result<()> {
    match naming::is_inside(name) {
        true => Ok(()),
        false => Err(unusable(path, format!("`{name}` leads outside the folder"))),
    }
}
