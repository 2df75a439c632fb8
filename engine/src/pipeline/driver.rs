//! The micro-batch loop, the barrier, and the way back after a restart.

use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::intake::{Cursor, Intake, Workers};
use super::{Job, Outcome, Settings, Surroundings};
use crate::batch::Batch;
use crate::checkpoint::{Checkpoint, StateRows, Store};
use crate::error::{Error, Result};
use crate::fault;
use crate::kernel::hash::Seed;
use crate::operator::{EmitContext, StatefulOperator};
use crate::position::Epoch;
use crate::sink::{Barrier, Recovery, Sink, Token};
use crate::source::{self, Source, SourceState};

/// When the first micro-batch ends at the latest: a user sees the first output soon, also of a long trigger.
const FIRST_OUTPUT: Duration = Duration::from_millis(250);

/// How long a job without input goes without an epoch: Kafka forgets a group's offsets after seven days of silence, and
/// with them which epoch was committed.
const SILENCE_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// A job under way.
pub(super) struct Driver<'a> {
    settings: &'a Settings,
    source: Box<dyn Source>,
    aggregate: Option<Box<dyn StatefulOperator>>,
    sink: Box<dyn Sink>,
    store: Option<Box<dyn Store>>,
    metrics: &'a crate::metrics::Metrics,
    pool: ThreadPool,
    workers: Workers,
    intake: Intake<'a>,
    cursor: Cursor,
    /// The last epoch that was committed, and its positions.
    committed: (Epoch, SourceState),
    /// Whether rows were written since.
    has_output: bool,
    /// When an epoch was last committed, or the run began.
    committed_at: Duration,
    /// When the next micro-batch ends.
    trigger_at: Duration,
    checkpoint_at: Option<Duration>,
}

impl<'a> Driver<'a> {
    /// Recovers the sink, fixes the bounds, restores the state, and starts the readers.
    pub(super) fn start(mut job: Job, settings: &'a Settings, surroundings: Surroundings<'a>) -> Result<Self> {
        let Surroundings {
            mut store,
            stop,
            metrics,
            clock,
        } = surroundings;
        let committed = recover(&mut job, store.as_deref_mut())?;
        let pool = build_pool(settings.threads.get())?;
        let workers = Workers::new(job.operators, job.aggregate.as_deref(), settings.threads.get());
        metrics.set_bounds(&committed.1.positions, committed.1.ends.as_ref());
        let (readers, receiver) = source::Intake::new(settings.queue_bytes);
        job.source.start(&committed.1, readers)?;
        let now = clock.monotonic();
        Ok(Self {
            settings,
            source: job.source,
            aggregate: job.aggregate,
            sink: job.sink,
            store,
            metrics,
            pool,
            workers,
            intake: Intake { receiver, clock, stop },
            cursor: Cursor::new(committed.1.clone()),
            committed,
            has_output: false,
            committed_at: now,
            trigger_at: now + settings.trigger.unwrap_or_default().min(FIRST_OUTPUT),
            checkpoint_at: settings.checkpoint_interval.map(|interval| now + interval),
        })
    }

    /// Runs to the end. Whatever happens, the readers are stopped; after a failure the epoch under way is given up.
    pub(super) fn run(mut self) -> Result<Outcome> {
        let outcome = self.run_epochs();
        self.intake.receiver.close();
        if outcome.is_err() {
            self.sink.abort();
        }
        self.source.stop();
        outcome
    }

    fn run_epochs(&mut self) -> Result<Outcome> {
        loop {
            let ended = self.micro_batch()?;
            let stopped = self.intake.stop.is_raised();
            if ended || stopped || self.is_checkpoint_due() {
                self.end_epoch()?;
            }
            if ended || stopped {
                self.sink.close()?;
                return Ok(if ended { Outcome::Finished } else { Outcome::Stopped });
            }
        }
    }

    /// Takes in what comes until the trigger, and writes what it gives. Returns whether the input has ended.
    fn micro_batch(&mut self) -> Result<bool> {
        let deadline = self.next_deadline();
        let rows = match self.aggregate {
            None => self.intake.forward(
                deadline,
                &mut self.cursor,
                &self.workers,
                &self.pool,
                self.sink.as_mut(),
                self.metrics,
            )?,
            Some(_) => self.absorb_until(deadline)?,
        };
        let ended = self.cursor.is_at_end();
        if rows > 0 {
            self.metrics.micro_batches.add(1);
            self.has_output = true;
            self.emit(ended)?;
        }
        self.metrics.set_positions(&self.cursor.state.positions);
        Ok(ended)
    }

    /// Takes in what comes until `deadline`, merging the partials whenever one is full.
    fn absorb_until(&mut self, deadline: Option<Duration>) -> Result<u64> {
        let mut rows = 0;
        loop {
            let (cursor, workers) = (&mut self.cursor, &self.workers);
            rows += self
                .intake
                .absorb(deadline, cursor, workers, &self.pool, self.metrics)?;
            let is_late = deadline.is_some_and(|deadline| self.intake.clock.monotonic() >= deadline);
            if !self.workers.is_full() || is_late || self.intake.stop.is_raised() {
                return Ok(rows);
            }
            self.merge()?;
        }
    }

