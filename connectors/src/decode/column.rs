//! Columns under way: text values into typed Arrow columns, a row undone when one of its fields is bad.
//!
//! A decoder that goes row by row makes [`Rows`] of its columns and hands each payload to [`decode_rows`]. Fields are appended
//! in any order; a column that got none is null in that row; when the payload turns out bad in its seventh field, the
//! first six are taken back and the row is null in every column.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Float64Array, Int64Array, NullBufferBuilder,
    StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use engine::{Error, Result};

use super::time::{TimeFormat, TimeParser, TimeSettings};
use super::{Decoded, Reject};
use crate::spelling;

/// Letters of a bad value that its reason shows.
const SHOWN_MAX: usize = 40;

/// The type of a decoded column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `int`: 64 bits, signed.
    Int,
    /// `float`: 64 bits.
    Float,
    /// `bool`: `true` and `false`, `t` and `f`, `yes` and `no`, `y` and `n`, `on` and `off`, `1` and `0`, in any case.
    Bool,
    /// `string`: UTF-8.
    Text,
    /// `bytes`: anything.
    Bytes,
    /// `timestamp` or `timestamp:FORMAT`: microseconds since 1970 UTC.
    Timestamp(TimeFormat),
}

/// A column that a user wants, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredColumn {
    /// Its name, which is also the field's name in the payloads.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
}

/// A column of one type under way. Values come as text.
#[derive(Debug)]
pub struct ColumnBuilder {
    values: Values,
    valid: NullBufferBuilder,
    /// The number of values; every append asks for it, and `valid` does not answer inline.
    len: usize,
}

/// Columns under way, row by row. Only its rows' last one is ever incomplete.
#[derive(Debug)]
pub struct Rows {
    names: Vec<String>,
    columns: Vec<ColumnBuilder>,
    rows: usize,
    rejects: Vec<Reject>,
}

#[derive(Debug)]
enum Values {
    Int(Vec<i64>),
    Float(Vec<f64>),
    Bool(BooleanBufferBuilder),
    Text(Strings),
    Bytes(Strings),
    Timestamp(Vec<i64>, TimeParser),
}

/// Strings one after the other: string `i` is `data[ends[i]..ends[i + 1]]`.
#[derive(Debug)]
struct Strings {
    ends: Vec<i32>,
    data: Vec<u8>,
}

/// The types by name; a timestamp may have a format after a colon.
const NAMES: &[(&str, ColumnType)] = &[
    ("int", ColumnType::Int),
    ("float", ColumnType::Float),
    ("bool", ColumnType::Bool),
    ("string", ColumnType::Text),
    ("bytes", ColumnType::Bytes),
    ("timestamp", ColumnType::Timestamp(TimeFormat::Auto)),
];

impl FromStr for ColumnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(format) = text.strip_prefix("timestamp:") {
            return format.parse().map(Self::Timestamp);
        }
        let named = NAMES.iter().find(|(name, _)| *name == text);
        named.map(|(_, named)| named.clone()).ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            format!(
                "expected a column type ({} or timestamp:FORMAT), not `{text}`{}",
                names.join(", "),
                spelling::hint(text, names.iter().copied())
            )
        })
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int => f.write_str("int"),
            Self::Float => f.write_str("float"),
            Self::Bool => f.write_str("bool"),
            Self::Text => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp(TimeFormat::Auto) => f.write_str("timestamp"),
            Self::Timestamp(format) => write!(f, "timestamp:{format}"),
        }
    }
}

impl ColumnType {
    /// Returns the Arrow type of its columns.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Text => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

impl DeclaredColumn {
    /// Returns a column.
    pub fn new(name: impl Into<String>, column_type: ColumnType) -> Self {
        Self {
            name: name.into(),
            column_type,
        }
    }

    /// Returns its field: nullable, as every decoded column is.
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.column_type.data_type(), true)
    }

    /// Returns the schema of `columns`.
    pub fn schema(columns: &[Self]) -> SchemaRef {
        Arc::new(Schema::new(columns.iter().map(Self::field).collect::<Vec<_>>()))
    }
}

