//! The records of one partition on their way back, and the time at which each is due.

use connectors::envelope::{Envelope, Record};
use connectors::parquet::archived::PartitionRows;
use engine::Result;

/// The records of one partition that are left.
#[derive(Debug)]
pub(super) struct Lane {
    /// The partition's number.
    pub(super) index: i32,
    rows: PartitionRows,
    run: Option<Envelope>,
    at: usize,
    /// The time of the last record that had one: what has none, or an earlier one, follows it at once.
    time_ms: Option<i64>,
    /// The first offset after all records.
    end: i64,
    position: i64,
}

impl Lane {
    /// Returns the lane of `rows`, which are those of partition `index` from `position` to `end`.
    ///
    /// # Errors
    /// When the first rows can't be read.
    pub(super) fn new(index: i32, rows: PartitionRows, position: i64, end: i64) -> Result<Self> {
        let mut lane = Self {
            index,
            rows,
            run: None,
            at: 0,
            time_ms: None,
            end,
            position,
        };
        lane.fill()?;
        Ok(lane)
    }

    /// Returns the next record, `None` at the end.
    pub(super) fn head(&self) -> Option<Record<'_>> {
        self.run.as_ref().map(|run| run.record(self.at))
    }

    /// Returns the time by which the next record is due, in milliseconds since 1970; `None` for at once.
    pub(super) fn due_ms(&self) -> Option<i64> {
        self.time_ms.max(self.head()?.timestamp_ms)
    }

    /// Goes on to the record after the next one.
    ///
    /// # Errors
    /// When rows can't be read.
    pub(super) fn advance(&mut self) -> Result<()> {
        self.time_ms = self.due_ms();
        if let Some(record) = self.head() {
            self.position = record.offset + 1;
            self.at += 1;
        }
        self.fill()
    }

    /// Returns the offset before which all records have gone.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Reads on when the run is at its end.
    fn fill(&mut self) -> Result<()> {
        let is_left = self.run.as_ref().is_some_and(|run| self.at < run.len());
        if !is_left {
            self.run = self.rows.next_run()?;
            self.at = 0;
            if self.run.is_none() {
                self.position = self.end;
            }
        }
        Ok(())
    }
}
