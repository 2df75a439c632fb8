//! What the pool's tasks share: one task takes a batch through the shared operators and then into every query.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::AsArray;
use arrow::compute::max;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;

use crate::batch::{Batch, Origin};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::operator::{AbsorbContext, Operator, Partial, StatefulOperator};
use crate::position::Partition;

/// The operators and partials of all queries.
#[derive(Debug)]
pub(super) struct Workers {
    /// By input.
    heads: Vec<Head>,
    /// By query.
    lanes: Vec<Lane>,
    /// The newest event times seen since they were taken, by input.
    newest: Mutex<Vec<BTreeMap<Partition, i64>>>,
    /// Whether a partial should be merged before it absorbs more.
    full: AtomicBool,
    failure: Mutex<Option<Error>>,
}

/// What happens to the batches of one input once, for all queries.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) operators: Vec<Arc<dyn Operator>>,
    /// The index of the event time's column.
    pub(super) time_column: Option<usize>,
}

/// One query's share.
#[derive(Debug)]
pub(super) struct Lane {
    /// By input; `None` where the query does not read it.
    branches: Vec<Option<Vec<Arc<dyn Operator>>>>,
    /// One for each thread of the pool; empty without an aggregate.
    partials: Vec<Mutex<Box<dyn Partial>>>,
    /// What makes dead letters of late rows, if they are kept.
    late: Option<Arc<dyn Operator>>,
    /// Windows that end at or before this event time are closed.
    closed_micros: Option<i64>,
}

/// What a batch gave that only the driver can write.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Rows of queries without an aggregate, with the number of the query.
    pub(super) outputs: Vec<(usize, Batch)>,
    /// Rows put aside.
    pub(super) rejected: Vec<RecordBatch>,
    /// Where the batch was read.
    pub(super) origin: Option<Origin>,
}

