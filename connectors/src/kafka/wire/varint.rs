//! The fields of a record: zigzag varints, and bytes behind their length.
//!
//! Kafka's varints are those of Protocol Buffers: seven bits a byte, the low ones first, the sign in the lowest bit.

/// The field is not there, is longer than its type, or reaches over the end. The text is what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Takes a number of 32 bits off the front of `bytes`.
///
/// # Errors
/// [`Malformed`] when the bytes end before the number does, or the number has more than 32 bits.
#[inline(always)]
pub(super) fn take_i32(bytes: &mut &[u8], expected: &'static str) -> Result<i32, Malformed> {
    // Lengths and offsets are mostly of one or two bytes.
    match *bytes {
        [first, rest @ ..] if *first < 0x80 => {
            *bytes = rest;
            Ok(zigzag(u64::from(*first)) as i32)
        }
        [first, second, rest @ ..] if *second < 0x80 => {
            *bytes = rest;
            Ok(zigzag(u64::from(first & 0x7f) | u64::from(*second) << 7) as i32)
        }
        _ => i32::try_from(take_long(bytes, expected)?).map_err(|_| Malformed(expected)),
    }
}

/// Takes a number of 64 bits off the front of `bytes`.
///
/// # Errors
/// [`Malformed`] when the bytes end before the number does, or the number has more than 64 bits.
#[inline(always)]
pub(super) fn take_i64(bytes: &mut &[u8], expected: &'static str) -> Result<i64, Malformed> {
    match *bytes {
        [first, rest @ ..] if *first < 0x80 => {
            *bytes = rest;
            Ok(zigzag(u64::from(*first)))
        }
        [first, second, rest @ ..] if *second < 0x80 => {
            *bytes = rest;
            Ok(zigzag(u64::from(first & 0x7f) | u64::from(*second) << 7))
        }
        _ => take_long(bytes, expected),
    }
}

/// Takes a length and as many bytes off the front of `bytes`; the length -1 stands for null.
///
/// # Errors
/// [`Malformed`] when the length is less than -1, or there are not as many bytes.
#[inline(always)]
pub(super) fn take_bytes<'a>(bytes: &mut &'a [u8], expected: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
    let length = take_i32(bytes, expected)?;
    match usize::try_from(length) {
        Ok(length) => {
            let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed(expected))?;
            *bytes = rest;
            Ok(Some(taken))
        }
        Err(_) if length == -1 => Ok(None),
        Err(_) => Err(Malformed(expected)),
    }
}

/// Takes a number of up to ten bytes.
#[inline(never)]
fn take_long(bytes: &mut &[u8], expected: &'static str) -> Result<i64, Malformed> {
    let mut number = 0;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        let low = u64::from(byte & 0x7f);
        // Only one bit is left for the tenth byte.
        if index == 9 && low > 1 {
            break;
        }
        number |= low << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Ok(zigzag(number));
        }
    }
    Err(Malformed(expected))
}

/// Returns the signed number: 0, -1, 1, -2, ... for 0, 1, 2, 3, ...
#[inline(always)]
fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kafka::wire::testing::{put_bytes, put_varint};

    fn encoded(number: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, number);
        bytes
    }

    #[test]
    fn numbers_are_those_of_the_protocols_guide() {
        // https://protobuf.dev/programming-guides/encoding/#signed-ints
        for (bytes, number) in [
            (&[0][..], 0),
            (&[1], -1),
            (&[2], 1),
            (&[3], -2),
            (&[0xfe, 0xff, 0xff, 0xff, 0x0f], 0x7fff_ffff),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], -0x8000_0000),
        ] {
            assert_eq!(take_i32(&mut &*bytes, ""), Ok(number), "{bytes:?}");
            assert_eq!(take_i64(&mut &*bytes, ""), Ok(i64::from(number)), "{bytes:?}");
        }
    }

    #[test]
    fn numbers_over_their_width_are_refused() {
        let expected = Malformed("a number");
        assert_eq!(take_i32(&mut &*encoded(1 << 31), "a number"), Err(expected));
        assert_eq!(take_i32(&mut &*encoded(-(1 << 31) - 1), "a number"), Err(expected));
        let mut overlong = [0xff; 11];
        assert_eq!(take_i64(&mut &overlong[..], "a number"), Err(expected));
        overlong[9] = 2;
        assert_eq!(take_i64(&mut &overlong[..], "a number"), Err(expected));
        overlong[9] = 1;
        assert_eq!(take_i64(&mut &overlong[..], "a number"), Ok(i64::MIN));
    }

    #[test]
    fn null_and_empty_bytes_differ() {
        for bytes in [None, Some(&b""[..]), Some(b"abc"), Some(&[7; 70])] {
            let mut buffer = Vec::new();
            put_bytes(&mut buffer, bytes);
            buffer.push(42);
            let mut rest = &buffer[..];
            assert_eq!(take_bytes(&mut rest, ""), Ok(bytes));
            assert_eq!(rest, [42]);
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for length in [-2, i64::from(i32::MIN), 3, i64::from(i32::MAX), 1 << 40] {
            let mut buffer = encoded(length);
            buffer.extend([0; 2]);
            assert_eq!(
                take_bytes(&mut &buffer[..], "a key"),
                Err(Malformed("a key")),
                "{length}"
            );
        }
    }

    proptest! {
        #[test]
        fn numbers_come_back_and_cut_ones_are_refused(number: i64, shift in 0_u32..64) {
            let number = number >> shift;
            let bytes = encoded(number);
            let mut rest = &bytes[..];
            prop_assert_eq!(take_i64(&mut rest, ""), Ok(number));
            prop_assert!(rest.is_empty());
            let narrow = i32::try_from(number).map_err(|_| Malformed(""));
            prop_assert_eq!(take_i32(&mut &bytes[..], ""), narrow);
            for end in 0..bytes.len() {
                prop_assert_eq!(take_i64(&mut &bytes[..end], ""), Err(Malformed("")));
                prop_assert_eq!(take_i32(&mut &bytes[..end], ""), Err(Malformed("")));
            }
        }
    }
}
