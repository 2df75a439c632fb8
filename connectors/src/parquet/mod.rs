//! Parquet files. The source is in [`source`].
//!
//! The sink writes files that appear whole, once, and only when their epoch is committed.
//!
//! ```text
//! DIR/topic=web/partition-00003-offset-…120000-…240000.parquet     Layout::Append
//! DIR/epoch-…7-00000.parquet                                       Layout::Rows, Layout::Changes
//! DIR/date=2026-01-31/epoch-…7-00000.parquet                       the same, partitioned by date(time)
//! DIR/table.parquet                                                Layout::Table
//! DIR/_millstream/owner.json                                       the job that writes here
//! DIR/_millstream/manifest/epoch-…7.json                           what epoch 7 committed
//! DIR/_millstream/staging-4/00000000.inprogress                    the epoch under way of run 4
//! ```
//!
//! An epoch's files are written in the staging folder, closed and synced by `prepare`, and renamed to their final names
//! by `commit`. No staged name ends in `.parquet`, so a reader of `DIR/**/*.parquet` sees committed rows only.

pub mod archive;
pub mod archived;
pub mod bytes;
mod compression;
mod folder;
mod hive;
pub mod manifest;
mod naming;
mod open;
mod properties;
mod repeated;
mod row_groups;
pub mod source;
mod staged;
mod staging;
mod stored;

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
use self::hive::Folders;
pub use self::hive::{DatePart, FOLDERS_MAX, PartitionBy};
use self::manifest::{Entry, EntryFile};
use self::open::{Limits, OpenFiles, Shared};
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
    /// What names the folders of rows, from the outside in; [`Layout::Rows`] and [`Layout::Changes`] only. The time that a
    /// part was taken of stays in the file; a column whose own value names the folder is in the path only. An epoch may have
    /// [`FOLDERS_MAX`] folders.
    pub partition_by: Vec<PartitionBy>,
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
    /// Rows of any origin, as they are: files are named after their epoch.
    Rows,
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
    folders: Option<Folders>,
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
            partition_by: Vec::new(),
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
    /// When a column's type has no Parquet form, a limit is zero, [`Layout::Changes`] gets a column named `epoch`, or rows
    /// can't be partitioned as asked.
    pub fn new(mut options: ParquetOptions) -> Result<Self> {
        check_limits(&options)?;
        archive::check_folder(&options.dir, "rows of a query")?;
        options.dir = std::path::absolute(&options.dir).map_err(Error::io("find", &options.dir))?;
        let folders = folders(&options)?;
        let file_schema = file_schema(&options, folders.as_ref())?;
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
            folders,
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

    /// Returns the rows of a batch.
    fn records(&self, batch: &Batch) -> Result<RecordBatch> {
        let expected = &self.options.schema;
        if !Arc::ptr_eq(batch.schema(), expected) && batch.schema().fields() != expected.fields() {
            let (had, fields) = (batch.schema(), expected.fields());
            return Err(self.sink_error(format!(
                "a batch has the columns {:?}, expected {fields:?}",
                had.fields()
            )));
        }
        batch.to_records()
    }

    /// Returns rows as a file has them.
    fn file_records(&self, records: RecordBatch) -> Result<RecordBatch> {
        if self.options.layout != Layout::Changes {
            return Ok(records);
        }
        let epoch = i64::try_from(self.epoch.0).map_err(|_| Error::Overflow(EPOCH_COLUMN.to_owned()))?;
        let mut columns = records.columns().to_vec();
        columns.push(Arc::new(Int64Array::from_value(epoch, records.num_rows())) as ArrayRef);
        RecordBatch::try_new(self.file_schema.clone(), columns).map_err(Error::arrow("add the epoch column"))
    }

    /// Returns the place of the batch's rows, which decides their file and its name.
    fn origin<'a>(&self, batch: &'a Batch) -> Result<Option<&'a Origin>> {
        match (self.options.layout, batch.origin()) {
            (Layout::Append, None) => Err(self.sink_error(
                "rows without a partition and offsets can't be named after them: an aggregate writes rows, changes or a table"
                    .into(),
            )),
            (Layout::Append, origin) => Ok(origin),
            (Layout::Rows | Layout::Changes | Layout::Table, _) => Ok(None),
        }
    }

    /// Writes rows that go to the file of `key`.
    fn write_to(&mut self, key: &Shared, records: RecordBatch, origin: Option<&Origin>) -> Result<()> {
        let records = self.file_records(records)?;
        while let Some((key, file)) = self.open.take_full(key, records.num_rows(), origin) {
            self.close(&key, file)?;
        }
        if !self.open.contains(key) {
            let file = self
                .folder()
                .create(self.open.next_sequence(), &self.file_schema, &self.properties)?;
            self.open.insert(key.clone(), origin, file)?;
        }
        let written = self.open.write(key, &records, origin);
        written.map_err(|error| self.folder().explain(error))
    }

    fn close(&mut self, key: &Shared, file: StagedFile) -> Result<()> {
        let (sequence, origin) = (file.sequence(), file.origin().cloned());
        let name = match (key, &origin) {
            (Shared::Partition(_), Some(origin)) => naming::append(origin),
            (Shared::Folder(folder), _) => naming::in_folder(folder, self.epoch, sequence),
            _ if self.options.layout == Layout::Table => naming::TABLE.to_owned(),
            _ => naming::changes(self.epoch, sequence),
        };
        let written = file.finish(staged::footer(origin.as_ref(), self.epoch, &self.job));
        let written = written.map_err(|error| self.folder().explain(error))?;
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
        let by = match self.options.partition_by.as_slice() {
            [] => String::new(),
            by => format!(
                " by {}",
                by.iter().map(PartitionBy::to_string).collect::<Vec<_>>().join("/")
            ),
        };
        format!("parquet {dir}, {layout:?}{by} of {}", columns.join(", "))
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
        if let Some(folders) = &mut self.folders {
            for (folder, records) in folders.split(&records)? {
                self.write_to(&Shared::Folder(folder), records, None)?;
            }
        } else {
            let origin = self.origin(batch)?;
            let key = origin.map_or(Shared::Epoch, |origin| Shared::Partition(origin.partition.clone()));
            self.write_to(&key, records, origin)?;
        }
        engine::fault::point("mid_file");
        Ok(())
    }

    fn prepare(&mut self, barrier: &Barrier<'_>) -> Result<Token> {
        for (key, file) in self.open.take_all() {
            self.close(&key, file)?;
        }
        self.folders.iter_mut().for_each(Folders::end_epoch);
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

fn folders(options: &ParquetOptions) -> Result<Option<Folders>> {
    if options.partition_by.is_empty() {
        return Ok(None);
    }
    match options.layout {
        Layout::Rows | Layout::Changes => Folders::new(&options.partition_by, &options.schema).map(Some),
        Layout::Append => Err(Error::Invalid(
            "parquet: rows named after their offsets are in folders by topic: to partition them by a column, write them as \
             rows of their epoch"
                .to_owned(),
        )),
        Layout::Table => Err(Error::Invalid(
            "parquet: the whole result is one file, which can't be partitioned: put out changes, or append".to_owned(),
        )),
    }
}

fn file_schema(options: &ParquetOptions, folders: Option<&Folders>) -> Result<SchemaRef> {
    let kept = folders.map_or_else(|| options.schema.clone(), |folders| folders.kept(&options.schema));
    if options.layout != Layout::Changes {
        return Ok(kept);
    }
    if options.schema.index_of(EPOCH_COLUMN).is_ok() {
        return Err(Error::Invalid(format!(
            "parquet: changes get a column `{EPOCH_COLUMN}`, but the result has one already: rename it"
        )));
    }
    let mut fields = kept.fields().to_vec();
    fields.push(Arc::new(Field::new(EPOCH_COLUMN, DataType::Int64, false)));
    Ok(Arc::new(Schema::new(fields)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that can not go on should stop there")]
mod tests;
