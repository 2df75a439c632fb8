//! The byte scanner: where the values of a JSON text are, and that it is JSON (RFC 8259) to the last byte.
//!
//! Nothing is copied and nothing is decoded here. The end of a string is looked up in a bit mask of the bytes that are
//! special inside strings (quotes, backslashes, control characters), which is made for a block of payloads at once.
//! Nested values that no column wants are checked without recursion: a bit for each open bracket.

use std::fmt;

use engine::kernel::separators::{ByteSet, separator_masks};

use super::escape;
use crate::decode::column::shown;

/// Objects and arrays inside each other, the outermost included. Bounds the stack; as many as a `u64` has bits.
pub(super) const DEPTH_MAX: u32 = 64;

/// What a payload has at a place where JSON has something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unexpected {
    /// The byte, counted from the start of the scanned text.
    pub(super) at: usize,
    /// What JSON has there.
    pub(super) expected: &'static str,
}

/// The result of a scan.
pub(super) type Scan<T> = Result<T, Unexpected>;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no value.
    Absent,
    /// `null`
    Null,
    /// `true`
    True,
    /// `false`
    False,
    /// A number without fraction and exponent.
    Integer,
    /// A number with a fraction or an exponent.
    Decimal,
    /// A string that stands for itself.
    Text,
    /// A string with escapes.
    Escaped,
    /// An object or an array.
    Nested,
}

/// A value: the bytes `start..end` of the scanned text, of a string those between the quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) kind: Kind,
    /// Whether the value stands under the column's whole name, dots included, which goes before a nested one.
    pub(super) is_whole_name: bool,
}

impl Slot {
    /// The slot of a column that the payload does not have.
    pub(super) const ABSENT: Self = Self {
        start: 0,
        end: 0,
        kind: Kind::Absent,
        is_whole_name: false,
    };

    pub(super) fn new(kind: Kind, start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
            kind,
            is_whole_name: false,
        }
    }

    /// Returns the value's bytes in the text that was scanned.
    pub(super) fn bytes<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.start as usize..self.end as usize]
    }
}

/// The bytes that are special inside strings, as one bit a byte of a block.
#[derive(Debug)]
pub(super) struct Specials {
    set: ByteSet,
    masks: Vec<u64>,
}

impl Specials {
    pub(super) fn new() -> Self {
        Self {
            set: ByteSet::new(|byte| byte < b' ' || byte == b'"' || byte == b'\\'),
            masks: Vec::new(),
        }
    }

    /// Looks at another block.
    pub(super) fn find(&mut self, block: &[u8]) {
        self.masks.clear();
        separator_masks(block, &self.set, &mut self.masks);
    }

    /// Returns the first special byte from `at` on, or a place after the block.
    #[inline]
    fn next(&self, at: usize) -> usize {
        let first = self.masks.get(at / 64).map_or(0, |mask| mask >> (at % 64));
        if first != 0 {
            return at + first.trailing_zeros() as usize;
        }
        self.next_block(at / 64 + 1)
    }

    fn next_block(&self, from: usize) -> usize {
        let later = self.masks.get(from..).unwrap_or_default();
        match later.iter().position(|&mask| mask != 0) {
            Some(skipped) => (from + skipped) * 64 + later[skipped].trailing_zeros() as usize,
            None => usize::MAX,
        }
    }
}

/// A payload that is scanned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanner<'a> {
    /// The block up to the end of the payload: places count from the start of the block.
    pub(super) text: &'a [u8],
    pub(super) specials: &'a Specials,
}

