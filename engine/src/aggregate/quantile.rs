//! `approx_quantile(x, q)`: a DDSketch a group (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch
//! with relative-error guarantees", 2019).
//!
//! Positive numbers fall into buckets `(g^(i-1), g^i]` with g = (1 + a) / (1 - a), and each bucket stands for a number that
//! is within the relative error a = 1 % of all its numbers. Counts of buckets do not depend on the order of the rows, nor
//! on how they are split and merged. No buckets are joined, so the error holds for every quantile; there can't be more
//! than 71,000 buckets of either sign, and usual measurements fill a few hundred.
//!
//! The q-quantile of n numbers is that of rank floor(q (n - 1)), from 0, in their order. The state is a list of buckets
//! and a list of counts.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array};
use arrow::datatypes::{DataType, Float64Type, Int32Type};

use super::kind::Quantile;
use super::sum::widen;
use super::tally::{Tally, flatten};
use super::{Accumulator, each_valid, places};
use crate::error::Result;
use crate::memory;

/// The relative error.
const ERROR: f64 = 0.01;

/// What is added to the bucket of a positive number, so that it is above that of zero: the least is -37,222.
const POSITIVE: f64 = 40_000.0;
const ZERO: i32 = 0;
const INFINITY: i32 = i32::MAX - 1;
const NAN: i32 = i32::MAX;

/// Counts numbers by bucket.
#[derive(Debug)]
pub(super) struct ApproxQuantile {
    quantile: Quantile,
    tally: Tally,
    totals: Vec<i64>,
}

impl ApproxQuantile {
    pub(super) fn new(quantile: Quantile) -> Self {
        Self {
            quantile,
            tally: Tally::new(),
            totals: Vec::new(),
        }
    }

    fn grow(&mut self, total: usize) {
        self.tally.grow(total);
        self.totals.resize(total, 0);
    }

    #[inline]
    fn add(&mut self, group: u32, bucket: i32, count: i64) {
        self.tally.add(group, bucket.cast_unsigned(), count);
        self.totals[group as usize] += count;
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a rank beyond 2^53 rows is out of reach"
    )]
    fn quantile(&self, group: usize) -> Option<f64> {
        let last = self.totals[group].checked_sub(1).filter(|last| *last >= 0)?;
        let mut rank = (self.quantile.fraction() * last as f64).floor() as i64;
        let mut buckets: Vec<_> = self.tally.of(group).collect();
        buckets.sort_unstable_by_key(|(bucket, _)| bucket.cast_signed());
        let found = buckets.iter().find(|(_, count)| {
            rank -= count;
            rank < 0
        });
        found.map(|(bucket, _)| number(bucket.cast_signed()))
    }
}

impl Accumulator for ApproxQuantile {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.grow(total);
        let values = widen(&arguments[0], &DataType::Float64)?;
        let numbers = values.as_primitive::<Float64Type>().values();
        each_valid(&values, |row| self.add(groups[row], bucket(numbers[row]), 1));
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.grow(total);
        let (buckets, counts, groups) = flatten(state, groups);
        let buckets = buckets.as_primitive::<Int32Type>().values();
        for ((&bucket, &count), &group) in buckets.iter().zip(&counts).zip(&groups) {
            self.add(group, bucket, count);
        }
        Ok(())
    }

    fn reset(&mut self, groups: &[u32], total: usize) {
        self.grow(total);
        self.tally.reset(groups);
        places(groups).for_each(|group| self.totals[group] = 0);
    }

    fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        let lists = self.tally.lists(groups);
        let buckets = lists.items.iter().map(|bucket| bucket.cast_signed());
        let buckets = Arc::new(buckets.collect::<Int32Array>());
        lists.into_state(buckets)
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        Arc::new(
            places(groups)
                .map(|group| self.quantile(group))
                .collect::<Float64Array>(),
        )
    }

    fn memory(&self) -> usize {
        self.tally.memory() + memory::of(&self.totals)
    }

    fn clear(&mut self) {
        self.tally.clear();
        self.totals.clear();
    }

    fn is_full(&self) -> bool {
        self.tally.is_full()
    }
}

