//! `syslog`: messages after RFC 5424 and RFC 3164, told apart one by one.
//!
//! ```text
//! <165>1 2003-10-11T22:14:15.003Z host app 8710 ID47 [example@32473 iut="3"] message      RFC 5424
//! <34>Oct 11 22:14:15 host su[231]: message                                               RFC 3164
//! Oct 11 22:14:15 host su[231]: message                                                   as a file has it
//! 2003-10-11T22:14:15.003+02:00 host su[231]: message                                     as rsyslog writes files
//! ```

use arrow::array::{Array, BinaryArray};
use arrow::datatypes::SchemaRef;
use engine::Result;
use memchr::{memchr, memchr3};

use super::column::{ColumnType, DeclaredColumn, Rows, decode_rows, refused};
use super::layout::Layout;
use super::text::{Cursor, line, unless_dash};
use super::time::{TimeFormat, TimeParser, TimeSettings};
use super::{Decoded, Decoder};

/// Decodes syslog messages. A lone `-` is null, as is what a message does not say.
///
/// Structured data stays the text it is. Of RFC 3164's content, a word up to `[` or `:` is the `app`, a number in
/// brackets after it the `procid`; a message after a priority may lack the time, the host and the app.
#[derive(Debug)]
pub struct Syslog {
    layout: Layout,
    settings: TimeSettings,
}

/// Reads the two kinds of times.
struct Times {
    iso8601: TimeParser,
    rfc3164: TimeParser,
}

const COLUMNS: [(&str, ColumnType); 10] = [
    ("facility", ColumnType::Text),
    ("severity", ColumnType::Text),
    ("severity_code", ColumnType::Int),
    ("time", ColumnType::Timestamp(TimeFormat::Auto)),
    ("host", ColumnType::Text),
    ("app", ColumnType::Text),
    ("procid", ColumnType::Text),
    ("msgid", ColumnType::Text),
    ("structured_data", ColumnType::Text),
    ("message", ColumnType::Text),
];
const FACILITY: usize = 0;
const SEVERITY: usize = 1;
const SEVERITY_CODE: usize = 2;
const TIME: usize = 3;
const HOST: usize = 4;
const APP: usize = 5;
const PROCID: usize = 6;
const MSGID: usize = 7;
const STRUCTURED_DATA: usize = 8;
const MESSAGE: usize = 9;

/// RFC 5424, section 6.2.1; the names are those of syslog(3), and of the RFC where that has none.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// The length of `Oct 11 22:14:15`.
const RFC3164_TIME: usize = 15;

impl Syslog {
    /// Returns a decoder of the columns named in `wanted`; `None` wants all.
    pub fn new(wanted: Option<&[String]>, settings: TimeSettings) -> Self {
        let column = |(name, column_type): (&str, ColumnType)| DeclaredColumn::new(name, column_type);
        Self {
            layout: Layout::new(COLUMNS.into_iter().map(column).collect(), wanted, settings),
            settings,
        }
    }

    fn decode_line(&self, line: &str, rows: &mut Rows, times: &mut Times) -> Result<(), String> {
        let mut cursor = Cursor::new(line);
        if !line.starts_with('<') {
            return self.decode_3164(cursor, rows, times);
        }
        self.put_priority(&mut cursor, rows)?;
        match cursor.rest.strip_prefix("1 ") {
            Some(rest) => {
                cursor.rest = rest;
                self.decode_5424(cursor, rows, times)
            }
            None if starts_with_time(cursor.rest) => self.decode_3164(cursor, rows, times),
            None => self.put_content(cursor.rest, rows),
        }
    }

    fn put_priority(&self, cursor: &mut Cursor<'_>, rows: &mut Rows) -> Result<(), String> {
        let (code, length) =
            priority(cursor.rest.as_bytes()).ok_or_else(|| cursor.missing("a priority from <0> to <191>"))?;
        cursor.rest = &cursor.rest[length..];
        let (facility, severity) = (usize::from(code >> 3), usize::from(code & 7));
        rows.put_str(self.layout.slot(FACILITY), FACILITIES[facility])?;
        rows.put_str(self.layout.slot(SEVERITY), SEVERITIES[severity])?;
        rows.put_i64(self.layout.slot(SEVERITY_CODE), i64::from(code & 7));
        Ok(())
    }

