//! Groups by the hash of their key: those of a worker, and those of a shard of the state.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;

use super::Plan;
use crate::aggregate::Accumulator;
use crate::batch::{Batch, Column};
use crate::error::Result;
use crate::group::bytes::BytesTable;
use crate::group::counts::CountTable;
use crate::kernel::hash::Seed;
use crate::memory;
use crate::operator::calls::merge_range;
use crate::operator::journal::Journal;
use crate::operator::shards::{ByShard, SHARD_BITS};
use crate::operator::{EmitContext, Extent, OutputMode};

/// The groups of one shard, or of one worker.
#[derive(Debug)]
pub(super) struct Groups {
    /// Short keys of a worker whose only function is `count(*)`: they have no ids.
    pub(super) counted: CountTable,
    pub(super) table: BytesTable,
    pub(super) accumulators: Vec<Box<dyn Accumulator>>,
    /// The groups of the rows at hand: scratch memory.
    pub(super) ids: Vec<u32>,
}

/// A part of the state.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) groups: Groups,
    journal: Journal,
    /// By group: the start of its window, if the aggregate has windows.
    starts: Vec<i64>,
    /// The least of them, so that most micro-batches need not look at all.
    earliest: i64,
}

/// A partial's groups in the order of their shards.
pub(super) struct Partitioned<'a> {
    counted: &'a CountTable,
    table: &'a BytesTable,
    ids: ByShard,
    /// By function: its state columns, rows as in `order`.
    states: Vec<Vec<ArrayRef>>,
}

impl Groups {
    pub(super) fn new(plan: &Plan, seed: Seed) -> Self {
        Self {
            counted: CountTable::new(seed),
            table: plan.codec.table(seed),
            accumulators: plan.calls.accumulators(),
            ids: Vec::new(),
        }
    }

    pub(super) fn all(&self) -> Vec<u32> {
        (0..u32::try_from(self.table.len()).expect("ids are 32-bit")).collect()
    }

    /// Returns the bytes of memory that the groups hold, used or not.
    pub(super) fn memory(&self) -> usize {
        let accumulators = self.accumulators.iter().map(|accumulator| accumulator.memory());
        let tables = self.counted.memory() + self.table.memory();
        tables + memory::of(&self.ids) + accumulators.sum::<usize>()
    }

    /// Returns the number of groups.
    pub(super) fn len(&self) -> usize {
        self.counted.len() + self.table.len()
    }

    pub(super) fn clear(&mut self) {
        self.counted.clear();
        self.table.clear();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear());
    }

    /// Takes rows of the input in.
    pub(super) fn update(&mut self, plan: &Plan, batch: &Batch) -> Result<()> {
        let keys: Vec<&Column> = plan.keys.iter().map(|&key| batch.column(key)).collect();
        let Self {
            counted, table, ids, ..
        } = self;
        ids.clear();
        match plan.counts {
            true => plan.codec.count(&keys, counted, table, ids)?,
            false => plan.codec.intern(&keys, batch.rows(), table, ids)?,
        }
        let total = table.len();
        plan.calls.update(&mut self.accumulators, batch, &self.ids, total)
    }

    /// Takes rows of the state's schema in as groups.
    pub(super) fn take_state(&mut self, plan: &Plan, records: &RecordBatch) -> Result<()> {
        let (keys, states) = records.columns().split_at(plan.keys.len());
        let keys: Vec<_> = keys.iter().cloned().map(Column::Array).collect();
        let keys: Vec<_> = keys.iter().collect();
        plan.codec
            .intern(&keys, records.num_rows(), &mut self.table, &mut self.ids)?;
        let total = self.table.len();
        plan.calls.merge(&mut self.accumulators, states, &self.ids, total)
    }

    /// Takes the groups of shard `index` over from `part`; they replace groups of the same key.
    fn replace(&mut self, index: usize, part: &Partitioned<'_>) -> Result<()> {
        let theirs = part.ids.range(index);
        self.ids.clear();
        self.table
            .intern_from(part.table, &part.ids.order[theirs.clone()], &mut self.ids);
        let total = self.table.len();
        self.accumulators
            .iter_mut()
            .for_each(|accumulator| accumulator.reset(&self.ids, total));
        merge_range(&mut self.accumulators, &part.states, theirs, &self.ids, total)
    }
}

