//! `var_samp`, `var_pop`, `stddev`, `stddev_pop`: count, mean and the sum of squared distances from the mean.
//!
//! A row is taken in as Welford does it ("Note on a method for calculating corrected sums of squares and products", 1962),
//! and two states are put together by the formula of Chan, Golub and LeVeque ("Updating formulae and a pairwise algorithm
//! for computing sample variances", 1979): neither subtracts large sums of squares from each other.
//! As with `sum` of floats, the last digits depend on the order of the rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::sum::widen;
use super::{Accumulator, each_valid, places};
use crate::error::Result;
use crate::memory;

/// Which of the four.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    /// Whether the rows are a sample: the sum is divided by n - 1, not by n.
    pub(super) sample: bool,
    /// Whether the root is taken.
    pub(super) root: bool,
}

/// Measures the spread of numbers.
#[derive(Debug)]
pub(super) struct Variance {
    measure: Measure,
    moments: Vec<Moments>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: i64,
    mean: f64,
    /// The sum of the squared distances from the mean.
    squares: f64,
}

#[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 rows is out of reach")]
impl Moments {
    #[inline]
    fn add(&mut self, value: f64) {
        self.count += 1;
        let distance = value - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (value - self.mean);
    }

    fn merge(&mut self, other: Self) {
        if self.count == 0 || other.count == 0 {
            // The mean of nothing would only add rounding.
            *self = if self.count == 0 { other } else { *self };
            return;
        }
        let (mine, theirs) = (self.count as f64, other.count as f64);
        let all = mine + theirs;
        let distance = other.mean - self.mean;
        self.count += other.count;
        self.mean += distance * (theirs / all);
        self.squares += other.squares + distance * distance * (mine * theirs / all);
    }

    fn measure(self, measure: Measure) -> Option<f64> {
        let divisor = self.count - i64::from(measure.sample);
        (divisor > 0).then(|| {
            let variance = self.squares / divisor as f64;
            if measure.root { variance.sqrt() } else { variance }
        })
    }
}

impl Variance {
    pub(super) fn new(measure: Measure) -> Self {
        Self {
            measure,
            moments: Vec::new(),
        }
    }

    fn grow(&mut self, total: usize) {
        self.moments.resize(total, Moments::default());
    }
}

/// Returns the types of the state: count, mean, sum of squares.
pub(super) fn state_types() -> Vec<DataType> {
    vec![DataType::Int64, DataType::Float64, DataType::Float64]
}

impl Accumulator for Variance {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.grow(total);
        let values = widen(&arguments[0], &DataType::Float64)?;
        let numbers = values.as_primitive::<Float64Type>().values();
        each_valid(&values, |row| self.moments[groups[row] as usize].add(numbers[row]));
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.grow(total);
        let counts = state[0].as_primitive::<Int64Type>().values();
        let means = state[1].as_primitive::<Float64Type>().values();
        let squares = state[2].as_primitive::<Float64Type>().values();
        for (row, group) in places(groups).enumerate() {
            self.moments[group].merge(Moments {
                count: counts[row],
                mean: means[row],
                squares: squares[row],
            });
        }
        Ok(())
    }

    fn reset(&mut self, groups: &[u32], total: usize) {
        self.grow(total);
        places(groups).for_each(|group| self.moments[group] = Moments::default());
    }

    fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        let moments = || places(groups).map(|group| self.moments[group]);
        vec![
            Arc::new(moments().map(|moments| moments.count).collect::<Int64Array>()),
            Arc::new(Float64Array::from_iter_values(moments().map(|moments| moments.mean))),
            Arc::new(Float64Array::from_iter_values(moments().map(|moments| moments.squares))),
        ]
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        let measures = places(groups).map(|group| self.moments[group].measure(self.measure));
        Arc::new(measures.collect::<Float64Array>())
    }

    fn memory(&self) -> usize {
        memory::of(&self.moments)
    }

    fn clear(&mut self) {
        self.moments.clear();
    }
}
