//! Aggregate functions that a user of the library brings.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::DataType;

use super::Accumulator;
use crate::error::Result;

/// A user-defined aggregate function: what it takes, what it keeps, what it gives.
///
/// The same arguments must always give the same types: a checkpoint keeps state columns of [`state_types`](Self::state_types).
pub trait UserAggregate: Send + Sync + fmt::Debug {
    /// Returns its name, in lower case, which stands for it in SQL and in a job's identity.
    fn name(&self) -> &str;

    /// Returns the type of the result for arguments of these types; the result is null where the accumulator says so.
    ///
    /// # Errors
    /// When the function does not take them; the message says what it takes.
    fn result_type(&self, arguments: &[DataType]) -> Result<DataType>;

    /// Returns the types of the state columns for arguments that [`result_type`](Self::result_type) takes.
    fn state_types(&self, arguments: &[DataType]) -> Vec<DataType>;

    /// Returns an accumulator without groups, for arguments that [`result_type`](Self::result_type) takes.
    fn accumulator(&self, arguments: &[DataType]) -> Box<dyn Accumulator>;
}

/// A [`UserAggregate`] as one of the [`AggregateKind`](super::AggregateKind)s. Two are the same if they share a definition.
#[derive(Clone)]
pub struct UserFunction(Arc<dyn UserAggregate>);

impl UserFunction {
    /// Returns the function of a definition.
    pub fn new(definition: Arc<dyn UserAggregate>) -> Self {
        Self(definition)
    }

    /// Returns its definition.
    pub fn definition(&self) -> &dyn UserAggregate {
        &*self.0
    }
}

impl PartialEq for UserFunction {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for UserFunction {}

impl fmt::Debug for UserFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
