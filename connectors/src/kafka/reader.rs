//! A reader thread: takes messages in batches from librdkafka, and sends them on as Arrow batches.
//!
//! When there is nothing to read it waits for one message for long; with messages coming in it asks for many and
//! waits for few milliseconds, and what came in by then is sent. So it sleeps when idle, and never holds a row back.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Receiver;
use engine::Result;
use engine::source::{Event, Intake};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::ffi::{Consumer, Message};
use super::health::{Health, is_refusal, is_transient};
use super::lane::{Assignment, Lane, Shared, Stop, read_error};
use super::stuck::{self, Outlook};

/// How long an idle reader waits for a message before it looks whether it should end.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// How long a busy reader waits for more messages: the latency that batching may cost.
const LINGER: Duration = Duration::from_millis(5);

/// Messages that a busy reader asks for at once: enough to make the fixed cost of a call small, and few enough that
/// their bookkeeping in librdkafka stays in the processor's cache.
const MESSAGES_MAX: usize = 4096;

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

/// The partitions of a reader, by the order in which they were assigned.
struct Lanes {
    lanes: Vec<Assigned>,
    index: HashMap<Arc<str>, HashMap<i32, usize>>,
    intake: Intake,
    /// Lanes that ended and are still assigned.
    ended: Vec<usize>,
    /// Lanes that librdkafka can't go on with.
    stuck: Vec<usize>,
    /// Lanes that have not ended.
    open: usize,
}

/// A lane, and what librdkafka has to do with it.
struct Assigned {
    lane: Lane,
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
                self.lanes.pause_all()?;
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
            assigned.map_err(|problem| read_error(&first.partition, first.position, &problem))?;
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
        let partitions = ended.iter().map(|&index| &lanes[index].lane.partition);
        let unassigned = self.consumer.unassign(partitions);
        unassigned.map_err(|problem| lanes[ended[0]].lane.error(&problem))?;
        Ok(())
    }

    /// Finds out why librdkafka can't go on with a partition, and goes on by the policy.
    fn help_stuck(&mut self) -> Result<(), Stop> {
        for index in mem::take(&mut self.lanes.stuck) {
            self.lanes.flush(index)?;
            let assigned = &mut self.lanes.lanes[index];
            let outlook = stuck::outlook(&self.shared, &assigned.lane)?;
            assigned.reassigned += 1;
            match outlook {
                Outlook::Unanswered => {
                    assigned.reassigned -= 1;
                    self.lanes.stuck.push(index);
                    continue;
                }
                Outlook::Whole(span) if assigned.reassigned > stuck::WHOLE_MAX => {
                    return Err(assigned.lane.error(&stuck::puzzle("librdkafka", span)).into());
                }
                Outlook::Whole(_) => {}
                Outlook::Resume(position) => assigned.lane.position = position.min(assigned.lane.end),
            }
            self.reassign(index)?;
        }
        Ok(())
    }

    fn reassign(&mut self, index: usize) -> Result<(), Stop> {
        let Assigned { lane, stuck, .. } = &mut self.lanes.lanes[index];
        *stuck = false;
        self.consumer
            .unassign([&lane.partition])
            .map_err(|problem| lane.error(&problem))?;
        if lane.is_done() {
            self.lanes.finish(index)?;
            // It is not assigned any more.
            self.lanes.ended.retain(|&ended| ended != index);
        } else {
            let place = (&lane.partition, lane.position);
            self.consumer.assign([place]).map_err(|problem| lane.error(&problem))?;
            self.lanes.flush(index)?;
        }
        Ok(())
    }
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
        let partition = &assignment.partition;
        let by_topic = self.index.entry(Arc::clone(&partition.stream)).or_default();
        by_topic.insert(partition.index, self.lanes.len());
        self.lanes.push(Assigned {
            lane: Lane::new(assignment, shared),
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
        let assigned = &mut self.lanes[index];
        let (lane, offset) = (&mut assigned.lane, message.offset());
        if offset < lane.position || assigned.ended || assigned.stuck {
            return Ok(());
        }
        if offset >= lane.end {
            lane.position = lane.end;
            return self.finish(index);
        }
        lane.absorb(&message, &self.intake)?;
        assigned.reassigned = 0;
        match lane.is_done() {
            true => self.finish(index),
            false => Ok(()),
        }
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
        let assigned = &mut self.lanes[index];
        let lane = &assigned.lane;
        if assigned.ended || assigned.stuck {
            return Ok(());
        }
        match code {
            // The end may lie behind the last record: transaction markers and compaction leave offsets without one.
            Code::PartitionEOF => self.reach(index, message.offset()),
            Code::AutoOffsetReset | Code::OffsetOutOfRange => {
                assigned.stuck = true;
                self.stuck.push(index);
                Ok(())
            }
            code if is_refusal(code) => Err(Stop::Failed(health.connect_error(format!(
                "refused to read {}: {}",
                lane.partition,
                message.error_text()
            )))),
            Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition | Code::UnknownTopicId => {
                Err(Stop::Failed(lane.error(stuck::DELETED)))
            }
            code if is_transient(code) => {
                health.report(code, &message.error_text());
                Ok(())
            }
            _ => Err(Stop::Failed(lane.error(&message.error_text()))),
        }
    }

    /// Moves a lane on to an offset that holds no record.
    fn reach(&mut self, index: usize, offset: i64) -> Result<(), Stop> {
        let lane = &mut self.lanes[index].lane;
        lane.reach(offset);
        match lane.is_done() {
            true => self.finish(index),
            false => self.pause(index),
        }
    }

    /// Ends the lanes that have nothing to read.
    fn finish_empty(&mut self) -> Result<(), Stop> {
        for index in 0..self.lanes.len() {
            if self.lanes[index].lane.is_done() {
                self.finish(index)?;
            }
        }
        // They were never assigned.
        self.ended.clear();
        Ok(())
    }

    fn finish(&mut self, index: usize) -> Result<(), Stop> {
        let assigned = &mut self.lanes[index];
        assigned.ended = true;
        self.ended.push(index);
        self.open -= 1;
        Ok(assigned.lane.finish(&self.intake)?)
    }

    fn pause_all(&mut self) -> Result<(), Stop> {
        (0..self.lanes.len()).try_for_each(|index| self.pause(index))
    }

    fn pause(&mut self, index: usize) -> Result<(), Stop> {
        Ok(self.lanes[index].lane.pause(&self.intake)?)
    }

    /// Sends what a lane has, so that the driver knows its position.
    fn flush(&mut self, index: usize) -> Result<(), Stop> {
        Ok(self.lanes[index].lane.flush(&self.intake)?)
    }
}