impl Shard {
    pub(super) fn new(plan: &Plan, seed: Seed) -> Self {
        Self {
            groups: Groups::new(plan, seed),
            journal: Journal::default(),
            starts: Vec::new(),
            earliest: i64::MAX,
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.groups.memory() + self.journal.memory() + memory::of(&self.starts)
    }

    /// Adds the groups that belong to this shard, of every worker.
    pub(super) fn merge(&mut self, plan: &Plan, index: usize, parts: &[Partitioned<'_>]) -> Result<()> {
        for part in parts {
            self.merge_counted(index, part.counted)?;
            let theirs = part.ids.range(index);
            if theirs.is_empty() {
                continue;
            }
            self.groups.ids.clear();
            self.groups
                .table
                .intern_from(part.table, &part.ids.order[theirs.clone()], &mut self.groups.ids);
            let groups = &mut self.groups;
            let total = groups.table.len();
            merge_range(&mut groups.accumulators, &part.states, theirs, &groups.ids, total)?;
            self.journal.mark(&groups.ids, total);
        }
        self.note_windows(plan)
    }

    /// Adds the counts of keys that belong to this shard.
    fn merge_counted(&mut self, index: usize, counted: &CountTable) -> Result<()> {
        let (groups, mut counts) = (&mut self.groups, vec![]);
        groups.ids.clear();
        groups
            .table
            .intern_counted(counted, index, SHARD_BITS, &mut groups.ids, &mut counts);
        let total = groups.table.len();
        if let ([accumulator], false) = (groups.accumulators.as_mut_slice(), counts.is_empty()) {
            accumulator.merge(&[Arc::new(Int64Array::from(counts))], &groups.ids, total)?;
        }
        self.journal.mark(&groups.ids, total);
        Ok(())
    }

    /// Takes the groups that belong to this shard over from `part`; they replace groups of the same key.
    pub(super) fn restore(&mut self, plan: &Plan, index: usize, part: &Partitioned<'_>) -> Result<()> {
        self.groups.replace(index, part)?;
        self.note_windows(plan)
    }

    /// Returns the rows that are due, and forgets the groups of closed windows.
    pub(super) fn emit(&mut self, plan: &Plan, context: EmitContext) -> Result<Option<RecordBatch>> {
        let closed = self.closed(plan, context);
        let rows = match context.mode {
            OutputMode::Append => plan.output_rows(&self.groups, &closed),
            OutputMode::Update => plan.output_rows(&self.groups, self.journal.changed()),
            OutputMode::Complete => plan.output_rows(&self.groups, &self.groups.all()),
        }?;
        self.journal.emitted();
        if !closed.is_empty() {
            self.forget(plan, &closed)?;
        }
        Ok(rows)
    }

    /// Returns the state's rows, and forgets what has changed.
    pub(super) fn snapshot(&mut self, plan: &Plan, extent: Extent) -> Result<Option<RecordBatch>> {
        let changed = self.journal.take();
        match extent {
            Extent::Delta => plan.state_rows(&self.groups, &changed),
            Extent::Base => plan.state_rows(&self.groups, &self.groups.all()),
        }
    }

    /// Notes the windows of groups that are new.
    fn note_windows(&mut self, plan: &Plan) -> Result<()> {
        let Some(window) = &plan.window else {
            return Ok(());
        };
        let new: Vec<u32> = self.groups.all().split_off(self.starts.len());
        if !new.is_empty() {
            let keys = plan.codec.columns(&self.groups.table, &new)?;
            self.starts.extend_from_slice(window.starts(&keys)?.values());
            self.note_earliest();
        }
        Ok(())
    }

    fn note_earliest(&mut self) {
        self.earliest = self.starts.iter().copied().min().unwrap_or(i64::MAX);
    }

    /// Returns the groups whose windows are closed. The end of the input closes all windows for those who wait for that.
    fn closed(&self, plan: &Plan, context: EmitContext) -> Vec<u32> {
        if context.mode == OutputMode::Append && context.last {
            return self.groups.all();
        }
        let closed = context.mode.closed_micros(context.watermark_micros);
        let Some((window, closed)) = plan.window.as_ref().zip(closed) else {
            return vec![];
        };
        if window.is_open(self.earliest, closed) {
            return vec![];
        }
        let ids = (0..).zip(&self.starts);
        ids.filter_map(|(id, &start)| (!window.is_open(start, closed)).then_some(id))
            .collect()
    }

    /// Builds the shard anew without the groups `gone`, which are in rising order: a table can't forget a key.
    fn forget(&mut self, plan: &Plan, gone: &[u32]) -> Result<()> {
        let mut left = gone.iter().copied().peekable();
        let kept: Vec<u32> = self
            .groups
            .all()
            .into_iter()
            .filter(|id| left.next_if_eq(id).is_none())
            .collect();
        let mut groups = Groups::new(plan, self.groups.table.seed());
        groups.table.intern_from(&self.groups.table, &kept, &mut groups.ids);
        for (new, old) in groups.accumulators.iter_mut().zip(&self.groups.accumulators) {
            new.merge(&old.state(&kept), &groups.ids, kept.len())?;
        }
        self.journal.keep(&kept);
        self.starts = kept.iter().map(|&id| self.starts[id as usize]).collect();
        self.note_earliest();
        self.groups = groups;
        Ok(())
    }
}

impl<'a> Partitioned<'a> {
    pub(super) fn new(groups: &'a Groups) -> Self {
        let ids = ByShard::new((0..).zip(groups.table.hashes().iter().copied()));
        let accumulators = groups.accumulators.iter();
        Self {
            counted: &groups.counted,
            table: &groups.table,
            states: accumulators.map(|accumulator| accumulator.state(&ids.order)).collect(),
            ids,
        }
    }
}
