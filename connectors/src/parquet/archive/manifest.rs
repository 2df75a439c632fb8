//! The manifest: a line of JSON for each file of a complete archive, sorted by name, and a last line that sums them up: a line
//! that is lost would be noticed by nobody else, once its file is lost too.

use std::collections::BTreeMap;
use std::path::Path;

use engine::{OffsetRange, Partition, Result};
use serde::{Deserialize, Serialize};

use super::super::naming;
use super::site::Site;
use super::{MANIFEST, private_path, unusable};

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

/// The last line of a manifest.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sum {
    /// The lines before it.
    files: usize,
    /// The CRC-32C of their bytes.
    lines_crc32c: u32,
}

/// A manifest as it was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The files, by name.
    pub(super) files: BTreeMap<String, FileEntry>,
    /// Why they may not be those that were listed once.
    pub(super) damage: Option<String>,
}

impl Sum {
    /// Returns the sum of `lines`, each with its end.
    fn of(lines: &str) -> Self {
        Self {
            files: lines.lines().count(),
            lines_crc32c: crc32c::crc32c(lines.as_bytes()),
        }
    }
}

/// Returns the manifest of the archive at `site`; an empty one when there is none.
///
/// # Errors
/// When it can't be read, or is none.
pub(super) fn read(site: &dyn Site) -> Result<Manifest> {
    let Some(bytes) = site.read(MANIFEST)? else {
        return Ok(Manifest::default());
    };
    let path = &private_path(site, MANIFEST);
    let text = String::from_utf8(bytes).map_err(|error| unusable(path, error))?;
    let (lines, damage) = parted(&text);
    let mut files = BTreeMap::new();
    for (line, number) in lines.lines().zip(1..) {
        let entry: FileEntry =
            serde_json::from_str(line).map_err(|error| unusable(path, format!("line {number}: {error}")))?;
        check_name(path, &entry.name)?;
        files.insert(entry.name.clone(), entry);
    }
    Ok(Manifest { files, damage })
}

/// Returns the lines of files, and what is wrong with them by the last line.
fn parted(text: &str) -> (&str, Option<String>) {
    let start = text.trim_end_matches('\n').rfind('\n').map_or(0, |end| end + 1);
    let (lines, last) = text.split_at(start);
    let Ok(sum) = serde_json::from_str::<Sum>(last) else {
        return (
            text,
            Some("its last line, which sums up the others, is missing".to_owned()),
        );
    };
    let found = Sum::of(lines);
    let damage = (found != sum).then(|| {
        format!(
            "its lines were changed: there are {} files with the CRC-32C {:08x}, there were {} with {:08x}",
            found.files, found.lines_crc32c, sum.files, sum.lines_crc32c
        )
    });
    (lines, damage)
}

/// Returns the text of the manifest that lists `files`.
pub(super) fn to_text(files: &BTreeMap<String, FileEntry>) -> String {
    let line = |entry| serde_json::to_string(entry).expect("an entry has plain fields") + "\n";
    let lines: String = files.values().map(line).collect();
    let sum = serde_json::to_string(&Sum::of(&lines)).expect("a sum has plain fields");
    lines + &sum + "\n"
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
