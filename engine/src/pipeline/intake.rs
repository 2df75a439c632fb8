//! Taking batches in: each becomes a task on the pool; aggregates absorb in any order, stateless output and dead letters
//! keep the order of the input.
//!
//! Of an input that trickles nothing is worth a wake-up: it gathers in the queue while the micro-batch has time, and the little
//! that has gathered by its end is worked on by the driver itself.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crossbeam_channel as channel;
use rayon::{Scope, ThreadPool};

use super::Stop;
use super::outputs::Outputs;
use super::workers::{Done, Workers};
use crate::batch::Batch;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::fault;
use crate::metrics::{InputMetrics, Metrics};
use crate::position::{Partition, Positions};
use crate::queue::{Permit, Receiver, Waiting};
use crate::source::{Event, SourceState};

/// How long the driver waits for an event before it looks at the stop signal again: a stop takes effect in this time,
/// for twenty wake-ups a second of an idle job.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// How long a micro-batch that starts after its deadline collects: with a trigger of zero each would be a single batch.
const LINGER: Duration = Duration::from_millis(2);

/// Bytes that are worth waking the driver for before a micro-batch ends, and a thread of the pool to work on: some hundred
/// records, which take longer than the threads' wake-ups and their search for more work.
const GATHER_BYTES: usize = 64 << 10;

/// Rows before the share of bad ones is judged: of fewer, a handful of bad lines at the start of a good input is a large
/// share, and at 1000 a share of a per cent is ten rows.
const ERROR_SAMPLE_ROWS: u64 = 1000;

/// Where the run is in its inputs.
#[derive(Debug)]
pub(super) struct Cursor {
    /// By input.
    pub(super) states: Vec<SourceState>,
    /// By input: the partitions that have not ended.
    pub(super) open: Vec<BTreeSet<Partition>>,
}

/// The readers' queue, and what ends the waiting for it.
pub(super) struct Intake<'a> {
    pub(super) receiver: Receiver<Event>,
    pub(super) clock: &'a dyn Clock,
    pub(super) stop: &'a Stop,
    /// By input.
    pub(super) limits: Vec<BadRowsLimit>,
}

/// How many bad rows of an input are too many.
pub(super) struct BadRowsLimit {
    /// The input's name in messages, if the job has several.
    pub(super) name: Option<String>,
    pub(super) ratio_max: Option<f64>,
}

/// Where rows go that only the driver can write.
pub(super) struct Output<'a> {
    pub(super) outputs: &'a mut Outputs,
    /// The sink of the dead letters.
    pub(super) dead_letters: Option<usize>,
    pub(super) metrics: &'a Metrics,
}

/// The end of a micro-batch.
struct Until {
    deadline: Option<Duration>,
    has_begun: bool,
    /// Entries that had gathered when there was a look at the queue, and are still there.
    gathered: usize,
    /// Whether they were few bytes.
    are_few: bool,
    /// Whether they had gathered until the deadline: then they belong to the micro-batch, whatever the time is by now.
    are_due: bool,
}

impl Until {
    fn new(deadline: Option<Duration>) -> Self {
        Self {
            deadline,
            has_begun: false,
            gathered: 0,
            are_few: false,
            are_due: false,
        }
    }

