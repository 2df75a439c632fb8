//! `logfmt`: key=value pairs, as many services write them.
//!
//! ```text
//! level=info msg="user logged in" user=frank took=0.5 cached
//! ```

use std::ops::Range;

use arrow::array::{Array, BinaryArray};
use arrow::datatypes::SchemaRef;
use engine::{Error, Result};
use memchr::memchr;

use super::column::{ColumnType, DeclaredColumn, Rows, decode_rows};
use super::layout::Layout;
use super::text::{Cursor, find_blank_or, line};
use super::time::TimeSettings;
use super::{Decoded, Decoder};

/// The column of the pairs that no declared column is for.
const EXTRA_COLUMN: &str = "_extra";

/// Pairs up to which repeated keys are looked for by comparing all with all; beyond, by sorting.
const COMPARED_MAX: usize = 16;

/// Keys of a line that are remembered for the next one, and the bytes of one: more than programs have.
const ORDER_MAX: usize = 64;
const KEY_BYTES_MAX: usize = 256;

/// Decodes pairs to declared columns, and the others to `_extra`: the text of a JSON object of strings, null without any.
///
/// Pairs are apart by spaces, tabs or other control characters. A quoted value may hold those, and the escapes of JSON. A
/// key without a value is `true`. A value of nothing is an empty string, and null in a column of another type. Of a key
/// that is there twice the last value counts. A payload without any `=` is refused.
#[derive(Debug)]
pub struct Logfmt {
    keys: Vec<String>,
    /// Whether an empty value is a value of the column.
    takes_empty: Vec<bool>,
    layout: Layout,
}

/// What the pairs of a payload need while they are read; kept from one to the next.
#[derive(Debug, Default)]
struct Scratch {
    text: String,
    extra: Vec<Extra>,
    json: Vec<u8>,
    /// The keys of the last line in their order, and their columns: lines of one program mostly have the same keys.
    order: Vec<(String, Option<usize>)>,
}

/// A pair for `_extra`, as places in the line.
#[derive(Clone, Debug)]
struct Extra {
    key: Range<usize>,
    value: Value,
}

/// A value as it is written.
#[derive(Clone, Debug)]
enum Value {
    Plain(Range<usize>),
    Escaped(Range<usize>),
    Absent,
}

impl Logfmt {
    /// Returns a decoder of `columns` and `_extra`, as far as they are named in `wanted`; `None` wants all.
    ///
    /// # Errors
    /// When two columns have one name, or one is called `_extra`.
    pub fn new(columns: &[DeclaredColumn], wanted: Option<&[String]>, settings: TimeSettings) -> Result<Self> {
        let mut all = columns.to_vec();
        all.push(DeclaredColumn::new(EXTRA_COLUMN, ColumnType::Text));
        for (index, column) in all.iter().enumerate() {
            if all[..index].iter().any(|earlier| earlier.name == column.name) {
                return Err(Error::Invalid(format!(
                    "the column `{}` is declared twice",
                    column.name
                )));
            }
        }
        let is_text = |column: &DeclaredColumn| matches!(column.column_type, ColumnType::Text | ColumnType::Bytes);
        Ok(Self {
            keys: columns.iter().map(|column| column.name.clone()).collect(),
            takes_empty: columns.iter().map(is_text).collect(),
            layout: Layout::new(all, wanted, settings),
        })
    }

    fn extra_slot(&self) -> Option<usize> {
        self.layout.slot(self.keys.len())
    }

    fn decode_line(&self, line: &str, rows: &mut Rows, scratch: &mut Scratch) -> Result<(), String> {
        if memchr(b'=', line.as_bytes()).is_none() {
            return Err("expected key=value pairs, and there is no `=`".to_owned());
        }
        scratch.extra.clear();
        let keeps_extra = self.extra_slot().is_some();
        let (mut at, mut number) = (0, 0);
        while let Some((key, value, next)) = pair(line, at)? {
            at = next;
            let column = self.find(&line[key.clone()], number, &mut scratch.order);
            number += 1;
            match column {
                Some(column) => self.set(column, value.text(line, &mut scratch.text), rows)?,
                None if keeps_extra => scratch.extra.push(Extra { key, value }),
                None => {}
            }
        }
        match scratch.extra.is_empty() {
            true => Ok(()),
            false => self.set_extra(line, rows, scratch),
        }
    }