impl<'a> Scanner<'a> {
    /// Returns the byte at `at`, 0 after the end: no JSON has a zero byte where it would be looked at.
    #[inline]
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    /// Returns the first place from `at` on that is no white space.
    #[inline]
    pub(super) fn skip_space(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// Returns the place after `byte`, which is at `at` or after white space.
    pub(super) fn expect(&self, at: usize, byte: u8, expected: &'static str) -> Scan<usize> {
        let at = self.skip_space(at);
        if self.byte(at) == byte {
            Ok(at + 1)
        } else {
            Err(Unexpected { at, expected })
        }
    }

    /// Returns the value at `at`, inside `depth` brackets, and the place after it.
    #[inline]
    pub(super) fn value(&self, at: usize, depth: u32) -> Scan<(Slot, usize)> {
        match self.byte(at) {
            b'"' => self.string(at),
            b'{' | b'[' => {
                let after = self.nested(at, depth)?;
                Ok((Slot::new(Kind::Nested, at, after), after))
            }
            _ => self.scalar(at),
        }
    }

    /// Returns the number or the literal at `at`, and the place after it.
    #[inline]
    fn scalar(&self, at: usize) -> Scan<(Slot, usize)> {
        let literal = |word: &'static str, expected, kind| {
            if self.text[at..].starts_with(word.as_bytes()) {
                let after = at + word.len();
                Ok((Slot::new(kind, at, after), after))
            } else {
                Err(Unexpected { at, expected })
            }
        };
        match self.byte(at) {
            b'-' | b'0'..=b'9' => {
                let (kind, after) = self.number(at)?;
                Ok((Slot::new(kind, at, after), after))
            }
            b't' => literal("true", "`true`", Kind::True),
            b'f' => literal("false", "`false`", Kind::False),
            b'n' => literal("null", "`null`", Kind::Null),
            _ => Err(Unexpected {
                at,
                expected: "a value",
            }),
        }
    }

    /// Returns the string whose first quote is at `at`, and the place after its last.
    #[inline]
    pub(super) fn string(&self, at: usize) -> Scan<(Slot, usize)> {
        let start = at + 1;
        let end = self.specials.next(start);
        if self.byte(end) == b'"' {
            return Ok((Slot::new(Kind::Text, start, end), end + 1));
        }
        let end = self.escaped_string(end)?;
        Ok((Slot::new(Kind::Escaped, start, end), end + 1))
    }

    /// Returns where the string ends whose first special byte, at `at`, is not its last quote.
    #[cold]
    fn escaped_string(&self, mut at: usize) -> Scan<usize> {
        loop {
            match self.text.get(at) {
                Some(b'"') => return Ok(at),
                Some(b'\\') => at = escape::check(self.text, at)?,
                Some(_) => {
                    return Err(Unexpected {
                        at,
                        expected: "control characters in strings to be escaped",
                    });
                }
                None => {
                    return Err(Unexpected {
                        at: self.text.len(),
                        expected: "`\"` at the end of a string",
                    });
                }
            }
            at = self.specials.next(at);
        }
    }

    /// Returns the kind of the number at `at`, and the place after it.
    #[inline]
    fn number(&self, at: usize) -> Scan<(Kind, usize)> {
        let first = at + usize::from(self.byte(at) == b'-');
        let mut after = match self.byte(first) {
            b'0' => first + 1,
            _ => self.digits(first)?,
        };
        let mut kind = Kind::Integer;
        if self.byte(after) == b'.' {
            kind = Kind::Decimal;
            after = self.digits(after + 1)?;
        }
        if matches!(self.byte(after), b'e' | b'E') {
            kind = Kind::Decimal;
            let is_signed = matches!(self.byte(after + 1), b'+' | b'-');
            after = self.digits(after + 1 + usize::from(is_signed))?;
        }
        Ok((kind, after))
    }

    /// Returns the place after the digits at `at`, of which there is at least one.
    #[inline]
    fn digits(&self, at: usize) -> Scan<usize> {
        let mut after = at;
        while self.byte(after).is_ascii_digit() {
            after += 1;
        }
        if after == at {
            return Err(Unexpected {
                at,
                expected: "a digit",
            });
        }
        Ok(after)
    }

