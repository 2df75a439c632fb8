//! `sessions`: groups the rows of each key by time, a session ending where nothing comes for a gap.
//!
//! ```text
//!  event time ---------------------------------------------------------->
//!  key a:    x  xx   x                  x x      |          x
//!           [ session      + gap )     [ session + gap )   [ ...
//! ```
//! A session is half-open: it ends a gap after its last row, and a row at that very moment begins a new one. A row between two
//! sessions may join them to one.
//!
//! A row is late when a session of it alone would be closed. Sessions are put out when they are final (`append`), or all of
//! them each time (`complete`). In `update` those that changed are put out; a key and the time of its first row name a session,
//! so one that begins earlier or joins an earlier one takes back what was put out under its old name: see [`retract`](super::retract).

mod table;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use arrow::compute::{filter_record_batch, min};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use rayon::ThreadPool;
use rayon::prelude::*;

use self::table::{Partitioned, Sessions, Shard};
use super::calls::{AggregateCall, Calls, describe};
use super::expression::column_index;
use super::late::InTime;
use super::retract::RETRACTED_COLUMN;
use super::shards::{SHARDS, collect};
use super::span::Micros;
use super::{AbsorbContext, EmitContext, Extent, OutputMode, Partial, StatefulOperator};
use crate::batch::{Batch, Column};
use crate::error::{Error, Result};
use crate::group::keys::{KeyCodec, value_type};
use crate::kernel::hash::Seed;
use crate::memory;

/// The output columns of a session's bounds, after the keys: the time of its first row, and a gap after that of its last.
pub const BOUNDS: [&str; 2] = ["session_start", "session_end"];

/// Sessions by keys, with aggregates.
#[derive(Debug)]
pub struct SessionAggregate {
    plan: Arc<Plan>,
    seed: Seed,
    shards: Vec<Shard>,
}

#[derive(Debug)]
struct Plan {
    codec: KeyCodec,
    keys: Vec<usize>,
    /// The column of the event time, and its type.
    time: usize,
    time_type: DataType,
    gap_micros: i64,
    calls: Calls,
    description: String,
    output: SchemaRef,
    /// Keys, times of the first and the last row, states.
    state: SchemaRef,
    /// Whether the output says which rows take back.
    retracts: bool,
}

/// A worker's sessions.
#[derive(Debug)]
struct WorkerSessions {
    plan: Arc<Plan>,
    sessions: Sessions,
    /// The keys of the rows at hand: scratch memory.
    keys: Vec<u32>,
}

type Times = PrimitiveArray<TimestampMicrosecondType>;

impl SessionAggregate {
    /// Returns the operator for batches of `schema`: sessions of the rows of equal `keys` by the column `time`, which end
    /// when `gap_micros` have passed without a row. The output has the keys, [`BOUNDS`], and the calls.
    ///
    /// # Errors
    /// When a column is missing or of a type that can't be used so, or the gap is not positive.
    pub fn new(keys: &[&str], time: &str, gap_micros: i64, calls: &[AggregateCall], schema: &Schema) -> Result<Self> {
        let plan = Arc::new(Plan::new(keys, time, gap_micros, calls, schema)?);
        let seed = Seed::random();
        let shards = (0..SHARDS).map(|_| Shard::new(&plan, seed)).collect();
        Ok(Self { plan, seed, shards })
    }

    /// Returns the operator for mode `update`: its output has the column [`RETRACTED_COLUMN`] too.
    ///
    /// # Panics
    /// When a partial was made before.
    #[must_use]
    pub fn with_updates(mut self) -> Self {
        let plan = Arc::get_mut(&mut self.plan).expect("updates are asked for before partials are made");
        let nullable = |field: &FieldRef| Arc::new(field.as_ref().clone().with_nullable(true));
        let mut fields: Vec<FieldRef> = plan.output.fields().iter().map(nullable).collect();
        fields.push(Arc::new(Field::new(RETRACTED_COLUMN, DataType::Boolean, false)));
        plan.output = Arc::new(Schema::new(fields));
        plan.retracts = true;
        self
    }
}

