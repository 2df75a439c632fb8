//! The files under way of an epoch: one a partition or folder, bounded in number and in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use engine::{Error, Origin, Partition, Result};

use super::staged::StagedFile;

/// Files under way at once with a file handle, of which a process has 1024 by default. A partition that comes back after
/// its file was closed for another one begins a new file. Folders have a bound of their own, and rows go to many of them in
/// turn: beyond this number their files stay under way and let their handles go.
const OPEN_FILES_MAX: usize = 128;

/// What the rows of a file have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shared {
    /// Their epoch only.
    Epoch,
    /// Their partition.
    Partition(Partition),
    /// Their folder.
    Folder(Arc<str>),
}

/// When a file ends, and what all together may keep in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) file_rows: Option<u64>,
    pub(super) file_bytes: Option<u64>,
    pub(super) file_age: Option<Duration>,
    pub(super) memory: usize,
}

/// The files under way.
#[derive(Debug)]
pub(super) struct OpenFiles {
    limits: Limits,
    files: HashMap<Shared, OpenFile>,
    /// Where each partition's last closed file of this epoch ends: the next one must not begin before.
    closed_to: HashMap<Partition, i64>,
    begun: u32,
    writes: u64,
    /// The sum over all files.
    memory: usize,
}

#[derive(Debug)]
struct OpenFile {
    file: StagedFile,
    last_write: u64,
    /// What the file is counted with.
    memory: usize,
}

impl OpenFiles {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            files: HashMap::new(),
            closed_to: HashMap::new(),
            begun: 0,
            writes: 0,
            memory: 0,
        }
    }

    /// Returns whether the file of `key` is under way.
    pub(super) fn contains(&self, key: &Shared) -> bool {
        self.files.contains_key(key)
    }

    /// Returns the number of the file that is begun next; they count from 0 in each epoch.
    pub(super) fn next_sequence(&self) -> u32 {
        self.begun
    }

    /// Takes out a file that must be closed before `rows` rows of `origin` are written: that of `key` if it is full, or the
    /// one that was written to least recently if there are too many. `None` when there is room.
    pub(super) fn take_full(
        &mut self,
        key: &Shared,
        rows: usize,
        origin: Option<&Origin>,
    ) -> Option<(Shared, StagedFile)> {
        let ending = match self.files.get(key) {
            Some(open) => (self.is_full(&open.file, rows) && is_border(&open.file, origin)).then(|| key.clone()),
            None if self.files.len() >= OPEN_FILES_MAX && !matches!(key, Shared::Folder(_)) => {
                let oldest = self.files.iter().min_by_key(|(_, open)| open.last_write);
                oldest.map(|(key, _)| key.clone())
            }
            None => None,
        };
        let (key, open) = self.files.remove_entry(&ending?)?;
        self.memory -= open.memory;
        if let Some(origin) = open.file.origin() {
            self.closed_to.insert(origin.partition.clone(), origin.offsets.to);
        }
        Some((key, open.file))
    }

    /// Begins the file of `key`.
    pub(super) fn insert(&mut self, key: Shared, origin: Option<&Origin>, file: StagedFile) -> Result<()> {
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
        let (last_write, memory) = (0, 0);
        self.files.insert(
            key,
            OpenFile {
                file,
                last_write,
                memory,
            },
        );
        Ok(())
    }

    /// Writes rows to the file of `key`, which is under way, and keeps the memory of all within its bound.
    pub(super) fn write(&mut self, key: &Shared, records: &RecordBatch, origin: Option<&Origin>) -> Result<()> {
        self.writes += 1;
        let may_rest = self.files.len() > OPEN_FILES_MAX;
        let open = self.files.get_mut(key).expect("the file was begun");
        open.last_write = self.writes;
        open.file.write(records, origin)?;
        self.memory = open.recount(self.memory, may_rest);
        if self.memory > self.limits.memory {
            let largest = self.files.values_mut().max_by_key(|open| open.memory);
            let largest = largest.expect("one was just written to");
            largest.file.flush()?;
            self.memory = largest.recount(self.memory, may_rest);
        }
        Ok(())
    }

    /// Returns the bytes that the row groups under way keep in memory.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// Takes out all files; the next one begun is the first of another epoch.
    pub(super) fn take_all(&mut self) -> Vec<(Shared, StagedFile)> {
        self.closed_to.clear();
        self.begun = 0;
        self.memory = 0;
        self.files.drain().map(|(key, open)| (key, open.file)).collect()
    }

    fn is_full(&self, file: &StagedFile, rows: usize) -> bool {
        let limits = &self.limits;
        limits.file_rows.is_some_and(|max| file.rows() + rows as u64 > max)
            || limits.file_bytes.is_some_and(|max| file.bytes() >= max)
            || limits.file_age.is_some_and(|max| file.age() >= max)
    }
}

impl OpenFile {
    /// Returns what all files keep in memory, which was `total` before this one was written to.
    fn recount(&mut self, total: usize, may_rest: bool) -> usize {
        if may_rest {
            self.file.rest();
        }
        let before = std::mem::replace(&mut self.memory, self.file.memory());
        total - before + self.memory
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
