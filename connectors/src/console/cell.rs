//! Cells as text: strings as they are, everything else as JSON writes it.

use arrow::array::{Array, ArrayRef};
use arrow::record_batch::RecordBatch;
use engine::{Error, Result};

use crate::encode::{JsonEncoder, RawColumn};

/// The cells of one column of a batch.
pub(super) struct Cells<'a> {
    array: &'a ArrayRef,
    text: Text<'a>,
}

enum Text<'a> {
    Raw(RawColumn<'a>),
    Json(JsonEncoder),
}

impl<'a> Cells<'a> {
    /// Returns the cells of `array`.
    ///
    /// # Errors
    /// When its type can't be shown.
    pub(super) fn new(array: &'a ArrayRef) -> Result<Self> {
        let text = match RawColumn::new(array.as_ref()) {
            Some(column) => Text::Raw(column),
            None => {
                let records = RecordBatch::try_from_iter_with_nullable([("cell", array.clone(), true)])
                    .map_err(Error::arrow("show a column"))?;
                let mut encoder = JsonEncoder::values();
                encoder.encode(&records)?;
                Text::Json(encoder)
            }
        };
        Ok(Self { array, text })
    }

    /// Writes the cell of `row` for a line of tab-separated cells: null is empty, and `\t`, `\n` and `\r` are escaped, so
    /// that a row stays a line. Backslashes are not: a line is to be read, not to be parsed back.
    pub(super) fn write_line(&self, row: usize, out: &mut Vec<u8>) {
        for &byte in self.bytes(row).unwrap_or_default() {
            match byte {
                b'\t' => out.extend_from_slice(b"\\t"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                byte => out.push(byte),
            }
        }
    }

    /// Returns the cell of `row` for a table: `NULL` for null, control characters escaped, so that no record moves the
    /// terminal's cursor.
    pub(super) fn table_text(&self, row: usize) -> String {
        let Some(bytes) = self.bytes(row) else {
            return "NULL".to_owned();
        };
        let mut text = String::with_capacity(bytes.len());
        for character in String::from_utf8_lossy(bytes).chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        text
    }

    fn bytes(&self, row: usize) -> Option<&[u8]> {
        match &self.text {
            Text::Raw(column) => column.get(row),
            Text::Json(_) if self.array.is_null(row) => None,
            Text::Json(encoder) => {
                let text = encoder.rows().row(row);
                // Timestamps and dates need no quotes here.
                Some(
                    text.strip_prefix(b"\"")
                        .and_then(|text| text.strip_suffix(b"\""))
                        .unwrap_or(text),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Float64Array, TimestampSecondArray};

    use super::*;

    #[track_caller]
    fn check(array: impl Array + 'static, table: &[&str], lines: &[&str]) {
        let array: ArrayRef = Arc::new(array);
        let cells = Cells::new(&array).expect("the type can be shown");
        for row in 0..array.len() {
            assert_eq!(cells.table_text(row), table[row]);
            let mut line = Vec::new();
            cells.write_line(row, &mut line);
            assert_eq!(String::from_utf8_lossy(&line), lines[row]);
        }
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        check(
            BinaryArray::from_vec(vec![b"\x1b[2J\ta", b"\xffb", "\u{9b}".as_bytes()]),
            &["\\u{1b}[2J\\ta", "\u{fffd}b", "\\u{9b}"],
            &["\u{1b}[2J\\ta", "\u{fffd}b", "\u{9b}"],
        );
    }

    #[test]
    fn numbers_and_times_are_shown_as_json_has_them_without_quotes() {
        check(
            Float64Array::from(vec![Some(1.5), None]),
            &["1.5", "NULL"],
            &["1.5", ""],
        );
        let time = "1970-01-01T00:00:01.000000Z";
        check(TimestampSecondArray::from(vec![1]), &[time], &[time]);
    }
}