/// The logarithm of g.
fn step() -> f64 {
    ((1.0 + ERROR) / (1.0 - ERROR)).ln()
}

/// Returns the bucket of a number. Buckets are in the order of their numbers, NaN last.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "logarithms of floats are within 745")]
fn bucket(number: f64) -> i32 {
    let size = number.abs();
    let bucket = if number.is_nan() {
        return NAN;
    } else if size == 0.0 {
        ZERO
    } else if size.is_infinite() {
        INFINITY
    } else {
        ((size.ln() / step()).ceil() + POSITIVE) as i32
    };
    if number < 0.0 { -bucket } else { bucket }
}

/// Returns the number that a bucket stands for.
fn number(bucket: i32) -> f64 {
    let size = match bucket.saturating_abs() {
        NAN => return f64::NAN,
        INFINITY => f64::INFINITY,
        ZERO => 0.0,
        // 2 g^i / (g + 1) = g^i (1 - a)
        size => ((f64::from(size) - POSITIVE) * step() + (1.0 - ERROR).ln())
            .exp()
            .min(f64::MAX),
    };
    if bucket < 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rounding of the logarithm may put a number at the edge of its bucket into the next.
    const SLACK: f64 = 1e-9;

    #[track_caller]
    fn check(value: f64) {
        let found = number(bucket(value));
        assert!(
            (found - value).abs() <= (ERROR + SLACK) * value.abs(),
            "{value:e}: {found:e}"
        );
    }

    #[test]
    fn the_ends_of_the_range_have_buckets() {
        for value in [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f64::MIN_POSITIVE,
            f64::MAX,
            f64::MIN,
            f64::EPSILON,
        ] {
            check(value);
        }
        for value in [f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(number(bucket(value)), value);
        }
        assert!(number(bucket(f64::NAN)).is_nan());
        assert!(number(i32::MIN).is_nan(), "no bucket of ours, but no panic");
        // The least float has one bit, so that 1 % less is no float; its bucket is a positive one all the same.
        assert!(bucket(f64::from_bits(1)) > 0);
    }

    /// A seeded stream of numbers that are uniform in (0, 1].
    fn uniform(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) + 1) as f64 / (1_u64 << 53) as f64
        }
    }

    #[test]
    fn quantiles_of_skewed_numbers_are_within_the_error() {
        let mut next = uniform(17);
        // Pareto: latencies with a long tail; some of them below zero, as clocks that differ give.
        let mut numbers: Vec<f64> = (0..20_000).map(|_| next().powf(-1.5)).collect();
        numbers.iter_mut().step_by(7).for_each(|number| *number = -*number);
        let values: ArrayRef = Arc::new(Float64Array::from(numbers.clone()));
        numbers.sort_unstable_by(f64::total_cmp);
        for fraction in [0.0, 0.01, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let mut sketch = ApproxQuantile::new(Quantile::new(fraction).expect("from 0 to 1"));
            sketch
                .update(std::slice::from_ref(&values), &vec![0; numbers.len()], 1)
                .expect("numbers");
            let found = sketch.evaluate(&[0]);
            let found = found.as_primitive::<Float64Type>().value(0);
            let exact = numbers[(fraction * (numbers.len() - 1) as f64).floor() as usize];
            assert!(
                (found - exact).abs() <= (ERROR + SLACK) * exact.abs(),
                "{fraction}: {found}, not {exact}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_number_is_near_its_bucket_and_buckets_are_in_order(
            a in prop::num::f64::NORMAL | prop::num::f64::ZERO,
            b in prop::num::f64::NORMAL,
        ) {
            check(a);
            check(b);
            prop_assert!((a <= b) == (bucket(a) <= bucket(b)) || bucket(a) == bucket(b));
        }
    }
}
