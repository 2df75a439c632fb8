//! Rows in pieces whose borders come from the rows alone, counted from the start of a file.
//!
//! Where pages and row groups end depends on how many rows the encoder is given at once, and how many rows a reader hands
//! over at once depends on the network. So rows are cut anew. A reader that cuts by the same rule costs no copy.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use engine::{Error, Result};

/// Rows of a piece at most.
pub const CHUNK_ROWS: usize = 8192;

/// Bytes of the variable-length values of a piece, after which it ends.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Rows on their way to the encoder.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    slices: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Chunks {
    /// Takes rows off the front of `records`, at most up to the end of the piece, and returns how many.
    pub(super) fn take(&mut self, records: &RecordBatch) -> usize {
        let most = records.num_rows().min(CHUNK_ROWS - self.rows);
        let start = bytes_before(records.columns(), 0);
        let left = CHUNK_BYTES - self.bytes.min(CHUNK_BYTES);
        let bytes_of = |rows: usize| bytes_before(records.columns(), rows) - start;
        // The row that fills the piece is its last one.
        let taken = match bytes_of(most) < left {
            true => most,
            false => first_where(1, most, |rows| bytes_of(rows) >= left),
        };
        self.rows += taken;
        self.bytes += bytes_of(taken);
        self.slices.push(records.slice(0, taken));
        taken
    }

    /// Returns whether the piece is whole.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES
    }

    /// Returns whether there are no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Takes the rows out. The next piece begins after them.
    ///
    /// # Errors
    /// When the rows can't be joined.
    pub(super) fn finish(&mut self) -> Result<RecordBatch> {
        let slices = std::mem::take(self).slices;
        match slices.as_slice() {
            [only] => Ok(only.clone()),
            [first, ..] => concat_batches(&first.schema(), &slices).map_err(Error::arrow("join rows")),
            [] => unreachable!("a piece that is taken out has rows"),
        }
    }
}

/// Returns the least number from `low` to `high` for which `holds`, which once it holds holds for all after; it does for
/// `high`.
pub(super) fn first_where(mut low: usize, mut high: usize, holds: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low + (high - low) / 2;
        match holds(middle) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    low
}

/// Returns the bytes of the variable-length values before row `row`, counted from anywhere.
pub(super) fn bytes_before(columns: &[ArrayRef], row: usize) -> usize {
    columns.iter().map(|column| bytes_in(column, row)).sum()
}

fn bytes_in(array: &ArrayRef, row: usize) -> usize {
    let place = |offset: i32| usize::try_from(offset).expect("offsets are not negative");
    match array.data_type() {
        DataType::Binary => place(array.as_binary::<i32>().value_offsets()[row]),
        DataType::Utf8 => place(array.as_string::<i32>().value_offsets()[row]),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            bytes_in(list.values(), place(list.value_offsets()[row]))
        }
        DataType::Struct(_) => bytes_before(array.as_struct().columns(), row),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::BinaryArray;
    use proptest::prelude::*;

    use super::*;

    fn records(sizes: &[usize]) -> RecordBatch {
        let values: Vec<_> = sizes.iter().map(|&size| vec![b'x'; size]).collect();
        let values: ArrayRef = Arc::new(BinaryArray::from_iter_values(values));
        RecordBatch::try_from_iter([("value", values)]).expect("a column")
    }

    /// Cuts rows that come in batches of these lengths.
    fn cut(rows: &RecordBatch, batches: &[usize]) -> Vec<usize> {
        let (mut chunks, mut cuts, mut at) = (Chunks::default(), Vec::new(), 0);
        let mut lengths = batches.iter().cycle();
        while at < rows.num_rows() {
            let length = (*lengths.next().expect("a cycle")).min(rows.num_rows() - at);
            let mut batch = rows.slice(at, length);
            at += length;
            while batch.num_rows() > 0 {
                let taken = chunks.take(&batch);
                batch = batch.slice(taken, batch.num_rows() - taken);
                if chunks.is_full() {
                    cuts.push(chunks.finish().expect("rows").num_rows());
                }
            }
        }
        if !chunks.is_empty() {
            cuts.push(chunks.finish().expect("rows").num_rows());
        }
        cuts
    }

    #[test]
    fn a_piece_ends_with_the_row_that_fills_it() {
        let half = CHUNK_BYTES / 2;
        assert_eq!(cut(&records(&[half, half, 1, CHUNK_BYTES, 5]), &[5]), [2, 2, 1]);
        assert_eq!(cut(&records(&[3 * CHUNK_BYTES, 1]), &[1]), [1, 1]);
        assert_eq!(cut(&records(&vec![1; CHUNK_ROWS + 1]), &[100]), [CHUNK_ROWS, 1]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_depend_on_how_rows_come(
            sizes in prop::collection::vec(0_usize..400_000, 1..40),
            batches in prop::collection::vec(1_usize..9, 1..5),
        ) {
            let rows = records(&sizes);
            prop_assert_eq!(cut(&rows, &batches), cut(&rows, &[sizes.len()]));
        }
    }
}
