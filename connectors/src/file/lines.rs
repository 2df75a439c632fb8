//! Cuts a text into lines, a block at a time.

use std::io::{self, ErrorKind, Read};

use arrow::array::BinaryArray;
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use engine::OffsetRange;

/// How much is cut at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of a block, which hold the lines of a batch. A longer line makes it grow.
    pub(super) block_bytes: usize,
    /// The most lines of a batch.
    pub(super) rows: usize,
    /// The longest line.
    pub(super) line_bytes: usize,
}

/// The lines of a text, in batches.
#[derive(Debug)]
pub(super) struct Lines<R> {
    text: R,
    limits: Limits,
    /// Bytes read and not yet cut are `block[start..filled]`.
    block: Vec<u8>,
    start: usize,
    filled: usize,
    /// The byte position of `block[start]` in the text.
    position: i64,
    ended: bool,
    /// Whether a batch is handed over as soon as there is a line: a pipe may have no more for a while.
    eager: bool,
}

/// Whole lines and the bytes of the text that they took up, line ends included.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) values: BinaryArray,
    pub(super) offsets: OffsetRange,
}

impl<R: Read> Lines<R> {
    /// Returns the lines of `text`, whose first byte is at `position`.
    pub(super) fn new(text: R, position: i64, limits: Limits, eager: bool) -> Self {
        Self {
            text,
            limits,
            block: vec![0; limits.block_bytes],
            start: 0,
            filled: 0,
            position,
            ended: false,
            eager,
        }
    }

    /// Returns the position of the next byte that is not part of a batch yet.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Returns the next lines; `None` at the end of the text.
    ///
    /// # Errors
    /// When the text can't be read, or a line is too long.
    pub(super) fn next(&mut self) -> io::Result<Option<Cut>> {
        // Few lines left would make a small batch; a pipe may have nothing to add to them for a while.
        if !self.eager && self.waiting().len() < self.limits.block_bytes / 2 {
            self.fill()?;
        }
        loop {
            if let Some(cut) = self.cut() {
                return Ok(Some(cut));
            }
            if self.ended {
                return Ok(None);
            }
            if self.waiting().len() > self.limits.line_bytes {
                let problem = format!("the line is longer than the limit of {} bytes", self.limits.line_bytes);
                return Err(io::Error::new(ErrorKind::InvalidData, problem));
            }
            self.fill()?;
        }
    }

    fn waiting(&self) -> &[u8] {
        &self.block[self.start..self.filled]
    }

    /// Takes whole lines out of the block.
    fn cut(&mut self) -> Option<Cut> {
        let waiting = self.waiting();
        let mut values = Values::with_capacity(self.limits.rows.min(waiting.len()), waiting.len());
        let mut taken = cut_lines(waiting, self.limits.rows, &mut values);
        if taken == 0 && self.ended && !waiting.is_empty() {
            values.push(waiting);
            taken = waiting.len();
        }
        if taken == 0 {
            return None;
        }
        let from = self.position;
        self.start += taken;
        self.position += taken as i64;
        Some(Cut {
            values: values.finish(),
            offsets: OffsetRange {
                from,
                to: self.position,
            },
        })
    }

