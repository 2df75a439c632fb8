//! A reader thread: takes messages in batches from librdkafka, and sends them on as Arrow batches.
//!
//! When there is nothing to read it waits for one message for long; with messages coming in it asks for many and
//! waits for few milliseconds, and what came in by then is sent. So it sleeps when idle, and never holds a row back.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use crossbeam_channel::Receiver;
use engine::position::{OffsetRange, Partition};
use engine::queue::Closed;
use engine::source::{Event, Intake};
use engine::{Error, Result};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::bounds::{self, examine};
use super::cluster::{Cluster, Span};
use super::columns::Rows;
use super::ffi::{Consumer, Message};
use super::health::{Health, is_refusal};
use super::options::{DataLossPolicy, SourceOptions};

/// How long an idle reader waits for a message before it looks whether it should end.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// How long a busy reader waits for more messages: the latency that batching may cost.
const LINGER: Duration = Duration::from_millis(5);

/// Messages that a busy reader asks for at once: enough to make the fixed cost of a call small, and few enough that
/// their bookkeeping in librdkafka stays in the processor's cache.
const MESSAGES_MAX: usize = 4096;

/// How long the brokers may take to say what a partition holds, while the other partitions wait.
const SPAN_PATIENCE: Duration = Duration::from_secs(2);

/// How often in a row a partition may be found whole after librdkafka could not go on, before the job stops.
const REASSIGN_MAX: u32 = 5;

/// What the threads of one source share.
pub(super) struct Shared {
    pub(super) options: SourceOptions,
    pub(super) schema: SchemaRef,
    pub(super) cluster: Cluster,
    /// Set once: the threads end.
    pub(super) stopping: AtomicBool,
    /// Offsets that were skipped while running, because their records are gone.
    pub(super) offsets_lost: AtomicU64,
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

/// Reads some of a source's partitions, on a thread of its own.
pub(super) struct Reader {
    shared: Arc<Shared>,
    health: Arc<Health>,
    consumer: Consumer,
    lanes: Lanes,
    /// Partitions that were added while the job runs.
    added: Receiver<Assignment>,
    /// Whether partitions may still be added.
    follows: bool,
}

/// Why a reader ends before its partitions do.
enum Stop {
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

/// The partitions of a reader, by the order in which they were assigned.
struct Lanes {
    lanes: Vec<Lane>,
    index: HashMap<Arc<str>, HashMap<i32, usize>>,
    intake: Intake,
    /// Lanes that ended and are still assigned.
    ended: Vec<usize>,
    /// Lanes that librdkafka can't go on with.
    stuck: Vec<usize>,
    /// Lanes that have not ended.
    open: usize,
}

/// One partition under way.
struct Lane {
    partition: Partition,
    rows: Rows,
    /// The next offset to read.
    position: i64,
    /// The position that the driver knows.
    sent: i64,
    /// The first offset not to read; the largest number if the job is not bounded.
    end: i64,
    ended: bool,
    stuck: bool,
    /// How often the lane was assigned again without a record in between.
    reassigned: u32,
}

impl Reader {
    /// Returns a reader of `assignments`, and if it `follows` the topics, of partitions that are added later.
    ///
    /// # Errors
    /// When librdkafka refuses a setting or a partition.
    pub(super) fn new(
        shared: Arc<Shared>,
        assignments: Vec<Assignment>,
        intake: Intake,
        added: Receiver<Assignment>,
        follows: bool,
    ) -> Result<Self> {
        let options = &shared.options;
        let config = options.client_config();
        let health = Arc::new(Health::new(options.connection.brokers(), &options.group, true));
        let consumer = Consumer::new(&config, &health).map_err(|problem| health.connect_error(problem))?;
        let mut reader = Self {
            lanes: Lanes::new(intake),
            shared,
            health,
            consumer,
            added,
            follows,
        };
        reader.assign(assignments)?;
        Ok(reader)
    }

