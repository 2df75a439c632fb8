//! Escapes in strings: `\n`, `\u00e9`, and pairs of surrogates.

use super::scan::{Scan, Unexpected};

/// Returns the place after the escape whose backslash is at `at`.
///
/// Half a pair of surrogates is refused: it is no character, and UTF-8 can't hold it.
pub(super) fn check(text: &[u8], at: usize) -> Scan<usize> {
    match text.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => check_unicode(text, at),
        _ => Err(Unexpected {
            at: at + 1,
            expected: "one of `\"\\/bfnrtu` after a backslash",
        }),
    }
}

fn check_unicode(text: &[u8], at: usize) -> Scan<usize> {
    let first = hex(text, at + 2)?;
    match first {
        0xd800..=0xdbff if text.get(at + 6..at + 8) == Some(b"\\u") => match hex(text, at + 8)? {
            0xdc00..=0xdfff => Ok(at + 12),
            _ => Err(half_pair(at + 6)),
        },
        0xd800..=0xdbff => Err(half_pair(at + 6)),
        0xdc00..=0xdfff => Err(Unexpected {
            at,
            expected: "the first half of a surrogate pair before its second",
        }),
        _ => Ok(at + 6),
    }
}

fn half_pair(at: usize) -> Unexpected {
    Unexpected {
        at,
        expected: "the second half of a surrogate pair",
    }
}

/// Returns the number that the four hexadecimal digits at `at` stand for.
fn hex(text: &[u8], at: usize) -> Scan<u32> {
    (at..at + 4).try_fold(0, |number, at| {
        let digit = text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        let digit = digit.ok_or(Unexpected {
            at,
            expected: "four hexadecimal digits after `\\u`",
        })?;
        Ok(number << 4 | digit)
    })
}

/// Appends what a string that was scanned stands for; `raw` is what is between its quotes.
pub(super) fn decode(raw: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(plain) = memchr::memchr(b'\\', &raw[at..]) {
        out.extend_from_slice(&raw[at..at + plain]);
        at = decode_escape(raw, at + plain, out);
    }
    out.extend_from_slice(&raw[at..]);
}

/// Appends what the escape at `at` stands for, and returns the place after it.
fn decode_escape(raw: &[u8], at: usize, out: &mut Vec<u8>) -> usize {
    let simple = match raw[at + 1] {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => return decode_unicode(raw, at, out),
        itself => itself,
    };
    out.push(simple);
    at + 2
}

fn decode_unicode(raw: &[u8], at: usize, out: &mut Vec<u8>) -> usize {
    let unit = |at| hex(raw, at).expect("the scanner has checked every escape");
    let first = unit(at + 2);
    let (code, after) = match first {
        0xd800..=0xdbff => (0x1_0000 + ((first - 0xd800) << 10) + (unit(at + 8) - 0xdc00), at + 12),
        _ => (first, at + 6),
    };
    let character = char::from_u32(code).expect("the scanner refuses half pairs");
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes a whole string body, after having checked its escapes.
    #[track_caller]
    fn check_all(raw: &str, expected: Result<&str, &str>) {
        let mut at = 0;
        let mut checked = Ok(());
        while let Some(skipped) = memchr::memchr(b'\\', &raw.as_bytes()[at..]) {
            match check(raw.as_bytes(), at + skipped) {
                Ok(after) => at = after,
                Err(unexpected) => {
                    checked = Err(unexpected.expected);
                    break;
                }
            }
        }
        let decoded = checked.map(|()| {
            let mut out = Vec::new();
            decode(raw.as_bytes(), &mut out);
            String::from_utf8(out).expect("decoded text is UTF-8")
        });
        assert_eq!(decoded.as_deref().map_err(|expected| *expected), expected);
    }

    #[test]
    fn short_escapes_stand_for_one_byte() {
        check_all(r#"a\"\\\/\b\f\n\r\tz"#, Ok("a\"\\/\u{8}\u{c}\n\r\tz"));
    }

    #[test]
    fn unicode_escapes_stand_for_a_character() {
        check_all(r"caf\u00E9 \u0000 \u6570\ud83e\udd80", Ok("café \0 数🦀"));
    }

    #[test]
    fn half_pairs_are_refused() {
        check_all(r"\ud83e", Err("the second half of a surrogate pair"));
        check_all(r"\ud83e\u0041", Err("the second half of a surrogate pair"));
        check_all(r"\udd80", Err("the first half of a surrogate pair before its second"));
    }

    #[test]
    fn unknown_and_short_escapes_are_refused() {
        check_all(r"\x", Err("one of `\"\\/bfnrtu` after a backslash"));
        check_all(r"\u12g4", Err("four hexadecimal digits after `\\u`"));
        check_all(r"\u12", Err("four hexadecimal digits after `\\u`"));
        check_all(r"\", Err("one of `\"\\/bfnrtu` after a backslash"));
    }
}
