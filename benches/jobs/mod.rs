//! Whole jobs, run inside the benchmark, with a sink that keeps what it gets for later.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use arrow::record_batch::RecordBatch;
use engine::checkpoint::Store;
use engine::clock::SystemClock;
use engine::metrics::Metrics;
use engine::pipeline::{Job, Settings, Stop, Surroundings, run};
use engine::sink::{Barrier, Guarantee, Recovery, Sink, Token};
use engine::{Batch, Epoch, Result};

/// A sink that costs nothing: it keeps its batches, to be looked at when the clock has stopped.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeepSink(Arc<Mutex<Vec<RecordBatch>>>);

impl KeepSink {
    /// Takes what was written.
    pub(crate) fn take(&self) -> Vec<RecordBatch> {
        std::mem::take(&mut *self.0.lock().expect("no panic before"))
    }
}

impl Sink for KeepSink {
    fn describe(&self) -> String {
        "keep".to_owned()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn recover(&mut self, _recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        Ok(None)
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        let records = batch.to_records()?;
        self.0.lock().expect("no panic before").push(records);
        Ok(())
    }

    fn prepare(&mut self, _barrier: &Barrier<'_>) -> Result<Token> {
        Ok(Token::default())
    }

    fn commit(&mut self, _token: &Token) -> Result<()> {
        Ok(())
    }

    fn abort(&mut self) {}
}

/// Returns the number of cores.
pub(crate) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Runs a job to the end of its input, with checkpoints if there is a store.
///
/// # Panics
/// When it fails.
pub(crate) fn run_to_end(job: Job, settings: &Settings, store: Option<Box<dyn Store>>) {
    let surroundings = Surroundings {
        store,
        stop: &Stop::default(),
        metrics: &Metrics::default(),
        clock: &SystemClock::default(),
    };
    run(job, settings, surroundings).expect("the job runs to its end");
}