    /// Moves what waits to the front of the block and reads on behind it.
    fn fill(&mut self) -> io::Result<()> {
        self.block.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.start = 0;
        if self.filled < self.limits.block_bytes {
            // A long line made the block grow, and is gone.
            self.block.truncate(self.limits.block_bytes);
            self.block.shrink_to_fit();
        }
        if self.filled == self.block.len() {
            // One byte more than the longest line tells whether it ends there.
            let grown = (self.block.len() * 2).min(self.limits.line_bytes + 1);
            self.block.resize(grown.max(self.filled + 1), 0);
        }
        while !self.ended && self.filled < self.block.len() {
            match self.text.read(&mut self.block[self.filled..]) {
                Ok(0) => self.ended = true,
                Ok(read) => {
                    self.filled += read;
                    if self.eager {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The values of a binary column under way. A line end between two lines would have to be part of a value if the block
/// itself were the column's buffer, so the lines are copied together, once.
struct Values {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Values {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            offsets,
            bytes: crate::recycled::take(bytes),
        }
    }

    #[inline]
    fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        let end = i32::try_from(self.bytes.len()).expect("a block and a line are at most 1 GiB");
        self.offsets.push(end);
    }

    fn finish(self) -> BinaryArray {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        BinaryArray::new(offsets, crate::recycled::buffer(self.bytes), None)
    }
}

/// Copies at most `rows` whole lines of `block` to `values`, without their line ends, and returns the bytes they took up.
fn cut_lines(block: &[u8], rows: usize, values: &mut Values) -> usize {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', block).take(rows) {
        let line = &block[start..end];
        values.push(line.strip_suffix(b"\r").unwrap_or(line));
        start = end + 1;
    }
    start
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// Hands out a text in reads of at most `step` bytes.
    struct Trickle<'a>(Cursor<&'a [u8]>, usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let step = self.1.min(buffer.len());
            self.0.read(&mut buffer[..step])
        }
    }

    fn limits(block_bytes: usize, rows: usize) -> Limits {
        Limits {
            block_bytes,
            rows,
            line_bytes: 1 << 20,
        }
    }

    /// Returns the lines of `text`, checking that the batches' offsets follow each other to its end.
    #[track_caller]
    fn cut(text: &[u8], limits: Limits, step: usize, eager: bool) -> Vec<Vec<u8>> {
        let mut lines = Lines::new(Trickle(Cursor::new(text), step), 7, limits, eager);
        let (mut rows, mut position) = (Vec::new(), 7);
        while let Some(cut) = lines.next().expect("a slice can be read") {
            assert_eq!(cut.offsets.from, position);
            assert!(cut.offsets.to > position && cut.values.iter().count() <= limits.rows);
            position = cut.offsets.to;
            rows.extend(cut.values.iter().map(|line| line.expect("no line is null").to_vec()));
        }
        assert_eq!(position, 7 + text.len() as i64);
        rows
    }

    /// The same by the definition, one byte at a time.
    fn naive(text: &[u8]) -> Vec<Vec<u8>> {
        let mut rows = vec![Vec::new()];
        for &byte in text {
            let last = rows.last_mut().expect("there is always a line under way");
            match byte {
                b'\n' => {
                    if last.last() == Some(&b'\r') {
                        last.pop();
                    }
                    rows.push(Vec::new());
                }
                _ => last.push(byte),
            }
        }
        if rows.last().is_some_and(Vec::is_empty) {
            rows.pop();
        }
        rows
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let expected: Vec<_> = expected.iter().map(|line| line.as_bytes().to_vec()).collect();
        for block in [1, 2, 3, 64] {
            assert_eq!(
                cut(text.as_bytes(), limits(block, 8192), 64, false),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_line_ends_with_a_newline_or_with_the_text() {
        check("", &[]);
        check("\n", &[""]);
        check("a", &["a"]);
        check("a\nb\n", &["a", "b"]);
        check("a\n\nb", &["a", "", "b"]);
    }

    #[test]
    fn one_carriage_return_before_the_newline_belongs_to_the_line_end() {
        check("a\r\nb\r\n", &["a", "b"]);
        check("\r\n", &[""]);
        check("a\r\r\n", &["a\r"]);
        check("a\rb\n", &["a\rb"]);
        check("a\r", &["a\r"]);
    }

    #[test]
    fn a_line_longer_than_a_block_passes_whole() {
        let text = [vec![b'x'; 100_000], b"\ny".to_vec()].concat();
        let rows = cut(&text, limits(1000, 8192), usize::MAX, false);
        assert_eq!(rows, [vec![b'x'; 100_000], b"y".to_vec()]);
    }

    #[test]
    fn a_line_beyond_the_limit_is_an_error_at_its_first_byte() {
        let limits = Limits {
            line_bytes: 10,
            ..limits(4, 8192)
        };
        let longest = b"0123456789\n0123456789";
        assert_eq!(cut(longest, limits, 64, false).len(), 2, "the limit itself passes");
        let mut lines = Lines::new(&b"ab\n0123456789x\n"[..], 0, limits, false);
        assert!(lines.next().expect("the first line is short").is_some());
        let error = lines.next().expect_err("the second is too long");
        assert!(error.to_string().contains("limit of 10 bytes"), "{error}");
        assert_eq!(lines.position(), 3);
    }

    #[test]
    fn an_eager_reader_hands_over_what_a_pipe_has() {
        let mut lines = Lines::new(Trickle(Cursor::new(b"a\nb\nc\n"), 2), 0, limits(64, 8192), true);
        let first = lines.next().expect("readable").expect("a line");
        assert_eq!(first.offsets, OffsetRange { from: 0, to: 2 });
    }

    proptest! {
        #[test]
        fn cutting_agrees_with_the_definition(
            text in prop::collection::vec(prop::sample::select(b"\n\n\r\rabc\0\xff".to_vec()), 0..300),
            block in 1_usize..70,
            rows in 1_usize..9,
            step in 1_usize..70,
            eager: bool,
        ) {
            prop_assert_eq!(cut(&text, limits(block, rows), step, eager), naive(&text));
        }
    }
}
