//! The driver: from the readers' queue through the operators to the sink, epoch by epoch.
//!
//! ```text
//! readers -> queue (bounded in bytes) -> shared operators (decode) -> each query's operators, partial aggregates
//!         -> merge into state shards -> watermark -> emit -> finish -> sink.write       each trigger: a micro-batch
//!         -> sinks.prepare -> store.write(positions, tokens, state) -> sinks.commit -> source.acknowledge   an epoch
//! ```
//! A batch is one rayon task: it is decoded once, and every query takes it from there. Rows put aside on the way go to the
//! dead letters in the same epoch.
//!
//! A micro-batch ends by its trigger; an epoch by the checkpoint interval, at the end of a micro-batch. What waits in the
//! queue at that moment belongs to the next epoch: the positions of an epoch are those of the batches taken out.

mod driver;
mod event_time;
mod intake;
mod job;
mod outputs;
#[cfg(test)]
mod tests;
mod workers;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::checkpoint::Store;
use crate::clock::{Clock, SystemClock};
use crate::error::Result;
use crate::metrics::Metrics;

pub use job::{Branch, EventTime, Input, Job, Query};

/// How a job runs. None of it changes what the job computes.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Threads of the worker pool.
    pub threads: NonZeroUsize,
    /// How often a micro-batch ends; `None`: with the epoch, or the input.
    pub trigger: Option<Duration>,
    /// How often an epoch ends, counted from the end of the last one; zero: with each micro-batch, `None`: with the input.
    pub checkpoint_interval: Option<Duration>,
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
            queue_bytes: 8 << 20,
        }
    }
}

/// Runs a job until its input ends, the stop signal comes, or something fails.
///
/// # Errors
/// When the job is not valid ([`Job::check`]), or what failed. The epochs committed before stay; with a store, the next run
/// goes on after them.
pub fn run(job: Job, settings: &Settings, surroundings: Surroundings<'_>) -> Result<Outcome> {
    job.check()?;
    driver::Driver::start(job, settings, surroundings)?.run()
}

/// Runs a job over an input that ends, on `threads` threads and without a checkpoint, and returns its counters.
///
/// # Errors
/// As [`run`].
pub fn run_once(job: Job, threads: NonZeroUsize) -> Result<Metrics> {
    let metrics = Metrics::default();
    let surroundings = Surroundings {
        store: None,
        stop: &Stop::default(),
        metrics: &metrics,
        clock: &SystemClock::default(),
    };
    run(job, &Settings::bounded(threads), surroundings)?;
    Ok(metrics)
}
