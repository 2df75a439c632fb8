//! Text files. The sink is in [`sink`].
//!
//! The source reads them line by line: plain, gzip or zstd, one or many, or standard input. The job ends where they end.
//!
//! Each file is a partition of its own: the path is its stream, 0 its index, and offsets are byte positions in the
//! decompressed text. A row is a line without its line end, `\n` or `\r\n`; a last line without one is a row too, and an
//! empty line is an empty row.
//!
//! Compressed text is handed over while it is decompressed, and the checksum of a gzip member or a zstd frame comes last: a
//! flipped byte that still decompresses shows only there, after rows that it may have changed.

mod input;
mod lines;
mod reader;
pub mod sink;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::error::LostRange;
use engine::source::{Intake, Source, SourceState};
use engine::{Error, OffsetRange, Partition, Positions, Result};
use serde::{Deserialize, Serialize};

use self::input::{Identity, Input};
use self::lines::Limits;
use self::reader::{Reader, Work};

/// The path that stands for standard input.
pub const STDIN: &str = "-";

/// Which files to read, and in what portions.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// The files; [`STDIN`] for standard input.
    pub paths: Vec<PathBuf>,
    /// About the most bytes of a batch. A longer line is a batch of its own.
    pub batch_bytes_max: usize,
    /// The most rows of a batch.
    pub batch_rows_max: usize,
    /// The longest line, in bytes.
    pub line_bytes_max: usize,
    /// How many files are read at once, each by a thread.
    pub threads: usize,
    /// Bytes of batches that may wait or be worked on, if the job's queue takes as much.
    pub lead_bytes_max: usize,
}

/// Text files as a source.
#[derive(Debug)]
pub struct FileSource {
    options: FileOptions,
    schema: SchemaRef,
    stopping: Arc<AtomicBool>,
    readers: Vec<JoinHandle<()>>,
}

/// What a checkpoint keeps of the files, by path, to recognise them.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Identities(BTreeMap<Arc<str>, Identity>);

/// Bytes of a batch: with the places of its words, what a second-level cache holds.
const BATCH_BYTES: usize = 512 << 10;

/// Batches for each core that a reader may be ahead: one that is worked on, one that waits, and as many on the way. A page
/// that is touched for the first time costs more than all that is done with the text in it, so that few are used again and
/// again; and a file gives more at once, so that a greater lead gains nothing.
const LEAD_BATCHES: usize = 4;

impl FileOptions {
    /// Returns options for `paths`: batches of 512 KiB or 8192 rows, four of them ahead for each core, lines of at most
    /// 64 MiB, one thread.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            paths,
            batch_bytes_max: BATCH_BYTES,
            batch_rows_max: 8192,
            line_bytes_max: 64 << 20,
            threads: 1,
            lead_bytes_max: LEAD_BATCHES * cores * BATCH_BYTES,
        }
    }
}

impl FileSource {
    /// Returns a source. No file is looked at before `open`.
    ///
    /// # Errors
    /// When there is no path, a path is given twice or is not UTF-8, or a limit is zero or beyond 1 GiB.
    pub fn new(options: FileOptions) -> Result<Self> {
        const GIB: usize = 1 << 30;
        for (name, limit, max) in [
            ("batch_bytes_max", options.batch_bytes_max, GIB),
            ("batch_rows_max", options.batch_rows_max, GIB),
            ("line_bytes_max", options.line_bytes_max, GIB),
            ("threads", options.threads, 1024),
            ("lead_bytes_max", options.lead_bytes_max, usize::MAX),
        ] {
            if !(1..=max).contains(&limit) {
                return Err(Error::Invalid(format!(
                    "file: expected {name} from 1 to {max}, got {limit}"
                )));
            }
        }
        if options.line_bytes_max < options.batch_bytes_max {
            return Err(Error::Invalid(format!(
                "file: line_bytes_max must be at least batch_bytes_max, {}",
                options.batch_bytes_max
            )));
        }
        if options.paths.is_empty() {
            return Err(Error::Invalid("file: expected at least one path".to_owned()));
        }
        for (index, path) in options.paths.iter().enumerate() {
            if path.to_str().is_none() {
                return Err(Error::Invalid(format!(
                    "file: the path {} is not UTF-8",
                    path.display()
                )));
            }
            if options.paths[..index].contains(path) {
                return Err(Error::Invalid(format!("file: {} is given twice", path.display())));
            }
        }
        Ok(Self {
            schema: Arc::new(Schema::new(vec![Field::new("value", DataType::Binary, false)])),
            options,
            stopping: Arc::default(),
            readers: Vec::new(),
        })
    }

