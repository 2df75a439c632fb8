//! The micro-batch loop, the barrier, and the way back after a restart.

use std::sync::Arc;
use std::time::Duration;

use arrow::compute::concat_batches;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::event_time::EventClock;
use super::intake::{BadRowsLimit, Cursor, Intake, Output};
use super::outputs::Outputs;
use super::workers::{Head, Lane, Workers};
use super::{EventTime, Input, Job, Outcome, Query, Settings, Surroundings};
use crate::batch::Batch;
use crate::checkpoint::{Checkpoint, StateRows, Store, TimeState};
use crate::error::{Error, Result};
use crate::fault;
use crate::kernel::hash::Seed;
use crate::metrics::Metrics;
use crate::operator::{EmitContext, Extent, Operator, OutputMode, StatefulOperator};
use crate::position::Epoch;
use crate::queue::Receiver;
use crate::sink::{Barrier, Recovery, Sink, Token};
use crate::source::{self, Event, Source, SourceState};

/// When the first micro-batch ends at the latest: a user sees the first output soon, also of a long trigger.
const FIRST_OUTPUT: Duration = Duration::from_millis(250);

/// How often the memory of the state is looked at: some functions must ask each group, which takes milliseconds a million.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a job without input goes without an epoch: Kafka forgets a group's offsets after seven days of silence, and
/// with them which epoch was committed.
const SILENCE_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// A job under way.
pub(super) struct Driver<'a> {
    settings: &'a Settings,
    sources: Vec<Box<dyn Source>>,
    queries: Vec<Running>,
    outputs: Outputs,
    /// The sink of the dead letters.
    dead_letters: Option<usize>,
    time: Option<EventClock>,
    store: Option<Box<dyn Store>>,
    metrics: &'a Metrics,
    pool: ThreadPool,
    workers: Workers,
    intake: Intake<'a>,
    cursor: Cursor,
    /// The last epoch that was committed, and its positions.
    committed: (Epoch, Vec<SourceState>),
    /// Whether rows were taken in or written since.
    has_output: bool,
    /// When an epoch was last committed, or the run began.
    committed_at: Duration,
    /// When the next micro-batch ends.
    trigger_at: Duration,
    checkpoint_at: Option<Duration>,
    /// When the memory of the state is looked at again.
    measure_at: Duration,
}

/// A query under way: what is not the workers' part of it.
struct Running {
    aggregate: Option<Box<dyn StatefulOperator>>,
    finish: Vec<Arc<dyn Operator>>,
    mode: OutputMode,
}

/// Where a run begins.
struct Beginning {
    epoch: Epoch,
    sources: Vec<SourceState>,
    time: TimeState,
}

impl<'a> Driver<'a> {
    /// Recovers the sinks, fixes the bounds, restores the state, and starts the readers.
    pub(super) fn start(job: Job, settings: &'a Settings, surroundings: Surroundings<'a>) -> Result<Self> {
        let Surroundings {
            mut store,
            stop,
            metrics,
            clock,
        } = surroundings;
        let Inputs {
            mut sources,
            times,
            heads,
            limits,
        } = Inputs::new(job.inputs)?;
        let Split {
            running: mut queries,
            branches,
            late,
            mut sinks,
        } = split(job.queries, sources.len());
        let dead_letters = job.dead_letters.is_some().then_some(sinks.len());
        sinks.extend(job.dead_letters);
        let mut outputs = Outputs::new(sinks);
        let begin = recover(&mut sources, &mut queries, &mut outputs, store.as_deref_mut())?;
        // Partials are made when the state's seed is known.
        let threads = settings.threads.get();
        let lane = |((query, branches), late): ((&Running, _), _)| {
            Lane::new(branches, query.aggregate.as_deref(), late, threads)
        };
        let lanes = queries.iter().zip(branches).zip(late).map(lane).collect();
        let pool = build_pool(threads)?;
        metrics.epoch.set(begin.epoch.0);
        let cursor = Cursor::new(begin.sources.clone(), metrics)?;
        metrics.set_bounds(&cursor.positions(), cursor.ends().as_ref());
        let receiver = start_readers(&mut sources, &begin.sources, settings.queue_bytes)?;
        let now = clock.monotonic();
        let mut driver = Self {
            settings,
            sources,
            queries,
            outputs,
            dead_letters,
            time: EventClock::new(&times, &begin.sources, &begin.time, now),
            store,
            metrics,
            pool,
            workers: Workers::new(heads, lanes),
            intake: Intake {
                receiver,
                clock,
                stop,
                limits,
            },
            cursor,
            committed: (begin.epoch, begin.sources),
            has_output: false,
            committed_at: now,
            trigger_at: now + settings.trigger.unwrap_or_default().min(FIRST_OUTPUT),
            checkpoint_at: settings.checkpoint_interval.map(|interval| now + interval),
            measure_at: now,
        };
        driver.close_windows();
        Ok(driver)
    }

