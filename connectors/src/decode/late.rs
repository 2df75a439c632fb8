//! Late rows as dead letters: the record that a row was made of stays with it, up to where the row turns out to be late.
//!
//! ```text
//! topic, offset, value ... ── KeepRecords ──> ... and `(record)` ── decode, filter, project ── aggregate: late rows
//!                                                                                                  ── LateLetters ──> dead letters
//! ```
//! The column is a dictionary: its values are the records of the batch as they were read, and a row has the number of its own.
//! So nothing is copied on the way, whatever becomes of the rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, DictionaryArray, StringArray, StructArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, UInt32Type};
use arrow::record_batch::RecordBatch;
use engine::metrics::Metrics;
use engine::operator::Operator;
use engine::operator::late::RECORD_COLUMN;
use engine::{Batch, Column, Error, Result};

use super::dead_letter::{RECORD_FIELDS, dead_letter_schema, record_column};

/// Adds the column of the record that each row is made of.
#[derive(Debug)]
pub struct KeepRecords {
    schema: SchemaRef,
}

/// Makes dead letters of rows with the column of their record. Rows made of one record are one letter.
#[derive(Debug)]
pub struct LateLetters {
    reason: String,
}

impl KeepRecords {
    /// Returns the operator for batches of `input`.
    pub fn new(input: &Schema) -> Self {
        let fields = input.fields().iter().cloned().chain([record_field()]);
        Self {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        }
    }
}

impl Operator for KeepRecords {
    fn describe(&self) -> String {
        format!("keep {RECORD_COLUMN}")
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn apply(&self, mut batch: Batch, _: &Metrics) -> Result<Batch> {
        // A batch has fewer rows than Arrow's 32-bit offsets count.
        let numbers = UInt32Array::from_iter_values(0..batch.rows() as u32);
        let column = |field: &FieldRef| record_column(&batch, field, None);
        let columns = record_fields().iter().map(column).collect::<Result<_>>()?;
        let records = StructArray::try_new(record_fields(), columns, None).map_err(Error::arrow("keep records"))?;
        let records = DictionaryArray::<UInt32Type>::try_new(numbers, Arc::new(records));
        let records: ArrayRef = Arc::new(records.map_err(Error::arrow("keep records"))?);
        let rejected = batch.take_rejected();
        let columns = batch
            .columns()
            .iter()
            .cloned()
            .chain([Column::Array(records)])
            .collect();
        let origin = batch.origin().cloned();
        Ok(Batch::from_columns(self.schema.clone(), columns, batch.rows(), origin).with_rejected(rejected))
    }
}

impl LateLetters {
    /// Returns the operator for the late rows of the query called `query`.
    pub fn new(query: &str) -> Self {
        Self {
            reason: format!("late for the query `{query}`"),
        }
    }
}

impl Operator for LateLetters {
    fn describe(&self) -> String {
        "dead letters of late rows".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        dead_letter_schema()
    }

    fn apply(&self, batch: Batch, _: &Metrics) -> Result<Batch> {
        let missing = |_| {
            Error::Invalid(format!(
                "late rows came without the column `{RECORD_COLUMN}` of their records"
            ))
        };
        let index = batch.schema().index_of(RECORD_COLUMN).map_err(missing)?;
        let records = batch.column(index).to_array();
        let records = records.as_dictionary::<UInt32Type>();
        let numbers: BTreeSet<u32> = records.keys().iter().flatten().collect();
        let numbers = UInt32Array::from_iter_values(numbers);
        let gather = |column: &ArrayRef| take(column, &numbers, None).map_err(Error::arrow("gather late records"));
        let columns = records.values().as_struct().columns().iter().map(gather);
        let mut columns = columns.collect::<Result<Vec<_>>>()?;
        columns.push(Arc::new(StringArray::from_iter_values(
            (0..numbers.len()).map(|_| &self.reason),
        )));
        let letters = RecordBatch::try_new(self.schema(), columns).map_err(Error::arrow("build dead letters"))?;
        Ok(Batch::new(letters, batch.origin().cloned()))
    }
}

/// Returns the column of records.
pub fn record_field() -> FieldRef {
    let records = DataType::Struct(record_fields());
    let of = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(records));
    Arc::new(Field::new(RECORD_COLUMN, of, false))
}

/// Returns the fields of a record: those of a dead letter, without the reason.
fn record_fields() -> Fields {
    dead_letter_schema()
        .fields()
        .iter()
        .take(RECORD_FIELDS)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, BooleanArray, Int64Array};
    use arrow::compute::{concat, filter_record_batch};
    use arrow::util::display::array_value_to_string;
    use engine::{OffsetRange, Origin, Partition};

    use super::*;

    /// Three records, the last one a tombstone, with their column.
    fn kept() -> Batch {
        let values: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![Some(b"a"), Some(b"\xff"), None]));
        let offsets: ArrayRef = Arc::new(Int64Array::from(vec![4, 5, 7]));
        let columns = [("offset", offsets, false), ("value", values, true)];
        let records = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
        let origin = Origin {
            partition: Partition::new("access", 3),
            offsets: OffsetRange { from: 4, to: 8 },
        };
        let keep = KeepRecords::new(&records.schema());
        let batch = keep.apply(Batch::new(records, Some(origin)), &Metrics::default());
        batch.expect("columns of a record")
    }

    /// Expects the dead letters of `rows` to have these offsets and values.
    #[track_caller]
    fn check(rows: RecordBatch, expected: &[[&str; 5]]) {
        let letters = LateLetters::new("errors").apply(Batch::new(rows, None), &Metrics::default());
        let letters = letters.and_then(|letters| letters.to_records()).expect("letters");
        assert_eq!(letters.schema(), dead_letter_schema());
        let text = |name: &str, row| {
            let column = letters.column_by_name(name).expect("a column");
            array_value_to_string(column, row).expect("a text")
        };
        let row = |row| ["topic", "partition", "offset", "value", "reason"].map(|name| text(name, row));
        let found: Vec<_> = (0..letters.num_rows()).map(row).collect();
        assert_eq!(found, expected);
    }

    const REASON: &str = "late for the query `errors`";

    #[test]
    fn a_late_row_is_the_record_that_it_was_made_of() {
        let rows = kept().to_records().expect("the schema's columns");
        let late = BooleanArray::from(vec![false, true, true]);
        let late = filter_record_batch(&rows, &late).expect("a row a truth value");
        check(
            late,
            &[["access", "3", "5", "ff", REASON], ["access", "3", "7", "", REASON]],
        );
    }

    #[test]
    fn rows_made_of_one_record_are_one_letter() {
        let rows = kept().to_records().expect("the schema's columns");
        let records = rows.column_by_name(RECORD_COLUMN).expect("the records");
        let repeated = take(records, &UInt32Array::from(vec![2, 0, 0, 2]), None).expect("rows that there are");
        // As the branches of UNION ALL are put together.
        let twice = concat(&[&*repeated, &*repeated]).expect("one type");
        let schema = Arc::new(Schema::new(vec![record_field()]));
        check(
            RecordBatch::try_new(schema, vec![twice]).expect("its own column"),
            &[["access", "3", "4", "61", REASON], ["access", "3", "7", "", REASON]],
        );
    }

    #[test]
    fn rows_without_their_records_are_an_error() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let rows = RecordBatch::try_from_iter([("n", numbers)]).expect("a column");
        let error = LateLetters::new("errors").apply(Batch::new(rows, None), &Metrics::default());
        let error = error.expect_err("no records").to_string();
        assert_eq!(error, "late rows came without the column `(record)` of their records");
    }
}
