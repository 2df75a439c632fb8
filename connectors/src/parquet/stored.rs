//! A Parquet file that is there: its footer, and its rows from any row on.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use engine::{Error, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use serde::{Deserialize, Serialize};

/// Bytes after the footer: its length and the magic number.
const TRAILER_BYTES: u64 = 8;

/// Rows of a batch at most: as many as the Kafka source sends.
const BATCH_ROWS_MAX: usize = 8192;

/// Bytes of a batch of [`StoredFile::rows_from`], about: it bounds the memory of files with large values.
const BATCH_BYTES: usize = 4 << 20;

/// A file whose footer was read.
#[derive(Debug)]
pub(super) struct StoredFile {
    name: String,
    file: File,
    metadata: ArrowReaderMetadata,
    identity: Identity,
}

/// The rows of a file, a batch at a time.
pub(super) struct Rows {
    name: String,
    schema: SchemaRef,
    reader: ParquetRecordBatchReader,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a checkpoint keeps of a file. The footer holds the places, sizes and mostly the extremes of all values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    size: u64,
    footer_crc32c: u32,
}

impl StoredFile {
    /// Opens a file and reads its footer. Types are those of Parquet: what the writer's Arrow types were is left aside, since
    /// equal columns of different writers would have different ones.
    ///
    /// # Errors
    /// When it can't be read, or is no Parquet file.
    pub(super) fn open(name: &str) -> Result<Self> {
        Self::open_with(name, ArrowReaderOptions::new().with_skip_arrow_metadata(true))
    }

    /// Opens a file as [`Self::open`] does, with the writer's Arrow types: for those who write the rows again as they are.
    ///
    /// # Errors
    /// When it can't be read, or is no Parquet file.
    pub(super) fn open_as_written(name: &str) -> Result<Self> {
        Self::open_with(name, ArrowReaderOptions::new())
    }

    fn open_with(name: &str, options: ArrowReaderOptions) -> Result<Self> {
        let mut file = open(name).map_err(Error::io("read", name))?;
        let metadata = ArrowReaderMetadata::load(&file, options).map_err(|error| failed(name, error))?;
        let identity = Identity::of(&mut file).map_err(Error::io("read", name))?;
        Ok(Self {
            name: name.to_owned(),
            file,
            metadata,
            identity,
        })
    }

    /// Returns what recognises the file later.
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Returns the number of rows.
    pub(super) fn rows(&self) -> i64 {
        self.metadata.metadata().file_metadata().num_rows()
    }

    /// Returns the columns, each of which may be null: whether it is required may differ from file to file.
    pub(super) fn schema(&self) -> Schema {
        let fields = self.metadata.schema().fields().iter();
        let field = |field: &Arc<Field>| Field::new(field.name(), field.data_type().clone(), true);
        Schema::new(fields.map(field).collect::<Vec<_>>())
    }

    /// Returns the place in the file of each column of `schema`, which is that of the file `first`.
    ///
    /// # Errors
    /// When a column is missing or has another type.
    pub(super) fn places(&self, schema: &Schema, first: &str) -> Result<Vec<usize>> {
        let mine = self.metadata.schema();
        let place = |field: &Field| {
            let place = mine.index_of(field.name());
            let place =
                place.map_err(|_| self.differs(format!("there is no column `{}`, as in {first}", field.name())))?;
            let (is, expected) = (mine.field(place).data_type(), field.data_type());
            match is == expected {
                true => Ok(place),
                false => Err(self.differs(format!(
                    "the column `{}` is {is}, in {first} it is {expected}",
                    field.name()
                ))),
            }
        };
        schema.fields().iter().map(|field| place(field)).collect()
    }

    /// Checks that the file has no column that `schema`, which is that of the file `first`, has not.
    ///
    /// # Errors
    /// When it has one.
    pub(super) fn check_no_more(&self, schema: &Schema, first: &str) -> Result<()> {
        let mut fields = self.metadata.schema().fields().iter();
        match fields.find(|field| schema.index_of(field.name()).is_err()) {
            Some(field) => Err(self.differs(format!("there is a column `{}`, which {first} has not", field.name()))),
            None => Ok(()),
        }
    }

