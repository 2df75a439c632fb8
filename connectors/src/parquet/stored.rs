//! A Parquet file that is there: its footer, and its rows from any row on.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use arrow::datatypes::{Field, Schema};
use engine::{Error, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};

/// Bytes after the footer: its length and the magic number.
const TRAILER_BYTES: u64 = 8;

/// A file whose footer was read.
#[derive(Debug)]
pub(super) struct StoredFile {
    name: String,
    file: File,
    metadata: ArrowReaderMetadata,
    identity: Identity,
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
        let mut file = open(name).map_err(Error::io("read", name))?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
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
        let field = |field: &std::sync::Arc<Field>| Field::new(field.name(), field.data_type().clone(), true);
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
