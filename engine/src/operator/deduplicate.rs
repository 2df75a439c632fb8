//! `deduplicate`: the first row of each key to arrive, as long as the watermark may bring another.
//!
//! A key is remembered until the watermark has passed the newest of its rows. A row that is older than the watermark is late:
//! it may be a duplicate of one that was forgotten. So no key is put out twice whose rows carry the same event time. Of rows
//! that are worked on at once the one of the earliest time is the first.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, interleave_record_batch, min, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::expression::column_index;
use super::journal::Journal;
use super::late::{InTime, RECORD_COLUMN};
use super::shards::{ByShard, PARTIAL_GROUPS_MAX, SHARDS, collect};
use super::{AbsorbContext, EmitContext, Extent, OutputMode, Partial, StatefulOperator};
use crate::batch::{Batch, Column};
use crate::error::{Error, Result};
use crate::group::bytes::BytesTable;
use crate::group::keys::{KeyCodec, value_type};
use crate::kernel::hash::Seed;
use crate::memory;

/// One row of each key.
#[derive(Debug)]
pub struct Deduplicate {
    plan: Arc<Plan>,
    seed: Seed,
    shards: Vec<Shard>,
}

#[derive(Debug)]
struct Plan {
    codec: KeyCodec,
    /// The columns of the input that are put out.
    chosen: Vec<usize>,
    /// The places of the keys and the time among them.
    keys: Vec<usize>,
    time: usize,
    description: String,
    output: SchemaRef,
    /// The keys, and the time of their newest row.
    state: SchemaRef,
}

/// A worker's first rows.
#[derive(Debug)]
struct WorkerRows {
    plan: Arc<Plan>,
    table: BytesTable,
    firsts: Vec<First>,
    /// Rows that are, or once were, the first of a key.
    rows: Vec<RecordBatch>,
    /// The keys of the rows at hand: scratch memory.
    ids: Vec<u32>,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug)]
struct First {
    time: i64,
    newest: i64,
    /// Where the first row is: the number of its batch, and its place there.
    place: (usize, usize),
}

/// A part of the state.
#[derive(Debug)]
struct Shard {
    table: BytesTable,
    /// By key: the time of its newest row.
    newest: Vec<i64>,
    /// No key is older than this, so that most micro-batches need not look for those to forget.
    oldest: i64,
    journal: Journal,
    /// Rows to be put out.
    pending: Vec<RecordBatch>,
    ids: Vec<u32>,
}

/// A worker's keys in the order of their shards.
struct Partitioned<'a> {
    worker: &'a WorkerRows,
    ids: ByShard,
}

type Times = PrimitiveArray<TimestampMicrosecondType>;

impl Deduplicate {
    /// Returns the operator for batches of `schema`: one row for each value of the columns `keys`; `time` is the event time.
    ///
    /// # Errors
    /// When a column is missing or of a type that can't be used so.
    pub fn new(keys: &[&str], time: &str, schema: &SchemaRef) -> Result<Self> {
        let plan = Arc::new(Plan::new(keys, time, schema)?);
        let seed = Seed::random();
        let shards = (0..SHARDS).map(|_| Shard::new(&plan, seed)).collect();
        Ok(Self { plan, seed, shards })
    }
}

impl StatefulOperator for Deduplicate {
    fn describe(&self) -> String {
        self.plan.description.clone()
    }

    fn schema(&self) -> SchemaRef {
        self.plan.output.clone()
    }

    fn is_windowed(&self) -> bool {
        true
    }