    /// Returns the column of `key`, the line's `number`-th.
    #[inline]
    fn find(&self, key: &str, number: usize, order: &mut Vec<(String, Option<usize>)>) -> Option<usize> {
        match order.get(number) {
            Some((known, column)) if known == key => *column,
            _ => self.look_up(key, number, order),
        }
    }

    #[cold]
    fn look_up(&self, key: &str, number: usize, order: &mut Vec<(String, Option<usize>)>) -> Option<usize> {
        let column = self.keys.iter().position(|name| name == key);
        if number < ORDER_MAX && key.len() <= KEY_BYTES_MAX {
            match order.get_mut(number) {
                Some((known, known_column)) => {
                    known.clear();
                    known.push_str(key);
                    *known_column = column;
                }
                None => order.push((key.to_owned(), column)),
            }
        }
        column
    }

    #[inline]
    fn set(&self, column: usize, text: &str, rows: &mut Rows) -> Result<(), String> {
        match self.layout.slot(column) {
            None => Ok(()),
            Some(slot) if text.is_empty() && !self.takes_empty[column] => {
                rows.clear(slot);
                Ok(())
            }
            Some(slot) => rows.set_str(slot, text),
        }
    }

    fn set_extra(&self, line: &str, rows: &mut Rows, scratch: &mut Scratch) -> Result<(), String> {
        keep_last(line, &mut scratch.extra);
        scratch.json.clear();
        for Extra { key, value } in &scratch.extra {
            scratch.json.push(if scratch.json.is_empty() { b'{' } else { b',' });
            write_json(&line[key.clone()], &mut scratch.json);
            scratch.json.push(b':');
            write_json(value.text(line, &mut scratch.text), &mut scratch.json);
        }
        scratch.json.push(b'}');
        match self.extra_slot() {
            Some(slot) => rows.set_text(slot, &scratch.json),
            None => Ok(()),
        }
    }
}

impl Decoder for Logfmt {
    fn describe(&self) -> String {
        format!("logfmt to {}", self.layout.describe())
    }

    fn schema(&self) -> SchemaRef {
        self.layout.schema()
    }

    fn decode(&self, payloads: &BinaryArray) -> Result<Decoded> {
        let rows = self.layout.rows(payloads.len());
        let mut scratch = Scratch::default();
        decode_rows(payloads, rows, |payload, rows| {
            self.decode_line(line(payload)?, rows, &mut scratch)
        })
    }
}

impl Value {
    /// Returns the value, in `scratch` if it has escapes.
    #[inline]
    fn text<'a>(&self, line: &'a str, scratch: &'a mut String) -> &'a str {
        match self {
            Self::Plain(range) => &line[range.clone()],
            Self::Absent => "true",
            Self::Escaped(range) => {
                scratch.clear();
                unescape(&line[range.clone()], scratch);
                scratch
            }
        }
    }
}

/// Returns the next pair from byte `at` of the line on, and the byte to go on at; `None` at the end.
#[inline]
fn pair(line: &str, at: usize) -> Result<Option<(Range<usize>, Value, usize)>, String> {
    let bytes = line.as_bytes();
    let Some(start) = bytes[at..]
        .iter()
        .position(|byte| *byte > b' ')
        .map(|skipped| at + skipped)
    else {
        return Ok(None);
    };
    let length = find_blank_or(b'=', &bytes[start..]);
    let end = length.map_or(bytes.len(), |length| start + length);
    let key = start..end;
    if bytes.get(end) != Some(&b'=') {
        return Ok(Some((key, Value::Absent, end)));
    }
    if key.is_empty() {
        return Err(format!("expected a key before `=` at byte {start}"));
    }
    let start = end + 1;
    if bytes.get(start) == Some(&b'"') {
        let (value, end) = quoted(line, start)?;
        return Ok(Some((key, value, end)));
    }
    let length = find_blank_or(b' ', &bytes[start..]);
    let end = length.map_or(bytes.len(), |length| start + length);
    Ok(Some((key, Value::Plain(start..end), end)))
}

