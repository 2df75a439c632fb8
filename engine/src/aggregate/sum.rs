//! `sum(x)`: integers exactly or not at all, floats in the order of arrival.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::{Accumulator, places};
use crate::error::{Error, Result};

/// Sums integers in `i64`; leaving its range is an error. A group without values is null.
#[derive(Debug, Default)]
pub(super) struct SumInteger {
    sums: Vec<Option<i64>>,
}

/// Sums floats in `f64`. A group without values is null.
#[derive(Debug, Default)]
pub(super) struct SumFloat {
    sums: Vec<Option<f64>>,
}

/// Returns the values as another number type; one that does not fit is an error.
pub(super) fn widen(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(values, to, &strict).map_err(|source| Error::Overflow(format!("a summed value ({source})")))
}

impl SumInteger {
    fn add(&mut self, place: usize, value: i64) -> Result<()> {
        let sum = self.sums[place].unwrap_or(0).checked_add(value);
        self.sums[place] = Some(sum.ok_or_else(|| Error::Overflow("a sum of integers".to_owned()))?);
        Ok(())
    }
}

impl Accumulator for SumInteger {
    fn update(&mut self, values: Option<&ArrayRef>, groups: &[u32], total: usize) -> Result<()> {
        let values = values.expect("the plan gives sum an argument");
        self.merge(&[widen(values, &DataType::Int64)?], groups, total)
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.sums.resize(total, None);
        let values = state[0].as_primitive::<Int64Type>();
        if values.null_count() == 0 {
            return places(groups)
                .zip(values.values())
                .try_for_each(|(place, &value)| self.add(place, value));
        }
        let valid = places(groups)
            .zip(values)
            .filter_map(|(place, value)| Some((place, value?)));
        valid.into_iter().try_for_each(|(place, value)| self.add(place, value))
    }

    fn reset(&mut self, groups: &[u32], total: usize) {
        self.sums.resize(total, None);
        places(groups).for_each(|place| self.sums[place] = None);
    }

    fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        vec![self.evaluate(groups)]
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        Arc::new(places(groups).map(|place| self.sums[place]).collect::<Int64Array>())
    }

    fn clear(&mut self) {
        self.sums.clear();
    }
}

impl Accumulator for SumFloat {
    fn update(&mut self, values: Option<&ArrayRef>, groups: &[u32], total: usize) -> Result<()> {
        let values = values.expect("the plan gives sum an argument");
        self.merge(&[widen(values, &DataType::Float64)?], groups, total)
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.sums.resize(total, None);
        for (place, value) in places(groups).zip(state[0].as_primitive::<Float64Type>()) {
            if let Some(value) = value {
                self.sums[place] = Some(self.sums[place].unwrap_or(0.0) + value);
            }
        }
        Ok(())
    }

    fn reset(&mut self, groups: &[u32], total: usize) {
        self.sums.resize(total, None);
        places(groups).for_each(|place| self.sums[place] = None);
    }

    fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        vec![self.evaluate(groups)]
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        Arc::new(places(groups).map(|place| self.sums[place]).collect::<Float64Array>())
    }

    fn clear(&mut self) {
        self.sums.clear();
    }
}
