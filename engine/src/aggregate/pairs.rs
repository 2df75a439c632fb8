//! A set of pairs of a group and an item, which also tells the items of each group.
//!
//! ```text
//! slots (hash table)            links, by place             heads, by group
//! +--------------------+        +------------+              +-------+
//! | group  item  place | -----> | item  next | <----------- | place |     the newest link of the group
//! +--------------------+        +------------+              +-------+
//! ```
//! One table for all groups: a set for each would cost an allocation a group, and most groups are small.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::kernel::hash::{Seed, hash_number};
use crate::memory;

/// Pairs after which a worker's set is merged: they take about 10 MiB.
const PARTIAL_PAIRS_MAX: usize = 1 << 18;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Pairs {
    seed: Seed,
    slots: HashTable<Slot>,
    links: Vec<Link>,
    /// The first link that is not in use.
    free: u32,
    heads: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    group: u32,
    item: u32,
    place: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    item: u32,
    next: u32,
}

impl Pairs {
    pub(super) fn new() -> Self {
        Self {
            seed: Seed::random(),
            slots: HashTable::new(),
            links: Vec::new(),
            free: NONE,
            heads: Vec::new(),
        }
    }

    /// Returns the bytes of memory that the pairs hold, used or not.
    pub(super) fn memory(&self) -> usize {
        self.slots.allocation_size() + memory::of(&self.links) + memory::of(&self.heads)
    }

    /// Returns the number of pairs.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns whether a worker should give its pairs away, since they have outgrown the caches.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= PARTIAL_PAIRS_MAX
    }

    /// Makes room for the groups below `total`.
    pub(super) fn grow(&mut self, total: usize) {
        self.heads.resize(total, NONE);
    }

    /// Returns the place of a pair, and whether it is new.
    #[inline]
    pub(super) fn insert(&mut self, group: u32, item: u32) -> (usize, bool) {
        let seed = self.seed;
        let is_pair = |slot: &Slot| slot.group == group && slot.item == item;
        let hash_slot = |slot: &Slot| hash(slot.group, slot.item, seed);
        let vacant = match self.slots.entry(hash(group, item, seed), is_pair, hash_slot) {
            Entry::Occupied(found) => return (found.get().place as usize, false),
            Entry::Vacant(vacant) => vacant,
        };
        let head = &mut self.heads[group as usize];
        let link = Link { item, next: *head };
        let place = match self.free {
            NONE => {
                self.links.push(link);
                u32::try_from(self.links.len() - 1).expect("memory ends before 4 billion pairs")
            }
            free => {
                self.free = self.links[free as usize].next;
                self.links[free as usize] = link;
                free
            }
        };
        *head = place;
        vacant.insert(Slot { group, item, place });
        (place as usize, true)
    }

    /// Returns the places and items of a group, the newest first.
    pub(super) fn of(&self, group: usize) -> impl Iterator<Item = (usize, u32)> + '_ {
        let mut place = self.heads[group];
        std::iter::from_fn(move || {
            let link = self.links.get(place as usize)?;
            let found = (place as usize, link.item);
            place = link.next;
            Some(found)
        })
    }

    /// Removes the pairs of a group whose place `keep` does not want.
    pub(super) fn retain(&mut self, group: usize, mut keep: impl FnMut(usize) -> bool) {
        let id = u32::try_from(group).expect("ids are 32-bit");
        let mut place = std::mem::replace(&mut self.heads[group], NONE);
        while place != NONE {
            let Link { item, next } = self.links[place as usize];
            let list = match keep(place as usize) {
                true => &mut self.heads[group],
                false => {
                    let is_pair = |slot: &Slot| slot.group == id && slot.item == item;
                    if let Ok(found) = self.slots.find_entry(hash(id, item, self.seed), is_pair) {
                        found.remove();
                    }
                    &mut self.free
                }
            };
            self.links[place as usize].next = std::mem::replace(list, place);
            place = next;
        }
    }

    /// Removes all pairs; keeps the memory, unless it is far more than the pairs needed.
    pub(super) fn clear(&mut self) {
        if self.slots.capacity() > 16 * self.len() {
            self.slots = HashTable::new();
        } else {
            self.slots.clear();
        }
        self.links.clear();
        self.free = NONE;
        self.heads.clear();
    }
}

#[inline]
fn hash(group: u32, item: u32, seed: Seed) -> u64 {
    hash_number(u64::from(group) << 32 | u64::from(item), seed)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn items(pairs: &Pairs, group: usize) -> BTreeSet<u32> {
        pairs.of(group).map(|(_, item)| item).collect()
    }

    proptest! {
        #[test]
        fn pairs_are_those_of_a_set_for_each_group(
            steps in prop::collection::vec((0..4_u32, 0..40_u32, 0..12_u32), 0..400)
        ) {
            let mut pairs = Pairs::new();
            pairs.grow(4);
            let mut naive: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
            for (group, item, action) in steps {
                match action {
                    0 => {
                        let odd: BTreeMap<usize, bool> =
                            pairs.of(group as usize).map(|(place, item)| (place, item % 2 == 1)).collect();
                        pairs.retain(group as usize, |place| odd[&place]);
                        naive.entry(group).or_default().retain(|item| item % 2 == 1);
                    }
                    _ => {
                        let (place, is_new) = pairs.insert(group, item);
                        prop_assert_eq!(is_new, naive.entry(group).or_default().insert(item));
                        prop_assert!(pairs.of(group as usize).any(|found| found == (place, item)));
                    }
                }
            }
            for group in 0..4 {
                let expected = naive.get(&group).cloned().unwrap_or_default();
                prop_assert_eq!(items(&pairs, group as usize), expected);
            }
            prop_assert_eq!(pairs.len(), naive.values().map(BTreeSet::len).sum::<usize>());
            pairs.clear();
            pairs.grow(1);
            prop_assert_eq!(pairs.insert(0, 7), (0, true));
        }
    }
}