/// Returns the value whose quote is at byte `at`, and the byte after its closing quote.
#[inline]
fn quoted(line: &str, at: usize) -> Result<(Value, usize), String> {
    let mut cursor = Cursor::new(&line[at + 1..]);
    let unclosed = |_| format!("expected a quote that closes the one at byte {at}");
    let quoted = cursor.quoted("a quote").map_err(unclosed)?;
    let range = at + 1..at + 1 + quoted.raw.len();
    let end = range.end + 1;
    if line.as_bytes().get(end).is_some_and(|byte| *byte > b' ') {
        return Err(format!("expected a space after the quoted value at byte {end}"));
    }
    match quoted.has_escape {
        true => Ok((Value::Escaped(range), end)),
        false => Ok((Value::Plain(range), end)),
    }
}

/// Appends `raw` with JSON's escapes undone; a backslash before anything else stays.
fn unescape(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let plain = match rest.as_bytes().first() {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'u') => {
                rest = unicode(rest, out);
                continue;
            }
            _ => {
                out.push('\\');
                continue;
            }
        };
        out.push(plain);
        rest = &rest[1..];
    }
    out.push_str(rest);
}

/// Appends the character of `uXXXX`, or of two of them that are a surrogate pair; returns what follows.
fn unicode<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let unit = |text: &str| {
        let digits = text
            .get(1..5)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        u16::from_str_radix(digits, 16).ok()
    };
    let Some(first) = unit(rest) else {
        out.push('\\');
        return rest;
    };
    let second = rest[5..]
        .strip_prefix('\\')
        .filter(|next| next.starts_with('u'))
        .and_then(unit);
    let mut pair = char::decode_utf16([first].into_iter().chain(second));
    match (pair.next(), pair.next()) {
        (Some(Ok(letter)), None) if second.is_some() => {
            out.push(letter);
            &rest[11..]
        }
        (letter, _) => {
            out.push(letter.and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER));
            &rest[5..]
        }
    }
}

/// Keeps the last pair of each key.
fn keep_last(line: &str, extra: &mut Vec<Extra>) {
    let key = |pair: &Extra| &line[pair.key.clone()];
    let is_repeated: Vec<bool> = if extra.len() <= COMPARED_MAX {
        let repeats = |at: usize| extra[at + 1..].iter().any(|later| key(later) == key(&extra[at]));
        if !(0..extra.len()).any(repeats) {
            return;
        }
        (0..extra.len()).map(repeats).collect()
    } else {
        let mut order: Vec<_> = (0..extra.len()).collect();
        order.sort_by_key(|&at| (key(&extra[at]), at));
        let mut is_repeated = vec![false; extra.len()];
        for two in order.windows(2) {
            is_repeated[two[0]] = key(&extra[two[0]]) == key(&extra[two[1]]);
        }
        is_repeated
    };
    let mut is_repeated = is_repeated.into_iter();
    extra.retain(|_| !is_repeated.next().unwrap_or(false));
}

