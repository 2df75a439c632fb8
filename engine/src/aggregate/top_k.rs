//! `top_k(x, k)`: the most frequent values with their counts, by Misra-Gries counters that are mergeable (Agarwal et al.:
//! "Mergeable summaries", 2012).
//!
//! A group has up to 2c counters, with c the greater of 1024 and 16 k. With one more, the c-th but first count is taken off
//! all of them, and those that have no more are dropped. So counts are exact while a group has at most 2c different
//! values; beyond, a count is never too large, and too small by at most n / (c + 1) for a group of n values. Every value
//! that is more frequent than n / (c + 1) is there.
//!
//! The state is a list of values and a list of counts; the result a list of structs, the most frequent value first, and
//! values of one count in their order.

use std::cmp::Reverse;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields};

use super::tally::{Tally, flatten, list_array};
use super::values::{Values, check_held};
use super::{Accumulator, each_valid, places};
use crate::error::Result;
use crate::memory;

/// Counters of a group, at least. One takes about 50 bytes and its value's.
const COUNTERS_MIN: usize = 1024;

/// Counters for each value that is asked for: a value that has more than a 16k-th of all rows is never missed.
const COUNTERS_A_VALUE: usize = 16;

/// Values without a counter that are kept until all values are interned anew.
const UNUSED_MAX: usize = 1 << 16;

/// Counts frequent values.
#[derive(Debug)]
pub(super) struct TopK {
    k: usize,
    counters: usize,
    argument: DataType,
    values: Values,
    tally: Tally,
    /// By group: its counters.
    used: Vec<u32>,
    /// Bytes of the values as the state would list them.
    held: usize,
    ids: Vec<u32>,
}

impl TopK {
    pub(super) fn new(k: usize, argument: &DataType) -> Self {
        Self {
            k,
            counters: COUNTERS_MIN.max(COUNTERS_A_VALUE * k),
            argument: argument.clone(),
            values: Values::new(argument),
            tally: Tally::new(),
            used: Vec::new(),
            held: 0,
            ids: Vec::new(),
        }
    }

    fn grow(&mut self, total: usize) {
        self.tally.grow(total);
        self.used.resize(total, 0);
    }

    /// Counts rows, each as often as `counts` says, or once.
    fn count(&mut self, values: &ArrayRef, counts: Option<&[i64]>, groups: &[u32]) -> Result<()> {
        let mut ids = std::mem::take(&mut self.ids);
        self.values.intern(values, &mut ids)?;
        each_valid(values, |row| {
            self.add(groups[row], ids[row], counts.map_or(1, |counts| counts[row]));
        });
        self.ids = ids;
        if self.values.len() > 2 * self.tally.len() + UNUSED_MAX {
            self.forget_unused()?;
        }
        check_held("top_k", self.held)
    }

    #[inline]
    fn add(&mut self, group: u32, value: u32, count: i64) {
        if self.tally.add(group, value, count) {
            self.used[group as usize] += 1;
            self.held += self.values.length(value);
            if self.used[group as usize] as usize > 2 * self.counters {
                self.prune(group as usize);
            }
        }
    }

    /// Takes the count of the first counter too many off all.
    #[cold]
    fn prune(&mut self, group: usize) {
        let mut counts: Vec<i64> = self.tally.of(group).map(|(_, count)| count).collect();
        let (_, &mut excess, _) = counts.select_nth_unstable_by_key(self.counters, |&count| Reverse(count));
        self.held -= self.held_by(group);
        self.tally.subtract(group, excess);
        self.held += self.held_by(group);
        let used = self.tally.of(group).count();
        self.used[group] = u32::try_from(used).expect("fewer than before");
    }

    fn held_by(&self, group: usize) -> usize {
        self.tally.of(group).map(|(value, _)| self.values.length(value)).sum()
    }

    /// Interns the values that have a counter anew, so that the memory of all others is free.
    #[cold]
    fn forget_unused(&mut self) -> Result<()> {
        let groups: Vec<u32> = (0..u32::try_from(self.used.len()).expect("ids are 32-bit")).collect();
        let state = self.state(&groups);
        self.clear();
        self.merge(&state, &groups, groups.len())
    }

    /// Appends the most frequent values of a group to `values` and `counts`; returns how many.
    fn append_top(&self, group: usize, values: &mut Vec<u32>, counts: &mut Vec<i64>) -> usize {
        let mut found: Vec<(u32, i64)> = self.tally.of(group).collect();
        if found.len() > self.k {
            let (_, &mut (_, least), _) = found.select_nth_unstable_by_key(self.k - 1, |&(_, count)| Reverse(count));
            found.retain(|&(_, count)| count >= least);
        }
        let (ids, numbers): (Vec<u32>, Vec<i64>) = found.into_iter().unzip();
        let keys = self.values.encoded(&ids);
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_unstable_by_key(|&at| (Reverse(numbers[at]), keys.value(at)));
        order.truncate(self.k);
        values.extend(order.iter().map(|&at| ids[at]));
        counts.extend(order.iter().map(|&at| numbers[at]));
        order.len()
    }
}

