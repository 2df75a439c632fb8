//! Keys on their way into a table, some hundred at once.

use super::bytes::NULL;
use super::counts::SHORT_MAX;
use crate::kernel::hash::{Seed, hash_bytes, hash_packed};
use crate::kernel::pack::{PACKED_MAX, Packed};

/// Keys handled at once: their packed forms and hashes (10 KiB) stay in the first-level cache.
pub(super) const RUN: usize = 256;

/// A long key on its way into a table, where no key is equal to it: only its bytes tell.
const UNPACKED: Packed = Packed([u64::MAX; 4]);

/// Keys, and their hashes.
#[derive(Debug)]
pub(super) struct Run {
    keys: [Packed; RUN],
    hashes: [u64; RUN],
    len: usize,
}

/// Places in a run.
pub(super) struct Places {
    places: [u8; RUN],
    len: usize,
}

impl Run {
    pub(super) fn new() -> Self {
        Self {
            keys: [NULL; RUN],
            hashes: [0; RUN],
            len: 0,
        }
    }

    /// Takes at most [`RUN`] keys, each the text from its first number to its second, or null.
    #[inline(always)]
    pub(super) fn fill(
        &mut self,
        text: &[u8],
        seed: Seed,
        spans: impl ExactSizeIterator<Item = Option<(usize, usize)>>,
    ) {
        self.len = spans.len();
        for ((key, hash), span) in self.keys.iter_mut().zip(&mut self.hashes).zip(spans) {
            (*key, *hash) = match span {
                Some((start, end)) if end.wrapping_sub(start) <= PACKED_MAX => {
                    let key = Packed::new(text, start, end - start);
                    (key, hash_packed(key, seed))
                }
                Some((start, end)) => (UNPACKED, hash_bytes(&text[start..end], seed)),
                None => (NULL, hash_packed(NULL, seed)),
            };
        }
    }

    /// Takes at most [`RUN`] keys of up to [`SHORT_MAX`] bytes, or null, and hands the others to `long`.
    #[inline(always)]
    pub(super) fn fill_short(
        &mut self,
        text: &[u8],
        seed: Seed,
        spans: impl Iterator<Item = Option<(u32, u32)>>,
        mut long: impl FnMut(u32, u32),
    ) {
        self.clear();
        for span in spans {
            let key = match span {
                Some((start, end)) if end.wrapping_sub(start) <= SHORT_MAX => {
                    Packed::new(text, start as usize, (end - start) as usize)
                }
                Some((start, end)) => {
                    long(start, end);
                    continue;
                }
                None => NULL,
            };
            self.push(key, hash_packed(key, seed));
        }
    }

    /// Adds a key.
    #[inline(always)]
    pub(super) fn push(&mut self, key: Packed, hash: u64) {
        (self.keys[self.len], self.hashes[self.len]) = (key, hash);
        self.len += 1;
    }

    /// Forgets the keys.
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Takes at most [`RUN`] keys of a table, with their hashes.
    #[inline(always)]
    pub(super) fn take(&mut self, keys: impl ExactSizeIterator<Item = (Packed, u64)>) {
        self.len = keys.len();
        for ((key, hash), of_table) in self.keys.iter_mut().zip(&mut self.hashes).zip(keys) {
            (*key, *hash) = of_table;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn keys(&self) -> &[Packed] {
        &self.keys[..self.len]
    }

    #[inline]
    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes[..self.len]
    }

    /// Returns the key at a place, and its hash.
    #[inline]
    pub(super) fn get(&self, place: usize) -> (Packed, u64) {
        (self.keys[place], self.hashes[place])
    }
}

impl Places {
    pub(super) fn new() -> Self {
        Self {
            places: [0; RUN],
            len: 0,
        }
    }

    /// Adds a place of the run if `belongs`, without a branch.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a run has 256 places")]
    pub(super) fn add_if(&mut self, place: usize, belongs: bool) {
        self.places[self.len % RUN] = place as u8;
        self.len += usize::from(belongs);
    }

    /// Returns the places, in the order in which they were added.
    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.places[..self.len].iter().map(|&place| usize::from(place))
    }
}

#[cfg(test)]
impl Run {
    /// Returns one key, or null, under a hash that is not its own.
    pub(super) fn of(bytes: Option<&[u8]>, hash: u64) -> Self {
        let mut run = Self::new();
        let span = bytes.map(|bytes| (0, bytes.len()));
        run.fill(bytes.unwrap_or_default(), Seed(1, 2), std::iter::once(span));
        run.hashes[0] = hash;
        run
    }
}
