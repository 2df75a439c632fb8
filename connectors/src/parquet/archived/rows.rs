//! The records of one partition in the order of their offsets, whatever files they are in.
//!
//! Files mostly follow each other. Where folders are named after something else than offsets, files of one partition cover
//! the same ranges, and their rows are merged: as long a run of one file as no other file has a record in between.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::path::{Path, PathBuf};

use engine::{Error, OffsetRange, Partition, Result};

use super::ArchivedFile;
use crate::envelope::{COLUMNS, Envelope};
use crate::parquet::archive::{LocalFile, checksum};
use crate::parquet::stored::Rows;

/// The records of a partition, a run of rows at a time.
#[derive(Debug)]
pub struct PartitionRows {
    partition: Partition,
    range: OffsetRange,
    /// Files that no record was asked of yet, by their first offset.
    waiting: VecDeque<ArchivedFile>,
    /// Files under way, the one with the next record first.
    open: BinaryHeap<Reverse<OpenFile>>,
    /// The offset of the last record that was given out.
    last: Option<i64>,
}

/// A file that is being read. One whose rows were all read is closed: folders by columns may be many, and their files are
/// small.
#[derive(Debug)]
struct OpenFile {
    /// Where it is, for messages.
    path: PathBuf,
    /// Where its rows are read from.
    _local: LocalFile,
    rows: Option<Rows>,
    /// Records that were read and not given out; not empty between two calls.
    head: Envelope,
}

impl PartitionRows {
    /// Returns the records of `partition` whose offsets are in `range`, out of `files`, which are in order of their offsets;
    /// those of other partitions are passed over.
    pub fn new(partition: &Partition, files: &[ArchivedFile], range: OffsetRange) -> Self {
        let is_wanted = |file: &&ArchivedFile| {
            file.partition == *partition && file.offsets.to > range.from && file.offsets.from < range.to
        };
        Self {
            partition: partition.clone(),
            range,
            waiting: files.iter().filter(is_wanted).cloned().collect(),
            open: BinaryHeap::new(),
            last: None,
        }
    }

    /// Returns the next records, `None` at the end.
    ///
    /// # Errors
    /// When a file can't be read, its rows are not in order, or an offset is there twice.
    pub fn next_run(&mut self) -> Result<Option<Envelope>> {
        self.open_files()?;
        let Some(Reverse(mut open)) = self.open.pop() else {
            return Ok(None);
        };
        if self.last.is_some_and(|last| last >= open.first()) {
            let (partition, offset) = (&self.partition, open.first());
            let problem = format!("the record of {partition} offset {offset} is there twice, or out of order");
            return Err(unfit(&open.path, problem));
        }
        let other = self.open.peek().map(|Reverse(other)| other.first());
        let waiting = self.waiting.front().map(|file| file.offsets.from);
        // An offset that two files hold is found at the second one.
        let offsets = open.head.offsets();
        let length = match other.into_iter().chain(waiting).min() {
            Some(limit) => offsets.partition_point(|&offset| offset < limit).max(1),
            None => offsets.len(),
        };
        let run = open.head.slice(0, length);
        self.last = run.offsets().last().copied();
        if open.pass(length, self.range)? {
            self.open.push(Reverse(open));
        }
        Ok(Some(run))
    }

    /// Opens the files that may hold the next record.
    fn open_files(&mut self) -> Result<()> {
        while let Some(file) = self.waiting.front() {
            let least = self.open.peek().map(|Reverse(open)| open.first());
            if least.is_some_and(|least| least < file.offsets.from) {
                return Ok(());
            }
            self.open.extend(OpenFile::new(file, self.range)?.map(Reverse));
            self.waiting.pop_front();
        }
        Ok(())
    }
}

impl OpenFile {
    /// Opens a file; `None` when it holds no record in `range`.
    fn new(file: &ArchivedFile, range: OffsetRange) -> Result<Option<Self>> {
        let (path, local) = (file.path(), file.fetch()?);
        if checksum(local.path())? != file.listed {
            let problem = "it was changed: length and CRC-32C are not those of the manifest; `millstream verify` names all that is";
            return Err(unfit(&path, format!("{problem} damaged")));
        }
        let mut rows = super::stored(local.path())?.rows_from(&COLUMNS, Some(("offset", range.from)))?;
        let head = next_head(&path, &mut rows, range)?;
        Ok(head.map(|head| {
            let is_left = (head.len() as u64) < file.rows;
            let rows = is_left.then_some(rows);
            Self {
                path,
                _local: local,
                rows,
                head,
            }
        }))
    }

    /// Returns the offset of the first record that was not given out.
    fn first(&self) -> i64 {
        self.head.offsets()[0]
    }

    /// Passes over `length` records, and reads on if need be; returns whether there are more in `range`.
    fn pass(&mut self, length: usize, range: OffsetRange) -> Result<bool> {
        self.head = self.head.slice(length, self.head.len() - length);
        if self.head.is_empty()
            && let Some(rows) = &mut self.rows
            && let Some(head) = next_head(&self.path, rows, range)?
        {
            self.head = head;
        }
        Ok(!self.head.is_empty())
    }
}

impl Ord for OpenFile {
    /// By the next record; files whose next records have the same offset by their names.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.first(), &self.path).cmp(&(other.first(), &other.path))
    }
}

impl PartialOrd for OpenFile {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for OpenFile {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for OpenFile {}

/// Returns the next records of a file whose offsets are in `range`.
fn next_head(path: &Path, rows: &mut Rows, range: OffsetRange) -> Result<Option<Envelope>> {
    for batch in rows {
        let head = Envelope::new(&batch?).map_err(|error| unfit(path, error.to_string()))?;
        if !head.offsets().is_sorted_by(|a, b| a < b) {
            return Err(unfit(path, "its rows are not in the order of their offsets".to_owned()));
        }
        let place = |limit| head.offsets().partition_point(|&offset| offset < limit);
        let (from, to) = (place(range.from), place(range.to));
        if from < to {
            return Ok(Some(head.slice(from, to - from)));
        }
    }
    Ok(None)
}

fn unfit(path: &Path, problem: String) -> Error {
    Error::Source {
        input: path.display().to_string(),
        problem,
    }
}
