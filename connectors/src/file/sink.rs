//! Writes rows to a text file, exactly once, or to standard output.
//!
//! ```text
//! |header|rows of epoch 1|rows of epoch 2|rows of the epoch under way …
//!                                        ^ the length that the last token holds
//! ```
//!
//! Rows are appended as they come; `prepare` makes them durable and puts the file's length in its token. A restart cuts the
//! file to the length of its checkpoint and goes on there, so that no row is in it twice. Whoever follows the file while
//! the job runs may see rows that a crash takes back for a moment.
//!
//! The file is locked for as long as the sink is there, so that no second run writes to it. Standard output, named pipes
//! and devices can't be cut: what was written there is written, and after a crash some of it again.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use engine::sink::{Barrier, Guarantee, Recovery, Sink, Token};
use engine::{Batch, Epoch, Error, Result};
use serde::{Deserialize, Serialize};

use crate::decode::Dialect;
use crate::encode::{DelimitedEncoder, JsonEncoder, Rows};

/// The path that stands for standard output.
pub const STDOUT: &str = "-";

/// The layout of tokens that this version reads and writes.
const FORMAT: u32 = 1;

/// Bytes before the end of an epoch that tell at a restart whether this is the file that the job wrote.
const TAIL_BYTES: u64 = 4096;

/// Bytes that wait in memory for a call of the system.
const BUFFER_BYTES: usize = 64 << 10;

/// What to write, and where.
#[derive(Clone, Debug)]
pub struct FileSinkOptions {
    /// The file; [`STDOUT`] for standard output. It belongs to one job.
    pub path: PathBuf,
    /// How a row is written.
    pub format: TextFormat,
    /// The columns of the batches that will be written.
    pub schema: SchemaRef,
}

/// How a row becomes text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// A JSON object a line.
    JsonLines,
    /// Comma-separated values, with the columns' names first.
    Csv,
    /// Tab-separated values, with the columns' names first.
    Tsv,
}

/// A text file as a sink.
#[derive(Debug)]
pub struct FileSink {
    options: FileSinkOptions,
    encoder: Encoder,
    is_regular: bool,
    output: Option<Output>,
    /// The length after the last prepared epoch.
    prepared: u64,
}

#[derive(Debug)]
enum Encoder {
    Json(JsonEncoder),
    Delimited(DelimitedEncoder),
}

/// What is written to, and how many bytes it has had.
struct Output {
    writer: Writer,
    length: u64,
}

enum Writer {
    File(BufWriter<File>),
    Stream(BufWriter<Box<dyn Write + Send>>),
}

/// What a checkpoint keeps of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    format: u32,
    /// The length of the file before the epoch.
    before: u64,
    /// And after it.
    after: u64,
    /// The CRC-32C of the last [`TAIL_BYTES`] up to there.
    tail_crc32c: u32,
}

impl FileSink {
    /// Returns a sink. Nothing is read or written before `recover`.
    ///
    /// # Errors
    /// When the path is a folder, or can't be looked at.
    pub fn new(mut options: FileSinkOptions) -> Result<Self> {
        let mut is_regular = false;
        if options.path.as_os_str() != STDOUT {
            options.path = std::path::absolute(&options.path).map_err(Error::io("find", &options.path))?;
            is_regular = is_regular_file(&options.path)?;
        }
        Ok(Self {
            encoder: Encoder::new(options.format, &options)?,
            is_regular,
            output: None,
            prepared: 0,
            options,
        })
    }

    fn output(&mut self) -> &mut Output {
        self.output.as_mut().expect("the driver calls recover first")
    }

    /// Writes what stands before the first row, if nothing was written yet.
    fn begin(&mut self) -> Result<()> {
        let header = match self.output().length {
            0 => self.encoder.header(),
            _ => return Ok(()),
        };
        let written = self.output().write(&header);
        written.map_err(Error::io("write", &self.options.path))
    }

