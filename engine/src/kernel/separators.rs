//! Which bytes of a text are separators, as one bit a byte: 64 bytes at a time with AVX2 or SSSE3, or by a table.
//!
//! Any set of ASCII bytes is looked up with two shuffles (the nibble technique of simdjson and of W. Mula's
//! "SIMDized check which bytes are in a set"): `low[byte & 15]` has bit `h` set when the byte `16 * h + (byte & 15)`
//! is in the set, `1 << (byte >> 4)` picks the bit. Bytes from 0x80 on are never in a [`ByteSet`].

/// A set of ASCII bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSet {
    low: [u8; 16],
}

impl ByteSet {
    /// Returns the set of the ASCII bytes for which `holds` is true.
    pub fn new(holds: impl Fn(u8) -> bool) -> Self {
        let mut low = [0; 16];
        for byte in (0..128_u8).filter(|&byte| holds(byte)) {
            low[usize::from(byte & 15)] |= 1 << (byte >> 4);
        }
        Self { low }
    }

    /// Returns whether `byte` is in the set.
    #[inline]
    pub fn contains(&self, byte: u8) -> bool {
        byte < 128 && self.low[usize::from(byte & 15)] >> (byte >> 4) & 1 == 1
    }
}

/// Appends one `u64` for every 64 bytes of `text`: bit `i` is set when byte `i` of the block is in `set`. The bits past
/// the end of `text` are set.
pub fn separator_masks(text: &[u8], set: &ByteSet, masks: &mut Vec<u64>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return x86::masks_by_avx2(text, set, masks);
    } else if std::arch::is_x86_feature_detected!("ssse3") {
        return x86::masks_by_ssse3(text, set, masks);
    }
    masks_by_table(text, set, masks);
}

fn masks_by_table(text: &[u8], set: &ByteSet, masks: &mut Vec<u64>) {
    masks_of_blocks(text, masks, |block| {
        let bit = |(at, &byte): (usize, &u8)| u64::from(set.contains(byte)) << at;
        block.iter().enumerate().map(bit).fold(0, |mask, bit| mask | bit)
    });
}

/// Calls `classify` on every block of 64 bytes, the last one padded.
#[inline(always)]
fn masks_of_blocks(text: &[u8], masks: &mut Vec<u64>, classify: impl Fn(&[u8; 64]) -> u64) {
    let (blocks, rest) = text.as_chunks::<64>();
    masks.extend(blocks.iter().map(&classify));
    if !rest.is_empty() {
        let mut padded = [0; 64];
        padded[..rest.len()].copy_from_slice(rest);
        masks.push(classify(&padded) | u64::MAX << rest.len());
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{ByteSet, masks_of_blocks};

    /// `1 << h` for the high nibbles of ASCII bytes; other bytes get no bit.
    const HIGH: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0];

    #[expect(
        unsafe_code,
        reason = "vector instructions: ten times the table's speed in benches/kernel.rs"
    )]
    pub(super) fn masks_by_avx2(text: &[u8], set: &ByteSet, masks: &mut Vec<u64>) {
        debug_assert!(std::arch::is_x86_feature_detected!("avx2"), "the caller checked");
        // SAFETY: the caller has checked that the processor has AVX2.
        unsafe { avx2(text, set, masks) }
    }

    #[expect(unsafe_code, reason = "vector instructions for processors without AVX2")]
    pub(super) fn masks_by_ssse3(text: &[u8], set: &ByteSet, masks: &mut Vec<u64>) {
        debug_assert!(std::arch::is_x86_feature_detected!("ssse3"), "the caller checked");
        // SAFETY: the caller has checked that the processor has SSSE3.
        unsafe { ssse3(text, set, masks) }
    }

    #[target_feature(enable = "avx2")]
    fn avx2(text: &[u8], set: &ByteSet, masks: &mut Vec<u64>) {
        let low = _mm256_broadcastsi128_si256(load16(&set.low));
        let high = _mm256_broadcastsi128_si256(load16(&HIGH));
        let nibble = _mm256_set1_epi8(15);
        masks_of_blocks(text, masks, |block| {
            let mut mask = 0;
            for (at, half) in block.as_chunks::<32>().0.iter().enumerate() {
                let bytes = load32(half);
                let columns = _mm256_shuffle_epi8(low, bytes);
                let rows = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble));
                let outside = _mm256_cmpeq_epi8(_mm256_and_si256(columns, rows), _mm256_setzero_si256());
                mask |= u64::from(!_mm256_movemask_epi8(outside).cast_unsigned()) << (32 * at);
            }
            mask
        });
    }

    #[target_feature(enable = "ssse3")]
    fn ssse3(text: &[u8], set: &ByteSet, masks: &mut Vec<u64>) {
        let (low, high) = (load16(&set.low), load16(&HIGH));
        let nibble = _mm_set1_epi8(15);
        masks_of_blocks(text, masks, |block| {
            let mut mask = 0;
            for (at, quarter) in block.as_chunks::<16>().0.iter().enumerate() {
                let bytes = load16(quarter);
                let columns = _mm_shuffle_epi8(low, bytes);
                let rows = _mm_shuffle_epi8(high, _mm_and_si128(_mm_srli_epi16::<4>(bytes), nibble));
                let outside = _mm_cmpeq_epi8(_mm_and_si128(columns, rows), _mm_setzero_si128());
                mask |= u64::from(!_mm_movemask_epi8(outside).cast_unsigned() & 0xffff) << (16 * at);
            }
            mask
        });
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "the load has no safe form")]
    fn load16(bytes: &[u8; 16]) -> __m128i {
        // SAFETY: the reference covers the 16 bytes; the load is unaligned; SSE2 is part of x86-64.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    #[expect(unsafe_code, reason = "the load has no safe form")]
    fn load32(bytes: &[u8; 32]) -> __m256i {
        // SAFETY: the reference covers the 32 bytes; the load is unaligned.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Masks = fn(&[u8], &ByteSet, &mut Vec<u64>);

    #[track_caller]
    fn check(text: &[u8], set: &ByteSet) {
        let naive: Vec<bool> = text.iter().map(|&byte| set.contains(byte)).collect();
        let mut paths: Vec<Masks> = vec![masks_by_table, separator_masks];
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("ssse3") {
            paths.push(x86::masks_by_ssse3);
        }
        for path in paths {
            let mut masks = vec![];
            path(text, set, &mut masks);
            assert_eq!(masks.len(), text.len().div_ceil(64));
            let bits = masks
                .iter()
                .flat_map(|mask| (0..64).map(move |bit| mask >> bit & 1 == 1));
            let padded = naive.iter().copied().chain(std::iter::repeat(true));
            assert!(bits.zip(padded).all(|(got, expected)| got == expected), "{text:?}");
        }
    }

    #[test]
    fn every_byte_is_classified_in_every_place_of_a_block() {
        let set = ByteSet::new(|byte| b" \t\n\x0c\r,_~\x7f\0".contains(&byte));
        let text: Vec<u8> = (0..=255).chain(0..=255).chain(0..=66).collect();
        (0..64).for_each(|from| check(&text[from..], &set));
    }

    proptest! {
        #[test]
        fn every_path_agrees_with_the_table(text: Vec<u8>, members: Vec<u8>) {
            check(&text, &ByteSet::new(|byte| members.contains(&byte)));
        }
    }
}