fn write_json(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a Vec takes every string");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::testing::{self, check, check_reject};

    const GOOD: &str = r#"at=2026-11-24T06:30:16Z level=info status=200 took=0.5 cached msg="a \"b\" c" path=/x?a=b"#;

    fn logfmt(columns: &[&str]) -> Logfmt {
        let columns: Vec<_> = columns.iter().map(|text| text.parse().expect("a column")).collect();
        Logfmt::new(&columns, None, TimeSettings::default()).expect("a decoder")
    }

    fn declared() -> Logfmt {
        logfmt(&[
            "level:string",
            "status:int",
            "took:float",
            "cached:bool",
            "at:timestamp",
            "raw:bytes",
        ])
    }

    #[test]
    fn declared_keys_are_columns_and_all_others_are_extra() {
        let expected = [
            ("level", "info"),
            ("status", "200"),
            ("took", "0.5"),
            ("cached", "true"),
            ("at", "2026-11-24T06:30:16Z"),
            ("_extra", r#"{"msg":"a \"b\" c","path":"/x?a=b"}"#),
        ];
        check(&declared(), GOOD.as_bytes(), &expected);
        check(&logfmt(&["path:string"]), b"path=/x", &[("path", "/x")]);
        check(&logfmt(&[]), b"a=1 b", &[("_extra", r#"{"a":"1","b":"true"}"#)]);
    }

    #[test]
    fn extra_is_built_only_when_wanted() {
        let columns = ["level:string".parse().expect("a column")];
        let wanted = ["level".to_owned()];
        let decoder = Logfmt::new(&columns, Some(&wanted), TimeSettings::default()).expect("a decoder");
        check(&decoder, GOOD.as_bytes(), &[("level", "info")]);
        assert_eq!(decoder.schema().fields().len(), 1);
    }

    #[test]
    fn an_empty_value_is_an_empty_string_or_null() {
        let expected = [("level", ""), ("raw", ""), ("_extra", r#"{"x":""}"#)];
        check(
            &declared(),
            b"\t level=  status= took=\"\" at= cached= raw= x=\"\" \r\n",
            &expected,
        );
    }

    #[test]
    fn the_last_value_of_a_key_counts() {
        check(&declared(), b"status=1 status=2", &[("status", "2")]);
        check(&declared(), b"status=1 status=", &[]);
        check(&logfmt(&[]), b"a=1 b=2 a=3", &[("_extra", r#"{"b":"2","a":"3"}"#)]);
        let many: String = (0..40).map(|number| format!("k{}={number} ", number % 20)).collect();
        let last: Vec<_> = (0..20)
            .map(|number| format!(r#""k{number}":"{}""#, number + 20))
            .collect();
        check(
            &logfmt(&[]),
            many.as_bytes(),
            &[("_extra", &format!("{{{}}}", last.join(",")))],
        );
    }

    #[test]
    fn escapes_are_those_of_json() {
        let line = br#"a="\n\t\"\\\/ \u00e9 \ud83e\udd80 \ud83e \x \u12 \ud83ex" b=c\n"#;
        let text = "\n\t\"\\/ é 🦀 \u{fffd} \\x \\u12 \u{fffd}x";
        check(&logfmt(&["a:string", "b:string"]), line, &[("a", text), ("b", "c\\n")]);
        check(&logfmt(&["a:string"]), br#"a="\ud83e\u0041""#, &[("a", "\u{fffd}A")]);
    }

    #[test]
    fn a_bad_line_is_refused_with_what_was_expected() {
        for (line, reason) in [
            ("", "expected key=value pairs, and there is no `=`"),
            ("hello world", "expected key=value pairs, and there is no `=`"),
            ("a=1 =2", "expected a key before `=` at byte 4"),
            (r#"a="b"#, "expected a quote that closes the one at byte 2"),
            (r#"a="b\"#, "expected a quote that closes the one at byte 2"),
            (r#"a="b"c"#, "expected a space after the quoted value at byte 5"),
            ("status=2x", "status: `2x` is no int"),
            ("cached=2", "cached: `2` is no bool"),
        ] {
            check_reject(&declared(), line.as_bytes(), reason);
        }
    }

    #[test]
    fn a_name_is_declared_once() {
        for columns in [["a:int", "a:int"], ["a:int", "_extra:string"]] {
            let columns = columns.map(|text| text.parse().expect("a column"));
            let error = Logfmt::new(&columns, None, TimeSettings::default()).expect_err("one name twice");
            assert!(error.to_string().ends_with("is declared twice"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn bad_lines_leave_their_neighbours_alone(lines in testing::near(GOOD)) {
            testing::check_rows_are_independent(&declared(), GOOD.as_bytes(), &lines)?;
        }

        #[test]
        fn extra_is_json_and_keeps_every_value(values in prop::collection::vec("\\PC{0,12}", 1..30)) {
            let quoted = values.iter().enumerate().map(|(index, value)| {
                let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
                format!("k{index}=\"{escaped}\"")
            });
            let line = quoted.collect::<Vec<_>>().join(" ");
            let decoded = logfmt(&[]).decode(&BinaryArray::from_vec(vec![line.as_bytes()])).expect("columns");
            let text = arrow::array::AsArray::as_string::<i32>(&decoded.columns[0]).value(0);
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).expect("JSON");
            prop_assert_eq!(object.len(), values.len());
            for (index, value) in values.iter().enumerate() {
                prop_assert_eq!(object[&format!("k{index}")].as_str(), Some(value.as_str()));
            }
        }
    }
}
