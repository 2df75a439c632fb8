//! One file of an archive, under way in the staging folder.

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use engine::{OffsetRange, Partition, Result};

use super::super::staged::StagedFile;
use super::chunks::Chunks;
use super::footer::Footer;
use super::journal::Appearing;
use super::limits::Times;
use super::manifest::FileEntry;
use super::name::file_name;
use super::plan::FilePlan;
use super::site::StagedPath;
use super::writer::ArchiveWriter;

const MICROS_PER_MILLI: i64 = 1000;

/// What files are made of, and where.
#[derive(Debug)]
pub(super) struct Making<'a> {
    pub(super) archive: &'a ArchiveWriter,
    pub(super) plan: &'a FilePlan,
    pub(super) partition: Partition,
}

/// The file under way.
#[derive(Debug)]
pub(super) struct ArchiveFile {
    staged: StagedPath,
    file: StagedFile,
    chunks: Chunks,
    /// Rows, those in `chunks` too.
    rows: u64,
    times: Times,
}

impl ArchiveFile {
    /// Begins a file.
    ///
    /// # Errors
    /// When it can't be made.
    pub(super) fn begin(making: &Making<'_>) -> Result<Self> {
        let (archive, plan) = (making.archive, making.plan);
        let staged = archive.stage();
        let file = staged.create()?;
        let file = StagedFile::new(file, staged.path.clone(), 0, plan.schema.clone(), &plan.properties)?;
        Ok(Self {
            staged,
            file,
            chunks: Chunks::default(),
            rows: 0,
            times: Times::default(),
        })
    }

    /// Takes rows off the front, up to the end of a piece, and returns how many. Column `timestamp` is their time.
    ///
    /// # Errors
    /// When they can't be encoded.
    pub(super) fn take(&mut self, records: &RecordBatch, timestamp: usize) -> Result<usize> {
        let times = records.column(timestamp).as_primitive::<TimestampMicrosecondType>();
        let taken = self.chunks.take(records);
        self.rows += taken as u64;
        self.times.extend(times, taken);
        if self.chunks.is_full() {
            self.encode()?;
        }
        Ok(taken)
    }

    /// Returns how many rows off the front may go to this file.
    pub(super) fn room(&self, plan: &FilePlan, records: &RecordBatch) -> usize {
        let times = records
            .column(plan.timestamp)
            .as_primitive::<TimestampMicrosecondType>();
        plan.limits.room(self.rows, self.times, times)
    }

    /// Returns whether the file has the bytes that it may have. Only asked between pieces: what the encoder holds is then
    /// the same in every run.
    pub(super) fn has_bytes(&self, plan: &FilePlan) -> bool {
        self.chunks.is_empty() && plan.limits.bytes.is_some_and(|most| self.file.bytes() >= most)
    }

    /// Ends the file as that of `offsets`, in the folders by columns if there are such.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn finish(
        mut self,
        making: &Making<'_>,
        folders: Option<&str>,
        offsets: OffsetRange,
    ) -> Result<Appearing> {
        self.encode()?;
        let Making { plan, partition, .. } = making;
        let footer = Footer {
            partition: partition.clone(),
            offsets,
            topic_id: plan.topic_ids.get(&*partition.stream).cloned().flatten(),
            cluster_id: plan.cluster_id.clone(),
            rows: self.rows,
        };
        let written = self.file.finish(footer.pairs())?;
        let millis = |time: Option<i64>| time.map(|micros| micros.div_euclid(MICROS_PER_MILLI));
        let file = FileEntry {
            name: file_name(folders, partition, offsets),
            rows: written.rows,
            bytes: written.bytes,
            crc32c: written.crc32c,
            topic: partition.stream.to_string(),
            partition: partition.index,
            from: offsets.from,
            to: offsets.to,
            least_timestamp: millis(self.times.least),
            greatest_timestamp: millis(self.times.greatest),
        };
        let staged = self.staged.name;
        Ok(Appearing { staged, file })
    }

    /// Encodes the rows that wait.
    fn encode(&mut self) -> Result<()> {
        match self.chunks.is_empty() {
            true => Ok(()),
            false => self.file.write(&self.chunks.finish()?, None),
        }
    }
}
