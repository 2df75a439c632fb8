//! Payloads as lines of text, and a cursor that reads one from left to right.

use memchr::{memchr, memchr2};

use super::column::not_utf8;

/// Returns the payload as text without the line end it may have.
///
/// # Errors
/// When it is not UTF-8: the reason, with the position.
#[inline]
pub(super) fn line(payload: &[u8]) -> Result<&str, String> {
    let line = payload.strip_suffix(b"\n").unwrap_or(payload);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    std::str::from_utf8(line).map_err(|error| not_utf8(line, error))
}

/// Returns `text`, or `None` for the lone `-` that stands for no value.
#[inline]
pub(super) fn unless_dash(text: &str) -> Option<&str> {
    (text != "-").then_some(text)
}

/// Returns the place of the first byte that is a space, a control character or `mark`.
#[inline]
pub(super) fn find_blank_or(mark: u8, bytes: &[u8]) -> Option<usize> {
    let is_hit = |byte: &u8| *byte <= b' ' || *byte == mark;
    let mut chunks = bytes.chunks_exact(8);
    for (index, chunk) in chunks.by_ref().enumerate() {
        let word = u64::from_le_bytes(chunk.try_into().expect("a chunk of eight bytes"));
        let hits = bytes_below(word, 0x21) | bytes_below(word ^ repeat(mark), 1);
        if hits != 0 {
            return Some(index * 8 + hits.trailing_zeros() as usize / 8);
        }
    }
    let rest = chunks.remainder();
    let from = bytes.len() - rest.len();
    rest.iter().position(is_hit).map(|at| from + at)
}

/// Sets the highest bit of the lowest byte that is below `limit`, and maybe of bytes above that one; `limit` is 0x80 at
/// most. From "Bit Twiddling Hacks" (Sean Eron Anderson), "Determine if a word has a byte less than n".
#[inline]
fn bytes_below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(repeat(limit)) & !word & repeat(0x80)
}

#[inline]
fn repeat(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// What is left of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    line: &'a str,
    pub(super) rest: &'a str,
}

/// The inside of a quoted field, as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quoted<'a> {
    pub(super) raw: &'a str,
    pub(super) has_escape: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self { line, rest: line }
    }

    /// Returns the text before `mark`, an ASCII character, and goes on after it.
    #[inline]
    pub(super) fn up_to(&mut self, mark: u8, expected: &str) -> Result<&'a str, String> {
        match memchr(mark, self.rest.as_bytes()) {
            Some(at) => {
                let found = &self.rest[..at];
                self.rest = &self.rest[at + 1..];
                Ok(found)
            }
            None => Err(self.missing(expected)),
        }
    }

    /// Does as [`up_to`](Self::up_to) a space, quicker where it is some bytes away at most.
    #[inline]
    pub(super) fn short_word(&mut self, expected: &str) -> Result<&'a str, String> {
        match self.rest.bytes().position(|byte| byte == b' ') {
            Some(at) => {
                let found = &self.rest[..at];
                self.rest = &self.rest[at + 1..];
                Ok(found)
            }
            None => Err(self.missing(expected)),
        }
    }

    /// Goes on after `mark`, which has to come next.
    #[inline]
    pub(super) fn skip(&mut self, mark: &str, expected: &str) -> Result<(), String> {
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.missing(expected)),
        }
    }

    /// Returns the text up to the quote that closes it, and goes on after that; the opening one is behind. A backslash hides
    /// the character after it.
    #[inline]
    pub(super) fn quoted(&mut self, expected: &str) -> Result<Quoted<'a>, String> {
        let bytes = self.rest.as_bytes();
        let (mut from, mut has_escape) = (0, false);
        while let Some(at) = memchr2(b'"', b'\\', &bytes[from..]) {
            let at = from + at;
            if bytes[at] == b'"' {
                let raw = &self.rest[..at];
                self.rest = &self.rest[at + 1..];
                return Ok(Quoted { raw, has_escape });
            }
            has_escape = true;
            from = (at + 2).min(bytes.len());
        }
        Err(self.missing(expected))
    }

    /// Returns the reason that the line can't be read further.
    #[cold]
    pub(super) fn missing(&self, expected: &str) -> String {
        let at = self.line.len() - self.rest.len();
        format!("expected {expected} from byte {at} on")
    }
}

impl<'a> Quoted<'a> {
    /// Returns the text with `\"` as a quote and `\\` as a backslash, in `scratch` if there is any; other escapes stay.
    #[inline]
    pub(super) fn unescape<'s>(self, scratch: &'s mut String) -> &'s str
    where
        'a: 's,
    {
        if !self.has_escape {
            return self.raw;
        }
        scratch.clear();
        let mut rest = self.raw;
        while let Some(at) = memchr(b'\\', rest.as_bytes()) {
            scratch.push_str(&rest[..at]);
            // Both are of one byte, as is the backslash that stays.
            let kept = match rest.as_bytes().get(at + 1) {
                Some(b'"' | b'\\') => at + 1,
                _ => at,
            };
            scratch.push_str(&rest[kept..=kept]);
            rest = &rest[kept + 1..];
        }
        scratch.push_str(rest);
        scratch
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn blanks_are_found_where_a_plain_loop_finds_them(bytes: Vec<u8>, text in "[a-zé =]{0,40}", mark: u8) {
            for bytes in [&bytes, text.as_bytes()] {
                for mark in [mark, b'='] {
                    let expected = bytes.iter().position(|byte| *byte <= b' ' || *byte == mark);
                    prop_assert_eq!(find_blank_or(mark, bytes), expected);
                }
            }
        }

        #[test]
        fn escaped_text_is_as_before_it_was_escaped(text in "[a-zé \\\\\"]{0,20}") {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"") + "\"";
            let quoted = Cursor::new(&escaped).quoted("a quote").expect("a closing quote");
            let mut scratch = String::new();
            prop_assert_eq!(quoted.unescape(&mut scratch), text);
        }
    }
}
