//! The newest of many records, by their time.

use arrow::compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::record_batch::RecordBatch;
use engine::{Error, Result};

/// Records that are kept beside those wanted before the older ones are let go: as many as a batch has.
const SLACK: usize = 8192;

/// The columns that give the order: time, then partition and offset.
const ORDER: [usize; 3] = [2, 0, 1];

/// Keeps the newest records of all that it sees. Their columns are partition, offset, timestamp and others.
pub(super) struct Newest {
    count: usize,
    gathered: Vec<RecordBatch>,
    rows: usize,
}

impl Newest {
    /// Returns a keeper of `count` records.
    pub(super) fn new(count: usize) -> Self {
        Self {
            count,
            gathered: vec![],
            rows: 0,
        }
    }

    /// Takes records in.
    ///
    /// # Errors
    /// When they can't be sorted.
    pub(super) fn absorb(&mut self, records: &RecordBatch) -> Result<()> {
        self.rows += records.num_rows();
        self.gathered.push(records.clone());
        if self.rows > 2 * self.count + SLACK {
            self.prune()?;
        }
        Ok(())
    }

    /// Returns whether there are as many as are wanted.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.count
    }

    /// Returns the newest records, the newest last; `None` if there are none.
    ///
    /// # Errors
    /// When they can't be sorted.
    pub(super) fn into_records(mut self) -> Result<Option<RecordBatch>> {
        self.prune()?;
        Ok(self.gathered.pop())
    }

    fn prune(&mut self) -> Result<()> {
        let Some(first) = self.gathered.first() else {
            return Ok(());
        };
        let failed = |error| Error::arrow("sort records by time")(error);
        let all = concat_batches(&first.schema(), &self.gathered).map_err(failed)?;
        let by = ORDER.map(|column| SortColumn {
            values: all.column(column).clone(),
            options: Some(SortOptions {
                descending: false,
                nulls_first: true,
            }),
        });
        let order = lexsort_to_indices(&by, None).map_err(failed)?;
        let left_out = order.len().saturating_sub(self.count);
        let newest = order.slice(left_out, order.len() - left_out);
        let records = take_record_batch(&all, &newest).map_err(failed)?;
        self.rows = records.num_rows();
        self.gathered = vec![records];
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, TimestampMicrosecondArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn records(partition: i32, rows: &[(i64, i64)]) -> RecordBatch {
        let partitions: ArrayRef = Arc::new(Int32Array::from_value(partition, rows.len()));
        let offsets: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(
            rows.iter().map(|row| row.1),
        ));
        let columns = [("partition", partitions), ("offset", offsets), ("timestamp", times)];
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    }

    #[test]
    fn the_newest_of_all_partitions_are_kept_in_the_order_of_their_times() {
        let mut newest = Newest::new(3);
        newest.absorb(&records(0, &[(0, 10), (1, 40)])).expect("rows");
        newest.absorb(&records(1, &[(7, 30), (8, 40)])).expect("rows");
        assert!(newest.is_full());
        let kept = newest.into_records().expect("rows").expect("there are some");
        assert_eq!(kept.column(1).as_primitive::<Int64Type>().values(), &[7, 1, 8]);
    }

    #[test]
    fn what_is_old_is_let_go_while_more_comes() {
        let mut newest = Newest::new(1);
        for offset in 0..30_000 {
            newest.absorb(&records(0, &[(offset, offset)])).expect("rows");
            assert!(newest.rows <= 2 + SLACK);
        }
        let kept = newest.into_records().expect("rows").expect("there are some");
        assert_eq!(kept.column(1).as_primitive::<Int64Type>().values(), &[29_999]);
        assert!(Newest::new(1).into_records().expect("nothing to sort").is_none());
    }
}
