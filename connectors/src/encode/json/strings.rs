//! Strings between quotes.
//!
//! What needs an escape (quotes, backslashes, control characters) is looked up for a column as a whole, as one bit a byte. Most
//! strings have no such bit, and are copied as they are.

use std::io::Write;
use std::sync::LazyLock;

use arrow::array::{Array, GenericStringArray, OffsetSizeTrait};
use engine::kernel::separators::{ByteSet, separator_masks};

use super::Value;

static SPECIALS: LazyLock<ByteSet> = LazyLock::new(|| ByteSet::new(is_special));

/// A column of strings that stand one behind the other.
pub(super) struct Strings<'a, O> {
    offsets: &'a [O],
    text: &'a [u8],
    /// Where `text` begins in the column's buffer.
    first: usize,
    /// Which bytes of `text` need an escape.
    specials: Vec<u64>,
}

impl<'a, O: OffsetSizeTrait> Strings<'a, O> {
    pub(super) fn new(array: &'a GenericStringArray<O>) -> Self {
        let offsets = array.value_offsets();
        let (first, last) = (offsets[0].as_usize(), offsets[array.len()].as_usize());
        let text = &array.value_data()[first..last];
        let mut specials = Vec::with_capacity(text.len().div_ceil(64));
        separator_masks(text, &SPECIALS, &mut specials);
        Self {
            offsets,
            text,
            first,
            specials,
        }
    }

    /// Returns the first byte of `text` from `at` on that needs an escape, or `end`.
    #[inline]
    fn special(&self, at: usize, end: usize) -> usize {
        let words = at / 64..end.div_ceil(64);
        let mut kept = u64::MAX << (at % 64);
        for word in words {
            let found = self.specials[word] & kept;
            if found != 0 {
                return end.min(word * 64 + found.trailing_zeros() as usize);
            }
            kept = u64::MAX;
        }
        end
    }
}

impl<O: OffsetSizeTrait> Value for Strings<'_, O> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        let place = |offset: O| offset.as_usize() - self.first;
        let (mut at, end) = (place(self.offsets[row]), place(self.offsets[row + 1]));
        out.push(b'"');
        loop {
            let special = self.special(at, end);
            out.extend_from_slice(&self.text[at..special]);
            if special == end {
                break;
            }
            write_special(self.text[special], out);
            at = special + 1;
        }
        out.push(b'"');
    }
}

/// Writes the inside of a JSON string: runs without a special byte are copied whole.
pub(crate) fn write_escaped(mut text: &[u8], out: &mut Vec<u8>) {
    loop {
        let plain = plain_length(text);
        out.extend_from_slice(&text[..plain]);
        let Some(&special) = text.get(plain) else {
            return;
        };
        write_special(special, out);
        text = &text[plain + 1..];
    }
}

/// Returns how many leading bytes need no escape. Blocks of 16 are folded without a branch, which compiles to vector
/// instructions.
fn plain_length(text: &[u8]) -> usize {
    let blocks = text.chunks_exact(16);
    let clean = blocks
        .take_while(|block| !block.iter().fold(false, |special, byte| special | is_special(*byte)))
        .count();
    let rest = &text[clean * 16..];
    clean * 16 + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

fn write_special(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            write!(out, "\\u{byte:04x}").expect("a Vec takes every write");
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[inline]
fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_special_byte_is_found_at_every_place(length in 0_usize..70, place in 0_usize..70, byte in 0_u8..0x20) {
            let mut text = vec![b'x'; length];
            if let Some(at) = text.get_mut(place) {
                *at = byte;
            }
            prop_assert_eq!(plain_length(&text), place.min(length));
        }

        #[test]
        fn a_column_has_the_strings_that_are_escaped_one_by_one(texts in prop::collection::vec("[a\"\\\\\n]{0,9}|[a-z]{0,90}|\\PC{0,9}", 1..40), from in 0_usize..40) {
            let array = GenericStringArray::<i32>::from(texts.clone());
            let from = from.min(texts.len());
            let array = array.slice(from, texts.len() - from);
            let (column, mut by_column, mut one_by_one) = (Strings::new(&array), vec![], vec![]);
            for (row, text) in texts[from..].iter().enumerate() {
                column.write(row, &mut by_column);
                one_by_one.push(b'"');
                write_escaped(text.as_bytes(), &mut one_by_one);
                one_by_one.push(b'"');
            }
            prop_assert_eq!(by_column, one_by_one);
        }
    }
}
