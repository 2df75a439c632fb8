//! `aggregate`: groups rows by key columns and keeps aggregate functions for each group.
//!
//! ```text
//! worker 0: partial table + accumulators --+      by the hash's high bits       +--> shard 0: table + accumulators + journal
//! worker 1: partial table + accumulators --+-- each partial is cut into shards -+--> shard 1
//!                                                                               +--> ... 64 shards, merged in parallel
//! ```
//! With a window, groups are forgotten when it has closed: see `window`. A hash made once by a worker chooses the shard (high bits) and the slot (low bits) wherever the key goes.

mod groups;
#[cfg(test)]
mod tests;
mod window;

use std::any::Any;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use rayon::ThreadPool;
use rayon::prelude::*;

use self::groups::{Groups, Partitioned, Shard};
use self::window::Window;
use super::calls::{Calls, describe};
use super::expression::column_index;
use super::late::InTime;
use super::shards::{PARTIAL_GROUPS_MAX, collect};
use super::{AbsorbContext, EmitContext, Extent, Partial, StatefulOperator};
use crate::aggregate::Accumulator;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::group::keys::{KeyCodec, value_type};
use crate::kernel::hash::Seed;

pub use super::calls::AggregateCall;
pub use super::shards::SHARDS;

/// Groups by keys and aggregates.
#[derive(Debug)]
pub struct HashAggregate {
    plan: Arc<Plan>,
    seed: Seed,
    shards: Vec<Shard>,
}

#[derive(Debug)]
struct Plan {
    codec: KeyCodec,
    keys: Vec<usize>,
    calls: Calls,
    /// Whether workers only count keys.
    counts: bool,
    window: Option<Window>,
    description: String,
    output: SchemaRef,
    state: SchemaRef,
}

/// A worker's groups.
#[derive(Debug)]
struct WorkerGroups {
    plan: Arc<Plan>,
    groups: Groups,
}

impl HashAggregate {
    /// Returns the operator for batches of `schema`, grouping by the columns `keys`.
    ///
    /// # Errors
    /// When a column is missing, or of a type that can't be grouped by or aggregated.
    pub fn new(keys: &[&str], calls: &[AggregateCall], schema: &Schema) -> Result<Self> {
        let plan = Arc::new(Plan::new(keys, calls, schema)?);
        let seed = Seed::random();
        let shards = (0..SHARDS).map(|_| Shard::new(&plan, seed)).collect();
        Ok(Self { plan, seed, shards })
    }

    /// Returns the operator with windows: the key column `key` is the start of a group's window, which is `size_micros` long.
    /// When the watermark has reached its end the window is closed: the group is put out for the last time and forgotten,
    /// and rows that come later are left out and counted. Rows without a window start are counted as late too.
    ///
    /// # Errors
    /// When `key` is no key column with timestamps in microseconds, or the size is not positive.
    ///
    /// # Panics
    /// When a partial was made before.
    pub fn with_window(mut self, key: &str, size_micros: i64) -> Result<Self> {
        let plan = Arc::get_mut(&mut self.plan).expect("windows are set before partials are made");
        let window = Window::new(key, size_micros, &plan.keys, &plan.output)?;
        plan.description = format!("{} {window}", plan.description);
        plan.window = Some(window);
        Ok(self)
    }
}

impl StatefulOperator for HashAggregate {
    fn describe(&self) -> String {
        self.plan.description.clone()
    }

    fn schema(&self) -> SchemaRef {
        self.plan.output.clone()
    }

    fn is_windowed(&self) -> bool {
        self.plan.window.is_some()
    }

    fn partial(&self) -> Box<dyn Partial> {
        Box::new(WorkerGroups {
            plan: Arc::clone(&self.plan),
            groups: Groups::new(&self.plan, self.seed),
        })
    }

    fn merge(&mut self, partials: &mut [Box<dyn Partial>], pool: &ThreadPool) -> Result<()> {
        let workers = partials.iter_mut().map(|partial| {
            let any = partial.as_any_mut().downcast_mut::<WorkerGroups>();
            any.expect("the driver gives back what this operator made")
        });
        let workers: Vec<_> = workers.filter(|worker| worker.groups.len() > 0).collect();
        pool.install(|| {
            let parts: Vec<_> = workers
                .par_iter()
                .map(|worker| Partitioned::new(&worker.groups))
                .collect();
            let merge = |(index, shard): (usize, &mut Shard)| shard.merge(&self.plan, index, &parts);
            self.shards.par_iter_mut().enumerate().try_for_each(merge)
        })?;
        workers.into_iter().for_each(|worker| worker.groups.clear());
        Ok(())
    }

