//! A column of lines that are still one text.

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, BinaryArray, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use crate::recycled;

/// Lines that are not cut yet: row `i` is line `i` of a text without its end, `\n` or `\r\n`. A last line without an end
/// is a row too, an empty line is an empty row, no row is null.
///
/// Who looks at the text whole, as the tokenizer does, spares the cutting.
#[derive(Clone, Debug)]
pub struct Lines {
    text: Buffer,
    rows: usize,
    is_utf8: bool,
    /// The lines when they are cut, for all who ask again.
    array: Arc<OnceLock<ArrayRef>>,
}

impl Lines {
    /// Returns the lines of `text`, which are `rows`, as a binary column.
    pub fn new(text: Buffer, rows: usize) -> Self {
        debug_assert_eq!(
            first_lines(&text, usize::MAX),
            (text.len(), rows),
            "the number of lines"
        );
        Self {
            text,
            rows,
            is_utf8: false,
            array: Arc::default(),
        }
    }

    /// Returns the lines as a string column; `None` when one of them is not UTF-8.
    pub fn to_utf8(&self) -> Option<Self> {
        // A line end is a character of its own, so the text is UTF-8 exactly if all of its lines are.
        let is_utf8 = self.is_utf8 || simdutf8::basic::from_utf8(&self.text).is_ok();
        is_utf8.then(|| Self {
            text: self.text.clone(),
            rows: self.rows,
            is_utf8,
            array: Arc::default(),
        })
    }

    /// Returns the text that the lines are in, their ends included.
    pub fn text(&self) -> &Buffer {
        &self.text
    }

    /// Returns the number of lines.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Returns whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Returns the lines as an Arrow array: strings if they are known to be UTF-8, or binary values.
    pub(super) fn to_array(&self) -> ArrayRef {
        let array = self.array.get_or_init(|| {
            let (offsets, values) = self.cut();
            match self.is_utf8 {
                true => Arc::new(StringArray::new(offsets, values, None)),
                false => Arc::new(BinaryArray::new(offsets, values, None)),
            }
        });
        Arc::clone(array)
    }

    /// Copies the lines together, without their ends.
    fn cut(&self) -> (OffsetBuffer<i32>, Buffer) {
        let mut offsets = Vec::with_capacity(self.rows + 1);
        let mut values = recycled::take(self.text.len());
        offsets.push(0);
        let mut push = |line: &[u8]| {
            values.extend_from_slice(line);
            offsets.push(i32::try_from(values.len()).expect("a batch's text is smaller than 2 GiB"));
        };
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &self.text) {
            let line = &self.text[start..end];
            push(line.strip_suffix(b"\r").unwrap_or(line));
            start = end + 1;
        }
        if start < self.text.len() {
            push(&self.text[start..]);
        }
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), recycled::buffer(values))
    }
}

/// Returns how many bytes the first lines of `text` take, ends included, and how many lines they are: `rows_max`, or all
/// that there are.
pub fn first_lines(text: &[u8], rows_max: usize) -> (usize, usize) {
    /// Counting is several times quicker than finding, so that only the part in which the last line ends is searched.
    const PART: usize = 4096;
    let (mut start, mut rows) = (0, 0);
    for part in text.chunks(PART) {
        let count = memchr::memchr_iter(b'\n', part).count();
        if count >= rows_max - rows {
            let last = memchr::memchr_iter(b'\n', part).nth((rows_max - rows).saturating_sub(1));
            return (start + last.map_or(0, |end| end + 1), rows_max);
        }
        start += part.len();
        rows += count;
    }
    let open = text.last().is_some_and(|&byte| byte != b'\n');
    (text.len(), rows + usize::from(open))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use proptest::prelude::*;

    use super::*;

    /// The lines by their definition, one byte at a time.
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
    fn check(text: &[u8]) {
        let expected = naive(text);
        let lines = Lines::new(Buffer::from(text), expected.len());
        let array = lines.to_array();
        let rows: Vec<_> = array.as_binary::<i32>().iter().flatten().collect();
        assert_eq!(rows, expected);
        match lines.to_utf8() {
            Some(lines) => assert_eq!(lines.to_array().as_string::<i32>().len(), expected.len()),
            None => assert!(expected.iter().any(|line| std::str::from_utf8(line).is_err())),
        }
    }

    #[test]
    fn a_line_end_is_a_newline_with_at_most_one_carriage_return_before() {
        for text in [
            "",
            "\n",
            "a",
            "a\nb\n",
            "a\n\nb",
            "a\r\nb\r\n",
            "\r\n",
            "a\r\r\n",
            "a\rb\n",
            "a\r",
            "é\nß",
        ] {
            check(text.as_bytes());
        }
        check(b"\xc3\n\x9f");
    }

    #[test]
    fn the_first_lines_are_as_many_as_wanted_or_all() {
        let text = "a line\n".repeat(2000) + "the last";
        for rows in [1, 2, 585, 586, 1999, 2000] {
            assert_eq!(first_lines(text.as_bytes(), rows), (7 * rows, rows));
        }
        for rows in [2001, 2002, usize::MAX] {
            assert_eq!(first_lines(text.as_bytes(), rows), (text.len(), 2001));
        }
        assert_eq!(first_lines(b"", 1), (0, 0));
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_definition(
            text in prop::collection::vec(prop::sample::select(b"\n\n\r\rabc\0\xff".to_vec()), 0..300),
            more in "\\PC{0,20}\n?",
        ) {
            check(&text);
            check(more.as_bytes());
        }
    }
}
