//! `aggregate`: groups rows by key columns and keeps aggregate functions for each group.
//!
//! ```text
//! worker 0: partial table + accumulators --+      by the hash's high bits       +--> shard 0: table + accumulators + journal
//! worker 1: partial table + accumulators --+-- each partial is cut into shards -+--> shard 1
//!                                                                               +--> ... 64 shards, merged in parallel
//! ```
//! A hash made once by a worker chooses the shard (high bits) and the slot (low bits) wherever the key goes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::expression::column_index;
use super::journal::Journal;
use super::{EmitContext, Extent, OutputMode, Partial, StatefulOperator};
use crate::aggregate::{Accumulator, AggregateFunction, AggregateKind};
use crate::batch::{Batch, Column};
use crate::error::{Error, Result};
use crate::group::bytes::BytesTable;
use crate::group::keys::{KeyCodec, unpacked, value_type};
use crate::kernel::hash::Seed;

/// The number of state shards: a constant of the checkpoint format, whatever the threads and partitions. 64 keeps the
/// merge of a few workers balanced; it is the number of high hash bits that choose the shard, to the power of two.
pub const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 6;

/// Rows that an emitted or snapshot batch is filled up to: small enough for the second-level cache.
const ROWS_TARGET: usize = 8192;

/// Groups of a partial after which it is merged. A table of 65,536 groups takes about 6 MiB, so that the workers' tables
/// stay near the caches and their memory has a bound, while a merge still costs a few per cent of what was absorbed.
const PARTIAL_GROUPS_MAX: usize = 1 << 16;

/// Groups by keys and aggregates.
#[derive(Debug)]
pub struct HashAggregate {
    plan: Arc<Plan>,
    seed: Seed,
    shards: Vec<Shard>,
}

/// One aggregate function to compute: its name in the output, and its argument columns.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// The output column's name.
    pub name: String,
    /// The function.
    pub kind: AggregateKind,
    /// The argument columns; none for `count(*)`.
    pub arguments: Vec<String>,
}

#[derive(Debug)]
struct Plan {
    codec: KeyCodec,
    keys: Vec<usize>,
    calls: Vec<(AggregateFunction, Vec<usize>)>,
    description: String,
    output: SchemaRef,
    state: SchemaRef,
}

/// The groups of one shard, or of one worker.
#[derive(Debug)]
struct Groups {
    table: BytesTable,
    accumulators: Vec<Box<dyn Accumulator>>,
    ids: Vec<u32>,
}

#[derive(Debug)]
struct Shard {
    groups: Groups,
    journal: Journal,
}

/// A worker's groups.
#[derive(Debug)]
struct WorkerGroups {
    plan: Arc<Plan>,
    groups: Groups,
}

/// A partial's groups in the order of their shards.
struct Partitioned<'a> {
    table: &'a BytesTable,
    /// All ids; those of shard `s` are `order[bounds[s]..bounds[s + 1]]`.
    order: Vec<u32>,
    bounds: Vec<usize>,
    /// By function: its state columns, rows as in `order`.
    states: Vec<Vec<ArrayRef>>,
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

    /// Returns the rows that `rows_of` makes of every shard, in batches of some thousand rows.
    fn collect(
        &mut self,
        schema: &SchemaRef,
        pool: &ThreadPool,
        rows_of: impl Fn(&mut Shard) -> Result<Option<RecordBatch>> + Sync + Send,
    ) -> Result<Vec<RecordBatch>> {
        let parts: Vec<_> = pool.install(|| self.shards.par_iter_mut().map(rows_of).collect::<Result<_>>())?;
        let mut batches = vec![];
        let mut waiting = vec![];
        let mut rows = 0;
        for part in parts.into_iter().flatten() {
            rows += part.num_rows();
            waiting.push(part);
            if rows >= ROWS_TARGET {
                batches.push(concat_batches(schema, &waiting).map_err(Error::arrow("join the shards' rows"))?);
                waiting.clear();
                rows = 0;
            }
        }
        if rows > 0 {
            batches.push(concat_batches(schema, &waiting).map_err(Error::arrow("join the shards' rows"))?);
        }
        Ok(batches)
    }
}