    /// Reads until all partitions ended, the intake is closed, or reading failed, which is sent as an event.
    pub(super) fn run(mut self) {
        match self.read() {
            Ok(()) | Err(Stop::Closed) => {}
            // A closed intake no longer needs to know.
            Err(Stop::Failed(error)) => drop(self.lanes.intake.send(Event::Failed(error))),
        }
    }

    fn read(&mut self) -> Result<(), Stop> {
        self.lanes.finish_empty()?;
        let mut asked = 1;
        while self.lanes.open > 0 || self.follows {
            if self.shared.stopping.load(Ordering::Relaxed) || self.lanes.intake.is_closed() {
                return Ok(());
            }
            self.health.check()?;
            self.take_added()?;
            let got = self.consume(asked)?;
            if got < asked {
                self.lanes.flush_all()?;
            }
            self.let_go_of_ended()?;
            self.help_stuck()?;
            asked = if got == 0 { 1 } else { MESSAGES_MAX };
        }
        Ok(())
    }

    /// Takes at most `asked` messages in and returns how many there were.
    fn consume(&mut self, asked: usize) -> Result<usize, Stop> {
        let wait = if asked == 1 { IDLE_WAIT } else { LINGER };
        let mut messages = self.consumer.consume(asked, wait);
        let count = messages.len();
        if count > 0 {
            self.health.answered();
        }
        // Topics of one batch differ in their addresses, and messages of one partition come in runs.
        let mut run = (0, -1);
        let mut lane = None;
        while let Some(message) = messages.take() {
            let place = (message.topic_address(), message.partition());
            if place != run {
                run = place;
                lane = self.lanes.find(message);
            }
            match (lane, message.error()) {
                (Some(lane), None) => self.lanes.absorb(lane, message)?,
                (lane, Some(code)) => self.lanes.absorb_error(lane, code, message, &self.health)?,
                // librdkafka drops what is queued of a partition that was let go.
                (None, None) => {}
            }
        }
        Ok(count)
    }

    fn assign(&mut self, assignments: Vec<Assignment>) -> Result<()> {
        let live = |entry: &&Assignment| entry.end.is_none_or(|end| entry.position < end);
        let live: Vec<&Assignment> = assignments.iter().filter(live).collect();
        if let Some(first) = live.first() {
            let places = live.iter().map(|entry| (&entry.partition, entry.position));
            let assigned = self.consumer.assign(places);
            assigned.map_err(|problem| read_error(&first.partition, first.position, problem))?;
        }
        for assignment in assignments {
            self.lanes.add(assignment, &self.shared);
        }
        Ok(())
    }

    fn take_added(&mut self) -> Result<(), Stop> {
        while let Ok(assignment) = self.added.try_recv() {
            self.assign(vec![assignment])?;
        }
        Ok(())
    }

    fn let_go_of_ended(&mut self) -> Result<(), Stop> {
        if self.lanes.ended.is_empty() {
            return Ok(());
        }
        let ended = mem::take(&mut self.lanes.ended);
        let lanes = &self.lanes.lanes;
        let partitions = ended.iter().map(|&lane| &lanes[lane].partition);
        let unassigned = self.consumer.unassign(partitions);
        unassigned.map_err(|problem| lanes[ended[0]].error(problem))?;
        Ok(())
    }