/// Reads `NAME:TYPE`, as in `status:int` or `time:timestamp:%d.%m.%Y`.
impl FromStr for DeclaredColumn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((name, column_type)) if !name.is_empty() => Ok(Self::new(name, column_type.parse()?)),
            _ => Err(format!("expected NAME:TYPE such as status:int, not `{text}`")),
        }
    }
}

impl fmt::Display for DeclaredColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.column_type)
    }
}

impl ColumnBuilder {
    /// Returns a builder with room for `rows` values.
    pub fn new(column_type: &ColumnType, settings: TimeSettings, rows: usize) -> Self {
        let values = match column_type {
            ColumnType::Int => Values::Int(Vec::with_capacity(rows)),
            ColumnType::Float => Values::Float(Vec::with_capacity(rows)),
            ColumnType::Bool => Values::Bool(BooleanBufferBuilder::new(rows)),
            ColumnType::Text => Values::Text(Strings::new(rows)),
            ColumnType::Bytes => Values::Bytes(Strings::new(rows)),
            ColumnType::Timestamp(format) => {
                Values::Timestamp(Vec::with_capacity(rows), TimeParser::new(format, settings))
            }
        };
        Self {
            values,
            valid: NullBufferBuilder::new(rows),
            len: 0,
        }
    }

    /// Returns the number of values, nulls included.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the value that the whole of `text` says.
    ///
    /// # Errors
    /// When it says none of the column's type: the reason, such as "`abc` is no int". Nothing was appended then.
    #[inline]
    pub fn append_text(&mut self, text: &[u8]) -> Result<(), String> {
        match &mut self.values {
            Values::Text(strings) => {
                if let Err(error) = std::str::from_utf8(text) {
                    return Err(not_utf8(text, error));
                }
                strings.append(text)?;
            }
            Values::Bytes(strings) => strings.append(text)?,
            Values::Int(values) => values.push(parse_int(text).ok_or_else(|| refused(text, "no int"))?),
            Values::Float(values) => values.push(parse_float(text).ok_or_else(|| refused(text, "no float"))?),
            Values::Bool(values) => values.append(parse_bool(text).ok_or_else(|| refused(text, "no bool"))?),
            Values::Timestamp(values, parser) => {
                values.push(parser.parse(text).ok_or_else(|| refused(text, "no timestamp"))?);
            }
        }
        self.end_value();
        Ok(())
    }

    /// Appends text that is known to be UTF-8.
    ///
    /// # Errors
    /// As [`append_text`](Self::append_text).
    #[inline]
    pub fn append_str(&mut self, text: &str) -> Result<(), String> {
        match &mut self.values {
            Values::Text(strings) => {
                strings.append(text.as_bytes())?;
                self.end_value();
                Ok(())
            }
            _ => self.append_text(text.as_bytes()),
        }
    }

    /// Appends a number or a time in microseconds.
    ///
    /// # Panics
    /// When the column is neither int nor timestamp.
    #[inline]
    pub fn append_i64(&mut self, value: i64) {
        match &mut self.values {
            Values::Int(values) | Values::Timestamp(values, _) => values.push(value),
            other => panic!("{other:?} takes no integers"),
        }
        self.end_value();
    }

    /// Appends a null.
    #[inline]
    pub fn append_null(&mut self) {
        match &mut self.values {
            Values::Int(values) | Values::Timestamp(values, _) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Bool(values) => values.append(false),
            Values::Text(strings) | Values::Bytes(strings) => strings.append_none(),
        }
        self.valid.append_null();
        self.len += 1;
    }

    #[inline]
    fn end_value(&mut self) {
        self.valid.append_non_null();
        self.len += 1;
    }

    /// Takes the last values back, so that `rows` are left; keeps all when there are no more than that.
    #[inline]
    pub fn truncate(&mut self, rows: usize) {
        if rows < self.len {
            self.take_back(rows);
        }
    }

    fn take_back(&mut self, rows: usize) {
        match &mut self.values {
            Values::Int(values) | Values::Timestamp(values, _) => values.truncate(rows),
            Values::Float(values) => values.truncate(rows),
            Values::Bool(values) => values.truncate(rows),
            Values::Text(strings) | Values::Bytes(strings) => strings.truncate(rows),
        }
        self.valid.truncate(rows);
        self.len = rows;
    }

