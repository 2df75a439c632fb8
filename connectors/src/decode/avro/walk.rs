//! Values that are no column of their own: passed over, or written as JSON text.
//!
//! | Avro | JSON |
//! |---|---|
//! | array, map, record | array, object, object |
//! | union | the value of the branch, without its name |
//! | bytes, fixed | string; bytes that are no UTF-8 become U+FFFD |
//! | float, double | number; NaN and infinities are `null` |
//! | timestamps, date | string, RFC 3339; local ones in the source's zone |
//! | decimal | number |

use std::io::Write;

use arrow::datatypes::{Decimal128Type, DecimalType};

use super::cursor::Cursor;
use super::schema::{AvroSchema, Decimal, Ticks, Type, TypeId};
use crate::decode::time::TimeZone;
use crate::encode::date::{write_date, write_timestamp};
use crate::encode::json::{write_escaped, write_float};

/// Values inside each other at most: as many as in JSON.
pub(super) const DEPTH_MAX: usize = 64;

/// Items, records and unions that a payload may have for each of its bytes, and beyond them: those without a byte of their own
/// (nulls, empty records) could be claimed in any number by a few bytes. A value of one byte is rarely inside of more.
const VALUES_PER_BYTE: u64 = 8;
const EMPTY_VALUES_MAX: u64 = 4096;

/// A walk over one payload's values.
#[derive(Debug)]
pub(super) struct Walk<'s> {
    schema: &'s AvroSchema,
    zone: TimeZone,
    depth: usize,
    /// Items, records and unions that may still come.
    values: u64,
}

impl<'s> Walk<'s> {
    /// Returns a walk over a payload of `bytes` bytes.
    pub(super) fn new(schema: &'s AvroSchema, zone: TimeZone, bytes: usize) -> Self {
        Self {
            schema,
            zone,
            depth: 0,
            values: bytes as u64 * VALUES_PER_BYTE + EMPTY_VALUES_MAX,
        }
    }

    /// Passes over a value.
    pub(super) fn skip(&mut self, of: TypeId, cursor: &mut Cursor<'_>) -> Result<(), String> {
        match self.schema.get(of) {
            Type::Null => Ok(()),
            Type::Boolean => cursor.boolean().map(drop),
            Type::Int | Type::Date => cursor.int().map(drop),
            Type::Long | Type::Timestamp(_) => cursor.long().map(drop),
            Type::Float => cursor.take(4).map(drop),
            Type::Double => cursor.take(8).map(drop),
            Type::Bytes | Type::String | Type::Decimal(Decimal { size: None, .. }) => cursor.bytes().map(drop),
            Type::Fixed(size) | Type::Decimal(Decimal { size: Some(size), .. }) => cursor.take(*size).map(drop),
            Type::Enum(symbols) => cursor.index(symbols.len(), "a symbol").map(drop),
            Type::Union(branches) => {
                let branch = cursor.index(branches.len(), "a branch")?;
                self.inside(cursor, |walk, cursor| walk.skip(branches[branch], cursor))
            }
            Type::Record(fields) => self.inside(cursor, |walk, cursor| {
                fields.iter().try_for_each(|field| walk.skip(field.of, cursor))
            }),
            Type::Array(items) => self.items(cursor, |walk, cursor, _| walk.skip(*items, cursor)),
            Type::Map(values) => self.items(cursor, |walk, cursor, _| {
                cursor.bytes()?;
                walk.skip(*values, cursor)
            }),
        }
    }

