//! One Parquet file under way, in the staging folder.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use engine::{Epoch, Error, Origin, Result};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterPropertiesPtr;

use super::row_groups::RowGroups;

/// A file that rows are written to. Finished row groups are on disk, the one under way is in memory, encoded.
#[derive(Debug)]
pub(super) struct StagedFile {
    path: PathBuf,
    sequence: u32,
    writer: RowGroups<Checksummed>,
    rows: u64,
    origin: Option<Origin>,
    begun: Instant,
}

/// What became of a finished file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) crc32c: u32,
}

/// A file that knows the length and the checksum of what went through it.
#[derive(Debug)]
struct Checksummed {
    path: PathBuf,
    /// Opened again when there is something to write.
    file: Option<File>,
    bytes: u64,
    crc32c: u32,
}

impl StagedFile {
    /// Returns the file `sequence` of the epoch, new and empty.
    pub(super) fn new(
        file: File,
        path: PathBuf,
        sequence: u32,
        schema: SchemaRef,
        properties: &WriterPropertiesPtr,
    ) -> Result<Self> {
        let file = Checksummed {
            path: path.clone(),
            file: Some(file),
            bytes: 0,
            crc32c: 0,
        };
        let writer = RowGroups::new(file, schema, properties);
        Ok(Self {
            writer: writer.map_err(|error| failed("begin", &path, error))?,
            path,
            sequence,
            rows: 0,
            origin: None,
            begun: Instant::now(),
        })
    }

    /// Encodes rows; `origin` extends the range of offsets that the file covers.
    pub(super) fn write(&mut self, records: &RecordBatch, origin: Option<&Origin>) -> Result<()> {
        self.writer
            .write(records)
            .map_err(|error| failed("write", &self.path, error))?;
        self.rows += records.num_rows() as u64;
        match (&mut self.origin, origin) {
            (Some(mine), Some(origin)) => {
                mine.offsets.from = mine.offsets.from.min(origin.offsets.from);
                mine.offsets.to = mine.offsets.to.max(origin.offsets.to);
            }
            (mine, origin) => *mine = origin.cloned(),
        }
        Ok(())
    }

    /// Moves the row group under way from memory to disk.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.writer.flush().map_err(|error| failed("write", &self.path, error))
    }

    /// Lets the file handle go until there is something to write again.
    pub(super) fn rest(&mut self) {
        self.writer.inner_mut().file = None;
    }

    /// Writes the footer, with these pairs of keys, without their prefix, and values, and makes the file durable.
    pub(super) fn finish(mut self, footer: Vec<(&'static str, String)>) -> Result<Written> {
        for (key, value) in footer {
            self.writer
                .append_key_value_metadata(KeyValue::new(format!("millstream.{key}"), value));
        }
        let path = self.path;
        // Not `into_inner`: of an error in the last write it keeps the text only.
        self.writer.finish().map_err(|error| failed("write", &path, error))?;
        let file = self.writer.inner_mut();
        let synced = file.handle().and_then(|handle| handle.sync_all());
        synced.map_err(Error::io("sync", &path))?;
        Ok(Written {
            rows: self.rows,
            bytes: file.bytes,
            crc32c: file.crc32c,
        })
    }

    /// Returns the file's number in its epoch.
    pub(super) fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Returns the partition and the offsets of the rows.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Returns the rows written.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns about how long the file would be if it ended here.
    pub(super) fn bytes(&self) -> u64 {
        self.writer.bytes() as u64
    }

    /// Returns the bytes that the row group under way keeps in memory.
    pub(super) fn memory(&self) -> usize {
        self.writer.memory()
    }

    /// Returns how long ago the file was begun.
    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl Checksummed {
    fn handle(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::options().append(true).open(&self.path)?,
        };
        Ok(self.file.insert(file))
    }
}

impl Write for Checksummed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.handle()?.write(buffer)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.handle()?.flush()
    }
}

/// Returns what the footer says about a file of a job.
pub(super) fn footer(origin: Option<&Origin>, epoch: Epoch, job: &str) -> Vec<(&'static str, String)> {
    let mut footer = vec![("job", job.to_owned()), ("epoch", epoch.to_string())];
    if let Some(Origin { partition, offsets }) = origin {
        footer.push(("topic", partition.stream.to_string()));
        footer.push(("partition", partition.index.to_string()));
        footer.push(("offset.from", offsets.from.to_string()));
        footer.push(("offset.to", offsets.to.to_string()));
    }
    footer
}

/// Returns the engine's error, with the operating system's own if there is one inside: a full disk must be named so.
fn failed(act: &'static str, path: &std::path::Path, error: ParquetError) -> Error {
    let problem = match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(source) => return Error::io(act, path)(*source),
            Err(inner) => inner.to_string(),
        },
        other => other.to_string(),
    };
    Error::Sink {
        output: path.display().to_string(),
        problem,
    }
}
