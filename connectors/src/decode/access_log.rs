//! `common` and `combined`: a web server's access log, as Apache and nginx write it.
//!
//! ```text
//! host ident user [10/Oct/2000:13:55:36 -0700] "GET /path HTTP/1.0" 200 2326 "referer" "agent" whatever else
//!                                              └────── common ends here ──┘
//! ```

use arrow::array::{Array, BinaryArray};
use arrow::datatypes::SchemaRef;
use engine::Result;
use memchr::{memchr, memrchr};

use super::column::{ColumnType, DeclaredColumn, Rows, decode_rows};
use super::layout::Layout;
use super::text::{Cursor, line, unless_dash};
use super::time::{TimeFormat, TimeSettings};
use super::{Decoded, Decoder};

/// Decodes lines of an access log. A lone `-` is null.
///
/// In quoted fields `\"` is a quote and `\\` a backslash; other escapes, as `\x16`, stay as they are written. Of a request
/// that is no HTTP, `method`, `path` and `protocol` are null. What follows the last field is in `extra`.
#[derive(Debug)]
pub struct AccessLog {
    variant: Variant,
    layout: Layout,
    needs_request_parts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Common,
    Combined,
}

const HOST: usize = 0;
const IDENT: usize = 1;
const USER: usize = 2;
const TIME: usize = 3;
const REQUEST: usize = 4;
const METHOD: usize = 5;
const PATH: usize = 6;
const PROTOCOL: usize = 7;
const STATUS: usize = 8;
const BYTES: usize = 9;
const EXTRA: usize = 10;
const REFERER: usize = 11;
const AGENT: usize = 12;

impl Variant {
    fn columns(self) -> Vec<DeclaredColumn> {
        let column = |name: &str| {
            let column_type = match name {
                "time" => ColumnType::Timestamp(TimeFormat::Clf),
                "status" | "bytes" => ColumnType::Int,
                _ => ColumnType::Text,
            };
            DeclaredColumn::new(name, column_type)
        };
        let common = [
            "host", "ident", "user", "time", "request", "method", "path", "protocol", "status", "bytes", "extra",
        ];
        let combined: &[&str] = match self {
            Self::Common => &[],
            Self::Combined => &["referer", "user_agent"],
        };
        common.iter().chain(combined).map(|name| column(name)).collect()
    }
}

impl AccessLog {
    /// Returns a decoder of the common log format to the columns named in `wanted`; `None` wants all.
    pub fn common(wanted: Option<&[String]>, settings: TimeSettings) -> Self {
        Self::new(Variant::Common, wanted, settings)
    }

    /// Returns a decoder of the combined log format to the columns named in `wanted`; `None` wants all.
    pub fn combined(wanted: Option<&[String]>, settings: TimeSettings) -> Self {
        Self::new(Variant::Combined, wanted, settings)
    }

    fn new(variant: Variant, wanted: Option<&[String]>, settings: TimeSettings) -> Self {
        let layout = Layout::new(variant.columns(), wanted, settings);
        Self {
            variant,
            needs_request_parts: layout.any(METHOD..=PROTOCOL),
            layout,
        }
    }

    fn decode_line(&self, line: &str, rows: &mut Rows, scratch: &mut String) -> Result<(), String> {
        let mut cursor = Cursor::new(line);
        let host = cursor.up_to(b' ', "a host and a space")?;
        if host.is_empty() {
            return Err("expected a host at the start, not a space".to_owned());
        }
        self.put(HOST, Some(host), rows)?;
        self.put(IDENT, unless_dash(cursor.short_word("an identity and a space")?), rows)?;
        self.put(USER, unless_dash(user(&mut cursor)?), rows)?;
        self.put(TIME, unless_dash(cursor.up_to(b']', "`]` after the time")?), rows)?;
        cursor.skip(" \"", "a space and a quoted request")?;
        let request = cursor.quoted("a quote after the request")?;
        self.put_request(request.unescape(scratch), rows)?;
        cursor.skip(" ", "a space after the request")?;
        self.put(STATUS, unless_dash(cursor.short_word("a status and a space")?), rows)?;
        let (bytes, has_more) = match cursor.rest.bytes().position(|byte| byte == b' ') {
            Some(end) => (&cursor.rest[..end], true),
            None => (cursor.rest, false),
        };
        self.put(BYTES, unless_dash(bytes), rows)?;
        cursor.rest = &cursor.rest[bytes.len()..];
        if self.variant == Variant::Combined {
            cursor.skip(" \"", "a space and a quoted referer")?;
            let referer = cursor.quoted("a quote after the referer")?;
            self.put(REFERER, unless_dash(referer.unescape(scratch)), rows)?;
            cursor.skip(" \"", "a space and a quoted user agent")?;
            let agent = cursor.quoted("a quote after the user agent")?;
            self.put(AGENT, unless_dash(agent.unescape(scratch)), rows)?;
        } else if !has_more {
            return Ok(());
        }
        if cursor.rest.is_empty() {
            return Ok(());
        }
        cursor.skip(" ", "a space or the end of the line")?;
        self.put(EXTRA, Some(cursor.rest), rows)
    }

