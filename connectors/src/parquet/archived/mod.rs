//! The files of an archive of topics, as they are found in a folder: what each one holds by its footer, and the records of a
//! partition in the order of their offsets.

mod file_rows;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use engine::{Error, OffsetRange, Partition, Result};

pub use self::file_rows::FileRows;
pub use self::rows::PartitionRows;
use super::stored::StoredFile;

/// The keys of a footer that say where the rows come from.
const FOOTER_KEYS: &str = "millstream.topic, millstream.partition, millstream.offset.from and millstream.offset.to";

/// Folders deep below the archive's own that are looked into: more than any layout has.
const DEPTH_MAX: usize = 16;

/// One Parquet file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedFile {
    /// Where it is.
    pub path: PathBuf,
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
    /// The length and the CRC-32C that it is to have, if a manifest says so: it is checked before its first record is given out.
    pub listed: Option<(u64, u32)>,
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

/// Returns the files of the archive `dir`, by partition and offset.
///
/// # Errors
/// When there is none, or one can't be read or does not say which partition and offsets it holds.
pub fn files(dir: &Path) -> Result<Vec<ArchivedFile>> {
    let mut files = Vec::new();
    for path in paths(dir)? {
        files.push(ArchivedFile::open(&path)?);
    }
    if files.is_empty() {
        return Err(Error::Invalid(format!(
            "{} holds no Parquet files: expected an archive that millstream replay made",
            dir.display()
        )));
    }
    files.sort_by(|a, b| a.order().cmp(&b.order()));
    Ok(files)
}

impl ArchivedFile {
    /// Reads the footer of the file at `path`.
    ///
    /// # Errors
    /// When it can't be read, or does not say which partition and offsets it holds.
    pub fn open(path: &Path) -> Result<Self> {
        let stored = stored(path)?;
        let found = Self::from_footer(path, &stored);
        found.ok_or_else(|| Error::Source {
            input: path.display().to_string(),
            problem: format!("its footer has not all of {FOOTER_KEYS}: expected a file that millstream replay made"),
        })
    }

    /// Returns the first of the file's offsets whose record has the time `micros` or a later one.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn offset_at(&self, micros: i64) -> Result<Option<i64>> {
        if self.times.is_some_and(|(_, greatest)| greatest < micros) {
            return Ok(None);
        }
        for batch in stored(&self.path)?.rows_from(&["offset", "timestamp"], Some(("timestamp", micros)))? {
            let batch = batch?;
            let (times, offsets) = (batch.column_by_name("timestamp"), batch.column_by_name("offset"));
            let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
            let offsets = offsets.and_then(|offsets| offsets.as_primitive_opt::<Int64Type>());
            let (Some(times), Some(offsets)) = (times, offsets) else {
                return Err(Error::Source {
                    input: self.path.display().to_string(),
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

    fn from_footer(path: &Path, stored: &StoredFile) -> Option<Self> {
        let topic = stored.property("millstream.topic")?;
        let number = |key| stored.property(key)?.parse::<i64>().ok();
        Some(Self {
            path: path.to_owned(),
            partition: Partition::new(topic, stored.property("millstream.partition")?.parse::<i32>().ok()?),
            offsets: OffsetRange {
                from: number("millstream.offset.from")?,
                to: number("millstream.offset.to")?,
            },
            rows: u64::try_from(stored.rows()).ok()?,
            topic_id: stored.property("millstream.topic.id").map(str::to_owned),
            times: stored.extremes("timestamp"),
            listed: None,
        })
    }

    fn order(&self) -> (&Partition, i64, i64, &Path) {
        (&self.partition, self.offsets.from, self.offsets.to, &self.path)
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
