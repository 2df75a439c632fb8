//! A table of byte strings with dense ids.
//!
//! ```text
//! slots (open addressing, 8 bytes each)           by id
//! +---------+-----------------------+             keys    u128   as below
//! | id: u32 | 32 bits of the hash   |  ---------> hashes  u64    kept, so that nothing is hashed twice
//! +---------+-----------------------+             arena   bytes  of the keys that are not short
//!
//! short (<= 15 bytes)   the bytes, and the length as top byte
//! longer                place in the arena (low 64 bits), length (32 bits), top byte 0xff
//! null                  top byte 0xfe
//! ```
//! Slots are small and keys stand one beside the other, in the order in which they came: so a table takes half the memory
//! of one with keys in its slots, and the common words, which come first, share their cache lines with each other.
//!
//! Keys are taken in runs of 256: sort by class, make keys and hashes, prefetch the slots, take the ids from the slots, then
//! look at all keys whether they are the right ones. That 32 bits agree and the key does not happens once in billions of
//! looks, so that this loop never waits for its comparisons. Ids are dense, but not in the order of first appearance.
//! Prefetching costs time while the table fits the second-level cache, so small tables go without.

use std::hint::select_unpredictable;

use super::middle::{MIDDLE_MAX, MIDDLE_MIN, MiddleKey};
use crate::kernel::hash::{Seed, hash_bytes, hash_packed};
use crate::kernel::pack::{SHORT_MAX, length, pack, unpack};
use crate::kernel::prefetch::prefetch;

/// Keys handled at once: their packed forms and hashes (23 KiB) stay in the first-level cache.
const RUN: usize = 256;

/// Slots from which the table is prefetched: 32,768 slots and their keys are 576 KiB, half of a usual second-level cache.
const PREFETCH_SLOTS: usize = 1 << 15;

/// Slots of a table that has just begun.
const SLOTS_MIN: usize = 64;

/// A slot without a key: no key has this id.
const EMPTY: u64 = u64::MAX;

const LONG: u128 = 0xff << 120;
const NULL: u128 = 0xfe << 120;

/// The length that stands for a null row: that of a long key, so that it goes where those go.
const NULL_LENGTH: u32 = u32::MAX;

/// Interns byte strings, and null, into dense ids.
#[derive(Debug)]
pub struct BytesTable {
    seed: Seed,
    slots: Vec<u64>,
    keys: Vec<u128>,
    hashes: Vec<u64>,
    arena: Vec<u8>,
}

/// A run of keys on its way into the table, sorted by class: loops over one class have no branch that log lines, with
/// their mixture of short and middle words, would make the processor guess wrong.
struct Run {
    shorts: Class<u128>,
    middles: Class<MiddleKey>,
    others: Class<Other>,
}

/// The keys of one class in a run.
struct Class<K> {
    /// The place of each key in the run.
    places: [u8; RUN],
    keys: [K; RUN],
    hashes: [u64; RUN],
    len: usize,
}

/// A key that only its bytes tell, or null.
#[derive(Clone, Copy)]
enum Other {
    Long,
    Null,
}

/// What the classes of keys differ in. `bytes` gives the key's bytes, if it is not short.
trait Key: Copy {
    /// Returns whether key `id` of the table is this one.
    fn is<'a>(self, table: &BytesTable, id: u32, bytes: impl Fn() -> &'a [u8]) -> bool;

    /// Asks for what [`is`](Self::is) looks at beside the table's keys.
    fn prefetch(table: &BytesTable, id: u32);

    /// Appends the key to the table's, and returns its id.
    fn append<'a>(self, table: &mut BytesTable, hash: u64, bytes: impl Fn() -> &'a [u8]) -> u32;
}

