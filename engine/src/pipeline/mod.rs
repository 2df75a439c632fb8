//! The driver: from the readers' queue through the operators to the sink, epoch by epoch.
//!
//! ```text
//! readers -> queue (bounded in bytes) -> operators, partial aggregates (rayon, one task a batch)
//!         -> merge into state shards -> emit -> sink.write                          each trigger: a micro-batch
//!         -> sink.prepare -> store.write(positions, token, state) -> sink.commit -> source.acknowledge      an epoch
//! ```
//! A micro-batch ends by its trigger; an epoch by the checkpoint interval, at the end of a micro-batch. What waits in the
//! queue at that moment belongs to the next epoch: the positions of an epoch are those of the batches taken out.

mod driver;
mod intake;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::checkpoint::{JobPart, Store};
use crate::clock::Clock;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::operator::{Operator, OutputMode, StatefulOperator};
use crate::sink::Sink;
use crate::source::Source;

/// A pipeline, ready to run.
pub struct Job {
    /// What is read.
    pub source: Box<dyn Source>,
    /// What happens to each batch, in order.
    pub operators: Vec<Arc<dyn Operator>>,
    /// What is kept over batches, if anything.
    pub aggregate: Option<Box<dyn StatefulOperator>>,
    /// What is written.
    pub sink: Box<dyn Sink>,
}

/// How a job runs. None of it changes what the job computes.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Threads of the worker pool.
    pub threads: NonZeroUsize,
    /// How often a micro-batch ends; `None`: with the epoch, or the input.
    pub trigger: Option<Duration>,
    /// How often an epoch ends, counted from the end of the last one; zero: with each micro-batch, `None`: with the input.
    pub checkpoint_interval: Option<Duration>,
    /// Which rows an aggregate puts out.
    pub mode: OutputMode,
    /// Bytes of the batches that wait in the queue or are worked on.
    pub queue_bytes: usize,
}

/// What a run works with besides its job: injected, so that tests own time, durability and the stop signal.
pub struct Surroundings<'a> {
    /// Where checkpoints go; without one, a restart begins anew.
    pub store: Option<Box<dyn Store>>,
    /// The stop signal.
    pub stop: &'a Stop,
    /// The run's counters.
    pub metrics: &'a Metrics,
    /// The time.
    pub clock: &'a dyn Clock,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The input's end was reached.
    Finished,
    /// The stop signal came; the epoch was committed, and a restart goes on from there.
    Stopped,
}

/// A signal to stop after the epoch under way. May be raised from any thread.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Asks the run to stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Returns whether the run was asked to stop.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Settings {
    /// Returns the settings of a run over an input that ends, with all output at its end.
    pub fn bounded(threads: NonZeroUsize) -> Self {
        Self {
            threads,
            trigger: None,
            checkpoint_interval: None,
            mode: OutputMode::Complete,
            queue_bytes: 32 << 20,
        }
    }
}

impl Job {
    /// Returns the job's parts, as a checkpoint records them.
    pub fn parts(&self) -> Vec<JobPart> {
        let part = |name: String, description| JobPart { name, description };
        let mut parts = vec![part("the source".to_owned(), self.source.describe())];
        let operators = self.operators.iter().map(|operator| operator.describe());
        let operators = operators.chain(self.aggregate.iter().map(|aggregate| aggregate.describe()));
        parts.extend(
            (1..)
                .zip(operators)
                .map(|(number, description)| part(format!("operator {number}"), description)),
        );
        parts.push(part("the sink".to_owned(), self.sink.describe()));
        parts
    }
}

/// Runs a job until its input ends, the stop signal comes, or something fails.
///
/// # Errors
/// What failed. The epochs committed before stay; with a store, the next run goes on after them.
pub fn run(job: Job, settings: &Settings, surroundings: Surroundings<'_>) -> Result<Outcome> {
    driver::Driver::start(job, settings, surroundings)?.run()
}
