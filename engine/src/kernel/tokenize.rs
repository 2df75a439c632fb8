//! From separator masks to token spans.
//!
//! The whole text of a batch is scanned in blocks of 64 bytes, whatever the rows; the rows' first bytes join in as a
//! second mask, so that tokens end where rows do. With `n` = "is no separator", `p` = "the byte before is none" and
//! `r` = "a row starts here", a token starts at the bits of `n & (!p | r)` and has ended before those of `p & (!n | r)`.
//!
//! The places of the bits of such a mask come out 16 at a time with AVX-512 (VBMI2), or one by one.

use super::separators::{ByteSet, separator_masks};

/// Appends the spans of all tokens of all rows: maximal runs of bytes outside `separators`, none across rows.
///
/// Row `i` is `text[offsets[i]..offsets[i + 1]]`, as in an Arrow string array; spans are relative to `text`.
/// `masks` is scratch.
///
/// # Panics
/// When the offsets do not rise or are outside of `text`, or when `text` has 4 GiB or more.
pub fn token_spans(
    offsets: &[i32],
    text: &[u8],
    separators: &ByteSet,
    masks: &mut Vec<u64>,
    starts: &mut Vec<u32>,
    ends: &mut Vec<u32>,
) {
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
        return;
    };
    let (first, last) = (index(first), index(last));
    assert!(
        u32::try_from(text.len()).is_ok(),
        "a batch's text is smaller than 4 GiB"
    );
    masks.clear();
    separator_masks(&text[first..last], separators, masks);

    let tokens_max = runs(masks) + offsets.len();
    starts.reserve(tokens_max);
    ends.reserve(tokens_max);
    #[cfg(target_arch = "x86_64")]
    if x86::is_supported() {
        x86::append_spans(offsets, masks, first, last, starts, ends);
        return;
    }
    append_spans(offsets, masks, first, last, starts, ends, append_bits);
}

/// Appends the spans of the text between `first` and `last`, given as masks of its separators. `append` appends the places
/// of the bits of a mask, counted from its second argument on.
#[inline(always)]
fn append_spans(
    offsets: &[i32],
    masks: &[u64],
    first: usize,
    last: usize,
    starts: &mut Vec<u32>,
    ends: &mut Vec<u32>,
    append: impl Fn(u64, usize, &mut Vec<u32>),
) {
    let mut rows = RowStarts { offsets, next: 0 };
    let mut before = 0; // 1 when the last byte of the block before is no separator
    for (block, mask) in masks.iter().enumerate() {
        let base = first + 64 * block;
        let inside = !mask;
        let previous = inside << 1 | before;
        let row = rows.mask(base);
        append(inside & (!previous | row), base, starts);
        append(previous & (!inside | row), base, ends);
        before = inside >> 63;
    }
    if before == 1 {
        append(1, last, ends);
    }
    debug_assert_eq!(starts.len(), ends.len(), "every token that starts also ends");
}

/// Returns the number of runs of bytes that are no separators, if there were no rows: a row's first byte can add one.
fn runs(masks: &[u64]) -> usize {
    let mut before = 0;
    let starts = |mask: &u64| {
        let inside = !mask;
        let starts = inside & !(inside << 1 | before);
        before = inside >> 63;
        starts.count_ones() as usize
    };
    masks.iter().map(starts).sum()
}

/// Walks the rows' first bytes alongside the blocks.
struct RowStarts<'a> {
    offsets: &'a [i32],
    next: usize,
}

