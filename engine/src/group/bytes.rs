//! A table of byte strings with dense ids.
//!
//! ```text
//! slots (open addressing, 20 bytes each)          by id
//! +----------------------------+------+           keys    u128   as below, with the arena's offset for other keys
//! | key: u128                  | id   |           hashes  u64    kept, so that nothing is hashed twice
//! +----------------------------+------+           arena   bytes  of the middle and long keys
//! short (<= 15 bytes)   the bytes, and the length as top byte
//! middle (16 to 31)     in slots of their own, of 40 bytes: see `middle`
//! long                  hash (low 64 bits), length (32 bits), top byte 0xff; then the arena decides
//! null                  top byte 0xfe
//! ```
//! Keys are taken in runs of 256: make keys and hashes, prefetch the slots, then probe. The prefetch costs 20 % while
//! the table fits the second-level cache, so small tables go without.

use super::middle::{MIDDLE_MAX, MiddleKey, MiddleSlots};
use crate::kernel::hash::{Seed, hash_bytes, hash_packed};
use crate::kernel::pack::{SHORT_MAX, length, pack, unpack};
use crate::kernel::prefetch::prefetch;

/// Keys handled at once: their packed forms and hashes (18 KiB) stay in the first-level cache.
const RUN: usize = 256;

/// Slots from which the table is prefetched: 16,384 slots are 320 KiB, a third of a usual second-level cache.
const PREFETCH_SLOTS: usize = 1 << 14;

/// Slots of a table that has just begun.
const SLOTS_MIN: usize = 64;

const LONG: u128 = 0xff << 120;
const NULL: u128 = 0xfe << 120;
const EMPTY: u32 = u32::MAX;

/// Interns byte strings, and null, into dense ids.
#[derive(Debug)]
pub struct BytesTable {
    seed: Seed,
    slots: Vec<Slot>,
    middles: MiddleSlots,
    keys: Vec<u128>,
    hashes: Vec<u64>,
    arena: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// A `u128` in bytes, since its alignment would make the slot half as large again.
    key: [u8; 16],
    id: u32,
}

const FREE: Slot = Slot {
    key: [0; 16],
    id: EMPTY,
};

/// A run of keys on its way into the table.
struct Run {
    /// Short and long keys, and null.
    keys: [u128; RUN],
    /// Middle keys; none where another is.
    middles: [MiddleKey; RUN],
    hashes: [u64; RUN],
}

