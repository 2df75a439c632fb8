//! JSON: every row one object, its fields in the order of the columns, or the bare value of a single column.
//!
//! | column | JSON |
//! |---|---|
//! | integers, decimals | number |
//! | floats | number, the shortest that reads back the same; NaN and infinities are `null` |
//! | `Utf8`, `LargeUtf8`, `Utf8View` | string |
//! | binary types | string; bytes that are not UTF-8 become U+FFFD |
//! | timestamps | string, RFC 3339 in UTC: `2026-11-24T06:16:53.000001Z`, nine digits for nanoseconds |
//! | dates | string, `2026-11-24` |
//! | lists, structs, dictionaries | array, object, the value they stand for |
//! | others (time, duration, map ...) | string, as Arrow displays them |
//!
//! The type of a column is looked at once a batch, and so are the bytes of its strings that need an escape; nothing is
//! allocated a row.

mod strings;

use std::io::Write;

use arrow::array::{AnyDictionaryArray, Array, ArrayRef, AsArray, BooleanArray, OffsetSizeTrait, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Schema, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use engine::{Error, Result};

use self::strings::Strings;
pub(crate) use self::strings::write_escaped;
use super::date::{write_date, write_timestamp};
use super::{RawColumn, Rows};

/// Milliseconds in a day, for `Date64`.
const MILLIS_PER_DAY: i64 = 86_400_000;

/// Encodes batches of one schema as JSON rows, in a buffer of its own.
#[derive(Debug)]
pub struct JsonEncoder {
    /// What stands before each value: `{"name":` and `,"name":`; nothing for bare values.
    labels: Vec<Vec<u8>>,
    /// What stands after the last value.
    close: &'static [u8],
    rows: Rows,
}

impl JsonEncoder {
    /// Returns an encoder of rows as objects with a field for each column of `schema`.
    pub fn objects(schema: &Schema) -> Self {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        Self {
            labels: labels(names),
            close: if schema.fields().is_empty() { b"{}" } else { b"}" },
            rows: Rows::default(),
        }
    }

    /// Returns an encoder of the values of a single column, without an object around them.
    pub fn values() -> Self {
        Self {
            labels: vec![Vec::new()],
            close: b"",
            rows: Rows::default(),
        }
    }

    /// Encodes every row of `records`. The result is valid until the next call.
    ///
    /// # Errors
    /// When a column has a type that Arrow can't display.
    ///
    /// # Panics
    /// When `records` has another number of columns than the encoder was made for.
    pub fn encode(&mut self, records: &RecordBatch) -> Result<&Rows> {
        assert_eq!(records.num_columns(), self.labels.len(), "one label a column");
        let columns: Vec<_> = records.columns().iter().map(column).collect::<Result<_>>()?;
        self.rows.clear();
        for row in 0..records.num_rows() {
            for (label, column) in self.labels.iter().zip(&columns) {
                self.rows.bytes.extend_from_slice(label);
                column.write(row, &mut self.rows.bytes);
            }
            self.rows.bytes.extend_from_slice(self.close);
            self.rows.end_row();
        }
        Ok(&self.rows)
    }

    /// Returns the rows of the last batch.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }
}

/// A value of a column as JSON text.
trait Value {
    fn write(&self, row: usize, out: &mut Vec<u8>);
}

/// A column whose nulls are taken care of: its values are asked only for rows that have one.
struct Nullable<'a> {
    nulls: Option<NullBuffer>,
    values: Box<dyn Value + 'a>,
}

impl Value for Nullable<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        match &self.nulls {
            Some(nulls) if nulls.is_null(row) => out.extend_from_slice(b"null"),
            _ => self.values.write(row, out),
        }
    }
}

struct Integers<'a, N>(&'a [N]);

impl<N: itoa::Integer + Copy> Value for Integers<'_, N> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(itoa::Buffer::new().format(self.0[row]).as_bytes());
    }
}

struct Floats<'a, N>(&'a [N]);

impl<N: zmij::Float + Copy + Into<f64>> Value for Floats<'_, N> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        write_float(self.0[row], out);
    }
}

struct Booleans<'a>(&'a BooleanArray);

impl Value for Booleans<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.0.value(row) { b"true" } else { b"false" });
    }
}