    fn refusal(&self, mode: OutputMode) -> Option<&'static str> {
        (mode != OutputMode::Append)
            .then_some("the first row of a key is put out once and never changes: use mode append")
    }

    fn partial(&self) -> Box<dyn Partial> {
        Box::new(WorkerRows {
            plan: Arc::clone(&self.plan),
            table: self.plan.codec.table(self.seed),
            firsts: vec![],
            rows: vec![],
            ids: vec![],
        })
    }

    fn merge(&mut self, partials: &mut [Box<dyn Partial>], pool: &ThreadPool) -> Result<()> {
        let workers = partials.iter_mut().map(|partial| {
            let any = partial.as_any_mut().downcast_mut::<WorkerRows>();
            any.expect("the driver gives back what this operator made")
        });
        let workers: Vec<_> = workers.filter(|worker| !worker.table.is_empty()).collect();
        pool.install(|| {
            let parts: Vec<_> = workers.iter().map(|worker| Partitioned::new(worker)).collect();
            let merge = |(index, shard): (usize, &mut Shard)| shard.merge(index, &parts);
            self.shards.par_iter_mut().enumerate().try_for_each(merge)
        })?;
        workers.into_iter().for_each(WorkerRows::clear);
        Ok(())
    }

    fn emit(&mut self, context: EmitContext, pool: &ThreadPool) -> Result<Vec<RecordBatch>> {
        let plan = Arc::clone(&self.plan);
        let closed = context.mode.closed_micros(context.watermark_micros);
        collect(&mut self.shards, &plan.output, pool, |shard| shard.emit(&plan, closed))
    }

    fn groups(&self) -> u64 {
        self.shards.iter().map(|shard| shard.table.len() as u64).sum()
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
        let (times, keys) = records.columns().split_last().expect("the state has a time");
        let open = closed_micros.and_then(|closed| in_time(self.plan.times(times).ok()?, Some(closed)));
        let open = open.map(|open| filter_record_batch(records, &open).map_err(Error::arrow("leave out old keys")));
        let open = open.transpose()?;
        let (times, keys) = match &open {
            Some(open) => open.columns().split_last().expect("the state has a time"),
            None => (times, keys),
        };
        let keys: Vec<_> = keys.iter().cloned().map(Column::Array).collect();
        let (mut table, mut ids) = (self.plan.codec.table(self.seed), vec![]);
        if !times.is_empty() {
            let keys: Vec<_> = keys.iter().collect();
            self.plan.codec.intern(&keys, times.len(), &mut table, &mut ids)?;
        }
        // A snapshot has each key once, so that keys are numbered as the rows are.
        let times = self.plan.times(times)?.values();
        let by_shard = ByShard::new((0..).zip(table.hashes().iter().copied()));
        for (index, shard) in self.shards.iter_mut().enumerate() {
            shard.restore(&table, &by_shard.order[by_shard.range(index)], times);
        }
        Ok(())
    }

    fn set_seed(&mut self, seed: Seed) {
        assert_eq!(self.groups(), 0, "the seed is set before there are keys");
        self.seed = seed;
        self.shards = (0..SHARDS).map(|_| Shard::new(&self.plan, seed)).collect();
    }
}

impl Partial for WorkerRows {
    fn absorb(&mut self, batch: &Batch, context: AbsorbContext<'_>) -> Result<Option<Batch>> {
        let plan = Arc::clone(&self.plan);
        let times = batch.column(plan.chosen[plan.time]).to_array();
        let open = in_time(plan.times(&times)?, context.closed_micros);
        let InTime { rows, late } = InTime::new(batch, open.as_ref(), context)?;
        if rows.rows() == 0 {
            return Ok(late);
        }
        let records = rows.to_records()?.project(&plan.chosen);
        let records = records.map_err(Error::arrow("choose the columns that are put out"))?;
        let keys: Vec<_> = plan
            .keys
            .iter()
            .map(|&key| Column::Array(Arc::clone(records.column(key))))
            .collect();
        self.ids.clear();
        let keys: Vec<_> = keys.iter().collect();
        plan.codec
            .intern(&keys, records.num_rows(), &mut self.table, &mut self.ids)?;
        self.note_firsts(&records, plan.times(records.column(plan.time))?.values())?;
        Ok(late)
    }

    fn is_full(&self) -> bool {
        self.table.len() >= PARTIAL_GROUPS_MAX
    }

