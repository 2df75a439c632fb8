//! `sort` and `limit`: a whole result in order, and a part of it. They see one batch, so they belong where that is the
//! whole result: after an aggregate that puts all its groups out, or after the last batch of an input that ends.

use std::fmt;

use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};

use super::Operator;
use super::expression::column_index;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// A column to sort by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// The column's name.
    pub column: String,
    /// Whether the largest value comes first.
    pub descending: bool,
    /// Whether nulls come before all values.
    pub nulls_first: bool,
}

/// Puts the rows of a batch in order.
#[derive(Debug)]
pub struct Sort {
    keys: Vec<SortKey>,
    indexes: Vec<usize>,
    schema: SchemaRef,
}

/// Keeps some of a batch's first rows.
#[derive(Debug)]
pub struct Limit {
    skipped: usize,
    rows: usize,
    schema: SchemaRef,
}

impl Sort {
    /// Returns the operator for batches of `schema`: by the first key, equal rows by the next.
    ///
    /// # Errors
    /// When there is no such column, or it has values without an order.
    pub fn new(keys: Vec<SortKey>, schema: SchemaRef) -> Result<Self> {
        let indexes = keys
            .iter()
            .map(|key| sortable(&schema, &key.column))
            .collect::<Result<_>>()?;
        Ok(Self { keys, indexes, schema })
    }
}

impl Limit {
    /// Returns the operator that leaves out `skipped` rows and keeps the next `rows`, of batches of `schema`.
    pub fn new(skipped: usize, rows: usize, schema: SchemaRef) -> Self {
        Self { skipped, rows, schema }
    }
}

fn sortable(schema: &Schema, name: &str) -> Result<usize> {
    let index = column_index(schema, name)?;
    let data_type = schema.field(index).data_type();
    match data_type.is_nested() {
        true => Err(Error::Invalid(format!(
            "column `{name}` is {data_type}, which has no order"
        ))),
        false => Ok(index),
    }
}

impl Operator for Sort {
    fn describe(&self) -> String {
        let keys: Vec<_> = self.keys.iter().map(SortKey::to_string).collect();
        format!("sort {}", keys.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn apply(&self, batch: Batch, _: &Metrics) -> Result<Batch> {
        let records = batch.to_records()?;
        let column = |(key, &index): (&SortKey, &usize)| SortColumn {
            values: records.column(index).clone(),
            options: Some(SortOptions::new(key.descending, key.nulls_first)),
        };
        let columns: Vec<_> = self.keys.iter().zip(&self.indexes).map(column).collect();
        let order = lexsort_to_indices(&columns, None).map_err(Error::arrow("sort rows"))?;
        let sorted = take_record_batch(&records, &order).map_err(Error::arrow("sort rows"))?;
        Ok(Batch::new(sorted, batch.origin().cloned()))
    }
}

impl Operator for Limit {
    fn describe(&self) -> String {
        match (self.skipped, self.rows) {
            (0, rows) => format!("limit {rows}"),
            (skipped, usize::MAX) => format!("offset {skipped}"),
            (skipped, rows) => format!("limit {rows} offset {skipped}"),
        }
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn apply(&self, batch: Batch, _: &Metrics) -> Result<Batch> {
        let records = batch.to_records()?;
        let from = self.skipped.min(records.num_rows());
        let rows = self.rows.min(records.num_rows() - from);
        Ok(Batch::new(records.slice(from, rows), batch.origin().cloned()))
    }
}

impl fmt::Display for SortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.descending { "DESC" } else { "ASC" };
        let nulls = if self.nulls_first { "FIRST" } else { "LAST" };
        write!(f, "{} {order} NULLS {nulls}", self.column)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;
    use arrow::record_batch::RecordBatch;

    use super::*;

    fn batch() -> Batch {
        let name: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some("a"), Some("b")]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
        let records = RecordBatch::try_from_iter([("name", name), ("number", number)]);
        Batch::new(records.expect("columns of one length"), None)
    }

    fn key(column: &str, descending: bool, nulls_first: bool) -> SortKey {
        SortKey {
            column: column.to_owned(),
            descending,
            nulls_first,
        }
    }

    #[track_caller]
    fn check(operator: &dyn Operator, text: &str, expected: &[i64]) {
        assert_eq!(operator.describe(), text);
        let rows = operator.apply(batch(), &Metrics::default()).expect("its own columns");
        let numbers = rows.column(1).to_array();
        assert_eq!(numbers.as_primitive::<Int64Type>().values(), expected);
    }

    #[test]
    fn rows_are_sorted_by_the_first_key_then_by_the_next() {
        let schema = batch().schema().clone();
        let sort = |keys| Sort::new(keys, schema.clone()).expect("there are these columns");
        let by = sort(vec![key("name", false, false), key("number", true, false)]);
        check(&by, "sort name ASC NULLS LAST, number DESC NULLS LAST", &[3, 4, 1, 2]);
        check(
            &sort(vec![key("name", true, true)]),
            "sort name DESC NULLS FIRST",
            &[2, 1, 4, 3],
        );
        Sort::new(vec![key("nmae", false, false)], schema).expect_err("no such column");
    }

    #[test]
    fn a_limit_keeps_the_first_rows_after_those_skipped() {
        let schema = batch().schema().clone();
        check(&Limit::new(0, 2, schema.clone()), "limit 2", &[1, 2]);
        check(&Limit::new(1, 2, schema.clone()), "limit 2 offset 1", &[2, 3]);
        check(&Limit::new(3, usize::MAX, schema.clone()), "offset 3", &[4]);
        check(&Limit::new(9, 2, schema), "limit 2 offset 9", &[]);
    }
}
