//! Writes Parquet files that appear whole, once, and only when their epoch is committed.
//!
//! ```text
//! DIR/topic=web/partition-00003-offset-…120000-…240000.parquet     Layout::Append
//! DIR/epoch-…7-00000.parquet                                       Layout::Changes
//! DIR/table.parquet                                                Layout::Table
//! DIR/_millstream/owner.json                                       the job that writes here
//! DIR/_millstream/manifest/epoch-…7.json                           what epoch 7 committed
//! DIR/_millstream/staging-4/00000000.inprogress                    the epoch under way of run 4
//! ```
//!
//! An epoch's files are written in the staging folder, closed and synced by `prepare`, and renamed to their final names
//! by `commit`. No staged name ends in `.parquet`, so a reader of `DIR/**/*.parquet` sees committed rows only.

mod compression;
mod folder;
pub mod manifest;
mod naming;
mod open;
mod properties;
mod staged;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use engine::sink::{Barrier, Guarantee, Recovery, Sink, Token};
use engine::{Batch, Epoch, Error, Origin, Result};
use parquet::file::properties::WriterPropertiesPtr;

pub use self::compression::Compression;
use self::folder::Folder;
use self::manifest::{Entry, EntryFile};
use self::open::{Limits, OpenFiles};
use self::staged::StagedFile;

/// The column that [`Layout::Changes`] adds.
pub const EPOCH_COLUMN: &str = "epoch";

/// Rows of a row group. parquet-rs and Spark use about as many; readers skip and parallelise by row group.
const ROW_GROUP_ROWS: usize = 1 << 20;

/// Encoded bytes of a row group: half of what Hadoop readers expect at most, so that two fit our memory budget.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// What to write, and where.
#[derive(Clone, Debug)]
pub struct ParquetOptions {
    /// The folder. It belongs to one job.
    pub dir: PathBuf,
    /// The columns of the batches that will be written, without the epoch column of [`Layout::Changes`].
    pub schema: SchemaRef,
    /// How rows are spread over files.
    pub layout: Layout,
    /// The codec of the pages.
    pub compression: Compression,
    /// The most rows of a row group.
    pub row_group_rows: usize,
    /// The most encoded bytes of a row group. The open row groups of all files together keep at most twice as much in
    /// memory.
    pub row_group_bytes: usize,
    /// The most rows of a file, unless one batch alone has more.
    pub file_rows_max: Option<u64>,
    /// The bytes on disk after which a file takes no further batch.
    pub file_bytes_max: Option<u64>,
    /// The age after which a file takes no further batch. Every file ends with its epoch anyhow.
    pub file_age_max: Option<Duration>,
}

/// How rows are spread over files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Input rows: a file holds a run of offsets of one partition and is named after them.
    Append,
    /// Rows that changed: files are named after their epoch, and a last column `epoch` (Int64) holds its number.
    Changes,
    /// The whole result: one file, `table.parquet`, replaced by each epoch that has rows.
    Table,
}

/// A folder of Parquet files as a sink.
#[derive(Debug)]
pub struct ParquetSink {
    options: ParquetOptions,
    file_schema: SchemaRef,
    properties: WriterPropertiesPtr,
    job: String,
    folder: Option<Folder>,
    epoch: Epoch,
    open: OpenFiles,
    closed: Vec<(u32, EntryFile)>,
}

impl ParquetOptions {
    /// Returns options with zstd-1, row groups of 1 Mi rows or 64 MiB, and one file a partition and epoch.
    pub fn new(dir: impl Into<PathBuf>, schema: SchemaRef, layout: Layout) -> Self {
        Self {
            dir: dir.into(),
            schema,
            layout,
            compression: Compression::default(),
            row_group_rows: ROW_GROUP_ROWS,
            row_group_bytes: ROW_GROUP_BYTES,
            file_rows_max: None,
            file_bytes_max: None,
            file_age_max: None,
        }
    }
}