    /// Returns the place after the object or array that opens at `at`, inside `depth` brackets.
    fn nested(&self, at: usize, depth: u32) -> Scan<usize> {
        let mut brackets = Brackets::inside(depth);
        let mut at = brackets.open(at, self.byte(at))?;
        let mut is_first = true;
        loop {
            // Inside the innermost bracket, before its first element or after another.
            at = self.skip_space(at);
            if self.byte(at) == brackets.closing() {
                at += 1;
                is_first = false;
                if brackets.close() {
                    return Ok(at);
                }
                continue;
            }
            if !is_first {
                if self.byte(at) != b',' {
                    return Err(brackets.unclosed(at));
                }
                at = self.skip_space(at + 1);
            }
            if brackets.is_object() {
                at = self.key(at)?;
            }
            let first = self.byte(at);
            is_first = matches!(first, b'{' | b'[');
            at = match first {
                b'{' | b'[' => brackets.open(at, first)?,
                b'"' => self.string(at)?.1,
                _ => self.scalar(at)?.1,
            };
        }
    }

    /// Returns the place of the value whose key is at `at`.
    fn key(&self, at: usize) -> Scan<usize> {
        let (_, after) = self.key_text(at)?;
        Ok(self.skip_space(self.expect(after, b':', "`:` after a key")?))
    }

    /// Returns the key at `at` and the place after its last quote.
    pub(super) fn key_text(&self, at: usize) -> Scan<(Slot, usize)> {
        if self.byte(at) != b'"' {
            return Err(Unexpected {
                at,
                expected: "a key in quotes",
            });
        }
        self.string(at)
    }
}

/// The brackets that are open.
struct Brackets {
    /// How many brackets are around the ones that are opened here.
    outside: u32,
    depth: u32,
    /// Bit 0 is the innermost bracket, set for an object.
    objects: u64,
}

impl Brackets {
    fn inside(depth: u32) -> Self {
        Self {
            outside: depth,
            depth,
            objects: 0,
        }
    }

    /// Opens the bracket `byte` at `at`, and returns the place after it.
    fn open(&mut self, at: usize, byte: u8) -> Scan<usize> {
        check_depth(at, self.depth)?;
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(byte == b'{');
        Ok(at + 1)
    }

    /// Closes the innermost bracket, and returns whether it was the last.
    fn close(&mut self) -> bool {
        self.depth -= 1;
        self.objects >>= 1;
        self.depth == self.outside
    }

    fn is_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn closing(&self) -> u8 {
        if self.is_object() { b'}' } else { b']' }
    }

    fn unclosed(&self, at: usize) -> Unexpected {
        let expected = if self.is_object() { OBJECT_GOES_ON } else { "`,` or `]`" };
        Unexpected { at, expected }
    }
}

/// What follows a member of an object.
pub(super) const OBJECT_GOES_ON: &str = "`,` or `}`";

/// Checks that a bracket at `at`, inside `depth` others, is not too deep.
pub(super) fn check_depth(at: usize, depth: u32) -> Scan<()> {
    if depth < DEPTH_MAX {
        return Ok(());
    }
    Err(Unexpected {
        at,
        expected: "at most 64 objects and arrays inside each other",
    })
}

impl Unexpected {
    /// Returns what is wrong with the payload `start..text.len()` of `text`.
    pub(super) fn reason(&self, text: &[u8], start: usize) -> String {
        format!(
            "expected {} at byte {}, found {}",
            self.expected,
            self.at - start,
            Found(text.get(self.at..).unwrap_or_default())
        )
    }
}

/// Says what a text starts with.
struct Found<'a>(&'a [u8]);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunk = self.0.utf8_chunks().next();
        match chunk.and_then(|chunk| chunk.valid().chars().next()) {
            Some(found) => write!(f, "`{}`", shown(found.encode_utf8(&mut [0; 4]).as_bytes())),
            None => f.write_str("the end"),
        }
    }
}