    fn merge(&mut self) -> Result<()> {
        let Some(aggregate) = &mut self.aggregate else {
            return Ok(());
        };
        let mut partials = self.workers.take_partials();
        aggregate.merge(&mut partials, &self.pool)?;
        self.workers.put_partials(partials);
        Ok(())
    }

    fn emit(&mut self, last: bool) -> Result<()> {
        self.merge()?;
        let Some(aggregate) = &mut self.aggregate else {
            return Ok(());
        };
        let context = EmitContext {
            mode: self.settings.mode,
            watermark_micros: None,
            last,
        };
        for records in aggregate.emit(context, &self.pool)? {
            self.metrics.rows_out.add(records.num_rows() as u64);
            self.sink.write(&Batch::new(records, None))?;
        }
        self.metrics.groups.set(aggregate.groups());
        Ok(())
    }

    /// Returns when this micro-batch ends; the trigger keeps its beat, and skips beats that are past.
    fn next_deadline(&mut self) -> Option<Duration> {
        let now = self.intake.clock.monotonic();
        let trigger = self.settings.trigger.map(|interval| {
            let at = self.trigger_at.max(now);
            self.trigger_at = at + interval;
            at
        });
        match (trigger, self.checkpoint_at) {
            (Some(trigger), _) => Some(trigger),
            (None, checkpoint) => checkpoint,
        }
    }

    fn is_checkpoint_due(&self) -> bool {
        self.checkpoint_at.is_some_and(|at| self.intake.clock.monotonic() >= at)
    }

    /// Ends the epoch, if anything happened in it.
    fn end_epoch(&mut self) -> Result<()> {
        let now = self.intake.clock.monotonic();
        let silent = now.saturating_sub(self.committed_at) >= SILENCE_MAX;
        if self.has_output || silent || self.cursor.state != self.committed.1 {
            self.barrier()?;
            self.committed_at = now;
        }
        let now = self.intake.clock.monotonic();
        self.checkpoint_at = self.settings.checkpoint_interval.map(|interval| now + interval);
        Ok(())
    }

    fn barrier(&mut self) -> Result<()> {
        let epoch = self.committed.0.next();
        let state = self.cursor.state.clone();
        let token = self.sink.prepare(&Barrier {
            epoch,
            positions: &state.positions,
        })?;
        fault::point("after_prepare");
        self.store_checkpoint(epoch, &state, &token)?;
        self.sink.commit(&token)?;
        fault::point("after_commit");
        if !self.sink.publishes_positions() {
            self.source.acknowledge(&state.positions)?;
        }
        fault::point("after_acknowledge");
        self.committed = (epoch, state);
        self.has_output = false;
        self.metrics.epochs.add(1);
        Ok(())
    }

    fn store_checkpoint(&mut self, epoch: Epoch, source: &SourceState, token: &Token) -> Result<()> {
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        let checkpoint = Checkpoint {
            epoch,
            source: source.clone(),
            token: token.clone(),
        };
        let extent = store.extent();
        let rows = self.aggregate.as_mut().map(|aggregate| StateRows {
            extent,
            rows: aggregate.snapshot(extent),
        });
        store.write(checkpoint, rows)
    }
}

/// Brings sink, source and state to the same epoch, and returns it with the positions to go on from.
fn recover(job: &mut Job, mut store: Option<&mut (dyn Store + 'static)>) -> Result<(Epoch, SourceState)> {
    let seed = store.as_ref().map_or_else(Seed::random, |store| store.seed());
    if let Some(aggregate) = &mut job.aggregate {
        aggregate.set_seed(seed);
    }
    let candidates = store.as_ref().map(|store| store.candidates()).unwrap_or_default();
    let chosen = job.sink.recover(&Recovery {
        job: store.as_ref().map_or("", |store| store.job()),
        generation: store.as_ref().map_or(0, |store| store.generation()),
        candidates: &candidates,
    })?;
    match (chosen, store.as_deref_mut()) {
        (Some(epoch), Some(store)) => resume(job, store, epoch),
        (None, Some(_)) if !candidates.is_empty() => Err(Error::Invalid(
            "the output is of no epoch of this checkpoint: start afresh with another checkpoint folder".to_owned(),
        )),
        _ => begin(job, store),
    }
}

fn resume(job: &mut Job, store: &mut dyn Store, epoch: Epoch) -> Result<(Epoch, SourceState)> {
    let checkpoint = store.choose(epoch)?;
    let state = job.source.open(Some(&checkpoint.source))?;
    if let Some(aggregate) = &mut job.aggregate {
        store.read_state(&mut |records| aggregate.restore(records))?;
    }
    if !job.sink.publishes_positions() {
        job.source.acknowledge(&checkpoint.source.positions)?;
    }
    tracing::info!(%epoch, checkpoint = %store.location().display(), "resumed");
    Ok((epoch, state))
}

fn begin(job: &mut Job, store: Option<&mut (dyn Store + 'static)>) -> Result<(Epoch, SourceState)> {
    let state = job.source.open(None)?;
    if let Some(store) = store {
        let checkpoint = Checkpoint {
            epoch: Epoch(0),
            source: state.clone(),
            token: Token::default(),
        };
        store.write(checkpoint, None)?;
    }
    Ok((Epoch(0), state))
}

fn build_pool(threads: usize) -> Result<ThreadPool> {
    let name = |index| format!("worker-{index}");
    let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build();
    pool.map_err(|error| Error::Invalid(format!("cannot start {threads} worker threads: {error}")))
}
