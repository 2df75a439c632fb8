//! Taking batches in: each becomes a task on the pool; aggregates absorb in any order, stateless output keeps its order.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel as channel;
use rayon::{Scope, ThreadPool};

use super::Stop;
use crate::batch::Batch;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::fault;
use crate::metrics::Metrics;
use crate::operator::{Operator, Partial, StatefulOperator};
use crate::position::Partition;
use crate::queue::{Permit, Receiver};
use crate::sink::Sink;
use crate::source::{Event, SourceState};

/// How long the driver waits for an event before it looks at the stop signal again: a stop takes effect in this time,
/// for twenty wake-ups a second of an idle job.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// How long a micro-batch that starts after its deadline collects: with a trigger of zero each would be a single batch.
const LINGER: Duration = Duration::from_millis(2);

/// Where the run is in its input.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) state: SourceState,
    open: BTreeSet<Partition>,
}

/// What the pool's tasks share.
#[derive(Debug)]
pub(super) struct Workers {
    operators: Vec<Arc<dyn Operator>>,
    /// One for each thread of the pool; empty without an aggregate.
    partials: Vec<Mutex<Box<dyn Partial>>>,
    /// Whether a partial should be merged before it absorbs more.
    full: AtomicBool,
    failure: Mutex<Option<Error>>,
}

/// The readers' queue, and what ends the waiting for it.
pub(super) struct Intake<'a> {
    pub(super) receiver: Receiver<Event>,
    pub(super) clock: &'a dyn Clock,
    pub(super) stop: &'a Stop,
}

/// The end of a micro-batch.
struct Until {
    deadline: Option<Duration>,
    has_begun: bool,
}

impl Until {
    fn new(deadline: Option<Duration>) -> Self {
        Self {
            deadline,
            has_begun: false,
        }
    }

    fn begin(&mut self, now: Duration) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.deadline = self.deadline.map(|deadline| deadline.max(now + LINGER));
        }
    }
}

/// Output on its way, in the order of the input.
type Pending = VecDeque<(channel::Receiver<Result<Batch>>, Permit)>;

impl Cursor {
    pub(super) fn new(state: SourceState) -> Self {
        let open = state.positions.0.keys().cloned().collect();
        Self { state, open }
    }

    /// Returns whether nothing more can come.
    pub(super) fn is_at_end(&self) -> bool {
        self.open.is_empty()
    }

    fn advance(&mut self, partition: &Partition, offset: i64, metrics: &Metrics) {
        self.state.positions.advance(partition, offset);
        metrics.advance(partition, offset);
    }

    /// Follows an event; hands a batch on.
    fn follow(&mut self, event: Event, metrics: &Metrics) -> Result<Option<Batch>> {
        match event {
            Event::Batch(batch) => {
                if let Some(origin) = batch.origin() {
                    self.advance(&origin.partition, origin.offsets.to, metrics);
                }
                metrics.rows_in.add(batch.rows() as u64);
                metrics.bytes_in.add(batch.bytes() as u64);
                return Ok(Some(batch));
            }
            Event::Advanced { partition, position } => self.advance(&partition, position, metrics),
            Event::Added { partition, position } => {
                self.advance(&partition, position, metrics);
                self.open.insert(partition);
            }
            Event::Ended { partition } => {
                self.open.remove(&partition);
            }
            Event::Failed(error) => return Err(error),
        }
        Ok(None)
    }
}