    fn memory(&self) -> usize {
        let table = self.table.memory() + memory::of(&self.firsts) + memory::of(&self.ids);
        table + rows_memory(&self.rows)
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl WorkerRows {
    /// Notes the rows that are the first of their keys, and keeps those alone.
    fn note_firsts(&mut self, records: &RecordBatch, times: &[i64]) -> Result<()> {
        let number = self.rows.len();
        let mut changed = vec![];
        for (row, (&id, &time)) in self.ids.iter().zip(times).enumerate() {
            let place = (number, row);
            let Some(first) = self.firsts.get_mut(id as usize) else {
                changed.push(id);
                self.firsts.push(First {
                    time,
                    newest: time,
                    place,
                });
                continue;
            };
            first.newest = first.newest.max(time);
            if time < first.time {
                if first.place.0 != number {
                    changed.push(id);
                }
                (first.time, first.place) = (time, place);
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let rows = changed.iter().map(|&id| self.firsts[id as usize].place.1);
        let rows: UInt32Array = rows
            .map(|row| u32::try_from(row).expect("a batch's rows are 32-bit"))
            .collect();
        for (row, &id) in changed.iter().enumerate() {
            self.firsts[id as usize].place.1 = row;
        }
        let kept = take_record_batch(records, &rows).map_err(Error::arrow("keep first rows"))?;
        self.rows.push(kept);
        Ok(())
    }

    fn clear(&mut self) {
        self.table.clear();
        self.firsts.clear();
        self.rows.clear();
    }
}

impl Plan {
    fn new(keys: &[&str], time: &str, schema: &SchemaRef) -> Result<Self> {
        let description = format!("deduplicate {} by time {time}", keys.join(", "));
        let is_chosen = |index: &usize| schema.field(*index).name() != RECORD_COLUMN;
        let chosen: Vec<_> = (0..schema.fields().len()).filter(is_chosen).collect();
        let schema = Arc::new(schema.project(&chosen).map_err(Error::arrow("choose columns"))?);
        let schema = &schema;
        let keys = keys
            .iter()
            .map(|key| column_index(schema, key))
            .collect::<Result<Vec<_>>>()?;
        let time_index = column_index(schema, time)?;
        let time_type = schema.field(time_index).data_type();
        if !matches!(time_type, DataType::Timestamp(TimeUnit::Microsecond, _)) {
            return Err(wrong_time(time, time_type));
        }
        let key_field = |&key: &usize| {
            let field = schema.field(key);
            Arc::new(Field::new(field.name(), value_type(field.data_type()).clone(), true))
        };
        let key_fields: Vec<FieldRef> = keys.iter().map(key_field).collect();
        let newest = Arc::new(Field::new("newest", time_type.clone(), false));
        Ok(Self {
            codec: KeyCodec::new(&key_fields)?,
            chosen,
            keys,
            time: time_index,
            description,
            output: Arc::clone(schema),
            state: Arc::new(Schema::new([key_fields, vec![newest]].concat())),
        })
    }

    fn times<'a>(&self, array: &'a ArrayRef) -> Result<&'a Times> {
        let times = array.as_primitive_opt();
        times.ok_or_else(|| wrong_time("event time", array.data_type()))
    }
}

fn rows_memory(rows: &[RecordBatch]) -> usize {
    rows.iter().map(RecordBatch::get_array_memory_size).sum()
}

impl Shard {
    fn new(plan: &Plan, seed: Seed) -> Self {
        Self {
            table: plan.codec.table(seed),
            newest: vec![],
            oldest: i64::MAX,
            journal: Journal::default(),
            pending: vec![],
            ids: vec![],
        }
    }

    fn memory(&self) -> usize {
        let table = self.table.memory() + memory::of(&self.newest) + memory::of(&self.ids);
        table + self.journal.memory() + rows_memory(&self.pending)
    }

    /// Adds the keys that belong to this shard, of every worker; the rows of new ones wait to be put out.
    fn merge(&mut self, index: usize, parts: &[Partitioned<'_>]) -> Result<()> {
        let known = self.table.len();
        let mut chosen: Vec<(i64, (usize, usize))> = vec![];
        let mut batches: Vec<&RecordBatch> = vec![];
        for part in parts {
            let theirs = &part.ids.order[part.ids.range(index)];
            self.ids.clear();
            self.table.intern_from(&part.worker.table, theirs, &mut self.ids);
            for (&id, &their) in self.ids.iter().zip(theirs) {
                let first = part.worker.firsts[their as usize];
                let row = (first.time, (batches.len() + first.place.0, first.place.1));
                let id = id as usize;
                if id == self.newest.len() {
                    self.newest.push(first.newest);
                    chosen.push(row);
                    continue;
                }
                self.newest[id] = self.newest[id].max(first.newest);
                if id >= known && row.0 < chosen[id - known].0 {
                    chosen[id - known] = row;
                }
            }
            self.journal.mark(&self.ids, self.table.len());
            batches.extend(&part.worker.rows);
        }
        self.oldest = self.newest[known..].iter().copied().fold(self.oldest, i64::min);
        if !chosen.is_empty() {
            let places: Vec<_> = chosen.iter().map(|row| row.1).collect();
            let rows = interleave_record_batch(&batches, &places).map_err(Error::arrow("take first rows"))?;
            self.pending.push(rows);
        }
        Ok(())
    }

    /// Takes over the keys `theirs` of a snapshot, with the times of their newest rows.
    fn restore(&mut self, table: &BytesTable, theirs: &[u32], times: &[i64]) {
        self.ids.clear();
        self.table.intern_from(table, theirs, &mut self.ids);
        self.newest.resize(self.table.len(), i64::MIN);
        for (&id, &their) in self.ids.iter().zip(theirs) {
            let newest = &mut self.newest[id as usize];
            *newest = times[their as usize].max(*newest);
        }
        self.oldest = self.newest.iter().copied().min().unwrap_or(i64::MAX);
    }

    /// Returns the first rows of new keys, and forgets the keys whose rows are all older than the watermark.
    fn emit(&mut self, plan: &Plan, closed: Option<i64>) -> Result<Option<RecordBatch>> {
        let pending = std::mem::take(&mut self.pending);
        let rows = match pending.len() {
            0 => None,
            _ => Some(concat_batches(&plan.output, &pending).map_err(Error::arrow("join first rows"))?),
        };
        self.journal.emitted();
        if let Some(closed) = closed.filter(|&closed| self.oldest < closed) {
            self.forget(plan, closed);
        }
        Ok(rows)
    }

    fn forget(&mut self, plan: &Plan, closed: i64) {
        let keys = (0..).zip(&self.newest);
        let kept: Vec<u32> = keys
            .filter(|(_, newest)| **newest >= closed)
            .map(|(id, _)| id)
            .collect();
        let mut table = plan.codec.table(self.table.seed());
        self.ids.clear();
        table.intern_from(&self.table, &kept, &mut self.ids);
        self.newest = kept.iter().map(|&id| self.newest[id as usize]).collect();
        self.oldest = self.newest.iter().copied().min().unwrap_or(i64::MAX);
        self.journal.keep(&kept);
        self.table = table;
    }

    fn snapshot(&mut self, plan: &Plan, extent: Extent) -> Result<Option<RecordBatch>> {
        let changed = self.journal.take();
        let ids = match extent {
            Extent::Delta => changed,
            Extent::Base => (0..u32::try_from(self.table.len()).expect("ids are 32-bit")).collect(),
        };
        if ids.is_empty() {
            return Ok(None);
        }
        let newest = Times::from_iter_values(ids.iter().map(|&id| self.newest[id as usize]));
        let (newest_field, _) = plan.state.fields().split_last().expect("the state has a time");
        let mut columns = plan.codec.columns(&self.table, &ids)?;
        columns.push(Arc::new(newest.with_data_type(newest_field.data_type().clone())));
        let records = RecordBatch::try_new(plan.state.clone(), columns);
        records.map(Some).map_err(Error::arrow("build the keys' rows"))
    }
}

impl<'a> Partitioned<'a> {
    fn new(worker: &'a WorkerRows) -> Self {
        let hashes = worker.table.hashes().iter().copied();
        Self {
            worker,
            ids: ByShard::new((0..).zip(hashes)),
        }
    }
}

/// Returns which times are not older than the watermark; `None` when all are not. A null time has no place in time.
fn in_time(times: &Times, closed_micros: Option<i64>) -> Option<BooleanArray> {
    let is_in_time = |time: i64| closed_micros.is_none_or(|closed| time >= closed);
    if times.null_count() == 0 && min(times).is_none_or(is_in_time) {
        return None;
    }
    Some(times.iter().map(|time| Some(time.is_some_and(is_in_time))).collect())
}

fn wrong_time(name: &str, found: &DataType) -> Error {
    Error::Invalid(format!("`{name}` is {found}, expected a timestamp in microseconds"))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::Metrics;

    const LATENESS: i64 = 6;

    /// A key, an event time, and the number of the row.
    type Row = (&'static str, Option<i64>, i64);

    fn pool() -> ThreadPool {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        pool.expect("two threads")
    }

    fn schema() -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Arc::new(Schema::new(vec![
            Field::new("key", DataType::Utf8, true),
            Field::new("time", time, true),
            Field::new("number", DataType::Int64, true),
        ]))
    }

    fn operator() -> Deduplicate {
        Deduplicate::new(&["key"], "time", &schema()).expect("columns that exist")
    }

    fn batch(rows: &[Row]) -> Batch {
        let keys: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>());
        let times: Times = rows.iter().map(|row| row.1).collect();
        let numbers: ArrayRef = Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>());
        let columns = vec![keys, Arc::new(times.with_timezone("UTC")) as ArrayRef, numbers];
        Batch::new(
            RecordBatch::try_new(schema(), columns).expect("the schema's columns"),
            None,
        )
    }

    /// Absorbs the rows with two workers, a few at a time, and merges; returns how many were late.
    fn absorb(operator: &mut Deduplicate, closed_micros: Option<i64>, rows: &[Row]) -> u64 {
        let metrics = Metrics::default();
        let context = AbsorbContext {
            closed_micros,
            keeps_late: false,
            metrics: &metrics,
        };
        let mut partials = vec![operator.partial(), operator.partial()];
        for (index, rows) in rows.chunks(3).enumerate() {
            partials[index % 2]
                .absorb(&batch(rows), context)
                .expect("the right columns");
        }
        operator.merge(&mut partials, &pool()).expect("in range");
        metrics.rows_late.get()
    }

    /// Returns the numbers of the rows that are put out.
    fn emit(operator: &mut Deduplicate, watermark_micros: Option<i64>) -> Vec<i64> {
        let context = EmitContext {
            mode: OutputMode::Append,
            watermark_micros,
            last: false,
        };
        let rows = operator.emit(context, &pool()).expect("columns");
        let numbers = |records: &RecordBatch| records.column(2).as_primitive::<Int64Type>().values().to_vec();
        let mut numbers: Vec<i64> = rows.iter().flat_map(numbers).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn the_earliest_row_of_a_key_is_put_out_once() {
        let mut operator = operator();
        absorb(
            &mut operator,
            None,
            &[
                ("a", Some(5), 0),
                ("b", Some(6), 1),
                ("a", Some(4), 2),
                ("a", Some(9), 3),
            ],
        );
        assert_eq!(emit(&mut operator, None), [1, 2]);
        absorb(&mut operator, None, &[("a", Some(1), 4), ("c", Some(7), 5)]);
        assert_eq!(emit(&mut operator, None), [5]);
        assert_eq!(operator.groups(), 3);
    }

    #[test]
    fn a_key_is_forgotten_when_the_watermark_has_passed_its_newest_row() {
        let mut operator = operator();
        absorb(
            &mut operator,
            None,
            &[("a", Some(5), 0), ("a", Some(9), 1), ("b", Some(6), 2)],
        );
        assert_eq!(emit(&mut operator, Some(9)), [0, 2]);
        assert_eq!(operator.groups(), 1, "b is forgotten");
        assert_eq!(
            absorb(
                &mut operator,
                Some(9),
                &[("b", Some(6), 3), ("a", Some(9), 4), ("a", None, 5)]
            ),
            2
        );
        assert_eq!(emit(&mut operator, Some(10)), [0_i64; 0]);
        assert_eq!(operator.groups(), 0);
    }

    #[test]
    fn other_modes_and_columns_are_refused() {
        let refusal = operator().refusal(OutputMode::Update).expect("it never changes");
        assert!(refusal.contains("use mode append"), "{refusal}");
        assert_eq!(operator().refusal(OutputMode::Append), None);
        let error = Deduplicate::new(&["key"], "number", &schema()).expect_err("no time");
        assert!(
            error.to_string().contains("`number` is Int64, expected a timestamp"),
            "{error}"
        );
    }

    proptest! {
        /// Each key has one event time, as events that are sent again have.
        #[test]
        fn every_key_comes_once_over_watermarks_and_restarts(
            steps in prop::collection::vec((0..3_i64, 0..=LATENESS, prop::option::of(0..8_usize)), 1..120),
            size in 1..40_usize,
            restarts in prop::collection::vec(any::<bool>(), 120),
        ) {
            let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
            let (mut newest, mut times, mut rows) = (0, BTreeMap::new(), vec![]);
            for (number, (step, delay, key)) in (0..).zip(steps) {
                newest += step;
                let key = key.unwrap_or(0);
                let time = *times.entry(key).or_insert(newest - delay);
                if newest - time <= LATENESS {
                    rows.push((names[key], Some(time), number));
                }
            }
            let (mut operator, mut files, mut watermark, mut seen) = (operator(), vec![], None, BTreeSet::new());
            for (rows, is_restarted) in rows.chunks(size).zip(restarts) {
                if is_restarted {
                    operator = self::operator();
                    operator.set_seed(Seed(5, 6));
                    files.iter().for_each(|file| operator.restore(file, watermark).expect("a state"));
                }
                prop_assert_eq!(absorb(&mut operator, watermark, rows), 0);
                watermark = watermark.max(rows.iter().filter_map(|row| row.1).map(|time| time - LATENESS).max());
                for number in emit(&mut operator, watermark) {
                    let row = rows.iter().find(|row| row.2 == number).expect("a row at hand");
                    prop_assert!(seen.insert(row.0), "{} comes twice", row.0);
                }
                files.extend(operator.snapshot(Extent::Delta).collect::<Result<Vec<_>>>().expect("columns"));
            }
            let all: BTreeSet<_> = rows.iter().map(|row| row.0).collect();
            prop_assert_eq!(seen, all);
        }
    }
}
