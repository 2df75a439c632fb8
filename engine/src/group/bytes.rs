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
//! Keys are taken in runs of 256: sort by class, make keys and hashes, prefetch the slots, then probe; so ids are dense, but
//! not in the order of first appearance. The prefetch costs 20 % while the table fits the second-level cache, so small tables go without.

use super::middle::{MIDDLE_MAX, MIDDLE_MIN, MiddleKey, MiddleSlots};
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

/// The length that stands for a null row: that of a long key, so that it goes where those go.
const NULL_LENGTH: u32 = u32::MAX;

/// The highest top byte of a short key.
const SHORT_TOP: u8 = SHORT_MAX as u8;

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

/// Its key is none that a string has, so that a look at the key tells a hit.
const FREE: Slot = Slot {
    key: [0xfd; 16],
    id: EMPTY,
};

/// A run of keys on its way into the table, sorted by class: loops over one class have no branch that log lines, with
/// their mixture of short and middle words, would make the processor guess wrong.
struct Run {
    shorts: Class<u128>,
    middles: Class<MiddleKey>,
    /// Long keys, and null.
    others: Class<u128>,
}

/// The keys of one class in a run.
struct Class<K> {
    /// The place of each key in the run.
    places: [u8; RUN],
    keys: [K; RUN],
    hashes: [u64; RUN],
    len: usize,
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
            let span = |place: usize| (starts[place] as usize, ends[place] as usize);
            run.sort(starts.iter().zip(ends).map(|(&start, &end)| end.wrapping_sub(start)));
            run.load(text, self.seed, span);
            self.intern_run(&run, ids, |place| {
                let (start, end) = span(place);
                &text[start..end]
            });
        }
    }

    /// Appends the id of every row of an Arrow string or binary array given by its parts; `is_null` tells null rows.
    ///
    /// # Panics
    /// When the offsets are out of range, or there are 4 billion keys.
    pub fn intern_rows(&mut self, text: &[u8], offsets: &[i32], is_null: impl Fn(usize) -> bool, ids: &mut Vec<u32>) {
        let rows = offsets.len().saturating_sub(1);
        let mut run = Run::new();
        for first in (0..rows).step_by(RUN) {
            let span = |place: usize| (offset(offsets[first + place]), offset(offsets[first + place + 1]));
            let count = RUN.min(rows - first);
            run.sort((0..count).map(|place| {
                match is_null(first + place) {
                    true => NULL_LENGTH,
                    false => offsets[first + place + 1]
                        .wrapping_sub(offsets[first + place])
                        .cast_unsigned(),
                }
            }));
            run.load(text, self.seed, span);
            run.mark_nulls(self.seed, |place| is_null(first + place));
            self.intern_run(&run, ids, |place| {
                let (start, end) = span(place);
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
            run.clear();
            for (place, &id) in theirs.iter().enumerate() {
                let (key, hash) = (other.keys[id as usize], other.hashes[id as usize]);
                if is_middle(key) {
                    let bytes = other.long_bytes(id);
                    run.middles.push(place, MiddleKey::load(bytes, 0, bytes.len()), hash);
                } else if length(key) <= SHORT_TOP {
                    run.shorts.push(place, key, hash);
                } else {
                    run.others.push(place, slot_key(key, hash), hash);
                }
            }
            self.intern_run(&run, ids, |place| other.long_bytes(theirs[place]));
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

    /// Appends the ids of the keys of `run`; `bytes(i)` gives the bytes of the key at place `i` if that is no short one.
    #[inline]
    fn intern_run<'a>(&mut self, run: &Run, ids: &mut Vec<u32>, bytes: impl Fn(usize) -> &'a [u8]) {
        self.reserve(run.shorts.len + run.others.len);
        self.middles.reserve(run.middles.len, self.seed);
        self.prefetch_run(run);
        let first = ids.len();
        ids.resize(first + run.len(), 0);
        let ids = &mut ids[first..];
        for (place, key, hash) in run.shorts.iter() {
            ids[place] = self.intern_short(key, hash);
        }
        for (place, key, hash) in run.middles.iter() {
            ids[place] = match self.middles.find(key, hash) {
                Ok(id) => id,
                Err(free) => self.insert_middle(free, key, hash, bytes(place)),
            };
        }
        for (place, key, hash) in run.others.iter() {
            ids[place] = self.intern_other(key, hash, || bytes(place));
        }
    }

    #[inline]
    fn prefetch_run(&self, run: &Run) {
        if self.slots.len() >= PREFETCH_SLOTS {
            let mask = self.slots.len() - 1;
            for &hash in run.shorts.hashes().iter().chain(run.others.hashes()) {
                prefetch(&self.slots, slot_index(hash, mask));
            }
        }
        if self.middles.is_large() {
            for &hash in run.middles.hashes() {
                self.middles.prefetch(hash);
            }
        }
    }

    #[inline]
    fn intern_short(&mut self, key: u128, hash: u64) -> u32 {
        let mask = self.slots.len() - 1;
        let mut index = slot_index(hash, mask);
        loop {
            let slot = &self.slots[index];
            if u128::from_ne_bytes(slot.key) == key {
                return slot.id;
            }
            if slot.id == EMPTY {
                return self.insert(index, key, hash, || &[]);
            }
            index = (index + 1) & mask;
        }
    }

    /// Returns the id of a long key or of null.
    #[inline]
    fn intern_other<'a>(&mut self, key: u128, hash: u64, bytes: impl Fn() -> &'a [u8]) -> u32 {
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
            shorts: Class::new(0),
            middles: Class::new(MiddleKey::NONE),
            others: Class::new(0),
        }
    }

    fn clear(&mut self) {
        (self.shorts.len, self.middles.len, self.others.len) = (0, 0, 0);
    }

    fn len(&self) -> usize {
        self.shorts.len + self.middles.len + self.others.len
    }

    /// Takes the places of the run's keys, at most [`RUN`], by the lengths of the keys.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a run has 256 places")]
    fn sort(&mut self, lengths: impl Iterator<Item = u32>) {
        self.clear();
        for (place, length) in lengths.enumerate() {
            let place = place as u8;
            self.shorts.place_if(place, length <= SHORT_MAX as u32);
            self.middles.place_if(
                place,
                length.wrapping_sub(MIDDLE_MIN as u32) <= (MIDDLE_MAX - MIDDLE_MIN) as u32,
            );
            self.others.place_if(place, length > MIDDLE_MAX as u32);
        }
    }

    /// Makes the keys and hashes of the places, whose texts are `text[span(place)]`.
    #[inline(always)]
    fn load(&mut self, text: &[u8], seed: Seed, span: impl Fn(usize) -> (usize, usize)) {
        self.shorts.fill(|place| {
            let (start, end) = span(place);
            let key = pack(text, start, end);
            (key, hash_packed(key, seed))
        });
        self.middles.fill(|place| {
            let (start, end) = span(place);
            let key = MiddleKey::load(text, start, end);
            (key, key.hash(seed))
        });
        self.others.fill(|place| {
            let (start, end) = span(place);
            let hash = hash_bytes(&text[start..end], seed);
            (long_key(hash, end - start), hash)
        });
    }

    /// Puts the null key where [`load`](Self::load) has seen the bytes that a null row may hide.
    #[inline]
    fn mark_nulls(&mut self, seed: Seed, is_null: impl Fn(usize) -> bool) {
        for at in 0..self.others.len {
            if is_null(usize::from(self.others.places[at])) {
                (self.others.keys[at], self.others.hashes[at]) = (NULL, hash_packed(NULL, seed));
            }
        }
    }
}