    /// Writes a value as JSON.
    pub(super) fn write(&mut self, of: TypeId, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        match self.schema.get(of) {
            Type::Null => out.extend_from_slice(b"null"),
            Type::Boolean => write_text(out, cursor.boolean()?),
            Type::Int => write_text(out, cursor.int()?),
            Type::Long => write_text(out, cursor.long()?),
            Type::Float => write_float(f32::from_le_bytes(cursor.array()?), out),
            Type::Double => write_float(f64::from_le_bytes(cursor.array()?), out),
            Type::String => write_string(cursor.string()?.as_bytes(), out),
            Type::Bytes => write_string(cursor.bytes()?, out),
            Type::Fixed(size) => write_string(cursor.take(*size)?, out),
            Type::Enum(symbols) => {
                let symbol = cursor.index(symbols.len(), "a symbol")?;
                write_string(symbols[symbol].as_bytes(), out);
            }
            Type::Date => in_quotes(out, |out| {
                write_date(i64::from(cursor.int()?), out);
                Ok(())
            })?,
            Type::Timestamp(ticks) => in_quotes(out, |out| {
                write_timestamp(micros(*ticks, self.zone, cursor)?, 1_000_000, 6, out);
                Ok(())
            })?,
            Type::Decimal(decimal) => {
                let value = unscaled(*decimal, cursor)?;
                write_text(
                    out,
                    Decimal128Type::format_decimal(value, decimal.precision, decimal.scale),
                );
            }
            Type::Union(branches) => {
                let branch = cursor.index(branches.len(), "a branch")?;
                self.inside(cursor, |walk, cursor| walk.write(branches[branch], cursor, out))?;
            }
            Type::Record(fields) => self.inside(cursor, |walk, cursor| {
                out.push(b'{');
                for (index, field) in fields.iter().enumerate() {
                    write_key(index == 0, field.name.as_bytes(), out);
                    walk.write(field.of, cursor, out)?;
                }
                out.push(b'}');
                Ok(())
            })?,
            Type::Array(items) => {
                out.push(b'[');
                self.items(cursor, |walk, cursor, is_first| {
                    if !is_first {
                        out.push(b',');
                    }
                    walk.write(*items, cursor, out)
                })?;
                out.push(b']');
            }
            Type::Map(values) => {
                out.push(b'{');
                self.items(cursor, |walk, cursor, is_first| {
                    write_key(is_first, cursor.string()?.as_bytes(), out);
                    walk.write(*values, cursor, out)
                })?;
                out.push(b'}');
            }
        }
        Ok(())
    }

    /// Goes one value deeper.
    fn inside<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        mut walk: impl FnMut(&mut Self, &mut Cursor<'a>) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.depth == DEPTH_MAX {
            return Err(cursor.refused(format_args!("more than {DEPTH_MAX} values inside each other")));
        }
        self.values = self.values.checked_sub(1).ok_or_else(|| too_many(cursor))?;
        self.depth += 1;
        walk(self, cursor)?;
        self.depth -= 1;
        Ok(())
    }

    /// Walks over the items of an array or map; says of each whether it is the first.
    fn items<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        mut walk: impl FnMut(&mut Self, &mut Cursor<'a>, bool) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut is_first = true;
        loop {
            let (count, _) = cursor.block()?;
            if count == 0 {
                return Ok(());
            }
            if count > self.values {
                return Err(too_many(cursor));
            }
            for _ in 0..count {
                self.inside(cursor, |inner, cursor| walk(inner, cursor, is_first))?;
                is_first = false;
            }
        }
    }
}

#[cold]
fn too_many(cursor: &Cursor<'_>) -> String {
    cursor.refused(format_args!("there are more values than a payload of this size has"))
}

/// Reads a timestamp as microseconds since 1970 UTC; what is finer is cut off downwards.
pub(super) fn micros(ticks: Ticks, zone: TimeZone, cursor: &mut Cursor<'_>) -> Result<i64, String> {
    let start = cursor.clone();
    let value = cursor.long()?;
    let micros = match ticks.per_second {
        1_000_000_000 => Some(value.div_euclid(1_000)),
        per_second => value.checked_mul(1_000_000 / per_second),
    };
    let east = if ticks.is_local {
        zone.seconds_east() * 1_000_000
    } else {
        0
    };
    micros
        .and_then(|micros| micros.checked_sub(east))
        .ok_or_else(|| start.refused(format_args!("the time {value} is too far from 1970")))
}

/// Reads the digits of a decimal as a whole number.
pub(super) fn unscaled(decimal: Decimal, cursor: &mut Cursor<'_>) -> Result<i128, String> {
    let start = cursor.clone();
    let bytes = match decimal.size {
        Some(size) => cursor.take(size)?,
        None => cursor.bytes()?,
    };
    let refused = || {
        start.refused(format_args!(
            "expected a decimal of {} digits, not a longer one",
            decimal.precision
        ))
    };
    let is_negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let fill = if is_negative { 0xff } else { 0 };
    let (high, low) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut whole = [fill; 16];
    whole[16 - low.len()..].copy_from_slice(low);
    let value = i128::from_be_bytes(whole);
    let is_whole = high.iter().all(|byte| *byte == fill) && (value < 0) == is_negative;
    match is_whole && Decimal128Type::is_valid_decimal_precision(value, decimal.precision) {
        true => Ok(value),
        false => Err(refused()),
    }
}

fn write_text(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("a Vec takes every write");
}

fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    write_escaped(String::from_utf8_lossy(text).as_bytes(), out);
    out.push(b'"');
}

fn write_key(is_first: bool, key: &[u8], out: &mut Vec<u8>) {
    if !is_first {
        out.push(b',');
    }
    write_string(key, out);
    out.push(b':');
}

fn in_quotes(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), String>) -> Result<(), String> {
    out.push(b'"');
    write(out)?;
    out.push(b'"');
    Ok(())
}
