//! Rows that come after what they belong to was closed.
//!
//! A row no longer looks like the record that it was made of. Where late rows are to be kept as records, the record travels
//! with the row in a column of its own, [`RECORD_COLUMN`].

use std::borrow::Cow;

use arrow::array::BooleanArray;
use arrow::compute::{filter_record_batch, not};

use super::AbsorbContext;
use crate::batch::Batch;
use crate::error::{Error, Result};

/// The column that holds what a row was made of, if anyone wants to know when the row is late. No statement can name it;
/// projections hand it on, and no operator that keeps state puts it out.
pub const RECORD_COLUMN: &str = "(record)";

/// A batch without the rows that are late.
pub(super) struct InTime<'a> {
    pub(super) rows: Cow<'a, Batch>,
    /// The late rows, if they are kept.
    pub(super) late: Option<Batch>,
}

impl<'a> InTime<'a> {
    /// Takes a batch apart by what is `open`, which has no nulls, and counts the late rows; `None` is all open.
    pub(super) fn new(batch: &'a Batch, open: Option<&BooleanArray>, context: AbsorbContext<'_>) -> Result<Self> {
        let Some(open) = open else {
            return Ok(Self {
                rows: Cow::Borrowed(batch),
                late: None,
            });
        };
        context.metrics.rows_late.add((open.len() - open.true_count()) as u64);
        let records = batch.to_records()?;
        let rows = |chosen: &BooleanArray| {
            let rows = filter_record_batch(&records, chosen).map_err(Error::arrow("part late rows from others"))?;
            Ok(Batch::new(rows, batch.origin().cloned()))
        };
        let late = context.keeps_late.then(|| {
            let late = not(open).map_err(Error::arrow("find late rows"))?;
            rows(&late)
        });
        Ok(Self {
            rows: Cow::Owned(rows(open)?),
            late: late.transpose()?,
        })
    }
}