    /// Returns the column.
    ///
    /// # Errors
    /// Never, unless Arrow refuses what the builder has checked.
    pub fn finish(mut self) -> Result<ArrayRef> {
        let nulls = self.valid.finish();
        let ints = |values: Vec<i64>| ScalarBuffer::from(values);
        Ok(match self.values {
            Values::Int(values) => Arc::new(Int64Array::new(ints(values), nulls)),
            Values::Float(values) => Arc::new(Float64Array::new(values.into(), nulls)),
            Values::Bool(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Timestamp(values, _) => {
                Arc::new(TimestampMicrosecondArray::new(ints(values), nulls).with_timezone("UTC"))
            }
            Values::Text(strings) => strings.into_text(nulls)?,
            Values::Bytes(strings) => strings.into_bytes(nulls)?,
        })
    }
}

impl Strings {
    fn new(rows: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self {
            ends,
            data: Vec::with_capacity(rows * 16),
        }
    }

    #[inline]
    fn append(&mut self, text: &[u8]) -> Result<(), String> {
        let full = |_| "the batch has more than the 2 GiB of text that a column holds".to_owned();
        let end = i32::try_from(self.data.len() + text.len()).map_err(full)?;
        self.data.extend_from_slice(text);
        self.ends.push(end);
        Ok(())
    }

    #[inline]
    fn append_none(&mut self) {
        self.ends.push(*self.ends.last().expect("the first end is 0"));
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows + 1);
        let end = *self.ends.last().expect("the first end is 0");
        self.data
            .truncate(usize::try_from(end).expect("ends are no negative numbers"));
    }

    fn into_parts(self) -> (OffsetBuffer<i32>, Buffer) {
        (OffsetBuffer::new(self.ends.into()), Buffer::from_vec(self.data))
    }

    fn into_text(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let (offsets, data) = self.into_parts();
        let array = StringArray::try_new(offsets, data, nulls).map_err(Error::arrow("build a string column"))?;
        Ok(Arc::new(array))
    }

    fn into_bytes(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let (offsets, data) = self.into_parts();
        let array = BinaryArray::try_new(offsets, data, nulls).map_err(Error::arrow("build a bytes column"))?;
        Ok(Arc::new(array))
    }
}

impl Rows {
    /// Returns no rows of `columns`, with room for `rows`.
    pub fn new(columns: &[DeclaredColumn], settings: TimeSettings, rows: usize) -> Self {
        let builder = |column: &DeclaredColumn| ColumnBuilder::new(&column.column_type, settings, rows);
        Self {
            names: columns.iter().map(|column| column.name.clone()).collect(),
            columns: columns.iter().map(builder).collect(),
            rows: 0,
            rejects: Vec::new(),
        }
    }

    /// Returns the builder of column `index`. At most one value a row may be appended to it.
    ///
    /// # Panics
    /// When there is no such column.
    #[inline]
    pub fn column(&mut self, index: usize) -> &mut ColumnBuilder {
        &mut self.columns[index]
    }

    /// Returns whether column `index` has its value of the present row.
    #[inline]
    pub fn is_set(&self, index: usize) -> bool {
        self.columns[index].len() > self.rows
    }

    /// Sets column `index` of the present row to what `text` says; a value it has already is replaced.
    ///
    /// # Errors
    /// When it says none of the column's type: the reason, with the column's name.
    #[inline]
    pub fn set_text(&mut self, index: usize, text: &[u8]) -> Result<(), String> {
        let column = &mut self.columns[index];
        column.truncate(self.rows);
        column
            .append_text(text)
            .map_err(|reason| format!("{}: {reason}", self.names[index]))
    }

    /// Sets column `index` of the present row to what `text` says; a value it has already is replaced.
    ///
    /// # Errors
    /// As [`set_text`](Self::set_text).
    #[inline]
    pub fn set_str(&mut self, index: usize, text: &str) -> Result<(), String> {
        self.columns[index].truncate(self.rows);
        self.put_str(Some(index), text)
    }

    /// Takes back the value of column `index` in the present row, if it has one.
    #[inline]
    pub fn clear(&mut self, index: usize) {
        self.columns[index].truncate(self.rows);
    }