impl StatefulOperator for SessionAggregate {
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
        (self.plan.retracts != (mode == OutputMode::Update))
            .then_some("a session that begins earlier or joins another is taken back in mode update, and only there: make the operator with_updates for it")
    }

    fn partial(&self) -> Box<dyn Partial> {
        Box::new(WorkerSessions {
            plan: Arc::clone(&self.plan),
            sessions: Sessions::new(&self.plan, self.seed),
            keys: Vec::new(),
        })
    }

    fn merge(&mut self, partials: &mut [Box<dyn Partial>], pool: &ThreadPool) -> Result<()> {
        let workers = partials.iter_mut().map(|partial| {
            let any = partial.as_any_mut().downcast_mut::<WorkerSessions>();
            any.expect("the driver gives back what this operator made")
        });
        let workers: Vec<_> = workers.filter(|worker| worker.sessions.live() > 0).collect();
        pool.install(|| {
            let parts: Vec<_> = workers
                .par_iter()
                .map(|worker| Partitioned::new(&worker.sessions))
                .collect();
            let merge = |(index, shard): (usize, &mut Shard)| shard.merge(&self.plan, index, &parts);
            self.shards.par_iter_mut().enumerate().try_for_each(merge)
        })?;
        workers.into_iter().for_each(|worker| worker.sessions.clear());
        Ok(())
    }

    fn emit(&mut self, context: EmitContext, pool: &ThreadPool) -> Result<Vec<RecordBatch>> {
        let plan = Arc::clone(&self.plan);
        collect(&mut self.shards, &plan.output, pool, |shard| shard.emit(&plan, context))
    }

    fn groups(&self) -> u64 {
        self.shards.iter().map(|shard| shard.sessions.live() as u64).sum()
    }

    fn memory(&self) -> usize {
        self.shards.iter().map(Shard::memory).sum()
    }

    fn snapshot(&mut self, extent: Extent) -> Box<dyn Iterator<Item = Result<RecordBatch>> + '_> {
        let plan = &self.plan;
        let shards = self.shards.iter_mut();
        Box::new(shards.filter_map(move |shard| shard.snapshot(plan, extent).transpose()))
    }

    /// The sessions of a key are written together, and replace those that the key had before.
    fn restore(&mut self, records: &RecordBatch, closed_micros: Option<i64>) -> Result<()> {
        if records.schema().fields() != self.plan.state.fields() {
            let (found, expected) = (records.schema(), &self.plan.state);
            return Err(Error::Invalid(format!(
                "the state has columns {found}, expected {expected}"
            )));
        }
        let open = self.plan.open_sessions(records, closed_micros)?;
        let mut sessions = Sessions::new(&self.plan, self.seed);
        sessions.take_state(&self.plan, open.as_ref().unwrap_or(records))?;
        let part = Partitioned::new(&sessions);
        for (index, shard) in self.shards.iter_mut().enumerate() {
            shard.restore(&self.plan, index, &part)?;
        }
        Ok(())
    }

    fn set_seed(&mut self, seed: Seed) {
        assert_eq!(self.groups(), 0, "the seed is set before there are sessions");
        self.seed = seed;
        self.shards = (0..SHARDS).map(|_| Shard::new(&self.plan, seed)).collect();
    }
}

impl Partial for WorkerSessions {
    fn absorb(&mut self, batch: &Batch, context: AbsorbContext<'_>) -> Result<Option<Batch>> {
        let Self { plan, sessions, keys } = self;
        let times = batch.column(plan.time).to_array();
        let open = plan.open(plan.times(&times)?, context.closed_micros);
        let InTime { rows: batch, late } = InTime::new(batch, open.as_ref(), context)?;
        let times = batch.column(plan.time).to_array();
        let times = plan.times(&times)?.values();
        let columns: Vec<&Column> = plan.keys.iter().map(|&key| batch.column(key)).collect();
        keys.clear();
        if batch.rows() > 0 {
            plan.codec.intern(&columns, batch.rows(), &mut sessions.table, keys)?;
        }
        sessions.place(plan, keys, |row| (times[row], times[row]))?;
        sessions.update(plan, &batch)?;
        Ok(late)
    }

