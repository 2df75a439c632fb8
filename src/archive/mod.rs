//! The replay of topics into an archive: ranges of offsets, many at a time, with names and bytes that come from the records
//! alone.
//!
//! ```text
//! bounds         from and to of each partition as numbers, fixed in the header when the replay begins
//! segments       each partition cut at multiples of a number of offsets; what the journal covers is left out
//! worker         takes the next segment: a reader of its own -> batches -> files, each committed when it is whole
//! ```
//!
//! Nothing that differs from run to run has a part in what is written: not time, not threads, not how the network hands
//! records over. So a second replay of a range gives the same folder, and one that was killed goes on after the last file.

mod begin;
pub mod compact;
mod follow;
mod lane;
mod layout;
mod pace;
mod parallel;
mod replay;
mod report;
pub mod restore;
mod segments;
pub mod selection;
pub mod verify;
mod work;

use std::num::{NonZeroU64, NonZeroUsize};

use arrow::datatypes::Schema;
use connectors::kafka::options::SourceOptions;
use connectors::parquet::archive::{CHUNK_BYTES, CHUNK_ROWS, FileLimits, FilePlan, Location, Settings};
use connectors::parquet::{Compression, PartitionBy};
use engine::metrics::Metrics;
use engine::operator::Operator;
use engine::pipeline::Stop;
use engine::{Error, Result};

pub use self::layout::Layout;
pub use self::report::{PartitionReport, Report};

use self::replay::{Form, Replay};

/// Offsets of a segment: at a hundred bytes a record a second or two of one core, so that cores share a partition evenly.
pub const SEGMENT_OFFSETS: NonZeroU64 = NonZeroU64::new(1_000_000).expect("it is not zero");

/// Bytes that one worker needs: a row group under way (64 MiB encoded at most), the batches that wait, two answers of a
/// broker and what the larger one holds without its compression.
const WORKER_BYTES: u64 = 96 << 20;

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// The archive.
    pub location: Location,
    /// What is read; it has an end. The columns are those of the layout, and batches as large as an archive's.
    pub source: SourceOptions,
    /// What of the records is kept.
    pub layout: Layout,
    /// The codec of the pages.
    pub compression: Compression,
    /// The columns that get a bloom filter.
    pub bloom_filter: Vec<String>,
    /// What names the folders of rows, from the outside in.
    pub partition_by: Vec<PartitionBy>,
    /// Where files end.
    pub limits: FileLimits,
    /// A file ends at each multiple of so many offsets, and a worker takes so many at once.
    pub segment_offsets: NonZeroU64,
    /// The most segments at a time.
    pub threads: NonZeroUsize,
    /// The most bytes of memory for batches and row groups.
    pub memory: Option<u64>,
    /// The most bytes of records a second.
    pub rate: Option<f64>,
}

/// How a replay ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The archive is complete.
    Complete(Report),
    /// It was complete before.
    NothingLeft(Report),
    /// The stop signal came. The same replay goes on after the last file.
    Stopped(Report),
}

impl ReplayOptions {
    /// Runs the replay to its end, or until it is asked to stop.
    ///
    /// # Errors
    /// When the options make no sense, the folder is of another replay or can't be written, or records can't be read; by
    /// policy, when records are gone. What was committed stays, and the same replay goes on after it.
    pub fn run(mut self, stop: &Stop, metrics: &Metrics) -> Result<Outcome> {
        let form = self.form()?;
        let end = begin::end_of(&self.source)?.to_string();
        let begun = begin::begin(&self, &form.settings, &end)?;
        let (archive, ranges) = match (begun.archive, begun.ranges) {
            (archive, Some(ranges)) if !begun.is_done => (archive, ranges),
            (archive, _) => {
                let report = Report::of(&archive)?;
                archive.close()?;
                return Ok(Outcome::NothingLeft(report));
            }
        };
        let mut replay = Replay::new(&self, form, archive, ranges, stop, metrics)?;
        let done = replay.read(begun.pending, begun.is_new, None);
        let done = done.and_then(|()| replay.complete());
        replay.end(done)
    }

    /// Checks the options, and makes of them what decides the files.
    fn form(&mut self) -> Result<Form> {
        let threads = self.workers()?;
        self.prepare_source();
        let decode = self.layout.operator(&self.source.schema())?;
        let schema = decode
            .as_ref()
            .map_or_else(|| self.source.schema(), |decode| decode.schema());
        let plan = FilePlan::new(
            &schema,
            self.layout.places(),
            self.compression,
            &self.bloom_filter,
            self.limits,
            self.partition_by.clone(),
        )?;
        Ok(Form {
            threads,
            decode,
            plan,
            settings: self.settings(&schema),
        })
    }

    /// Makes the source what a replay reads: whole batches of the columns of the layout, and no offset is committed.
    fn prepare_source(&mut self) {
        let rows = self.limits.rows.and_then(|rows| usize::try_from(rows).ok());
        let source = &mut self.source;
        source.columns = self.layout.columns();
        source.commits = false;
        source.batch_rows_max = CHUNK_ROWS.min(rows.unwrap_or(usize::MAX));
        source.batch_bytes_max = CHUNK_BYTES;
        source.whole_batches = true;
    }

    /// Returns what decides names and bytes.
    fn settings(&self, schema: &Schema) -> Settings {
        let isolation = match self.source.read_committed {
            true => "read_committed",
            false => "read_uncommitted",
        };
        let span_ms = self.limits.span_micros.map(|micros| micros.unsigned_abs() / 1000);
        Settings {
            layout: self.layout.name().to_owned(),
            columns: schema.fields().iter().map(|field| field.name().clone()).collect(),
            format: self.layout.format(),
            isolation: isolation.to_owned(),
            compression: self.compression.to_string(),
            bloom_filter: self.bloom_filter.clone(),
            partition_by: self.partition_by.iter().map(PartitionBy::to_string).collect(),
            segment_offsets: self.segment_offsets.get(),
            file_rows: self.limits.rows,
            file_bytes: self.limits.bytes,
            file_span_ms: span_ms,
        }
    }

    /// Returns how many segments are under way at once: as many as threads, and as fit the memory.
    fn workers(&self) -> Result<NonZeroUsize> {
        let Some(memory) = self.memory else {
            return Ok(self.threads);
        };
        let fit = usize::try_from(memory / WORKER_BYTES).unwrap_or(usize::MAX);
        let fit = NonZeroUsize::new(fit).ok_or_else(|| {
            Error::Invalid(format!(
                "the memory limit of {memory} bytes is less than the {WORKER_BYTES} that one thread needs"
            ))
        })?;
        Ok(fit.min(self.threads))
    }
}
