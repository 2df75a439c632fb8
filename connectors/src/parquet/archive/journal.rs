//! The journal: one small file for each commit that is not in the manifest yet.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use engine::{Error, OffsetRange, Partition, Result};
use serde::{Deserialize, Serialize};

use super::manifest::{FileEntry, check_name};
use super::{FORMAT, check_format, unusable};

/// What happens to the folder at once: files that appear, and files that vanish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The version of this layout.
    pub format: u32,
    /// The offsets that are archived by it, whether they hold a record or not; a commit of a compaction has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covers: Option<Covered>,
    /// The files that appear.
    pub appear: Vec<Appearing>,
    /// The names of the files that vanish.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vanish: Vec<String>,
}

/// Offsets of one partition that need not be read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    /// The topic.
    pub topic: String,
    /// The number of the partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The first offset after them.
    pub to: i64,
}

/// A file that appears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appearing {
    /// Its name in the staging folder.
    pub staged: String,
    /// What it will be.
    #[serde(flatten)]
    pub file: FileEntry,
}

impl Covered {
    /// Returns the offsets `offsets` of `partition`.
    pub fn new(partition: &Partition, offsets: OffsetRange) -> Self {
        Self {
            topic: partition.stream.to_string(),
            partition: partition.index,
            from: offsets.from,
            to: offsets.to,
        }
    }
}

impl Commit {
    /// Returns the commit of files that appear, by which `covers` is archived.
    pub fn new(covers: Option<Covered>, appear: Vec<Appearing>) -> Self {
        Self {
            format: FORMAT,
            covers,
            appear,
            vanish: Vec::new(),
        }
    }

    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a commit has string keys only") + "\n"
    }

    fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        let commit: Self = serde_json::from_slice(&bytes).map_err(|error| unusable(path, error))?;
        commit.check(path)?;
        Ok(commit)
    }

    /// Checks what was read from `path`.
    ///
    /// # Errors
    /// When it is of a later version, or a name leads outside the archive.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        check_format(path, self.format)?;
        for appearing in &self.appear {
            check_name(path, &appearing.staged)?;
            check_name(path, &appearing.file.name)?;
        }
        self.vanish.iter().try_for_each(|name| check_name(path, name))
    }
}

/// Returns the name of the commit `number`.
pub(super) fn name(number: u64) -> String {
    format!("commit-{number:020}.json")
}

/// Returns the commits in the folder `journal` with their numbers, oldest first; none when the folder is not there.
///
/// # Errors
/// When one can't be read.
pub(super) fn read(journal: &Path) -> Result<Vec<(u64, Commit)>> {
    let items = match fs::read_dir(journal) {
        Ok(items) => items,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", journal)(error)),
    };
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for item in items {
        let path = item.map_err(Error::io("list", journal))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("commit-").and_then(|rest| rest.strip_suffix(".json"));
        match number.and_then(|number| number.parse().ok()) {
            Some(number) => found.push((number, path)),
            None => return Err(unusable(&path, "it is no commit of the journal")),
        }
    }
    found.sort_unstable();
    let read = |(number, path): (u64, PathBuf)| Commit::read(&path).map(|commit| (number, commit));
    found.into_iter().map(read).collect()
}

/// Returns up to where all from `from` on is covered.
pub fn reach(from: i64, covered: &[OffsetRange]) -> i64 {
    let mut covered = covered.to_vec();
    covered.sort_by_key(|range| range.from);
    let next = |at: i64, range: &OffsetRange| if range.from <= at { at.max(range.to) } else { at };
    covered.iter().fold(from, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_covered_without_a_hole_reaches_to_the_hole() {
        let covered = |ranges: &[(i64, i64)]| -> Vec<OffsetRange> {
            ranges.iter().map(|&(from, to)| OffsetRange { from, to }).collect()
        };
        assert_eq!(reach(5, &[]), 5);
        assert_eq!(reach(5, &covered(&[(10, 20), (5, 10)])), 20);
        assert_eq!(reach(5, &covered(&[(0, 3), (5, 10), (11, 20)])), 10);
    }
}