    #[inline]
    fn put(&self, column: usize, value: Option<&str>, rows: &mut Rows) -> Result<(), String> {
        match value {
            Some(value) => rows.put_str(self.layout.slot(column), value),
            None => Ok(()),
        }
    }

    fn put_request(&self, request: &str, rows: &mut Rows) -> Result<(), String> {
        let Some(request) = unless_dash(request) else {
            return Ok(());
        };
        self.put(REQUEST, Some(request), rows)?;
        if self.needs_request_parts
            && let Some([method, path, protocol]) = request_parts(request)
        {
            self.put(METHOD, Some(method), rows)?;
            self.put(PATH, Some(path), rows)?;
            self.put(PROTOCOL, Some(protocol), rows)?;
        }
        Ok(())
    }
}

impl Decoder for AccessLog {
    fn describe(&self) -> String {
        let name = match self.variant {
            Variant::Common => "common",
            Variant::Combined => "combined",
        };
        format!("{name} to {}", self.layout.describe())
    }

    fn schema(&self) -> SchemaRef {
        self.layout.schema()
    }

    fn decode(&self, payloads: &BinaryArray) -> Result<Decoded> {
        let rows = self.layout.rows(payloads.len());
        let mut scratch = String::new();
        decode_rows(payloads, rows, |payload, rows| {
            self.decode_line(line(payload)?, rows, &mut scratch)
        })
    }
}

/// Returns the user, up to the bracket that opens the time: a user's name may hold spaces.
#[inline]
fn user<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, String> {
    if let Some(rest) = cursor.rest.strip_prefix("- [") {
        cursor.rest = rest;
        return Ok("-");
    }
    let bytes = cursor.rest.as_bytes();
    let mut from = 1;
    while let Some(at) = bytes.get(from..).and_then(|rest| memchr(b'[', rest)) {
        let at = from + at;
        if bytes[at - 1] == b' ' {
            let user = &cursor.rest[..at - 1];
            cursor.rest = &cursor.rest[at + 1..];
            return Ok(user);
        }
        from = at + 1;
    }
    Err(cursor.missing("a user, a space and `[`"))
}

