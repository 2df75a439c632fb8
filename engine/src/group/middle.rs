//! The slots of keys of 16 to 31 bytes: they hold whole keys, so that no other memory is looked at.
//!
//! Times, paths, ids and addresses are of this length: a third of the words of usual logs.

use crate::kernel::hash::{Seed, hash_pair};
use crate::kernel::prefetch::prefetch;

/// The shortest of these keys.
pub(super) const MIDDLE_MIN: usize = 16;

/// The longest of these keys.
pub(super) const MIDDLE_MAX: usize = 31;

/// Slots of a table that has just begun.
const SLOTS_MIN: usize = 16;

/// Slots from which the table is prefetched: 8192 are 320 KiB, a third of a usual second-level cache.
const PREFETCH_SLOTS: usize = 1 << 13;

const EMPTY: u32 = u32::MAX;

/// A key as its first and its last 16 bytes, which overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MiddleKey {
    /// Bytes, since the alignment of a `u128` would make the slots larger.
    first: [u8; 16],
    last: [u8; 16],
    /// 0 where no key is.
    length: u32,
}

/// Open addressing; the number of slots is a power of two.
#[derive(Debug)]
pub(super) struct MiddleSlots {
    slots: Vec<Slot>,
    used: usize,
}

/// A key with its id, 40 bytes.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: MiddleKey,
    id: u32,
}

const FREE: Slot = Slot {
    key: MiddleKey::NONE,
    id: EMPTY,
};

impl MiddleKey {
    pub(super) const NONE: Self = Self {
        first: [0; 16],
        last: [0; 16],
        length: 0,
    };

    /// Returns the key `text[start..end]`.
    ///
    /// # Panics
    /// When the span is out of range or of another length.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "31 bytes at most")]
    pub(super) fn load(text: &[u8], start: usize, end: usize) -> Self {
        let length = end - start;
        debug_assert!((MIDDLE_MIN..=MIDDLE_MAX).contains(&length), "{length} bytes");
        let block = |at: usize| *text[at..].first_chunk().expect("the key has 16 bytes from here");
        let (first, last) = (block(start), block(end - 16));
        Self {
            first,
            last,
            length: length as u32,
        }
    }

    /// Returns the key's hash, which is that of `hash_bytes`.
    #[inline]
    pub(super) fn hash(self, seed: Seed) -> u64 {
        let (first, last) = (u128::from_le_bytes(self.first), u128::from_le_bytes(self.last));
        hash_pair(first, last, self.length as usize, seed)
    }
}

impl MiddleSlots {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![FREE; SLOTS_MIN],
            used: 0,
        }
    }

    /// Returns the number of keys.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Returns whether asking for cache lines ahead is worth its cost.
    pub(super) fn is_large(&self) -> bool {
        self.slots.len() >= PREFETCH_SLOTS
    }

    /// Asks for the slot where a key of this hash would be, and for the next, since most slots lie in two cache lines.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        let index = self.index(hash);
        prefetch(&self.slots, index);
        prefetch(&self.slots, (index + 1).min(self.slots.len() - 1));
    }

    /// Returns the id of a key, or the free slot where it belongs.
    #[inline]
    pub(super) fn find(&self, key: MiddleKey, hash: u64) -> Result<u32, usize> {
        let mut index = self.index(hash);
        loop {
            let slot = &self.slots[index];
            if slot.key == key {
                return Ok(slot.id);
            }
            if slot.id == EMPTY {
                return Err(index);
            }
            index = (index + 1) & (self.slots.len() - 1);
        }
    }

    /// Puts a key into the free slot that [`find`](Self::find) returned.
    pub(super) fn insert(&mut self, index: usize, key: MiddleKey, id: u32) {
        debug_assert_eq!(self.slots[index].id, EMPTY, "the slot is free");
        self.slots[index] = Slot { key, id };
        self.used += 1;
    }

    /// Makes room for `more` keys at a load of at most 5/8.
    pub(super) fn reserve(&mut self, more: usize, seed: Seed) {
        let wanted = (self.used + more) * 8 / 5 + 1;
        if wanted <= self.slots.len() {
            return;
        }
        let slots = vec![FREE; wanted.next_power_of_two()];
        for slot in std::mem::replace(&mut self.slots, slots) {
            if slot.id != EMPTY {
                let free = self
                    .find(slot.key, slot.key.hash(seed))
                    .expect_err("no key is there twice");
                self.slots[free] = slot;
            }
        }
    }

    /// Removes all keys; keeps the memory, unless it is far more than the keys needed.
    pub(super) fn clear(&mut self) {
        if self.slots.len() > SLOTS_MIN.max(16 * self.used) {
            *self = Self::new();
        } else {
            self.slots.fill(FREE);
            self.used = 0;
        }
    }

    /// Returns the bytes of memory that the slots take.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Slot>() * self.slots.len()
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "only the low bits are wanted")]
    fn index(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }
}
