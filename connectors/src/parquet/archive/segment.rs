//! One range of offsets of one partition, written as files: one after the other, each ended by its own content.

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use engine::{OffsetRange, Partition, Result, fault};

use super::super::staged::StagedFile;
use super::chunks::Chunks;
use super::folder::{ArchiveFolder, StagedPath};
use super::footer::Footer;
use super::journal::{Appearing, Commit, Covered};
use super::limits::Times;
use super::manifest::FileEntry;
use super::name::file_name;
use super::plan::FilePlan;

const MICROS_PER_MILLI: i64 = 1000;

/// Writes the rows of one range of offsets, and commits each file when it is whole.
#[derive(Debug)]
pub struct SegmentWriter<'a> {
    archive: &'a ArchiveFolder,
    plan: &'a FilePlan,
    partition: Partition,
    /// What is not committed.
    range: OffsetRange,
    file: Option<UnderWay>,
}

/// The file under way.
#[derive(Debug)]
struct UnderWay {
    staged: StagedPath,
    file: StagedFile,
    chunks: Chunks,
    /// Rows, those in `chunks` too.
    rows: u64,
    times: Times,
    last_offset: i64,
}

impl<'a> SegmentWriter<'a> {
    /// Returns a writer of the offsets `range` of `partition`.
    pub fn new(archive: &'a ArchiveFolder, plan: &'a FilePlan, partition: Partition, range: OffsetRange) -> Self {
        Self {
            archive,
            plan,
            partition,
            range,
            file: None,
        }
    }

    /// Writes rows, which follow those before in their offsets, and returns the files that were committed.
    ///
    /// # Errors
    /// When they can't be written, or another process took the archive over.
    pub fn write(&mut self, records: &RecordBatch) -> Result<Vec<FileEntry>> {
        let mut committed = Vec::new();
        let mut rest = records.clone();
        while rest.num_rows() > 0 {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(UnderWay::begin(self.archive, self.plan)?),
            };
            let taken = file
                .take(self.plan, &rest)
                .map_err(|error| self.archive.explain(error))?;
            fault::point("archive_mid_file");
            rest = rest.slice(taken, rest.num_rows() - taken);
            if taken == 0 || file.has_bytes(self.plan) {
                let to = file.last_offset + 1;
                committed.extend(self.end_file(to)?);
            }
        }
        Ok(committed)
    }

    /// Ends the range, and returns the file that was committed last, if there is one.
    ///
    /// # Errors
    /// When the file can't be written, or another process took the archive over.
    pub fn finish(mut self) -> Result<Option<FileEntry>> {
        self.end_file(self.range.to)
    }

    /// Commits the file under way as that of the offsets before `to`.
    fn end_file(&mut self, to: i64) -> Result<Option<FileEntry>> {
        let offsets = OffsetRange {
            from: self.range.from,
            to,
        };
        let appearing = match self.file.take() {
            Some(file) => Some(self.close(file, offsets).map_err(|error| self.archive.explain(error))?),
            None => None,
        };
        let covers = Covered::new(&self.partition, offsets);
        let commit = Commit::new(Some(covers), appearing.into_iter().collect());
        self.archive.commit(&commit)?;
        self.range.from = to;
        Ok(commit.appear.into_iter().next().map(|appearing| appearing.file))
    }

    fn close(&self, mut under_way: UnderWay, offsets: OffsetRange) -> Result<Appearing> {
        under_way.encode()?;
        let (plan, partition) = (self.plan, &self.partition);
        let footer = Footer {
            partition: partition.clone(),
            offsets,
            topic_id: plan.topic_ids.get(&*partition.stream).cloned().flatten(),
            cluster_id: plan.cluster_id.clone(),
            rows: under_way.rows,
        };
        let written = under_way.file.finish(footer.pairs())?;
        let millis = |time: Option<i64>| time.map(|micros| micros.div_euclid(MICROS_PER_MILLI));
        let file = FileEntry {
            name: file_name(None, partition, offsets),
            rows: written.rows,
            bytes: written.bytes,
            crc32c: written.crc32c,
            topic: partition.stream.to_string(),
            partition: partition.index,
            from: offsets.from,
            to: offsets.to,
            least_timestamp: millis(under_way.times.least),
            greatest_timestamp: millis(under_way.times.greatest),
        };
        Ok(Appearing {
            staged: under_way.staged.name,
            file,
        })
    }
}

impl UnderWay {
    fn begin(archive: &ArchiveFolder, plan: &FilePlan) -> Result<Self> {
        let staged = archive.stage();
        let file = staged.create().map_err(|error| archive.explain(error))?;
        let file = StagedFile::new(file, staged.path.clone(), 0, plan.schema.clone(), &plan.properties)?;
        Ok(Self {
            staged,
            file,
            chunks: Chunks::default(),
            rows: 0,
            times: Times::default(),
            last_offset: 0,
        })
    }

    /// Takes rows off the front, up to the end of a piece or of the file, and returns how many; none when the file is full.
    fn take(&mut self, plan: &FilePlan, records: &RecordBatch) -> Result<usize> {
        let times = records
            .column(plan.timestamp)
            .as_primitive::<TimestampMicrosecondType>();
        let room = plan.limits.room(self.rows, self.times, times);
        if room == 0 {
            return Ok(0);
        }
        let taken = self.chunks.take(&records.slice(0, room));
        self.rows += taken as u64;
        self.times.extend(times, taken);
        self.last_offset = records.column(plan.offset).as_primitive::<Int64Type>().value(taken - 1);
        if self.chunks.is_full() {
            self.encode()?;
        }
        Ok(taken)
    }

    /// Encodes the rows that wait.
    fn encode(&mut self) -> Result<()> {
        match self.chunks.is_empty() {
            true => Ok(()),
            false => self.file.write(&self.chunks.finish()?, None),
        }
    }

    /// Returns whether the file has the bytes that it may have. Only asked between pieces: what the encoder holds is then
    /// the same in every run.
    fn has_bytes(&self, plan: &FilePlan) -> bool {
        self.chunks.is_empty() && plan.limits.bytes.is_some_and(|most| self.file.bytes() >= most)
    }
}