impl StatefulOperator for HashAggregate {
    fn describe(&self) -> String {
        self.plan.description.clone()
    }

    fn schema(&self) -> SchemaRef {
        self.plan.output.clone()
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
        let workers: Vec<_> = workers.filter(|worker| !worker.groups.table.is_empty()).collect();
        pool.install(|| {
            let parts: Vec<_> = workers
                .par_iter()
                .map(|worker| Partitioned::new(&worker.groups))
                .collect();
            let merge = |(index, shard): (usize, &mut Shard)| shard.merge(index, &parts);
            self.shards.par_iter_mut().enumerate().try_for_each(merge)
        })?;
        workers.into_iter().for_each(|worker| worker.groups.clear());
        Ok(())
    }

    fn emit(&mut self, context: EmitContext, pool: &ThreadPool) -> Result<Vec<RecordBatch>> {
        let plan = Arc::clone(&self.plan);
        self.collect(&plan.output, pool, |shard| {
            let rows = match context.mode {
                OutputMode::Update => plan.output_rows(&shard.groups, shard.journal.changed()),
                OutputMode::Complete => plan.output_rows(&shard.groups, &shard.groups.all()),
            };
            shard.journal.emitted();
            rows
        })
    }

    fn groups(&self) -> u64 {
        self.shards.iter().map(|shard| shard.groups.table.len() as u64).sum()
    }

