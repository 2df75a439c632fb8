//! An aggregate function over argument types: what it takes, what it keeps, what it gives.

use arrow::datatypes::{DataType, Field, FieldRef};

use super::collect::{Collect, Form};
use super::extreme::Side;
use super::kind::AggregateKind;
use super::tally::{self, list_type};
use super::values::is_comparable;
use super::variance::{self, Measure, Variance};
use super::{Accumulator, approx_distinct, average, count, distinct, extreme, quantile, row_extreme, sum, top_k};
use crate::error::{Error, Result};
use crate::group::keys::value_type;

/// An aggregate function over argument types, ready to make accumulators.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateFunction {
    kind: AggregateKind,
    arguments: Vec<DataType>,
    result: DataType,
}

impl AggregateFunction {
    /// Returns the function for arguments of these types: none stands for `count(*)`. A dictionary stands for its values.
    ///
    /// # Errors
    /// When the function does not take those types, or a parameter is out of its range.
    pub fn new(kind: AggregateKind, arguments: &[DataType]) -> Result<Self> {
        kind.check()?;
        let arguments: Vec<_> = arguments.iter().map(value_type).cloned().collect();
        let result = result_type(&kind, &arguments)?;
        Ok(Self {
            kind,
            arguments,
            result,
        })
    }

    /// Returns whether it is `count(*)`.
    pub fn is_count_of_rows(&self) -> bool {
        matches!(self.kind, AggregateKind::Count) && self.arguments.is_empty()
    }

    /// Returns the types of the columns that accumulators are updated with.
    pub fn argument_types(&self) -> &[DataType] {
        &self.arguments
    }

    /// Returns the type of the result.
    pub fn result_type(&self) -> DataType {
        self.result.clone()
    }

    /// Returns whether the result is null for a group without a value.
    pub fn is_nullable(&self) -> bool {
        use AggregateKind::{ApproxDistinct, Count, CountDistinct};
        !matches!(self.kind, Count | CountDistinct | ApproxDistinct)
    }

    /// Returns the types of the state columns.
    pub fn state_types(&self) -> Vec<DataType> {
        use AggregateKind::*;
        match &self.kind {
            Avg => vec![average::sum_type(self.value()), DataType::Int64],
            Stddev | StddevPop | VarSamp | VarPop => variance::state_types(),
            CountDistinct => vec![list_type(self.value().clone())],
            ApproxDistinct => vec![DataType::Binary],
            ApproxQuantile(_) => tally::state_types(DataType::Int32),
            TopK(_) | StringAgg { .. } | ArrayAgg { .. } => tally::state_types(self.value().clone()),
            First | Last => self.arguments.clone(),
            Count | Sum | Min | Max | BoolAnd | BoolOr => vec![self.result_type()],
            User(function) => function.definition().state_types(&self.arguments),
        }
    }

    /// Returns the state columns as fields, named after `name`.
    pub fn state_fields(&self, name: &str) -> Vec<FieldRef> {
        let types = self.state_types().into_iter().enumerate();
        types
            .map(|(index, data_type)| Field::new(format!("{name}.{index}"), data_type, true).into())
            .collect()
    }

    /// Returns an accumulator without groups.
    pub fn accumulator(&self) -> Box<dyn Accumulator> {
        use AggregateKind::*;
        let variance = |sample, root| Box::new(Variance::new(Measure { sample, root }));
        match &self.kind {
            Count => Box::<count::Count>::default(),
            CountDistinct => Box::new(distinct::CountDistinct::new(self.value())),
            ApproxDistinct => Box::new(approx_distinct::ApproxDistinct::new(self.value().clone())),
            Sum if self.value().is_floating() => Box::<sum::SumFloat>::default(),
            Sum => Box::<sum::SumInteger>::default(),
            Avg => average::accumulator(self.value()),
            Min | BoolAnd => extreme::accumulator(self.value(), Side::Least),
            Max | BoolOr => extreme::accumulator(self.value(), Side::Greatest),
            Stddev => variance(true, true),
            StddevPop => variance(false, true),
            VarSamp => variance(true, false),
            VarPop => variance(false, false),
            ApproxQuantile(quantile) => Box::new(quantile::ApproxQuantile::new(*quantile)),
            First => Box::new(row_extreme::RowExtreme::new(&self.arguments, Side::Least)),
            Last => Box::new(row_extreme::RowExtreme::new(&self.arguments, Side::Greatest)),
            TopK(k) => Box::new(top_k::TopK::new(*k, self.value())),
            StringAgg { separator, bytes_max } => {
                Box::new(Collect::new(Form::Text(separator.clone()), *bytes_max, self.value()))
            }
            ArrayAgg { bytes_max } => Box::new(Collect::new(Form::List, *bytes_max, self.value())),
            User(function) => function.definition().accumulator(&self.arguments),
        }
    }

    /// The type of the first argument.
    fn value(&self) -> &DataType {
        self.arguments.first().unwrap_or(&DataType::Null)
    }
}

fn not_taken(kind: &AggregateKind, arguments: &[DataType]) -> Error {
    let types: Vec<_> = arguments.iter().map(DataType::to_string).collect();
    let problem = match types.as_slice() {
        [] => "needs an argument".to_owned(),
        types => format!("does not take {}", types.join(" and ")),
    };
    let expected = kind.entry().map_or("other arguments", |entry| entry.takes);
    Error::Invalid(format!("{kind} {problem}, expected {expected}"))
}

/// Returns the type of the result, or an error when the function does not take the arguments.
fn result_type(kind: &AggregateKind, arguments: &[DataType]) -> Result<DataType> {
    use AggregateKind::*;
    if let User(function) = kind {
        return function.definition().result_type(arguments);
    }
    if !takes(kind, arguments) {
        return Err(not_taken(kind, arguments));
    }
    let value = arguments.first().unwrap_or(&DataType::Null);
    Ok(match kind {
        Count | CountDistinct | ApproxDistinct => DataType::Int64,
        Avg | Stddev | StddevPop | VarSamp | VarPop | ApproxQuantile(_) => DataType::Float64,
        Sum if value.is_floating() => DataType::Float64,
        Sum => DataType::Int64,
        BoolAnd | BoolOr => DataType::Boolean,
        TopK(_) => list_type(top_k::item_type(value)),
        StringAgg { .. } => DataType::Utf8,
        ArrayAgg { .. } => list_type(value.clone()),
        Min | Max | First | Last | User(_) => value.clone(),
    })
}

fn takes(kind: &AggregateKind, arguments: &[DataType]) -> bool {
    use AggregateKind::*;
    match (kind, arguments) {
        (Count, [] | [_]) => true,
        (Sum | Avg | Stddev | StddevPop | VarSamp | VarPop | ApproxQuantile(_), [argument]) => is_number(argument),
        (BoolAnd | BoolOr, [argument]) => *argument == DataType::Boolean,
        (StringAgg { .. }, [argument]) => *argument == DataType::Utf8,
        (Min | Max | CountDistinct | ApproxDistinct | TopK(_) | ArrayAgg { .. }, [argument]) => is_comparable(argument),
        (First | Last, [value, order]) => is_comparable(value) && is_comparable(order),
        _ => false,
    }
}

/// Returns whether values fit the accumulators of numbers: integers and floats, no decimals.
fn is_number(argument: &DataType) -> bool {
    argument.is_integer() || matches!(argument, DataType::Float32 | DataType::Float64)
}
