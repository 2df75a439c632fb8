//! Reads Parquet files, one or many. The job ends where they end.
//!
//! Each file is a partition of its own: the path is its stream, 0 its index, and offsets are the numbers of its rows. All
//! files have the same columns; a run that goes on in the middle of a file skips the row groups before.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use arrow::array::ArrayRef;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use engine::source::{Event, Intake, Source, SourceState};
use engine::{Batch, Error, OffsetRange, Origin, Partition, Positions, Result};
use serde::{Deserialize, Serialize};

use super::stored::{Identity, StoredFile};
use crate::spelling;

/// Rows of a batch: as many as the Kafka source sends.
const BATCH_ROWS: usize = 8192;

/// Which files to read.
#[derive(Clone, Debug)]
pub struct ParquetSourceOptions {
    /// The files.
    pub paths: Vec<PathBuf>,
    /// The columns that are wanted, in the order of every batch; all of the first file if none are named.
    pub columns: Option<Vec<String>>,
    /// The most rows of a batch.
    pub batch_rows_max: usize,
    /// How many files are read at once, each by a thread.
    pub threads: usize,
}

/// Parquet files as a source.
#[derive(Debug)]
pub struct ParquetSource {
    options: ParquetSourceOptions,
    schema: SchemaRef,
    stopping: Arc<AtomicBool>,
    readers: Vec<JoinHandle<()>>,
}

/// What a checkpoint keeps of the files, by path, to recognise them.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Identities(BTreeMap<Arc<str>, Identity>);

/// A file to read, from a row on.
#[derive(Debug)]
struct Work {
    partition: Partition,
    from: i64,
}

/// One thread's part.
struct Reader {
    /// What is left, the next file last.
    work: Arc<Mutex<Vec<Work>>>,
    schema: SchemaRef,
    /// The file that the schema is of.
    first: String,
    batch_rows: usize,
    stopping: Arc<AtomicBool>,
    intake: Intake,
}

/// Why a file was not read to its end.
enum Ending {
    /// The driver takes no more.
    Stopped,
    Failed(Error),
}

impl ParquetSourceOptions {
    /// Returns options that read all columns of `paths`, one file after the other.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            columns: None,
            batch_rows_max: BATCH_ROWS,
            threads: 1,
        }
    }
}

impl ParquetSource {
    /// Returns a source. The footer of the first file is read: it says which columns there are.
    ///
    /// # Errors
    /// When no path, one twice, or one that is not UTF-8 is given, a limit is zero, the first file can't be read, or has no
    /// column of a wanted name.
    pub fn new(options: ParquetSourceOptions) -> Result<Self> {
        check(&options)?;
        let first = StoredFile::open(options.paths[0].to_str().expect("just checked"))?;
        Ok(Self {
            schema: Arc::new(wanted(&first.schema(), options.columns.as_deref())?),
            options,
            stopping: Arc::default(),
            readers: Vec::new(),
        })
    }

    fn partitions(&self) -> impl Iterator<Item = Partition> + '_ {
        let names = self.options.paths.iter().map(|path| path.to_str());
        names.map(|name| Partition::new(name.expect("checked when the source was made"), 0))
    }

    fn first(&self) -> &str {
        self.options.paths[0]
            .to_str()
            .expect("checked when the source was made")
    }
}

