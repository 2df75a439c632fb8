//! Functions that a program adds to those of SQL.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion_common::DataFusionError;
use datafusion_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use engine::aggregate::{UserAggregate, UserFunction};

/// Scalar and aggregate functions beside those that every query knows. One of the same name as a known one hides it.
///
/// ```
/// # use std::sync::Arc;
/// # use millstream::sql::Functions;
/// use arrow::array::{ArrayRef, AsArray, Int64Array};
/// use arrow::datatypes::DataType;
///
/// let bytes = |columns: &[ArrayRef]| {
///     let texts = columns[0].as_string::<i32>();
///     let lengths = texts.iter().map(|text| text.map(|text| text.len() as i64));
///     Ok(Arc::new(lengths.collect::<Int64Array>()) as ArrayRef)
/// };
/// let functions = Functions::default().with_scalar("bytes_of", &[DataType::Utf8], DataType::Int64, bytes);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Functions {
    pub(super) scalars: Vec<Arc<ScalarUDF>>,
    pub(super) aggregates: Vec<UserFunction>,
}

impl Functions {
    /// Adds a scalar function of a name in lower case. `body` gets a column for each argument, all of one length and of the
    /// types `arguments`, to which the planner casts; it returns a column of that length and of type `result`. It must give the
    /// same result for the same values.
    pub fn with_scalar(
        mut self,
        name: &str,
        arguments: &[DataType],
        result: DataType,
        body: impl Fn(&[ArrayRef]) -> engine::Result<ArrayRef> + Send + Sync + 'static,
    ) -> Self {
        let call = move |values: &[ColumnarValue]| {
            let columns = ColumnarValue::values_to_arrays(values)?;
            let made = body(&columns).map_err(|error| DataFusionError::External(Box::new(error)))?;
            Ok(ColumnarValue::Array(made))
        };
        let function = create_udf(name, arguments.to_vec(), result, Volatility::Immutable, Arc::new(call));
        self.scalars.push(Arc::new(function));
        self
    }

    /// Adds an aggregate function. Its state is kept in checkpoints as that of any other.
    pub fn with_aggregate(mut self, definition: impl UserAggregate + 'static) -> Self {
        self.aggregates.push(UserFunction::new(Arc::new(definition)));
        self
    }
}