struct Text<'a>(RawColumn<'a>);

impl Value for Text<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        for chunk in self.0.get(row).unwrap_or_default().utf8_chunks() {
            write_escaped(chunk.valid().as_bytes(), out);
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        out.push(b'"');
    }
}

/// Valid UTF-8 that is not in one buffer.
struct Views<'a>(RawColumn<'a>);

impl Value for Views<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        write_escaped(self.0.get(row).unwrap_or_default(), out);
        out.push(b'"');
    }
}

struct Timestamps<'a> {
    ticks: &'a [i64],
    per_second: i64,
    digits: usize,
}

impl Value for Timestamps<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        write_timestamp(self.ticks[row], self.per_second, self.digits, out);
        out.push(b'"');
    }
}

struct Dates<'a, N> {
    ticks: &'a [N],
    per_day: i64,
}

impl<N: Copy + Into<i64>> Value for Dates<'_, N> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        write_date(self.ticks[row].into().div_euclid(self.per_day), out);
        out.push(b'"');
    }
}

struct Dictionary<'a> {
    keys: Vec<usize>,
    values: Nullable<'a>,
}

impl Value for Dictionary<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        self.values.write(self.keys[row], out);
    }
}

struct Lists<'a, O: OffsetSizeTrait> {
    offsets: &'a OffsetBuffer<O>,
    items: Nullable<'a>,
}

impl<O: OffsetSizeTrait> Value for Lists<'_, O> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        write_items(
            self.offsets[row].as_usize(),
            self.offsets[row + 1].as_usize(),
            &self.items,
            out,
        );
    }
}

struct FixedLists<'a> {
    size: usize,
    items: Nullable<'a>,
}

impl Value for FixedLists<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        write_items(row * self.size, (row + 1) * self.size, &self.items, out);
    }
}

struct Structs<'a> {
    fields: Vec<(Vec<u8>, Nullable<'a>)>,
    close: &'static [u8],
}

impl Value for Structs<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        for (label, field) in &self.fields {
            out.extend_from_slice(label);
            field.write(row, out);
        }
        out.extend_from_slice(self.close);
    }
}

/// Types that are rare in logs: Arrow's own text, in quotes unless it is a number.
struct Displayed<'a> {
    formatter: ArrayFormatter<'a>,
    quoted: bool,
}

impl Value for Displayed<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.quoted {
            out.push(b'"');
            // Writing to an `Escaping` fails only when the value can't be displayed: it then ends early.
            let _ = write!(Escaping(out), "{}", self.formatter.value(row));
            out.push(b'"');
        } else {
            let _ = write!(out, "{}", self.formatter.value(row));
        }
    }
}

/// Escapes what is written through it.
struct Escaping<'a>(&'a mut Vec<u8>);

impl Write for Escaping<'_> {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        write_escaped(text, self.0);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Resolves the type of `array`.
fn column(array: &ArrayRef) -> Result<Nullable<'_>> {
    let values: Box<dyn Value + '_> = match array.data_type() {
        DataType::Boolean => Box::new(Booleans(array.as_boolean())),
        DataType::Int8 => integers::<Int8Type>(array),
        DataType::Int16 => integers::<Int16Type>(array),
        DataType::Int32 => integers::<Int32Type>(array),
        DataType::Int64 => integers::<Int64Type>(array),
        DataType::UInt8 => integers::<UInt8Type>(array),
        DataType::UInt16 => integers::<UInt16Type>(array),
        DataType::UInt32 => integers::<UInt32Type>(array),
        DataType::UInt64 => integers::<UInt64Type>(array),
        DataType::Float32 => Box::new(Floats(array.as_primitive::<Float32Type>().values())),
        DataType::Float64 => Box::new(Floats(array.as_primitive::<Float64Type>().values())),
        DataType::Date32 => dates::<Date32Type>(array, 1),
        DataType::Date64 => dates::<Date64Type>(array, MILLIS_PER_DAY),
        DataType::Timestamp(unit, _) => timestamps(array, *unit),
        DataType::Dictionary(..) => dictionary(array.as_any_dictionary())?,
        DataType::List(_) => lists::<i32>(array)?,
        DataType::LargeList(_) => lists::<i64>(array)?,
        DataType::FixedSizeList(_, size) => Box::new(FixedLists {
            size: usize::try_from(*size).unwrap_or(0),
            items: column(array.as_fixed_size_list().values())?,
        }),
        DataType::Struct(_) => structs(array.as_struct())?,
        DataType::Utf8 => Box::new(Strings::new(array.as_string::<i32>())),
        DataType::LargeUtf8 => Box::new(Strings::new(array.as_string::<i64>())),
        _ => text(array)?,
    };
    let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    Ok(Nullable { nulls, values })
}

