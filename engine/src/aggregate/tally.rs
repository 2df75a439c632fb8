//! Counts of items by group, and their state: a list of items and a list of counts a group.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Int64Type};

use super::pairs::Pairs;
use super::places;
use crate::memory;

/// Counts of items by group.
#[derive(Debug)]
pub(super) struct Tally {
    pairs: Pairs,
    /// By the pair's place.
    counts: Vec<i64>,
}

/// The items of some groups, one list a group.
pub(super) struct Lists {
    pub(super) offsets: OffsetBuffer<i32>,
    pub(super) items: Vec<u32>,
    counts: Vec<i64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            pairs: Pairs::new(),
            counts: Vec::new(),
        }
    }

    /// Returns the bytes of memory that the counts hold, used or not.
    pub(super) fn memory(&self) -> usize {
        self.pairs.memory() + memory::of(&self.counts)
    }

    /// Returns the number of pairs of a group and an item.
    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Returns whether a worker should give its counts away.
    pub(super) fn is_full(&self) -> bool {
        self.pairs.is_full()
    }

    pub(super) fn grow(&mut self, total: usize) {
        self.pairs.grow(total);
    }

    /// Counts an item of a group; returns whether it is new.
    #[inline]
    pub(super) fn add(&mut self, group: u32, item: u32, count: i64) -> bool {
        let (place, is_new) = self.pairs.insert(group, item);
        if place == self.counts.len() {
            self.counts.push(count);
        } else if is_new {
            self.counts[place] = count;
        } else {
            self.counts[place] += count;
        }
        is_new
    }

    /// Returns the items of a group with their counts.
    pub(super) fn of(&self, group: usize) -> impl Iterator<Item = (u32, i64)> + '_ {
        self.pairs.of(group).map(|(place, item)| (item, self.counts[place]))
    }

    /// Takes `count` off every item of a group, and removes those that have no more.
    pub(super) fn subtract(&mut self, group: usize, count: i64) {
        let counts = &mut self.counts;
        self.pairs.retain(group, |place| {
            counts[place] -= count;
            counts[place] > 0
        });
    }

    pub(super) fn reset(&mut self, groups: &[u32]) {
        places(groups).for_each(|group| self.pairs.retain(group, |_| false));
    }

    pub(super) fn clear(&mut self) {
        self.pairs.clear();
        self.counts.clear();
    }

    /// Returns the items of the groups.
    pub(super) fn lists(&self, groups: &[u32]) -> Lists {
        let (mut items, mut counts) = (vec![], vec![]);
        let lengths = places(groups).map(|group| {
            let before = items.len();
            for (item, count) in self.of(group) {
                items.push(item);
                counts.push(count);
            }
            items.len() - before
        });
        Lists {
            offsets: OffsetBuffer::from_lengths(lengths),
            items,
            counts,
        }
    }
}

impl Lists {
    /// Returns the state: the items, as `values` gives them, and the counts.
    pub(super) fn into_state(self, values: ArrayRef) -> Vec<ArrayRef> {
        let counts = Arc::new(Int64Array::from(self.counts));
        vec![
            list_array(self.offsets.clone(), values, None),
            list_array(self.offsets, counts, None),
        ]
    }
}

/// Returns the types of the state of items of type `item`.
pub(super) fn state_types(item: DataType) -> Vec<DataType> {
    vec![list_type(item), list_type(DataType::Int64)]
}

/// Returns the items of a state made by [`Lists::into_state`] one a row, with their counts and their groups.
pub(super) fn flatten(state: &[ArrayRef], groups: &[u32]) -> (ArrayRef, Vec<i64>, Vec<u32>) {
    let (values, groups) = spread(&state[0], groups);
    let (counts, _) = spread(&state[1], &[]);
    (values, counts.as_primitive::<Int64Type>().values().to_vec(), groups)
}

/// Returns the elements of a list column one a row, and the group of each; `groups` has one a list.
pub(super) fn spread(lists: &ArrayRef, groups: &[u32]) -> (ArrayRef, Vec<u32>) {
    let lists = lists.as_list::<i32>();
    let offsets = lists.offsets();
    let place = |offset: i32| usize::try_from(offset).expect("Arrow offsets are never negative");
    let (first, last) = (place(offsets[0]), place(offsets[lists.len()]));
    let repeated = groups
        .iter()
        .zip(offsets.lengths())
        .flat_map(|(&group, length)| std::iter::repeat_n(group, length));
    (lists.values().slice(first, last - first), repeated.collect())
}

/// Returns the type of a list column of elements of type `item`.
pub(super) fn list_type(item: DataType) -> DataType {
    DataType::new_list(item, true)
}

/// Returns a list column.
pub(super) fn list_array(offsets: OffsetBuffer<i32>, values: ArrayRef, nulls: Option<NullBuffer>) -> ArrayRef {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Arc::new(ListArray::new(field, offsets, values, nulls))
}
