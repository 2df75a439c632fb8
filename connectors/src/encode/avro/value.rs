//! Values of a column as Avro, row by row.

use std::ops::Range;

use arrow::array::{BooleanArray, PrimitiveArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Decimal128Type, DecimalType, Float64Type, Int64Type, TimestampMicrosecondType};

use super::super::RawColumn;
use crate::decode::avro::schema::Decimal;

/// Nothing, or why a value does not fit: what stands after the column's name in the reason.
pub(super) type Written = std::result::Result<(), String>;

/// A column's values as Avro.
pub(super) trait Values {
    /// Writes the value of a row that is not null.
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Written;
}

/// A column whose nulls are taken care of.
pub(super) struct Column<'a> {
    pub(super) name: String,
    pub(super) nulls: Option<NullBuffer>,
    /// The branches of null and of a value, if the schema has them.
    pub(super) union: Option<(usize, usize)>,
    pub(super) values: Box<dyn Values + 'a>,
}

impl Column<'_> {
    /// Writes a row, or why it can't be written.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Written {
        let is_null = self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        match (self.union, is_null) {
            (Some((null, _)), true) => write_long(null as i64, out),
            (None, true) => return Err(format!("`{}` is null, which the schema does not allow", self.name)),
            (Some((_, value)), false) => {
                write_long(value as i64, out);
                self.value(row, out)?;
            }
            (None, false) => self.value(row, out)?,
        }
        Ok(())
    }

    fn value(&self, row: usize, out: &mut Vec<u8>) -> Written {
        let written = self.values.write(row, out);
        written.map_err(|reason| format!("`{}` {reason}", self.name))
    }
}

/// Fields one after the other: a record.
pub(super) struct Record<'a>(pub(super) Vec<Column<'a>>);

impl Record<'_> {
    /// Writes a row, or why it can't be written.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Written {
        self.0.iter().try_for_each(|column| column.write(row, out))
    }
}

impl Values for Record<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Written {
        Record::write(self, row, out)
    }
}

pub(super) struct Booleans<'a>(pub(super) &'a BooleanArray);

impl Values for Booleans<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Written {
        out.push(u8::from(self.0.value(row)));
        Ok(())
    }
}

/// Whole numbers in a range.
pub(super) struct Integers {
    pub(super) values: PrimitiveArray<Int64Type>,
    pub(super) range: (i64, i64),
}

impl Values for Integers {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Written {
        let value = self.values.value(row);
        if value < self.range.0 || value > self.range.1 {
            return Err(format!("is {value}, which is no int of 32 bits"));
        }
        write_long(value, out);
        Ok(())
    }
}

pub(super) struct Floats {
    pub(super) values: PrimitiveArray<Float64Type>,
    pub(super) is_double: bool,
}

impl Values for Floats {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Written {
        let value = self.values.value(row);
        match self.is_double {
            true => out.extend_from_slice(&value.to_le_bytes()),
            false => out.extend_from_slice(&(value as f32).to_le_bytes()),
        }
        Ok(())
    }
}

/// Microseconds, written as ticks of another length.
pub(super) struct Times {
    pub(super) micros: PrimitiveArray<TimestampMicrosecondType>,
    pub(super) per_second: i64,
}

impl Values for Times {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Written {
        let micros = self.micros.value(row);
        let ticks = match self.per_second {
            1_000_000_000 => micros.checked_mul(1_000),
            per_second => Some(micros.div_euclid(1_000_000 / per_second)),
        };
        let ticks = ticks.ok_or_else(|| format!("is {micros} microseconds, which is too far from 1970"))?;
        write_long(ticks, out);
        Ok(())
    }
}

/// Text or bytes after their length.
pub(super) struct Bytes<'a>(pub(super) RawColumn<'a>);

impl Values for Bytes<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Written {
        let bytes = self.0.get(row).unwrap_or_default();
        write_long(bytes.len() as i64, out);
        out.extend_from_slice(bytes);
        Ok(())
    }
}

/// Bytes without a length.
pub(super) struct Fixed<'a>(pub(super) RawColumn<'a>, pub(super) usize);

impl Values for Fixed<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Written {
        let bytes = self.0.get(row).unwrap_or_default();
        if bytes.len() != self.1 {
            return Err(format!("has {} bytes, and the schema wants {}", bytes.len(), self.1));
        }
        out.extend_from_slice(bytes);
        Ok(())
    }
}

pub(super) struct Symbols<'a>(pub(super) RawColumn<'a>, pub(super) &'a [String]);

impl Values for Symbols<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Written {
        let text = self.0.get(row).unwrap_or_default();
        match self.1.iter().position(|symbol| symbol.as_bytes() == text) {
            Some(symbol) => write_long(symbol as i64, out),
            None => return Err(format!("is `{}`, which is no symbol of the enum", text.escape_ascii())),
        }
        Ok(())
    }
}

pub(super) struct Decimals<'a>(pub(super) &'a PrimitiveArray<Decimal128Type>, pub(super) Decimal);

impl Values for Decimals<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Written {
        let (value, Decimal { precision, size, .. }) = (self.0.value(row), self.1);
        let digits = value.to_be_bytes();
        if !Decimal128Type::is_valid_decimal_precision(value, precision) {
            return Err(format!("has more than the {precision} digits of the schema"));
        }
        let fill = if value < 0 { 0xff } else { 0 };
        // The fewest bytes whose first bit still is the sign.
        let is_spare = |at: &usize| digits[*at] == fill && (digits[at + 1] ^ fill) < 0x80;
        let first = (0..15).take_while(is_spare).count();
        let digits = &digits[first..];
        match size {
            None => write_long(digits.len() as i64, out),
            Some(size) if size >= digits.len() => out.resize(out.len() + size - digits.len(), fill),
            Some(size) => return Err(format!("does not fit the {size} bytes of the schema")),
        }
        out.extend_from_slice(digits);
        Ok(())
    }
}

pub(super) struct Lists<'a> {
    pub(super) offsets: &'a OffsetBuffer<i32>,
    pub(super) items: Column<'a>,
}

impl Values for Lists<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Written {
        let items: Range<usize> = self.offsets[row] as usize..self.offsets[row + 1] as usize;
        if !items.is_empty() {
            write_long(items.len() as i64, out);
        }
        items.into_iter().try_for_each(|item| self.items.write(item, out))?;
        write_long(0, out);
        Ok(())
    }
}

/// Writes a long: seven bits a byte, the lowest first, zigzag.
fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
