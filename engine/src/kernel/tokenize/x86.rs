//! With AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::{Masked, append_bits, append_spans};

/// What can be written behind the places of one mask.
const SLACK: usize = 64;

/// The caller has a path that says that the processor has AVX-512 F and VBMI2.
#[expect(
    unsafe_code,
    reason = "vector instructions: 1.4 times the places one by one in benches/kernel.rs"
)]
pub(super) fn spans_by_avx512(text: Masked<'_>, starts: &mut Vec<u32>, ends: &mut Vec<u32>) {
    debug_assert!(std::arch::is_x86_feature_detected!("avx512vbmi2"), "the path says so");
    // SAFETY: there is a path of this level only where the processor has these instructions.
    unsafe { by_compression(text, starts, ends) }
}

/// The caller has a path that says that the processor has BMI1, BMI2 and POPCNT.
#[expect(
    unsafe_code,
    reason = "the next bit in two instructions: 1.2 times the speed in benches/kernel.rs"
)]
pub(super) fn spans_by_avx2(text: Masked<'_>, starts: &mut Vec<u32>, ends: &mut Vec<u32>) {
    debug_assert!(std::arch::is_x86_feature_detected!("bmi2"), "the path says so");
    // SAFETY: there is a path of this level only where the processor has these instructions.
    unsafe { bit_by_bit(text, starts, ends) }
}

#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
fn bit_by_bit(text: Masked<'_>, starts: &mut Vec<u32>, ends: &mut Vec<u32>) {
    append_spans(text, starts, ends, append_bits);
}

#[target_feature(enable = "avx512f,avx512vbmi2,bmi1,bmi2,popcnt")]
fn by_compression(text: Masked<'_>, starts: &mut Vec<u32>, ends: &mut Vec<u32>) {
    append_spans(text, starts, ends, |bits, base, positions| {
        compress(bits, base, positions)
    });
}

/// Appends the places of the bits: the numbers 0 to 63 are compressed to those of the bits, widened and added to
/// `base`, 16 at once.
#[inline]
#[target_feature(enable = "avx512f,avx512vbmi2,bmi1,bmi2,popcnt")]
#[expect(unsafe_code, reason = "there is no safe way to write past the end of a vector")]
#[expect(clippy::cast_possible_wrap, reason = "the bits count, whatever they stand for")]
#[expect(clippy::cast_possible_truncation, reason = "the text is smaller than 4 GiB")]
fn compress(bits: u64, base: usize, positions: &mut Vec<u32>) {
    const NUMBERS: [u8; 64] = {
        let mut numbers = [0; 64];
        let mut number = 0;
        while number < 64 {
            numbers[number] = number as u8;
            number += 1;
        }
        numbers
    };
    let (before, count) = (positions.len(), bits.count_ones() as usize);
    positions.reserve(SLACK);
    // SAFETY: the array has the 64 bytes that are loaded; the load is unaligned.
    let numbers = unsafe { _mm512_loadu_si512(NUMBERS.as_ptr().cast()) };
    let base = _mm512_set1_epi32(base as i32);
    let places = _mm512_maskz_compress_epi8(bits, numbers);
    let parts = [
        _mm512_castsi512_si128(places),
        _mm512_extracti32x4_epi32::<1>(places),
        _mm512_extracti32x4_epi32::<2>(places),
        _mm512_extracti32x4_epi32::<3>(places),
    ];
    for (part, places) in parts.into_iter().enumerate() {
        if part * 16 < count || part == 0 {
            let places = _mm512_add_epi32(_mm512_cvtepu8_epi32(places), base);
            // SAFETY: four times 16 numbers fit the 64 that were reserved behind the vector's end; the store is
            // unaligned.
            unsafe { _mm512_storeu_si512(positions.as_mut_ptr().add(before + 16 * part).cast(), places) };
        }
    }
    // SAFETY: `count` is at most 64, so that the capacity is reserved, and the numbers are written: all parts that
    // begin before `count`.
    unsafe { positions.set_len(before + count) };
}
