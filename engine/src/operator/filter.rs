//! `filter`: keeps the rows for which an expression is true.

use arrow::array::AsArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef};

use super::Operator;
use super::expression::ExpressionRef;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// Keeps the rows for which its predicate is true; rows for which it is false or null are left out.
#[derive(Debug)]
pub struct Filter {
    predicate: ExpressionRef,
    schema: SchemaRef,
}

impl Filter {
    /// Returns a filter over batches of `schema`.
    ///
    /// # Errors
    /// When the predicate is no truth value over these columns.
    pub fn new(predicate: ExpressionRef, schema: SchemaRef) -> Result<Self> {
        match predicate.data_type(&schema)? {
            DataType::Boolean => Ok(Self { predicate, schema }),
            other => Err(Error::Invalid(format!(
                "filter `{predicate}` is {other}, expected a truth value"
            ))),
        }
    }
}

impl Operator for Filter {
    fn describe(&self) -> String {
        format!("filter {}", self.predicate)
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn apply(&self, batch: Batch, _: &Metrics) -> Result<Batch> {
        let keep = self.predicate.evaluate(&batch)?;
        let records =
            filter_record_batch(&batch.to_records()?, keep.as_boolean()).map_err(Error::arrow("filter rows"))?;
        Ok(Batch::new(records, batch.origin().cloned()))
    }
}
