//! From separator masks to token spans.
//!
//! The whole text of a batch is scanned in blocks of 64 bytes, whatever the rows; the rows' first bytes join in as a
//! second mask, so that tokens end where rows do. With `n` = "is no separator", `p` = "the byte before is none" and
//! `r` = "a row starts here", a token starts at the bits of `n & (!p | r)` and has ended before those of `p & (!n | r)`.
//!
//! The places of the bits of such a mask come out 16 at a time with AVX-512 (VBMI2), or twelve in a row: a loop that ends
//! after each bit is left by a branch that nobody can foresee.

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
use super::path::Level;
use super::path::Path;
use super::separators::{ByteSet, separator_masks_by};

/// Bits that are taken in a row, whether there are so many or not: as many as most blocks of 64 bytes have words. Of 4, 8,
/// 12 and 16 the quickest in texts of words of six letters.
const IN_A_ROW: usize = 12;

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
    token_spans_by(Path::best(), offsets, text, separators, masks, starts, ends);
}

/// Does the same as [`token_spans`] by a certain path.
///
/// # Panics
/// As [`token_spans`] does.
pub fn token_spans_by(
    path: Path,
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
    separator_masks_by(path, &text[first..last], separators, masks);
    let text = Masked {
        offsets,
        masks,
        first,
        last,
    };
    match path.level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => x86::spans_by_avx512(text, starts, ends),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => x86::spans_by_avx2(text, starts, ends),
        _ => append_spans(text, starts, ends, append_bits),
    }
}

/// A text between `first` and `last`, by its rows and the masks of its separators.
#[derive(Clone, Copy)]
struct Masked<'a> {
    offsets: &'a [i32],
    masks: &'a [u64],
    first: usize,
    last: usize,
}

/// Appends the spans of a text. `append` appends the places of the bits of a mask, counted from its second argument on.
#[inline(always)]
fn append_spans(
    text: Masked<'_>,
    starts: &mut Vec<u32>,
    ends: &mut Vec<u32>,
    append: impl Fn(u64, usize, &mut Vec<u32>),
) {
    let Masked {
        offsets,
        masks,
        first,
        last,
    } = text;
    let tokens_max = runs(masks) + offsets.len() + IN_A_ROW;
    starts.reserve(tokens_max);
    ends.reserve(tokens_max);
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
#[inline(always)]
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

/// Appends the places of the bits, counted from `base` on: always twelve, of which the last ones are taken back.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the text is smaller than 4 GiB")]
fn append_bits(mut bits: u64, base: usize, positions: &mut Vec<u32>) {
    let (base, end) = (base as u32, positions.len() + bits.count_ones() as usize);
    while bits != 0 {
        let places: [u32; IN_A_ROW] = std::array::from_fn(|_| {
            let place = base.wrapping_add(bits.trailing_zeros());
            bits &= bits.wrapping_sub(1);
            place
        });
        positions.extend_from_slice(&places);
    }
    positions.truncate(end);
}

#[inline]
fn index(offset: i32) -> usize {
    usize::try_from(offset).expect("Arrow offsets are never negative")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Compares every path of this processor with a plain split.
    #[track_caller]
    fn check(rows: &[&[u8]], skipped: usize) {
        let separators = ByteSet::new(|byte| byte.is_ascii_whitespace());
        let text = rows.concat();
        let mut offsets = vec![0_i32];
        offsets.extend(rows.iter().scan(0, |end, row| {
            *end += i32::try_from(row.len()).expect("small");
            Some(*end)
        }));
        let offsets = &offsets[skipped..];
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
        for path in Path::all() {
            // What is there stays there.
            let (mut starts, mut ends) = (vec![3], vec![4]);
            token_spans_by(path, offsets, &text, &separators, &mut vec![7], &mut starts, &mut ends);
            assert_eq!((starts[0], ends[0]), (3, 4), "{}", path.name());
            let spans = starts[1..].iter().zip(&ends[1..]);
            let tokens: Vec<&[u8]> = spans
                .map(|(&start, &end)| &text[start as usize..end as usize])
                .collect();
            assert_eq!(tokens, naive, "{}", path.name());
        }
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

    #[test]
    fn every_number_of_words_in_a_block_comes_out_whole() {
        for words in 0..=32 {
            let row = b"x ".repeat(words);
            check(&[&row, &row], 0);
            check(&[&vec![b' '; 64 - words], &row], 0);
        }
    }

    proptest! {
        #[test]
        fn spans_are_those_of_a_plain_split(rows in prop::collection::vec("[a \\n]{0,80}|\\PC{0,20}", 0..20), skip: bool) {
            let rows: Vec<&[u8]> = rows.iter().map(String::as_bytes).collect();
            check(&rows, usize::from(skip && !rows.is_empty()));
        }
    }
}