    fn begin(&mut self, now: Duration) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.deadline = self.deadline.map(|deadline| deadline.max(now + LINGER));
        }
    }

    /// Returns whether a micro-batch that has begun has had its time.
    fn is_over(&self, now: Duration) -> bool {
        let are_left = self.are_due && self.gathered > 0;
        self.has_begun && !are_left && self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// Output on its way, in the order of the input.
type Pending = VecDeque<(channel::Receiver<Result<Done>>, Permit)>;

impl Cursor {
    /// Returns where a run begins; its counters are told which partition is of which input.
    ///
    /// # Errors
    /// When two inputs have the same partition.
    pub(super) fn new(states: Vec<SourceState>, metrics: &Metrics) -> Result<Self> {
        metrics.set_inputs(states.len());
        let open = |state: &SourceState| state.positions.0.keys().cloned().collect();
        let cursor = Self {
            open: states.iter().map(open).collect(),
            states,
        };
        for (input, open) in cursor.open.iter().enumerate() {
            for partition in open {
                cursor.check_owner(input, partition)?;
                metrics.inputs()[input].add_partition(partition);
            }
        }
        Ok(cursor)
    }

    /// A record that two inputs read would count twice, and a position could not say whose it is.
    fn check_owner(&self, input: usize, partition: &Partition) -> Result<()> {
        let has_it = |(other, state): (usize, &SourceState)| other != input && state.positions.get(partition).is_some();
        match self.states.iter().enumerate().any(has_it) {
            true => Err(Error::Invalid(format!(
                "two sources of the job read {partition}: a topic or file is read by one source, which may try several \
                 formats; topics of one name in two clusters need two jobs"
            ))),
            false => Ok(()),
        }
    }

    /// Returns where all partitions end, if every input is bounded.
    pub(super) fn ends(&self) -> Option<Positions> {
        let ends: Option<Vec<_>> = self.states.iter().map(|state| state.ends.as_ref()).collect();
        Some(Positions::joined(ends?.into_iter()))
    }

    /// Returns the positions of all inputs.
    pub(super) fn positions(&self) -> Positions {
        Positions::joined(self.states.iter().map(|state| &state.positions))
    }

    /// Returns whether nothing more can come.
    pub(super) fn is_at_end(&self) -> bool {
        self.open.iter().all(BTreeSet::is_empty)
    }

    fn advance(&mut self, input: usize, partition: &Partition, offset: i64, metrics: &Metrics) {
        self.states[input].positions.advance(partition, offset);
        metrics.advance(partition, offset);
    }

    /// Follows an event of an input; hands a batch on.
    fn follow(&mut self, input: usize, event: Event, metrics: &Metrics) -> Result<Option<Batch>> {
        match event {
            Event::Batch(batch) => {
                if let Some(origin) = batch.origin() {
                    self.advance(input, &origin.partition, origin.offsets.to, metrics);
                }
                metrics.rows_in.add(batch.rows() as u64);
                metrics.inputs()[input].rows_in.add(batch.rows() as u64);
                metrics.bytes_in.add(batch.bytes() as u64);
                return Ok(Some(batch));
            }
            Event::Advanced { partition, position } => self.advance(input, &partition, position, metrics),
            Event::Added { partition, position } => {
                self.check_owner(input, &partition)?;
                metrics.inputs()[input].add_partition(&partition);
                self.advance(input, &partition, position, metrics);
                self.open[input].insert(partition);
            }
            Event::Ended { partition } => {
                self.open[input].remove(&partition);
            }
            Event::Latest { ends } => metrics.set_latest(&ends),
            Event::Failed(error) => return Err(error),
        }
        Ok(None)
    }
}

impl Intake<'_> {
    /// Returns the next event before the micro-batch's deadline; `None` when the time is up or the run is to stop.
    /// A micro-batch that has nothing yet waits a little longer for its first event, so that an idle job with a trigger of
    /// zero does not spin.
    fn next(&self, until: &mut Until) -> Option<(Event, Permit)> {
        loop {
            if self.stop.is_raised() {
                return None;
            }
            let now = self.clock.monotonic();
            let left = until
                .deadline
                .map_or(STOP_CHECK, |deadline| deadline.saturating_sub(now));
            if until.is_over(now) {
                return None;
            }
            let wait = if left.is_zero() {
                STOP_CHECK
            } else {
                left.min(STOP_CHECK)
            };
            if until.gathered == 0 && !self.gather(until, left.min(STOP_CHECK)) && !left.is_zero() {
                continue;
            }
            match self.take(until, wait) {
                Some(delivery) => return Some(delivery),
                None if left.is_zero() => return None,
                None => {}
            }
        }
    }

    /// Lets entries gather for some time at most; returns whether there are any. A micro-batch that had all of its time for it
    /// needs no more.
    fn gather(&self, until: &mut Until, time: Duration) -> bool {
        let waiting = self.receiver.gather(GATHER_BYTES, time);
        let is_due = until
            .deadline
            .is_some_and(|deadline| deadline <= self.clock.monotonic());
        until.gathered = waiting.entries;
        until.are_few = waiting.bytes < GATHER_BYTES;
        until.are_due = is_due && until.are_few && !time.is_zero();
        until.has_begun |= until.are_due && until.gathered > 0;
        waiting != Waiting::default()
    }

    /// Takes the next entry.
    fn take(&self, until: &mut Until, wait: Duration) -> Option<(Event, Permit)> {
        let delivery = self.receiver.receive(wait)?;
        until.gathered = until.gathered.saturating_sub(1);
        until.begin(self.clock.monotonic());
        Some(delivery)
    }

    /// Takes batches in until `deadline`, the end of the input, a stop, or a full partial. Returns the number of rows.
    pub(super) fn take_in(
        &self,
        deadline: Option<Duration>,
        cursor: &mut Cursor,
        workers: &Workers,
        pool: &ThreadPool,
        output: &mut Output<'_>,
    ) -> Result<u64> {
        let (mut rows, mut batches) = (0, 0);
        let mut until = Until::new(deadline);
        let metrics = output.metrics;
        let (pass_on, in_order) = (
            workers.are_idle(),
            output.dead_letters.is_some() || workers.have_output(),
        );
        let taken = pool.in_place_scope(|scope| {
            let mut pending = Pending::new();
            while !cursor.is_at_end() && !workers.are_full() && batches < fault::batches_max() {
                let Some((event, permit)) = self.next_or_write(&mut until, &mut pending, output)? else {
                    break;
                };
                let input = permit.sender();
                if let Some(batch) = cursor.follow(input, event, metrics)? {
                    rows += batch.rows() as u64;
                    batches += 1;
                    if pass_on {
                        output.write(0, &batch)?;
                    } else if until.are_few && pending.is_empty() {
                        output.write_done(workers.work(input, batch, metrics)?)?;
                    } else if in_order {
                        pending.push_back((spawn(scope, input, batch, workers, metrics), permit));
                    } else {
                        spawn_unheard(scope, batch, permit, workers, metrics);
                    }
                    fault::point("mid_epoch");
                    self.check_errors(metrics)?;
                }
            }
            pending.drain(..).try_for_each(|front| output.write_when_ready(front))
        });
        taken.and_then(|()| workers.check())?;
        self.check_errors(metrics)?;
        Ok(rows)
    }

    /// Returns the next event. While none is there, finished output is written.
    fn next_or_write(
        &self,
        until: &mut Until,
        pending: &mut Pending,
        output: &mut Output<'_>,
    ) -> Result<Option<(Event, Permit)>> {
        while let Some(front) = pending.pop_front() {
            // Where more input waits than is worked on, there is always another event.
            let is_over = self.stop.is_raised() || until.is_over(self.clock.monotonic());
            if !is_over && let Some(delivery) = self.take(until, Duration::ZERO) {
                pending.push_front(front);
                return Ok(Some(delivery));
            }
            output.write_when_ready(front)?;
        }
        Ok(self.next(until))
    }

    fn check_errors(&self, metrics: &Metrics) -> Result<()> {
        self.limits
            .iter()
            .zip(metrics.inputs())
            .try_for_each(|(limit, input)| limit.check(input))
    }
}