    fn snapshot(&mut self, extent: Extent) -> Box<dyn Iterator<Item = Result<RecordBatch>> + '_> {
        let plan = Arc::clone(&self.plan);
        let rows_of = move |shard: &mut Shard| {
            let changed = shard.journal.take();
            match extent {
                Extent::Delta => plan.state_rows(&shard.groups, &changed),
                Extent::Base => plan.state_rows(&shard.groups, &shard.groups.all()),
            }
        };
        Box::new(
            self.shards
                .iter_mut()
                .filter_map(move |shard| rows_of(shard).transpose()),
        )
    }

    fn restore(&mut self, records: &RecordBatch) -> Result<()> {
        if records.schema().fields() != self.plan.state.fields() {
            let (found, expected) = (records.schema(), &self.plan.state);
            return Err(Error::Invalid(format!(
                "the state has columns {found}, expected {expected}"
            )));
        }
        let mut groups = Groups::new(&self.plan, self.seed);
        groups.take_state(&self.plan, records)?;
        let part = Partitioned::new(&groups);
        for (index, shard) in self.shards.iter_mut().enumerate() {
            shard.groups.replace(index, &part)?;
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
    fn absorb(&mut self, batch: &Batch) -> Result<()> {
        let Self { plan, groups } = self;
        let keys: Vec<&Column> = plan.keys.iter().map(|&key| batch.column(key)).collect();
        groups.ids.clear();
        plan.codec
            .intern(&keys, batch.rows(), &mut groups.table, &mut groups.ids)?;
        let total = groups.table.len();
        for ((_, arguments), accumulator) in plan.calls.iter().zip(&mut groups.accumulators) {
            let array = |&argument: &usize| unpacked(batch.column(argument).to_array());
            let arguments = arguments.iter().map(array).collect::<Result<Vec<_>>>()?;
            accumulator.update(&arguments, &groups.ids, total)?;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let mut accumulators = self.groups.accumulators.iter();
        self.groups.table.len() >= PARTIAL_GROUPS_MAX || accumulators.any(|accumulator| accumulator.is_full())
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl Plan {
    fn new(keys: &[&str], calls: &[AggregateCall], schema: &Schema) -> Result<Self> {
        let description = describe(keys, calls);
        let keys = keys
            .iter()
            .map(|key| column_index(schema, key))
            .collect::<Result<Vec<_>>>()?;
        let key_field = |&key: &usize| {
            let field = schema.field(key);
            Arc::new(Field::new(field.name(), value_type(field.data_type()).clone(), true))
        };
        let key_fields: Vec<FieldRef> = keys.iter().map(key_field).collect();
        let (mut output, mut state) = (key_fields.clone(), key_fields.clone());
        let mut planned = vec![];
        for call in calls {
            let index = |name: &String| column_index(schema, name);
            let arguments = call.arguments.iter().map(index).collect::<Result<Vec<_>>>()?;
            let data_type = |&argument: &usize| schema.field(argument).data_type().clone();
            let types: Vec<_> = arguments.iter().map(data_type).collect();
            let function = AggregateFunction::new(call.kind.clone(), &types)?;
            output.push(Field::new(&call.name, function.result_type(), function.is_nullable()).into());
            state.extend(function.state_fields(&call.name));
            planned.push((function, arguments));
        }
        Ok(Self {
            codec: KeyCodec::new(&key_fields)?,
            keys,
            calls: planned,
            description,
            output: Arc::new(Schema::new(output)),
            state: Arc::new(Schema::new(state)),
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

impl Groups {
    fn new(plan: &Plan, seed: Seed) -> Self {
        Self {
            table: plan.codec.table(seed),
            accumulators: plan.calls.iter().map(|(function, _)| function.accumulator()).collect(),
            ids: Vec::new(),
        }
    }

    fn all(&self) -> Vec<u32> {
        (0..u32::try_from(self.table.len()).expect("ids are 32-bit")).collect()
    }

    fn clear(&mut self) {
        self.table.clear();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear());
    }

    /// Takes rows of the state's schema in as groups.
    fn take_state(&mut self, plan: &Plan, records: &RecordBatch) -> Result<()> {
        let (keys, mut states) = records.columns().split_at(plan.keys.len());
        let keys: Vec<_> = keys.iter().cloned().map(Column::Array).collect();
        let keys: Vec<_> = keys.iter().collect();
        plan.codec
            .intern(&keys, records.num_rows(), &mut self.table, &mut self.ids)?;
        for ((function, _), accumulator) in plan.calls.iter().zip(&mut self.accumulators) {
            let (state, rest) = states.split_at(function.state_types().len());
            accumulator.merge(state, &self.ids, self.table.len())?;
            states = rest;
        }
        Ok(())
    }

    /// Takes the groups of shard `index` over from `part`; they replace groups of the same key.
    fn replace(&mut self, index: usize, part: &Partitioned<'_>) -> Result<()> {
        let theirs = part.range(index);
        self.ids.clear();
        self.table
            .intern_from(part.table, &part.order[theirs.clone()], &mut self.ids);
        let total = self.table.len();
        self.accumulators
            .iter_mut()
            .for_each(|accumulator| accumulator.reset(&self.ids, total));
        self.merge_states(part, theirs)
    }

    fn merge_states(&mut self, part: &Partitioned<'_>, theirs: std::ops::Range<usize>) -> Result<()> {
        let total = self.table.len();
        for (accumulator, states) in self.accumulators.iter_mut().zip(&part.states) {
            let slice = |state: &ArrayRef| state.slice(theirs.start, theirs.len());
            let states: Vec<_> = states.iter().map(slice).collect();
            accumulator.merge(&states, &self.ids, total)?;
        }
        Ok(())
    }
}

impl Shard {
    fn new(plan: &Plan, seed: Seed) -> Self {
        Self {
            groups: Groups::new(plan, seed),
            journal: Journal::default(),
        }
    }

    /// Adds the groups that belong to this shard, of every worker.
    fn merge(&mut self, index: usize, parts: &[Partitioned<'_>]) -> Result<()> {
        for part in parts {
            let theirs = part.range(index);
            if theirs.is_empty() {
                continue;
            }
            self.groups.ids.clear();
            self.groups
                .table
                .intern_from(part.table, &part.order[theirs.clone()], &mut self.groups.ids);
            self.groups.merge_states(part, theirs)?;
            self.journal.mark(&self.groups.ids, self.groups.table.len());
        }
        Ok(())
    }
}

impl<'a> Partitioned<'a> {
    /// Sorts the ids by shard, by counting.
    fn new(groups: &'a Groups) -> Self {
        let hashes = groups.table.hashes();
        let mut bounds = vec![0; SHARDS + 1];
        hashes.iter().for_each(|&hash| bounds[shard_of(hash) + 1] += 1);
        (0..SHARDS).for_each(|shard| bounds[shard + 1] += bounds[shard]);
        let mut next = bounds.clone();
        let mut order = vec![0; hashes.len()];
        for (id, &hash) in (0..).zip(hashes) {
            let place = &mut next[shard_of(hash)];
            order[*place] = id;
            *place += 1;
        }
        Self {
            table: &groups.table,
            states: groups
                .accumulators
                .iter()
                .map(|accumulator| accumulator.state(&order))
                .collect(),
            order,
            bounds,
        }
    }

    fn range(&self, shard: usize) -> std::ops::Range<usize> {
        self.bounds[shard]..self.bounds[shard + 1]
    }
}

impl fmt::Display for AggregateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arguments = self.arguments.clone();
        if arguments.is_empty() {
            arguments.push("*".to_owned());
        }
        arguments.extend(self.kind.literals());
        write!(f, "{}({}) AS {}", self.kind, arguments.join(", "), self.name)
    }
}

fn describe(keys: &[&str], calls: &[AggregateCall]) -> String {
    let calls: Vec<_> = calls.iter().map(AggregateCall::to_string).collect();
    format!("aggregate {} by {}", calls.join(", "), keys.join(", "))
}

fn shard_of(hash: u64) -> usize {
    (hash >> (64 - SHARD_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{Array, AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Int64Type};
    use proptest::prelude::*;

    use super::*;

    const UPDATE: EmitContext = EmitContext {
        mode: OutputMode::Update,
        watermark_micros: None,
        last: false,
    };
    const COMPLETE: EmitContext = EmitContext {
        mode: OutputMode::Complete,
        ..UPDATE
    };

    type Row<'a> = (Option<&'a str>, i64);
    type Totals = BTreeMap<Option<String>, (i64, i64)>;

    fn pool() -> ThreadPool {
        rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .build()
            .expect("two threads")
    }

    fn schema() -> SchemaRef {
        let key = Field::new("word", DataType::Utf8, true);
        Arc::new(Schema::new(vec![key, Field::new("bytes", DataType::Int64, true)]))
    }

    fn operator() -> HashAggregate {
        let call = |name: &str, kind, arguments: &[&str]| AggregateCall {
            name: name.to_owned(),
            kind,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        };
        let calls = [
            call("count", AggregateKind::Count, &[]),
            call("bytes", AggregateKind::Sum, &["bytes"]),
        ];
        HashAggregate::new(&["word"], &calls, &schema()).expect("columns that exist")
    }

    fn batch(rows: &[Row<'_>]) -> Batch {
        let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>());
        let bytes: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>());
        Batch::new(
            RecordBatch::try_new(schema(), vec![keys, bytes]).expect("the schema's columns"),
            None,
        )
    }

    /// Absorbs the rows with two workers and merges.
    fn absorb(operator: &mut HashAggregate, rows: &[Row<'_>]) {
        let mut partials = vec![operator.partial(), operator.partial()];
        for (index, rows) in rows.chunks(3).enumerate() {
            partials[index % 2].absorb(&batch(rows)).expect("the right columns");
        }
        operator.merge(&mut partials, &pool()).expect("in range");
    }

    fn totals(batches: &[RecordBatch]) -> Totals {
        let mut totals = Totals::new();
        for batch in batches {
            let (keys, counts, sums) = (batch.column(0), batch.column(1), batch.column(2));
            for row in 0..batch.num_rows() {
                let keys = keys.as_string::<i32>();
                let key = keys.is_valid(row).then(|| keys.value(row).to_owned());
                let number = |column: &ArrayRef| column.as_primitive::<Int64Type>().value(row);
                assert!(
                    totals.insert(key, (number(counts), number(sums))).is_none(),
                    "a group is emitted once"
                );
            }
        }
        totals
    }

    fn naive(rows: &[Row<'_>]) -> Totals {
        let mut totals = Totals::new();
        for (key, bytes) in rows {
            let total = totals.entry(key.map(str::to_owned)).or_default();
            *total = (total.0 + 1, total.1 + bytes);
        }
        totals
    }

    #[test]
    fn update_emits_the_groups_that_changed_and_complete_all() {
        let mut operator = operator();
        let rows = [(Some("a"), 1), (Some("b"), 2), (None, 3), (Some("a"), 4)];
        absorb(&mut operator, &rows);
        assert_eq!(totals(&operator.emit(UPDATE, &pool()).expect("columns")), naive(&rows));
        absorb(&mut operator, &[(Some("b"), 5)]);
        let changed = totals(&operator.emit(UPDATE, &pool()).expect("columns"));
        assert_eq!(changed, Totals::from([(Some("b".to_owned()), (2, 7))]));
        assert_eq!(totals(&operator.emit(UPDATE, &pool()).expect("columns")), Totals::new());
        let all = totals(&operator.emit(COMPLETE, &pool()).expect("columns"));
        assert_eq!(all.len(), 3);
        assert_eq!(operator.groups(), 3);
    }

    #[test]
    fn without_keys_all_rows_are_one_group() {
        let call = AggregateCall {
            name: "rows".to_owned(),
            kind: AggregateKind::Count,
            arguments: vec![],
        };
        let mut operator = HashAggregate::new(&[], &[call], &schema()).expect("no column is needed");
        absorb(&mut operator, &[(Some("a"), 1), (None, 2), (Some("b"), 2), (None, 2)]);
        let rows = operator.emit(UPDATE, &pool()).expect("columns");
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().values(), &[4]);
    }

    #[test]
    fn a_base_and_its_deltas_restore_the_state() {
        let words: Vec<String> = (0..500).map(|number| format!("word-{number:020}")).collect();
        let mut first = operator();
        let mut all = vec![];
        let mut files = vec![];
        for round in 0..4 {
            let rows: Vec<_> = words[100 * round..]
                .iter()
                .map(|word| (Some(word.as_str()), 7))
                .collect();
            absorb(&mut first, &rows);
            all.extend(rows);
            first.emit(UPDATE, &pool()).expect("columns");
            let extent = if round == 1 { Extent::Base } else { Extent::Delta };
            let file: Vec<_> = first.snapshot(extent).collect::<Result<_>>().expect("columns");
            let rows: usize = file.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(rows, if extent == Extent::Base { 500 } else { 500 - 100 * round });
            files.push(file);
        }
        let mut second = operator();
        second.set_seed(Seed(5, 6));
        for records in files[1..].iter().flatten() {
            second.restore(records).expect("a state of this operator");
        }
        assert_eq!(
            totals(&second.emit(UPDATE, &pool()).expect("columns")),
            Totals::new(),
            "nothing has changed since"
        );
        assert_eq!(totals(&second.emit(COMPLETE, &pool()).expect("columns")), naive(&all));
    }

    proptest! {
        #[test]
        fn groups_are_those_of_a_plain_loop(
            rows in prop::collection::vec((prop::option::of("[a-c]{0,3}|[a-b]{14,17}"), -9..9_i64), 0..200),
            batches in 1..4_usize,
        ) {
            let rows: Vec<Row<'_>> = rows.iter().map(|(key, bytes)| (key.as_deref(), *bytes)).collect();
            let mut operator = operator();
            for rows in rows.chunks(rows.len() / batches + 1) {
                absorb(&mut operator, rows);
            }
            prop_assert_eq!(totals(&operator.emit(COMPLETE, &pool()).expect("columns")), naive(&rows));
        }
    }
}