    /// Opens a regular file and cuts it to what the checkpoint says.
    fn recover_file(&self, recovery: &Recovery<'_>) -> Result<(File, u64)> {
        let path = &self.options.path;
        let newest = recovery.candidates.first();
        let written = newest
            .map(|candidate| self.written(&candidate.token))
            .transpose()?
            .flatten();
        let (mut file, is_new) = open(path)?;
        let length = file.metadata().map_err(Error::io("look at", path))?.len();
        let keep = written.map_or(0, |written| written.after);
        match (newest, written) {
            // Epoch 0 is stored after the file was found empty, so that what is in it now is of a lost epoch.
            (None, _) if length > 0 => return Err(self.refused(not_empty(recovery.job))),
            (_, Some(written)) => self.check_tail(&mut file, written, length)?,
            (_, None) => {}
        }
        file.set_len(keep).map_err(Error::io("cut", path))?;
        file.sync_all().map_err(Error::io("sync", path))?;
        if is_new {
            let folder = path.parent().unwrap_or(Path::new("/"));
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(Error::io("sync", folder))?;
        }
        Ok((file, keep))
    }

    /// Checks that the file holds what the checkpoint's epoch and those before have written.
    fn check_tail(&self, file: &mut File, written: Written, length: u64) -> Result<()> {
        if length < written.after {
            return Err(self.refused(format!(
                "the file has {length} bytes, and the checkpoint says that the job wrote {}: restore it, or start afresh with \
                 another checkpoint and file",
                written.after
            )));
        }
        let tail = tail_crc32c(file, written.after).map_err(Error::io("read", &self.options.path))?;
        match tail == written.tail_crc32c {
            true => Ok(()),
            false => Err(self.refused(
                "this is not what the job wrote: its last bytes are others than the checkpoint says; restore the file, or start \
                 afresh with another checkpoint and file"
                    .to_owned(),
            )),
        }
    }

    fn written(&self, token: &Token) -> Result<Option<Written>> {
        if token.0.is_null() {
            return Ok(None);
        }
        let written = Written::deserialize(&token.0).map_err(|error| error.to_string());
        let written = written.and_then(|written| match written.format {
            0..=FORMAT => Ok(written),
            newer => Err(format!("its format is {newer}, this version reads up to {FORMAT}")),
        });
        let problem = |problem| self.refused(format!("the checkpoint's length of the file can't be used: {problem}"));
        written.map(Some).map_err(problem)
    }

    fn refused(&self, problem: String) -> Error {
        Error::Sink {
            output: self.options.path.display().to_string(),
            problem,
        }
    }
}

impl Sink for FileSink {
    fn describe(&self) -> String {
        let fields = self.options.schema.fields().iter();
        let columns: Vec<_> = fields
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect();
        let (path, format) = (self.options.path.display(), self.options.format);
        format!("file {path}, {format} of {}", columns.join(", "))
    }

    fn guarantee(&self) -> Guarantee {
        match self.is_regular {
            true => Guarantee::ExactlyOnce,
            false => Guarantee::AtLeastOnce,
        }
    }

    fn recover(&mut self, recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        let path = &self.options.path;
        let (writer, length) = if self.is_regular {
            let (mut file, length) = self.recover_file(recovery)?;
            file.seek(SeekFrom::Start(length)).map_err(Error::io("write", path))?;
            (Writer::File(BufWriter::with_capacity(BUFFER_BYTES, file)), length)
        } else {
            let stream = open_stream(path).map_err(Error::io("open", path))?;
            (Writer::Stream(BufWriter::with_capacity(BUFFER_BYTES, stream)), 0)
        };
        self.output = Some(Output { writer, length });
        self.prepared = length;
        Ok(recovery.candidates.first().map(|candidate| candidate.epoch))
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        if batch.rows() == 0 {
            return Ok(());
        }
        let records = batch.to_records()?;
        let (had, expected) = (records.schema(), &self.options.schema);
        if had.fields() != expected.fields() {
            let (had, expected) = (had.fields(), expected.fields());
            return Err(self.refused(format!("a batch has the columns {had:?}, expected {expected:?}")));
        }
        self.begin()?;
        let rows = self.encoder.encode(&records)?;
        let output = self.output.as_mut().expect("the driver calls recover first");
        output
            .write(rows.bytes())
            .map_err(Error::io("write", &self.options.path))?;
        engine::fault::point("mid_file");
        Ok(())
    }

