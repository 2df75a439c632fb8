//! With NEON.

use std::arch::aarch64::*;

use super::{ByteSet, HIGH, masks_of_blocks};

/// The bit of each byte in the mask of its eight neighbours.
const BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];

/// The caller has a path that says that the processor has NEON.
#[expect(unsafe_code, reason = "vector instructions")]
pub(super) fn masks_by_neon(text: &[u8], set: &ByteSet, masks: &mut Vec<u64>) {
    debug_assert!(std::arch::is_aarch64_feature_detected!("neon"), "the path says so");
    // SAFETY: there is a path of this level only where the processor has these instructions.
    unsafe { neon(text, set, masks) }
}

/// Vectors have no mask: of each byte in the set its own bit is kept, and neighbours are added up, three times.
#[target_feature(enable = "neon")]
fn neon(text: &[u8], set: &ByteSet, masks: &mut Vec<u64>) {
    let (low, high, bits) = (load16(&set.low), load16(&HIGH), load16(&BITS));
    let nibble = vdupq_n_u8(15);
    masks_of_blocks(text, masks, |block| {
        let mut quarters = [vdupq_n_u8(0); 4];
        for (quarter, bytes) in quarters.iter_mut().zip(block.as_chunks::<16>().0) {
            let bytes = load16(bytes);
            let columns = vqtbl1q_u8(low, vandq_u8(bytes, nibble));
            let rows = vqtbl1q_u8(high, vshrq_n_u8::<4>(bytes));
            *quarter = vandq_u8(vtstq_u8(columns, rows), bits);
        }
        let [first, second, third, fourth] = quarters;
        let halves = vpaddq_u8(vpaddq_u8(first, second), vpaddq_u8(third, fourth));
        vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(halves, halves)))
    });
}

#[inline]
#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "the load has no safe form")]
fn load16(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the reference covers the 16 bytes; the load is unaligned.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}
