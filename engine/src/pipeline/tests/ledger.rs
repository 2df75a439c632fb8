//! A sink in memory, of either kind: one that finishes a commit from its token, and one that decides by its commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::record_batch::RecordBatch;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::pipeline::Stop;
use crate::position::Epoch;
use crate::sink::{Barrier, Guarantee, Recovery, Sink, Token};

/// What outlives a crash of the sink's process.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct World {
    prepared: BTreeMap<Epoch, Vec<RecordBatch>>,
    /// What readers see.
    pub(in crate::pipeline) visible: BTreeMap<Epoch, Vec<RecordBatch>>,
}

/// The sink.
#[derive(Default)]
pub(in crate::pipeline) struct Ledger {
    pub(in crate::pipeline) world: Arc<Mutex<World>>,
    /// Whether its commit is the commit point, as with a Kafka transaction: what was prepared is lost in a crash.
    pub(in crate::pipeline) decides: bool,
    /// The step that fails, and how often it works before.
    pub(in crate::pipeline) fails: Option<(Step, u64)>,
    /// Raised by each commit.
    pub(in crate::pipeline) stop: Option<Arc<Stop>>,
    written: Vec<RecordBatch>,
}

/// A step of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Step {
    Write,
    Prepare,
    BeforeCommit,
    AfterCommit,
}

impl World {
    /// Returns all visible rows, by epoch.
    pub(in crate::pipeline) fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.visible.values().flatten()
    }
}

impl Ledger {
    pub(in crate::pipeline) fn new(world: &Arc<Mutex<World>>) -> Self {
        Self {
            world: Arc::clone(world),
            ..Self::default()
        }
    }

    fn pass(&mut self, step: Step) -> Result<()> {
        match &mut self.fails {
            Some((at, 0)) if *at == step => Err(Error::Sink {
                output: "ledger".to_owned(),
                problem: format!("it fails at {step:?}"),
            }),
            Some((at, left)) if *at == step => {
                *left -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Sink for Ledger {
    fn describe(&self) -> String {
        format!("ledger that decides: {}", self.decides)
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn decides(&self) -> bool {
        self.decides
    }

    fn publishes(&self, _: &str) -> bool {
        self.decides
    }

    fn recover(&mut self, recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        let mut world = self.world.lock().expect("no panic");
        let mut epochs = recovery.candidates.iter().map(|candidate| candidate.epoch);
        if self.decides {
            world.prepared.clear();
            let committed = world.visible.keys().next_back().copied().unwrap_or(Epoch(0));
            return Ok(epochs.find(|&epoch| epoch == committed));
        }
        let chosen = epochs.next();
        let prepared = std::mem::take(&mut world.prepared);
        let kept = prepared.into_iter().filter(|(epoch, _)| Some(*epoch) <= chosen);
        world.visible.extend(kept);
        Ok(chosen)
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.pass(Step::Write)?;
        self.written.push(batch.to_records()?);
        Ok(())
    }

    fn prepare(&mut self, barrier: &Barrier<'_>) -> Result<Token> {
        self.pass(Step::Prepare)?;
        let written = std::mem::take(&mut self.written);
        self.world
            .lock()
            .expect("no panic")
            .prepared
            .insert(barrier.epoch, written);
        Ok(Token(barrier.epoch.0.into()))
    }

    fn commit(&mut self, token: &Token) -> Result<()> {
        self.pass(Step::BeforeCommit)?;
        let epoch = Epoch(token.0.as_u64().expect("prepare made it"));
        let mut world = self.world.lock().expect("no panic");
        let prepared = world.prepared.remove(&epoch).expect("it was prepared");
        let before = world.visible.insert(epoch, prepared);
        assert!(before.is_none(), "an epoch is committed once");
        drop(world);
        if let Some(stop) = &self.stop {
            stop.raise();
        }
        self.pass(Step::AfterCommit)
    }

    fn abort(&mut self) {
        self.written.clear();
    }
}