    /// Runs to the end. Whatever happens, the readers are stopped; after a failure the epoch under way is given up.
    pub(super) fn run(mut self) -> Result<Outcome> {
        let outcome = self.run_epochs();
        self.intake.receiver.close();
        if outcome.is_err() {
            self.outputs.abort();
        }
        self.sources.iter_mut().for_each(|source| source.stop());
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
                self.outputs.close()?;
                return Ok(if ended { Outcome::Finished } else { Outcome::Stopped });
            }
        }
    }

    /// Takes in what comes until the trigger, and writes what it gives. Returns whether the input has ended.
    fn micro_batch(&mut self) -> Result<bool> {
        let deadline = self.next_deadline();
        let rows = self.take_in_until(deadline)?;
        let ended = self.cursor.is_at_end();
        if rows > 0 {
            self.metrics.micro_batches.add(1);
            self.has_output = true;
            self.merge()?;
        }
        let has_moved = self.advance_time();
        for index in 0..self.queries.len() {
            // Time alone closes windows, but changes no group.
            let may_close = (has_moved || ended) && self.queries[index].mode != OutputMode::Complete;
            if rows > 0 || may_close {
                self.emit(index, ended)?;
            }
        }
        self.close_windows();
        self.measure_state(ended);
        self.metrics.set_positions(&self.cursor.positions());
        Ok(ended)
    }

    /// Records how large the state is.
    fn measure_state(&mut self, ended: bool) {
        let aggregates = || self.queries.iter().filter_map(|query| query.aggregate.as_ref());
        self.metrics
            .groups
            .set(aggregates().map(|aggregate| aggregate.groups()).sum());
        let now = self.intake.clock.monotonic();
        if ended || now >= self.measure_at {
            let state: usize = aggregates().map(|aggregate| aggregate.memory()).sum();
            self.metrics.state_bytes.set((state + self.workers.memory()) as u64);
            self.measure_at = now + MEASURE_INTERVAL;
        }
    }

    /// Takes in what comes until `deadline`, merging the partials whenever one is full.
    fn take_in_until(&mut self, deadline: Option<Duration>) -> Result<u64> {
        let mut rows = 0;
        loop {
            let mut output = Output {
                outputs: &mut self.outputs,
                dead_letters: self.dead_letters,
                metrics: self.metrics,
            };
            let (cursor, workers) = (&mut self.cursor, &self.workers);
            rows += self
                .intake
                .take_in(deadline, cursor, workers, &self.pool, &mut output)?;
            let is_late = deadline.is_some_and(|deadline| self.intake.clock.monotonic() >= deadline);
            if !self.workers.are_full() || is_late || self.intake.stop.is_raised() {
                return Ok(rows);
            }
            self.merge()?;
        }
    }

    fn merge(&mut self) -> Result<()> {
        for (index, query) in self.queries.iter_mut().enumerate() {
            if let Some(aggregate) = &mut query.aggregate {
                let mut partials = self.workers.take_partials(index);
                aggregate.merge(&mut partials, &self.pool)?;
                self.workers.put_partials(index, partials);
            }
        }
        Ok(())
    }

    /// Moves the watermark by the rows of the micro-batch and by the time; returns whether it has moved.
    fn advance_time(&mut self) -> bool {
        let Some(time) = &mut self.time else {
            return false;
        };
        let now = self.intake.clock.monotonic();
        time.advance(&self.workers.take_newest(), &self.cursor.open, now)
    }

    /// Tells the workers which windows are closed from now on.
    fn close_windows(&mut self) {
        let Some(watermark) = self.time.as_ref().and_then(EventClock::watermark_micros) else {
            return;
        };
        self.metrics.set_watermark(watermark);
        for (index, query) in self.queries.iter().enumerate() {
            let closed = query.mode.closed_micros(Some(watermark));
            self.workers.close_windows(index, closed);
        }
    }

    /// Writes what query `index` puts out.
    fn emit(&mut self, index: usize, last: bool) -> Result<()> {
        let query = &mut self.queries[index];
        let Some(aggregate) = &mut query.aggregate else {
            return Ok(());
        };
        let context = EmitContext {
            mode: query.mode,
            watermark_micros: self.time.as_ref().and_then(EventClock::watermark_micros),
            last,
        };
        let mut rows = aggregate.emit(context, &self.pool)?;
        if !query.finish.is_empty() && rows.len() > 1 {
            rows = vec![concat_batches(&aggregate.schema(), &rows).map_err(Error::arrow("join the rows of a query"))?];
        }
        let mut output = Output {
            outputs: &mut self.outputs,
            dead_letters: self.dead_letters,
            metrics: self.metrics,
        };
        for records in rows {
            let finish = |batch, operator: &Arc<dyn Operator>| operator.apply(batch, self.metrics);
            let batch = query.finish.iter().try_fold(Batch::new(records, None), finish)?;
            output.write(index, &batch)?;
            self.has_output = true;
        }
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
        if self.has_output || silent || self.cursor.states != self.committed.1 {
            self.barrier()?;
            self.committed_at = now;
        }
        let now = self.intake.clock.monotonic();
        self.checkpoint_at = self.settings.checkpoint_interval.map(|interval| now + interval);
        Ok(())
    }

    fn barrier(&mut self) -> Result<()> {
        let begun = self.intake.clock.monotonic();
        let epoch = self.committed.0.next();
        let states = self.cursor.states.clone();
        let token = self.outputs.prepare(&Barrier {
            epoch,
            positions: &self.cursor.positions(),
        })?;
        fault::point("after_prepare");
        self.store_checkpoint(epoch, &states, &token)?;
        self.outputs.commit(&token)?;
        fault::point("after_commit");
        acknowledge(&mut self.sources, &states, &self.outputs)?;
        fault::point("after_acknowledge");
        self.committed = (epoch, states);
        self.has_output = false;
        self.metrics.epochs.add(1);
        self.metrics.epoch.set(epoch.0);
        let took = self.intake.clock.monotonic().saturating_sub(begun);
        self.metrics
            .commit_micros
            .add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn store_checkpoint(&mut self, epoch: Epoch, sources: &[SourceState], token: &Token) -> Result<()> {
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        let checkpoint = Checkpoint {
            epoch,
            sources: sources.to_vec(),
            token: token.clone(),
            time: self.time.as_ref().map(EventClock::state).unwrap_or_default(),
        };
        let mut state = vec![];
        for (query, running) in self.queries.iter_mut().enumerate() {
            let Some(aggregate) = &mut running.aggregate else {
                continue;
            };
            // Without groups a base costs nothing, and ends what older files hold.
            let extent = match aggregate.groups() {
                0 => Extent::Base,
                _ => store.extent(query),
            };
            let rows = aggregate.snapshot(extent);
            state.push(StateRows { query, extent, rows });
        }
        store.write(checkpoint, state)
    }
}