impl BytesTable {
    /// Returns an empty table whose hashes depend on `seed`.
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            slots: vec![EMPTY; SLOTS_MIN],
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
            self.intern_run(&run, self.is_large(), ids, |place| {
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
            self.intern_run(&run, self.is_large(), ids, |place| {
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
            let id = |place: usize| theirs[place] as usize;
            for place in 0..theirs.len() {
                prefetch(&other.keys, id(place));
                prefetch(&other.hashes, id(place));
            }
            run.sort(theirs.iter().map(|&id| key_length(other.keys[id as usize])));
            run.shorts
                .fill(|place| (other.keys[id(place)], other.hashes[id(place)]));
            run.middles.fill(|place| {
                let bytes = other.long_bytes(theirs[place]);
                (MiddleKey::load(bytes, 0, bytes.len()), other.hashes[id(place)])
            });
            run.others.fill(|place| match other.keys[id(place)] {
                NULL => (Other::Null, other.hashes[id(place)]),
                _ => (Other::Long, other.hashes[id(place)]),
            });
            // Who merges goes through many tables: however small, this one has left the caches since the last time.
            self.intern_run(&run, true, ids, |place| other.long_bytes(theirs[place]));
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

    /// Returns the bytes that the keys which `ids` names take together.
    ///
    /// # Panics
    /// When an id is none of this table's.
    pub fn key_bytes(&self, ids: &[u32]) -> usize {
        let lengths = ids.iter().map(|&id| key_length(self.keys[id as usize]));
        lengths
            .filter(|&length| length != NULL_LENGTH)
            .map(|length| length as usize)
            .sum()
    }

    /// Removes all keys; keeps the memory, unless it is far more than the keys needed.
    pub fn clear(&mut self) {
        if self.slots.len() > SLOTS_MIN.max(16 * self.keys.len()) {
            self.slots = vec![EMPTY; SLOTS_MIN];
        } else {
            self.slots.fill(EMPTY);
        }
        self.keys.clear();
        self.hashes.clear();
        self.arena.clear();
    }

    /// Returns the bytes of memory that the table holds.
    pub fn bytes(&self) -> usize {
        size_of::<u64>() * self.slots.len() + 24 * self.keys.capacity() + self.arena.capacity()
    }

    /// Returns whether the table does not fit the second-level cache.
    fn is_large(&self) -> bool {
        self.slots.len() >= PREFETCH_SLOTS
    }

    /// Appends the ids of the keys of `run`; `bytes(i)` gives the bytes of the key at place `i` if that is no short one.
    /// With `is_far`, memory is asked for before it is looked at.
    #[inline]
    fn intern_run<'a>(&mut self, run: &Run, is_far: bool, ids: &mut Vec<u32>, bytes: impl Fn(usize) -> &'a [u8]) {
        self.reserve(run.len());
        if is_far {
            let mask = self.slots.len() - 1;
            let hashes = [run.shorts.hashes(), run.middles.hashes(), run.others.hashes()];
            for &hash in hashes.into_iter().flatten() {
                prefetch(&self.slots, slot_index(hash, mask));
            }
        }
        let first = ids.len();
        ids.resize(first + run.len(), 0);
        let ids = &mut ids[first..];
        self.intern_class(&run.shorts, is_far, ids, &bytes);
        self.intern_class(&run.middles, is_far, ids, &bytes);
        self.intern_class(&run.others, is_far, ids, &bytes);
    }

    #[inline(always)]
    fn intern_class<'a, K: Key>(
        &mut self,
        class: &Class<K>,
        is_far: bool,
        ids: &mut [u32],
        bytes: &impl Fn(usize) -> &'a [u8],
    ) {
        for (place, key, hash) in class.iter() {
            let id = match self.find(hash) {
                Ok(id) => id,
                Err(free) => self.insert(free, key, hash, || bytes(place)),
            };
            if is_far {
                prefetch(&self.keys, id as usize);
            }
            ids[place] = id;
        }
        if is_far {
            class.places().for_each(|place| K::prefetch(self, ids[place]));
        }
        for (place, key, hash) in class.iter() {
            if !key.is(self, ids[place], || bytes(place)) {
                ids[place] = self.intern_again(key, hash, || bytes(place));
            }
        }
    }

    /// Returns the id of the first key whose hash agrees as far as the slots have it, or the free slot where such a key
    /// belongs.
    #[inline(always)]
    fn find(&self, hash: u64) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut index = slot_index(hash, mask);
        loop {
            let slot = self.slots[index];
            if slot == EMPTY {
                return Err(index);
            }
            if agrees(slot, hash) {
                return Ok(id_of(slot));
            }
            index = (index + 1) & mask;
        }
    }

    /// Returns the id of a key whose hash agrees with that of another one as far as the slots have it.
    #[cold]
    fn intern_again<'a, K: Key>(&mut self, key: K, hash: u64, bytes: impl Fn() -> &'a [u8]) -> u32 {
        let mask = self.slots.len() - 1;
        let mut index = slot_index(hash, mask);
        loop {
            let slot = self.slots[index];
            if slot == EMPTY {
                return self.insert(index, key, hash, bytes);
            }
            if agrees(slot, hash) && key.is(self, id_of(slot), &bytes) {
                return id_of(slot);
            }
            index = (index + 1) & mask;
        }
    }

