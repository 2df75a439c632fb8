//! Aggregate functions: flat state by group id, updated a column at a time.

mod average;
mod count;
mod extreme;
mod sum;

use std::fmt;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};

use crate::error::{Error, Result};

/// The state of one aggregate function for many groups.
///
/// A worker updates its own accumulator; the merge takes a worker's state over into that of a state shard; a snapshot
/// writes the state of the changed groups as Arrow columns. `groups` maps rows to group ids; `total` is one more than
/// the highest id so far, so that state vectors grow once a batch.
pub trait Accumulator: Send + Sync + fmt::Debug {
    /// Takes in one row a group id; `values` is the argument column, `None` for `count(*)`.
    ///
    /// # Errors
    /// When a number leaves the range of the state's type.
    fn update(&mut self, values: Option<&ArrayRef>, groups: &[u32], total: usize) -> Result<()>;

    /// Takes in state columns made by [`state`](Self::state), one row a group id.
    ///
    /// # Errors
    /// When a number leaves the range of the state's type.
    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()>;

    /// Puts groups back into the state of no row.
    fn reset(&mut self, groups: &[u32], total: usize);

    /// Returns the state of the groups, one row each, as columns of [`AggregateFunction::state_types`].
    fn state(&self, groups: &[u32]) -> Vec<ArrayRef>;

    /// Returns the result of the groups, one row each.
    fn evaluate(&self, groups: &[u32]) -> ArrayRef;

    /// Forgets all groups.
    fn clear(&mut self);
}

/// An aggregate function over an argument type, ready to make accumulators.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateFunction {
    kind: AggregateKind,
    argument: Option<DataType>,
}

/// The aggregate functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateKind {
    /// Rows, or rows whose argument is not null.
    Count,
    /// The sum: of integers as `Int64` (leaving its range is an error), of floats as `Float64`.
    Sum,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The mean as `Float64`.
    Avg,
}

impl AggregateFunction {
    /// Returns the function for an argument of type `argument`; `None` stands for `count(*)`.
    ///
    /// # Errors
    /// When the function does not take that type.
    pub fn new(kind: AggregateKind, argument: Option<DataType>) -> Result<Self> {
        let takes = match (kind, &argument) {
            (AggregateKind::Count, _) => true,
            (AggregateKind::Sum | AggregateKind::Avg, Some(argument)) => argument.is_numeric() && plain(argument),
            (AggregateKind::Min | AggregateKind::Max, Some(argument)) => extreme::takes(argument),
            _ => false,
        };
        if !takes {
            let argument = argument.map_or_else(|| "no argument".to_owned(), |argument| argument.to_string());
            return Err(Error::Invalid(format!("{kind} does not take {argument}")));
        }
        Ok(Self { kind, argument })
    }

    /// Returns the type of the result.
    pub fn result_type(&self) -> DataType {
        match (self.kind, &self.argument) {
            (AggregateKind::Count, _) => DataType::Int64,
            (AggregateKind::Avg, _) => DataType::Float64,
            (AggregateKind::Sum, Some(argument)) if argument.is_floating() => DataType::Float64,
            (AggregateKind::Sum, _) => DataType::Int64,
            (AggregateKind::Min | AggregateKind::Max, argument) => argument.clone().unwrap_or(DataType::Null),
        }
    }

    /// Returns whether the result is null for a group without a value.
    pub fn is_nullable(&self) -> bool {
        self.kind != AggregateKind::Count
    }

    /// Returns the types of the state columns.
    pub fn state_types(&self) -> Vec<DataType> {
        match self.kind {
            AggregateKind::Avg => vec![average::sum_type(self.argument.as_ref()), DataType::Int64],
            _ => vec![self.result_type()],
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
        match (self.kind, &self.argument) {
            (AggregateKind::Count, _) => Box::<count::Count>::default(),
            (AggregateKind::Sum, Some(argument)) if argument.is_floating() => Box::<sum::SumFloat>::default(),
            (AggregateKind::Sum, _) => Box::<sum::SumInteger>::default(),
            (AggregateKind::Avg, argument) => average::accumulator(argument.as_ref()),
            (AggregateKind::Min, argument) => extreme::accumulator(argument.as_ref(), extreme::Side::Least),
            (AggregateKind::Max, argument) => extreme::accumulator(argument.as_ref(), extreme::Side::Greatest),
        }
    }
}

impl fmt::Display for AggregateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Avg => "avg",
        })
    }
}

/// Numbers that fit the accumulators: integers and floats, no decimals.
fn plain(argument: &DataType) -> bool {
    argument.is_integer() || matches!(argument, DataType::Float32 | DataType::Float64)
}