    /// Decodes what follows the version of an RFC 5424 message.
    fn decode_5424(&self, mut cursor: Cursor<'_>, rows: &mut Rows, times: &mut Times) -> Result<(), String> {
        if let Some(time) = unless_dash(cursor.up_to(b' ', "a time and a space")?) {
            let micros = times.iso8601.parse(time.as_bytes());
            rows.put_i64(self.layout.slot(TIME), micros.ok_or_else(|| not_a_time(time))?);
        }
        self.put(HOST, unless_dash(cursor.short_word("a host and a space")?), rows)?;
        self.put(APP, unless_dash(cursor.short_word("an app and a space")?), rows)?;
        self.put(
            PROCID,
            unless_dash(cursor.short_word("a process id and a space")?),
            rows,
        )?;
        self.put(MSGID, unless_dash(cursor.short_word("a message id and a space")?), rows)?;
        let length = structured_data(&cursor)?;
        self.put(STRUCTURED_DATA, unless_dash(&cursor.rest[..length]), rows)?;
        cursor.rest = &cursor.rest[length..];
        if cursor.rest.is_empty() {
            return Ok(());
        }
        cursor.skip(" ", "a space or the end after the structured data")?;
        // A byte order mark says that the message is UTF-8; all of it has to be.
        let message = cursor.rest.strip_prefix('\u{feff}').unwrap_or(cursor.rest);
        self.put(MESSAGE, Some(message), rows)
    }

    /// Decodes what follows the priority, if there is one, of an RFC 3164 message with a time.
    fn decode_3164(&self, mut cursor: Cursor<'_>, rows: &mut Rows, times: &mut Times) -> Result<(), String> {
        let micros = time(&mut cursor, times)?;
        rows.put_i64(self.layout.slot(TIME), micros);
        // A sender that leaves out its host goes on with the app, which the colon shows.
        let end = memchr(b' ', cursor.rest.as_bytes()).unwrap_or(cursor.rest.len());
        let host = &cursor.rest[..end];
        if !host.ends_with(':') {
            self.put(HOST, unless_dash(host).filter(|host| !host.is_empty()), rows)?;
            cursor.rest = cursor.rest.get(end + 1..).unwrap_or("");
        }
        self.put_content(cursor.rest, rows)
    }

    fn put_content(&self, content: &str, rows: &mut Rows) -> Result<(), String> {
        let Some(tag) = Tag::of(content) else {
            return self.put(MESSAGE, Some(content), rows);
        };
        self.put(APP, Some(tag.app), rows)?;
        self.put(PROCID, tag.procid, rows)?;
        self.put(MESSAGE, Some(tag.message), rows)
    }

    #[inline]
    fn put(&self, column: usize, value: Option<&str>, rows: &mut Rows) -> Result<(), String> {
        match value {
            Some(value) => rows.put_str(self.layout.slot(column), value),
            None => Ok(()),
        }
    }
}

impl Decoder for Syslog {
    fn describe(&self) -> String {
        format!("syslog to {}", self.layout.describe())
    }

    fn schema(&self) -> SchemaRef {
        self.layout.schema()
    }

    fn decode(&self, payloads: &BinaryArray) -> Result<Decoded> {
        let rows = self.layout.rows(payloads.len());
        let mut times = Times {
            iso8601: TimeParser::new(&TimeFormat::Iso8601, self.settings),
            rfc3164: TimeParser::new(&TimeFormat::Rfc3164, self.settings),
        };
        decode_rows(payloads, rows, |payload, rows| {
            self.decode_line(line(payload)?, rows, &mut times)
        })
    }

    fn rules_out(&self, payload: &[u8]) -> bool {
        // A priority, a month or a year.
        !payload
            .first()
            .is_some_and(|byte| *byte == b'<' || byte.is_ascii_alphanumeric())
    }
}

/// What comes before the text of an RFC 3164 message.
#[derive(Debug, PartialEq, Eq)]
struct Tag<'a> {
    app: &'a str,
    procid: Option<&'a str>,
    message: &'a str,
}

impl<'a> Tag<'a> {
    /// Returns the parts of `app: message` or `app[procid]: message`; `None` when there is no such tag.
    #[inline]
    fn of(content: &'a str) -> Option<Self> {
        let bytes = content.as_bytes();
        let end = memchr3(b':', b'[', b' ', bytes).filter(|end| *end > 0)?;
        let (procid, after) = match bytes[end] {
            b':' => (None, end),
            b'[' => {
                let close = end + memchr(b']', &bytes[end..])?;
                (Some(&content[end + 1..close]), close + 1)
            }
            _ => return None,
        };
        let message = content[after..].strip_prefix(':')?;
        Some(Self {
            app: &content[..end],
            procid,
            message: message.strip_prefix(' ').unwrap_or(message),
        })
    }
}

