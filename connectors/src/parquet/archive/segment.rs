//! One range of offsets of one partition, written as files: one after the other, each ended by its own content; or, where
//! columns name folders, collection after collection.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use engine::{OffsetRange, Partition, Result, fault};

use super::file::{ArchiveFile, Making};
use super::journal::{Appearing, Commit, Covered};
use super::manifest::FileEntry;
use super::plan::FilePlan;
use super::spread::Collection;
use super::writer::ArchiveWriter;

/// Writes the rows of one range of offsets, and commits files when they are whole.
#[derive(Debug)]
pub struct SegmentWriter<'a> {
    making: Making<'a>,
    /// What is not committed.
    range: OffsetRange,
    under_way: Option<UnderWay>,
    /// The offset of the last row of what is under way.
    last_offset: i64,
}

/// Rows that are not committed.
#[derive(Debug)]
enum UnderWay {
    File(Box<ArchiveFile>),
    Collection(Collection),
}

impl<'a> SegmentWriter<'a> {
    /// Returns a writer of the offsets `range` of `partition`.
    pub fn new(archive: &'a ArchiveWriter, plan: &'a FilePlan, partition: Partition, range: OffsetRange) -> Self {
        Self {
            making: Making {
                archive,
                plan,
                partition,
            },
            range,
            under_way: None,
            last_offset: range.from - 1,
        }
    }

    /// Writes rows, which follow those before in their offsets, and returns the files that were committed.
    ///
    /// # Errors
    /// When they can't be written, or another process took the archive over.
    pub fn write(&mut self, records: &RecordBatch) -> Result<Vec<FileEntry>> {
        let mut committed = Vec::new();
        let offsets = records.column(self.making.plan.offset).as_primitive::<Int64Type>();
        let mut done = 0;
        while done < records.num_rows() {
            let rest = records.slice(done, records.num_rows() - done);
            if self.is_full_before(&rest) {
                committed.extend(self.commit(self.last_offset + 1)?);
            }
            done += self.take(&rest).map_err(|error| self.making.archive.explain(error))?;
            self.last_offset = offsets.value(done - 1);
            fault::point("archive_mid_file");
        }
        Ok(committed)
    }

    /// Ends the range, and returns the files that were committed last.
    ///
    /// # Errors
    /// When they can't be written, or another process took the archive over.
    pub fn finish(mut self) -> Result<Vec<FileEntry>> {
        self.commit(self.range.to)
    }

    /// Takes rows off the front, at least one, and returns how many.
    fn take(&mut self, rest: &RecordBatch) -> Result<usize> {
        let (making, plan) = (&self.making, self.making.plan);
        let under_way = match &mut self.under_way {
            Some(under_way) => under_way,
            None => self.under_way.insert(match plan.partition_by.as_slice() {
                [] => UnderWay::File(Box::new(ArchiveFile::begin(making)?)),
                _ => UnderWay::Collection(Collection::default()),
            }),
        };
        match under_way {
            UnderWay::File(file) => file.take(&rest.slice(0, file.room(plan, rest)), plan.timestamp),
            UnderWay::Collection(collection) => Ok(collection.take(plan, rest)),
        }
    }

    /// Returns whether what is under way takes no more, of which the front of `rest` would be the next.
    fn is_full_before(&self, rest: &RecordBatch) -> bool {
        let plan = self.making.plan;
        match &self.under_way {
            Some(UnderWay::File(file)) => file.has_bytes(plan) || file.room(plan, rest) == 0,
            Some(UnderWay::Collection(collection)) => collection.is_full() || collection.room(plan, rest) == 0,
            None => false,
        }
    }

    /// Commits what is under way as that of the offsets before `to`.
    fn commit(&mut self, to: i64) -> Result<Vec<FileEntry>> {
        let offsets = OffsetRange {
            from: self.range.from,
            to,
        };
        let under_way = self.under_way.take();
        let ended = under_way.map_or_else(|| Ok(Vec::new()), |under_way| under_way.finish(&self.making, offsets));
        let appear = ended.map_err(|error| self.making.archive.explain(error))?;
        let commit = Commit::new(Some(Covered::new(&self.making.partition, offsets)), appear);
        self.making.archive.commit(&commit)?;
        self.range.from = to;
        Ok(commit.appear.into_iter().map(|appearing| appearing.file).collect())
    }
}

impl UnderWay {
    fn finish(self, making: &Making<'_>, offsets: OffsetRange) -> Result<Vec<Appearing>> {
        match self {
            Self::File(file) => Ok(vec![file.finish(making, None, offsets)?]),
            Self::Collection(collection) => collection.finish(making, offsets),
        }
    }
}