    fn is_full(&self) -> bool {
        self.sessions.is_full()
    }

    fn memory(&self) -> usize {
        self.sessions.memory() + memory::of(&self.keys)
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl Plan {
    fn new(keys: &[&str], time: &str, gap_micros: i64, calls: &[AggregateCall], schema: &Schema) -> Result<Self> {
        let description = format!(
            "{} with gap {} of {time}",
            describe("sessions", keys, calls),
            Micros(gap_micros)
        );
        if gap_micros <= 0 {
            return Err(Error::Invalid(format!(
                "the gap between sessions is longer than nothing, not {gap_micros} microseconds"
            )));
        }
        let keys = keys
            .iter()
            .map(|key| column_index(schema, key))
            .collect::<Result<Vec<_>>>()?;
        let time_index = column_index(schema, time)?;
        let time_type = schema.field(time_index).data_type().clone();
        if !matches!(time_type, DataType::Timestamp(TimeUnit::Microsecond, _)) {
            return Err(wrong_time(time, &time_type));
        }
        let key_field = |&key: &usize| {
            let field = schema.field(key);
            Arc::new(Field::new(field.name(), value_type(field.data_type()).clone(), true))
        };
        let key_fields: Vec<FieldRef> = keys.iter().map(key_field).collect();
        let bound = |name: &&str| Arc::new(Field::new(*name, time_type.clone(), false));
        let bounds: Vec<FieldRef> = BOUNDS.iter().map(bound).collect();
        let calls = Calls::new(calls, schema)?;
        let fields = |columns: &[FieldRef]| Arc::new(Schema::new([&key_fields, &bounds, columns].concat()));
        Ok(Self {
            codec: KeyCodec::new(&key_fields)?,
            keys,
            time: time_index,
            output: fields(&calls.output),
            state: fields(&calls.state),
            retracts: false,
            time_type,
            gap_micros,
            calls,
            description,
        })
    }

    /// Returns whether a session whose last row was at `last` is open when all up to `closed_micros` is closed.
    fn is_open(&self, last: i64, closed_micros: i64) -> bool {
        last.saturating_add(self.gap_micros) > closed_micros
    }

    /// Returns the sessions of a snapshot that are open; `None` when that is every one.
    fn open_sessions(&self, state: &RecordBatch, closed_micros: Option<i64>) -> Result<Option<RecordBatch>> {
        let last = self.times(state.column(self.keys.len() + 1))?;
        let open = closed_micros.and_then(|closed| self.open(last, Some(closed)));
        open.map(|open| filter_record_batch(state, &open).map_err(Error::arrow("leave out closed sessions")))
            .transpose()
    }

    /// Returns at which of the times a session with that last row is open; `None` when at all. A null time has none.
    fn open(&self, times: &Times, closed_micros: Option<i64>) -> Option<BooleanArray> {
        let is_open = |time: i64| closed_micros.is_none_or(|closed| self.is_open(time, closed));
        if times.null_count() == 0 && min(times).is_none_or(is_open) {
            return None;
        }
        Some(times.iter().map(|time| Some(time.is_some_and(is_open))).collect())
    }

    fn times<'a>(&self, array: &'a ArrayRef) -> Result<&'a Times> {
        let times = array.as_primitive_opt();
        times.ok_or_else(|| wrong_time("event time of sessions", array.data_type()))
    }

    /// Returns times as a column of the input's type.
    fn time_column(&self, micros: impl Iterator<Item = i64>) -> ArrayRef {
        let times = Times::from_iter_values(micros);
        Arc::new(times.with_data_type(self.time_type.clone()))
    }
}

fn wrong_time(name: &str, found: &DataType) -> Error {
    Error::Invalid(format!("`{name}` is {found}, expected a timestamp in microseconds"))
}
