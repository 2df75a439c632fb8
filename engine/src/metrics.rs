//! Counters that the driver moves on and anyone may read: progress bars, logs, tests.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::position::{Partition, Positions};

/// The counters of one run. All are totals since the start of the run.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Rows that the source handed over.
    pub rows_in: Counter,
    /// Bytes of those rows in memory.
    pub bytes_in: Counter,
    /// Files that a replay has committed.
    pub files_out: Counter,
    /// Bytes of those files.
    pub bytes_out: Counter,
    /// Rows given to the sink.
    pub rows_out: Counter,
    /// Rows whose text was not UTF-8 and was repaired with U+FFFD.
    pub rows_repaired: Counter,
    /// Rows whose payload could not be decoded, whatever became of them.
    pub rows_bad: Counter,
    /// Rows left out of a windowed aggregate: their window was closed, or they had no event time. A row of several windows
    /// counts once for each.
    pub rows_late: Counter,
    /// Micro-batches that had rows.
    pub micro_batches: Counter,
    /// Committed epochs of this run.
    pub epochs: Counter,
    /// The number of the last committed epoch, which goes on over restarts.
    pub epoch: Counter,
    /// Microseconds that the ends of epochs took: output made durable, checkpoint, commit.
    pub commit_micros: Counter,
    /// Groups in the state of the aggregates.
    pub groups: Counter,
    /// Bytes of memory that the state of the aggregates holds, the workers' share included, as of about a second ago.
    pub state_bytes: Counter,
    watermark: Watermark,
    inputs: OnceLock<Vec<InputMetrics>>,
    positions: Mutex<Positions>,
    ends: Mutex<Option<Positions>>,
    starts: Mutex<Positions>,
    latest: Mutex<Option<Positions>>,
}

/// The counters of one input of a run.
#[derive(Debug, Default)]
pub struct InputMetrics {
    /// Rows that the source handed over.
    pub rows_in: Counter,
    /// Rows whose payload could not be decoded.
    pub rows_bad: Counter,
    partitions: Mutex<BTreeSet<Partition>>,
}

impl InputMetrics {
    /// Records that a partition is of this input.
    pub fn add_partition(&self, partition: &Partition) {
        lock(&self.partitions).insert(partition.clone());
    }

    /// Returns those of the positions that are of this input.
    pub fn of(&self, positions: &Positions) -> Positions {
        positions.of(&lock(&self.partitions))
    }
}

/// A number that one thread moves and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Replaces the number, for those that are a level and not a total.
    pub fn set(&self, amount: u64) {
        self.0.store(amount, Ordering::Relaxed);
    }

    /// Returns the number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An event time, or none yet.
#[derive(Debug)]
struct Watermark(AtomicI64);

/// Stands for no watermark: no log is as old as that.
const NO_WATERMARK: i64 = i64::MIN;

impl Default for Watermark {
    fn default() -> Self {
        Self(AtomicI64::new(NO_WATERMARK))
    }
}

impl Metrics {
    /// Records the watermark, in microseconds since 1970 UTC.
    pub fn set_watermark(&self, micros: i64) {
        self.watermark.0.store(micros, Ordering::Relaxed);
    }

    /// Returns the event time before which no row is expected any more, in microseconds since 1970 UTC, once there is one.
    pub fn watermark_micros(&self) -> Option<i64> {
        Some(self.watermark.0.load(Ordering::Relaxed)).filter(|&micros| micros != NO_WATERMARK)
    }

    /// Records that the run has `count` inputs. The first call counts.
    pub fn set_inputs(&self, count: usize) {
        self.inputs
            .get_or_init(|| (0..count).map(|_| InputMetrics::default()).collect());
    }

    /// Returns the counters by input; none before the run has begun.
    pub fn inputs(&self) -> &[InputMetrics] {
        self.inputs.get().map_or(&[], Vec::as_slice)
    }

