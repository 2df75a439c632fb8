//! The column of what no column wants: the other members of each payload's object, as the text of an object.

use arrow::array::{ArrayRef, BooleanBufferBuilder};
use arrow::buffer::NullBuffer;
use engine::Result;

use super::scan::Scanner;
use super::text::Texts;

/// The members that no column wants. A payload without any has a null.
#[derive(Debug)]
pub(super) struct Rest {
    texts: Texts,
    validity: BooleanBufferBuilder,
}

impl Rest {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self {
            texts: Texts::with_capacity(rows),
            validity: BooleanBufferBuilder::new(rows),
        }
    }

    /// Adds the member whose key begins at `key` and whose value ends before `end`, as it is written.
    pub(super) fn push(&mut self, scanner: Scanner<'_>, key: usize, end: usize) {
        self.texts.extend(if self.texts.is_empty() { b"{" } else { b"," });
        self.texts.extend(&scanner.text[key..end]);
    }

    /// Ends the row with what was pushed since the last one.
    pub(super) fn end_row(&mut self) {
        let has_members = !self.texts.is_empty();
        if has_members {
            self.texts.extend(b"}");
        }
        self.texts.end();
        self.validity.append(has_members);
    }

    /// Ends the row with a null, whatever was pushed.
    pub(super) fn end_null(&mut self) {
        self.texts.undo();
        self.texts.end();
        self.validity.append(false);
    }

    /// Makes a row null.
    pub(super) fn clear(&mut self, row: usize) {
        self.validity.set_bit(row, false);
    }

    /// Returns the column.
    pub(super) fn finish(mut self) -> Result<ArrayRef> {
        let nulls = NullBuffer::new(self.validity.finish());
        self.texts.into_strings(Some(nulls))
    }
}
