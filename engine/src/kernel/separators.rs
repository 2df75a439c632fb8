//! Which bytes of a text are separators, as one bit a byte.
//!
//! Any set of ASCII bytes is looked up with two shuffles (the nibble technique of simdjson and of W. Mula's
//! "SIMDized check which bytes are in a set"): `low[byte & 15]` has bit `h` set when the byte `16 * h + (byte & 15)`
//! is in the set, `1 << (byte >> 4)` picks the bit. Without shuffles a byte is compared with the ranges that the set
//! consists of: white space is three, and so are the bytes that end a JSON string. Bytes from 0x80 on are never in a
//! [`ByteSet`].

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::path::{Level, Path};

/// The most ranges that a byte is compared with: eight times four instructions for 16 bytes are still several times
/// quicker than a look at the table for each.
const RANGES_MAX: usize = 8;

/// A set of ASCII bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSet {
    low: [u8; 16],
    ranges: Option<Ranges>,
}

/// The members of a set as a few ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ranges {
    ranges: [Range; RANGES_MAX],
    count: usize,
}

/// The bytes from `first` on, `more` of them after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    first: u8,
    more: u8,
}

impl ByteSet {
    /// Returns the set of the ASCII bytes for which `holds` is true.
    pub fn new(holds: impl Fn(u8) -> bool) -> Self {
        let mut low = [0; 16];
        for byte in (0..128_u8).filter(|&byte| holds(byte)) {
            low[usize::from(byte & 15)] |= 1 << (byte >> 4);
        }
        let mut set = Self { low, ranges: None };
        set.ranges = Ranges::of(&set);
        set
    }

    /// Returns whether `byte` is in the set.
    #[inline]
    pub fn contains(&self, byte: u8) -> bool {
        byte < 128 && self.low[usize::from(byte & 15)] >> (byte >> 4) & 1 == 1
    }
}

impl Ranges {
    /// Returns the ranges that a set consists of, unless they are too many.
    fn of(set: &ByteSet) -> Option<Self> {
        let mut found = Self {
            ranges: [Range::default(); RANGES_MAX],
            count: 0,
        };
        let mut before = false;
        for byte in 0..128 {
            let inside = set.contains(byte);
            if inside && before {
                found.ranges[found.count - 1].more += 1;
            } else if inside {
                *found.ranges.get_mut(found.count)? = Range { first: byte, more: 0 };
                found.count += 1;
            }
            before = inside;
        }
        Some(found)
    }

    #[inline]
    fn iter(&self) -> impl Iterator<Item = &Range> {
        self.ranges[..self.count].iter()
    }
}

/// Appends one `u64` for every 64 bytes of `text`: bit `i` is set when byte `i` of the block is in `set`. The bits past
/// the end of `text` are set.
pub fn separator_masks(text: &[u8], set: &ByteSet, masks: &mut Vec<u64>) {
    separator_masks_by(Path::best(), text, set, masks);
}

/// Does the same as [`separator_masks`] by a certain path.
pub fn separator_masks_by(path: Path, text: &[u8], set: &ByteSet, masks: &mut Vec<u64>) {
    match (path.level(), &set.ranges) {
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, _) => x86::masks_by_avx512(text, set, masks),
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2, _) => x86::masks_by_avx2(text, set, masks),
        #[cfg(target_arch = "x86_64")]
        (Level::Sse2, Some(ranges)) => x86::masks_by_sse2(text, ranges, masks),
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        (Level::Neon, _) => neon::masks_by_neon(text, set, masks),
        (_, Some(ranges)) => masks_by_ranges(text, ranges, masks),
        (_, None) => masks_by_table(text, set, masks),
    }
}

/// Compares every byte with each range, in loops that a compiler makes vector instructions of.
fn masks_by_ranges(text: &[u8], ranges: &Ranges, masks: &mut Vec<u64>) {
    masks_of_blocks(text, masks, |block| {
        let mut inside = [0_u8; 64];
        for range in ranges.iter() {
            for (inside, byte) in inside.iter_mut().zip(block) {
                *inside |= u8::from(byte.wrapping_sub(range.first) <= range.more);
            }
        }
        let eighths = inside.as_chunks::<8>().0.iter().enumerate();
        eighths.fold(0, |mask, (at, eighth)| mask | bits_of(*eighth) << (8 * at))
    });
}

