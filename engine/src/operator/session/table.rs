//! Sessions in memory: by key, in the order of time, never nearer to each other than the gap.
//!
//! A session that joins an earlier one stays in its place as a forwarding address until the table is built anew.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, new_null_array};
use arrow::compute::concat_batches;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::Plan;
use crate::aggregate::Accumulator;
use crate::batch::{Batch, Column};
use crate::error::{Error, Result};
use crate::group::bytes::BytesTable;
use crate::kernel::hash::Seed;
use crate::memory;
use crate::operator::calls::merge_range;
use crate::operator::journal::Journal;
use crate::operator::shards::{ByShard, PARTIAL_GROUPS_MAX};
use crate::operator::{EmitContext, Extent, OutputMode};

/// The sessions of one shard, or of one worker.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) table: BytesTable,
    /// By key: its sessions, the earliest first.
    by_key: Vec<Vec<u32>>,
    sessions: Vec<Session>,
    /// By session.
    accumulators: Vec<Box<dyn Accumulator>>,
    /// How many of the sessions have joined no other.
    live: usize,
    /// No session has its last row before this time, so that most micro-batches need not look for closed ones.
    oldest: i64,
    /// The sessions of the rows at hand: scratch memory.
    ids: Vec<u32>,
    /// Sessions with a state that have joined others while the rows at hand were placed: scratch memory.
    joined: Vec<u32>,
    /// Keys and starts of sessions that were put out and have joined others since.
    gone: Vec<(u32, i64)>,
}

/// Stands for the start of a session that was not put out: no log is as old as that.
const NOT_OUT: i64 = i64::MIN;

#[derive(Clone, Copy, Debug)]
struct Session {
    key: u32,
    /// The times of the first and the last row.
    first: i64,
    last: i64,
    /// The session that it has joined; itself while it lives.
    into: u32,
    /// The start under which it was put out, where that can be taken back; else [`NOT_OUT`].
    out: i64,
    /// Whether it has changed since it was put out.
    changed: bool,
}

/// A part of the state. The journal is one of keys.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) sessions: Sessions,
    journal: Journal,
    keys: Vec<u32>,
}

/// A worker's sessions in the order of their shards.
pub(super) struct Partitioned<'a> {
    sessions: &'a Sessions,
    ids: ByShard,
    /// By function: its state columns, rows as in the order.
    states: Vec<Vec<ArrayRef>>,
}

impl Sessions {
    pub(super) fn new(plan: &Plan, seed: Seed) -> Self {
        Self {
            table: plan.codec.table(seed),
            by_key: vec![],
            sessions: vec![],
            accumulators: plan.calls.accumulators(),
            live: 0,
            oldest: i64::MAX,
            ids: vec![],
            joined: vec![],
            gone: vec![],
        }
    }