impl ParquetSink {
    /// Returns a sink. Nothing is read or written before `recover`.
    ///
    /// # Errors
    /// When a column's type has no Parquet form, a limit is zero, or [`Layout::Changes`] gets a column named `epoch`.
    pub fn new(mut options: ParquetOptions) -> Result<Self> {
        check_limits(&options)?;
        options.dir = std::path::absolute(&options.dir).map_err(Error::io("find", &options.dir))?;
        let file_schema = file_schema(&options)?;
        let properties = Arc::new(properties::writer_properties(&file_schema, &options)?);
        // A table is replaced by one rename, so it is one file whatever its size.
        let is_cut = options.layout != Layout::Table;
        let limits = Limits {
            file_rows: options.file_rows_max.filter(|_| is_cut),
            file_bytes: options.file_bytes_max.filter(|_| is_cut),
            file_age: options.file_age_max.filter(|_| is_cut),
            memory: options.row_group_bytes.saturating_mul(2),
        };
        Ok(Self {
            file_schema,
            properties,
            job: String::new(),
            folder: None,
            epoch: Epoch(0).next(),
            open: OpenFiles::new(limits),
            closed: Vec::new(),
            options,
        })
    }

    fn folder(&self) -> &Folder {
        self.folder.as_ref().expect("the driver calls recover first")
    }

    fn sink_error(&self, problem: String) -> Error {
        let output = self.options.dir.display().to_string();
        Error::Sink { output, problem }
    }

    /// Returns the batch as the rows of a file.
    fn records(&self, batch: &Batch) -> Result<RecordBatch> {
        let expected = &self.options.schema;
        if !Arc::ptr_eq(batch.schema(), expected) && batch.schema().fields() != expected.fields() {
            let (had, fields) = (batch.schema(), expected.fields());
            return Err(self.sink_error(format!(
                "a batch has the columns {:?}, expected {fields:?}",
                had.fields()
            )));
        }
        let records = batch.to_records()?;
        if self.options.layout != Layout::Changes {
            return Ok(records);
        }
        let epoch = i64::try_from(self.epoch.0).map_err(|_| Error::Overflow(EPOCH_COLUMN.to_owned()))?;
        let mut columns = records.columns().to_vec();
        columns.push(Arc::new(Int64Array::from_value(epoch, batch.rows())) as ArrayRef);
        RecordBatch::try_new(self.file_schema.clone(), columns).map_err(Error::arrow("add the epoch column"))
    }

    /// Returns the place of the batch's rows, which decides their file and its name.
    fn origin<'a>(&self, batch: &'a Batch) -> Result<Option<&'a Origin>> {
        match (self.options.layout, batch.origin()) {
            (Layout::Append, None) => Err(self.sink_error(
                "rows without a partition and offsets can't be appended: an aggregate writes changes or a table".into(),
            )),
            (Layout::Append, origin) => Ok(origin),
            (Layout::Changes | Layout::Table, _) => Ok(None),
        }
    }

    fn close(&mut self, file: StagedFile) -> Result<()> {
        let (sequence, origin) = (file.sequence(), file.origin().cloned());
        let name = match (self.options.layout, &origin) {
            (Layout::Append, Some(origin)) => naming::append(origin),
            (Layout::Append | Layout::Changes, _) => naming::changes(self.epoch, sequence),
            (Layout::Table, _) => naming::TABLE.to_owned(),
        };
        let written = file.finish(self.epoch, &self.job)?;
        let (partition, offsets) = origin.map(|origin| (origin.partition, origin.offsets)).unzip();
        let entry = EntryFile {
            name,
            rows: written.rows,
            bytes: written.bytes,
            crc32c: written.crc32c,
            partition,
            offsets,
        };
        self.closed.push((sequence, entry));
        Ok(())
    }

    /// Checks that the epoch's number is the one that its files were written with.
    fn check_epoch(&self, epoch: Epoch) -> Result<()> {
        if self.closed.is_empty() || epoch == self.epoch {
            return Ok(());
        }
        Err(self.sink_error(format!(
            "epoch {epoch} ends, but its rows were written as epoch {}",
            self.epoch
        )))
    }
}

