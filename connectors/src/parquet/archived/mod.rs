//! The files of an archive of topics: what each one holds by the manifest, and the records of a
//! partition in the order of their offsets.

mod file_rows;
mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use engine::{Error, OffsetRange, Partition, Result};

pub use self::file_rows::FileRows;
pub use self::rows::PartitionRows;
use super::archive::{FileEntry, LocalFile, Site};
use super::stored::StoredFile;

const MICROS_PER_MILLI: i64 = 1000;

/// Folders deep below the archive's own that are looked into: more than any layout has.
const DEPTH_MAX: usize = 16;

/// One Parquet file of an archive.
#[derive(Clone, Debug)]
pub struct ArchivedFile {
    /// Where the archive is.
    site: Arc<dyn Site>,
    /// The file's name, relative to the archive.
    pub name: String,
    /// The partition that its rows come from.
    pub partition: Partition,
    /// The offsets that it covers. Offsets without a record are covered too.
    pub offsets: OffsetRange,
    /// Its rows.
    pub rows: u64,
    /// The id that its topic had, if the brokers had ids.
    pub topic_id: Option<String>,
    /// The least and the greatest time of its rows in microseconds since 1970, as far as the footer tells.
    pub times: Option<(i64, i64)>,
    /// The length and the CRC-32C that it is to have: checked before its first record is given out.
    pub listed: (u64, u32),
}

/// Returns the Parquet files below `dir` in order of their names; names that begin with `_` or `.` are passed over, as
/// readers of data lakes do.
///
/// # Errors
/// When a folder can't be listed, or folders are nested too deep.
pub fn paths(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(dir, 0, &mut found)?;
    found.sort();
    Ok(found)
}

/// Returns the files of the archive at `site` by what its manifest says, by partition and offset. `topic_ids` are the ids of
/// those topics that have one.
pub fn listed<'f>(
    site: &Arc<dyn Site>,
    entries: impl IntoIterator<Item = &'f FileEntry>,
    topic_ids: &BTreeMap<String, Option<String>>,
) -> Vec<ArchivedFile> {
    let file = |entry: &FileEntry| ArchivedFile::listed(site, entry, topic_ids.get(&entry.topic).cloned().flatten());
    let mut files: Vec<_> = entries.into_iter().map(file).collect();
    files.sort_by(|a, b| a.order().cmp(&b.order()));
    files
}

impl ArchivedFile {
    /// Returns the file that a manifest lists.
    fn listed(site: &Arc<dyn Site>, entry: &FileEntry, topic_id: Option<String>) -> Self {
        let times = entry.least_timestamp.zip(entry.greatest_timestamp);
        let micros = |millis: i64| millis.saturating_mul(MICROS_PER_MILLI);
        Self {
            site: Arc::clone(site),
            name: entry.name.clone(),
            partition: entry.partition(),
            offsets: entry.offsets(),
            rows: entry.rows,
            topic_id,
            times: times.map(|(least, greatest)| (micros(least), micros(greatest))),
            listed: (entry.bytes, entry.crc32c),
        }
    }

    /// Returns where the file is, for messages.
    pub fn path(&self) -> PathBuf {
        self.site.root().join(&self.name)
    }

    /// Returns the file as one of this machine.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) fn fetch(&self) -> Result<LocalFile> {
        self.site.fetch(&self.name)
    }

    /// Returns the first of the file's offsets whose record has the time `micros` or a later one.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn offset_at(&self, micros: i64) -> Result<Option<i64>> {
        if self.times.is_some_and(|(_, greatest)| greatest < micros) {
            return Ok(None);
        }
        let local = self.fetch()?;
        for batch in stored(local.path())?.rows_from(&["offset", "timestamp"], Some(("timestamp", micros)))? {
            let batch = batch?;
            let (times, offsets) = (batch.column_by_name("timestamp"), batch.column_by_name("offset"));
            let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
            let offsets = offsets.and_then(|offsets| offsets.as_primitive_opt::<Int64Type>());
            let (Some(times), Some(offsets)) = (times, offsets) else {
                return Err(Error::Source {
                    input: self.path().display().to_string(),
                    problem: "expected the columns offset (Int64) and timestamp (microseconds in UTC)".to_owned(),
                });
            };
            let found = times.iter().position(|time| time.is_some_and(|time| time >= micros));
            if let Some(row) = found {
                return Ok(Some(offsets.value(row)));
            }
        }
        Ok(None)
    }

    fn order(&self) -> (&Partition, i64, i64, &str) {
        (&self.partition, self.offsets.from, self.offsets.to, &self.name)
    }
}

fn stored(path: &Path) -> Result<StoredFile> {
    let name = path.to_str().ok_or_else(|| Error::Source {
        input: path.display().to_string(),
        problem: "the path is not UTF-8".to_owned(),
    })?;
    StoredFile::open(name)
}

fn collect(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(Error::Limit(format!(
            "{} is nested more than {DEPTH_MAX} folders deep",
            dir.display()
        )));
    }
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let entry = entry.map_err(Error::io("list", dir))?;
        let (path, name) = (entry.path(), entry.file_name());
        if name.to_string_lossy().starts_with(['_', '.']) {
            continue;
        }
        if path.is_dir() {
            collect(&path, depth + 1, found)?;
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
    Ok(())
}