/// Returns eight bytes of 0 or 1 as eight bits: the product has byte `i` at bit `56 + i`, and carries nothing there.
#[inline]
fn bits_of(bytes: [u8; 8]) -> u64 {
    u64::from_le_bytes(bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56
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

/// `1 << h` for the high nibbles of ASCII bytes; other bytes get no bit.
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))]
const HIGH: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every path of this processor, and the table, against a look at each byte.
    #[track_caller]
    fn check(text: &[u8], set: &ByteSet) {
        let mut by_table = vec![];
        masks_by_table(text, set, &mut by_table);
        check_masks("table", text, set, &by_table);
        for path in Path::all() {
            let mut masks = vec![];
            separator_masks_by(path, text, set, &mut masks);
            check_masks(path.name(), text, set, &masks);
        }
        let mut masks = vec![7];
        separator_masks(text, set, &mut masks);
        assert_eq!(
            (masks[0], &masks[1..]),
            (7, by_table.as_slice()),
            "the best path appends"
        );
    }

    #[track_caller]
    fn check_masks(path: &str, text: &[u8], set: &ByteSet, masks: &[u64]) {
        assert_eq!(masks.len(), text.len().div_ceil(64), "{path}");
        let bits = masks
            .iter()
            .flat_map(|mask| (0..64).map(move |bit| mask >> bit & 1 == 1));
        let naive = text.iter().map(|&byte| set.contains(byte));
        let padded = naive.chain(std::iter::repeat(true));
        assert!(
            bits.zip(padded).all(|(got, expected)| got == expected),
            "{path}: {text:?}"
        );
    }

    /// A set of few ranges, and one of more than are compared.
    fn sets() -> [ByteSet; 4] {
        [
            ByteSet::new(|byte| byte.is_ascii_whitespace()),
            ByteSet::new(|byte| b" \t\n\x0c\r,_~\x7f\0".contains(&byte)),
            ByteSet::new(|byte| byte % 2 == 1),
            ByteSet::new(|_| false),
        ]
    }

    #[test]
    fn a_set_of_many_ranges_has_no_list_of_them() {
        let counts = sets().map(|set| set.ranges.map(|ranges| ranges.count));
        assert_eq!(counts, [Some(3), Some(7), None, Some(0)]);
        let eight = ByteSet::new(|byte| byte < 16 && byte % 2 == 0);
        assert_eq!(eight.ranges.map(|ranges| ranges.count), Some(RANGES_MAX));
        let all = ByteSet::new(|_| true).ranges.expect("one range");
        assert_eq!((all.count, all.ranges[0]), (1, Range { first: 0, more: 127 }));
    }

    #[test]
    fn every_byte_is_classified_in_every_place_of_a_block() {
        let text: Vec<u8> = (0..=255).chain(0..=255).chain(0..=66).collect();
        for set in sets() {
            (0..64).for_each(|from| check(&text[from..], &set));
        }
    }

    #[test]
    fn texts_of_every_length_and_alignment_are_classified_to_their_end() {
        let text: Vec<u8> = (0..200).map(|at| if at % 7 == 3 { b' ' } else { b'x' }).collect();
        for set in sets() {
            for from in 0..64 {
                (from..=from + 130).for_each(|to| check(&text[from..to], &set));
            }
        }
    }

    proptest! {
        #[test]
        fn every_path_agrees_with_a_look_at_each_byte(text: Vec<u8>, members: Vec<u8>) {
            check(&text, &ByteSet::new(|byte| members.contains(&byte)));
        }

        #[test]
        fn every_path_agrees_for_sets_of_few_ranges(text: Vec<u8>, first in 0..128_u8, last in 0..128_u8, one in 0..128_u8) {
            check(&text, &ByteSet::new(|byte| (first..=last).contains(&byte) || byte == one));
        }
    }
}
