//! The contract of everything that is written: an epoch's rows appear together, once, or not at all.

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::error::Result;
use crate::position::{Epoch, Positions};

/// Something that takes a job's output, epoch by epoch, in two phases.
///
/// All calls come from the driver's thread, in this order:
/// `recover`, then for each epoch any number of `write`, one `prepare`, (the store makes the checkpoint durable), one
/// `commit`; at last `close`. `abort` may come instead of `prepare` or `commit` and ends the use of the sink.
/// After a crash a new process calls `recover` on a sink of the same description.
pub trait Sink: Send {
    /// Returns what is written and how, for the job's identity.
    fn describe(&self) -> String;

    /// Returns what a reader of the output may rely on.
    fn guarantee(&self) -> Guarantee;

    /// Returns whether the sink has a commit point of its own, as a transaction is, which can't be finished from a token
    /// after a crash. Of a job's sinks at most one does; it commits first, and the others follow.
    fn decides(&self) -> bool {
        false
    }

    /// Returns whether a commit also publishes the positions in the topic or file `stream`, so that its source need not.
    fn publishes(&self, stream: &str) -> bool {
        let _ = stream;
        false
    }

    /// Puts the output in the state of one of the checkpoints, and says which. The candidates are the last two,
    /// newest first, empty on a first start. A sink whose truth is its token finishes the commit of the first
    /// candidate (again); one whose commit point lies elsewhere (a Kafka transaction) chooses the one that happened.
    /// Everything that is newer than the answer is removed and stays invisible. `None` means no candidate: start anew.
    ///
    /// # Errors
    /// When the output can't be reached, or matches no candidate.
    fn recover(&mut self, recovery: &Recovery<'_>) -> Result<Option<Epoch>>;

    /// Writes rows of the epoch under way. No reader sees them yet, unless the guarantee is weaker.
    ///
    /// # Errors
    /// When the rows can't be written; the epoch is lost then, and the job stops.
    fn write(&mut self, batch: &Batch) -> Result<()>;

    /// Makes the epoch's rows durable, so that `commit` can't fail for lack of room, and returns what `commit` needs.
    ///
    /// # Errors
    /// When the rows can't be made durable.
    fn prepare(&mut self, barrier: &Barrier<'_>) -> Result<Token>;

    /// Makes the prepared epoch visible. Idempotent: the second call with the same token changes nothing.
    ///
    /// # Errors
    /// When the epoch can't be made visible, or this process was fenced.
    fn commit(&mut self, token: &Token) -> Result<()>;

    /// Gives up what was written since the last commit, as far as it can without waiting.
    fn abort(&mut self);

    /// Ends the use of the sink after the last commit.
    ///
    /// # Errors
    /// When something that was accepted could not be delivered.
    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What a reader of a sink's output may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Every input record counts once in what readers see, over any crash.
    ExactlyOnce,
    /// Nothing is missing; after a crash something may be there twice.
    AtLeastOnce,
}

/// What a sink needs to make a prepared epoch visible, as the checkpoint keeps it. Its content is the sink's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Token(pub serde_json::Value);

/// The end of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Barrier<'a> {
    /// The epoch that ends.
    pub epoch: Epoch,
    /// The next offset to read of every partition: all before it is in this epoch or an earlier one.
    pub positions: &'a Positions,
}

/// What is known at a start.
#[derive(Clone, Copy, Debug)]
pub struct Recovery<'a> {
    /// The job's id: random, made with its checkpoint, the same for every run of it.
    pub job: &'a str,
    /// The number of this run on the checkpoint; a later run has a higher one and fences this one.
    pub generation: u64,
    /// The last two checkpoints, newest first.
    pub candidates: &'a [Candidate],
}

/// A checkpoint that the output may be in the state of.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its positions.
    pub positions: Positions,
    /// What `prepare` returned for it; null for epoch 0.
    pub token: Token,
}
