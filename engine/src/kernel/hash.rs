//! Seeded hashing of keys by folded multiplication: the two halves of a 64 x 64 -> 128 bit product, xor-ed (the mixing
//! step of wyhash and foldhash).
//!
//! All tables of a job share one seed, so a hash made by a worker serves the merge and the choice of the state shard.
//! The seed is random for each job, so that crafted keys can't make tables degenerate.

use serde::{Deserialize, Serialize};

use super::pack::Packed;

/// The random numbers that a job's hashes depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed(pub u64, pub u64);

/// An odd constant with well-spread bits: the golden ratio's, as in splitmix64.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Seed {
    /// Returns a seed made from the standard library's per-process random keys.
    pub fn random() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let state = RandomState::new();
        Self(state.hash_one(0), state.hash_one(1))
    }
}

/// Returns the hash of a packed key, or of what stands in its place.
#[inline(always)]
pub fn hash_packed(key: Packed, seed: Seed) -> u64 {
    let [a, b, c, d] = key.0;
    let first = fold(a ^ seed.0, b ^ seed.1);
    let second = fold(c ^ seed.1, d ^ seed.0);
    fold(first ^ seed.1, second ^ SPREAD)
}

/// Returns the hash of a number.
#[inline]
pub fn hash_number(number: u64, seed: Seed) -> u64 {
    fold(fold(number ^ seed.0, seed.1) ^ seed.1, SPREAD)
}

/// Returns the hash of a byte string.
#[inline]
pub fn hash_bytes(bytes: &[u8], seed: Seed) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<16>();
    let mut hash = seed.0 ^ (bytes.len() as u64).wrapping_mul(SPREAD);
    for block in blocks {
        let (low, high) = halves(u128::from_le_bytes(*block));
        hash = fold(low ^ hash, high ^ seed.1);
    }
    // The tail overlaps the last block when there is one, so that no byte loop is needed.
    let tail = match bytes.last_chunk::<16>() {
        Some(tail) => u128::from_le_bytes(*tail),
        None => {
            let mut padded = [0; 16];
            padded[..rest.len()].copy_from_slice(rest);
            u128::from_le_bytes(padded)
        }
    };
    let (low, high) = halves(tail);
    fold(fold(low ^ hash, high ^ seed.1) ^ seed.1, SPREAD)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
fn halves(value: u128) -> (u64, u64) {
    (value as u64, (value >> 64) as u64)
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let (low, high) = halves(u128::from(a) * u128::from(b));
    low ^ high
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::kernel::pack::PACKED_MAX;

    const SEED: Seed = Seed(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344);

    #[test]
    fn a_hash_depends_on_every_byte_the_length_and_the_seed() {
        let mut hashes = HashSet::new();
        for length in 0..100 {
            let mut bytes = vec![7; length];
            assert!(hashes.insert(hash_bytes(&bytes, SEED)), "length {length}");
            assert!(
                hashes.insert(hash_bytes(&bytes, Seed(3, 4))),
                "another seed, length {length}"
            );
            for at in 0..length {
                bytes[at] = 8;
                assert!(hashes.insert(hash_bytes(&bytes, SEED)), "length {length}, byte {at}");
                bytes[at] = 7;
            }
        }
    }

    #[test]
    fn a_hash_of_a_packed_key_depends_on_every_byte_and_the_length() {
        let mut hashes = HashSet::new();
        for length in 0..=PACKED_MAX {
            let mut bytes = vec![7; length];
            assert!(hashes.insert(hash_packed(Packed::new(&bytes, 0, length), SEED)));
            for at in 0..length {
                bytes[at] = 0;
                let key = Packed::new(&bytes, 0, length);
                assert!(hashes.insert(hash_packed(key, SEED)), "length {length}, byte {at}");
                bytes[at] = 7;
            }
        }
    }

    #[test]
    fn low_and_high_bits_of_packed_hashes_are_spread() {
        for shift in [0, 52] {
            let values: HashSet<_> = (0..4096_u64)
                .map(|key| (hash_packed(Packed([key, 0, 0, 2 << 56]), SEED) >> shift) & 0xfff)
                .collect();
            assert!(
                values.len() > 2300,
                "{} of 4096, about 2589 expected of a random function",
                values.len()
            );
        }
    }
}