/// Inputs taken apart: what the driver reads, what the workers do, and what is watched.
#[derive(Default)]
struct Inputs {
    sources: Vec<Box<dyn Source>>,
    times: Vec<Option<EventTime>>,
    heads: Vec<Head>,
    limits: Vec<BadRowsLimit>,
}

impl Inputs {
    fn new(inputs: Vec<Input>) -> Result<Self> {
        let mut taken = Self::default();
        let are_several = inputs.len() > 1;
        for input in inputs {
            taken.heads.push(Head {
                time_column: input.time_column()?,
                operators: input.operators,
            });
            taken.limits.push(BadRowsLimit {
                name: are_several.then_some(input.name),
                ratio_max: input.max_error_ratio,
            });
            taken.times.push(input.time);
            taken.sources.push(input.source);
        }
        Ok(taken)
    }
}

/// Operators, if the query reads the input, by input.
type Branches = Vec<Option<Vec<Arc<dyn Operator>>>>;

/// Queries taken apart: what the driver runs, the workers' operators, the sinks.
#[derive(Default)]
struct Split {
    running: Vec<Running>,
    branches: Vec<Branches>,
    late: Vec<Option<Arc<dyn Operator>>>,
    sinks: Vec<Box<dyn Sink>>,
}

fn split(queries: Vec<Query>, inputs: usize) -> Split {
    let mut split = Split::default();
    for query in queries {
        split.running.push(Running {
            aggregate: query.aggregate,
            finish: query.finish,
            mode: query.mode,
        });
        let mut branches: Branches = (0..inputs).map(|_| None).collect();
        for branch in query.branches {
            branches[branch.input] = Some(branch.operators);
        }
        split.branches.push(branches);
        split.late.push(query.late);
        split.sinks.push(query.sink);
    }
    split
}