impl BytesTable {
    /// Returns an empty table whose hashes depend on `seed`.
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            slots: vec![FREE; SLOTS_MIN],
            middles: MiddleSlots::new(),
            keys: Vec::new(),
            hashes: Vec::new(),
            arena: Vec::new(),
        }
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns what the hashes depend on.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// Returns the hash of every key, by id.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Appends the id of every string `text[starts[i]..ends[i]]`.
    ///
    /// # Panics
    /// When a span is out of range, or there are 4 billion keys.
    pub fn intern_spans(&mut self, text: &[u8], starts: &[u32], ends: &[u32], ids: &mut Vec<u32>) {
        let mut run = Run::new();
        for (starts, ends) in starts.chunks(RUN).zip(ends.chunks(RUN)) {
            for (at, (&start, &end)) in starts.iter().zip(ends).enumerate() {
                run.load(at, text, start as usize, end as usize, self.seed);
            }
            self.intern_run(&run, starts.len(), ids, |at| {
                &text[starts[at] as usize..ends[at] as usize]
            });
        }
    }

    /// Appends the id of every row of an Arrow string or binary array given by its parts; `is_null` tells null rows.
    ///
    /// # Panics
    /// When the offsets are out of range, or there are 4 billion keys.
    pub fn intern_rows(&mut self, text: &[u8], offsets: &[i32], is_null: impl Fn(usize) -> bool, ids: &mut Vec<u32>) {
        let rows = offsets.len().saturating_sub(1);
        let span = |row: usize| (offset(offsets[row]), offset(offsets[row + 1]));
        let mut run = Run::new();
        for first in (0..rows).step_by(RUN) {
            let count = RUN.min(rows - first);
            for at in 0..count {
                let (start, end) = span(first + at);
                match is_null(first + at) {
                    true => run.put(at, NULL, hash_packed(NULL, self.seed)),
                    false => run.load(at, text, start, end, self.seed),
                }
            }
            self.intern_run(&run, count, ids, |at| {
                let (start, end) = span(first + at);
                &text[start..end]
            });
        }
    }

    /// Appends the id in this table of every key of `other` that `theirs` names, without hashing them again.
    ///
    /// # Panics
    /// When the tables have different seeds, or an id of `theirs` is none of `other`'s.
    pub fn intern_from(&mut self, other: &Self, theirs: &[u32], ids: &mut Vec<u32>) {
        assert_eq!(self.seed, other.seed, "the tables of a job share their seed");
        let mut run = Run::new();
        for theirs in theirs.chunks(RUN) {
            for (at, &id) in theirs.iter().enumerate() {
                let (key, hash) = (other.keys[id as usize], other.hashes[id as usize]);
                match is_middle(key) {
                    true => run.load(at, other.long_bytes(id), 0, long_length(key), self.seed),
                    false => run.put(at, slot_key(key, hash), hash),
                }
            }
            self.intern_run(&run, theirs.len(), ids, |at| other.long_bytes(theirs[at]));
        }
    }

    /// Calls `take` with the bytes of every key that `ids` names, `None` for the null key.
    ///
    /// # Panics
    /// When an id is none of this table's.
    pub fn for_each_key(&self, ids: &[u32], mut take: impl FnMut(Option<&[u8]>)) {
        for &id in ids {
            let key = self.keys[id as usize];
            match length(key) {
                0xff => take(Some(self.long_bytes(id))),
                0xfe => take(None),
                short => take(Some(&unpack(key)[..usize::from(short)])),
            }
        }
    }

    /// Removes all keys; keeps the memory, unless it is far more than the keys needed.
    pub fn clear(&mut self) {
        if self.slots.len() > SLOTS_MIN.max(16 * self.keys.len()) {
            self.slots = Vec::new();
            self.slots.resize(SLOTS_MIN, FREE);
        } else {
            self.slots.fill(FREE);
        }
        self.middles.clear();
        self.keys.clear();
        self.hashes.clear();
        self.arena.clear();
    }

    /// Returns the bytes of memory that the table holds.
    pub fn bytes(&self) -> usize {
        size_of::<Slot>() * self.slots.len() + self.middles.bytes() + 24 * self.keys.capacity() + self.arena.capacity()
    }

    /// Interns the first `count` keys of `run`; `bytes(i)` gives the bytes of its `i`-th key if that is a long one.
    #[inline]
    fn intern_run<'a>(&mut self, run: &Run, count: usize, ids: &mut Vec<u32>, bytes: impl Fn(usize) -> &'a [u8]) {
        self.reserve(count);
        self.middles.reserve(count, self.seed);
        self.prefetch_run(run, count);
        ids.reserve(count);
        for at in 0..count {
            let (middle, hash) = (run.middles[at], run.hashes[at]);
            let id = if middle.is_none() {
                self.intern(run.keys[at], hash, || bytes(at))
            } else {
                match self.middles.find(middle, hash) {
                    Ok(id) => id,
                    Err(free) => self.insert_middle(free, middle, hash, bytes(at)),
                }
            };
            ids.push(id);
        }
    }

    #[inline]
    fn prefetch_run(&self, run: &Run, count: usize) {
        if self.slots.len() < PREFETCH_SLOTS && !self.middles.is_large() {
            return;
        }
        let mask = self.slots.len() - 1;
        for (&hash, middle) in run.hashes.iter().zip(&run.middles).take(count) {
            match middle.is_none() {
                true => prefetch(&self.slots, slot_index(hash, mask)),
                false => self.middles.prefetch(hash),
            }
        }
    }

    /// Returns the id of a key that is no middle one.
    #[inline]
    fn intern<'a>(&mut self, key: u128, hash: u64, bytes: impl Fn() -> &'a [u8]) -> u32 {
        let mask = self.slots.len() - 1;
        let mut index = slot_index(hash, mask);
        loop {
            let slot = self.slots[index];
            if slot.id == EMPTY {
                return self.insert(index, key, hash, bytes);
            }
            if u128::from_ne_bytes(slot.key) == key && (length(key) != 0xff || self.long_bytes(slot.id) == bytes()) {
                return slot.id;
            }
            index = (index + 1) & mask;
        }
    }

    #[cold]
    fn insert<'a>(&mut self, index: usize, key: u128, hash: u64, bytes: impl Fn() -> &'a [u8]) -> u32 {
        let id = match length(key) {
            0xff => self.append_bytes(bytes(), hash),
            _ => self.append(key, hash),
        };
        self.slots[index] = Slot {
            key: key.to_ne_bytes(),
            id,
        };
        id
    }

    #[cold]
    fn insert_middle(&mut self, index: usize, key: MiddleKey, hash: u64, bytes: &[u8]) -> u32 {
        let id = self.append_bytes(bytes, hash);
        self.middles.insert(index, key, id);
        id
    }

    fn append_bytes(&mut self, bytes: &[u8], hash: u64) -> u32 {
        let key = LONG | (bytes.len() as u128) << 64 | self.arena.len() as u128;
        self.arena.extend_from_slice(bytes);
        self.append(key, hash)
    }

    fn append(&mut self, key: u128, hash: u64) -> u32 {
        let id = u32::try_from(self.keys.len()).expect("memory ends before 4 billion keys");
        assert_ne!(id, EMPTY, "memory ends before 4 billion keys");
        self.keys.push(key);
        self.hashes.push(hash);
        id
    }

    /// Makes room for `more` keys at a load of at most 5/8.
    fn reserve(&mut self, more: usize) {
        let wanted = (self.keys.len() - self.middles.len() + more) * 8 / 5 + 1;
        if wanted <= self.slots.len() {
            return;
        }
        let slots = wanted.next_power_of_two();
        self.slots = Vec::new();
        self.slots.resize(slots, FREE);
        let mask = slots - 1;
        for (id, (&key, &hash)) in self.keys.iter().zip(&self.hashes).enumerate() {
            if is_middle(key) {
                continue;
            }
            let mut index = slot_index(hash, mask);
            while self.slots[index].id != EMPTY {
                index = (index + 1) & mask;
            }
            let id = u32::try_from(id).expect("ids are 32-bit");
            let key = slot_key(key, hash).to_ne_bytes();
            self.slots[index] = Slot { key, id };
        }
    }

    /// Returns the bytes of a middle or long key.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the start of a long key is 64 bits wide")]
    fn long_bytes(&self, id: u32) -> &[u8] {
        let key = self.keys[id as usize];
        let start = key as u64 as usize;
        &self.arena[start..start + long_length(key)]
    }
}