    /// Returns the number of sessions.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn is_full(&self) -> bool {
        let mut accumulators = self.accumulators.iter();
        self.sessions.len() >= PARTIAL_GROUPS_MAX || accumulators.any(|accumulator| accumulator.is_full())
    }

    /// Returns the bytes of memory that the sessions hold, used or not.
    pub(super) fn memory(&self) -> usize {
        let by_key = memory::of(&self.by_key) + self.by_key.iter().map(memory::of).sum::<usize>();
        let accumulators = self.accumulators.iter().map(|accumulator| accumulator.memory());
        let scratch = memory::of(&self.ids) + memory::of(&self.joined) + memory::of(&self.gone);
        self.table.memory() + by_key + memory::of(&self.sessions) + accumulators.sum::<usize>() + scratch
    }

    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.by_key.clear();
        self.sessions.clear();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear());
        self.gone.clear();
        self.live = 0;
        self.oldest = i64::MAX;
    }

    /// Finds or makes the session of each row or session: `times` gives its first and last time. What joins others takes
    /// its state along. The sessions are in `ids` then.
    pub(super) fn place(&mut self, plan: &Plan, keys: &[u32], times: impl Fn(usize) -> (i64, i64)) -> Result<()> {
        let with_state = self.sessions.len();
        self.by_key.resize(self.table.len(), vec![]);
        self.ids.clear();
        self.joined.clear();
        for (row, &key) in keys.iter().enumerate() {
            let (first, last) = times(row);
            let id = self.place_one(plan.gap_micros, with_state, key, first, last);
            self.ids.push(id);
        }
        for place in 0..self.ids.len() {
            self.ids[place] = self.forwarded(self.ids[place]);
        }
        if self.joined.is_empty() {
            return Ok(());
        }
        let into: Vec<u32> = self.joined.iter().map(|&id| self.forwarded(id)).collect();
        for accumulator in &mut self.accumulators {
            let states = accumulator.state(&self.joined);
            accumulator.merge(&states, &into, self.sessions.len())?;
        }
        Ok(())
    }

    fn place_one(&mut self, gap: i64, with_state: usize, key: u32, first: i64, last: i64) -> u32 {
        let Self {
            by_key, sessions, gone, ..
        } = self;
        let own = &mut by_key[key as usize];
        let from = own.partition_point(|&id| sessions[id as usize].last.saturating_add(gap) <= first);
        let to = own.partition_point(|&id| sessions[id as usize].first < last.saturating_add(gap));
        if from >= to {
            let id = u32::try_from(sessions.len()).expect("ids are 32-bit");
            sessions.push(Session {
                key,
                first,
                last,
                into: id,
                out: NOT_OUT,
                changed: true,
            });
            own.insert(from, id);
            self.live += 1;
            self.oldest = self.oldest.min(last);
            return id;
        }
        let kept = own[from];
        let end = sessions[own[to - 1] as usize].last;
        for other in own.drain(from + 1..to) {
            let other_session = &mut sessions[other as usize];
            other_session.into = kept;
            if other_session.out != NOT_OUT {
                gone.push((key, other_session.out));
            }
            self.live -= 1;
            if (other as usize) < with_state {
                self.joined.push(other);
            }
        }
        let session = &mut sessions[kept as usize];
        session.first = session.first.min(first);
        session.last = end.max(last);
        session.changed = true;
        kept
    }

    fn forwarded(&self, mut id: u32) -> u32 {
        while self.sessions[id as usize].into != id {
            id = self.sessions[id as usize].into;
        }
        id
    }

    /// Takes the rows that were placed into the accumulators.
    pub(super) fn update(&mut self, plan: &Plan, batch: &Batch) -> Result<()> {
        let total = self.sessions.len();
        plan.calls.update(&mut self.accumulators, batch, &self.ids, total)
    }

    /// Takes rows of the state's schema in, which hold no two sessions that join.
    pub(super) fn take_state(&mut self, plan: &Plan, records: &RecordBatch) -> Result<()> {
        let (keys, rest) = records.columns().split_at(plan.keys.len());
        let (bounds, states) = rest.split_at(super::BOUNDS.len());
        let keys: Vec<_> = keys.iter().cloned().map(Column::Array).collect();
        let keys: Vec<_> = keys.iter().collect();
        let mut key_ids = vec![];
        if records.num_rows() > 0 {
            plan.codec
                .intern(&keys, records.num_rows(), &mut self.table, &mut key_ids)?;
        }
        let (first, last) = (plan.times(&bounds[0])?, plan.times(&bounds[1])?);
        self.place(plan, &key_ids, |row| (first.value(row), last.value(row)))?;
        let total = self.sessions.len();
        plan.calls.merge(&mut self.accumulators, states, &self.ids, total)
    }

    /// Returns the sessions, by key and time.
    fn all(&self) -> Vec<u32> {
        self.by_key.concat()
    }

    fn chosen(&self, is_chosen: impl Fn(&Session) -> bool) -> Vec<u32> {
        let mut ids = self.all();
        ids.retain(|&id| is_chosen(&self.sessions[id as usize]));
        ids
    }

    /// Returns the sessions of these keys that have changed since they were put out.
    fn changed(&self, keys: &[u32]) -> Vec<u32> {
        let all = keys.iter().flat_map(|&key| &self.by_key[key as usize]);
        all.copied().filter(|&id| self.sessions[id as usize].changed).collect()
    }

    /// Notes that these sessions are out under the starts that they have.
    fn put_out(&mut self, ids: &[u32]) {
        for &id in ids {
            let session = &mut self.sessions[id as usize];
            (session.out, session.changed) = (session.first, false);
        }
    }

    /// Returns the rows of the changed sessions of these keys, with those that take back what is no longer there.
    fn updates(&mut self, plan: &Plan, keys: &[u32]) -> Result<Option<RecordBatch>> {
        let changed = self.changed(keys);
        let mut gone = std::mem::take(&mut self.gone);
        for &id in &changed {
            let session = self.sessions[id as usize];
            if session.out != NOT_OUT && session.out != session.first {
                gone.push((session.key, session.out));
            }
        }
        let taken_back = self.taken_back(plan, &gone)?;
        let rows = self.rows(plan, &changed, false)?;
        self.put_out(&changed);
        let parts: Vec<_> = taken_back.into_iter().chain(rows).collect();
        if parts.is_empty() {
            return Ok(None);
        }
        let all = concat_batches(&plan.output, &parts);
        all.map(Some).map_err(Error::arrow("join the sessions' rows"))
    }

    /// Returns rows that take back the sessions of these keys and starts.
    fn taken_back(&self, plan: &Plan, gone: &[(u32, i64)]) -> Result<Option<RecordBatch>> {
        if gone.is_empty() {
            return Ok(None);
        }
        let keys: Vec<u32> = gone.iter().map(|(key, _)| *key).collect();
        let mut columns = plan.codec.columns(&self.table, &keys)?;
        columns.push(plan.time_column(gone.iter().map(|(_, start)| *start)));
        let mark: ArrayRef = Arc::new(BooleanArray::from(vec![true; gone.len()]));
        let rest = &plan.output.fields()[columns.len()..plan.output.fields().len() - 1];
        columns.extend(rest.iter().map(|field| new_null_array(field.data_type(), gone.len())));
        columns.push(mark);
        let records = RecordBatch::try_new(plan.output.clone(), columns);
        records
            .map(Some)
            .map_err(Error::arrow("build the rows of sessions that are gone"))
    }

    /// Forgets the sessions of a key.
    fn clear_key(&mut self, key: u32) {
        for id in std::mem::take(&mut self.by_key[key as usize]) {
            // It has no address to forward to; nothing refers to it between two placings.
            debug_assert_eq!(self.sessions[id as usize].into, id, "a key lists living sessions");
            self.live -= 1;
        }
    }

    /// Returns a table of the sessions for which `is_kept` holds, and the keys that are left, in rising order.
    fn rebuilt(&self, plan: &Plan, is_kept: impl Fn(&Session) -> bool) -> Result<(Self, Vec<u32>)> {
        let mut rebuilt = Self::new(plan, self.table.seed());
        let (mut keys, mut kept) = (vec![], vec![]);
        for (key, own) in (0..).zip(&self.by_key) {
            let before = kept.len();
            kept.extend(own.iter().filter(|id| is_kept(&self.sessions[**id as usize])));
            if kept.len() > before {
                let new_key = u32::try_from(keys.len()).expect("ids are 32-bit");
                keys.push(key);
                let ids =
                    u32::try_from(before).expect("ids are 32-bit")..u32::try_from(kept.len()).expect("ids are 32-bit");
                let session = |id: u32| Session {
                    key: new_key,
                    into: id,
                    ..self.sessions[kept[id as usize] as usize]
                };
                rebuilt.sessions.extend(ids.clone().map(session));
                rebuilt.by_key.push(ids.collect());
            }
        }
        rebuilt.live = kept.len();
        let last = rebuilt.sessions.iter().map(|session| session.last);
        rebuilt.oldest = last.min().unwrap_or(i64::MAX);
        rebuilt.table.intern_from(&self.table, &keys, &mut rebuilt.ids);
        let ids: Vec<u32> = rebuilt.sessions.iter().map(|session| session.into).collect();
        for (new, old) in rebuilt.accumulators.iter_mut().zip(&self.accumulators) {
            new.merge(&old.state(&kept), &ids, kept.len())?;
        }
        Ok((rebuilt, keys))
    }

    fn rows(&self, plan: &Plan, ids: &[u32], is_state: bool) -> Result<Option<RecordBatch>> {
        if ids.is_empty() {
            return Ok(None);
        }
        let session = |&id: &u32| self.sessions[id as usize];
        let keys: Vec<u32> = ids.iter().map(|id| session(id).key).collect();
        let mut columns = plan.codec.columns(&self.table, &keys)?;
        let after_last = if is_state { 0 } else { plan.gap_micros };
        columns.push(plan.time_column(ids.iter().map(|id| session(id).first)));
        columns.push(plan.time_column(ids.iter().map(|id| session(id).last.saturating_add(after_last))));
        for accumulator in &self.accumulators {
            match is_state {
                true => columns.extend(accumulator.state(ids)),
                false => columns.push(accumulator.evaluate(ids)),
            }
        }
        if plan.retracts && !is_state {
            columns.push(Arc::new(BooleanArray::from(vec![false; ids.len()])));
        }
        let schema = if is_state { &plan.state } else { &plan.output };
        let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
        let records = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
        records.map(Some).map_err(Error::arrow("build the sessions' rows"))
    }
}

