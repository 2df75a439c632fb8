//! `count(*)` and `count(x)`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;

use super::{Accumulator, each_valid, places};
use crate::error::Result;
use crate::memory;

/// Counts rows, or those whose argument is not null. An `i64` can't overflow by counting.
#[derive(Debug, Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.counts.resize(total, 0);
        match arguments.first() {
            None => places(groups).for_each(|place| self.counts[place] += 1),
            Some(values) => each_valid(values, |row| self.counts[groups[row] as usize] += 1),
        }
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.counts.resize(total, 0);
        let counts = state[0].as_primitive::<Int64Type>().values();
        for (place, count) in places(groups).zip(counts) {
            self.counts[place] += count;
        }
        Ok(())
    }

    fn reset(&mut self, groups: &[u32], total: usize) {
        self.counts.resize(total, 0);
        places(groups).for_each(|place| self.counts[place] = 0);
    }

    fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        vec![self.evaluate(groups)]
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        Arc::new(places(groups).map(|place| self.counts[place]).collect::<Int64Array>())
    }

    fn memory(&self) -> usize {
        memory::of(&self.counts)
    }

    fn clear(&mut self) {
        self.counts.clear();
    }
}
