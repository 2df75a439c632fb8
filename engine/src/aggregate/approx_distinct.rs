//! `approx_distinct(x)`: a HyperLogLog sketch a group. The state is its bytes.
//!
//! The hashes have no secret seed: sketches of one checkpoint must agree over workers, runs and versions of a job. Who
//! chooses the values can therefore make the estimate wrong, but nothing slow or large.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, TimeUnit, ToByteSlice, *};
use arrow::row::{RowConverter, SortField};

use super::extreme::by_primitive;
use super::hyperloglog::Sketch;
use super::{Accumulator, each_valid, places};
use crate::error::{Error, Result};
use crate::group::keys::canonical;
use crate::kernel::hash::{Seed, hash_bytes};
use crate::memory;

/// Digits of pi: a number without a purpose of its own.
const SEED: Seed = Seed(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344);

/// Dense sketches of a worker after which they are merged: 64 MiB.
const DENSE_MAX: usize = 1 << 12;

/// Estimates the number of different values.
#[derive(Debug)]
pub(super) struct ApproxDistinct {
    argument: DataType,
    sketches: Vec<Sketch>,
    /// How many sketches are dense.
    dense: usize,
    hashes: Vec<u64>,
}

impl ApproxDistinct {
    pub(super) fn new(argument: DataType) -> Self {
        Self {
            argument,
            sketches: Vec::new(),
            dense: 0,
            hashes: Vec::new(),
        }
    }

    fn grow(&mut self, total: usize) {
        self.sketches.resize_with(total, Sketch::default);
    }
}

impl Accumulator for ApproxDistinct {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        let values = &arguments[0];
        if *values.data_type() != self.argument {
            let (found, expected) = (values.data_type(), &self.argument);
            return Err(Error::Invalid(format!(
                "approx_distinct got {found}, expected {expected}"
            )));
        }
        self.grow(total);
        hash_values(values, &mut self.hashes)?;
        each_valid(values, |row| {
            let sketch = &mut self.sketches[groups[row] as usize];
            let was_dense = sketch.is_dense();
            sketch.insert(self.hashes[row]);
            self.dense += usize::from(sketch.is_dense() != was_dense);
        });
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.grow(total);
        for (group, bytes) in places(groups).zip(state[0].as_binary::<i32>()) {
            let sketch = &mut self.sketches[group];
            let was_dense = sketch.is_dense();
            sketch.merge(bytes.unwrap_or_default())?;
            self.dense += usize::from(sketch.is_dense() != was_dense);
        }
        Ok(())
    }

    fn reset(&mut self, groups: &[u32], total: usize) {
        self.grow(total);
        for group in places(groups) {
            let sketch = std::mem::take(&mut self.sketches[group]);
            self.dense -= usize::from(sketch.is_dense());
        }
    }

    fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        let mut bytes = vec![];
        let lengths = places(groups).map(|group| {
            let before = bytes.len();
            self.sketches[group].append_to(&mut bytes);
            bytes.len() - before
        });
        let offsets = OffsetBuffer::from_lengths(lengths);
        vec![Arc::new(BinaryArray::new(offsets, bytes.into(), None))]
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        let estimates = places(groups).map(|group| self.sketches[group].estimate());
        Arc::new(estimates.collect::<Int64Array>())
    }

    fn memory(&self) -> usize {
        let owned = self.sketches.iter().map(Sketch::memory);
        memory::of(&self.sketches) + memory::of(&self.hashes) + owned.sum::<usize>()
    }

    fn clear(&mut self) {
        self.sketches.clear();
        self.dense = 0;
    }

    fn is_full(&self) -> bool {
        self.dense >= DENSE_MAX
    }
}

/// Sets `hashes` to the hash of each row; equal values have equal hashes, that of a null is any.
fn hash_values(values: &ArrayRef, hashes: &mut Vec<u64>) -> Result<()> {
    let values = canonical(values);
    hashes.clear();
    macro_rules! numbers {
        ($type:ty) => {
            hashes.extend(
                values
                    .as_primitive::<$type>()
                    .values()
                    .iter()
                    .map(|value| hash(value.to_byte_slice())),
            )
        };
    }
    by_primitive!(
        values.data_type(),
        numbers,
        match values.data_type() {
            DataType::Utf8 => {
                let strings = values.as_string::<i32>();
                hashes.extend((0..strings.len()).map(|row| hash(strings.value(row).as_bytes())));
            }
            DataType::Binary => {
                let binaries = values.as_binary::<i32>();
                hashes.extend((0..binaries.len()).map(|row| hash(binaries.value(row))));
            }
            other => {
                let converter = RowConverter::new(vec![SortField::new(other.clone())]);
                let rows = converter.and_then(|converter| converter.convert_columns(&[Arc::clone(&values)]));
                let rows = rows.map_err(Error::arrow("encode the values of approx_distinct"))?;
                hashes.extend(rows.iter().map(|row| hash(row.data())));
            }
        }
    );
    Ok(())
}

#[inline]
fn hash(bytes: &[u8]) -> u64 {
    hash_bytes(bytes, SEED)
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    /// Estimates the number of different values of `values`, which are all different, in one group.
    #[track_caller]
    fn check(values: ArrayRef) {
        let mut sketch = ApproxDistinct::new(values.data_type().clone());
        let groups = vec![0; values.len()];
        for _ in 0..2 {
            sketch
                .update(&[Arc::clone(&values)], &groups, 1)
                .expect("the right type");
        }
        let estimate = sketch.evaluate(&[0]);
        let estimate = estimate.as_primitive::<Int64Type>().value(0) as f64;
        let error = estimate / values.len() as f64 - 1.0;
        assert!(error.abs() < 3.0 * 0.0081, "{}: {error}", values.data_type());
    }

    #[test]
    fn runs_of_like_values_of_every_type_are_counted_within_three_standard_errors() {
        const COUNT: i64 = 60_000;
        check(Arc::new((0..COUNT).collect::<Int64Array>()));
        check(Arc::new((0..COUNT).map(|number| number << 40).collect::<Int64Array>()));
        check(Arc::new(
            (0..COUNT)
                .map(|number| number as f64 / 8.0)
                .collect::<arrow::array::Float64Array>(),
        ));
        let names = |prefix: &str| {
            (0..COUNT)
                .map(|number| Some(format!("{prefix}{number}")))
                .collect::<StringArray>()
        };
        check(Arc::new(names("")));
        check(Arc::new(names("user-of-a-quite-long-name-")));
        let decimals = (0..COUNT).map(i128::from).collect::<arrow::array::Decimal128Array>();
        check(Arc::new(decimals));
    }
}