impl Shard {
    pub(super) fn new(plan: &Plan, seed: Seed) -> Self {
        Self {
            sessions: Sessions::new(plan, seed),
            journal: Journal::default(),
            keys: vec![],
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.sessions.memory() + self.journal.memory() + memory::of(&self.keys)
    }

    /// Adds the sessions that belong to this shard, of every worker.
    pub(super) fn merge(&mut self, plan: &Plan, index: usize, parts: &[Partitioned<'_>]) -> Result<()> {
        for part in parts.iter().filter(|part| !part.ids.range(index).is_empty()) {
            self.find_keys(index, part);
            self.add(plan, index, part)?;
            self.journal.mark(&self.keys, self.sessions.table.len());
        }
        Ok(())
    }

    /// Takes the sessions that belong to this shard over from `part`; they replace all sessions of their keys.
    pub(super) fn restore(&mut self, plan: &Plan, index: usize, part: &Partitioned<'_>) -> Result<()> {
        self.find_keys(index, part);
        self.sessions.by_key.resize(self.sessions.table.len(), vec![]);
        self.keys.iter().for_each(|&key| self.sessions.clear_key(key));
        self.add(plan, index, part)?;
        // A snapshot follows an emit: what it holds was put out.
        if plan.retracts {
            let ids = self.sessions.changed(&self.keys);
            self.sessions.put_out(&ids);
        }
        Ok(())
    }

    /// Finds the keys of the sessions of `part`.
    fn find_keys(&mut self, index: usize, part: &Partitioned<'_>) {
        let theirs = &part.ids.order[part.ids.range(index)];
        let theirs: Vec<u32> = theirs
            .iter()
            .map(|&id| part.sessions.sessions[id as usize].key)
            .collect();
        self.keys.clear();
        self.sessions
            .table
            .intern_from(&part.sessions.table, &theirs, &mut self.keys);
    }

    fn add(&mut self, plan: &Plan, index: usize, part: &Partitioned<'_>) -> Result<()> {
        let range = part.ids.range(index);
        let theirs = &part.ids.order[range.clone()];
        let sessions = &mut self.sessions;
        sessions.place(plan, &self.keys, |row| {
            let session = part.sessions.sessions[theirs[row] as usize];
            (session.first, session.last)
        })?;
        let total = sessions.sessions.len();
        merge_range(&mut sessions.accumulators, &part.states, range, &sessions.ids, total)
    }

    /// Returns the rows that are due, and forgets closed sessions.
    pub(super) fn emit(&mut self, plan: &Plan, context: EmitContext) -> Result<Option<RecordBatch>> {
        let closed = context.mode.closed_micros(context.watermark_micros);
        let closes_all = context.mode == OutputMode::Append && context.last;
        let is_open = |session: &Session| !closes_all && closed.is_none_or(|closed| plan.is_open(session.last, closed));
        let none_closed = !closes_all && closed.is_none_or(|closed| plan.is_open(self.sessions.oldest, closed));
        let ended = match context.mode == OutputMode::Complete || none_closed {
            true => vec![],
            false => self.sessions.chosen(|session| !is_open(session)),
        };
        let rows = match context.mode {
            OutputMode::Append => self.sessions.rows(plan, &ended, false),
            OutputMode::Update => self.sessions.updates(plan, self.journal.changed()),
            OutputMode::Complete => self.sessions.rows(plan, &self.sessions.all(), false),
        }?;
        self.journal.emitted();
        let has_closed = !ended.is_empty();
        let is_sparse = self.sessions.sessions.len() > 2 * self.sessions.live;
        if has_closed || is_sparse {
            let (sessions, keys) = self.sessions.rebuilt(plan, is_open)?;
            self.sessions = sessions;
            self.journal.keep(&keys);
        }
        Ok(rows)
    }

    /// Returns the state's rows, and forgets what has changed.
    pub(super) fn snapshot(&mut self, plan: &Plan, extent: Extent) -> Result<Option<RecordBatch>> {
        let changed = self.journal.take();
        let ids = match extent {
            Extent::Base => self.sessions.all(),
            Extent::Delta => changed
                .iter()
                .flat_map(|&key| &self.sessions.by_key[key as usize])
                .copied()
                .collect(),
        };
        self.sessions.rows(plan, &ids, true)
    }
}

impl<'a> Partitioned<'a> {
    pub(super) fn new(sessions: &'a Sessions) -> Self {
        let hashes = sessions.table.hashes();
        let all = sessions.all();
        let hash = |&id: &u32| (id, hashes[sessions.sessions[id as usize].key as usize]);
        let ids = ByShard::new(all.iter().map(hash));
        let accumulators = sessions.accumulators.iter();
        Self {
            sessions,
            states: accumulators.map(|accumulator| accumulator.state(&ids.order)).collect(),
            ids,
        }
    }
}
