//! The loop that everybody would write, and a hash of what it counts, to compare with.

use std::collections::HashMap;

/// Counts words as the standard library makes it easiest.
#[derive(Debug, Default)]
pub(crate) struct PlainCount(pub(crate) HashMap<String, u64>);

impl PlainCount {
    /// Counts the words of a line.
    pub(crate) fn add(&mut self, line: &str) {
        for word in line.split_whitespace() {
            *self.0.entry(word.to_owned()).or_default() += 1;
        }
    }

    /// Returns the hash of the counts.
    pub(crate) fn hash(&self) -> u64 {
        self.0.iter().fold(0, |sum, (word, &count)| {
            sum.wrapping_add(hash_count(word.as_bytes(), count))
        })
    }
}

/// Returns a word's share in the hash of all counts; shares are added, so that order does not matter.
pub(crate) fn hash_count(word: &[u8], count: u64) -> u64 {
    // FNV-1a, 64 bits (Fowler, Noll, Vo).
    let byte = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    word.iter().fold(0xcbf2_9ce4_8422_2325, byte).wrapping_mul(count)
}
