//! `project`: makes new columns out of the batch's.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use super::Operator;
use super::expression::ExpressionRef;
use crate::batch::{Batch, Column};
use crate::error::Result;
use crate::metrics::Metrics;

/// Replaces the columns by the values of expressions.
#[derive(Debug)]
pub struct Project {
    expressions: Vec<ExpressionRef>,
    schema: SchemaRef,
}

impl Project {
    /// Returns a projection over batches of `schema` to `columns`: names and expressions.
    ///
    /// # Errors
    /// When an expression does not fit the columns.
    pub fn new(columns: Vec<(String, ExpressionRef)>, schema: &Schema) -> Result<Self> {
        let field =
            |(name, expression): &(String, ExpressionRef)| Ok(Field::new(name, expression.data_type(schema)?, true));
        let fields: Vec<_> = columns.iter().map(field).collect::<Result<_>>()?;
        Ok(Self {
            expressions: columns.into_iter().map(|(_, expression)| expression).collect(),
            schema: Arc::new(Schema::new(fields)),
        })
    }
}

impl Operator for Project {
    fn describe(&self) -> String {
        let column = |(field, expression): (&Arc<Field>, &ExpressionRef)| format!("{expression} AS {}", field.name());
        let columns: Vec<_> = self.schema.fields().iter().zip(&self.expressions).map(column).collect();
        format!("project {}", columns.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn apply(&self, batch: Batch, _: &Metrics) -> Result<Batch> {
        let evaluate = |expression: &ExpressionRef| expression.evaluate(&batch).map(Column::Array);
        let columns = self.expressions.iter().map(evaluate).collect::<Result<_>>()?;
        Ok(Batch::from_columns(
            self.schema.clone(),
            columns,
            batch.rows(),
            batch.origin().cloned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, BooleanArray, Int32Array};
    use arrow::record_batch::RecordBatch;

    use super::super::expression::{Comparison, column, compare, literal};
    use super::super::filter::Filter;
    use super::*;

    #[test]
    fn rows_are_filtered_and_columns_made() {
        let status: ArrayRef = Arc::new(Int32Array::from(vec![Some(200), None, Some(404), Some(500)]));
        let records = RecordBatch::try_from_iter([("status", status)]).expect("one column");
        let schema = records.schema();
        let at_least = |bound| {
            compare(
                column("status"),
                Comparison::GreaterOrEqual,
                literal(Arc::new(Int32Array::from(vec![bound]))),
            )
        };
        let filter = Filter::new(at_least(400), schema.clone()).expect("a truth value");
        let columns = vec![
            ("code".to_owned(), column("status")),
            ("server".to_owned(), at_least(500)),
        ];
        let project = Project::new(columns, &schema).expect("columns that exist");

        let metrics = Metrics::default();
        let filtered = filter
            .apply(Batch::new(records, None), &metrics)
            .expect("the right columns");
        let made = project
            .apply(filtered, &metrics)
            .expect("the right columns")
            .to_records()
            .expect("the schema's types");
        let codes: ArrayRef = Arc::new(Int32Array::from(vec![404, 500]));
        let servers: ArrayRef = Arc::new(BooleanArray::from(vec![false, true]));
        assert_eq!(made.columns(), [codes, servers]);
        assert_eq!(filter.describe(), "filter status >= 400");
        assert_eq!(project.describe(), "project status AS code, status >= 500 AS server");
    }

    #[test]
    fn a_filter_must_be_a_truth_value() {
        let schema = Arc::new(Schema::new(vec![Field::new(
            "status",
            arrow::datatypes::DataType::Int32,
            true,
        )]));
        Filter::new(column("status"), schema).expect_err("a number is no truth value");
    }
}
