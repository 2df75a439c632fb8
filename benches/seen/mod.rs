//! What a reader of a topic saw, as numbers that do not depend on the order.

use std::fmt;

/// The number of messages, of their bytes, and a sum over their last bytes, which differ most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) messages: u64,
    bytes: u64,
    sum: u64,
}

impl Seen {
    /// Takes a message into account.
    #[inline]
    pub(crate) fn see(&mut self, message: &[u8]) {
        let last = message.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
        self.messages += 1;
        self.bytes += message.len() as u64;
        self.sum = self.sum.wrapping_add(last);
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages, {} bytes, sum {:016x}",
            self.messages, self.bytes, self.sum
        )
    }
}
