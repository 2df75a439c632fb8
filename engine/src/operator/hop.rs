//! `hop`: repeats each row for every window of a fixed size and slide that its time is in.
//!
//! ```text
//! slide 2, size 5:  [0, 5)  [2, 7)  [4, 9)  ...       a row at 4 is in three windows, one at 5 in two
//! ```
//! Windows are half-open and start at multiples of the slide from 1970 UTC on, and before it; the size need be no multiple
//! of the slide. A row without a time has one window, without a start: whoever closes windows counts it as late.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};

use super::Operator;
use super::expression::column_index;
use super::span::Micros;
use crate::batch::{Batch, Column};
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// The most windows that a row may be in. A batch is repeated in memory as often as this at most.
pub const HOPS_MAX: i64 = 1000;

type Times = PrimitiveArray<TimestampMicrosecondType>;

/// Adds the start of the window, as the last column, and a row for each window.
#[derive(Debug)]
pub struct Hop {
    time: usize,
    slide_micros: i64,
    size_micros: i64,
    schema: SchemaRef,
}

impl Hop {
    /// Returns the operator for batches of `schema` with the timestamps `time`; the starts of the windows are put into a
    /// new column `output`.
    ///
    /// # Errors
    /// When `time` is no column of timestamps in microseconds, the slide is longer than the window, or a row would be in
    /// more than [`HOPS_MAX`] windows.
    pub fn new(time: &str, slide_micros: i64, size_micros: i64, output: &str, schema: &Schema) -> Result<Self> {
        let index = column_index(schema, time)?;
        let data_type = schema.field(index).data_type();
        if !matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _)) {
            return Err(Error::Invalid(format!(
                "column `{time}` is {data_type}, expected a timestamp in microseconds"
            )));
        }
        if slide_micros < 1 || slide_micros > size_micros {
            return Err(Error::Invalid(format!(
                "a window of {} can't slide by {}: expected more than nothing, and no more than the window",
                Micros(size_micros),
                Micros(slide_micros)
            )));
        }
        if size_micros / slide_micros > HOPS_MAX {
            return Err(Error::Invalid(format!(
                "a row would be in {} windows, at most {HOPS_MAX}: use a longer slide",
                size_micros / slide_micros
            )));
        }
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        fields.push(Field::new(output, data_type.clone(), true).into());
        Ok(Self {
            time: index,
            slide_micros,
            size_micros,
            schema: Arc::new(Schema::new(fields)),
        })
    }
}

