//! One partition under way, whoever reads it: its rows, how far it is, and what the driver knows of that.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Once, OnceLock};

use arrow::datatypes::SchemaRef;
use engine::Error;
use engine::position::{OffsetRange, Partition};
use engine::queue::Closed;
use engine::source::{Event, Intake};

use super::cluster::Cluster;
use super::columns::{Record, Rows};
use super::options::SourceOptions;

/// What the threads of one source share.
pub(super) struct Shared {
    pub(super) options: SourceOptions,
    pub(super) schema: SchemaRef,
    pub(super) cluster: Cluster,
    /// Set once: the threads end.
    pub(super) stopping: AtomicBool,
    /// Offsets that were skipped while running, because their records are gone.
    pub(super) offsets_lost: AtomicU64,
    /// The ids that the topics must have, once they are known and where they have some.
    pub(super) topic_ids: OnceLock<BTreeMap<String, String>>,
    /// Whether it was said that librdkafka reads.
    pub(super) fallback: Once,
}

impl Shared {
    /// Says, once a run, that librdkafka reads what the native client was to read.
    pub(super) fn say_librdkafka_reads(&self, reason: &str) {
        let said = || tracing::info!(reason, "librdkafka reads, the native client can't");
        self.fallback.call_once(said);
    }
}

/// A partition to read.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub(super) partition: Partition,
    /// The first offset to read.
    pub(super) position: i64,
    /// The first offset not to read, if the job is bounded.
    pub(super) end: Option<i64>,
}

/// Why a reader ends before its partitions do.
#[derive(Debug)]
pub(super) enum Stop {
    Closed,
    Failed(Error),
}

impl From<Closed> for Stop {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// One partition under way.
pub(super) struct Lane {
    pub(super) partition: Partition,
    rows: Rows,
    /// Whether rows wait until their batch is full.
    whole_batches: bool,
    /// The next offset to read.
    pub(super) position: i64,
    /// The position that the driver knows.
    sent: i64,
    /// The first offset not to read; the largest number if the job is not bounded.
    pub(super) end: i64,
}

impl Lane {
    pub(super) fn new(assignment: Assignment, shared: &Shared) -> Self {
        let Assignment {
            partition,
            position,
            end,
        } = assignment;
        Self {
            rows: Rows::new(partition.clone(), Arc::clone(&shared.schema), &shared.options),
            whole_batches: shared.options.whole_batches,
            partition,
            position,
            sent: position,
            end: end.unwrap_or(i64::MAX),
        }
    }

    /// Returns whether there is nothing left to read.
    pub(super) fn is_done(&self) -> bool {
        self.position >= self.end
    }

    /// Returns the first offset not to read, if there is one.
    pub(super) fn bound(&self) -> Option<i64> {
        (self.end < i64::MAX).then_some(self.end)
    }

    /// Takes the record at or after the position in, and sends the rows if they are enough.
    #[inline]
    pub(super) fn absorb(&mut self, record: &impl Record, intake: &Intake) -> Result<(), Stop> {
        let offset = record.offset();
        debug_assert!(
            (self.position..self.end).contains(&offset),
            "records come in order, up to the end"
        );
        if let Err(problem) = self.rows.append(record) {
            return Err(Stop::Failed(read_error(&self.partition, offset, &problem.to_string())));
        }
        self.position = offset + 1;
        match self.rows.is_full() {
            true => Ok(self.flush(intake)?),
            false => Ok(()),
        }
    }

    /// Moves on to an offset before which there is no record any more.
    pub(super) fn reach(&mut self, offset: i64) {
        self.position = self.position.max(offset.min(self.end));
    }

    /// Sends what there is while nothing more is at hand, unless batches are to be whole.
    pub(super) fn pause(&mut self, intake: &Intake) -> Result<(), Closed> {
        match self.whole_batches && !self.rows.is_empty() {
            true => Ok(()),
            false => self.flush(intake),
        }
    }

    /// Sends what there is, so that the driver knows the position.
    pub(super) fn flush(&mut self, intake: &Intake) -> Result<(), Closed> {
        let offsets = OffsetRange {
            from: self.sent,
            to: self.position,
        };
        let event = if !self.rows.is_empty() {
            Event::Batch(self.rows.finish(offsets))
        } else if self.position > self.sent {
            Event::Advanced {
                partition: self.partition.clone(),
                position: self.position,
            }
        } else {
            return Ok(());
        };
        self.sent = self.position;
        intake.send(event)
    }

    /// Sends what there is, and that nothing more comes.
    pub(super) fn finish(&mut self, intake: &Intake) -> Result<(), Closed> {
        self.flush(intake)?;
        let partition = self.partition.clone();
        intake.send(Event::Ended { partition })
    }

    /// Returns the error of reading at the position.
    pub(super) fn error(&self, problem: &str) -> Error {
        read_error(&self.partition, self.position, problem)
    }
}

/// Returns the error of reading at an offset.
pub(super) fn read_error(partition: &Partition, offset: i64, problem: &str) -> Error {
    Error::Source {
        input: format!("{partition} at offset {offset}"),
        problem: problem.to_owned(),
    }
}
