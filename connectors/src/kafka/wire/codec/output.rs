//! The memory that data is decompressed into.

/// Bytes that are kept for the next batch. More than batches have, but for outliers.
const KEPT_MAX: usize = 4 << 20;

/// More bytes are wanted than the limit lets through.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Bytes so far, and room for more.
pub(super) struct Output {
    /// The bytes, and room after them, so that it need not be cleared for each batch.
    memory: Vec<u8>,
    length: usize,
    max: usize,
}

impl Output {
    /// Returns an empty output that takes `max` bytes.
    pub(super) fn new(max: usize) -> Self {
        Self {
            memory: Vec::new(),
            length: 0,
            max,
        }
    }

    /// Forgets the bytes, and lets memory go that a single large batch had wanted.
    pub(super) fn start(&mut self) {
        if self.memory.len() > KEPT_MAX && self.length <= KEPT_MAX {
            self.memory.truncate(KEPT_MAX);
            self.memory.shrink_to_fit();
        }
        self.length = 0;
    }

    /// Returns room for `bytes` bytes, or more, or as many as the limit leaves, but at least one.
    ///
    /// # Errors
    /// [`Full`] when the limit is reached.
    pub(super) fn room(&mut self, bytes: usize) -> Result<&mut [u8], Full> {
        if self.length >= self.max {
            return Err(Full);
        }
        let wanted = self.length.saturating_add(bytes.max(1)).min(self.max);
        if self.memory.len() < wanted {
            // At least twice as much, so that growing costs no more than filling.
            let grown = wanted.max(2 * self.memory.len()).min(self.max);
            self.memory.resize(grown, 0);
        }
        Ok(&mut self.memory[self.length..])
    }

    /// Returns the bytes so far, and room for exactly `bytes` bytes more.
    ///
    /// # Errors
    /// [`Full`] when these are more than the limit leaves.
    pub(super) fn exact_room(&mut self, bytes: usize) -> Result<(&[u8], &mut [u8]), Full> {
        if bytes > self.max - self.length {
            return Err(Full);
        }
        if bytes > 0 {
            self.room(bytes)?;
        }
        let (before, room) = self.memory.split_at_mut(self.length);
        Ok((before, &mut room[..bytes]))
    }

    /// Takes the first `bytes` bytes of the room as filled.
    pub(super) fn advance(&mut self, bytes: usize) {
        assert!(
            bytes <= self.memory.len() - self.length,
            "more was filled than there is room"
        );
        self.length += bytes;
    }

    /// Returns the bytes so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[..self.length]
    }

    /// Returns the limit.
    pub(super) fn max(&self) -> usize {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_grows_up_to_the_limit() {
        let mut output = Output::new(100);
        assert_eq!(output.room(30).map(|room| room.len()), Ok(30));
        output.advance(20);
        assert_eq!(output.room(30).map(|room| room.len()), Ok(40), "twice as much");
        output.advance(40);
        assert_eq!(output.room(90).map(|room| room.len()), Ok(40), "what is left");
        output.advance(40);
        assert_eq!(output.room(1), Err(Full));
        assert_eq!(output.bytes().len(), 100);
    }

    #[test]
    fn exact_room_is_refused_when_it_is_not_there() {
        let mut output = Output::new(100);
        output.room(60).expect("within the limit")[..60].fill(7);
        output.advance(60);
        assert_eq!(output.exact_room(41).map(|_| ()), Err(Full));
        let (before, room) = output.exact_room(40).expect("within the limit");
        assert_eq!((before, room.len()), (&[7; 60][..], 40));
        assert_eq!(output.exact_room(0).map(|(_, room)| room.len()), Ok(0));
        output.advance(40);
        assert_eq!(
            output.exact_room(0).map(|(_, room)| room.len()),
            Ok(0),
            "nothing fits always"
        );
        assert_eq!(output.exact_room(1).map(|_| ()), Err(Full));
    }

    #[test]
    fn memory_of_an_outlier_is_let_go() {
        let mut output = Output::new(usize::MAX);
        output.room(3 * KEPT_MAX).expect("no limit");
        output.advance(3 * KEPT_MAX);
        output.start();
        assert_eq!(output.memory.len(), 3 * KEPT_MAX, "the next batch may be as large");
        output.room(1).expect("no limit");
        output.advance(1);
        output.start();
        assert_eq!(output.memory.capacity(), KEPT_MAX);
    }
}
