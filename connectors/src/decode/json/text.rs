//! Texts of a column one after the other, as Arrow lays them out.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use engine::{Error, Result};

/// Texts up to this length are copied as so many bytes, without a call.
const SHORT: usize = 16;

/// The texts of a column that grows; of a null an empty one.
#[derive(Debug)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl Texts {
    /// Returns a column with room for `rows` texts.
    pub(super) fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            bytes: Vec::new(),
            offsets,
        }
    }

    /// Adds bytes to the text that is not ended yet.
    #[inline]
    pub(super) fn extend(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
    }

    /// Adds `block[start..end]` to the text that is not ended yet.
    #[inline]
    pub(super) fn extend_from(&mut self, block: &[u8], start: usize, end: usize) {
        let length = end - start;
        match block[start..].first_chunk::<SHORT>() {
            Some(chunk) if length <= SHORT => {
                let before = self.bytes.len();
                self.bytes.extend_from_slice(chunk);
                self.bytes.truncate(before + length);
            }
            _ => self.bytes.extend_from_slice(&block[start..end]),
        }
    }

    /// Gives the buffer of the text that is not ended yet, to append to.
    pub(super) fn open(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Returns whether the text that is not ended yet has no bytes.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == self.ended()
    }

    /// Takes back the text that is not ended yet.
    pub(super) fn undo(&mut self) {
        self.bytes.truncate(self.ended());
    }

    /// Ends a text, an empty one if nothing was added.
    #[inline]
    pub(super) fn end(&mut self) {
        let end = i32::try_from(self.bytes.len());
        self.offsets
            .push(end.expect("a text is no longer than its payload, and the payloads have offsets of 32 bits"));
    }

    fn ended(&self) -> usize {
        *self.offsets.last().expect("there is always a first offset") as usize
    }

    /// Returns the texts as strings.
    pub(super) fn into_strings(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let (offsets, bytes) = self.into_buffers();
        let strings = StringArray::try_new(offsets, bytes, nulls);
        Ok(Arc::new(strings.map_err(Error::arrow("build a column of strings"))?))
    }

    /// Returns the texts as byte strings.
    pub(super) fn into_bytes(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let (offsets, bytes) = self.into_buffers();
        let strings = BinaryArray::try_new(offsets, bytes, nulls);
        Ok(Arc::new(strings.map_err(Error::arrow("build a column of bytes"))?))
    }

    fn into_buffers(self) -> (OffsetBuffer<i32>, Buffer) {
        (
            OffsetBuffer::new(ScalarBuffer::from(self.offsets)),
            Buffer::from_vec(self.bytes),
        )
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn short_and_long_texts_are_copied_whole() {
        let block = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut texts = Texts::with_capacity(8);
        for (start, end) in [(0, 0), (3, 4), (0, 16), (0, 17), (30, 36), (36, 36)] {
            texts.extend_from(block, start, end);
            texts.end();
        }
        let strings = texts.into_strings(None).expect("ASCII");
        let found: Vec<_> = strings.as_string::<i32>().iter().flatten().collect();
        assert_eq!(found, ["", "3", "0123456789abcdef", "0123456789abcdefg", "uvwxyz", ""]);
    }

    #[test]
    fn a_text_that_is_taken_back_leaves_nothing() {
        let mut texts = Texts::with_capacity(2);
        texts.extend(b"kept");
        texts.end();
        texts.extend(b"gone");
        texts.undo();
        assert!(texts.is_empty());
        texts.end();
        let strings = texts.into_strings(None).expect("ASCII");
        assert_eq!(strings.as_string::<i32>().value(1), "");
    }
}