/// Returns method, path and protocol of an HTTP request line.
#[inline]
fn request_parts(request: &str) -> Option<[&str; 3]> {
    let bytes = request.as_bytes();
    let (method, protocol) = (memchr(b' ', bytes)?, memrchr(b' ', bytes)?);
    let is_letter = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let is_method = method > 0 && bytes[..method].iter().all(is_letter);
    let is_http = is_method && method < protocol && request[protocol + 1..].starts_with("HTTP/");
    is_http.then(|| {
        [
            &request[..method],
            &request[method + 1..protocol],
            &request[protocol + 1..],
        ]
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::testing::{self, check, check_reject};

    const GOOD: &str = r#"127.0.0.1 - - [24/Nov/2026:06:30:16 +0000] "GET / HTTP/1.1" 200 6 "-" "curl/7.88.1""#;

    fn combined() -> AccessLog {
        AccessLog::combined(None, TimeSettings::default())
    }

    fn common() -> AccessLog {
        AccessLog::common(None, TimeSettings::default())
    }

    #[test]
    fn a_combined_line_has_all_its_columns() {
        let line =
            br#"::1 id frank [10/Oct/2000:13:55:36 -0700] "GET /a%20b?x=1 HTTP/1.0" 404 2326 "http://x/" "M/4 (a; b)""#;
        let expected = [
            ("host", "::1"),
            ("ident", "id"),
            ("user", "frank"),
            ("time", "2000-10-10T20:55:36Z"),
            ("request", "GET /a%20b?x=1 HTTP/1.0"),
            ("method", "GET"),
            ("path", "/a%20b?x=1"),
            ("protocol", "HTTP/1.0"),
            ("status", "404"),
            ("bytes", "2326"),
            ("referer", "http://x/"),
            ("user_agent", "M/4 (a; b)"),
        ];
        check(&combined(), line, &expected);
        check(&common(), &line[..line.len() - 25], &expected[..10]);
    }

    #[test]
    fn a_dash_is_null_and_a_line_end_does_not_count() {
        let line = b"h - - [-] \"-\" - - \"-\" \"-\"\r\n";
        check(&combined(), line, &[("host", "h")]);
        check(&common(), b"h - - [-] \"-\" - -", &[("host", "h")]);
    }

    #[test]
    fn escapes_hide_quotes_and_others_stay_as_written() {
        let line = br#"h - - [-] "-" - - "a\"b\\" "odd \x22 \"q\" \xC3\xA9 \""#;
        check_reject(
            &combined(),
            line,
            "expected a quote after the user agent from byte 28 on",
        );
        let line = br#"h - - [-] "-" - - "a\"b\\" "odd \x22 \"q\" \xC3\xA9 \t""#;
        let agent = r#"odd \x22 "q" \xC3\xA9 \t"#;
        check(
            &combined(),
            line,
            &[("host", "h"), ("referer", r#"a"b\"#), ("user_agent", agent)],
        );
    }

    #[test]
    fn a_request_that_is_no_http_is_kept_whole() {
        for request in [
            r"\x16\x03\x01\x02 not HTTP 0",
            "GET /",
            "",
            "get / HTTP/1.1",
            " / HTTP/1.1",
            "GET HTTP/1.1",
        ] {
            let line = format!(r#"h - - [-] "{request}" 400 0"#);
            check(
                &common(),
                line.as_bytes(),
                &[("host", "h"), ("request", request), ("status", "400"), ("bytes", "0")],
            );
        }
        let line = br#"h - - [-] "M-SEARCH /a b HTTP/2.0" 400 0"#;
        let parts = [
            ("method", "M-SEARCH"),
            ("path", "/a b"),
            ("protocol", "HTTP/2.0"),
            ("status", "400"),
            ("bytes", "0"),
        ];
        let expected = [&[("host", "h"), ("request", "M-SEARCH /a b HTTP/2.0")][..], &parts].concat();
        check(&common(), line, &expected);
    }

    #[test]
    fn what_follows_is_extra() {
        let line = format!("{GOOD} 0.003 \"10.0.0.1\"");
        let wanted = ["extra".to_owned(), "user".to_owned()];
        let decoder = AccessLog::combined(Some(&wanted), TimeSettings::default());
        check(&decoder, line.as_bytes(), &[("extra", "0.003 \"10.0.0.1\"")]);
        check(&decoder, GOOD.as_bytes(), &[]);
        check_reject(
            &decoder,
            format!("{GOOD}x").as_bytes(),
            "expected a space or the end of the line from byte 83 on",
        );
    }

    #[test]
    fn a_users_name_may_hold_spaces_and_brackets() {
        let line = br#"h - John [x] Doe [24/Nov/2026:06:30:16 +0000] "-" - -"#;
        check_reject(&common(), line, "time: `x` is no timestamp");
        let line = br#"h - J[x Doe [24/Nov/2026:06:30:16 +0000] "-" - -"#;
        check(
            &common(),
            line,
            &[("host", "h"), ("user", "J[x Doe"), ("time", "2026-11-24T06:30:16Z")],
        );
    }

    #[test]
    fn a_bad_line_is_refused_with_what_was_expected() {
        for (line, reason) in [
            ("", "expected a host and a space from byte 0 on"),
            ("host", "expected a host and a space from byte 0 on"),
            (
                "h - [24/Nov/2026:06:30:16 +0000] x",
                "expected a user, a space and `[` from byte 4 on",
            ),
            (
                r#"h - - [24/Nov/2026 06:30:16] "" 1 1"#,
                "time: `24/Nov/2026 06:30:16` is no timestamp",
            ),
            (r#"h - - [-] "-" OK 1"#, "status: `OK` is no int"),
            (r#"h - - [-] "-" 200 1k"#, "bytes: `1k` is no int"),
            (
                r#"h - - [-] "GET / 200 1"#,
                "expected a quote after the request from byte 11 on",
            ),
            (r#"{"host":"h"}"#, "expected a host and a space from byte 0 on"),
        ] {
            check_reject(&common(), line.as_bytes(), reason);
        }
        check_reject(
            &combined(),
            &GOOD.as_bytes()[..70],
            "expected a space and a quoted user agent from byte 69 on",
        );
        check_reject(
            &combined(),
            b"h \xff",
            "byte 2 of `h \u{fffd}` is 0xff, which is no UTF-8 there",
        );
    }

    #[test]
    fn every_line_of_the_sample_log_is_read() {
        let lines = testing::sample("access.log");
        let decoded = combined().decode(&testing::payloads(&lines)).expect("columns");
        assert_eq!(decoded.rejects, []);
        let column = |name: &str| decoded.columns[combined().schema().index_of(name).expect("a column")].null_count();
        let no_http = lines
            .iter()
            .filter(|line| line.windows(8).any(|part| part == b"not HTTP"))
            .count();
        assert!(no_http > 0 && column("method") == no_http && column("path") == no_http);
        assert_eq!(
            (
                column("host"),
                column("time"),
                column("status"),
                column("bytes"),
                column("request")
            ),
            (0, 0, 0, 0, 0)
        );
        assert_eq!(column("extra"), lines.len());
    }

    proptest! {
        #[test]
        fn bad_lines_leave_their_neighbours_alone(lines in testing::near(GOOD)) {
            testing::check_rows_are_independent(&combined(), GOOD.as_bytes(), &lines)?;
            testing::check_rows_are_independent(&common(), GOOD.as_bytes(), &lines)?;
        }
    }
}
