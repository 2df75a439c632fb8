//! The files under way of an epoch: one a partition, bounded in number and in memory.

use std::collections::HashMap;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use engine::{Error, Origin, Partition, Result};

use super::staged::StagedFile;

/// Files under way at once. Each has a file handle, of which a process has 1024 by default, and encoders for every
/// column. A partition that comes back after its file was closed for another one begins a new file.
const OPEN_FILES_MAX: usize = 128;

/// When a file ends, and what all together may keep in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) file_rows: Option<u64>,
    pub(super) file_bytes: Option<u64>,
    pub(super) file_age: Option<Duration>,
    pub(super) memory: usize,
}

/// The files under way. Rows without a partition share the one of `None`.
#[derive(Debug)]
pub(super) struct OpenFiles {
    limits: Limits,
    files: HashMap<Option<Partition>, OpenFile>,
    /// Where each partition's last closed file of this epoch ends: the next one must not begin before.
    closed_to: HashMap<Partition, i64>,
    begun: u32,
    writes: u64,
}

#[derive(Debug)]
struct OpenFile {
    file: StagedFile,
    last_write: u64,
}

impl OpenFiles {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            files: HashMap::new(),
            closed_to: HashMap::new(),
            begun: 0,
            writes: 0,
        }
    }

    /// Returns whether the partition's file is under way.
    pub(super) fn contains(&self, partition: Option<&Partition>) -> bool {
        self.files.contains_key(&partition.cloned())
    }

    /// Returns the number of the file that is begun next; they count from 0 in each epoch.
    pub(super) fn next_sequence(&self) -> u32 {
        self.begun
    }

    /// Takes out a file that must be closed before `rows` rows of `origin` are written: the partition's own if it is
    /// full, or the one that was written to least recently if there are too many. `None` when there is room.
    pub(super) fn take_full(
        &mut self,
        partition: Option<&Partition>,
        rows: usize,
        origin: Option<&Origin>,
    ) -> Option<StagedFile> {
        let key = partition.cloned();
        let ending = match self.files.get(&key) {
            Some(open) => (self.is_full(&open.file, rows) && is_border(&open.file, origin)).then_some(key),
            None if self.files.len() >= OPEN_FILES_MAX => {
                let oldest = self.files.iter().min_by_key(|(_, open)| open.last_write);
                oldest.map(|(key, _)| key.clone())
            }
            None => None,
        };
        let closed = self.files.remove(&ending?)?.file;
        if let Some(origin) = closed.origin() {
            self.closed_to.insert(origin.partition.clone(), origin.offsets.to);
        }
        Some(closed)
    }

    /// Begins the partition's file.
    pub(super) fn insert(
        &mut self,
        partition: Option<&Partition>,
        origin: Option<&Origin>,
        file: StagedFile,
    ) -> Result<()> {
        if let Some(Origin { partition, offsets }) = origin
            && let Some(&ended) = self.closed_to.get(partition)
            && offsets.from < ended
        {
            return Err(Error::Sink {
                output: partition.to_string(),
                problem: format!("rows of offsets {offsets} came after a file that ends at {ended} was closed"),
            });
        }
        self.begun += 1;
        self.files.insert(partition.cloned(), OpenFile { file, last_write: 0 });
        Ok(())
    }

    /// Writes rows to the partition's file, which is under way, and keeps the memory of all within its bound.
    pub(super) fn write(
        &mut self,
        partition: Option<&Partition>,
        records: &RecordBatch,
        origin: Option<&Origin>,
    ) -> Result<()> {
        self.writes += 1;
        let open = self.files.get_mut(&partition.cloned()).expect("the file was begun");
        open.last_write = self.writes;
        open.file.write(records, origin)?;
        if self.memory() > self.limits.memory {
            let largest = self.files.values_mut().max_by_key(|open| open.file.memory());
            largest.expect("one was just written to").file.flush()?;
        }
        Ok(())
    }

    /// Returns the bytes that the row groups under way keep in memory.
    pub(super) fn memory(&self) -> usize {
        self.files.values().map(|open| open.file.memory()).sum()
    }

    /// Takes out all files; the next one begun is the first of another epoch.
    pub(super) fn take_all(&mut self) -> Vec<StagedFile> {
        self.closed_to.clear();
        self.begun = 0;
        self.files.drain().map(|(_, open)| open.file).collect()
    }

    fn is_full(&self, file: &StagedFile, rows: usize) -> bool {
        let limits = &self.limits;
        limits.file_rows.is_some_and(|max| file.rows() + rows as u64 > max)
            || limits.file_bytes.is_some_and(|max| file.bytes() >= max)
            || limits.file_age.is_some_and(|max| file.age() >= max)
    }
}

/// Returns whether the rows of `origin` lie after the file's, so that the two files' names do not overlap. An operator
/// may have cut the rows of one range of offsets into several batches.
fn is_border(file: &StagedFile, origin: Option<&Origin>) -> bool {
    match (file.origin(), origin) {
        (Some(written), Some(origin)) => origin.offsets.from >= written.offsets.to,
        _ => true,
    }
}