    #[cold]
    fn insert<'a, K: Key>(&mut self, free: usize, key: K, hash: u64, bytes: impl Fn() -> &'a [u8]) -> u32 {
        let id = key.append(self, hash, bytes);
        self.slots[free] = slot_of(hash, id);
        id
    }

    fn append_bytes(&mut self, bytes: &[u8], hash: u64) -> u32 {
        let key = LONG | (bytes.len() as u128) << 64 | self.arena.len() as u128;
        self.arena.extend_from_slice(bytes);
        self.append(key, hash)
    }

    fn append(&mut self, key: u128, hash: u64) -> u32 {
        let id = u32::try_from(self.keys.len()).expect("memory ends before 4 billion keys");
        assert_ne!(id, u32::MAX, "memory ends before 4 billion keys");
        self.keys.push(key);
        self.hashes.push(hash);
        id
    }

    /// Makes room for `more` keys at a load of at most 9/16: most keys are then in the slot where they are looked for.
    fn reserve(&mut self, more: usize) {
        let wanted = (self.keys.len() + more) * 16 / 9 + 1;
        if wanted <= self.slots.len() {
            return;
        }
        let slots = wanted.next_power_of_two();
        // The old slots go first: they are of no use, and the new ones may take their place.
        self.slots = Vec::new();
        self.slots.resize(slots, EMPTY);
        let mask = slots - 1;
        for (id, &hash) in (0..).zip(&self.hashes) {
            let mut index = slot_index(hash, mask);
            while self.slots[index] != EMPTY {
                index = (index + 1) & mask;
            }
            self.slots[index] = slot_of(hash, id);
        }
    }

    /// Asks for the bytes of a key that may be in the arena.
    #[inline]
    fn prefetch_bytes(&self, id: u32) {
        let start = arena_start(self.keys[id as usize]);
        if start < self.arena.len() {
            prefetch(&self.arena, start);
        }
    }

    /// Returns the bytes of a key that is in the arena.
    #[inline]
    fn long_bytes(&self, id: u32) -> &[u8] {
        let key = self.keys[id as usize];
        let start = arena_start(key);
        &self.arena[start..start + long_length(key) as usize]
    }
}

impl Key for u128 {
    #[inline(always)]
    fn prefetch(_: &BytesTable, _: u32) {}

    #[inline(always)]
    fn is<'a>(self, table: &BytesTable, id: u32, _: impl Fn() -> &'a [u8]) -> bool {
        table.keys[id as usize] == self
    }

    fn append<'a>(self, table: &mut BytesTable, hash: u64, _: impl Fn() -> &'a [u8]) -> u32 {
        table.append(self, hash)
    }
}

impl Key for MiddleKey {
    #[inline(always)]
    fn prefetch(table: &BytesTable, id: u32) {
        table.prefetch_bytes(id);
    }

    #[inline(always)]
    fn is<'a>(self, table: &BytesTable, id: u32, _: impl Fn() -> &'a [u8]) -> bool {
        let key = table.keys[id as usize];
        length(key) == 0xff && self.len() == long_length(key) as usize && {
            let bytes = table.long_bytes(id);
            self == Self::load(bytes, 0, bytes.len())
        }
    }

    fn append<'a>(self, table: &mut BytesTable, hash: u64, bytes: impl Fn() -> &'a [u8]) -> u32 {
        table.append_bytes(bytes(), hash)
    }
}

impl Key for Other {
    #[inline(always)]
    fn prefetch(table: &BytesTable, id: u32) {
        table.prefetch_bytes(id);
    }

    #[inline(always)]
    fn is<'a>(self, table: &BytesTable, id: u32, bytes: impl Fn() -> &'a [u8]) -> bool {
        let key = table.keys[id as usize];
        match self {
            Self::Null => key == NULL,
            Self::Long => length(key) == 0xff && table.long_bytes(id) == bytes(),
        }
    }

    fn append<'a>(self, table: &mut BytesTable, hash: u64, bytes: impl Fn() -> &'a [u8]) -> u32 {
        match self {
            Self::Null => table.append(NULL, hash),
            Self::Long => table.append_bytes(bytes(), hash),
        }
    }
}

impl Run {
    fn new() -> Self {
        Self {
            shorts: Class::new(0),
            middles: Class::new(MiddleKey::NONE),
            others: Class::new(Other::Null),
        }
    }

