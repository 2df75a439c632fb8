//! Rows that take back what was put out before.
//!
//! In mode `update` a row replaces the one before of its key. A session that begins earlier than it was known to, or joins
//! another, gets another key: what stood under the old one must go. That is said by a row of the old key with nothing else in
//! it, marked in a column of its own, [`RETRACTED_COLUMN`]. A topic gets a tombstone for it.

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::{filter_record_batch, not};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};

/// The column, a truth value without nulls, that is true in rows that take back. No statement can name it; projections and
/// filters hand it on.
pub const RETRACTED_COLUMN: &str = "(retracted)";

/// Returns the rows that stay and those that take back, both without the column that tells them apart. Without such a column
/// all rows stay.
///
/// # Errors
/// When the column is no truth value.
pub fn split(records: RecordBatch) -> Result<(RecordBatch, Option<RecordBatch>)> {
    let schema = records.schema();
    let Some((index, _)) = schema.column_with_name(RETRACTED_COLUMN) else {
        return Ok((records, None));
    };
    let columns: Vec<_> = (0..records.num_columns()).filter(|&column| column != index).collect();
    let mark = records.column(index).as_boolean_opt();
    let mark = mark.ok_or_else(|| Error::Invalid(format!("`{RETRACTED_COLUMN}` is no truth value")))?;
    let records = records.project(&columns).map_err(Error::arrow("choose columns"))?;
    let part = |mask: &BooleanArray| {
        filter_record_batch(&records, mask).map_err(Error::arrow("part rows that take back from others"))
    };
    let stay = part(&not(mark).map_err(Error::arrow("negate"))?)?;
    let gone = part(mark)?;
    Ok((stay, (gone.num_rows() > 0).then_some(gone)))
}