impl Workers {
    pub(super) fn new(heads: Vec<Head>, lanes: Vec<Lane>) -> Self {
        Self {
            newest: Mutex::new(vec![BTreeMap::new(); heads.len()]),
            heads,
            lanes,
            full: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    /// Returns the bytes of memory that the partials hold.
    pub(super) fn memory(&self) -> usize {
        let partials = self.lanes.iter().flat_map(|lane| &lane.partials);
        partials.map(|partial| lock(partial).memory()).sum()
    }

    /// Returns whether nothing happens to batches between the source and the sink.
    pub(super) fn are_idle(&self) -> bool {
        let is_bare = |branch: &Option<Vec<_>>| branch.as_ref().is_some_and(Vec::is_empty);
        let is_idle = |lane: &Lane| lane.partials.is_empty() && lane.branches.iter().all(is_bare);
        let are_bare = self.heads.iter().all(|head| head.operators.is_empty());
        are_bare && self.lanes.len() == 1 && self.lanes.iter().all(is_idle)
    }

    /// Returns whether a query has no aggregate, so that its rows go on to its sink.
    pub(super) fn have_output(&self) -> bool {
        self.lanes.iter().any(|lane| lane.partials.is_empty())
    }

    /// Takes the partials of query `index` out, to be merged and put back.
    pub(super) fn take_partials(&mut self, index: usize) -> Vec<Box<dyn Partial>> {
        let partials = std::mem::take(&mut self.lanes[index].partials).into_iter();
        partials
            .map(|partial| partial.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect()
    }

    /// Puts the merged partials of query `index` back.
    pub(super) fn put_partials(&mut self, index: usize, partials: Vec<Box<dyn Partial>>) {
        *self.full.get_mut() = false;
        self.lanes[index].partials = partials.into_iter().map(Mutex::new).collect();
    }

    /// Sets up to which event time the windows of query `index` are closed.
    pub(super) fn close_windows(&mut self, index: usize, closed_micros: Option<i64>) {
        self.lanes[index].closed_micros = closed_micros;
    }

    /// Takes the newest event times seen since the last call.
    pub(super) fn take_newest(&self) -> Vec<BTreeMap<Partition, i64>> {
        lock(&self.newest).iter_mut().map(std::mem::take).collect()
    }

    /// Takes a batch of an input into every query that reads it. Called on the pool, or by the driver.
    pub(super) fn work(&self, input: usize, batch: Batch, metrics: &Metrics) -> Result<Done> {
        let mut done = Done {
            origin: batch.origin().cloned(),
            ..Done::default()
        };
        let batch = self.decode(input, batch, metrics, &mut done.rejected)?;
        let mut readers = (0..self.lanes.len()).filter(|&index| self.lanes[index].branches[input].is_some());
        let Some(mut index) = readers.next() else {
            return Ok(done);
        };
        for next in readers {
            self.work_in(index, input, batch.clone(), metrics, &mut done)?;
            index = next;
        }
        self.work_in(index, input, batch, metrics, &mut done)?;
        Ok(done)
    }

    /// Takes a batch through the operators of its input, and notes its event times.
    fn decode(&self, input: usize, batch: Batch, metrics: &Metrics, rejected: &mut Vec<RecordBatch>) -> Result<Batch> {
        let head = &self.heads[input];
        // Counted apart first: how many rows of which input were bad.
        let counts = Metrics::default();
        let applied = apply(&head.operators, batch, &counts, rejected);
        metrics.add_decoded(input, &counts);
        let batch = applied?;
        self.see_times(input, &batch)?;
        Ok(batch)
    }

    fn work_in(&self, index: usize, input: usize, batch: Batch, metrics: &Metrics, done: &mut Done) -> Result<()> {
        let lane = &self.lanes[index];
        let operators = lane.branches[input].as_ref().expect("the query reads the input");
        let batch = apply(operators, batch, metrics, &mut done.rejected)?;
        if lane.partials.is_empty() {
            done.outputs.push((index, batch));
            return Ok(());
        }
        // A thread of the pool has a partial of its own, the driver shares one.
        let thread = rayon::current_thread_index().unwrap_or(0);
        let mut partial = lock(&lane.partials[thread]);
        let context = AbsorbContext {
            closed_micros: lane.closed_micros,
            keeps_late: lane.late.is_some(),
            metrics,
        };
        let late_rows = partial.absorb(&batch, context)?;
        if let Some((late, rows)) = lane.late.as_ref().zip(late_rows) {
            done.rejected.push(late.apply(rows, metrics)?.to_records()?);
        }
        if partial.is_full() {
            self.full.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn see_times(&self, input: usize, batch: &Batch) -> Result<()> {
        let (Some(column), Some(origin)) = (self.heads[input].time_column, batch.origin()) else {
            return Ok(());
        };
        let times = batch.column(column).to_array();
        let Some(times) = times.as_primitive_opt::<TimestampMicrosecondType>() else {
            return Err(Error::Invalid(format!(
                "the event time is {}, expected a timestamp in microseconds",
                times.data_type()
            )));
        };
        if let Some(micros) = max(times) {
            let newest = &mut lock(&self.newest)[input];
            match newest.get_mut(&origin.partition) {
                Some(known) => *known = micros.max(*known),
                None => {
                    newest.insert(origin.partition.clone(), micros);
                }
            }
        }
        Ok(())
    }

    /// Keeps the first failure of a task for the driver.
    pub(super) fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
    }

    /// Returns whether a partial should be merged before it absorbs more.
    pub(super) fn are_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Returns the first failure of a task, if there was one.
    pub(super) fn check(&self) -> Result<()> {
        lock(&self.failure).take().map_or(Ok(()), Err)
    }
}

impl Lane {
    /// Returns the lane of a query whose `branches` are by input.
    pub(super) fn new(
        branches: Vec<Option<Vec<Arc<dyn Operator>>>>,
        aggregate: Option<&dyn StatefulOperator>,
        late: Option<Arc<dyn Operator>>,
        threads: usize,
    ) -> Self {
        let partials = aggregate.map(|aggregate| (0..threads).map(|_| Mutex::new(aggregate.partial())).collect());
        Self {
            branches,
            partials: partials.unwrap_or_default(),
            late,
            closed_micros: None,
        }
    }
}

/// Returns the batch after the operators; what they put aside is added to `rejected`.
fn apply(
    operators: &[Arc<dyn Operator>],
    mut batch: Batch,
    metrics: &Metrics,
    rejected: &mut Vec<RecordBatch>,
) -> Result<Batch> {
    for operator in operators {
        batch = operator.apply(batch, metrics)?;
        rejected.append(&mut batch.take_rejected());
    }
    Ok(batch)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
