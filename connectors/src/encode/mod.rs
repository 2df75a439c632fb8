//! Columns to bytes, a row at a time: what a Kafka record, a line or a table cell holds. Knows no transport.

pub mod avro;
pub(crate) mod date;
pub mod delimited;
pub mod json;
pub mod raw;

pub use avro::AvroEncoder;
pub use delimited::DelimitedEncoder;
pub use json::JsonEncoder;
pub use raw::RawColumn;

/// Encoded rows, one after the other in one buffer, each followed by a newline: the buffer as a whole is JSON lines.
///
/// The buffer is kept from batch to batch, so that encoding allocates only while it grows.
#[derive(Debug, Default)]
pub struct Rows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Rows {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns all rows, each with its newline.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns row `index` without its newline.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index] - 1]
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn end_row(&mut self) {
        self.bytes.push(b'\n');
        self.ends.push(self.bytes.len());
    }
}
