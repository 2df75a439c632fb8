//! Which batches belong to transactions that were aborted: the broker sends them too, and a list to know them by.

use std::collections::HashSet;

use super::batch::{Problem, RecordBatch};
use super::record;

/// A transaction that was aborted, as the answer to a fetch lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted {
    /// The producer, whose transactions follow each other.
    pub producer_id: i64,
    /// The transaction's first offset. It lasts until the producer's next abort marker.
    pub first_offset: i64,
}

/// Follows the aborted transactions through the batches of one answer.
#[derive(Default)]
pub(super) struct AbortedFilter {
    /// Transactions that did not start yet, the next one last.
    ahead: Vec<Aborted>,
    /// Producers within an aborted transaction.
    open: HashSet<i64>,
}

/// The type of a marker that aborts; one that commits has 1.
const ABORT: i16 = 0;

impl AbortedFilter {
    /// Starts with an answer and its list, in whatever order.
    pub(super) fn start(&mut self, aborted: &[Aborted]) {
        self.open.clear();
        self.ahead.clear();
        self.ahead.extend_from_slice(aborted);
        self.ahead
            .sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
    }

    /// Returns whether the next batch belongs to an aborted transaction.
    ///
    /// # Errors
    /// When the batch is a marker and can't be read.
    pub(super) fn is_aborted(&mut self, batch: &RecordBatch<'_>) -> Result<bool, Problem> {
        let started = |transaction: &mut Aborted| transaction.first_offset < batch.next_offset();
        while let Some(transaction) = self.ahead.pop_if(started) {
            self.open.insert(transaction.producer_id);
        }
        // As good as always.
        if self.open.is_empty() {
            return Ok(false);
        }
        if batch.is_control() {
            if marker(batch)? == Some(ABORT) {
                self.open.remove(&batch.producer_id);
            }
            return Ok(false);
        }
        Ok(batch.is_transactional() && self.open.contains(&batch.producer_id))
    }
}

/// Returns the type of a control batch's marker; compaction may have left none.
fn marker(batch: &RecordBatch<'_>) -> Result<Option<i16>, Problem> {
    if batch.count == 0 {
        return Ok(None);
    }
    let expected = |expected| Problem::Record {
        index: 0,
        count: batch.count,
        expected,
    };
    let record = record::take(&mut &*batch.records, false).map_err(|problem| expected(problem.0))?;
    // Two bytes of version, two of type; what later versions add stands behind.
    match record.key {
        Some(&[_, _, high, low, ..]) => Ok(Some(i16::from_be_bytes([high, low]))),
        _ => Err(expected("a marker's key of 4 bytes or more")),
    }
}
