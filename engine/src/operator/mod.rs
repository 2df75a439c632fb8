//! Operators: what happens to batches between the source and the sink. One operator a file.

pub mod aggregate;
mod calls;
pub mod deduplicate;
pub mod expression;
pub mod filter;
pub mod hop;
mod journal;
pub mod late;
pub mod project;
pub mod registry;
pub mod retract;
pub mod session;
mod shards;
pub mod sort;
mod span;
pub mod text;
pub mod tokenize;
pub mod union;

use std::any::Any;
use std::fmt;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rayon::ThreadPool;

pub use self::shards::SHARDS;
use crate::batch::Batch;
use crate::error::Result;
use crate::metrics::Metrics;

/// Maps a batch to a batch, without memory of earlier ones. Called by many threads at once.
pub trait Operator: Send + Sync + fmt::Debug {
    /// Returns the operator's name and settings, for the job's identity and for messages.
    fn describe(&self) -> String;

    /// Returns the columns of the batches it makes.
    fn schema(&self) -> SchemaRef;

    /// Returns the batch's rows after the operator, column at a time; the origin stays.
    ///
    /// # Errors
    /// When the batch's columns are not those the operator was made for, or a value can't be worked on.
    fn apply(&self, batch: Batch, metrics: &Metrics) -> Result<Batch>;
}

/// Keeps state over batches. Workers absorb batches into partials of their own; between two micro-batches the driver
/// merges the partials into the state, takes what is to be emitted, and makes snapshots.
pub trait StatefulOperator: Send + fmt::Debug {
    /// Returns the operator's name and settings; the state of one description can't be used by another.
    fn describe(&self) -> String;

    /// Returns the columns of the batches it emits.
    fn schema(&self) -> SchemaRef;

    /// Returns whether its groups belong to windows of the event time, which end.
    fn is_windowed(&self) -> bool {
        false
    }

    /// Returns why it can't put its rows out in this mode, if it can't, and what would help.
    fn refusal(&self, mode: OutputMode) -> Option<&'static str> {
        let is_final = mode != OutputMode::Append || self.is_windowed();
        (!is_final).then_some(
            "a group must be final to be appended: group by a window of the event time, or use mode update or complete",
        )
    }

    /// Returns a partial for one worker, empty.
    fn partial(&self) -> Box<dyn Partial>;

    /// Takes the partials' content over into the state and leaves them empty.
    ///
    /// # Errors
    /// When a number leaves the range of its state.
    fn merge(&mut self, partials: &mut [Box<dyn Partial>], pool: &ThreadPool) -> Result<()>;

    /// Returns the rows that the micro-batch puts out.
    ///
    /// # Errors
    /// When the state can't be turned into columns.
    fn emit(&mut self, context: EmitContext, pool: &ThreadPool) -> Result<Vec<RecordBatch>>;

    /// Returns the number of groups in the state.
    fn groups(&self) -> u64;

    /// Returns the bytes of memory that the state holds, used or not. Asked for about once a second.
    fn memory(&self) -> usize;

    /// Returns the state as Arrow columns: all of it, or the groups changed since the last snapshot of either extent.
    /// Called after [`emit`](Self::emit), with no merge between.
    fn snapshot(&mut self, extent: Extent) -> Box<dyn Iterator<Item = Result<RecordBatch>> + '_>;

    /// Takes the rows of a snapshot in; a row replaces an earlier one of its group. Rows of windows that end at or before
    /// `closed_micros` are left out: they were forgotten after they had been written, which a snapshot does not say.
    ///
    /// # Errors
    /// When the columns are not those of this operator's snapshots.
    fn restore(&mut self, records: &RecordBatch, closed_micros: Option<i64>) -> Result<()>;

    /// Sets the seed of the state's hashes, which a checkpoint keeps. Called once, before there is any state.
    fn set_seed(&mut self, seed: crate::kernel::hash::Seed);
}

/// A worker's share of a stateful operator's work.
pub trait Partial: Send + fmt::Debug {
    /// Takes in a batch; leaves out and counts the rows that are late, and returns them if the context keeps them.
    ///
    /// # Errors
    /// When the batch's columns are not those the operator was made for, or a number leaves its range.
    fn absorb(&mut self, batch: &Batch, context: AbsorbContext<'_>) -> Result<Option<Batch>>;

    /// Returns whether it should be merged before it absorbs more, since it has outgrown the caches.
    fn is_full(&self) -> bool;

    /// Returns the bytes of memory that it holds, used or not.
    fn memory(&self) -> usize;

    /// Gives the partial back to the operator that made it.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

/// Which rows an aggregate puts out after a micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputMode {
    /// The groups of windows that the watermark has passed, once: then they are forgotten. The end of the input closes all
    /// windows.
    Append,
    /// The groups that changed since the last emit. Those of windows that the watermark has passed are forgotten after it.
    Update,
    /// All groups. None is ever forgotten, and no row is late.
    Complete,
}

/// What a partial may know when it absorbs.
#[derive(Clone, Copy, Debug)]
pub struct AbsorbContext<'a> {
    /// Windows that end at or before this event time are closed, and their rows late, in microseconds since 1970 UTC: the
    /// watermark as it was when the micro-batch began. `None` when no window closes.
    pub closed_micros: Option<i64>,
    /// Whether someone takes the late rows.
    pub keeps_late: bool,
    /// The run's counters.
    pub metrics: &'a Metrics,
}

/// What a stateful operator may know when it emits.
#[derive(Clone, Copy, Debug)]
pub struct EmitContext {
    /// Which rows are wanted.
    pub mode: OutputMode,
    /// The event time before which no row is expected any more, in microseconds since 1970 UTC; `None` without event
    /// time.
    pub watermark_micros: Option<i64>,
    /// Whether the input has ended: nothing more comes.
    pub last: bool,
}

/// How much of the state a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The groups changed since the last snapshot.
    Delta,
    /// All groups.
    Base,
}

impl OutputMode {
    /// Returns the event time up to which windows are closed at a watermark: none ever is when all groups are kept.
    pub fn closed_micros(self, watermark_micros: Option<i64>) -> Option<i64> {
        watermark_micros.filter(|_| self != Self::Complete)
    }
}

impl fmt::Display for OutputMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Append => "append",
            Self::Update => "update",
            Self::Complete => "complete",
        })
    }
}