    /// Finds out why librdkafka can't go on with a partition, and goes on by the policy.
    fn help_stuck(&mut self) -> Result<(), Stop> {
        for index in mem::take(&mut self.lanes.stuck) {
            let partition = self.lanes.lanes[index].partition.clone();
            let spans = self
                .shared
                .cluster
                .spans(std::slice::from_ref(&partition), SPAN_PATIENCE);
            let Some(&span) = spans.as_ref().ok().and_then(|spans| spans.get(&partition)) else {
                // The brokers are away: ask again next time round.
                tracing::debug!(%partition, "the brokers do not say what the partition holds");
                self.lanes.stuck.push(index);
                continue;
            };
            self.lanes.flush(index)?;
            let lane = &mut self.lanes.lanes[index];
            let end = (lane.end < i64::MAX).then_some(lane.end);
            let loss = examine(&partition, lane.position, end, span);
            lane.reassigned += 1;
            if loss.is_none() && lane.reassigned > REASSIGN_MAX {
                let problem = format!(
                    "librdkafka can't go on, although the partition holds [{}, {})",
                    span.low, span.high
                );
                return Err(Stop::Failed(lane.error(problem)));
            }
            if let Some(loss) = loss {
                let position = resume_after(&self.shared, &loss, span, lane.position)?;
                lane.position = position.min(lane.end);
            }
            self.reassign(index)?;
        }
        Ok(())
    }

    fn reassign(&mut self, index: usize) -> Result<(), Stop> {
        let lane = &mut self.lanes.lanes[index];
        lane.stuck = false;
        self.consumer
            .unassign([&lane.partition])
            .map_err(|problem| lane.error(problem))?;
        if lane.position < lane.end {
            let place = (&lane.partition, lane.position);
            self.consumer.assign([place]).map_err(|problem| lane.error(problem))?;
            self.lanes.flush(index)?;
        } else {
            self.lanes.finish(index)?;
            // It is not assigned any more.
            self.lanes.ended.retain(|&ended| ended != index);
        }
        Ok(())
    }
}

/// Returns where a lane goes on after a loss that was found while running.
///
/// A position never moves back in a run: what a shrunk partition holds anew is for the next start to judge.
fn resume_after(shared: &Shared, loss: &bounds::Loss, span: Span, position: i64) -> Result<i64> {
    let policy = shared.options.on_data_loss;
    let next = loss.position.unwrap_or(position);
    if next < position {
        bounds::judge(DataLossPolicy::Fail, std::slice::from_ref(loss))?;
    }
    bounds::judge(policy, std::slice::from_ref(loss))?;
    let lost = loss.lost.offsets;
    let count = u64::try_from(lost.to - lost.from).unwrap_or(0);
    shared.offsets_lost.fetch_add(count, Ordering::Relaxed);
    if policy == DataLossPolicy::Reset {
        let from = &shared.options.from;
        return bounds::reset_position(from, &loss.lost.partition, span, &shared.cluster).map(|reset| reset.max(next));
    }
    Ok(next)
}

impl Lanes {
    fn new(intake: Intake) -> Self {
        Self {
            lanes: Vec::new(),
            index: HashMap::new(),
            intake,
            ended: Vec::new(),
            stuck: Vec::new(),
            open: 0,
        }
    }

    fn add(&mut self, assignment: Assignment, shared: &Shared) {
        let Assignment {
            partition,
            position,
            end,
        } = assignment;
        let by_topic = self.index.entry(Arc::clone(&partition.stream)).or_default();
        by_topic.insert(partition.index, self.lanes.len());
        self.lanes.push(Lane {
            rows: Rows::new(partition.clone(), shared.schema.clone(), &shared.options),
            partition,
            position,
            sent: position,
            end: end.unwrap_or(i64::MAX),
            ended: false,
            stuck: false,
            reassigned: 0,
        });
        self.open += 1;
    }

    fn find(&self, message: Message<'_>) -> Option<usize> {
        let by_topic = self.index.get(message.topic()?)?;
        by_topic.get(&message.partition()).copied()
    }

    /// Takes a record in.
    #[inline]
    fn absorb(&mut self, index: usize, message: Message<'_>) -> Result<(), Stop> {
        let lane = &mut self.lanes[index];
        let offset = message.offset();
        if offset < lane.position || lane.ended || lane.stuck {
            return Ok(());
        }
        if offset >= lane.end {
            lane.position = lane.end;
            return self.finish(index);
        }
        if let Err(problem) = lane.rows.append(&message) {
            return Err(Stop::Failed(read_error(&lane.partition, offset, problem.to_string())));
        }
        lane.position = offset + 1;
        lane.reassigned = 0;
        if lane.position == lane.end {
            return self.finish(index);
        }
        if lane.rows.is_full() {
            return self.flush(index);
        }
        Ok(())
    }