/// Reads `<165>`: the number and the bytes it takes.
#[inline]
fn priority(text: &[u8]) -> Option<(u8, usize)> {
    let digits = memchr(b'>', text.get(..5.min(text.len()))?)?;
    let number = text.get(1..digits).filter(|number| !number.is_empty())?;
    let code = number.iter().try_fold(0_u16, |code, byte| {
        byte.is_ascii_digit().then(|| code * 10 + u16::from(byte - b'0'))
    })?;
    let code = u8::try_from(code).ok().filter(|code| *code < 192)?;
    Some((code, digits + 1))
}

/// Returns whether what follows a priority is more likely a time than a message without one.
fn starts_with_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_iso = bytes.len() > 10 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-';
    is_iso || (bytes.len() >= RFC3164_TIME && bytes[3] == b' ' && bytes[9] == b':' && bytes[12] == b':')
}

/// Reads the time at the cursor, of RFC 3164's kind or ISO 8601's, and goes on after the space behind it.
#[inline]
fn time(cursor: &mut Cursor<'_>, times: &mut Times) -> Result<i64, String> {
    let text = cursor.rest;
    if text.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        let time = cursor.up_to(b' ', "a time and a space")?;
        return times.iso8601.parse(time.as_bytes()).ok_or_else(|| not_a_time(time));
    }
    let Some(time) = text.get(..RFC3164_TIME) else {
        return Err(cursor.missing("a priority such as <34>, or a time"));
    };
    let micros = times.rfc3164.parse(time.as_bytes()).ok_or_else(|| not_a_time(time))?;
    cursor.rest = &text[RFC3164_TIME..];
    cursor.skip(" ", "a space after the time")?;
    Ok(micros)
}

/// Returns the length of the structured data at the cursor: `-`, or elements in brackets, whose quoted values may hold brackets.
#[inline]
fn structured_data(cursor: &Cursor<'_>) -> Result<usize, String> {
    let bytes = cursor.rest.as_bytes();
    if bytes.first() == Some(&b'-') {
        return Ok(1);
    }
    let mut at = 0;
    while bytes.get(at) == Some(&b'[') {
        let mut inner = *cursor;
        at += 1;
        loop {
            let found = memchr::memchr2(b']', b'"', &bytes[at..]);
            at += found.ok_or_else(|| cursor.missing("structured data that ends with `]`"))? + 1;
            if bytes[at - 1] == b']' {
                break;
            }
            inner.rest = &cursor.rest[at..];
            at += inner.quoted("a quote after a value of the structured data")?.raw.len() + 1;
        }
    }
    match at {
        0 => Err(cursor.missing("structured data in brackets, or `-`,")),
        _ => Ok(at),
    }
}