impl Operator for Hop {
    fn describe(&self) -> String {
        let fields = self.schema.fields();
        let output = fields.last().expect("the output is the last column").name();
        let (time, slide, size) = (
            fields[self.time].name(),
            Micros(self.slide_micros),
            Micros(self.size_micros),
        );
        format!("hop {time} {slide} {size} AS {output}")
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn apply(&self, mut batch: Batch, _: &Metrics) -> Result<Batch> {
        let times = batch.column(self.time).to_array();
        let times: &Times = times.as_primitive();
        let (rows, starts) = windows(times, self.slide_micros, self.size_micros);
        let rows = UInt32Array::from(rows);
        let repeat = |column: &Column| {
            take(&column.to_array(), &rows, None)
                .map(Column::Array)
                .map_err(Error::arrow("repeat the rows of a window"))
        };
        let mut columns = batch.columns().iter().map(repeat).collect::<Result<Vec<_>>>()?;
        let starts: ArrayRef = Arc::new(starts.with_data_type(times.data_type().clone()));
        columns.push(Column::Array(starts));
        let rejected = batch.take_rejected();
        let made = Batch::from_columns(self.schema.clone(), columns, rows.len(), batch.origin().cloned());
        Ok(made.with_rejected(rejected))
    }
}

/// Returns for each window of each row the row and the window's start, the latest window first.
fn windows(times: &Times, slide: i64, size: i64) -> (Vec<u32>, Times) {
    let capacity = times.len() * usize::try_from(size / slide + 1).expect("the number of windows is bounded");
    let (mut rows, mut starts) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
    for (row, time) in (0_u32..).zip(times) {
        let Some(time) = time else {
            rows.push(row);
            starts.push(None);
            continue;
        };
        let mut next = time.checked_sub(time.rem_euclid(slide));
        while let Some(start) = next.filter(|&start| time.saturating_sub(start) < size) {
            rows.push(row);
            starts.push(Some(start));
            next = start.checked_sub(slide);
        }
    }
    (rows, Times::from(starts))
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use arrow::record_batch::RecordBatch;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(times: &[Option<i64>], slide: i64, size: i64, expected: &[(u32, Option<i64>)]) {
        let (rows, starts) = windows(&Times::from(times.to_vec()), slide, size);
        let found: Vec<_> = rows.into_iter().zip(starts.iter()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_row_is_in_every_window_that_covers_it() {
        check(
            &[Some(4), Some(5)],
            2,
            5,
            &[(0, Some(4)), (0, Some(2)), (0, Some(0)), (1, Some(4)), (1, Some(2))],
        );
    }

    #[test]
    fn windows_before_1970_are_aligned_too() {
        check(&[Some(-1)], 2, 4, &[(0, Some(-2)), (0, Some(-4))]);
    }

    #[test]
    fn a_row_without_a_time_stays_one_row() {
        check(&[None], 2, 4, &[(0, None)]);
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        check(&[Some(i64::MIN)], 10, 20, &[]);
        let (rows, _) = windows(&Times::from(vec![Some(i64::MAX)]), 10, 20);
        assert_eq!(rows, [0, 0]);
    }

    #[test]
    fn the_other_columns_are_repeated() {
        let time: ArrayRef = Arc::new(Times::from(vec![3, 10]).with_timezone("UTC"));
        let name: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let records = RecordBatch::try_from_iter([("time", time), ("name", name)]).expect("columns of one length");
        let hop = Hop::new("time", 5, 10, "start", &records.schema()).expect("timestamps");
        assert_eq!(hop.describe(), "hop time 5us 10us AS start");
        let batch = hop
            .apply(Batch::new(records, None), &Metrics::default())
            .expect("its own columns");
        let names = batch.column(1).to_array();
        assert_eq!(names.as_string::<i32>(), &StringArray::from(vec!["a", "a", "b", "b"]));
        let starts = batch.column(2).to_array();
        let expected = Times::from(vec![0, -5, 10, 5]).with_timezone("UTC");
        assert_eq!(starts.as_primitive::<TimestampMicrosecondType>(), &expected);
    }

    #[test]
    fn windows_that_can_not_be_are_refused() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let schema = Schema::new(vec![
            Field::new("time", time, true),
            Field::new("name", DataType::Utf8, true),
        ]);
        for (name, slide, size, expected) in [
            ("name", 1, 1, "expected a timestamp"),
            ("tiem", 1, 1, "there is no column"),
            ("time", 0, 1, "can't slide by 0"),
            ("time", 2, 1, "can't slide by 2us"),
            ("time", 1, 1001, "at most 1000"),
        ] {
            let error = Hop::new(name, slide, size, "start", &schema)
                .expect_err("not possible")
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn the_windows_are_those_of_a_search(
            times in prop::collection::vec(prop::option::of(-200..200_i64), 0..20), slide in 1..20_i64, more in 0..30_i64
        ) {
            let size = slide + more;
            let (rows, starts) = windows(&Times::from(times.clone()), slide, size);
            let mut expected = vec![];
            for (row, time) in (0_u32..).zip(&times) {
                match time {
                    None => expected.push((row, None)),
                    Some(time) => {
                        let all = (-300..=300).rev().filter(|start| start % slide == 0);
                        let around = all.filter(|start| (*start..start + size).contains(time));
                        expected.extend(around.map(|start| (row, Some(start))));
                    }
                }
            }
            prop_assert_eq!(rows.into_iter().zip(starts.iter()).collect::<Vec<_>>(), expected);
        }
    }
}
