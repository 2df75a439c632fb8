//! The threads that read: each takes one file after the other.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use engine::source::{Event, Intake};
use engine::{Batch, Column, Error, Origin, Partition, Result};

use super::input::{self, Input};
use super::lines::{Blocks, Cut, Limits};

/// A file to read.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) partition: Partition,
    /// The byte to begin at.
    pub(super) from: i64,
    /// The byte to end at; the end of the text if none.
    pub(super) end: Option<i64>,
}

/// One thread's part.
pub(super) struct Reader {
    /// What is left, the next file last.
    pub(super) work: Arc<Mutex<Vec<Work>>>,
    pub(super) schema: SchemaRef,
    pub(super) limits: Limits,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) intake: Intake,
}

/// Why a file was not read to its end.
enum Ending {
    /// The driver takes no more.
    Stopped,
    Failed(Error),
}

/// Returns whether a reader of `paths` may wait for a pipe without end.
pub(super) fn waits_for_pipe(paths: &[PathBuf]) -> bool {
    paths.iter().any(|path| input::is_pipe(path))
}

impl Reader {
    /// Reads files until there is none left, one fails, or the driver takes no more.
    pub(super) fn run(self) {
        while let Some(work) = self.take() {
            match self.read(&work) {
                Ok(()) => {
                    let partition = work.partition;
                    if self.intake.send(Event::Ended { partition }).is_err() {
                        return;
                    }
                }
                Err(Ending::Stopped) => return,
                Err(Ending::Failed(error)) => {
                    // A driver that takes no more has no use for the error either.
                    let _ = self.intake.send(Event::Failed(error));
                    return;
                }
            }
        }
    }

    fn take(&self) -> Option<Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn read(&self, work: &Work) -> Result<(), Ending> {
        if work.end.is_some_and(|end| work.from >= end) {
            return Ok(());
        }
        let name = &work.partition.stream;
        let input = Input::open(name).map_err(Ending::Failed)?;
        let eager = input.is_pipe();
        let text = input.text(unsigned(work.from), work.end.map(unsigned));
        let text = text.map_err(|error| Ending::Failed(failed(name, work.from, &error)))?;
        let mut lines = Blocks::new(text, work.from, self.limits, eager);
        loop {
            if self.stopping.load(Ordering::Acquire) || self.intake.is_closed() {
                return Err(Ending::Stopped);
            }
            match lines.next() {
                Ok(Some(cut)) => self.send(&work.partition, cut)?,
                Ok(None) => break,
                Err(error) => return Err(Ending::Failed(failed(name, lines.position(), &error))),
            }
        }
        match work.end {
            Some(end) if lines.position() < end => {
                let error = io::Error::other(format!(
                    "the file was cut short while it was read; expected {end} bytes"
                ));
                Err(Ending::Failed(failed(name, lines.position(), &error)))
            }
            _ => Ok(()),
        }
    }

    fn send(&self, partition: &Partition, cut: Cut) -> Result<(), Ending> {
        let origin = Origin {
            partition: partition.clone(),
            offsets: cut.offsets,
        };
        let rows = cut.lines.len();
        let lines = vec![Column::Lines(cut.lines)];
        let batch = Batch::from_columns(self.schema.clone(), lines, rows, Some(origin));
        self.intake.send(Event::Batch(batch)).map_err(|_| Ending::Stopped)
    }
}

fn failed(name: &str, position: i64, error: &io::Error) -> Error {
    Error::Source {
        input: format!("{name} from byte {position}"),
        problem: error.to_string(),
    }
}

fn unsigned(position: i64) -> u64 {
    u64::try_from(position).unwrap_or(0)
}
