//! A table of byte strings with dense ids.
//!
//! ```text
//! slots (open addressing, 8 bytes each)           by id
//! +---------+-----------------------+             keys    32 bytes  as below
//! | id: u32 | 32 bits of the hash   |  ---------> hashes  u64       kept, so that nothing is hashed twice
//! +---------+-----------------------+             arena   bytes     of the keys that are longer
//!
//! up to 31 bytes   the bytes, and the length as top byte
//! longer           first word: place in the arena, second word: length, top byte 0xff
//! null             top byte 0xfe
//! ```
//! Slots are small and keys stand one beside the other, in the order in which they came: so the common words, which come
//! first, share their cache lines with each other, and one comparison tells all keys but long ones.
//!
//! Keys are taken in runs of 256, in loops without a branch that the processor would often guess wrong: make keys and
//! hashes, take ids from the slots, compare the keys. A key that does not agree (it is new, or long, or shares its 32 bits
//! with another one) is noted by its place and looked for once more. Ids are in the order of first appearance. Tables that
//! do not fit the second-level cache are prefetched.

use super::counts::CountTable;
use super::run::{Places, RUN, Run};
use super::slots::Slots;
use crate::kernel::hash::Seed;
use crate::kernel::pack::Packed;
use crate::kernel::prefetch::prefetch;
use crate::memory;

/// The top byte of what stands in the place of a long key.
const LONG: u8 = 0xff;

/// What stands in the place of null.
pub(super) const NULL: Packed = Packed([0, 0, 0, 0xfe << 56]);

/// Interns byte strings, and null, into dense ids.
#[derive(Debug)]
pub struct BytesTable {
    seed: Seed,
    slots: Slots,
    keys: Vec<Packed>,
    hashes: Vec<u64>,
    arena: Vec<u8>,
}

