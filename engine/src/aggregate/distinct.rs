//! `count(distinct x)`, exactly: a set of pairs of a group and a value. The state is the list of each group's values.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;

use super::pairs::Pairs;
use super::tally::{list_array, spread};
use super::values::{Values, check_held};
use super::{Accumulator, each_valid, places};
use crate::error::Result;
use crate::memory;

/// Counts different values.
#[derive(Debug)]
pub(super) struct CountDistinct {
    values: Values,
    pairs: Pairs,
    counts: Vec<i64>,
    /// Bytes of the values as the state would list them.
    held: usize,
    ids: Vec<u32>,
}

impl CountDistinct {
    pub(super) fn new(argument: &DataType) -> Self {
        Self {
            values: Values::new(argument),
            pairs: Pairs::new(),
            counts: Vec::new(),
            held: 0,
            ids: Vec::new(),
        }
    }

    fn grow(&mut self, total: usize) {
        self.pairs.grow(total);
        self.counts.resize(total, 0);
    }
}

impl Accumulator for CountDistinct {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.grow(total);
        self.values.intern(&arguments[0], &mut self.ids)?;
        each_valid(&arguments[0], |row| {
            let (group, value) = (groups[row], self.ids[row]);
            if self.pairs.insert(group, value).1 {
                self.counts[group as usize] += 1;
                self.held += self.values.length(value);
            }
        });
        check_held("count_distinct", self.held)
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        let (values, groups) = spread(&state[0], groups);
        self.update(&[values], &groups, total)
    }

    fn reset(&mut self, groups: &[u32], total: usize) {
        self.grow(total);
        for group in places(groups) {
            let lengths = self.pairs.of(group).map(|(_, value)| self.values.length(value));
            self.held -= lengths.sum::<usize>();
            self.pairs.retain(group, |_| false);
            self.counts[group] = 0;
        }
    }

    fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        let items = places(groups).flat_map(|group| self.pairs.of(group));
        let items: Vec<u32> = items.map(|(_, value)| value).collect();
        let lengths = places(groups).map(|group| self.pairs.of(group).count());
        vec![list_array(
            OffsetBuffer::from_lengths(lengths),
            self.values.array(&items),
            None,
        )]
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        Arc::new(places(groups).map(|group| self.counts[group]).collect::<Int64Array>())
    }

    fn memory(&self) -> usize {
        self.values.memory() + self.pairs.memory() + memory::of(&self.counts) + memory::of(&self.ids)
    }

    fn clear(&mut self) {
        self.values.clear();
        self.pairs.clear();
        self.counts.clear();
        self.held = 0;
    }

    fn is_full(&self) -> bool {
        self.pairs.is_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_groups_with_many_values_fill_a_partial() {
        let mut distinct = CountDistinct::new(&DataType::Int64);
        let mut rows = 0;
        while !distinct.is_full() {
            let values: ArrayRef = Arc::new((rows..rows + 8192).collect::<Int64Array>());
            distinct.update(&[values], &[1; 8192], 2).expect("numbers");
            rows += 8192;
        }
        assert_eq!(rows, 1 << 18);
        assert_eq!(
            &distinct.evaluate(&[0, 1]),
            &(Arc::new(Int64Array::from(vec![0, rows])) as ArrayRef)
        );
        distinct.reset(&[1], 2);
        assert_eq!((distinct.held, distinct.pairs.len()), (0, 0));
        distinct.clear();
        assert!(!distinct.is_full());
    }
}
