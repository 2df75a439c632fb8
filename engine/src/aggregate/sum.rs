//! `sum(x)`: integers exactly or not at all, floats in the order of arrival.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::{Accumulator, each_valid, places};
use crate::error::{Error, Result};
use crate::memory;

/// Sums integers in `i64`; leaving its range is an error.
pub(super) type SumInteger = Sum<Int64Type>;

/// Sums floats in `f64`.
pub(super) type SumFloat = Sum<Float64Type>;

/// A type that values are summed in.
pub(super) trait Summable: ArrowPrimitiveType + Debug {
    /// Returns the sum, if it is in the type's range.
    fn add(sum: Self::Native, value: Self::Native) -> Option<Self::Native>;
}

impl Summable for Int64Type {
    fn add(sum: i64, value: i64) -> Option<i64> {
        sum.checked_add(value)
    }
}

impl Summable for Float64Type {
    fn add(sum: f64, value: f64) -> Option<f64> {
        Some(sum + value)
    }
}

/// Sums values of one type. A group without values is null.
#[derive(Debug)]
pub(super) struct Sum<T: Summable> {
    sums: Vec<Option<T::Native>>,
}

impl<T: Summable> Default for Sum<T> {
    fn default() -> Self {
        Self { sums: Vec::new() }
    }
}

/// Returns the values as another number type; one that does not fit is an error.
pub(super) fn widen(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(values, to, &strict).map_err(|source| Error::Overflow(format!("a summed value ({source})")))
}

impl<T: Summable> Accumulator for Sum<T> {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.merge(&[widen(&arguments[0], &T::DATA_TYPE)?], groups, total)
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.sums.resize(total, None);
        let values = state[0].as_primitive::<T>().values();
        let mut is_in_range = true;
        each_valid(&state[0], |row| {
            let sum = &mut self.sums[groups[row] as usize];
            match T::add(sum.unwrap_or_default(), values[row]) {
                Some(more) => *sum = Some(more),
                None => is_in_range = false,
            }
        });
        match is_in_range {
            true => Ok(()),
            false => Err(Error::Overflow("a sum of integers".to_owned())),
        }
    }

    fn reset(&mut self, groups: &[u32], total: usize) {
        self.sums.resize(total, None);
        places(groups).for_each(|place| self.sums[place] = None);
    }

    fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        vec![self.evaluate(groups)]
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        Arc::new(
            places(groups)
                .map(|place| self.sums[place])
                .collect::<PrimitiveArray<T>>(),
        )
    }

    fn memory(&self) -> usize {
        memory::of(&self.sums)
    }

    fn clear(&mut self) {
        self.sums.clear();
    }
}
