//! Rows of one partition over folders by columns: collected up to a budget, sorted by folder, and written folder by folder.
//!
//! However many folders there are, one file is under way at a time. Where a collection ends is decided by its rows alone.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use engine::{Error, OffsetRange, Result};

use super::super::hive::Folders;
use super::chunks::{bytes_before, first_where};
use super::file::{ArchiveFile, Making};
use super::journal::Appearing;
use super::limits::Times;
use super::plan::FilePlan;

/// Bytes of the rows of a collection, after which it ends. Sorted, they are in memory three times for a moment.
const COLLECTION_BYTES: usize = 32 << 20;

/// What a row counts beside its values of variable length: offset, time, lengths and their like.
const ROW_BYTES: usize = 64;

/// Different folders of one collection, each of which gets a file.
const FOLDERS_MAX: usize = 50_000;

/// Rows that wait to be sorted by folder.
#[derive(Debug, Default)]
pub(super) struct Collection {
    slices: Vec<RecordBatch>,
    rows: u64,
    bytes: usize,
    times: Times,
}

impl Collection {
    /// Returns how many rows off the front may go to this collection.
    pub(super) fn room(&self, plan: &FilePlan, records: &RecordBatch) -> usize {
        let times = records
            .column(plan.timestamp)
            .as_primitive::<TimestampMicrosecondType>();
        plan.limits.room(self.rows, self.times, times)
    }

    /// Takes rows off the front, up to the end of the collection, and returns how many.
    pub(super) fn take(&mut self, plan: &FilePlan, records: &RecordBatch) -> usize {
        let room = self.room(plan, records);
        let start = bytes_before(records.columns(), 0);
        let bytes_of = |rows: usize| bytes_before(records.columns(), rows) - start + rows * ROW_BYTES;
        let left = COLLECTION_BYTES.saturating_sub(self.bytes);
        // The row that fills the collection is its last one.
        let taken = match bytes_of(room) < left {
            true => room,
            false => first_where(1, room, |rows| bytes_of(rows) >= left),
        };
        self.rows += taken as u64;
        self.bytes += bytes_of(taken);
        let times = records
            .column(plan.timestamp)
            .as_primitive::<TimestampMicrosecondType>();
        self.times.extend(times, taken);
        self.slices.push(records.slice(0, taken));
        taken
    }

    /// Returns whether the collection ends after the rows that it has.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= COLLECTION_BYTES
    }

    /// Writes a file for each folder, in the order of their names.
    ///
    /// # Errors
    /// When there are too many folders, or a file can't be written.
    pub(super) fn finish(self, making: &Making<'_>, offsets: OffsetRange) -> Result<Vec<Appearing>> {
        let Some(first) = self.slices.first() else {
            return Ok(Vec::new());
        };
        let records = concat_batches(&first.schema(), &self.slices).map_err(Error::arrow("join rows"))?;
        drop(self.slices);
        let what = "the rows that are written together";
        let mut folders = Folders::new(&making.plan.partition_by, &records.schema())?.limited(what, FOLDERS_MAX);
        let mut split = folders.split(&records)?;
        drop(records);
        split.sort_by(|(one, _), (other, _)| one.cmp(other));
        let write = |(folder, records): (Arc<str>, RecordBatch)| {
            let mut file = ArchiveFile::begin(making)?;
            let mut rest = records;
            while rest.num_rows() > 0 {
                let taken = file.take(&rest, making.plan.timestamp_in_file)?;
                rest = rest.slice(taken, rest.num_rows() - taken);
            }
            file.finish(making, Some(&folder), offsets)
        };
        split.into_iter().map(write).collect()
    }
}
