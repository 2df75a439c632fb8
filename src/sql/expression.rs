//! DataFusion's physical expressions as expressions of the engine.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, ScalarValue};
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use engine::Batch;
use engine::operator::expression::{Expression, ExpressionRef, column, column_index};

use super::error::{Result, SqlError};

/// An expression over some of a batch's columns, which it finds by name.
#[derive(Debug)]
struct Planned {
    /// As SQL, over the engine's names of the columns: the expression's identity.
    text: String,
    /// The columns that it reads, of the types that the planner has seen.
    inputs: SchemaRef,
    expression: Arc<dyn PhysicalExpr>,
    /// The type of the result, in the form that the engine keeps.
    data_type: DataType,
}

/// Returns an expression of the plan as one of the engine's. `schema` is what the plan knows of the columns below it, and
/// `names` are what the engine calls them.
pub(super) fn planned(expr: &Expr, schema: &DFSchema, names: &[&str]) -> Result<ExpressionRef> {
    let expr = expr.clone().unalias_nested().data;
    if let Expr::Column(of) = &expr {
        return Ok(column(names[schema.index_of_column(of)?]));
    }
    let mut used = vec![];
    let renamed = expr.transform(|part| match part {
        Expr::Column(of) => {
            let index = schema.index_of_column(&of)?;
            if !used.contains(&index) {
                used.push(index);
            }
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(names[index]))))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let field = |&index: &usize| {
        let field = schema.field(index);
        Arc::new(Field::new(names[index], field.data_type().clone(), true))
    };
    let inputs = Arc::new(Schema::new(used.iter().map(field).collect::<Vec<FieldRef>>()));
    let context = PhysicalPlanningContext::default();
    let known = DFSchema::try_from(Arc::clone(&inputs))?;
    let expression = create_physical_expr(&renamed.data, &known, &ExecutionProps::new(), &context)?;
    let data_type = kept_type(&expression.data_type(&inputs)?);
    Ok(Arc::new(Planned {
        text: as_sql(&renamed.data)?,
        inputs,
        expression,
        data_type,
    }))
}

/// Returns the expression as SQL. DataFusion's own form has no quotes around strings: a column's name is written as it is.
pub(super) fn as_sql(expr: &Expr) -> Result<String> {
    let quoted = expr.clone().transform(|part| match &part {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => {
            let text = format!("'{}'", text.replace('\'', "''"));
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(text))))
        }
        Expr::Column(column) => {
            let column = Column::new_unqualified(column.name.clone());
            Ok(Transformed::yes(Expr::Column(column)))
        }
        _ => Ok(Transformed::no(part)),
    })?;
    Ok(quoted.data.human_display().to_string())
}

/// Returns the type in which the engine keeps values of `data_type`: strings and bytes have one layout each.
pub(super) fn kept_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::Binary,
        other => other.clone(),
    }
}

impl Planned {
    /// Returns the columns that the expression reads, in the types that it was planned for.
    fn inputs(&self, batch: &Batch) -> engine::Result<RecordBatch> {
        let input = |field: &FieldRef| {
            let index = column_index(batch.schema(), field.name())?;
            converted(batch.column(index).to_array(), field.data_type())
        };
        let columns = self.inputs.fields().iter().map(input).collect::<engine::Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.inputs), columns, &options)
            .map_err(engine::Error::arrow("take columns for an expression"))
    }
}

impl Expression for Planned {
    fn data_type(&self, schema: &Schema) -> engine::Result<DataType> {
        for field in self.inputs.fields() {
            column_index(schema, field.name())?;
        }
        Ok(self.data_type.clone())
    }

    fn evaluate(&self, batch: &Batch) -> engine::Result<ArrayRef> {
        let inputs = self.inputs(batch)?;
        let value = self.expression.evaluate(&inputs);
        let array = value.and_then(|value| value.into_array(batch.rows()));
        let array = array.map_err(|error| engine::Error::Arrow {
            act: "compute an expression",
            source: ArrowError::ComputeError(format!("`{self}`: {}", SqlError::from(error))),
        })?;
        converted(array, &self.data_type)
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn converted(array: ArrayRef, to: &DataType) -> engine::Result<ArrayRef> {
    match array.data_type() == to {
        true => Ok(array),
        false => cast(&array, to).map_err(engine::Error::arrow("convert a column")),
    }
}
