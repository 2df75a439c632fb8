//! Cuts a text into batches of whole lines, a block at a time. The lines themselves stay uncut: most of what reads them
//! looks at a text whole, and who wants them one by one has them cut by a worker.
//!
//! ```text
//!        block, as read                  handed over, without a copy           the next block
//! [ whole lines | whole lines | part ] -> [ whole lines ], [ whole lines ]      [ part | ... as read
//!               ^ as many as a batch may have
//! ```

use std::io::{self, ErrorKind, Read};

use arrow::buffer::Buffer;
use engine::batch::first_lines;
use engine::{Lines, OffsetRange, recycled};

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

/// A text in batches of lines.
#[derive(Debug)]
pub(super) struct Blocks<R> {
    text: R,
    limits: Limits,
    /// Whole lines that are no part of a batch yet.
    whole: Buffer,
    /// What was read behind them, a part of a line, is `block[..filled]`.
    block: Vec<u8>,
    filled: usize,
    /// The byte position of the first byte that is no part of a batch yet.
    position: i64,
    ended: bool,
    /// Whether a batch is handed over as soon as there is a line: a pipe may have no more for a while.
    eager: bool,
}

/// Whole lines and the bytes of the text that they took up, line ends included.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) lines: Lines,
    pub(super) offsets: OffsetRange,
}

impl<R: Read> Blocks<R> {
    /// Returns the lines of `text`, whose first byte is at `position`.
    pub(super) fn new(text: R, position: i64, limits: Limits, eager: bool) -> Self {
        Self {
            text,
            limits,
            whole: Buffer::default(),
            block: recycled::take_filled(limits.block_bytes),
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
        while self.whole.is_empty() {
            if self.ended {
                return Ok(None);
            }
            if self.filled > self.limits.line_bytes {
                let problem = format!("the line is longer than the limit of {} bytes", self.limits.line_bytes);
                return Err(io::Error::new(ErrorKind::InvalidData, problem));
            }
            self.fill()?;
        }
        Ok(Some(self.cut()))
    }

    /// Takes a batch out of the whole lines.
    fn cut(&mut self) -> Cut {
        let (bytes, rows) = first_lines(&self.whole, self.limits.rows);
        let text = self.whole.slice_with_length(0, bytes);
        self.whole = match bytes == self.whole.len() {
            // An empty slice would keep the block from being used again.
            true => Buffer::default(),
            false => self.whole.slice(bytes),
        };
        let from = self.position;
        self.position += bytes as i64;
        Cut {
            lines: Lines::new(text, rows),
            offsets: OffsetRange {
                from,
                to: self.position,
            },
        }
    }

    /// Reads on, until the block is full or the text ends, and takes out the lines that are whole.
    fn fill(&mut self) -> io::Result<()> {
        if self.filled == self.block.len() {
            // One byte more than the longest line tells whether it ends there.
            let grown = (self.block.len() * 2).min(self.limits.line_bytes + 1);
            self.block.resize(grown.max(self.filled + 1), 0);
        }
        let part = self.filled;
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
        let whole = match self.ended {
            true => self.filled,
            false => memchr::memrchr(b'\n', &self.block[part..self.filled]).map_or(0, |end| part + end + 1),
        };
        self.take_whole(whole);
        Ok(())
    }

    /// Hands over the first `bytes` of the block, which are whole lines, and goes on with what is behind them.
    fn take_whole(&mut self, bytes: usize) {
        /// Of a block that is used less than that, its lines are copied: it would be memory that a batch holds for nothing.
        const SHARE_MIN: usize = 4;
        let left = self.filled - bytes;
        if bytes < self.block.len() / SHARE_MIN {
            self.whole = Buffer::from(&self.block[..bytes]);
            self.block.copy_within(bytes..self.filled, 0);
        } else {
            let mut next = recycled::take_filled(self.limits.block_bytes.max(left));
            next[..left].copy_from_slice(&self.block[bytes..self.filled]);
            self.whole = recycled::first_bytes(std::mem::replace(&mut self.block, next), bytes);
        }
        self.filled = left;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use arrow::array::AsArray;
    use engine::Column;
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
        let mut lines = Blocks::new(Trickle(Cursor::new(text), step), 7, limits, eager);
        let (mut rows, mut position) = (Vec::new(), 7);
        while let Some(cut) = lines.next().expect("a slice can be read") {
            assert_eq!(cut.offsets.from, position);
            assert!(cut.offsets.to > position && cut.lines.len() <= limits.rows);
            position = cut.offsets.to;
            let values = Column::Lines(cut.lines).to_array();
            let values = values.as_binary::<i32>().iter();
            rows.extend(values.map(|line| line.expect("no line is null").to_vec()));
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
        let mut lines = Blocks::new(&b"ab\n0123456789x\n"[..], 0, limits, false);
        assert!(lines.next().expect("the first line is short").is_some());
        let error = lines.next().expect_err("the second is too long");
        assert!(error.to_string().contains("limit of 10 bytes"), "{error}");
        assert_eq!(lines.position(), 3);
    }

    #[test]
    fn an_eager_reader_hands_over_what_a_pipe_has() {
        let mut lines = Blocks::new(Trickle(Cursor::new(b"a\nb\nc\n"), 2), 0, limits(64, 8192), true);
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
