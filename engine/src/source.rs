//! The contract of everything that is read, and the way from its reader threads to the driver.
//!
//! A source hands over batches, never single records. Its reader threads push [`Event`]s into an [`Intake`], a queue
//! bounded in bytes; when the queue is full the readers wait, which is all the back-pressure there is.

use arrow::datatypes::SchemaRef;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::position::{Partition, Positions};
use crate::queue::{self, Closed, Receiver, Sender};

/// Something that can be read from a position on, again and again, with the same result.
///
/// The driver calls `open` once, then `start` once, both from its own thread; `acknowledge` after each committed
/// epoch; `stop` once at the end, also after an error. A source never calls the driver: it only sends events.
pub trait Source: Send {
    /// Returns what is read and how, for the job's identity: the same text means the same records.
    fn describe(&self) -> String;

    /// Returns the columns of every batch that this source sends.
    fn schema(&self) -> SchemaRef;

    /// Fixes the bounds of the run to numbers. `resume` is what the last checkpoint recorded: then the bounds are
    /// taken from there, new partitions are added, and the source checks that the records from its positions on still
    /// exist.
    ///
    /// # Errors
    /// When the input can't be reached, does not exist, or has lost records.
    fn open(&mut self, resume: Option<&SourceState>) -> Result<SourceState>;

    /// Starts reading at the positions of `state` and returns at once. Batches of one partition arrive in order.
    ///
    /// # Errors
    /// When reading can't start.
    fn start(&mut self, state: &SourceState, intake: Intake) -> Result<()>;

    /// Says that all output of the records before `positions` is durable. Kafka: commits the group's offsets.
    /// Called again with the same positions after a restart.
    ///
    /// # Errors
    /// When the positions can't be published.
    fn acknowledge(&mut self, positions: &Positions) -> Result<()>;

    /// Stops the reader threads and waits for them. The driver has closed the intake before, so that no reader waits
    /// for room.
    fn stop(&mut self);
}

/// What a checkpoint keeps of a source.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SourceState {
    /// The next offset to read of every partition.
    pub positions: Positions,
    /// Where each partition ends, if the job is bounded: half-open.
    pub ends: Option<Positions>,
    /// What else the source needs to recognise its input: topic ids, for example.
    pub identity: serde_json::Value,
}

/// What a reader thread tells the driver.
#[derive(Debug)]
pub enum Event {
    /// Rows, with their origin.
    Batch(Batch),
    /// The position moved on over offsets that hold no record: transaction markers, compaction gaps.
    Advanced {
        /// The partition.
        partition: Partition,
        /// The next offset to read.
        position: i64,
    },
    /// A partition that was added while the job runs.
    Added {
        /// The partition.
        partition: Partition,
        /// Its first offset.
        position: i64,
    },
    /// A partition has reached its end; nothing more comes from it.
    Ended {
        /// The partition.
        partition: Partition,
    },
    /// Where partitions end now, if nothing more comes: what lag is measured against.
    Latest {
        /// The offset that the next record of each would get.
        ends: Positions,
    },
    /// Reading failed for good.
    Failed(Error),
}

/// The readers' end of the queue to the driver. Cheap to clone, one for each reader thread.
#[derive(Clone, Debug)]
pub struct Intake {
    sender: Sender<Event>,
}

impl Intake {
    /// Returns an intake whose waiting batches fit `limit` bytes, and the end that the driver takes them from.
    pub fn new(limit: usize) -> (Self, Receiver<Event>) {
        let (sender, receiver) = queue::bounded(limit);
        (Self { sender }, receiver)
    }

    /// Returns the intake with a bound of its own, if `bytes` is less than the queue's: for readers that gain nothing by
    /// being further ahead.
    pub fn bounded_to(self, bytes: usize) -> Self {
        let sender = self.sender.bounded_to(bytes);
        Self { sender }
    }

    /// Returns the intake of a job's input number `input`.
    pub(crate) fn of_input(self, input: usize) -> Self {
        let sender = self.sender.numbered(input);
        Self { sender }
    }

    /// Sends an event, waiting while the queue is full.
    ///
    /// # Errors
    /// [`Closed`] when the driver takes no more: the reader should end.
    pub fn send(&self, event: Event) -> Result<(), Closed> {
        match &event {
            Event::Batch(batch) => {
                let bytes = batch.bytes();
                self.sender.send(event, bytes)
            }
            // Nobody waits for these.
            Event::Advanced { .. } | Event::Latest { .. } => self.sender.send(event, 0),
            Event::Added { .. } | Event::Ended { .. } | Event::Failed(_) => self.sender.send_urgent(event),
        }
    }

    /// Returns whether the driver takes no more events. A reader with nothing to send asks now and then.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}