/// Returns the type of an element of the result.
pub(super) fn item_type(argument: &DataType) -> DataType {
    DataType::Struct(fields(argument))
}

fn fields(argument: &DataType) -> Fields {
    let value = Field::new("value", argument.clone(), false);
    vec![value, Field::new("count", DataType::Int64, false)].into()
}

impl Accumulator for TopK {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.grow(total);
        self.count(&arguments[0], None, groups)
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.grow(total);
        let (values, counts, groups) = flatten(state, groups);
        self.count(&values, Some(&counts), &groups)
    }

    fn reset(&mut self, groups: &[u32], total: usize) {
        self.grow(total);
        for group in places(groups) {
            self.held -= self.held_by(group);
            self.used[group] = 0;
        }
        self.tally.reset(groups);
    }

    fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        let lists = self.tally.lists(groups);
        let values = self.values.array(&lists.items);
        lists.into_state(values)
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        let (mut values, mut counts) = (vec![], vec![]);
        let lengths: Vec<usize> = places(groups)
            .map(|group| self.append_top(group, &mut values, &mut counts))
            .collect();
        let columns: Vec<ArrayRef> = vec![self.values.array(&values), Arc::new(Int64Array::from(counts))];
        let items = StructArray::new(fields(&self.argument), columns, None);
        let nulls = NullBuffer::from_iter(lengths.iter().map(|&length| length > 0));
        list_array(OffsetBuffer::from_lengths(lengths), Arc::new(items), Some(nulls))
    }

    fn memory(&self) -> usize {
        self.values.memory() + self.tally.memory() + memory::of(&self.used) + memory::of(&self.ids)
    }

    fn clear(&mut self) {
        self.values.clear();
        self.tally.clear();
        self.used.clear();
        self.held = 0;
    }

    fn is_full(&self) -> bool {
        self.tally.is_full()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::array::{AsArray, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    /// Rows of a skewed stream: a few values are frequent, most are there once.
    fn skewed(rows: u64) -> Vec<String> {
        let word = |number: u64| {
            let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
            match random % 10 {
                0..4 => format!("frequent-{}", random / 10 % 20),
                _ => format!("rare-{number}"),
            }
        };
        (0..rows).map(word).collect()
    }

    fn counts(result: &ArrayRef) -> Vec<(String, i64)> {
        let items = result.as_list::<i32>().value(0);
        let (values, counts) = (items.as_struct().column(0), items.as_struct().column(1));
        let counts = counts.as_primitive::<Int64Type>();
        let item = |row: usize| (values.as_string::<i32>().value(row).to_owned(), counts.value(row));
        (0..items.len()).map(item).collect()
    }

    #[test]
    fn counts_beyond_the_counters_are_within_the_bound() {
        const ROWS: u64 = 300_000;
        let words = skewed(ROWS);
        let mut exact: HashMap<&str, i64> = HashMap::new();
        words.iter().for_each(|word| *exact.entry(word).or_default() += 1);

        let mut merged = TopK::new(20, &DataType::Utf8);
        for words in words.chunks(ROWS as usize / 3 + 1) {
            let mut partial = TopK::new(20, &DataType::Utf8);
            for words in words.chunks(8192) {
                let values: ArrayRef = Arc::new(StringArray::from_iter_values(words));
                partial.update(&[values], &vec![0; words.len()], 1).expect("words");
            }
            assert!(partial.tally.len() <= 2 * COUNTERS_MIN);
            assert!(
                partial.values.len() <= 4 * COUNTERS_MIN + UNUSED_MAX + 8192,
                "what has no counter is forgotten"
            );
            merged.merge(&partial.state(&[0]), &[0], 1).expect("a state");
        }
        let bound = ROWS as i64 / (COUNTERS_MIN as i64 + 1);
        let found = counts(&merged.evaluate(&[0]));
        assert_eq!(found.len(), 20);
        for (word, count) in found {
            assert!(word.starts_with("frequent-"), "{word}");
            let exact = exact[word.as_str()];
            assert!((exact - bound..=exact).contains(&count), "{word}: {count}, not {exact}");
        }
    }

    #[test]
    fn values_of_one_count_are_in_their_order() {
        let mut top = TopK::new(3, &DataType::Utf8);
        let values: ArrayRef = Arc::new(StringArray::from(vec!["d", "b", "c", "e", "a", "e"]));
        top.update(&[values], &[0; 6], 1).expect("words");
        let expected = [("e", 2), ("a", 1), ("b", 1)].map(|(word, count)| (word.to_owned(), count));
        assert_eq!(counts(&top.evaluate(&[0])), expected);
    }
}
