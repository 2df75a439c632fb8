//! `string_agg(x, separator, bytes)` and `array_agg(x, bytes)`: all values of a group in their order, with a bound.
//!
//! Equal values are kept once, with how many there are. The result is sorted, so that it does not depend on the order in
//! which rows arrive; an `array_agg` has its nulls last, and a `string_agg` none. The state is a list of values and a
//! list of counts.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, StringBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;

use super::tally::{Tally, flatten, list_array};
use super::values::{Values, check_held};
use super::{Accumulator, each_valid, places};
use crate::error::{Error, Result};
use crate::memory;

/// Bytes that an element of a list takes beside its value: its offset.
const ELEMENT_BYTES: usize = 4;

/// What is made of the values.
#[derive(Debug)]
pub(super) enum Form {
    /// One string, with a separator.
    Text(String),
    /// A list.
    List,
}

/// Keeps all values.
#[derive(Debug)]
pub(super) struct Collect {
    form: Form,
    bytes_max: usize,
    values: Values,
    tally: Tally,
    /// By group: the bytes of its result.
    bytes: Vec<usize>,
    held: usize,
    ids: Vec<u32>,
}

impl Collect {
    pub(super) fn new(form: Form, bytes_max: usize, argument: &DataType) -> Self {
        Self {
            form,
            bytes_max,
            values: Values::new(argument),
            tally: Tally::new(),
            bytes: Vec::new(),
            held: 0,
            ids: Vec::new(),
        }
    }

    fn grow(&mut self, total: usize) {
        self.tally.grow(total);
        self.bytes.resize(total, 0);
    }

    fn name(&self) -> &'static str {
        match self.form {
            Form::Text(_) => "string_agg",
            Form::List => "array_agg",
        }
    }

    /// Takes rows in, each as often as `counts` says, or once.
    fn add(&mut self, values: &ArrayRef, counts: Option<&[i64]>, groups: &[u32]) -> Result<()> {
        self.values.intern(values, &mut self.ids)?;
        let more = match &self.form {
            Form::Text(separator) => separator.len(),
            Form::List => ELEMENT_BYTES,
        };
        let mut largest = 0;
        let mut take = |row: usize| {
            let (group, value, count) = (groups[row], self.ids[row], counts.map_or(1, |counts| counts[row]));
            self.tally.add(group, value, count);
            let added = (self.values.length(value) + more).saturating_mul(usize::try_from(count).unwrap_or(0));
            let bytes = &mut self.bytes[group as usize];
            *bytes = bytes.saturating_add(added);
            self.held = self.held.saturating_add(added);
            largest = largest.max(*bytes);
        };
        match self.form {
            Form::Text(_) => each_valid(values, take),
            Form::List => (0..values.len()).for_each(&mut take),
        }
        if largest > self.bytes_max {
            return Err(Error::Limit(format!(
                "{} has a group of {largest} bytes, at most {} are allowed; its last argument is this bound",
                self.name(),
                self.bytes_max
            )));
        }
        check_held(self.name(), self.held)
    }

    /// Returns the values of a group in their order, each with its count.
    fn sorted(&self, group: usize) -> Vec<(u32, usize)> {
        let (ids, counts): (Vec<u32>, Vec<i64>) = self.tally.of(group).unzip();
        let keys = self.values.encoded(&ids);
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_unstable_by_key(|&at| (self.values.is_null(ids[at]), keys.value(at)));
        let counted = |at: usize| (ids[at], usize::try_from(counts[at]).unwrap_or(0));
        order.into_iter().map(counted).collect()
    }

    fn lists(&self, groups: &[u32]) -> ArrayRef {
        let mut ids = vec![];
        let lengths: Vec<usize> = places(groups)
            .map(|group| {
                let before = ids.len();
                for (id, count) in self.sorted(group) {
                    ids.extend(std::iter::repeat_n(id, count));
                }
                ids.len() - before
            })
            .collect();
        let nulls = NullBuffer::from_iter(lengths.iter().map(|&length| length > 0));
        list_array(
            OffsetBuffer::from_lengths(lengths),
            self.values.array(&ids),
            Some(nulls),
        )
    }

    fn texts(&self, groups: &[u32], separator: &str) -> StringArray {
        let mut texts = StringBuilder::new();
        let mut text = String::new();
        for group in places(groups) {
            let sorted = self.sorted(group);
            if sorted.is_empty() {
                texts.append_null();
                continue;
            }
            let (ids, counts): (Vec<u32>, Vec<usize>) = sorted.into_iter().unzip();
            text.clear();
            for (value, count) in self.values.encoded(&ids).iter().zip(counts) {
                let value = String::from_utf8_lossy(value.unwrap_or_default());
                for _ in 0..count {
                    text.push_str(&value);
                    text.push_str(separator);
                }
            }
            texts.append_value(&text[..text.len() - separator.len()]);
        }
        texts.finish()
    }
}