    fn len(&self) -> usize {
        self.shorts.len + self.middles.len + self.others.len
    }

    /// Takes the places of the run's keys, at most [`RUN`], by the lengths of the keys.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a run has 256 places")]
    fn sort(&mut self, lengths: impl Iterator<Item = u32>) {
        (self.shorts.len, self.middles.len, self.others.len) = (0, 0, 0);
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
            (Other::Long, hash_bytes(&text[start..end], seed))
        });
    }

    /// Puts the null key where [`load`](Self::load) has seen the bytes that a null row may hide.
    #[inline]
    fn mark_nulls(&mut self, seed: Seed, is_null: impl Fn(usize) -> bool) {
        for at in 0..self.others.len {
            if is_null(usize::from(self.others.places[at])) {
                (self.others.keys[at], self.others.hashes[at]) = (Other::Null, hash_packed(NULL, seed));
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
    fn hashes(&self) -> &[u64] {
        &self.hashes[..self.len]
    }

    #[inline]
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        self.places[..self.len].iter().map(|&place| usize::from(place))
    }

    #[inline]
    fn iter(&self) -> impl Iterator<Item = (usize, K, u64)> + '_ {
        let keys = self.places().zip(&self.keys).zip(&self.hashes);
        keys.map(|((place, &key), &hash)| (place, key, hash))
    }
}

/// Returns the length of a key of the table; [`NULL_LENGTH`] of null.
#[inline]
fn key_length(key: u128) -> u32 {
    let top = length(key);
    let stored = select_unpredictable(top == 0xff, long_length(key), u32::from(top));
    select_unpredictable(top == 0xfe, NULL_LENGTH, stored)
}

/// Returns where in the arena a key is.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the place of a long key is 64 bits wide")]
fn arena_start(key: u128) -> usize {
    key as u64 as usize
}

/// Returns the length of a key that is in the arena.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the length of a long key is 32 bits wide"
)]
fn long_length(key: u128) -> u32 {
    (key >> 64) as u32
}

/// The bits of a hash that a slot has, where a slot has them: neither the low ones, which choose the slot, nor the highest,
/// which choose the state shard.
#[inline]
fn tag(hash: u64) -> u64 {
    hash << 6 & !u64::from(u32::MAX)
}

#[inline]
fn slot_of(hash: u64, id: u32) -> u64 {
    tag(hash) | u64::from(id)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is the id")]
fn id_of(slot: u64) -> u32 {
    slot as u32
}

#[inline]
fn agrees(slot: u64, hash: u64) -> bool {
    (slot ^ tag(hash)) >> 32 == 0
}

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

    #[test]
    fn keys_whose_hashes_agree_as_far_as_slots_have_them_are_told_apart() {
        let mut table = BytesTable::new(SEED);
        // Keys of all classes come with one hash, as if it were a poor function.
        for round in 0..2 {
            for number in 0..30_u32 {
                let bytes = vec![b'a'; 3 * number as usize];
                let id = match bytes.len() {
                    length @ 0..=15 => table.intern_as(pack(&bytes, 0, length), 7, &bytes),
                    length @ 16..=31 => table.intern_as(MiddleKey::load(&bytes, 0, length), 7, &bytes),
                    _ => table.intern_as(Other::Long, 7, &bytes),
                };
                assert_eq!(id, number, "round {round}");
            }
            assert_eq!(table.intern_as(Other::Null, 7, &[]), 30);
        }
        assert_eq!(table.len(), 31);
    }

    impl BytesTable {
        /// Interns one key under a hash that is not its own.
        fn intern_as<K: Key>(&mut self, key: K, hash: u64, bytes: &[u8]) -> u32 {
            let mut class = Class::new(key);
            (class.hashes[0], class.len) = (hash, 1);
            let mut ids = [0];
            self.reserve(1);
            self.intern_class(&class, false, &mut ids, &|_| bytes);
            ids[0]
        }
    }

    #[test]
    fn the_bytes_of_keys_are_those_of_their_rows() {
        let words: Vec<_> = (0..50).map(|length| vec![b'w'; length]).collect();
        let table = check(&words);
        let ids: Vec<u32> = (0..50).collect();
        assert_eq!(table.key_bytes(&ids), (0..50).sum::<usize>());
    }

    proptest! {
        #[test]
        fn ids_are_those_of_a_plain_map(words in prop::collection::vec(prop::collection::vec(0..3_u8, 0..40), 0..600)) {
            check(&words);
        }
    }
}