impl Run {
    fn new() -> Self {
        Self {
            keys: [0; RUN],
            middles: [MiddleKey::NONE; RUN],
            hashes: [0; RUN],
        }
    }

    /// Puts the key `text[start..end]` at place `at`.
    #[inline(always)]
    fn load(&mut self, at: usize, text: &[u8], start: usize, end: usize, seed: Seed) {
        let length = end - start;
        if length <= SHORT_MAX {
            let key = pack(text, start, end);
            self.put(at, key, hash_packed(key, seed));
        } else if length <= MIDDLE_MAX {
            (self.middles[at], self.hashes[at]) = MiddleKey::load(text, start, end, seed);
        } else {
            let hash = hash_bytes(&text[start..end], seed);
            self.put(at, long_key(hash, length), hash);
        }
    }

    /// Puts a key that is no middle one at place `at`.
    #[inline]
    fn put(&mut self, at: usize, key: u128, hash: u64) {
        self.keys[at] = key;
        self.middles[at] = MiddleKey::NONE;
        self.hashes[at] = hash;
    }
}

/// Returns what a slot compares for the key that `keys` holds as `key`.
#[inline]
fn slot_key(key: u128, hash: u64) -> u128 {
    match length(key) {
        0xff => key >> 64 << 64 | u128::from(hash),
        _ => key,
    }
}

/// Returns the length of a middle or long key.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the length of a long key is 32 bits wide"
)]
fn long_length(key: u128) -> usize {
    (key >> 64) as u32 as usize
}

/// Returns whether `keys` holds a middle key as `key`.
#[inline]
fn is_middle(key: u128) -> bool {
    length(key) == 0xff && long_length(key) <= MIDDLE_MAX
}

#[inline]
fn long_key(hash: u64, length: usize) -> u128 {
    LONG | (length as u128) << 64 | u128::from(hash)
}

/// The low bits choose the slot; the high ones choose the state shard.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "only the low bits are wanted")]
fn slot_index(hash: u64, mask: usize) -> usize {
    hash as usize & mask
}

