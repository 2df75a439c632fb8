//! Typed columns out of the places that the walk has found: a column at a time over a block of rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder, Float64Array, Int64Array, TimestampMicrosecondArray};
use arrow::buffer::NullBuffer;
use engine::Result;

use super::escape;
use super::number::float;
use super::scan::{Kind, Slot};
use super::text::Texts;
use crate::decode::column::{ColumnType, DeclaredColumn, parse_bool, parse_float, parse_int, refused};
use crate::decode::time::{TimeParser, TimeSettings};

/// The slots of a block, row after row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots<'a> {
    /// The block's payloads.
    pub(super) text: &'a [u8],
    /// As many a row as there are columns.
    pub(super) slots: &'a [Slot],
    pub(super) columns: usize,
}

impl<'a> Slots<'a> {
    /// Returns a column's slots.
    fn column(self, index: usize) -> impl Iterator<Item = Slot> + 'a {
        self.slots.iter().skip(index).step_by(self.columns).copied()
    }
}

/// Why rows of a block can't be decoded; of several reasons of a row the first.
pub(super) type Failures = [Option<String>];

/// A column under way.
#[derive(Debug)]
pub(super) struct JsonColumn {
    name: String,
    values: Values,
    validity: BooleanBufferBuilder,
}

#[derive(Debug)]
enum Values {
    Int(Vec<i64>),
    Float(Vec<f64>),
    Bool(BooleanBufferBuilder),
    Text(Texts),
    Bytes(Texts),
    Timestamp(Vec<i64>, TimeParser),
}

impl JsonColumn {
    pub(super) fn new(declared: &DeclaredColumn, settings: TimeSettings, rows: usize) -> Self {
        let values = match &declared.column_type {
            ColumnType::Int => Values::Int(Vec::with_capacity(rows)),
            ColumnType::Float => Values::Float(Vec::with_capacity(rows)),
            ColumnType::Bool => Values::Bool(BooleanBufferBuilder::new(rows)),
            ColumnType::Text => Values::Text(Texts::with_capacity(rows)),
            ColumnType::Bytes => Values::Bytes(Texts::with_capacity(rows)),
            ColumnType::Timestamp(format) => {
                Values::Timestamp(Vec::with_capacity(rows), TimeParser::new(format, settings))
            }
        };
        Self {
            name: declared.name.clone(),
            values,
            validity: BooleanBufferBuilder::new(rows),
        }
    }

    /// Appends column `index` of `slots`. A value of another type is null, and a failure of its row.
    pub(super) fn absorb(&mut self, slots: Slots<'_>, index: usize, failures: &mut Failures) {
        let nulls = Nulls {
            name: &self.name,
            first: self.validity.len(),
            validity: &mut self.validity,
            failures,
        };
        nulls.validity.append_n(nulls.failures.len(), true);
        let text = slots.text;
        let column = slots.column(index);
        match &mut self.values {
            Values::Int(values) => values.extend(nulls.read(column, text, "no int", int)),
            Values::Float(values) => values.extend(nulls.read(column, text, "no float", json_float)),
            Values::Bool(values) => {
                let bools = nulls.read(column, text, "no bool", bool);
                bools.for_each(|value| values.append(value));
            }
            Values::Text(texts) | Values::Bytes(texts) => append_texts(texts, column, text, nulls),
            Values::Timestamp(values, parser) => {
                let time = |kind, bytes: &[u8]| timestamp(kind, bytes, parser);
                values.extend(nulls.read(column, text, "no timestamp", time));
            }
        }
    }

    /// Makes a row null.
    pub(super) fn clear(&mut self, row: usize) {
        self.validity.set_bit(row, false);
    }

    /// Returns the column.
    pub(super) fn finish(mut self) -> Result<ArrayRef> {
        let nulls = Some(NullBuffer::new(self.validity.finish())).filter(|nulls| nulls.null_count() > 0);
        Ok(match self.values {
            Values::Int(values) => Arc::new(Int64Array::new(values.into(), nulls)),
            Values::Float(values) => Arc::new(Float64Array::new(values.into(), nulls)),
            Values::Bool(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Timestamp(values, _) => {
                Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_timezone("UTC"))
            }
            Values::Text(texts) => texts.into_strings(nulls)?,
            Values::Bytes(texts) => texts.into_bytes(nulls)?,
        })
    }
}

/// Where a block's nulls and failures go.
struct Nulls<'a> {
    name: &'a str,
    /// The block's first row in the column.
    first: usize,
    validity: &'a mut BooleanBufferBuilder,
    failures: &'a mut Failures,
}

impl<'a> Nulls<'a> {
    /// Returns a value a slot: what `read` makes of its kind and bytes, or a default where there is none.
    fn read<T: Default>(
        mut self,
        column: impl Iterator<Item = Slot>,
        text: &[u8],
        is: &str,
        mut read: impl FnMut(Kind, &[u8]) -> Option<T>,
    ) -> impl Iterator<Item = T> {
        column.enumerate().map(move |(row, slot)| {
            if matches!(slot.kind, Kind::Absent | Kind::Null) {
                self.null(row);
                return T::default();
            }
            let bytes = slot.bytes(text);
            read(slot.kind, bytes).unwrap_or_else(|| {
                self.fail(row, bytes, is);
                T::default()
            })
        })
    }

    #[inline]
    fn null(&mut self, row: usize) {
        self.validity.set_bit(self.first + row, false);
    }

    #[cold]
    fn fail(&mut self, row: usize, bytes: &[u8], is: &str) {
        self.null(row);
        let name = self.name;
        self.failures[row].get_or_insert_with(|| format!("{name}: {}", refused(bytes, is)));
    }
}

/// Appends strings as what they stand for, and other values as their JSON text.
fn append_texts(texts: &mut Texts, column: impl Iterator<Item = Slot>, text: &[u8], mut nulls: Nulls<'_>) {
    for (row, slot) in column.enumerate() {
        match slot.kind {
            Kind::Absent | Kind::Null => nulls.null(row),
            Kind::Escaped => escape::decode(slot.bytes(text), texts.open()),
            _ => texts.extend_from(text, slot.start as usize, slot.end as usize),
        }
        texts.end();
    }
}

/// Reads a whole number, in quotes or not.
fn int(kind: Kind, bytes: &[u8]) -> Option<i64> {
    match kind {
        Kind::Integer | Kind::Text => parse_int(bytes),
        _ => None,
    }
}

/// Reads a number, in quotes or not; without quotes it has to be finite, as all of JSON's are.
fn json_float(kind: Kind, bytes: &[u8]) -> Option<f64> {
    match kind {
        Kind::Integer | Kind::Decimal => float(bytes).filter(|value| value.is_finite()),
        Kind::Text => parse_float(bytes),
        _ => None,
    }
}

/// Reads a truth value; in quotes it may be any word for one.
fn bool(kind: Kind, bytes: &[u8]) -> Option<bool> {
    match kind {
        Kind::True => Some(true),
        Kind::False => Some(false),
        Kind::Text => parse_bool(bytes),
        _ => None,
    }
}

fn timestamp(kind: Kind, bytes: &[u8], parser: &mut TimeParser) -> Option<i64> {
    match kind {
        Kind::Integer | Kind::Decimal | Kind::Text => parser.parse(bytes),
        Kind::Escaped => {
            let mut text = Vec::with_capacity(bytes.len());
            escape::decode(bytes, &mut text);
            parser.parse(&text)
        }
        _ => None,
    }
}