    fn partitions(&self) -> impl Iterator<Item = Partition> + '_ {
        let names = self.options.paths.iter().map(|path| path.to_str());
        names.map(|name| Partition::new(name.expect("checked when the source was made"), 0))
    }
}

impl Source for FileSource {
    fn describe(&self) -> String {
        let paths: Vec<_> = self
            .partitions()
            .map(|partition| partition.stream.to_string())
            .collect();
        format!("lines of {}", paths.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Checks every file. The ends are the plain files' sizes; how long a compressed file or a pipe is shows only when it
    /// is read, so it has no entry there.
    fn open(&mut self, resume: Option<&SourceState>) -> Result<SourceState> {
        let mut state = resume.cloned().unwrap_or_default();
        let mut identities = match resume {
            Some(state) => read_identities(&state.identity)?,
            None => Identities::default(),
        };
        let mut ends = state.ends.take().unwrap_or_default();
        for partition in self.partitions() {
            let input = Input::open(&partition.stream)?;
            let position = state.positions.get(&partition).unwrap_or(0);
            state.positions.0.insert(partition.clone(), position);
            if let Some(identity) = identities.0.get(&partition.stream) {
                check_same(&partition, &input, identity, ends.get(&partition), position)?;
                continue;
            }
            if let Some(size) = input.plain_size() {
                ends.0.insert(partition.clone(), size);
            }
            identities.0.insert(partition.stream, input.identity()?);
        }
        state.ends = Some(ends);
        state.identity = serde_json::to_value(identities).expect("keys are strings");
        Ok(state)
    }

    fn start(&mut self, state: &SourceState, intake: Intake) -> Result<()> {
        let ends = state.ends.as_ref();
        let mut work: Vec<_> = self
            .partitions()
            .map(|partition| Work {
                from: state.positions.get(&partition).unwrap_or(0),
                end: ends.and_then(|ends| ends.get(&partition)),
                partition,
            })
            .collect();
        work.reverse();
        let threads = self.options.threads.min(work.len());
        let work = Arc::new(Mutex::new(work));
        let intake = intake.bounded_to(self.options.lead_bytes_max);
        for index in 0..threads {
            let reader = Reader {
                work: Arc::clone(&work),
                schema: self.schema.clone(),
                limits: Limits {
                    block_bytes: self.options.batch_bytes_max,
                    rows: self.options.batch_rows_max,
                    line_bytes: self.options.line_bytes_max,
                },
                stopping: Arc::clone(&self.stopping),
                intake: intake.clone(),
            };
            let thread = thread::Builder::new().name(format!("file-{index}"));
            let handle = thread.spawn(move || reader.run()).map_err(|error| Error::Source {
                input: self.describe(),
                problem: format!("cannot start a thread: {error}"),
            })?;
            self.readers.push(handle);
        }
        Ok(())
    }

    fn acknowledge(&mut self, _positions: &Positions) -> Result<()> {
        Ok(())
    }

    fn stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        for reader in self.readers.drain(..) {
            // One that waits for a terminal or a pipe wakes up only when a byte comes, so it is left behind.
            if reader.is_finished() || !reader::waits_for_pipe(&self.options.paths) {
                reader.join().expect("reading does not panic");
            }
        }
    }
}

fn read_identities(identity: &serde_json::Value) -> Result<Identities> {
    Identities::deserialize(identity).map_err(|error| Error::Source {
        input: "the recorded files".to_owned(),
        problem: format!("the checkpoint's list of files can't be used: {error}"),
    })
}

/// Checks that a file is still the one that the checkpoint knows.
fn check_same(partition: &Partition, input: &Input, was: &Identity, end: Option<i64>, position: i64) -> Result<()> {
    let problem = |problem: String| Error::Source {
        input: format!("{} from byte {position}", partition.stream),
        problem,
    };
    if input.is_pipe() {
        return match position {
            0 => Ok(()),
            _ => Err(problem(
                "a pipe can't be read again, so this job can't go on: start afresh".to_owned(),
            )),
        };
    }
    if let (Some(end), Some(size)) = (end, input.plain_size())
        && size < end
    {
        let cause = format!("the file was cut to {size} bytes");
        let offsets = OffsetRange { from: size, to: end };
        let partition = partition.clone();
        return Err(Error::DataLoss {
            lost: vec![LostRange {
                partition,
                offsets,
                cause,
            }],
        });
    }
    if !input.is_same(was)? {
        return Err(problem(
            "this is another file than the one that the job began with".to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that can not go on should stop there")]
mod tests;
