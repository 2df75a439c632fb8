//! A table of short keys with a count each, for a worker whose query is a lone `count(*)`.
//!
//! ```text
//! slot, 32 bytes, open addressing
//! word 0 .. 2                             word 3, top byte          word 3, the rest
//! the key's bytes, zero-padded to 24      length + 1; 0: no key     count, 56 bits
//! ```
//! Key and count are one cache line, where a table with ids has three: the slot, the key, the count. The highest bits of a hash
//! choose the slot, as they choose the state's shard: so the keys of a shard stand together, and a merge reads the table from
//! its start to its end. No hash is kept; a merge makes it again from the words, which costs less than a line of memory.

use super::run::{Places, RUN, Run};
use crate::kernel::hash::{Seed, hash_packed};
use crate::kernel::pack::Packed;
use crate::kernel::prefetch::prefetch;
use crate::memory;

/// The longest key that fits.
pub(super) const SHORT_MAX: u32 = 24;

/// Slots of a table that has just begun.
const SLOTS_MIN: usize = 256;

/// Slots from which a table is prefetched: half of a usual second-level cache of a megabyte.
const SLOTS_FAR: usize = 1 << 14;

/// What the top byte of a slot is more than that of a packed key, so that a slot of zeros has no key.
const TAKEN: u64 = 1 << 56;

/// The bits of the last word that are the count.
const COUNT: u64 = TAKEN - 1;

/// Counts keys of up to 24 bytes, and null.
#[derive(Debug)]
pub struct CountTable {
    seed: Seed,
    slots: Vec<Slot>,
    keys: usize,
    run: Box<Run>,
}

/// A key and its count.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Slot([u64; 4]);

impl Slot {
    fn new(key: Packed, count: u64) -> Self {
        let [a, b, c, d] = key.0;
        Self([a, b, c, (d + TAKEN) | count])
    }

    #[inline(always)]
    fn is(&self, key: Packed) -> bool {
        let ([a, b, c, d], key) = (self.0, key.0);
        (a ^ key[0]) | (b ^ key[1]) | (c ^ key[2]) | (d ^ (key[3] + TAKEN)) & !COUNT == 0
    }

    #[inline]
    fn is_free(&self) -> bool {
        self.0[3] == 0
    }

    #[inline]
    fn key(&self) -> Packed {
        let [a, b, c, d] = self.0;
        Packed([a, b, c, (d & !COUNT) - TAKEN])
    }

    #[inline]
    fn count(&self) -> u64 {
        self.0[3] & COUNT
    }
}