impl BytesTable {
    /// Returns an empty table whose hashes depend on `seed`.
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            slots: Slots::new(),
            keys: Vec::new(),
            hashes: Vec::new(),
            arena: Vec::new(),
        }
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns the bytes of memory that the table holds, used or not.
    pub fn memory(&self) -> usize {
        let index = self.slots.memory() + memory::of(&self.hashes);
        index + memory::of(&self.keys) + memory::of(&self.arena)
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
            let spans = starts.iter().zip(ends);
            run.fill(
                text,
                self.seed,
                spans.map(|(&start, &end)| Some((start as usize, end as usize))),
            );
            self.intern_run(&run, self.slots.are_far(), ids, |place| {
                &text[starts[place] as usize..ends[place] as usize]
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
            let spans = (first..rows.min(first + RUN)).map(|row| (!is_null(row)).then(|| span(row)));
            run.fill(text, self.seed, spans);
            self.intern_run(&run, self.slots.are_far(), ids, |place| {
                let (start, end) = span(first + place);
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
            for &id in theirs {
                prefetch(&other.keys, id as usize);
                prefetch(&other.hashes, id as usize);
            }
            run.take(
                theirs
                    .iter()
                    .map(|&id| (other.keys[id as usize], other.hashes[id as usize])),
            );
            // Who merges goes through many tables: however small, this one has left the caches since the last time.
            self.intern_run(&run, true, ids, |place| {
                other.long_bytes(other.keys[theirs[place] as usize])
            });
        }
    }

    /// Appends the id in this table, and the count, of every key of `counted` whose hash begins with `shard`, a number of `bits`
    /// bits.
    pub fn intern_counted(
        &mut self,
        counted: &CountTable,
        shard: usize,
        bits: u32,
        ids: &mut Vec<u32>,
        counts: &mut Vec<i64>,
    ) {
        counted.for_each_run(shard, bits, |run, of_run| {
            counts.extend_from_slice(of_run);
            self.intern_run(run, true, ids, |_| unreachable!("a counted key is short"));
        });
    }

    /// Calls `take` with the bytes of every key that `ids` names, `None` for the null key.
    ///
    /// # Panics
    /// When an id is none of this table's.
    pub fn for_each_key(&self, ids: &[u32], mut take: impl FnMut(Option<&[u8]>)) {
        for &id in ids {
            let key = self.keys[id as usize];
            match key.length() {
                LONG => take(Some(self.long_bytes(key))),
                _ if key == NULL => take(None),
                length => take(Some(&key.bytes()[..usize::from(length)])),
            }
        }
    }

    /// Returns the bytes that the keys which `ids` names take together.
    ///
    /// # Panics
    /// When an id is none of this table's.
    pub fn key_bytes(&self, ids: &[u32]) -> usize {
        let length = |&id: &u32| match self.keys[id as usize] {
            key if key.length() == LONG => long_span(key).1,
            NULL => 0,
            key => usize::from(key.length()),
        };
        ids.iter().map(length).sum()
    }

    /// Removes all keys; keeps the memory, unless it is far more than the keys needed.
    pub fn clear(&mut self) {
        self.slots.clear(self.keys.len());
        self.keys.clear();
        self.hashes.clear();
        self.arena.clear();
    }

    /// Appends the ids of the keys of `run`; `bytes(i)` gives the bytes of the key at place `i` if that is a long one.
    /// With `is_far`, memory is asked for before it is looked at.
    #[inline]
    fn intern_run<'a>(&mut self, run: &Run, is_far: bool, ids: &mut Vec<u32>, bytes: impl Fn(usize) -> &'a [u8]) {
        self.slots.reserve(run.len(), &self.hashes);
        let first = ids.len();
        ids.resize(first + run.len(), 0);
        let ids = &mut ids[first..];
        let mut others = Places::new();
        match is_far {
            true => self.look_up_far(run, ids, &mut others),
            false => self.look_up(run, ids, &mut others),
        }
        for place in others.iter() {
            let (key, hash) = run.get(place);
            ids[place] = self.intern_one(key, hash, || bytes(place));
        }
    }

    /// Writes the ids of the keys of `run`, and notes the places of those that are not found at first sight.
    #[inline(always)]
    fn look_up(&self, run: &Run, ids: &mut [u32], others: &mut Places) {
        for ((place, id), (key, &hash)) in ids.iter_mut().enumerate().zip(run.keys().iter().zip(run.hashes())) {
            *id = self.slots.candidate(hash);
            others.add_if(place, !self.is_at(*id, key));
        }
    }

    /// Does what [`look_up`](Self::look_up) does, in three loops that each ask for what the next one looks at.
    #[inline(always)]
    fn look_up_far(&self, run: &Run, ids: &mut [u32], others: &mut Places) {
        run.hashes().iter().for_each(|&hash| self.slots.prefetch(hash));
        for (id, &hash) in ids.iter_mut().zip(run.hashes()) {
            *id = self.slots.candidate(hash);
            prefetch(&self.keys, *id as usize);
        }
        for ((place, &id), key) in ids.iter().enumerate().zip(run.keys()) {
            others.add_if(place, !self.is_at(id, key));
        }
    }

    #[inline(always)]
    fn is_at(&self, id: u32, key: &Packed) -> bool {
        self.keys.get(id as usize).is_some_and(|known| known == key)
    }

    /// Returns the id of a key that may be new, or long.
    #[inline]
    fn intern_one<'a>(&mut self, key: Packed, hash: u64, bytes: impl Fn() -> &'a [u8]) -> u32 {
        let is_long = key.length() == LONG;
        let found = self.slots.find(hash, |id| match self.keys[id as usize] {
            known if is_long => known.length() == LONG && self.long_bytes(known) == bytes(),
            known => known == key,
        });
        found.unwrap_or_else(|free| {
            let key = if is_long { self.append_bytes(bytes()) } else { key };
            let id = self.append(key, hash);
            self.slots.set(free, hash, id);
            id
        })
    }

    /// Appends the bytes of a long key to the arena; returns what stands in its place.
    fn append_bytes(&mut self, bytes: &[u8]) -> Packed {
        let start = self.arena.len() as u64;
        self.arena.extend_from_slice(bytes);
        Packed([start, bytes.len() as u64, 0, u64::from(LONG) << 56])
    }

    fn append(&mut self, key: Packed, hash: u64) -> u32 {
        let id = u32::try_from(self.keys.len()).expect("memory ends before 4 billion keys");
        assert_ne!(id, u32::MAX, "memory ends before 4 billion keys");
        self.keys.push(key);
        self.hashes.push(hash);
        id
    }

    /// Returns the bytes of a key that is in the arena.
    #[inline]
    fn long_bytes(&self, key: Packed) -> &[u8] {
        let (start, length) = long_span(key);
        &self.arena[start..start + length]
    }
}

/// Returns where in the arena a key is, and its length.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "they were a `usize` before")]
fn long_span(key: Packed) -> (usize, usize) {
    let [start, length, ..] = key.0;
    (start as usize, length as usize)
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
        // Keys of all kinds come with one hash, as if it were a poor function.
        for round in 0..2 {
            let mut ids = vec![];
            for number in 0..30 {
                let bytes = vec![b'a'; 3 * number];
                table.intern_run(&Run::of(Some(&bytes), 7), false, &mut ids, |_| &bytes);
            }
            table.intern_run(&Run::of(None, 7), false, &mut ids, |_| &[]);
            assert_eq!(ids, (0..=30).collect::<Vec<u32>>(), "round {round}");
        }
        assert_eq!(table.len(), 31);
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
