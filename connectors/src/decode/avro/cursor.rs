//! A payload that is read from its front, with a reason where it does not hold what is expected.

/// What is left of a payload.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Returns the whole of `payload`.
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self { payload, at: 0 }
    }

    /// Returns the number of bytes left.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.payload.len() - self.at
    }

    /// Takes `count` bytes.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        match self.payload[self.at..].get(..count) {
            Some(bytes) => {
                self.at += count;
                Ok(bytes)
            }
            None => Err(self.refused(format_args!("expected {count} bytes, and there are {}", self.left()))),
        }
    }

    /// Takes a number of a fixed number of bytes.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("as many bytes as were asked for"))
    }

    /// Takes a long: seven bits a byte, the lowest first, zigzag.
    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, String> {
        let mut value = 0_u64;
        for (index, &byte) in self.payload[self.at..].iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if index == 9 && byte > 1 {
                break;
            }
            value |= bits << (7 * index);
            if byte < 0x80 {
                self.at += index + 1;
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(match self.left() < 10 {
            true => self.refused(format_args!("expected a number, and the payload ends in it")),
            false => self.refused(format_args!("expected a number of 64 bits, not a longer one")),
        })
    }

    /// Takes an int.
    #[inline]
    pub(super) fn int(&mut self) -> Result<i32, String> {
        let start = self.clone();
        let value = self.long()?;
        i32::try_from(value).map_err(|_| start.refused(format_args!("expected a number of 32 bits, not {value}")))
    }

    /// Takes a boolean.
    #[inline]
    pub(super) fn boolean(&mut self) -> Result<bool, String> {
        match self.payload.get(self.at) {
            Some(byte @ (0 | 1)) => {
                self.at += 1;
                Ok(*byte == 1)
            }
            Some(byte) => Err(self.refused(format_args!("expected 0 or 1 for a boolean, not {byte:#04x}"))),
            None => Err(self.refused(format_args!("expected a boolean, and the payload ends"))),
        }
    }

    /// Takes bytes that stand after their length.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], String> {
        let start = self.clone();
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) if length <= self.left() => self.take(length),
            _ => Err(start.refused(format_args!(
                "expected a length of at most {}, not {length}",
                self.left()
            ))),
        }
    }

    /// Takes a string that stands after its length.
    #[inline]
    pub(super) fn string(&mut self) -> Result<&'a str, String> {
        let start = self.clone();
        let bytes = self.bytes()?;
        simdutf8::basic::from_utf8(bytes).map_err(|_| start.refused(format_args!("expected a string of UTF-8")))
    }

    /// Takes an index below `count`: that of a union's branch, or of an enum's symbol.
    #[inline]
    pub(super) fn index(&mut self, count: usize, what: &str) -> Result<usize, String> {
        let start = self.clone();
        let value = self.long()?;
        match usize::try_from(value) {
            Ok(index) if index < count => Ok(index),
            _ => Err(start.refused(format_args!("expected {what} from 0 to {}, not {value}", count - 1))),
        }
    }

    /// Takes the head of a block of an array or map: the number of its items, and that of its bytes if it is said. A block
    /// of nothing is the last.
    pub(super) fn block(&mut self) -> Result<(u64, Option<usize>), String> {
        let count = self.long()?;
        if count >= 0 {
            return Ok((count.unsigned_abs(), None));
        }
        let start = self.clone();
        let size = self.long()?;
        match usize::try_from(size) {
            Ok(bytes) if bytes <= self.left() => Ok((count.unsigned_abs(), Some(bytes))),
            _ => Err(start.refused(format_args!(
                "expected a block of at most {} bytes, not {size}",
                self.left()
            ))),
        }
    }

    /// Checks that nothing is left.
    pub(super) fn end(&self) -> Result<(), String> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.refused(format_args!(
                "expected the end of the payload, and there are {left} bytes more"
            ))),
        }
    }

    /// Returns a reason, with where it is.
    #[cold]
    pub(super) fn refused(&self, reason: std::fmt::Arguments<'_>) -> String {
        format!("at byte {}: {reason}", self.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes a long as the specification's text has it, bit by bit.
    fn zigzag(value: i64) -> Vec<u8> {
        let mut rest = i128::from(value) * 2;
        rest = if rest < 0 { -rest - 1 } else { rest };
        let mut bytes = vec![];
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128 + 128).expect("a byte"));
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).expect("a byte"));
        bytes
    }

    proptest! {
        #[test]
        fn longs_are_zigzag_numbers(value in prop_oneof![any::<i64>(), -200..200_i64]) {
            let bytes = zigzag(value);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.long(), Ok(value));
            prop_assert_eq!(cursor.end(), Ok(()));
            prop_assert!(Cursor::new(&bytes[..bytes.len() - 1]).long().is_err());
        }

        #[test]
        fn no_bytes_are_read_beyond_the_end(bytes: Vec<u8>) {
            let _ = (Cursor::new(&bytes).bytes(), Cursor::new(&bytes).block(), Cursor::new(&bytes).int());
        }
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        for (value, bytes) in [(0, &[0][..]), (-1, &[1]), (1, &[2]), (-64, &[0x7f]), (64, &[0x80, 1])] {
            assert_eq!(Cursor::new(bytes).long(), Ok(value));
        }
        assert_eq!(Cursor::new(b"\x06foo").string(), Ok("foo"));
    }

    #[test]
    fn a_reason_says_where_and_what_was_expected() {
        let mut cursor = Cursor::new(b"\x02x\xff");
        cursor.string().expect("a string");
        assert_eq!(
            cursor.long(),
            Err("at byte 2: expected a number, and the payload ends in it".to_owned())
        );
        assert_eq!(
            cursor.boolean(),
            Err("at byte 2: expected 0 or 1 for a boolean, not 0xff".to_owned())
        );
        assert_eq!(
            cursor.end(),
            Err("at byte 2: expected the end of the payload, and there are 1 bytes more".to_owned())
        );
        assert_eq!(
            Cursor::new(b"\x06ab").bytes(),
            Err("at byte 0: expected a length of at most 2, not 3".to_owned())
        );
        assert_eq!(
            Cursor::new(&[0xff; 11]).long(),
            Err("at byte 0: expected a number of 64 bits, not a longer one".to_owned())
        );
        assert_eq!(
            Cursor::new(b"\x04").index(2, "a branch"),
            Err("at byte 0: expected a branch from 0 to 1, not 2".to_owned())
        );
    }
}