impl<K: Copy> Class<K> {
    fn new(none: K) -> Self {
        Self {
            places: [0; RUN],
            keys: [none; RUN],
            hashes: [0; RUN],
            len: 0,
        }
    }

    /// Takes a place of the run if `belongs`, without a branch.
    #[inline(always)]
    fn place_if(&mut self, place: u8, belongs: bool) {
        self.places[self.len % RUN] = place;
        self.len += usize::from(belongs);
    }

    #[inline(always)]
    fn fill(&mut self, make: impl Fn(usize) -> (K, u64)) {
        let len = self.len.min(RUN);
        for ((&place, key), hash) in self.places[..len].iter().zip(&mut self.keys).zip(&mut self.hashes) {
            (*key, *hash) = make(usize::from(place));
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a run has 256 places")]
    fn push(&mut self, place: usize, key: K, hash: u64) {
        self.places[self.len] = place as u8;
        self.keys[self.len] = key;
        self.hashes[self.len] = hash;
        self.len += 1;
    }

    #[inline]
    fn hashes(&self) -> &[u64] {
        &self.hashes[..self.len]
    }

    #[inline]
    fn iter(&self) -> impl Iterator<Item = (usize, K, u64)> + '_ {
        let keys = self.places[..self.len].iter().zip(&self.keys).zip(&self.hashes);
        keys.map(|((&place, &key), &hash)| (usize::from(place), key, hash))
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
    use std::collections::HashSet;

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

    /// Interns the words, and checks that equal ones have the same id and that the ids are dense.
    #[track_caller]
    fn check(words: &[Vec<u8>]) -> BytesTable {
        let (text, starts, ends) = layout(words);
        let mut table = BytesTable::new(SEED);
        let mut ids = vec![];
        table.intern_spans(&text, &starts, &ends, &mut ids);

        let keys = keys(&table);
        let of_ids: Vec<_> = ids.iter().map(|&id| keys[id as usize].clone()).collect();
        assert_eq!(of_ids, words);
        let distinct: HashSet<_> = words.iter().collect();
        assert_eq!(keys.len(), distinct.len());
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
