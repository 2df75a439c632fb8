//! Keys of 16 to 31 bytes as two numbers, compared without a loop over bytes.
//!
//! Times, paths, ids and addresses are of this length: a third of the words of usual logs.

use crate::kernel::hash::{Seed, hash_pair};

/// The shortest of these keys.
pub(super) const MIDDLE_MIN: usize = 16;

/// The longest of these keys.
pub(super) const MIDDLE_MAX: usize = 31;

/// A key as its first and its last 16 bytes, which overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MiddleKey {
    first: u128,
    last: u128,
    length: usize,
}

impl MiddleKey {
    pub(super) const NONE: Self = Self {
        first: 0,
        last: 0,
        length: 0,
    };

    /// Returns the key `text[start..end]`.
    ///
    /// # Panics
    /// When the span is out of range or of another length.
    #[inline]
    pub(super) fn load(text: &[u8], start: usize, end: usize) -> Self {
        let length = end - start;
        debug_assert!((MIDDLE_MIN..=MIDDLE_MAX).contains(&length), "{length} bytes");
        let block = |at: usize| *text[at..].first_chunk().expect("the key has 16 bytes from here");
        Self {
            first: u128::from_le_bytes(block(start)),
            last: u128::from_le_bytes(block(end - 16)),
            length,
        }
    }

    /// Returns the number of bytes.
    #[inline]
    pub(super) fn len(self) -> usize {
        self.length
    }

    /// Returns the key's hash, which is that of `hash_bytes`.
    #[inline]
    pub(super) fn hash(self, seed: Seed) -> u64 {
        hash_pair(self.first, self.last, self.length, seed)
    }
}
