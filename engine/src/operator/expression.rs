//! Vectorized scalar expressions: a column out of columns.
//!
//! The engine's own are few; a SQL planner brings its expressions by implementing [`Expression`].

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Datum, Scalar};
use arrow::compute::kernels::cmp;
use arrow::compute::{and_kleene, is_not_null, is_null, not, or_kleene};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;

use crate::batch::Batch;
use crate::error::{Error, Result};

/// Computes one column from a batch. The output's type is known before the first batch.
pub trait Expression: Send + Sync + fmt::Debug + fmt::Display {
    /// Returns the type of the column for input columns of `schema`.
    ///
    /// # Errors
    /// When the input lacks a column, or has one of a type that the expression does not take.
    fn data_type(&self, schema: &Schema) -> Result<DataType>;

    /// Returns the column, one value a row.
    ///
    /// # Errors
    /// When a value can't be computed.
    fn evaluate(&self, batch: &Batch) -> Result<ArrayRef>;

    /// Returns the single value of a literal, so that kernels need not repeat it for every row.
    fn as_literal(&self) -> Option<&ArrayRef> {
        None
    }
}

/// A shared expression.
pub type ExpressionRef = Arc<dyn Expression>;

/// Returns the column named `name`.
pub fn column(name: impl Into<String>) -> ExpressionRef {
    Arc::new(ColumnNamed(name.into()))
}

/// Returns the one value of `value` for every row.
///
/// # Panics
/// When `value` has not exactly one element.
pub fn literal(value: ArrayRef) -> ExpressionRef {
    assert_eq!(value.len(), 1, "a literal is one value");
    Arc::new(Literal(value))
}

/// Returns the comparison of two expressions of the same type; null when either side is null.
pub fn compare(left: ExpressionRef, comparison: Comparison, right: ExpressionRef) -> ExpressionRef {
    Arc::new(Compare {
        left,
        comparison,
        right,
    })
}

/// Returns a combination of truth values, with SQL's rules for null.
pub fn logic(connective: Connective, operands: Vec<ExpressionRef>) -> ExpressionRef {
    Arc::new(Logic { connective, operands })
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// How truth values are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connective {
    /// True when all operands are.
    And,
    /// True when one operand is.
    Or,
    /// True when the one operand is false.
    Not,
    /// True when the one operand, of any type, is null.
    IsNull,
    /// True when the one operand, of any type, is not null.
    IsNotNull,
}

#[derive(Debug)]
struct ColumnNamed(String);

#[derive(Debug)]
struct Literal(ArrayRef);

#[derive(Debug)]
struct Compare {
    left: ExpressionRef,
    comparison: Comparison,
    right: ExpressionRef,
}

#[derive(Debug)]
struct Logic {
    connective: Connective,
    operands: Vec<ExpressionRef>,
}

/// Returns the place of column `name`.
///
/// # Errors
/// When there is none; the message lists those there are.
pub fn column_index(schema: &Schema, name: &str) -> Result<usize> {
    schema.index_of(name).map_err(|_| {
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        Error::Invalid(format!("there is no column `{name}`; there are: {}", names.join(", ")))
    })
}

impl Expression for ColumnNamed {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        Ok(schema.field(column_index(schema, &self.0)?).data_type().clone())
    }

    fn evaluate(&self, batch: &Batch) -> Result<ArrayRef> {
        Ok(batch.column(column_index(batch.schema(), &self.0)?).to_array())
    }
}

impl Expression for Literal {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.0.data_type().clone())
    }

    fn evaluate(&self, batch: &Batch) -> Result<ArrayRef> {
        let repeated = arrow::array::UInt32Array::from(vec![0; batch.rows()]);
        arrow::compute::take(&self.0, &repeated, None).map_err(Error::arrow("repeat a literal"))
    }

    fn as_literal(&self) -> Option<&ArrayRef> {
        Some(&self.0)
    }
}

/// One side of a comparison: a column, or a single value that is not repeated.
enum Side {
    Column(ArrayRef),
    Single(Scalar<ArrayRef>),
}

impl Side {
    fn of(expression: &ExpressionRef, batch: &Batch) -> Result<Self> {
        match expression.as_literal() {
            Some(value) => Ok(Self::Single(Scalar::new(Arc::clone(value)))),
            None => expression.evaluate(batch).map(Self::Column),
        }
    }

    fn datum(&self) -> &dyn Datum {
        match self {
            Self::Column(array) => array,
            Self::Single(scalar) => scalar,
        }
    }
}

impl Expression for Compare {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        let (left, right) = (self.left.data_type(schema)?, self.right.data_type(schema)?);
        if left != right {
            return Err(Error::Invalid(format!(
                "`{self}` compares {left} with {right}: cast one of them"
            )));
        }
        Ok(DataType::Boolean)
    }

    fn evaluate(&self, batch: &Batch) -> Result<ArrayRef> {
        let (left, right) = (Side::of(&self.left, batch)?, Side::of(&self.right, batch)?);
        let compare = match self.comparison {
            Comparison::Equal => cmp::eq,
            Comparison::NotEqual => cmp::neq,
            Comparison::Less => cmp::lt,
            Comparison::LessOrEqual => cmp::lt_eq,
            Comparison::Greater => cmp::gt,
            Comparison::GreaterOrEqual => cmp::gt_eq,
        };
        let truth = compare(left.datum(), right.datum()).map_err(Error::arrow("compare two columns"))?;
        Ok(Arc::new(truth))
    }
}