#[cold]
fn not_a_time(text: &str) -> String {
    format!("time: {}", refused(text.as_bytes(), "no timestamp"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::testing::{self, check, check_reject};

    const GOOD: &str = r#"<165>1 2003-10-11T22:14:15.003Z host app 8710 ID47 [x@1 a="1"][y@2 b="\"]"] message"#;
    const OLD: &str = "<34>Oct 11 22:14:15 host su[231]: 'su root' failed";

    fn syslog() -> Syslog {
        let settings = TimeSettings {
            reference_micros: Some(1_795_501_816_000_000),
            ..TimeSettings::default()
        };
        Syslog::new(None, settings)
    }

    #[track_caller]
    fn check_all(line: &str, expected: &[(&str, &str)]) {
        check(&syslog(), line.as_bytes(), expected);
    }

    const AUTH: [(&str, &str); 3] = [("facility", "auth"), ("severity", "crit"), ("severity_code", "2")];
    const OCTOBER: (&str, &str) = ("time", "2026-10-11T22:14:15Z");

    #[test]
    fn a_message_of_rfc_5424_has_all_its_columns() {
        let expected = [
            ("facility", "local4"),
            ("severity", "notice"),
            ("severity_code", "5"),
            ("time", "2003-10-11T22:14:15.003Z"),
            ("host", "host"),
            ("app", "app"),
            ("procid", "8710"),
            ("msgid", "ID47"),
            ("structured_data", r#"[x@1 a="1"][y@2 b="\"]"]"#),
            ("message", "message"),
        ];
        check_all(GOOD, &expected);
    }

    #[test]
    fn what_a_message_of_rfc_5424_leaves_out_is_null() {
        check_all("<34>1 - - - - - -", &AUTH);
        check_all("<34>1 - - - - - - ", &[&AUTH[..], &[("message", "")]].concat());
        check_all(
            "<34>1 - - - - - - \u{feff}é\r\n",
            &[&AUTH[..], &[("message", "é")]].concat(),
        );
        check_all(
            "<34>1 - - - - - [a]",
            &[&AUTH[..], &[("structured_data", "[a]")]].concat(),
        );
    }

    #[test]
    fn messages_of_rfc_3164_have_a_tag_or_none() {
        let head = [&AUTH[..], &[OCTOBER, ("host", "host")]].concat();
        let su = [("app", "su"), ("procid", "231"), ("message", "'su root' failed")];
        check_all(OLD, &[&head[..], &su].concat());
        let tag = [("app", "a/b.c"), ("message", "x: y")];
        check_all("<34>Oct 11 22:14:15 host a/b.c: x: y", &[&head[..], &tag].concat());
        let repeated = [("message", "last message repeated 3 times")];
        check_all(
            "<34>Oct 11 22:14:15 host last message repeated 3 times",
            &[&head[..], &repeated].concat(),
        );
        check_all(
            "<34>Oct 11 22:14:15 host a[1 b",
            &[&head[..], &[("message", "a[1 b")]].concat(),
        );
        check_all("<34>Oct 11 22:14:15 host", &[&head[..], &[("message", "")]].concat());
        let bare = [OCTOBER, ("app", "su"), ("message", "x")];
        check_all("<34>Oct 11 22:14:15 su: x", &[&AUTH[..], &bare].concat());
    }

    #[test]
    fn a_priority_alone_is_enough() {
        check_all("<34>su: x", &[&AUTH[..], &[("app", "su"), ("message", "x")]].concat());
        check_all("<34>", &[&AUTH[..], &[("message", "")]].concat());
    }

    #[test]
    fn lines_of_files_have_no_priority() {
        let rest = [
            ("host", "web"),
            ("app", "cron"),
            ("procid", "7"),
            ("message", "(root) CMD"),
        ];
        check_all(
            "Oct 11 22:14:15 web cron[7]: (root) CMD",
            &[&[OCTOBER][..], &rest].concat(),
        );
        let time = ("time", "2026-11-24T05:30:16.123456Z");
        check_all(
            "2026-11-24T06:30:16.123456+01:00 web cron[7]: (root) CMD",
            &[&[time][..], &rest].concat(),
        );
    }

    #[test]
    fn a_bad_message_is_refused_with_what_was_expected() {
        for (line, reason) in [
            ("", "expected a priority such as <34>, or a time from byte 0 on"),
            ("hello", "expected a priority such as <34>, or a time from byte 0 on"),
            ("hello world, how are you", "time: `hello world, ho` is no timestamp"),
            ("Feb 30 22:14:15 host su: x", "time: `Feb 30 22:14:15` is no timestamp"),
            (
                "Oct 11 22:14:15host su: x",
                "expected a space after the time from byte 15 on",
            ),
            (
                "<192>1 - - - - - -",
                "expected a priority from <0> to <191> from byte 0 on",
            ),
            ("<>x", "expected a priority from <0> to <191> from byte 0 on"),
            ("<1234>x", "expected a priority from <0> to <191> from byte 0 on"),
            ("<34>1 today - - - - -", "time: `today` is no timestamp"),
            ("<34>1 - - - -", "expected a process id and a space from byte 12 on"),
            (
                "<34>1 - - - - - x",
                "expected structured data in brackets, or `-`, from byte 16 on",
            ),
            (
                r#"<34>1 - - - - - [a b="]"#,
                "expected a quote after a value of the structured data from byte 22 on",
            ),
            (
                "<34>1 - - - - - [a",
                "expected structured data that ends with `]` from byte 16 on",
            ),
            (
                "<34>1 - - - - - -x",
                "expected a space or the end after the structured data from byte 17 on",
            ),
        ] {
            check_reject(&syslog(), line.as_bytes(), reason);
        }
    }

    proptest! {
        #[test]
        fn bad_messages_leave_their_neighbours_alone(lines in testing::near(GOOD), old in testing::near(OLD)) {
            testing::check_rows_are_independent(&syslog(), OLD.as_bytes(), &lines)?;
            testing::check_rows_are_independent(&syslog(), GOOD.as_bytes(), &old)?;
        }

        #[test]
        fn what_is_ruled_out_is_refused(payload: Vec<u8>) {
            if syslog().rules_out(&payload) {
                check_reject_any(&payload)?;
            }
        }
    }

    fn check_reject_any(payload: &[u8]) -> Result<(), TestCaseError> {
        let decoded = syslog().decode(&BinaryArray::from_vec(vec![payload])).expect("columns");
        prop_assert_eq!(decoded.rejects.len(), 1);
        Ok(())
    }
}