/// Returns the positions of the groups' state in a flat vector.
fn places(groups: &[u32]) -> impl Iterator<Item = usize> + '_ {
    groups.iter().map(|&group| group as usize)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};
    use arrow::array::{TimestampMicrosecondArray, UInt64Array};
    use proptest::prelude::*;

    use super::*;

    const KINDS: [AggregateKind; 5] = [
        AggregateKind::Count,
        AggregateKind::Sum,
        AggregateKind::Min,
        AggregateKind::Max,
        AggregateKind::Avg,
    ];

    /// Aggregates `values` into groups 0 and 1 in turn.
    #[track_caller]
    fn check(kind: AggregateKind, values: ArrayRef, expected: ArrayRef) {
        let function = AggregateFunction::new(kind, Some(values.data_type().clone())).expect("a type it takes");
        let groups: Vec<u32> = (0..u32::try_from(values.len()).expect("small"))
            .map(|row| row % 2)
            .collect();
        let mut whole = function.accumulator();
        whole.update(Some(&values), &groups, 2).expect("in range");
        assert_eq!(&whole.evaluate(&[0, 1]), &expected);
        assert_eq!(*expected.data_type(), function.result_type());

        // Row by row through the state columns gives the same.
        let mut merged = function.accumulator();
        merged.update(Some(&values), &groups, 2).expect("in range");
        merged.reset(&[0, 1], 2);
        for (row, &group) in groups.iter().enumerate() {
            let mut partial = function.accumulator();
            partial.update(Some(&values.slice(row, 1)), &[0], 1).expect("in range");
            let state = partial.state(&[0]);
            let types: Vec<_> = state.iter().map(|column| column.data_type().clone()).collect();
            assert_eq!(types, function.state_types());
            merged.merge(&state, &[group], 2).expect("in range");
        }
        assert_eq!(&merged.evaluate(&[0, 1]), &expected);
    }

    #[test]
    fn functions_skip_nulls_and_give_null_without_values() {
        let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(3), None, Some(-4), None]));
        let longs = |a, b| Arc::new(Int64Array::from(vec![a, b])) as ArrayRef;
        let ints = |a, b| Arc::new(Int32Array::from(vec![a, b])) as ArrayRef;
        check(AggregateKind::Count, values.clone(), longs(Some(2), Some(0)));
        check(AggregateKind::Sum, values.clone(), longs(Some(-1), None));
        check(AggregateKind::Min, values.clone(), ints(Some(-4), None));
        check(AggregateKind::Max, values.clone(), ints(Some(3), None));
        check(
            AggregateKind::Avg,
            values,
            Arc::new(Float64Array::from(vec![Some(-0.5), None])),
        );
    }

    #[test]
    fn floats_are_summed_as_floats() {
        let values: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 1.0, 0.25, -3.0]));
        let floats = |a, b| Arc::new(Float64Array::from(vec![a, b])) as ArrayRef;
        check(AggregateKind::Sum, values.clone(), floats(0.75, -2.0));
        check(AggregateKind::Avg, values.clone(), floats(0.375, -1.0));
        check(AggregateKind::Max, values, floats(0.5, 1.0));
    }

    #[test]
    fn the_mean_of_large_integers_is_exact() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1, i64::MAX, 2]));
        let expected = Arc::new(Float64Array::from(vec![9_223_372_036_854_775_807.0, 1.5]));
        check(AggregateKind::Avg, values, expected);
    }

    #[test]
    fn strings_binaries_booleans_and_times_have_extremes() {
        let strings = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
        check(
            AggregateKind::Min,
            strings(vec!["b", "z", "a", "ß"]),
            strings(vec!["a", "z"]),
        );
        check(
            AggregateKind::Max,
            strings(vec!["b", "z", "a", "ß"]),
            strings(vec!["b", "ß"]),
        );
        let binaries = |values: Vec<&[u8]>| Arc::new(BinaryArray::from(values)) as ArrayRef;
        check(
            AggregateKind::Max,
            binaries(vec![b"\xff", b"", b"\x00", b"a"]),
            binaries(vec![b"\xff", b"a"]),
        );
        let bools = |values: Vec<bool>| Arc::new(BooleanArray::from(values)) as ArrayRef;
        check(
            AggregateKind::Min,
            bools(vec![true, true, false, true]),
            bools(vec![false, true]),
        );
        let times =
            |values: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) as ArrayRef;
        check(AggregateKind::Max, times(vec![5, 9, 7, -1]), times(vec![7, 9]));
    }

    #[test]
    fn a_sum_that_leaves_its_range_is_an_error() {
        let function = AggregateFunction::new(AggregateKind::Sum, Some(DataType::Int64)).expect("integers");
        let values: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1]));
        let error = function
            .accumulator()
            .update(Some(&values), &[0, 0], 1)
            .expect_err("too large");
        assert!(error.to_string().contains("out of range"), "{error}");
        let function = AggregateFunction::new(AggregateKind::Sum, Some(DataType::UInt64)).expect("integers");
        let values: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
        function
            .accumulator()
            .update(Some(&values), &[0], 1)
            .expect_err("too large");
    }

    #[test]
    fn a_function_refuses_types_it_does_not_take() {
        for (kind, argument) in [
            (AggregateKind::Sum, Some(DataType::Utf8)),
            (AggregateKind::Avg, None),
            (AggregateKind::Min, Some(DataType::Null)),
        ] {
            AggregateFunction::new(kind, argument).expect_err("not taken");
        }
    }

    proptest! {
        #[test]
        fn any_split_into_workers_gives_the_same(
            rows in prop::collection::vec((0..5_u32, prop::option::of(-1000..1000_i32), 0..3_usize), 0..100)
        ) {
            let groups: Vec<u32> = rows.iter().map(|row| row.0).collect();
            let values: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<Int32Array>());
            for kind in KINDS {
                let function = AggregateFunction::new(kind, Some(DataType::Int32)).expect("integers");
                let mut whole = function.accumulator();
                whole.update(Some(&values), &groups, 5).expect("in range");
                let mut merged = function.accumulator();
                for worker in 0..3 {
                    let mine: Vec<_> = rows.iter().filter(|row| row.2 == worker).collect();
                    let groups: Vec<u32> = mine.iter().map(|row| row.0).collect();
                    let values: ArrayRef = Arc::new(mine.iter().map(|row| row.1).collect::<Int32Array>());
                    let mut partial = function.accumulator();
                    partial.update(Some(&values), &groups, 5).expect("in range");
                    merged.merge(&partial.state(&[0, 1, 2, 3, 4]), &[0, 1, 2, 3, 4], 5).expect("in range");
                }
                prop_assert_eq!(&whole.evaluate(&[4, 3, 2, 1, 0]), &merged.evaluate(&[4, 3, 2, 1, 0]));
            }
        }
    }
}
