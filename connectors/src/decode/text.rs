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

    /// Returns the text before the next space or the end, and goes on after the space.
    #[inline]
    pub(super) fn word(&mut self) -> &'a str {
        let end = memchr(b' ', self.rest.as_bytes()).unwrap_or(self.rest.len());
        let found = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or("");
        found
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