impl Workers {
    pub(super) fn new(
        operators: Vec<Arc<dyn Operator>>,
        aggregate: Option<&dyn StatefulOperator>,
        threads: usize,
    ) -> Self {
        let partials = aggregate.map(|aggregate| (0..threads).map(|_| Mutex::new(aggregate.partial())).collect());
        Self {
            operators,
            partials: partials.unwrap_or_default(),
            full: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    /// Takes the partials out, to be merged and put back.
    pub(super) fn take_partials(&mut self) -> Vec<Box<dyn Partial>> {
        let partials = std::mem::take(&mut self.partials).into_iter();
        partials
            .map(|partial| partial.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect()
    }

    /// Puts the merged partials back.
    pub(super) fn put_partials(&mut self, partials: Vec<Box<dyn Partial>>) {
        *self.full.get_mut() = false;
        self.partials = partials.into_iter().map(Mutex::new).collect();
    }

    fn apply(&self, batch: Batch, metrics: &Metrics) -> Result<Batch> {
        self.operators
            .iter()
            .try_fold(batch, |batch, operator| operator.apply(batch, metrics))
    }

    fn absorb(&self, batch: Batch, metrics: &Metrics) {
        let index = rayon::current_thread_index().expect("tasks run on the pool");
        let absorbed = self.apply(batch, metrics).and_then(|batch| {
            let mut partial = self.partials[index].lock().unwrap_or_else(PoisonError::into_inner);
            partial.absorb(&batch)?;
            if partial.is_full() {
                self.full.store(true, Ordering::Relaxed);
            }
            Ok(())
        });
        if let Err(error) = absorbed {
            self.failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
        }
    }

    /// Returns whether a partial should be merged before it absorbs more.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<()> {
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
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
            if left.is_zero() && until.has_begun {
                return None;
            }
            let wait = if left.is_zero() {
                STOP_CHECK
            } else {
                left.min(STOP_CHECK)
            };
            match self.receiver.receive(wait) {
                Some(delivery) => {
                    until.begin(self.clock.monotonic());
                    return Some(delivery);
                }
                None if left.is_zero() => return None,
                None => {}
            }
        }
    }

    /// Absorbs batches into the workers' partials until `deadline`, the end of the input, a stop, or a full partial.
    /// Returns the number of rows.
    pub(super) fn absorb(
        &self,
        deadline: Option<Duration>,
        cursor: &mut Cursor,
        workers: &Workers,
        pool: &ThreadPool,
        metrics: &Metrics,
    ) -> Result<u64> {
        let mut rows = 0;
        let mut until = Until::new(deadline);
        let taken = pool.in_place_scope(|scope| {
            while !cursor.is_at_end() && !workers.is_full() {
                let Some((event, permit)) = self.next(&mut until) else {
                    break;
                };
                if let Some(batch) = cursor.follow(event, metrics)? {
                    rows += batch.rows() as u64;
                    scope.spawn(move |_| {
                        workers.absorb(batch, metrics);
                        drop(permit);
                    });
                    fault::point("mid_epoch");
                }
            }
            Ok(())
        });
        taken.and_then(|()| workers.check()).map(|()| rows)
    }

    /// Puts batches through the operators into the sink, in their order, until `deadline`, the end of the input, or a
    /// stop. Returns the number of rows taken in.
    pub(super) fn forward(
        &self,
        deadline: Option<Duration>,
        cursor: &mut Cursor,
        workers: &Workers,
        pool: &ThreadPool,
        sink: &mut dyn Sink,
        metrics: &Metrics,
    ) -> Result<u64> {
        let mut rows = 0;
        let mut until = Until::new(deadline);
        let mut output = Output { sink, metrics };
        pool.in_place_scope(|scope| {
            let mut pending = Pending::new();
            while !cursor.is_at_end() {
                let Some((event, permit)) = self.next_or_write(&mut until, &mut pending, &mut output)? else {
                    break;
                };
                if let Some(batch) = cursor.follow(event, metrics)? {
                    rows += batch.rows() as u64;
                    if workers.operators.is_empty() {
                        output.write(&batch)?;
                    } else {
                        pending.push_back((spawn(scope, batch, workers, metrics), permit));
                    }
                    fault::point("mid_epoch");
                }
            }
            pending.drain(..).try_for_each(|front| output.write_when_ready(front))
        })?;
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
            if let Some(delivery) = self.receiver.receive(Duration::ZERO).filter(|_| !self.stop.is_raised()) {
                pending.push_front(front);
                return Ok(Some(delivery));
            }
            output.write_when_ready(front)?;
        }
        Ok(self.next(until))
    }
}

struct Output<'a> {
    sink: &'a mut dyn Sink,
    metrics: &'a Metrics,
}

impl Output<'_> {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.metrics.rows_out.add(batch.rows() as u64);
        self.sink.write(batch)
    }

    fn write_when_ready(&mut self, (batch, permit): (channel::Receiver<Result<Batch>>, Permit)) -> Result<()> {
        let batch = batch.recv().expect("the task sends before it ends")?;
        self.write(&batch)?;
        drop(permit);
        Ok(())
    }
}

fn spawn<'a>(
    scope: &Scope<'a>,
    batch: Batch,
    workers: &'a Workers,
    metrics: &'a Metrics,
) -> channel::Receiver<Result<Batch>> {
    let (sender, receiver) = channel::bounded(1);
    scope.spawn(move |_| {
        // The driver no longer listens when it has failed; then nobody needs the batch.
        let _ = sender.send(workers.apply(batch, metrics));
    });
    receiver
}
