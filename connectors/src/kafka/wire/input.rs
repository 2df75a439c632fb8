//! Reading the fields of an answer: every length is checked before it is used, and nothing is allocated by it.

/// The bytes of an answer do not hold what its version says they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is malformed: expected {expected} at byte {at}")]
pub(super) struct Malformed {
    pub(super) expected: &'static str,
    pub(super) at: usize,
}

/// A topic's id: 16 bytes, all zero where there is none.
pub(super) type TopicId = [u8; 16];

/// A cursor over an answer. Flexible versions write lengths as varints, one more than they are, and end each
/// structure with tagged fields.
#[derive(Clone, Debug)]
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
    flexible: bool,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8], flexible: bool) -> Self {
        Self { bytes, at: 0, flexible }
    }

    /// Returns how many bytes were read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn malformed<T>(&self, expected: &'static str) -> Result<T, Malformed> {
        Err(Malformed { expected, at: self.at })
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn take(&mut self, length: usize, expected: &'static str) -> Result<&'a [u8], Malformed> {
        if length > self.left() {
            return self.malformed(expected);
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], Malformed> {
        let taken = self.take(N, expected)?;
        Ok(taken.try_into().expect("as many bytes as were taken"))
    }

    pub(super) fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.array::<1>("a boolean")?[0] != 0)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Malformed> {
        self.array("an int16").map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array("an int32").map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array("an int64").map(i64::from_be_bytes)
    }

    pub(super) fn topic_id(&mut self) -> Result<TopicId, Malformed> {
        self.array("a topic id")
    }

    /// Reads an unsigned varint of at most 32 bits.
    pub(super) fn varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array("a varint")?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).or_else(|_| self.malformed("a varint of 32 bits"));
            }
        }
        self.malformed("a varint of at most five bytes")
    }

    /// Reads a length in the form of this version; `None` for null.
    fn length(&mut self, short: bool, expected: &'static str) -> Result<Option<usize>, Malformed> {
        let length = match (self.flexible, short) {
            (true, _) => i64::from(self.varint()?) - 1,
            (false, true) => i64::from(self.i16()?),
            (false, false) => i64::from(self.i32()?),
        };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).or_else(|_| self.malformed(expected)),
        }
    }

    /// Reads the number of an array's entries, each of which has at least `least` bytes; none for null.
    pub(super) fn count(&mut self, least: usize) -> Result<usize, Malformed> {
        let count = self.length(false, "an array's length")?.unwrap_or(0);
        if count.saturating_mul(least) > self.left() {
            return self.malformed("an array that fits its answer");
        }
        Ok(count)
    }

    pub(super) fn nullable_string(&mut self) -> Result<Option<&'a str>, Malformed> {
        let Some(length) = self.length(true, "a string's length")? else {
            return Ok(None);
        };
        let bytes = self.take(length, "a string")?;
        str::from_utf8(bytes).map(Some).or_else(|_| self.malformed("UTF-8"))
    }

    pub(super) fn string(&mut self) -> Result<&'a str, Malformed> {
        self.nullable_string()?.map_or_else(|| self.malformed("a string"), Ok)
    }

    pub(super) fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.length(false, "a length of bytes")? {
            None => Ok(None),
            Some(length) => self.take(length, "bytes").map(Some),
        }
    }

    /// Passes over an array of int32.
    pub(super) fn skip_i32s(&mut self) -> Result<(), Malformed> {
        let count = self.count(4)?;
        self.take(count * 4, "an array of int32").map(drop)
    }

    /// Passes over the tagged fields that end a structure of a flexible version.
    pub(super) fn tags(&mut self) -> Result<(), Malformed> {
        self.visit_tags(|_, _| Ok(()))
    }

    /// Calls `visit` with each tagged field's tag and its bytes.
    pub(super) fn visit_tags(
        &mut self,
        mut visit: impl FnMut(u32, Input<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let length = self.varint()?;
            let length = usize::try_from(length).or_else(|_| self.malformed("a tagged field's length"))?;
            let field = self.take(length, "a tagged field")?;
            visit(tag, Input::new(field, true))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_do_not_fit_are_refused_before_they_are_used() {
        let text = Input::new(&[0x7f, 0xff, b'a'], false).string();
        assert_eq!(text.map_err(|error| error.expected), Err("a string"));
        let entries = Input::new(&[0x7f, 0xff, 0xff, 0xff, 0, 0], false).count(1);
        assert_eq!(
            entries.map_err(|error| error.expected),
            Err("an array that fits its answer")
        );
        let negative = Input::new(&[0xff, 0xff, 0xff, 0xfe], false).nullable_bytes();
        assert_eq!(negative.map_err(|error| error.expected), Err("a length of bytes"));
        let endless = Input::new(&[0xff; 9], true).varint();
        assert_eq!(
            endless.map_err(|error| error.expected),
            Err("a varint of at most five bytes")
        );
    }

    #[test]
    fn null_is_not_empty() {
        assert_eq!(Input::new(&[0], true).nullable_string(), Ok(None));
        assert_eq!(Input::new(&[1], true).nullable_string(), Ok(Some("")));
        assert_eq!(Input::new(&[0xff, 0xff], false).nullable_string(), Ok(None));
        assert_eq!(Input::new(&[0, 0], false).nullable_string(), Ok(Some("")));
        assert!(Input::new(&[0xff, 0xff], false).string().is_err());
    }

    #[test]
    fn tagged_fields_are_passed_over_or_visited() {
        let bytes = [2, 0, 1, 9, 5, 2, 7, 8, 42];
        let mut seen = Vec::new();
        let mut input = Input::new(&bytes, true);
        let visited = input.visit_tags(|tag, mut field| {
            seen.push((tag, field.take(1, "a byte")?[0]));
            Ok(())
        });
        assert_eq!((visited, seen), (Ok(()), vec![(0, 9), (5, 7)]));
        assert_eq!(input.take(1, "the rest"), Ok(&[42][..]));
    }
}