    /// Adds what the operators of an input have counted.
    pub fn add_decoded(&self, input: usize, counts: &Self) {
        self.rows_bad.add(counts.rows_bad.get());
        self.rows_repaired.add(counts.rows_repaired.get());
        if let Some(input) = self.inputs().get(input) {
            input.rows_bad.add(counts.rows_bad.get());
        }
    }

    /// Records where the run starts and, if it is bounded, where it ends.
    pub fn set_bounds(&self, starts: &Positions, ends: Option<&Positions>) {
        lock(&self.starts).clone_from(starts);
        lock(&self.positions).clone_from(starts);
        *lock(&self.ends) = ends.cloned();
    }

    /// Records the positions that the run has reached.
    pub fn set_positions(&self, positions: &Positions) {
        lock(&self.positions).clone_from(positions);
    }

    /// Records that the run has reached `offset` in `partition`, for those who watch between two micro-batches.
    pub fn advance(&self, partition: &Partition, offset: i64) {
        lock(&self.positions).advance(partition, offset);
    }

    /// Records that the run has done `offsets` more offsets of `partition`, whichever they are.
    pub fn move_on(&self, partition: &Partition, offsets: i64) {
        if let Some(position) = lock(&self.positions).0.get_mut(partition) {
            *position += offsets;
        }
    }

    /// Returns the positions that the run has reached.
    pub fn positions(&self) -> Positions {
        lock(&self.positions).clone()
    }

    /// Records where partitions end now; those that are not named stay as they are.
    pub fn set_latest(&self, ends: &Positions) {
        let mut latest = lock(&self.latest);
        let latest = latest.get_or_insert_default();
        for (partition, &end) in &ends.0 {
            latest.advance(partition, end);
        }
    }

    /// Returns where partitions ended when the source last looked, if it ever did.
    pub fn latest(&self) -> Option<Positions> {
        lock(&self.latest).clone()
    }

    /// Returns how many offsets the run is behind the ends of its partitions, if those are known. Offsets need not be dense:
    /// there are at most as many records.
    pub fn lag(&self) -> Option<u64> {
        let (positions, latest) = (lock(&self.positions), lock(&self.latest));
        let behind = |(partition, &end): (&Partition, &i64)| {
            let position = positions.get(partition).unwrap_or(end);
            u64::try_from(end - position).unwrap_or(0)
        };
        Some(latest.as_ref()?.0.iter().map(behind).sum())
    }

    /// Returns where the run started.
    pub fn starts(&self) -> Positions {
        lock(&self.starts).clone()
    }

    /// Returns whether the run has an end.
    pub fn is_bounded(&self) -> bool {
        lock(&self.ends).is_some()
    }

    /// Returns the offsets done and the offsets to do in this run, if it is bounded.
    pub fn share_done(&self) -> Option<(u64, u64)> {
        let (starts, positions, ends) = (lock(&self.starts), lock(&self.positions), lock(&self.ends));
        let mut share = (0, 0);
        for (partition, &end) in &ends.as_ref()?.0 {
            let start = starts.get(partition).unwrap_or(end);
            let position = positions.get(partition).unwrap_or(start);
            share.0 += u64::try_from(position.min(end) - start).unwrap_or(0);
            share.1 += u64::try_from(end - start).unwrap_or(0);
        }
        Some(share)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_partitions_hold_beyond_the_positions() {
        let metrics = Metrics::default();
        let positions = |offsets: [i64; 2]| {
            let entry = |(index, offset)| (Partition::new("logs", index), offset);
            Positions((0..).zip(offsets).map(entry).collect())
        };
        metrics.set_bounds(&positions([3, 5]), None);
        assert_eq!(metrics.lag(), None, "no one has looked yet");
        metrics.set_latest(&positions([10, 5]));
        assert_eq!(metrics.lag(), Some(7));
        // What was read since the look is no lag below zero.
        metrics.set_positions(&positions([9, 8]));
        assert_eq!(metrics.lag(), Some(1));
        metrics.set_latest(&Positions([(Partition::new("logs", 1), 18)].into()));
        assert_eq!(metrics.lag(), Some(11));
    }
}