    /// Returns the rows from row `from` on, with the columns at `places` in the file's order. Row groups before are skipped.
    ///
    /// # Errors
    /// When the file can't be read.
    pub(super) fn read(self, places: &[usize], from: i64, batch_rows: usize) -> Result<ParquetRecordBatchReader> {
        let (groups, offset) = self.groups_from(from);
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), places.iter().copied());
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file, self.metadata)
            .with_projection(mask)
            .with_row_groups(groups)
            .with_offset(offset)
            .with_batch_size(batch_rows)
            .build();
        reader.map_err(|error| failed(&self.name, error))
    }

    /// Returns all keys in the footer that have a value.
    pub(super) fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.metadata.metadata().file_metadata().key_value_metadata();
        let pairs = pairs.into_iter().flatten();
        pairs.filter_map(|pair| Some((pair.key.as_str(), pair.value.as_deref()?)))
    }

    /// Returns the columns, as the file was opened.
    pub(super) fn arrow_schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// Returns the name that a column of the record has in the file. Decoded columns stand before it; if one of them has its
    /// name, it begins with `_`.
    pub(super) fn record_column(&self, column: &str) -> Option<&str> {
        let schema = self.metadata.schema();
        let names = [column.to_owned(), format!("_{column}")];
        let place = names.iter().filter_map(|name| schema.index_of(name).ok()).max()?;
        Some(schema.field(place).name())
    }

    /// Returns all rows with all columns.
    ///
    /// # Errors
    /// When the file can't be read.
    pub(super) fn all_rows(self) -> Result<Rows> {
        let schema = Arc::clone(self.metadata.schema());
        let groups = (0..self.metadata.metadata().num_row_groups()).collect();
        self.rows_of((0..schema.fields().len()).collect(), groups, schema)
    }

    /// Returns the rows with those of the record's `columns` that the file has, by these names in the file's order, but for
    /// row groups that hold only values below the bound in the column that is named with it.
    ///
    /// # Errors
    /// When the file can't be read.
    pub(super) fn rows_from(self, columns: &[&str], bound: Option<(&str, i64)>) -> Result<Rows> {
        let schema = Arc::clone(self.metadata.schema());
        let mut places = Vec::new();
        for &name in columns {
            let place = self.record_column(name).and_then(|found| schema.index_of(found).ok());
            places.extend(place.map(|place| (place, name)));
        }
        places.sort_unstable();
        let renamed = |&(place, name): &(usize, &str)| schema.field(place).clone().with_name(name);
        let fields: Vec<_> = places.iter().map(renamed).collect();
        let bound = bound.and_then(|(column, least)| Some((self.record_column(column)?, least)));
        let is_below = |group: &RowGroupMetaData| {
            let greatest = bound.and_then(|(column, least)| Some((extremes(group, column)?.1, least)));
            greatest.is_some_and(|(greatest, least)| greatest < least)
        };
        let groups = self.metadata.metadata().row_groups().iter().enumerate();
        let groups = groups.filter(|(_, group)| !is_below(group));
        let groups = groups.map(|(group, _)| group).collect();
        let places = places.into_iter().map(|(place, _)| place).collect();
        self.rows_of(places, groups, Arc::new(Schema::new(fields)))
    }

    /// Returns the rows of row groups with the columns at `places`, which `schema` names. A batch has as many rows as are
    /// [`BATCH_BYTES`] by the average of the file.
    fn rows_of(self, places: Vec<usize>, groups: Vec<usize>, schema: SchemaRef) -> Result<Rows> {
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), places);
        let batch_rows = self.batch_rows();
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file, self.metadata)
            .with_projection(mask)
            .with_row_groups(groups)
            .with_batch_size(batch_rows)
            .build();
        Ok(Rows {
            reader: reader.map_err(|error| failed(&self.name, error))?,
            name: self.name,
            schema,
        })
    }

    /// Returns the rows of a batch.
    fn batch_rows(&self) -> usize {
        let groups = self.metadata.metadata().row_groups();
        let bytes = |column: &ColumnChunkMetaData| {
            let values = column.unencoded_byte_array_data_bytes().unwrap_or(0);
            column.uncompressed_size().max(values)
        };
        let bytes: i64 = groups.iter().flat_map(|group| group.columns()).map(bytes).sum();
        let bytes = usize::try_from(bytes / self.rows().max(1)).unwrap_or(0).max(1);
        (BATCH_BYTES / bytes).clamp(1, BATCH_ROWS_MAX)
    }

    /// Returns the row groups that hold row `from` and those after, and the rows of the first one that come before it.
    fn groups_from(&self, from: i64) -> (Vec<usize>, usize) {
        let mut before = from.max(0);
        for (group, metadata) in self.metadata.metadata().row_groups().iter().enumerate() {
            if before < metadata.num_rows() {
                let groups = group..self.metadata.metadata().num_row_groups();
                return (groups.collect(), usize::try_from(before).unwrap_or(0));
            }
            before -= metadata.num_rows();
        }
        (Vec::new(), 0)
    }

    fn differs(&self, problem: String) -> Error {
        Error::Source {
            input: self.name.clone(),
            problem: format!("files that are read together have the same columns, but {problem}"),
        }
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        let batch = batch.and_then(|batch| RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec()));
        Some(batch.map_err(|error| Error::Source {
            input: self.name.clone(),
            problem: error.to_string(),
        }))
    }
}

impl Identity {
    fn of(file: &mut File) -> io::Result<Self> {
        let size = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(size.saturating_sub(TRAILER_BYTES)))?;
        let mut length = [0; 4];
        file.read_exact(&mut length)?;
        let bytes = u64::from(u32::from_le_bytes(length)) + TRAILER_BYTES;
        file.seek(SeekFrom::Start(size.saturating_sub(bytes)))?;
        let mut footer = Vec::new();
        file.take(bytes).read_to_end(&mut footer)?;
        Ok(Self {
            size,
            footer_crc32c: crc32c::crc32c(&footer),
        })
    }
}

/// Returns the least and the greatest value of a column of 64-bit integers in a row group, if its statistics tell.
fn extremes(group: &RowGroupMetaData, column: &str) -> Option<(i64, i64)> {
    let mut columns = group.columns().iter();
    let found = columns.find(|chunk| chunk.column_path().parts() == [column])?;
    match found.statistics()? {
        Statistics::Int64(values) => Some((*values.min_opt()?, *values.max_opt()?)),
        _ => None,
    }
}

/// Returns the error of an act on a file: that of the operating system if there is one inside.
fn failed(name: &str, error: ParquetError) -> Error {
    let problem = match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(source) => return Error::io("read", name)(*source),
            Err(inner) => inner.to_string(),
        },
        other => other.to_string(),
    };
    Error::Source {
        input: name.to_owned(),
        problem,
    }
}

fn open(name: &str) -> io::Result<File> {
    let file = File::open(Path::new(name))?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is no regular file: a Parquet file is read from its end",
        )),
    }
}