impl CountTable {
    /// Returns an empty table whose hashes depend on `seed`.
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            slots: Vec::new(),
            keys: 0,
            run: Box::new(Run::new()),
        }
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// Returns whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// Returns the bytes of memory that the table holds, used or not.
    pub fn memory(&self) -> usize {
        memory::of(&self.slots)
    }

    /// Removes all keys; keeps the memory, unless it is far more than the keys needed.
    pub fn clear(&mut self) {
        if self.slots.len() > SLOTS_MIN.max(16 * self.keys) {
            self.slots = Vec::new();
        } else {
            self.slots.fill(Slot::default());
        }
        self.keys = 0;
    }

    /// Counts the keys of `rows` rows: `span` says where in `text` each one begins and ends, or that it is null. Hands those
    /// that are too long to `long`.
    ///
    /// # Panics
    /// When a span is out of range.
    #[inline(always)]
    pub(super) fn count(
        &mut self,
        text: &[u8],
        rows: usize,
        span: impl Fn(usize) -> Option<(u32, u32)>,
        mut long: impl FnMut(u32, u32),
    ) {
        for first in (0..rows).step_by(RUN) {
            let spans = (first..rows.min(first + RUN)).map(&span);
            self.run.fill_short(text, self.seed, spans, &mut long);
            self.count_run();
        }
    }

    /// Calls `take` with the keys and counts of every run of the keys whose hashes begin with `shard`, a number of `bits` bits.
    pub(super) fn for_each_run(&self, shard: usize, bits: u32, mut take: impl FnMut(&Run, &[i64])) {
        if self.is_empty() {
            return;
        }
        let shard_slots = self.slots.len() >> bits;
        let first = shard * shard_slots;
        let mut run = Run::new();
        let mut counts = [0; RUN];
        let mask = self.slots.len() - 1;
        // Keys that found their slots taken stand in the next free ones, maybe behind the last slot of the shard.
        let slots = (0..=mask).map(|step| (step, &self.slots[(first + step) & mask]));
        for (_, slot) in slots.take_while(|(step, slot)| *step < shard_slots || !slot.is_free()) {
            if slot.is_free() {
                continue;
            }
            let key = slot.key();
            let hash = hash_packed(key, self.seed);
            if hash >> (64 - bits) != shard as u64 {
                continue;
            }
            counts[run.len()] = slot.count().cast_signed();
            run.push(key, hash);
            if run.len() == RUN {
                take(&run, &counts);
                run.clear();
            }
        }
        take(&run, &counts[..run.len()]);
    }

    /// Counts the keys of the run.
    #[inline]
    fn count_run(&mut self) {
        self.reserve(self.run.len());
        let shift = self.shift();
        if self.slots.len() >= SLOTS_FAR {
            let hashes = self.run.hashes().iter();
            hashes.for_each(|&hash| prefetch(&self.slots, slot_index(hash, shift)));
        }
        let mut others = Places::new();
        for (place, (&key, &hash)) in self.run.keys().iter().zip(self.run.hashes()).enumerate() {
            let slot = &mut self.slots[slot_index(hash, shift)];
            let is = slot.is(key);
            slot.0[3] += u64::from(is);
            others.add_if(place, !is);
        }
        for place in others.iter() {
            let (key, hash) = self.run.get(place);
            self.keys += usize::from(add(&mut self.slots, shift, key, hash, 1));
        }
    }

    /// Makes room for `more` keys.
    #[inline]
    fn reserve(&mut self, more: usize) {
        let wanted = (self.keys + more) * 4 / 3 + 1;
        if wanted > self.slots.len() {
            self.grow(wanted.next_power_of_two().max(SLOTS_MIN));
        }
    }

    #[cold]
    fn grow(&mut self, slots: usize) {
        let before = std::mem::replace(&mut self.slots, vec![Slot::default(); slots]);
        let shift = self.shift();
        for slot in before.iter().filter(|slot| !slot.is_free()) {
            let key = slot.key();
            add(&mut self.slots, shift, key, hash_packed(key, self.seed), slot.count());
        }
    }

    /// Returns by how much a hash is shifted to be the index of a slot.
    fn shift(&self) -> u32 {
        64 - self.slots.len().trailing_zeros()
    }
}