#[inline]
fn offset(offset: i32) -> usize {
    usize::try_from(offset).expect("Arrow offsets are never negative")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const SEED: Seed = Seed(11, 12);

    fn layout(words: &[Vec<u8>]) -> (Vec<u8>, Vec<u32>, Vec<u32>) {
        let (mut text, mut starts, mut ends) = (vec![], vec![], vec![]);
        for word in words {
            starts.push(u32::try_from(text.len()).expect("small"));
            text.extend_from_slice(word);
            ends.push(u32::try_from(text.len()).expect("small"));
        }
        (text, starts, ends)
    }

    fn keys(table: &BytesTable) -> Vec<Vec<u8>> {
        let ids: Vec<u32> = (0..u32::try_from(table.len()).expect("small")).collect();
        let mut keys = vec![];
        table.for_each_key(&ids, |key| keys.push(key.expect("no null key").to_vec()));
        keys
    }

    #[track_caller]
    fn check(words: &[Vec<u8>]) -> BytesTable {
        let (text, starts, ends) = layout(words);
        let mut table = BytesTable::new(SEED);
        let mut ids = vec![];
        table.intern_spans(&text, &starts, &ends, &mut ids);

        let mut naive = HashMap::new();
        let expected: Vec<u32> = words
            .iter()
            .map(|word| {
                let next = u32::try_from(naive.len()).expect("small");
                *naive.entry(word.clone()).or_insert(next)
            })
            .collect();
        assert_eq!(ids, expected);
        assert!(
            keys(&table)
                .iter()
                .enumerate()
                .all(|(id, key)| naive[key] as usize == id)
        );
        table
    }

    #[test]
    fn lengths_around_the_classes_keep_their_ids() {
        let word = |length: usize| vec![b'w'; length];
        let words: Vec<_> = (0..70).chain(0..70).map(word).collect();
        check(&words);
    }

    #[test]
    fn ids_survive_growth() {
        let words: Vec<_> = (0..50_000)
            .map(|number| format!("{}", number % 20_011).into_bytes())
            .collect();
        assert_eq!(check(&words).len(), 20_011);
        let words: Vec<_> = (0..50_000)
            .map(|number| format!("a long key: {number:020}").into_bytes())
            .collect();
        assert_eq!(check(&words).len(), 50_000);
    }

    #[test]
    fn a_null_is_a_key_of_its_own() {
        let mut table = BytesTable::new(SEED);
        let mut ids = vec![];
        table.intern_rows(b"aa", &[0, 1, 1, 1, 2], |row| row == 2, &mut ids);
        assert_eq!(ids, [0, 1, 2, 0], "`a`, the empty string, null, `a`");
        let mut keys = vec![];
        table.for_each_key(&[2, 1], |key| keys.push(key.map(<[u8]>::to_vec)));
        assert_eq!(keys, [None, Some(vec![])]);
    }

    #[test]
    fn keys_taken_over_from_another_table_are_the_same_keys() {
        let words: Vec<_> = (0..1000)
            .map(|number| format!("{:0width$}", number, width = number % 40).into_bytes())
            .collect();
        let first = check(&words);
        let mut second = check(&words[500..]);
        let ids: Vec<u32> = (0..1000).rev().collect();
        let mut taken = vec![];
        second.intern_from(&first, &ids, &mut taken);
        assert_eq!(second.len(), 1000);
        let (mut theirs, mut ours) = (vec![], vec![]);
        first.for_each_key(&ids, |key| theirs.push(key.map(<[u8]>::to_vec)));
        second.for_each_key(&taken, |key| ours.push(key.map(<[u8]>::to_vec)));
        assert_eq!(ours, theirs);
    }

    #[test]
    fn a_cleared_table_starts_again() {
        let words: Vec<_> = (0..5000).map(|number| format!("{number:018}").into_bytes()).collect();
        let mut table = check(&words);
        for _ in 0..3 {
            table.clear();
            assert!(table.is_empty());
            let mut ids = vec![];
            table.intern_spans(b"ab", &[0, 1, 0], &[1, 2, 1], &mut ids);
            assert_eq!(ids, [0, 1, 0]);
        }
    }

    proptest! {
        #[test]
        fn ids_are_those_of_a_plain_map(words in prop::collection::vec(prop::collection::vec(0..3_u8, 0..40), 0..600)) {
            check(&words);
        }
    }
}