impl Source for ParquetSource {
    fn describe(&self) -> String {
        let paths: Vec<_> = self
            .partitions()
            .map(|partition| partition.stream.to_string())
            .collect();
        let fields = self.schema.fields().iter();
        let columns: Vec<_> = fields
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect();
        format!("parquet rows of {} with {}", paths.join(", "), columns.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn open(&mut self, resume: Option<&SourceState>) -> Result<SourceState> {
        let mut state = resume.cloned().unwrap_or_default();
        let mut identities = match resume {
            Some(state) => read_identities(&state.identity)?,
            None => Identities::default(),
        };
        let mut ends = state.ends.take().unwrap_or_default();
        for partition in self.partitions() {
            let file = StoredFile::open(&partition.stream)?;
            file.places(&self.schema, self.first())?;
            if self.options.columns.is_none() {
                file.check_no_more(&self.schema, self.first())?;
            }
            let position = *state.positions.0.entry(partition.clone()).or_insert(0);
            let was = identities
                .0
                .entry(Arc::clone(&partition.stream))
                .or_insert(file.identity());
            if *was != file.identity() {
                return Err(Error::Source {
                    input: format!("{} from row {position}", partition.stream),
                    problem: "this is another file than the one that the job began with".to_owned(),
                });
            }
            ends.0.insert(partition, file.rows());
        }
        state.ends = Some(ends);
        state.identity = serde_json::to_value(identities).expect("keys are strings");
        Ok(state)
    }

    fn start(&mut self, state: &SourceState, intake: Intake) -> Result<()> {
        let from = |partition: &Partition| state.positions.get(partition).unwrap_or(0);
        let work = self.partitions().map(|partition| Work {
            from: from(&partition),
            partition,
        });
        let mut work: Vec<_> = work.collect();
        work.reverse();
        let threads = self.options.threads.min(work.len());
        let work = Arc::new(Mutex::new(work));
        for index in 0..threads {
            let reader = Reader {
                work: Arc::clone(&work),
                schema: Arc::clone(&self.schema),
                first: self.first().to_owned(),
                batch_rows: self.options.batch_rows_max,
                stopping: Arc::clone(&self.stopping),
                intake: intake.clone(),
            };
            let thread = thread::Builder::new().name(format!("parquet-{index}"));
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
            reader.join().expect("reading does not panic");
        }
    }
}

impl Reader {
    /// Reads files until there is none left, one fails, or the driver takes no more.
    fn run(self) {
        while let Some(work) = self.take() {
            let event = match self.read(&work) {
                Ok(()) => Event::Ended {
                    partition: work.partition,
                },
                Err(Ending::Stopped) => return,
                Err(Ending::Failed(error)) => {
                    // A driver that takes no more has no use for the error either.
                    let _ = self.intake.send(Event::Failed(error));
                    return;
                }
            };
            if self.intake.send(event).is_err() {
                return;
            }
        }
    }

    fn take(&self) -> Option<Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn read(&self, work: &Work) -> Result<(), Ending> {
        let file = StoredFile::open(&work.partition.stream).map_err(Ending::Failed)?;
        let (rows, mut position) = (file.rows(), work.from);
        if position >= rows {
            return Ok(());
        }
        let places = file.places(&self.schema, &self.first).map_err(Ending::Failed)?;
        let order = order(&places);
        let reader = file.read(&places, position, self.batch_rows).map_err(Ending::Failed)?;
        for records in reader {
            if self.stopping.load(Ordering::Acquire) || self.intake.is_closed() {
                return Err(Ending::Stopped);
            }
            let failed = |problem: String| Ending::Failed(failed(&work.partition, position, problem));
            let records = records.map_err(|error| failed(error.to_string()))?;
            let records = self
                .in_order(&records, &order)
                .map_err(|error| failed(error.to_string()))?;
            let to = position + records.num_rows() as i64;
            let origin = Origin {
                partition: work.partition.clone(),
                offsets: OffsetRange { from: position, to },
            };
            let event = Event::Batch(Batch::new(records, Some(origin)));
            self.intake.send(event).map_err(|_| Ending::Stopped)?;
            position = to;
        }
        match position == rows {
            true => Ok(()),
            false => Err(Ending::Failed(failed(
                &work.partition,
                position,
                format!("the file ends there, and its footer says that it has {rows} rows"),
            ))),
        }
    }

    /// Returns the columns in the order of the schema.
    fn in_order(&self, records: &RecordBatch, order: &[usize]) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = order.iter().map(|&column| Arc::clone(records.column(column))).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(records.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(Error::arrow("build a record batch"))
    }
}

fn check(options: &ParquetSourceOptions) -> Result<()> {
    let invalid = |problem: String| Err(Error::Invalid(format!("parquet: {problem}")));
    if options.paths.is_empty() {
        return invalid("expected at least one path".to_owned());
    }
    if options.batch_rows_max == 0 || options.threads == 0 {
        return invalid("expected at least one row a batch and one thread".to_owned());
    }
    for (index, path) in options.paths.iter().enumerate() {
        if path.to_str().is_none() {
            return invalid(format!("the path {} is not UTF-8", path.display()));
        }
        if options.paths[..index].contains(path) {
            return invalid(format!("{} is given twice", path.display()));
        }
    }
    Ok(())
}

/// Returns the wanted columns of a file's.
fn wanted(schema: &Schema, columns: Option<&[String]>) -> Result<Schema> {
    let Some(columns) = columns else {
        return Ok(schema.clone());
    };
    let mut places = Vec::new();
    for column in columns {
        let Ok(place) = schema.index_of(column) else {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            let hint = spelling::hint(column, names);
            return Err(Error::Invalid(format!("parquet: there is no column `{column}`{hint}")));
        };
        if places.contains(&place) {
            return Err(Error::Invalid(format!("parquet: the column `{column}` is named twice")));
        }
        places.push(place);
    }
    schema.project(&places).map_err(Error::arrow("choose columns"))
}

/// Returns which of the columns read, which are in the file's order, comes first, second and so on in the schema's.
fn order(places: &[usize]) -> Vec<usize> {
    let before = |place: &usize| places.iter().filter(|other| *other < place).count();
    places.iter().map(before).collect()
}

fn read_identities(identity: &serde_json::Value) -> Result<Identities> {
    Identities::deserialize(identity).map_err(|error| Error::Source {
        input: "the recorded files".to_owned(),
        problem: format!("the checkpoint's list of files can't be used: {error}"),
    })
}

fn failed(partition: &Partition, position: i64, problem: String) -> Error {
    Error::Source {
        input: format!("{} from row {position}", partition.stream),
        problem,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that can not go on should stop there")]
mod tests;