impl Expression for Logic {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        let any = matches!(self.connective, Connective::IsNull | Connective::IsNotNull);
        for operand in &self.operands {
            let found = operand.data_type(schema)?;
            if !any && found != DataType::Boolean {
                return Err(Error::Invalid(format!(
                    "`{operand}` is {found}, expected a truth value"
                )));
            }
        }
        let unary = !matches!(self.connective, Connective::And | Connective::Or);
        match self.operands.len() {
            0 => Err(Error::Invalid(format!("{:?} needs an operand", self.connective))),
            count if unary && count > 1 => Err(Error::Invalid(format!("{:?} takes one operand", self.connective))),
            _ => Ok(DataType::Boolean),
        }
    }

    fn evaluate(&self, batch: &Batch) -> Result<ArrayRef> {
        let operands: Vec<_> = self
            .operands
            .iter()
            .map(|operand| operand.evaluate(batch))
            .collect::<Result<_>>()?;
        let first = operands.first().expect("data_type has checked the number of operands");
        let truth = match self.connective {
            Connective::And => combine(&operands, and_kleene)?,
            Connective::Or => combine(&operands, or_kleene)?,
            Connective::Not => not(first.as_boolean()).map_err(Error::arrow("negate a column"))?,
            Connective::IsNull => is_null(first).map_err(Error::arrow("look for nulls"))?,
            Connective::IsNotNull => is_not_null(first).map_err(Error::arrow("look for nulls"))?,
        };
        Ok(Arc::new(truth))
    }
}

fn combine(
    operands: &[ArrayRef],
    connective: fn(&BooleanArray, &BooleanArray) -> Result<BooleanArray, ArrowError>,
) -> Result<BooleanArray> {
    let mut truth = operands[0].as_boolean().clone();
    for operand in &operands[1..] {
        truth = connective(&truth, operand.as_boolean()).map_err(Error::arrow("combine truth values"))?;
    }
    Ok(truth)
}

impl fmt::Display for ColumnNamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = arrow::util::display::array_value_to_string(&self.0, 0).map_err(|_| fmt::Error)?;
        match self.0.data_type() {
            DataType::Utf8 => write!(f, "'{}'", value.replace('\'', "''")),
            _ => f.write_str(&value),
        }
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        };
        write!(f, "{} {sign} {}", self.left, self.right)
    }
}

impl fmt::Display for Logic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operands: Vec<_> = self.operands.iter().map(|operand| format!("({operand})")).collect();
        match self.connective {
            Connective::And => f.write_str(&operands.join(" AND ")),
            Connective::Or => f.write_str(&operands.join(" OR ")),
            Connective::Not => write!(f, "NOT {}", operands.join(" ")),
            Connective::IsNull => write!(f, "{} IS NULL", operands.join(" ")),
            Connective::IsNotNull => write!(f, "{} IS NOT NULL", operands.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};
    use arrow::record_batch::RecordBatch;

    use super::*;

    fn batch() -> Batch {
        let status: ArrayRef = Arc::new(Int32Array::from(vec![Some(200), None, Some(404)]));
        let path: ArrayRef = Arc::new(StringArray::from(vec![Some("/a"), Some("/b"), None]));
        let records = RecordBatch::try_from_iter([("status", status), ("path", path)]);
        Batch::new(records.expect("columns of one length"), None)
    }

    fn status_at_least(bound: i32) -> ExpressionRef {
        let bound = literal(Arc::new(Int32Array::from(vec![bound])));
        compare(column("status"), Comparison::GreaterOrEqual, bound)
    }

    #[track_caller]
    fn check(expression: &ExpressionRef, text: &str, expected: [Option<bool>; 3]) {
        assert_eq!(expression.to_string(), text);
        let batch = batch();
        assert_eq!(
            expression.data_type(batch.schema()).expect("a valid expression"),
            DataType::Boolean
        );
        let column = expression.evaluate(&batch).expect("a valid expression");
        assert_eq!(column.as_boolean(), &BooleanArray::from(expected.to_vec()));
    }

    #[test]
    fn a_comparison_with_null_is_null() {
        check(&status_at_least(400), "status >= 400", [Some(false), None, Some(true)]);
    }

    #[test]
    fn connectives_follow_the_three_valued_logic() {
        let is_path = compare(
            column("path"),
            Comparison::Equal,
            literal(Arc::new(StringArray::from(vec!["/b"]))),
        );
        let both = logic(Connective::And, vec![status_at_least(400), is_path.clone()]);
        check(&both, "(status >= 400) AND (path = '/b')", [Some(false), None, None]);
        let either = logic(Connective::Or, vec![status_at_least(400), is_path]);
        check(
            &either,
            "(status >= 400) OR (path = '/b')",
            [Some(false), Some(true), Some(true)],
        );
        let neither = logic(Connective::Not, vec![either]);
        check(
            &neither,
            "NOT ((status >= 400) OR (path = '/b'))",
            [Some(true), Some(false), Some(false)],
        );
        let missing = logic(Connective::IsNull, vec![column("status")]);
        check(&missing, "(status) IS NULL", [Some(false), Some(true), Some(false)]);
    }

    #[test]
    fn a_wrong_plan_is_named() {
        let batch = batch();
        let error = column("stauts")
            .data_type(batch.schema())
            .expect_err("misspelled")
            .to_string();
        assert_eq!(error, "there is no column `stauts`; there are: status, path");
        let mixed = compare(column("status"), Comparison::Equal, column("path"));
        let error = mixed.data_type(batch.schema()).expect_err("types differ").to_string();
        assert_eq!(error, "`status = path` compares Int32 with Utf8: cast one of them");
    }
}