/// Starts the readers of all sources, and returns the end that their events come out of.
fn start_readers(
    sources: &mut [Box<dyn Source>],
    states: &[SourceState],
    queue_bytes: usize,
) -> Result<Receiver<Event>> {
    let (intake, receiver) = source::Intake::new(queue_bytes);
    for (number, (source, state)) in sources.iter_mut().zip(states).enumerate() {
        if let Err(error) = source.start(state, intake.clone().of_input(number)) {
            receiver.close();
            sources[..number].iter_mut().for_each(|source| source.stop());
            return Err(error);
        }
    }
    Ok(receiver)
}

/// Tells the sources that what is before `states` is durable, but for those whose positions a sink publishes.
fn acknowledge(sources: &mut [Box<dyn Source>], states: &[SourceState], outputs: &Outputs) -> Result<()> {
    for (source, state) in sources.iter_mut().zip(states) {
        let mut streams = state.positions.0.keys().map(|partition| &partition.stream);
        if !streams.any(|stream| outputs.publishes(stream)) {
            source.acknowledge(&state.positions)?;
        }
    }
    Ok(())
}

/// Brings sinks, sources and state to the same epoch, and returns it with the positions to go on from.
fn recover(
    sources: &mut [Box<dyn Source>],
    queries: &mut [Running],
    outputs: &mut Outputs,
    mut store: Option<&mut (dyn Store + 'static)>,
) -> Result<Beginning> {
    let seed = store.as_ref().map_or_else(Seed::random, |store| store.seed());
    let aggregates = queries.iter_mut().filter_map(|query| query.aggregate.as_mut());
    aggregates.for_each(|aggregate| aggregate.set_seed(seed));
    let candidates = store.as_ref().map(|store| store.candidates()).unwrap_or_default();
    let chosen = outputs.recover(&Recovery {
        job: store.as_ref().map_or("", |store| store.job()),
        generation: store.as_ref().map_or(0, |store| store.generation()),
        candidates: &candidates,
    })?;
    match (chosen, store.as_deref_mut()) {
        (Some(epoch), Some(store)) => {
            let (begin, recorded) = resume(sources, queries, store, epoch)?;
            acknowledge(sources, &recorded, outputs)?;
            Ok(begin)
        }
        (None, Some(_)) if !candidates.is_empty() => Err(Error::Invalid(
            "the output is of no epoch of this checkpoint: start afresh with another checkpoint folder".to_owned(),
        )),
        _ => begin(sources, store),
    }
}

/// Returns where to go on, and what the checkpoint recorded of the sources.
fn resume(
    sources: &mut [Box<dyn Source>],
    queries: &mut [Running],
    store: &mut dyn Store,
    epoch: Epoch,
) -> Result<(Beginning, Vec<SourceState>)> {
    let checkpoint = store.choose(epoch)?;
    // The job's parts are those of the checkpoint, and so is their number.
    let recorded = sources.iter_mut().zip(&checkpoint.sources);
    let states = recorded.map(|(source, recorded)| source.open(Some(recorded)));
    let states = states.collect::<Result<_>>()?;
    let watermark = checkpoint.time.watermark_micros;
    store.read_state(&mut |index, records| {
        let query = queries.get_mut(index);
        let restored = query.and_then(|query| Some((query.mode, query.aggregate.as_mut()?)));
        let (mode, aggregate) = restored
            .ok_or_else(|| Error::Invalid(format!("the checkpoint has state of query {index}, which keeps none")))?;
        aggregate.restore(records, mode.closed_micros(watermark))
    })?;
    tracing::info!(%epoch, checkpoint = %store.location().display(), "resumed");
    let begin = Beginning {
        epoch,
        sources: states,
        time: checkpoint.time,
    };
    Ok((begin, checkpoint.sources))
}

fn begin(sources: &mut [Box<dyn Source>], store: Option<&mut (dyn Store + 'static)>) -> Result<Beginning> {
    let states: Vec<_> = sources
        .iter_mut()
        .map(|source| source.open(None))
        .collect::<Result<_>>()?;
    if let Some(store) = store {
        let checkpoint = Checkpoint {
            epoch: Epoch(0),
            sources: states.clone(),
            token: Token::default(),
            time: TimeState::default(),
        };
        store.write(checkpoint, vec![])?;
    }
    Ok(Beginning {
        epoch: Epoch(0),
        sources: states,
        time: TimeState::default(),
    })
}

fn build_pool(threads: usize) -> Result<ThreadPool> {
    let name = |index| format!("worker-{index}");
    let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build();
    pool.map_err(|error| Error::Invalid(format!("cannot start {threads} worker threads: {error}")))
}