    fn prepare(&mut self, _: &Barrier<'_>) -> Result<Token> {
        // An output without rows still says which columns it would have.
        self.begin()?;
        let (path, before) = (self.options.path.clone(), self.prepared);
        let output = self.output();
        let after = output.length;
        let file = match &mut output.writer {
            Writer::Stream(stream) => {
                stream.flush().map_err(Error::io("write", &path))?;
                return Ok(Token::default());
            }
            Writer::File(file) => file,
        };
        file.flush().map_err(Error::io("write", &path))?;
        let file = file.get_mut();
        file.sync_data().map_err(Error::io("sync", &path))?;
        let tail_crc32c = tail_crc32c(file, after).map_err(Error::io("read", &path))?;
        self.prepared = after;
        let written = Written {
            format: FORMAT,
            before,
            after,
            tail_crc32c,
        };
        Ok(Token(serde_json::to_value(written).expect("four plain fields")))
    }

    fn commit(&mut self, _: &Token) -> Result<()> {
        // The rows are there since `prepare`; from the stored token on they stay.
        Ok(())
    }

    fn abort(&mut self) {
        let Some(output) = self.output.take() else {
            return;
        };
        match output.writer {
            // What was prepared may be named by a durable checkpoint. If the rest can't be cut, the next start does.
            Writer::File(file) => drop(file.into_parts().0.set_len(self.prepared)),
            Writer::Stream(stream) => drop(stream.into_parts()),
        }
    }
}

impl Encoder {
    fn new(format: TextFormat, options: &FileSinkOptions) -> Result<Self> {
        let schema = &options.schema;
        Ok(match format {
            TextFormat::JsonLines => Self::Json(JsonEncoder::objects(schema)),
            TextFormat::Csv => Self::Delimited(DelimitedEncoder::new(Dialect::CSV, schema)?),
            TextFormat::Tsv => Self::Delimited(DelimitedEncoder::new(Dialect::TSV, schema)?),
        })
    }

    /// Returns what stands before the first row.
    fn header(&self) -> Vec<u8> {
        match self {
            Self::Json(_) => Vec::new(),
            Self::Delimited(encoder) => {
                let mut header = encoder.header();
                header.push(b'\n');
                header
            }
        }
    }

    fn encode(&mut self, records: &arrow::record_batch::RecordBatch) -> Result<&Rows> {
        match self {
            Self::Json(encoder) => encoder.encode(records),
            Self::Delimited(encoder) => encoder.encode(records),
        }
    }
}

impl Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.writer {
            Writer::File(file) => file.write_all(bytes)?,
            Writer::Stream(stream) => stream.write_all(bytes)?,
        }
        self.length += bytes.len() as u64;
        Ok(())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for TextFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
        })
    }
}

fn not_empty(job: &str) -> String {
    let way_on = match job {
        "" => "move it away, or use another path",
        _ => "move it away, use another path, or the checkpoint of the job that wrote it",
    };
    format!("the file is not empty, and this job has written nothing yet: {way_on}")
}

/// Returns whether the path is a regular file, or will be one.
fn is_regular_file(path: &Path) -> Result<bool> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let error = io::Error::new(ErrorKind::IsADirectory, "it is a folder: name a file in it");
            Err(Error::io("write", path)(error))
        }
        Ok(metadata) => Ok(metadata.is_file()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::io("look at", path)(error)),
    }
}

/// Opens and locks a regular file, and says whether it is new. The folders above it are made.
fn open(path: &Path) -> Result<(File, bool)> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    let is_new = !path.try_exists().map_err(Error::io("look at", path))?;
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let file = file.map_err(Error::io("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok((file, is_new)),
        Err(TryLockError::WouldBlock) => Err(Error::Sink {
            output: path.display().to_string(),
            problem: "another run or another sink writes to this file: stop it, or use another path".to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
    }
}

fn open_stream(path: &Path) -> io::Result<Box<dyn Write + Send>> {
    match path.as_os_str() == STDOUT {
        true => Ok(Box::new(io::stdout())),
        false => Ok(Box::new(File::options().write(true).open(path)?)),
    }
}

/// Returns the checksum of the last bytes before `end`, and leaves the file there.
fn tail_crc32c(file: &mut File, end: u64) -> io::Result<u32> {
    let start = end.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(end - start).read_to_end(&mut tail)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(crc32c::crc32c(&tail))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that can not go on should stop there")]
mod tests;
