//! Where keys are found by their hashes: open addressing over slots of 8 bytes.

use crate::kernel::prefetch::prefetch;
use crate::memory;

/// Slots of a table that has just begun.
const SLOTS_MIN: usize = 64;

/// Slots from which a table is prefetched: with their keys they take half of a usual second-level cache of a megabyte.
const SLOTS_FAR: usize = 1 << 16;

/// A slot without a key; its id is none.
const EMPTY: u64 = u64::MAX;

/// Slots, each with the id of a key and 32 bits of its hash.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<u64>,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![EMPTY; SLOTS_MIN],
        }
    }

    /// Returns the id of the first key whose hash agrees with `hash` as far as the slots have it; an id
    /// that no key has, `u32::MAX`, if none does.
    #[inline(always)]
    pub(super) fn candidate(&self, hash: u64) -> u32 {
        let mask = self.slots.len() - 1;
        let mut index = slot_index(hash, mask);
        loop {
            let slot = self.slots[index];
            if agrees(slot, hash) || slot == EMPTY {
                return id_of(slot);
            }
            index = (index + 1) & mask;
        }
    }

    /// Returns the id of the key with `hash` for which `is` holds, or the free slot where such a key belongs.
    #[inline]
    pub(super) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut index = slot_index(hash, mask);
        loop {
            let slot = self.slots[index];
            if slot == EMPTY {
                return Err(index);
            }
            if agrees(slot, hash) && is(id_of(slot)) {
                return Ok(id_of(slot));
            }
            index = (index + 1) & mask;
        }
    }

    /// Puts a key into the free slot that [`find`](Self::find) returned.
    #[inline]
    pub(super) fn set(&mut self, free: usize, hash: u64, id: u32) {
        self.slots[free] = slot_of(hash, id);
    }

    /// Asks for the slot of a key before it is looked for.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch(&self.slots, slot_index(hash, self.slots.len() - 1));
    }

    /// Returns whether the slots and their keys do not fit the second-level cache.
    #[inline]
    pub(super) fn are_far(&self) -> bool {
        self.slots.len() >= SLOTS_FAR
    }

    /// Makes room for `more` keys beside those of `hashes`, so that a slot stays free and most keys are in the slot where they
    /// are looked for.
    #[inline]
    pub(super) fn reserve(&mut self, more: usize, hashes: &[u64]) {
        let wanted = (hashes.len() + more) * 16 / 9 + 1;
        if wanted > self.slots.len() {
            self.grow(wanted.next_power_of_two(), hashes);
        }
    }

    #[cold]
    fn grow(&mut self, slots: usize, hashes: &[u64]) {
        // The old slots go first: they are of no use, and the new ones may take their place.
        self.slots = Vec::new();
        self.slots.resize(slots, EMPTY);
        let mask = slots - 1;
        for (id, &hash) in (0..).zip(hashes) {
            let mut index = slot_index(hash, mask);
            while self.slots[index] != EMPTY {
                index = (index + 1) & mask;
            }
            self.slots[index] = slot_of(hash, id);
        }
    }

    /// Empties the slots of `keys` keys; keeps the memory, unless it is far more than they needed.
    pub(super) fn clear(&mut self, keys: usize) {
        if self.slots.len() > SLOTS_MIN.max(16 * keys) {
            self.slots = vec![EMPTY; SLOTS_MIN];
        } else {
            self.slots.fill(EMPTY);
        }
    }

    /// Returns the bytes of memory that the slots take.
    pub(super) fn memory(&self) -> usize {
        memory::of(&self.slots)
    }
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
    (slot ^ hash << 6) >> 32 == 0
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "only the low bits are wanted")]
fn slot_index(hash: u64, mask: usize) -> usize {
    hash as usize & mask
}
