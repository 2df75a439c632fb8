//! Short keys as one number: up to 15 bytes and their length in a `u128`, compared in one operation.
//!
//! ```text
//! byte 0 .. 14                      byte 15
//! the key's bytes, zero-padded      its length, 0 ..= 15
//! ```
//! The top byte values above 15 mark what is no short key; see [`crate::group::bytes`].

/// The longest key that fits.
pub const SHORT_MAX: usize = 15;

/// Returns `text[start..end]` packed. Reads 16 bytes at once where `text` has them.
///
/// # Panics
/// When the span is out of range or longer than [`SHORT_MAX`].
#[inline]
pub fn pack(text: &[u8], start: usize, end: usize) -> u128 {
    let length = end - start;
    debug_assert!(length <= SHORT_MAX, "{length} bytes do not fit");
    let bytes = match text[start..].first_chunk::<16>() {
        Some(chunk) => u128::from_le_bytes(*chunk),
        None => {
            let mut padded = [0; 16];
            padded[..length].copy_from_slice(&text[start..end]);
            u128::from_le_bytes(padded)
        }
    };
    bytes & KEPT[length] | (length as u128) << 120
}

/// The bytes of the keys of each length: a look at a table is quicker than the shift of two words.
const KEPT: [u128; SHORT_MAX + 1] = {
    let mut kept = [0; SHORT_MAX + 1];
    let mut length = 0;
    while length <= SHORT_MAX {
        kept[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    kept
};

/// Returns the bytes of a packed key; the first [`length`] of them count.
#[inline]
pub fn unpack(key: u128) -> [u8; 16] {
    key.to_le_bytes()
}

/// Returns the top byte of a key: the length of a packed one.
#[inline]
pub fn length(key: u128) -> u8 {
    (key >> 120) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_in_the_middle_and_at_the_end_of_a_text() {
        let text = b"ab longer_than_that_12345 ab";
        assert_eq!(pack(text, 0, 2), pack(text, text.len() - 2, text.len()));
        for end in 3..=18 {
            let alone = &text[3..end];
            let key = pack(text, 3, end);
            assert_eq!(key, pack(alone, 0, alone.len()));
            assert_eq!(usize::from(length(key)), alone.len());
            assert_eq!(&unpack(key)[..alone.len()], alone);
        }
    }

    #[test]
    fn zero_bytes_and_shorter_keys_differ() {
        assert_ne!(pack(b"a\0", 0, 2), pack(b"a\0", 0, 1));
        assert_ne!(pack(b"", 0, 0), pack(b"\0", 0, 1));
    }
}
