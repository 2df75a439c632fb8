//! From separator masks to token spans.
//!
//! The whole text of a batch is scanned in blocks of 64 bytes, whatever the rows; the rows' first bytes join in as a
//! second mask, so that tokens end where rows do. With `n` = "is no separator", `p` = "the byte before is none" and
//! `r` = "a row starts here", a token starts at the bits of `n & (!p | r)` and has ended before those of `p & (!n | r)`.

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
    let mut rows = RowStarts { offsets, next: 0 };
    let mut before = 0; // 1 when the last byte of the block before is no separator
    for (block, mask) in masks.iter().enumerate() {
        let base = first + 64 * block;
        let inside = !mask;
        let previous = inside << 1 | before;
        let row = rows.mask(base);
        append_bits(inside & (!previous | row), base, starts);
        append_bits(previous & (!inside | row), base, ends);
        before = inside >> 63;
    }
    if before == 1 {
        append_bits(1, last, ends);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    proptest! {
        #[test]
        fn spans_are_those_of_a_plain_split(rows in prop::collection::vec("[a \\n]{0,80}|\\PC{0,20}", 0..20), skip: bool) {
            let rows: Vec<&[u8]> = rows.iter().map(String::as_bytes).collect();
            check(&rows, usize::from(skip && !rows.is_empty()));
        }
    }
}
