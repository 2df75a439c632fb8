//! With SSE2, AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::{ByteSet, HIGH, Ranges, masks_of_blocks};

/// The caller has a path that says that the processor has AVX-512 F and BW.
#[expect(
    unsafe_code,
    reason = "vector instructions: 1.2 to 1.3 times AVX2 in benches/kernel.rs"
)]
pub(super) fn masks_by_avx512(text: &[u8], set: &ByteSet, masks: &mut Vec<u64>) {
    debug_assert!(std::arch::is_x86_feature_detected!("avx512bw"), "the path says so");
    // SAFETY: there is a path of this level only where the processor has these instructions.
    unsafe { avx512(text, set, masks) }
}

/// The caller has a path that says that the processor has AVX2.
#[expect(unsafe_code, reason = "vector instructions: five times SSE2 in benches/kernel.rs")]
pub(super) fn masks_by_avx2(text: &[u8], set: &ByteSet, masks: &mut Vec<u64>) {
    debug_assert!(std::arch::is_x86_feature_detected!("avx2"), "the path says so");
    // SAFETY: there is a path of this level only where the processor has these instructions.
    unsafe { avx2(text, set, masks) }
}

/// The caller runs on any x86-64.
#[expect(
    unsafe_code,
    reason = "vector instructions: 1.3 times the portable path for logs in benches/kernel.rs"
)]
pub(super) fn masks_by_sse2(text: &[u8], ranges: &Ranges, masks: &mut Vec<u64>) {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { sse2(text, ranges, masks) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn avx512(text: &[u8], set: &ByteSet, masks: &mut Vec<u64>) {
    let low = _mm512_broadcast_i32x4(load16(&set.low));
    let high = _mm512_broadcast_i32x4(load16(&HIGH));
    let nibble = _mm512_set1_epi8(15);
    masks_of_blocks(text, masks, |block| {
        let bytes = load64(block);
        let columns = _mm512_shuffle_epi8(low, bytes);
        let rows = _mm512_shuffle_epi8(high, _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), nibble));
        _mm512_test_epi8_mask(columns, rows)
    });
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

/// There is no unsigned comparison: a number is at most another one when it is the smaller of both.
#[target_feature(enable = "sse2")]
fn sse2(text: &[u8], ranges: &Ranges, masks: &mut Vec<u64>) {
    masks_of_blocks(text, masks, |block| {
        let mut mask = 0;
        for (at, quarter) in block.as_chunks::<16>().0.iter().enumerate() {
            let bytes = load16(quarter);
            let mut inside = _mm_setzero_si128();
            for range in ranges.iter() {
                let after = _mm_sub_epi8(bytes, _mm_set1_epi8(range.first.cast_signed()));
                let more = _mm_set1_epi8(range.more.cast_signed());
                inside = _mm_or_si128(inside, _mm_cmpeq_epi8(_mm_min_epu8(after, more), after));
            }
            mask |= u64::from(_mm_movemask_epi8(inside).cast_unsigned()) << (16 * at);
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

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "the load has no safe form")]
fn load64(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes; the load is unaligned.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}