    /// Sets the int or timestamp column at `slot`, if there is one. It has no value in the present row yet.
    #[inline]
    pub fn put_i64(&mut self, slot: Option<usize>, value: i64) {
        if let Some(index) = slot {
            self.columns[index].append_i64(value);
        }
    }

    /// Sets the column at `slot`, if there is one, to what `text` says. It has no value in the present row yet.
    ///
    /// # Errors
    /// When it says none of the column's type: the reason, with the column's name.
    #[inline]
    pub fn put_str(&mut self, slot: Option<usize>, text: &str) -> Result<(), String> {
        let Some(index) = slot else { return Ok(()) };
        self.columns[index]
            .append_str(text)
            .map_err(|reason| format!("{}: {reason}", self.names[index]))
    }

    /// Ends the present row; a column without a value is null in it.
    #[inline]
    pub fn end_row(&mut self) {
        self.rows += 1;
        for column in &mut self.columns {
            if column.len() < self.rows {
                column.append_null();
            }
        }
    }

    /// Takes back what the present row has got, names it a reject, and ends it with nulls.
    pub fn reject_row(&mut self, reason: String) {
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
        self.rejects.push(Reject { row: self.rows, reason });
        self.end_row();
    }

    /// Returns the columns and the rejects.
    ///
    /// # Errors
    /// As [`ColumnBuilder::finish`].
    pub fn finish(self) -> Result<Decoded> {
        Ok(Decoded {
            columns: self
                .columns
                .into_iter()
                .map(ColumnBuilder::finish)
                .collect::<Result<_>>()?,
            rejects: self.rejects,
        })
    }
}

/// Decodes payloads one by one into `rows`, which is empty and has a column a field of the decoder's schema: `row` sets the
/// fields of one payload, or says why it can't. Null payloads are null rows.
///
/// # Errors
/// As [`Rows::finish`].
pub fn decode_rows(
    payloads: &BinaryArray,
    mut rows: Rows,
    mut row: impl FnMut(&[u8], &mut Rows) -> Result<(), String>,
) -> Result<Decoded> {
    for index in 0..payloads.len() {
        if payloads.is_null(index) {
            rows.end_row();
            continue;
        }
        match row(payloads.value(index), &mut rows) {
            Ok(()) => rows.end_row(),
            Err(reason) => rows.reject_row(reason),
        }
    }
    rows.finish()
}

/// Reads a whole number with or without a sign.
#[inline]
pub fn parse_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, text),
    };
    // So many digits always fit; what is longer goes the checked way.
    if digits.is_empty() || digits.len() > 18 {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    let mut value = 0_i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

/// Reads a number with or without a fraction and an exponent; `inf` and `NaN` too.
pub fn parse_float(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads a truth value: see [`ColumnType::Bool`].
pub fn parse_bool(text: &[u8]) -> Option<bool> {
    let is_any = |words: [&str; 6]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
    if is_any(["true", "t", "yes", "y", "on", "1"]) {
        return Some(true);
    }
    is_any(["false", "f", "no", "n", "off", "0"]).then_some(false)
}

/// Returns a reason: the value, shortened to one short line, and what it is not.
#[cold]
pub fn refused(text: &[u8], is: &str) -> String {
    format!("`{}` is {is}", shown(text))
}

/// Returns a value for a message: on one line, and not longer than one reads.
#[cold]
pub fn shown(text: &[u8]) -> String {
    let lossy = String::from_utf8_lossy(&text[..text.len().min(4 * SHOWN_MAX)]);
    let mut letters = lossy.chars();
    let start: String = letters.by_ref().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    // Quotes are escaped for Rust, not for people.
    let start = start.replace("\\\"", "\"").replace("\\'", "'");
    match letters.next().is_some() || text.len() > 4 * SHOWN_MAX {
        true => format!("{start}…"),
        false => start,
    }
}

/// Returns the reason that `text` is no string.
#[cold]
pub(super) fn not_utf8(text: &[u8], error: std::str::Utf8Error) -> String {
    let at = error.valid_up_to();
    format!(
        "byte {at} of `{}` is 0x{:02x}, which is no UTF-8 there",
        shown(text),
        text[at]
    )
}
