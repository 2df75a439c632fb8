//! The log lines of `millstream generate`: 90 to 100 bytes, nine words.

use connectors::generate::Shape;

const SEED: u64 = 1;

/// Appends line `number` to `out`, without a newline.
pub(crate) fn line(number: u64, out: &mut Vec<u8>) {
    Shape::Access.line(SEED, number, out);
}
