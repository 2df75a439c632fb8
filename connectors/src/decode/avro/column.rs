//! The columns of an Avro record: which values of a payload are one, and what they are in Arrow.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, TimeUnit};

use super::cursor::Cursor;
use super::schema::{AvroSchema, Decimal, Type, TypeId};
use super::walk::{Walk, micros, unscaled};
use crate::decode::time::TimeZone;

/// A value of a payload that is whole before any of its row goes into a column.
#[derive(Clone, Debug)]
pub(super) enum Slot<'a> {
    Null,
    /// An int, a time or a date.
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// JSON text, as a range of the row's scratch.
    Json(Range<usize>),
    Decimal(i128),
}

/// What a column reads of a value that is not null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Float,
    Boolean,
    Text,
    Bytes,
    Timestamp,
    Date,
    Decimal(Decimal),
    /// Values without a column type of their own, as JSON text.
    Json,
}

/// A column under way.
#[derive(Debug)]
pub(super) enum Builder {
    Integer(Int64Builder),
    Float(Float64Builder),
    Boolean(BooleanBuilder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Decimal(Decimal128Builder),
}

impl Kind {
    /// Returns the kind of column that a type makes; records are taken apart before.
    pub(super) fn of(of: &Type) -> Self {
        match of {
            Type::Boolean => Self::Boolean,
            Type::Int | Type::Long => Self::Integer,
            Type::Float | Type::Double => Self::Float,
            Type::String | Type::Enum(_) => Self::Text,
            Type::Bytes | Type::Fixed(_) => Self::Bytes,
            Type::Timestamp(_) => Self::Timestamp,
            Type::Date => Self::Date,
            Type::Decimal(decimal) => Self::Decimal(*decimal),
            Type::Null | Type::Array(_) | Type::Map(_) | Type::Union(_) | Type::Record(_) => Self::Json,
        }
    }

    /// Returns the Arrow type of the column.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Text | Self::Json => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Date => DataType::Date32,
            Self::Decimal(decimal) => DataType::Decimal128(decimal.precision, decimal.scale),
        }
    }
}

/// Reads the value of a column.
pub(super) fn read<'a>(
    schema: &'a AvroSchema,
    of: TypeId,
    zone: TimeZone,
    cursor: &mut Cursor<'a>,
    walk: &mut Walk<'_>,
    scratch: &mut Vec<u8>,
) -> Result<Slot<'a>, String> {
    Ok(match schema.get(of) {
        Type::Null => Slot::Null,
        Type::Boolean => Slot::Boolean(cursor.boolean()?),
        Type::Int | Type::Date => Slot::Integer(i64::from(cursor.int()?)),
        Type::Long => Slot::Integer(cursor.long()?),
        Type::Float => Slot::Float(f64::from(f32::from_le_bytes(cursor.array()?))),
        Type::Double => Slot::Float(f64::from_le_bytes(cursor.array()?)),
        Type::String => Slot::Text(cursor.string()?),
        Type::Bytes => Slot::Bytes(cursor.bytes()?),
        Type::Fixed(size) => Slot::Bytes(cursor.take(*size)?),
        Type::Enum(symbols) => Slot::Text(&symbols[cursor.index(symbols.len(), "a symbol")?]),
        Type::Timestamp(ticks) => Slot::Integer(micros(*ticks, zone, cursor)?),
        Type::Decimal(decimal) => Slot::Decimal(unscaled(*decimal, cursor)?),
        Type::Union(branches) => {
            let branch = cursor.index(branches.len(), "a branch")?;
            match schema.get(branches[branch]) {
                Type::Null => Slot::Null,
                _ => json(branches[branch], cursor, walk, scratch)?,
            }
        }
        Type::Array(_) | Type::Map(_) | Type::Record(_) => json(of, cursor, walk, scratch)?,
    })
}

fn json<'a>(
    of: TypeId,
    cursor: &mut Cursor<'a>,
    walk: &mut Walk<'_>,
    scratch: &mut Vec<u8>,
) -> Result<Slot<'a>, String> {
    let start = scratch.len();
    walk.write(of, cursor, scratch)?;
    Ok(Slot::Json(start..scratch.len()))
}

impl Builder {
    /// Returns an empty column with room for `rows`.
    pub(super) fn new(kind: Kind, rows: usize) -> Self {
        match kind {
            Kind::Integer => Self::Integer(Int64Builder::with_capacity(rows)),
            Kind::Float => Self::Float(Float64Builder::with_capacity(rows)),
            Kind::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            Kind::Text | Kind::Json => Self::Text(StringBuilder::with_capacity(rows, 16 * rows)),
            Kind::Bytes => Self::Bytes(BinaryBuilder::with_capacity(rows, 16 * rows)),
            Kind::Timestamp => {
                Self::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(kind.data_type()))
            }
            Kind::Date => Self::Date(Date32Builder::with_capacity(rows)),
            Kind::Decimal(_) => Self::Decimal(Decimal128Builder::with_capacity(rows).with_data_type(kind.data_type())),
        }
    }

    /// Returns whether a value has room. The 32-bit offsets of strings end at 2 GiB, which JSON text can be longer than
    /// the payloads.
    pub(super) fn has_room(&self, slot: &Slot<'_>) -> bool {
        let (filled, more) = match (self, slot) {
            (Self::Text(builder), Slot::Json(range)) => (builder.values_slice().len(), range.len()),
            (Self::Text(builder), Slot::Text(text)) => (builder.values_slice().len(), text.len()),
            (Self::Bytes(builder), Slot::Bytes(bytes)) => (builder.values_slice().len(), bytes.len()),
            _ => return true,
        };
        filled + more <= i32::MAX as usize
    }

    /// Appends a value; JSON text is in `scratch`.
    ///
    /// # Panics
    /// When the value is of another type.
    pub(super) fn append(&mut self, slot: &Slot<'_>, scratch: &[u8]) {
        match (self, slot) {
            (Self::Integer(builder), Slot::Integer(value)) => builder.append_value(*value),
            (Self::Timestamp(builder), Slot::Integer(value)) => builder.append_value(*value),
            (Self::Date(builder), Slot::Integer(value)) => {
                builder.append_value(i32::try_from(*value).expect("a date is an int"));
            }
            (Self::Float(builder), Slot::Float(value)) => builder.append_value(*value),
            (Self::Boolean(builder), Slot::Boolean(value)) => builder.append_value(*value),
            (Self::Text(builder), Slot::Text(text)) => builder.append_value(text),
            (Self::Text(builder), Slot::Json(range)) => {
                let text = std::str::from_utf8(&scratch[range.clone()]);
                builder.append_value(text.expect("JSON text is put together of UTF-8"));
            }
            (Self::Bytes(builder), Slot::Bytes(bytes)) => builder.append_value(bytes),
            (Self::Decimal(builder), Slot::Decimal(value)) => builder.append_value(*value),
            (builder, Slot::Null) => builder.append_null(),
            (builder, slot) => unreachable!("{slot:?} is no value of {builder:?}"),
        }
    }

    /// Appends a null.
    pub(super) fn append_null(&mut self) {
        match self {
            Self::Integer(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Boolean(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Decimal(builder) => builder.append_null(),
        }
    }

    /// Returns the column.
    pub(super) fn finish(self) -> ArrayRef {
        match self {
            Self::Integer(mut builder) => Arc::new(builder.finish()),
            Self::Float(mut builder) => Arc::new(builder.finish()),
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Bytes(mut builder) => Arc::new(builder.finish()),
            Self::Timestamp(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Decimal(mut builder) => Arc::new(builder.finish()),
        }
    }
}