fn integers<T: ArrowPrimitiveType<Native: itoa::Integer>>(array: &ArrayRef) -> Box<dyn Value + '_> {
    Box::new(Integers(array.as_primitive::<T>().values()))
}

fn dates<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &ArrayRef, per_day: i64) -> Box<dyn Value + '_> {
    let ticks = array.as_primitive::<T>().values();
    Box::new(Dates { ticks, per_day })
}

fn timestamps(array: &ArrayRef, unit: TimeUnit) -> Box<dyn Value + '_> {
    let (ticks, per_second, digits) = match unit {
        TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().values(), 1, 6),
        TimeUnit::Millisecond => (array.as_primitive::<TimestampMillisecondType>().values(), 1_000, 6),
        TimeUnit::Microsecond => (array.as_primitive::<TimestampMicrosecondType>().values(), 1_000_000, 6),
        TimeUnit::Nanosecond => (
            array.as_primitive::<TimestampNanosecondType>().values(),
            1_000_000_000,
            9,
        ),
    };
    Box::new(Timestamps {
        ticks,
        per_second,
        digits,
    })
}

fn dictionary(array: &dyn AnyDictionaryArray) -> Result<Box<dyn Value + '_>> {
    let values = column(array.values())?;
    // A dictionary without values has null keys only, and Arrow can't normalize the keys of an empty one.
    let keys = if array.values().is_empty() {
        vec![0; array.len()]
    } else {
        array.normalized_keys()
    };
    Ok(Box::new(Dictionary { keys, values }))
}

fn lists<O: OffsetSizeTrait>(array: &ArrayRef) -> Result<Box<dyn Value + '_>> {
    let list = array.as_list::<O>();
    Ok(Box::new(Lists {
        offsets: list.offsets(),
        items: column(list.values())?,
    }))
}

fn structs(array: &StructArray) -> Result<Box<dyn Value + '_>> {
    let columns = array.columns().iter().map(column).collect::<Result<Vec<_>>>()?;
    let close: &[u8] = if columns.is_empty() { b"{}" } else { b"}" };
    let fields = labels(array.column_names().into_iter())
        .into_iter()
        .zip(columns)
        .collect();
    Ok(Box::new(Structs { fields, close }))
}

fn text(array: &ArrayRef) -> Result<Box<dyn Value + '_>> {
    match RawColumn::new(array.as_ref()) {
        Some(column @ RawColumn::Utf8View(_)) => Ok(Box::new(Views(column))),
        Some(column) => Ok(Box::new(Text(column))),
        None => {
            let options = FormatOptions::new().with_display_error(true);
            let formatter =
                ArrayFormatter::try_new(array, &options).map_err(Error::arrow("encode a column as JSON"))?;
            let quoted = !array.data_type().is_decimal();
            Ok(Box::new(Displayed { formatter, quoted }))
        }
    }
}

fn labels<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Vec<u8>> {
    let label = |(index, name): (usize, &str)| {
        let mut label = if index == 0 { b"{\"".to_vec() } else { b",\"".to_vec() };
        write_escaped(name.as_bytes(), &mut label);
        label.extend_from_slice(b"\":");
        label
    };
    names.enumerate().map(label).collect()
}

fn write_items(start: usize, end: usize, items: &Nullable<'_>, out: &mut Vec<u8>) {
    out.push(b'[');
    for item in start..end {
        if item > start {
            out.push(b',');
        }
        items.write(item, out);
    }
    out.push(b']');
}

/// Writes a number, or `null` for one that JSON has no text for.
pub(crate) fn write_float<N: zmij::Float + Copy + Into<f64>>(value: N, out: &mut Vec<u8>) {
    if value.into().is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
