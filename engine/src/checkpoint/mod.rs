//! What a job keeps to go on after a crash: positions, the sink's token, and the state of its operators.

pub mod durable;
mod lease;
mod local;
mod state;

use std::path::PathBuf;

use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::kernel::hash::Seed;
use crate::operator::Extent;
use crate::position::{Epoch, Partition};
use crate::sink::{Candidate, Token};
use crate::source::SourceState;

pub use lease::Lease;
pub use local::LocalStore;

/// Where checkpoints are kept. The last two are: which of them is the truth, the sink says at a restart.
pub trait Store: Send {
    /// Returns the job's random id, the same for every run on these checkpoints.
    fn job(&self) -> &str;

    /// Returns the number of this run: each has a higher one than those before, which it fences.
    fn generation(&self) -> u64;

    /// Returns the seed of the job's hashes.
    fn seed(&self) -> Seed;

    /// Returns the last two checkpoints, newest first.
    fn candidates(&self) -> Vec<Candidate>;

    /// Goes back to the checkpoint of `epoch`, forgetting a newer one, and returns it.
    ///
    /// # Errors
    /// When there is none of that epoch, or the newer one can't be removed.
    fn choose(&mut self, epoch: Epoch) -> Result<Checkpoint>;

    /// Hands the state of the newest checkpoint over, each row with the number of its query, in the order in which it was
    /// written: later rows replace earlier ones.
    ///
    /// # Errors
    /// When a state file is missing, torn or corrupt, or `take` fails.
    fn read_state(&self, take: &mut dyn FnMut(usize, &RecordBatch) -> Result<()>) -> Result<()>;

    /// Returns how much of a query's state the next checkpoint should hold: changes only, until those outgrow the base.
    fn extent(&self, query: usize) -> Extent;

    /// Makes a checkpoint durable, atomically: after a crash either this one is the newest, or the one before. `state` are
    /// the snapshots of the queries that have state.
    ///
    /// # Errors
    /// When it can't be written, or another process has taken over ([`crate::Error::Fenced`]).
    fn write(&mut self, checkpoint: Checkpoint, state: Vec<StateRows<'_>>) -> Result<()>;

    /// Returns a name for messages.
    fn location(&self) -> PathBuf;
}

/// The rows of a snapshot on their way into a store.
pub struct StateRows<'a> {
    /// The number of their query in the job, from 0.
    pub query: usize,
    /// How much of the state they are.
    pub extent: Extent,
    /// The rows.
    pub rows: Box<dyn Iterator<Item = Result<RecordBatch>> + 'a>,
}

/// A point to restart from, without the state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its epoch.
    pub epoch: Epoch,
    /// Where each of the job's sources goes on.
    pub sources: Vec<SourceState>,
    /// What the sinks need to finish the commit.
    pub token: Token,
    /// How far the event time was.
    pub time: TimeState,
}

/// How far the event time of a job was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeState {
    /// The watermark, in microseconds since 1970 UTC.
    pub watermark_micros: Option<i64>,
    /// The newest event time of each partition, in microseconds since 1970 UTC.
    pub newest_micros: Vec<(Partition, i64)>,
}

/// One part of a job as its checkpoint records it: an operator, the source, the sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPart {
    /// Which part: "source", "operator 1", "sink".
    pub name: String,
    /// Its description.
    pub description: String,
}