impl RowStarts<'_> {
    /// Returns the rows that start in the 64 bytes from `base` on, one bit each.
    #[inline]
    fn mask(&mut self, base: usize) -> u64 {
        let mut mask = 0;
        while let Some(&offset) = self.offsets.get(self.next) {
            let at = index(offset) - base;
            if at >= 64 {
                break;
            }
            mask |= 1 << at;
            self.next += 1;
        }
        mask
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the text is smaller than 4 GiB")]
fn append_bits(mut bits: u64, base: usize, positions: &mut Vec<u32>) {
    let base = base as u32;
    while bits != 0 {
        positions.push(base + bits.trailing_zeros());
        bits &= bits - 1;
    }
}

#[inline]
fn index(offset: i32) -> usize {
    usize::try_from(offset).expect("Arrow offsets are never negative")
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// What can be written behind the places of one mask.
    const SLACK: usize = 64;

    /// Returns whether the processor has what [`append_spans`] uses.
    pub(super) fn is_supported() -> bool {
        std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512vbmi2")
    }

    #[expect(unsafe_code, reason = "vector instructions: the places of 16 words at a time")]
    pub(super) fn append_spans(
        offsets: &[i32],
        masks: &[u64],
        first: usize,
        last: usize,
        starts: &mut Vec<u32>,
        ends: &mut Vec<u32>,
    ) {
        debug_assert!(is_supported(), "the caller checked");
        // SAFETY: the caller has checked that the processor has these instructions.
        unsafe { by_compression(offsets, masks, first, last, starts, ends) }
    }

    #[target_feature(enable = "avx512f,avx512vbmi2")]
    fn by_compression(
        offsets: &[i32],
        masks: &[u64],
        first: usize,
        last: usize,
        starts: &mut Vec<u32>,
        ends: &mut Vec<u32>,
    ) {
        super::append_spans(offsets, masks, first, last, starts, ends, |bits, base, positions| {
            compress(bits, base, positions)
        });
    }

    /// Appends the places of the bits: the numbers 0 to 63 are compressed to those of the bits, widened and added to
    /// `base`, 16 at once.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vbmi2")]
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
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the spans by the path for processors without vector instructions.
    fn spans_bit_by_bit(offsets: &[i32], text: &[u8], separators: &ByteSet) -> (Vec<u32>, Vec<u32>) {
        let (mut masks, mut starts, mut ends) = (vec![], vec![], vec![]);
        if let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) {
            let (first, last) = (index(first), index(last));
            separator_masks(&text[first..last], separators, &mut masks);
            append_spans(offsets, &masks, first, last, &mut starts, &mut ends, append_bits);
        }
        (starts, ends)
    }

    #[track_caller]
    fn check(rows: &[&[u8]], skipped: usize) {
        let separators = ByteSet::new(|byte| byte.is_ascii_whitespace());
        let text = rows.concat();
        let mut offsets = vec![0_i32];
        offsets.extend(rows.iter().scan(0, |end, row| {
            *end += i32::try_from(row.len()).expect("small");
            Some(*end)
        }));
        let (mut starts, mut ends) = (vec![], vec![]);
        token_spans(
            &offsets[skipped..],
            &text,
            &separators,
            &mut vec![],
            &mut starts,
            &mut ends,
        );
        let bitwise = spans_bit_by_bit(&offsets[skipped..], &text, &separators);
        assert_eq!((&starts, &ends), (&bitwise.0, &bitwise.1));
        let spans = starts.iter().zip(&ends);
        let tokens: Vec<&[u8]> = spans
            .map(|(&start, &end)| &text[start as usize..end as usize])
            .collect();
        let split = |row: &&'_ [u8]| {
            row.split(u8::is_ascii_whitespace)
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        };
        let naive: Vec<Vec<u8>> = rows[skipped..]
            .iter()
            .flat_map(split)
            .filter(|token| !token.is_empty())
            .collect();
        assert_eq!(tokens, naive);
    }

    #[test]
    fn tokens_never_join_across_rows() {
        check(&[b"a", b"b", b"", b"c d", b"e"], 0);
        check(&[b"a", b"b", b"", b"c d", b"e"], 2);
        check(&[], 0);
        check(&[b""], 0);
    }

    #[test]
    fn repeated_leading_and_trailing_separators_make_no_token() {
        check(&[b"  a  b ", b" ", b"\t\r\n\x0c"], 0);
    }

    #[test]
    fn tokens_and_rows_may_end_at_block_edges() {
        for length in [62, 63, 64, 65, 127, 128, 129] {
            let row = vec![b'x'; length];
            check(&[&row, b"y", &row, b" ", &row], 0);
        }
    }

    #[test]
    fn a_block_of_rows_of_one_byte_has_a_token_at_each_bit() {
        let rows: [&[u8]; 200] = [b"x"; 200];
        check(&rows, 0);
        check(&rows, 7);
    }

    proptest! {
        #[test]
        fn spans_are_those_of_a_plain_split(rows in prop::collection::vec("[a \\n]{0,80}|\\PC{0,20}", 0..20), skip: bool) {
            let rows: Vec<&[u8]> = rows.iter().map(String::as_bytes).collect();
            check(&rows, usize::from(skip && !rows.is_empty()));
        }
    }
}
