//! Windows of an aggregate: one of its keys is the start of a window of fixed size.
//!
//! ```text
//!  event time ------------------------------------------------------------------------>
//!      [ window: closed   )[ window: closed   )[ window: open     )[ window: open
//!                                               ^ the watermark: ends at or before it are closed
//! ```
//! What a snapshot of before holds of closed windows needs no deletion: it is left out when it is restored, since the
//! checkpoint knows the watermark.

use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use arrow::compute::{filter_record_batch, min};
use arrow::datatypes::{DataType, Schema, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::operator::span::Micros;

/// The window of a group.
#[derive(Debug)]
pub(super) struct Window {
    name: String,
    /// Which of the keys is its start.
    key: usize,
    /// Which of the input's columns that key is.
    column: usize,
    size_micros: i64,
}

type Times = PrimitiveArray<TimestampMicrosecondType>;

impl Window {
    /// Returns the window that starts at the key column `name`; `output` begins with the key columns, and `keys` are their
    /// places in the input.
    pub(super) fn new(name: &str, size_micros: i64, keys: &[usize], output: &Schema) -> Result<Self> {
        let fields = &output.fields()[..keys.len()];
        let Some(key) = fields.iter().position(|field| field.name() == name) else {
            let names: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
            return Err(Error::Invalid(format!(
                "the window start `{name}` is no key of the aggregate; keys are: {}",
                names.join(", ")
            )));
        };
        match fields[key].data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) if size_micros > 0 => Ok(Self {
                name: name.to_owned(),
                key,
                column: keys[key],
                size_micros,
            }),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Err(Error::Invalid(format!(
                "a window is longer than nothing, not {size_micros} microseconds"
            ))),
            other => Err(Error::Invalid(format!(
                "the window start `{name}` is {other}, expected a timestamp in microseconds"
            ))),
        }
    }

    /// Returns whether the window that starts at `start` is open when all up to `closed_micros` is closed.
    pub(super) fn is_open(&self, start: i64, closed_micros: i64) -> bool {
        start.saturating_add(self.size_micros) > closed_micros
    }

    /// Returns the window starts among the columns of the keys.
    pub(super) fn starts<'a>(&self, keys: &'a [ArrayRef]) -> Result<&'a Times> {
        self.times(&keys[self.key])
    }

    /// Returns the rows of a snapshot whose window is open; `None` when that is every row.
    pub(super) fn open_rows(&self, state: &RecordBatch, closed_micros: i64) -> Result<Option<RecordBatch>> {
        match self.open(self.starts(state.columns())?, Some(closed_micros)) {
            None => Ok(None),
            Some(open) => filter_record_batch(state, &open)
                .map(Some)
                .map_err(Error::arrow("leave out closed windows")),
        }
    }

    /// Returns which rows of a batch are in time; `None` when all are.
    pub(super) fn rows_in_time(&self, batch: &Batch, closed_micros: Option<i64>) -> Result<Option<BooleanArray>> {
        let starts = batch.column(self.column).to_array();
        Ok(self.open(self.times(&starts)?, closed_micros))
    }

    /// Returns which windows are open; `None` when all are. Those without a start are not.
    fn open(&self, starts: &Times, closed_micros: Option<i64>) -> Option<BooleanArray> {
        let is_open = |start: i64| closed_micros.is_none_or(|closed| self.is_open(start, closed));
        if starts.null_count() == 0 && min(starts).is_none_or(is_open) {
            return None;
        }
        Some(starts.iter().map(|start| Some(start.is_some_and(is_open))).collect())
    }

    fn times<'a>(&self, starts: &'a ArrayRef) -> Result<&'a Times> {
        starts.as_primitive_opt().ok_or_else(|| {
            Error::Invalid(format!(
                "the window start `{}` is {}, expected a timestamp in microseconds",
                self.name,
                starts.data_type()
            ))
        })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "closing {} after {}", Micros(self.size_micros), self.name)
    }
}