    fn emit(&mut self, context: EmitContext, pool: &ThreadPool) -> Result<Vec<RecordBatch>> {
        let plan = Arc::clone(&self.plan);
        collect(&mut self.shards, &plan.output, pool, |shard| shard.emit(&plan, context))
    }

    fn groups(&self) -> u64 {
        self.shards.iter().map(|shard| shard.groups.table.len() as u64).sum()
    }

    fn memory(&self) -> usize {
        self.shards.iter().map(Shard::memory).sum()
    }

    fn snapshot(&mut self, extent: Extent) -> Box<dyn Iterator<Item = Result<RecordBatch>> + '_> {
        let plan = &self.plan;
        let shards = self.shards.iter_mut();
        Box::new(shards.filter_map(move |shard| shard.snapshot(plan, extent).transpose()))
    }

    fn restore(&mut self, records: &RecordBatch, closed_micros: Option<i64>) -> Result<()> {
        if records.schema().fields() != self.plan.state.fields() {
            let (found, expected) = (records.schema(), &self.plan.state);
            return Err(Error::Invalid(format!(
                "the state has columns {found}, expected {expected}"
            )));
        }
        let open = match (&self.plan.window, closed_micros) {
            (Some(window), Some(closed)) => window.open_rows(records, closed)?,
            _ => None,
        };
        let mut groups = Groups::new(&self.plan, self.seed);
        groups.take_state(&self.plan, open.as_ref().unwrap_or(records))?;
        let part = Partitioned::new(&groups);
        for (index, shard) in self.shards.iter_mut().enumerate() {
            shard.restore(&self.plan, index, &part)?;
        }
        Ok(())
    }

    fn set_seed(&mut self, seed: Seed) {
        assert_eq!(self.groups(), 0, "the seed is set before there are groups");
        self.seed = seed;
        self.shards = (0..SHARDS).map(|_| Shard::new(&self.plan, seed)).collect();
    }
}

impl Partial for WorkerGroups {
    fn absorb(&mut self, batch: &Batch, context: AbsorbContext<'_>) -> Result<Option<Batch>> {
        let Self { plan, groups } = self;
        let open = match &plan.window {
            Some(window) => window.rows_in_time(batch, context.closed_micros)?,
            None => None,
        };
        let InTime { rows: batch, late } = InTime::new(batch, open.as_ref(), context)?;
        groups.update(plan, &batch)?;
        Ok(late)
    }

    fn is_full(&self) -> bool {
        let mut accumulators = self.groups.accumulators.iter();
        self.groups.len() >= PARTIAL_GROUPS_MAX || accumulators.any(|accumulator| accumulator.is_full())
    }

    fn memory(&self) -> usize {
        self.groups.memory()
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl Plan {
    fn new(keys: &[&str], calls: &[AggregateCall], schema: &Schema) -> Result<Self> {
        let description = describe("aggregate", keys, calls);
        let keys = keys
            .iter()
            .map(|key| column_index(schema, key))
            .collect::<Result<Vec<_>>>()?;
        let key_field = |&key: &usize| {
            let field = schema.field(key);
            Arc::new(Field::new(field.name(), value_type(field.data_type()).clone(), true))
        };
        let key_fields: Vec<FieldRef> = keys.iter().map(key_field).collect();
        let calls = Calls::new(calls, schema)?;
        let fields = |columns: &[FieldRef]| Arc::new(Schema::new([&key_fields, columns].concat()));
        let codec = KeyCodec::new(&key_fields)?;
        Ok(Self {
            counts: calls.is_lone_count() && codec.can_count(),
            codec,
            keys,
            output: fields(&calls.output),
            state: fields(&calls.state),
            calls,
            window: None,
            description,
        })
    }

    fn output_rows(&self, groups: &Groups, ids: &[u32]) -> Result<Option<RecordBatch>> {
        self.rows(&self.output, groups, ids, |accumulator| vec![accumulator.evaluate(ids)])
    }

    fn state_rows(&self, groups: &Groups, ids: &[u32]) -> Result<Option<RecordBatch>> {
        self.rows(&self.state, groups, ids, |accumulator| accumulator.state(ids))
    }

    fn rows(
        &self,
        schema: &SchemaRef,
        groups: &Groups,
        ids: &[u32],
        columns_of: impl Fn(&dyn Accumulator) -> Vec<ArrayRef>,
    ) -> Result<Option<RecordBatch>> {
        if ids.is_empty() {
            return Ok(None);
        }
        let mut columns = self.codec.columns(&groups.table, ids)?;
        columns.extend(
            groups
                .accumulators
                .iter()
                .flat_map(|accumulator| columns_of(accumulator.as_ref())),
        );
        let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
        let records = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
        records.map(Some).map_err(Error::arrow("build the groups' rows"))
    }
}
