//! `union`: the rows of several branches over the same batch, one after the other.

use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::Operator;
use crate::batch::{Batch, Column};
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// Gives each batch to every branch and puts their rows together.
#[derive(Debug)]
pub struct Union {
    branches: Vec<Vec<Arc<dyn Operator>>>,
    schema: SchemaRef,
}

impl Union {
    /// Returns the operator; each branch is a list of operators, and the first branch gives the columns their names.
    ///
    /// # Errors
    /// When there is no branch, one is empty, or their columns are not of the same types.
    pub fn new(branches: Vec<Vec<Arc<dyn Operator>>>) -> Result<Self> {
        let ends: Option<Vec<_>> = branches
            .iter()
            .map(|branch| branch.last().map(|end| end.schema()))
            .collect();
        let schemas = ends.unwrap_or_default();
        let Some((first, others)) = schemas.split_first() else {
            return Err(Error::Invalid(
                "a union has branches, and each has an operator".to_owned(),
            ));
        };
        let types = |schema: &Schema| {
            schema
                .fields()
                .iter()
                .map(|field| field.data_type().clone())
                .collect::<Vec<_>>()
        };
        if let Some(other) = others.iter().find(|other| types(other) != types(first)) {
            return Err(Error::Invalid(format!(
                "the branches of a union differ: {first} and {other}"
            )));
        }
        Ok(Self {
            schema: first.clone(),
            branches,
        })
    }
}

impl Operator for Union {
    fn describe(&self) -> String {
        let branch = |branch: &Vec<Arc<dyn Operator>>| {
            let operators: Vec<_> = branch.iter().map(|operator| operator.describe()).collect();
            format!("({})", operators.join("; "))
        };
        let branches: Vec<_> = self.branches.iter().map(branch).collect();
        format!("union {}", branches.join(" "))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn apply(&self, mut batch: Batch, metrics: &Metrics) -> Result<Batch> {
        let mut rejected = batch.take_rejected();
        let mut parts = Vec::with_capacity(self.branches.len());
        for branch in &self.branches {
            let mut rows = batch.clone();
            for operator in branch {
                rows = operator.apply(rows, metrics)?;
                rejected.append(&mut rows.take_rejected());
            }
            let columns = rows.columns().iter().map(Column::to_array).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(rows.rows()));
            let part = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
            parts.push(part.map_err(Error::arrow("name the columns of a union"))?);
        }
        let rows = concat_batches(&self.schema, &parts).map_err(Error::arrow("put branches together"))?;
        Ok(Batch::new(rows, batch.origin().cloned()).with_rejected(rejected))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int32Array};
    use arrow::datatypes::Int32Type;

    use super::super::expression::column;
    use super::super::project::Project;
    use super::*;

    fn batch() -> Batch {
        let a: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let b: ArrayRef = Arc::new(Int32Array::from(vec![3, 4]));
        let records = RecordBatch::try_from_iter([("a", a), ("b", b)]).expect("columns of one length");
        Batch::new(records, None)
    }

    fn branch(from: &str, to: &str) -> Vec<Arc<dyn Operator>> {
        let columns = vec![(to.to_owned(), column(from))];
        vec![Arc::new(
            Project::new(columns, batch().schema()).expect("there are these columns"),
        )]
    }

    #[test]
    fn the_rows_of_all_branches_come_under_the_names_of_the_first() {
        let union = Union::new(vec![branch("a", "x"), branch("b", "y")]).expect("the same types");
        assert_eq!(union.describe(), "union (project a AS x) (project b AS y)");
        assert_eq!(union.schema().field(0).name(), "x");
        let rows = union.apply(batch(), &Metrics::default()).expect("its own columns");
        let column = rows.column(0).to_array();
        assert_eq!(column.as_primitive::<Int32Type>().values(), &[1, 2, 3, 4]);
    }

    #[test]
    fn a_union_without_branches_is_refused() {
        Union::new(vec![]).expect_err("no branch");
        Union::new(vec![vec![]]).expect_err("no operator");
    }
}