/// Adds `count` to that of a key; returns whether the key is new.
#[inline]
fn add(slots: &mut [Slot], shift: u32, key: Packed, hash: u64, count: u64) -> bool {
    let mask = slots.len() - 1;
    let mut index = slot_index(hash, shift);
    loop {
        let slot = &mut slots[index];
        if slot.is(key) {
            slot.0[3] += count;
            return false;
        }
        if slot.is_free() {
            *slot = Slot::new(key, count);
            return true;
        }
        index = (index + 1) & mask;
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "it is less than the number of slots")]
fn slot_index(hash: u64, shift: u32) -> usize {
    (hash >> shift) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::group::bytes::BytesTable;

    const SEED: Seed = Seed(11, 12);
    const BITS: u32 = 6;

    type Counts = BTreeMap<Option<Vec<u8>>, i64>;

    /// Counts the words; returns the table, and the words that were too long.
    fn count(table: &mut CountTable, words: &[Option<Vec<u8>>]) -> Vec<Vec<u8>> {
        let text: Vec<u8> = words.iter().flatten().flatten().copied().collect();
        let mut end = 0;
        let spans: Vec<_> = words
            .iter()
            .map(|word| {
                let start = end;
                end += word
                    .as_ref()
                    .map_or(0, |word| u32::try_from(word.len()).expect("small"));
                word.as_ref().map(|_| (start, end))
            })
            .collect();
        let mut long = vec![];
        let span = |row: usize| spans[row];
        table.count(&text, words.len(), span, |start, end| {
            long.push(text[start as usize..end as usize].to_vec());
        });
        long
    }

    /// Takes all shards of the table over into tables of their own, one after the other.
    fn counts(table: &CountTable) -> Counts {
        let mut all = Counts::new();
        for shard in 0..1 << BITS {
            let mut into = BytesTable::new(SEED);
            let (mut ids, mut counts) = (vec![], vec![]);
            into.intern_counted(table, shard, BITS, &mut ids, &mut counts);
            assert_eq!(
                (into.len(), counts.len()),
                (ids.len(), ids.len()),
                "each key is there once"
            );
            assert!(into.hashes().iter().all(|hash| hash >> (64 - BITS) == shard as u64));
            let mut keys = vec![];
            into.for_each_key(&ids, |key| keys.push(key.map(<[u8]>::to_vec)));
            all.extend(keys.into_iter().zip(counts));
        }
        all
    }

    #[track_caller]
    fn check(table: &mut CountTable, words: &[Option<Vec<u8>>]) {
        let (mut expected, mut long_expected) = (Counts::new(), vec![]);
        for word in words {
            match word {
                Some(word) if word.len() > SHORT_MAX as usize => long_expected.push(word.clone()),
                _ => *expected.entry(word.clone()).or_default() += 1,
            }
        }
        assert_eq!(count(table, words), long_expected);
        assert_eq!(counts(table), expected);
        assert_eq!(table.len(), expected.len());
    }

    fn numbers(numbers: impl Iterator<Item = u32>) -> Vec<Option<Vec<u8>>> {
        numbers.map(|number| Some(number.to_string().into_bytes())).collect()
    }

    #[test]
    fn counts_survive_growth_and_a_cleared_table_starts_again() {
        let mut table = CountTable::new(SEED);
        check(&mut table, &numbers((0..100_000).map(|number| number % 30_011)));
        let large = table.memory();
        table.clear();
        check(&mut table, &numbers(0..10));
        table.clear();
        assert!(table.memory() < large, "far more than ten keys need");
        check(&mut table, &[]);
        check(&mut table, &numbers(0..3000));
    }

    #[test]
    fn keys_of_one_hash_are_told_apart_wherever_they_end_up() {
        // All shards' keys from the last slot on, so that they go on at the first ones.
        for hash in [u64::MAX, 0, 1 << 58, (1 << 58) - 1] {
            let mut slots = vec![Slot::default(); SLOTS_MIN];
            let keys: Vec<_> = (0..100_u64).map(|number| Packed([number, 0, 0, 8 << 56])).collect();
            for round in 0..2 {
                for &key in &keys {
                    assert_eq!(add(&mut slots, 56, key, hash, 2), round == 0);
                }
            }
            assert_eq!(slots.iter().filter(|slot| !slot.is_free()).count(), keys.len());
            assert!(slots.iter().all(|slot| slot.is_free() || slot.count() == 4));
        }
    }

    #[test]
    fn what_comes_before_the_count_is_the_key() {
        for key in [
            Packed::new(b"", 0, 0),
            Packed::new(&[255; 24], 0, 24),
            super::super::bytes::NULL,
        ] {
            let slot = Slot::new(key, COUNT);
            assert!(slot.is(key) && !slot.is_free());
            assert_eq!((slot.key(), slot.count()), (key, COUNT));
            assert!(!Slot::default().is(key));
        }
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_plain_map(
            words in prop::collection::vec(prop::option::weighted(0.9, prop::collection::vec(0..3_u8, 0..30)), 0..1500),
        ) {
            check(&mut CountTable::new(SEED), &words);
        }
    }
}