impl Sink for ParquetSink {
    fn describe(&self) -> String {
        let (dir, layout) = (self.options.dir.display(), self.options.layout);
        let fields = self.options.schema.fields().iter();
        let columns: Vec<_> = fields
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect();
        format!("parquet {dir}, {layout:?} of {}", columns.join(", "))
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn recover(&mut self, recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        recovery.job.clone_into(&mut self.job);
        let newest = recovery.candidates.first();
        let begun = newest.is_some_and(|candidate| candidate.epoch > Epoch(0));
        let folder = Folder::claim(&self.options.dir, recovery.job, recovery.generation, begun)?;
        if let Some(candidate) = newest
            && let Some(entry) = Entry::from_token(&candidate.token, &self.options.dir)?
        {
            folder.commit(&entry)?;
        }
        let epoch = newest.map(|candidate| candidate.epoch);
        folder.roll_back_to(epoch.unwrap_or(Epoch(0)))?;
        self.folder = Some(folder);
        self.epoch = epoch.unwrap_or(Epoch(0)).next();
        Ok(epoch)
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        if batch.rows() == 0 {
            return Ok(());
        }
        let records = self.records(batch)?;
        let origin = self.origin(batch)?.cloned();
        let partition = origin.as_ref().map(|origin| &origin.partition);
        while let Some(file) = self.open.take_full(partition, batch.rows(), origin.as_ref()) {
            self.close(file)?;
        }
        if !self.open.contains(partition) {
            let file = self
                .folder()
                .create(self.open.next_sequence(), &self.file_schema, &self.properties)?;
            self.open.insert(partition, origin.as_ref(), file)?;
        }
        self.open.write(partition, &records, origin.as_ref())?;
        engine::fault::point("mid_file");
        Ok(())
    }

    fn prepare(&mut self, barrier: &Barrier<'_>) -> Result<Token> {
        for file in self.open.take_all() {
            self.close(file)?;
        }
        self.check_epoch(barrier.epoch)?;
        self.closed.sort_unstable_by_key(|(sequence, _)| *sequence);
        let files = self.closed.drain(..).map(|(_, file)| file).collect();
        let entry = Entry::new(barrier, &self.job, files);
        if !entry.files.is_empty() {
            self.folder().stage(&entry)?;
        }
        self.epoch = barrier.epoch.next();
        Ok(entry.to_token())
    }

    fn commit(&mut self, token: &Token) -> Result<()> {
        match Entry::from_token(token, &self.options.dir)? {
            Some(entry) => self.folder().commit(&entry),
            None => Ok(()),
        }
    }

    fn abort(&mut self) {
        // What was prepared may be named by a durable checkpoint, so only the next start knows what to remove.
        self.open.take_all();
        self.closed.clear();
    }
}

fn check_limits(options: &ParquetOptions) -> Result<()> {
    let zero = [
        ("row_group_rows", options.row_group_rows == 0),
        ("row_group_bytes", options.row_group_bytes == 0),
        ("file_rows_max", options.file_rows_max == Some(0)),
        ("file_bytes_max", options.file_bytes_max == Some(0)),
    ];
    match zero.iter().find(|(_, is_zero)| *is_zero) {
        Some((name, _)) => Err(Error::Invalid(format!("parquet: {name} must be at least 1"))),
        None => Ok(()),
    }
}

fn file_schema(options: &ParquetOptions) -> Result<SchemaRef> {
    if options.layout != Layout::Changes {
        return Ok(options.schema.clone());
    }
    let mut fields = options.schema.fields().to_vec();
    if fields.iter().any(|field| field.name() == EPOCH_COLUMN) {
        return Err(Error::Invalid(format!(
            "parquet: changes get a column `{EPOCH_COLUMN}`, but the result has one already: rename it"
        )));
    }
    fields.push(Arc::new(Field::new(EPOCH_COLUMN, DataType::Int64, false)));
    Ok(Arc::new(Schema::new(fields)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that can not go on should stop there")]
mod tests;
