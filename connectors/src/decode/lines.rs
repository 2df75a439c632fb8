//! `lines`: every payload is one string, as it is.

use arrow::array::{Array, BinaryArray};
use arrow::datatypes::SchemaRef;
use engine::Result;

use super::column::{ColumnType, DeclaredColumn, decode_rows};
use super::layout::Layout;
use super::time::TimeSettings;
use super::{Decoded, Decoder};

/// Decodes payloads to a column `line`. Only bytes that are no UTF-8 are refused.
#[derive(Debug)]
pub struct Lines {
    layout: Layout,
}

impl Lines {
    /// Returns a decoder of the columns named in `wanted`; `None` wants all.
    pub fn new(wanted: Option<&[String]>) -> Self {
        let line = DeclaredColumn::new("line", ColumnType::Text);
        Self {
            layout: Layout::new(vec![line], wanted, TimeSettings::default()),
        }
    }
}

impl Decoder for Lines {
    fn describe(&self) -> String {
        format!("lines to {}", self.layout.describe())
    }

    fn schema(&self) -> SchemaRef {
        self.layout.schema()
    }

    fn decode(&self, payloads: &BinaryArray) -> Result<Decoded> {
        let rows = self.layout.rows(payloads.len());
        let slot = self.layout.slot(0);
        decode_rows(payloads, rows, |payload, rows| match slot {
            Some(index) => rows.set_text(index, payload),
            None => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::check;

    #[test]
    fn a_payload_is_a_string_as_it_is() {
        let lines = Lines::new(None);
        check(&lines, b" a\tb \r\n", &[("line", " a\tb \r\n")]);
        check(&lines, b"", &[("line", "")]);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let reason = "line: byte 1 of `a\u{fffd}` is 0xff, which is no UTF-8 there";
        crate::decode::testing::check_reject(&Lines::new(None), b"a\xff", reason);
    }
}
