//! `avg(x)`: sum and count, divided at the end.
//!
//! Integers are summed in `i128` (a decimal column of scale 0 in the state), so that their mean does not depend on the
//! order of the rows.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, Float64Array, Int64Array, PrimitiveArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, UInt64Type};

use super::sum::widen;
use super::{Accumulator, each_valid, places};
use crate::error::{Error, Result};
use crate::memory;

/// Sums of `i64` values: 10^38 holds 10^19 of them.
const INTEGER_SUM: DataType = DataType::Decimal128(38, 0);

/// Returns the type of the sum for an argument type.
pub(super) fn sum_type(argument: &DataType) -> DataType {
    match argument {
        argument if argument.is_floating() => DataType::Float64,
        _ => INTEGER_SUM,
    }
}

/// Returns an accumulator for an argument type.
pub(super) fn accumulator(argument: &DataType) -> Box<dyn Accumulator> {
    match sum_type(argument) {
        DataType::Float64 => Box::new(Average::<Float64Type>::default()),
        _ => Box::new(Average::<Decimal128Type>::default()),
    }
}

/// A type that values are summed in.
trait Summed: ArrowPrimitiveType + Debug {
    fn add(sum: Self::Native, value: Self::Native) -> Option<Self::Native>;
    fn divide(sum: Self::Native, count: i64) -> f64;
    /// Returns the values as numbers of this type; that of a null is any.
    fn numbers(values: &ArrayRef) -> Result<ScalarBuffer<Self::Native>>;
    fn sum_type() -> DataType;
}

impl Summed for Float64Type {
    fn add(sum: f64, value: f64) -> Option<f64> {
        Some(sum + value)
    }

    #[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 rows is out of reach")]
    fn divide(sum: f64, count: i64) -> f64 {
        sum / count as f64
    }

    fn numbers(values: &ArrayRef) -> Result<ScalarBuffer<f64>> {
        let floats = widen(values, &DataType::Float64)?;
        Ok(floats.as_primitive::<Float64Type>().values().clone())
    }

    fn sum_type() -> DataType {
        DataType::Float64
    }
}

impl Summed for Decimal128Type {
    fn add(sum: i128, value: i128) -> Option<i128> {
        sum.checked_add(value)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "the mean is a float: rounded once, at the end"
    )]
    fn divide(sum: i128, count: i64) -> f64 {
        sum as f64 / count as f64
    }

    fn numbers(values: &ArrayRef) -> Result<ScalarBuffer<i128>> {
        // Not by a cast to decimals, which checks every value against their precision.
        if let Some(values) = values.as_primitive_opt::<UInt64Type>() {
            return Ok(values.values().iter().copied().map(i128::from).collect());
        }
        let integers = widen(values, &DataType::Int64)?;
        let integers = integers.as_primitive::<Int64Type>().values();
        Ok(integers.iter().copied().map(i128::from).collect())
    }

    fn sum_type() -> DataType {
        INTEGER_SUM
    }
}

#[derive(Debug)]
struct Average<T: Summed> {
    sums: Vec<T::Native>,
    counts: Vec<i64>,
}

impl<T: Summed> Default for Average<T> {
    fn default() -> Self {
        Self {
            sums: Vec::new(),
            counts: Vec::new(),
        }
    }
}

impl<T: Summed> Average<T> {
    fn grow(&mut self, total: usize) {
        self.sums.resize(total, T::default_value());
        self.counts.resize(total, 0);
    }

    /// Adds to the state of a group; returns whether the sum is in its range.
    #[inline]
    fn add(&mut self, place: usize, value: T::Native, count: i64) -> bool {
        let sum = T::add(self.sums[place], value);
        self.sums[place] = sum.unwrap_or_default();
        self.counts[place] += count;
        sum.is_some()
    }
}

/// Returns an error when a sum has left its range.
fn check_range(is_in_range: bool) -> Result<()> {
    match is_in_range {
        true => Ok(()),
        false => Err(Error::Overflow("the sum of a mean".to_owned())),
    }
}

impl<T: Summed> Accumulator for Average<T> {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.grow(total);
        let numbers = T::numbers(&arguments[0])?;
        let mut is_in_range = true;
        each_valid(&arguments[0], |row| {
            is_in_range &= self.add(groups[row] as usize, numbers[row], 1)
        });
        check_range(is_in_range)
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.grow(total);
        let counts = state[1].as_primitive::<Int64Type>().values();
        let sums = state[0].as_primitive::<T>().values();
        let mut is_in_range = true;
        for ((place, &sum), &count) in places(groups).zip(sums).zip(counts) {
            is_in_range &= self.add(place, sum, count);
        }
        check_range(is_in_range)
    }

    fn reset(&mut self, groups: &[u32], total: usize) {
        self.grow(total);
        for place in places(groups) {
            self.sums[place] = T::default_value();
            self.counts[place] = 0;
        }
    }

    fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        let sums = PrimitiveArray::<T>::from_iter_values(places(groups).map(|place| self.sums[place]));
        let counts: Int64Array = places(groups).map(|place| self.counts[place]).collect();
        vec![Arc::new(sums.with_data_type(T::sum_type())), Arc::new(counts)]
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        let mean = |place: usize| (self.counts[place] > 0).then(|| T::divide(self.sums[place], self.counts[place]));
        Arc::new(places(groups).map(mean).collect::<Float64Array>())
    }

    fn memory(&self) -> usize {
        memory::of(&self.sums) + memory::of(&self.counts)
    }

    fn clear(&mut self) {
        self.sums.clear();
        self.counts.clear();
    }
}