impl BadRowsLimit {
    fn check(&self, input: &InputMetrics) -> Result<()> {
        let Some(ratio_max) = self.ratio_max else {
            return Ok(());
        };
        let (bad, rows) = (input.rows_bad.get(), input.rows_in.get());
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
        let is_too_much = rows >= ERROR_SAMPLE_ROWS && bad as f64 > ratio_max * rows as f64;
        match is_too_much {
            true => Err(Error::TooManyBadRows {
                input: self.name.clone(),
                bad,
                rows,
                ratio_max,
            }),
            false => Ok(()),
        }
    }
}

impl Output<'_> {
    /// Writes rows of query `query`.
    pub(super) fn write(&mut self, query: usize, batch: &Batch) -> Result<()> {
        self.metrics.rows_out.add(batch.rows() as u64);
        self.outputs.write(query, batch)
    }

    fn write_when_ready(&mut self, (done, permit): (channel::Receiver<Result<Done>>, Permit)) -> Result<()> {
        self.write_done(done.recv().expect("the task sends before it ends")?)?;
        drop(permit);
        Ok(())
    }

    fn write_done(&mut self, done: Done) -> Result<()> {
        for (query, batch) in &done.outputs {
            self.write(*query, batch)?;
        }
        if let Some(dead_letters) = self.dead_letters {
            for records in done.rejected {
                self.outputs
                    .write(dead_letters, &Batch::new(records, done.origin.clone()))?;
            }
        }
        Ok(())
    }
}

/// Starts a task whose outcome is waited for.
fn spawn<'a>(
    scope: &Scope<'a>,
    input: usize,
    batch: Batch,
    workers: &'a Workers,
    metrics: &'a Metrics,
) -> channel::Receiver<Result<Done>> {
    let (sender, receiver) = channel::bounded(1);
    scope.spawn(move |_| {
        // The driver no longer listens when it has failed; then nobody needs the outcome.
        let _ = sender.send(workers.work(input, batch, metrics));
    });
    receiver
}

/// Starts a task of which only a failure is of interest.
fn spawn_unheard<'a>(scope: &Scope<'a>, batch: Batch, permit: Permit, workers: &'a Workers, metrics: &'a Metrics) {
    scope.spawn(move |_| {
        if let Err(error) = workers.work(permit.sender(), batch, metrics) {
            workers.fail(error);
        }
        drop(permit);
    });
}