    fn absorb_error(
        &mut self,
        index: Option<usize>,
        code: Code,
        message: Message<'_>,
        health: &Health,
    ) -> Result<(), Stop> {
        let Some(index) = index else {
            // Errors of the client or its group; the reader is in no group, so that only refusals matter.
            health.report(code, &message.error_text());
            return Ok(());
        };
        let lane = &mut self.lanes[index];
        if lane.ended || lane.stuck {
            return Ok(());
        }
        match code {
            // The end may lie behind the last record: transaction markers and compaction leave offsets without one.
            Code::PartitionEOF => self.reach(index, message.offset()),
            Code::AutoOffsetReset | Code::OffsetOutOfRange => {
                lane.stuck = true;
                self.stuck.push(index);
                Ok(())
            }
            code if is_refusal(code) => Err(Stop::Failed(health.connect_error(format!(
                "refused to read {}: {}",
                lane.partition,
                message.error_text()
            )))),
            Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition | Code::UnknownTopicId => Err(
                Stop::Failed(lane.error("the topic was deleted while it was read".to_owned())),
            ),
            code if is_transient(code) => {
                health.report(code, &message.error_text());
                Ok(())
            }
            _ => Err(Stop::Failed(lane.error(message.error_text()))),
        }
    }

    /// Moves a lane on to an offset that holds no record.
    fn reach(&mut self, index: usize, offset: i64) -> Result<(), Stop> {
        let lane = &mut self.lanes[index];
        lane.position = lane.position.max(offset.min(lane.end));
        if lane.position == lane.end {
            return self.finish(index);
        }
        self.flush(index)
    }

    /// Ends the lanes that have nothing to read.
    fn finish_empty(&mut self) -> Result<(), Stop> {
        for index in 0..self.lanes.len() {
            if self.lanes[index].position >= self.lanes[index].end {
                self.finish(index)?;
            }
        }
        // They were never assigned.
        self.ended.clear();
        Ok(())
    }

    fn finish(&mut self, index: usize) -> Result<(), Stop> {
        self.flush(index)?;
        let lane = &mut self.lanes[index];
        lane.ended = true;
        self.ended.push(index);
        self.open -= 1;
        let partition = lane.partition.clone();
        Ok(self.intake.send(Event::Ended { partition })?)
    }

    fn flush_all(&mut self) -> Result<(), Stop> {
        (0..self.lanes.len()).try_for_each(|index| self.flush(index))
    }

    /// Sends what a lane has, so that the driver knows its position.
    fn flush(&mut self, index: usize) -> Result<(), Stop> {
        let lane = &mut self.lanes[index];
        let offsets = OffsetRange {
            from: lane.sent,
            to: lane.position,
        };
        let event = if !lane.rows.is_empty() {
            Event::Batch(lane.rows.finish(offsets))
        } else if lane.position > lane.sent {
            Event::Advanced {
                partition: lane.partition.clone(),
                position: lane.position,
            }
        } else {
            return Ok(());
        };
        lane.sent = lane.position;
        Ok(self.intake.send(event)?)
    }
}

impl Lane {
    fn error(&self, problem: String) -> Error {
        read_error(&self.partition, self.position, problem)
    }
}

fn read_error(partition: &Partition, offset: i64, problem: String) -> Error {
    Error::Source {
        input: format!("{partition} at offset {offset}"),
        problem,
    }
}

/// Returns whether librdkafka goes on by itself after this error of a partition.
fn is_transient(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::Resolve
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::ReplicaNotAvailable
            | Code::BrokerNotAvailable
            | Code::NetworkException
            | Code::KafkaStorageError
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::PollExceeded
    )
}