impl Accumulator for Collect {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.grow(total);
        self.add(&arguments[0], None, groups)
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.grow(total);
        let (values, counts, groups) = flatten(state, groups);
        self.add(&values, Some(&counts), &groups)
    }

    fn reset(&mut self, groups: &[u32], total: usize) {
        self.grow(total);
        self.tally.reset(groups);
        for group in places(groups) {
            self.held -= std::mem::take(&mut self.bytes[group]);
        }
    }

    fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        let lists = self.tally.lists(groups);
        let values = self.values.array(&lists.items);
        lists.into_state(values)
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        match &self.form {
            Form::Text(separator) => Arc::new(self.texts(groups, separator)),
            Form::List => self.lists(groups),
        }
    }

    fn memory(&self) -> usize {
        self.values.memory() + self.tally.memory() + memory::of(&self.bytes) + memory::of(&self.ids)
    }

    fn clear(&mut self) {
        self.values.clear();
        self.tally.clear();
        self.bytes.clear();
        self.held = 0;
    }

    fn is_full(&self) -> bool {
        self.tally.is_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Updates with strings in one group, and returns the error's message.
    #[track_caller]
    fn check(form: Form, bytes_max: usize, strings: Vec<&str>, expected: Option<&str>) {
        let mut collect = Collect::new(form, bytes_max, &DataType::Utf8);
        let values: ArrayRef = Arc::new(StringArray::from(strings));
        let groups = vec![0; values.len()];
        let found = collect.update(&[Arc::clone(&values)], &groups, 1);
        assert_eq!(found.err().map(|error| error.to_string()).as_deref(), expected);

        // Two halves that are small enough may be too large together.
        let half = values.len() / 2;
        let mut merged = Collect::new(Form::List, usize::MAX, &DataType::Utf8);
        std::mem::swap(&mut merged.form, &mut collect.form);
        merged.bytes_max = bytes_max;
        let mut result = Ok(());
        for (from, to) in [(0, half), (half, values.len())] {
            let form = match &merged.form {
                Form::Text(separator) => Form::Text(separator.clone()),
                Form::List => Form::List,
            };
            let mut partial = Collect::new(form, usize::MAX, &DataType::Utf8);
            partial
                .update(&[values.slice(from, to - from)], &groups[from..to], 1)
                .expect("no bound");
            result = result.and_then(|()| merged.merge(&partial.state(&[0]), &[0], 1));
        }
        assert_eq!(result.err().map(|error| error.to_string()).as_deref(), expected);
    }

    #[test]
    fn a_group_may_have_its_bound_and_not_a_byte_more() {
        let text = || Form::Text("--".to_owned());
        check(
            text(),
            12,
            vec!["aa", "aa", "b", "a"],
            Some("string_agg has a group of 14 bytes, at most 12 are allowed; its last argument is this bound"),
        );
        check(text(), 14, vec!["aa", "aa", "b", "a"], None);
        check(
            Form::List,
            21,
            vec!["aa", "aa", "b", "a"],
            Some("array_agg has a group of 22 bytes, at most 21 are allowed; its last argument is this bound"),
        );
        check(Form::List, 22, vec!["aa", "aa", "b", "a"], None);
    }
}
