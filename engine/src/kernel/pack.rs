//! Keys of up to 31 bytes as four words, made and compared without a loop over bytes.
//!
//! ```text
//! byte 0 .. 30                      byte 31
//! the key's bytes, zero-padded      its length, 0 ..= 31
//! ```
//! Words, numbers, times, paths, addresses and ids are of this length: nearly all keys of usual logs. Top bytes above 31
//! mark what is no packed key; see [`crate::group::bytes`].

/// The longest key that fits.
pub const PACKED_MAX: usize = 31;

/// A packed key, or what stands in its place for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(32))]
pub struct Packed(pub [u64; 4]);

/// The bytes of the keys of each length: a look at a table is quicker than shifts of four words.
const KEPT: [Packed; PACKED_MAX + 1] = {
    let mut kept = [Packed([0; 4]); PACKED_MAX + 1];
    let mut length = 0;
    while length <= PACKED_MAX {
        let mut at = 0;
        while at < length {
            kept[length].0[at / 8] |= 0xff << (8 * (at % 8));
            at += 1;
        }
        length += 1;
    }
    kept
};

impl Packed {
    /// Returns `text[start..start + length]` packed. Reads 32 bytes at once where `text` has them.
    ///
    /// # Panics
    /// When the bytes are out of range or more than [`PACKED_MAX`].
    #[inline(always)]
    pub fn new(text: &[u8], start: usize, length: usize) -> Self {
        let kept = &KEPT[length].0;
        let bytes = match text[start..].first_chunk::<32>() {
            Some(chunk) => *chunk,
            None => padded(&text[start..start + length]),
        };
        let word = |at: usize| {
            let bytes = bytes[8 * at..].first_chunk().expect("32 bytes are four words");
            u64::from_le_bytes(*bytes) & kept[at]
        };
        Self([word(0), word(1), word(2), word(3) | (length as u64) << 56])
    }

    /// Returns the top byte: the length of a packed key.
    #[inline]
    pub fn length(self) -> u8 {
        (self.0[3] >> 56) as u8
    }

    /// Returns the bytes of a packed key; the first [`length`](Self::length) of them count.
    #[inline]
    pub fn bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (part, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *part = word.to_le_bytes();
        }
        bytes
    }
}

/// Returns the bytes of a key near the end of its text, where 32 can't be read.
#[cold]
fn padded(key: &[u8]) -> [u8; 32] {
    let mut padded = [0; 32];
    padded[..key.len()].copy_from_slice(key);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_in_the_middle_and_at_the_end_of_a_text() {
        let text = b"ab longer_than_that_12345_and_longer_still_0123456789 ab";
        assert_eq!(Packed::new(text, 0, 2), Packed::new(text, text.len() - 2, 2));
        for length in 0..=PACKED_MAX {
            let alone = &text[3..3 + length];
            let key = Packed::new(text, 3, length);
            assert_eq!(key, Packed::new(alone, 0, length));
            assert_eq!(usize::from(key.length()), length);
            assert_eq!(&key.bytes()[..length], alone);
        }
    }

    #[test]
    fn zero_bytes_and_shorter_keys_differ() {
        assert_ne!(Packed::new(b"a\0", 0, 2), Packed::new(b"a\0", 0, 1));
        assert_ne!(Packed::new(b"", 0, 0), Packed::new(b"\0", 0, 1));
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_key_past_the_end_of_its_text_is_refused() {
        Packed::new(b"abc", 1, 3);
    }
}
