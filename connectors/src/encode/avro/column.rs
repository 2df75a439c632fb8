//! Which column a field of the schema takes, and whether it does.

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date32Type, TimeUnit};

use super::super::RawColumn;
use super::value::{Booleans, Bytes, Column, Decimals, Fixed, Floats, Integers, Lists, Record, Symbols, Times, Values};
use crate::decode::avro::AvroSchema;
use crate::decode::avro::schema::{Field, Type, TypeId};

/// Finds the columns of a schema's fields.
pub(super) struct Plan<'a> {
    schema: &'a AvroSchema,
    names: &'a [&'a str],
    columns: &'a [ArrayRef],
    used: Vec<bool>,
}

impl<'a> Plan<'a> {
    /// Returns a plan for `columns` of these names.
    pub(super) fn new(schema: &'a AvroSchema, names: &'a [&'a str], columns: &'a [ArrayRef]) -> Self {
        Self {
            schema,
            names,
            columns,
            used: vec![false; names.len()],
        }
    }

    /// Returns the fields of a record, whose columns are called `prefix` and their names.
    pub(super) fn record(&mut self, record: TypeId, prefix: &str) -> Result<Record<'a>, String> {
        let Type::Record(fields) = self.schema.get(record) else {
            unreachable!("only records have fields");
        };
        let mut found = vec![];
        for field in fields {
            let name = format!("{prefix}{}", field.name);
            let inside = format!("{name}.");
            match self.names.iter().position(|column| *column == name) {
                Some(index) => {
                    self.used[index] = true;
                    found.push(column(self.schema, field.of, &self.columns[index], name)?);
                }
                None if self.names.iter().any(|column| column.starts_with(&inside))
                    && matches!(self.schema.get(field.of), Type::Record(_)) =>
                {
                    found.push(Column {
                        name,
                        nulls: None,
                        union: None,
                        values: Box::new(self.record(field.of, &inside)?),
                    });
                }
                None => {
                    let names = self.names.join(", ");
                    return Err(format!(
                        "there is no column for the field `{name}` of the Avro schema: they are {names}"
                    ));
                }
            }
        }
        Ok(Record(found))
    }

    /// Checks that every column has its field.
    pub(super) fn check_all_used(&self) -> Result<(), String> {
        match self.names.iter().zip(&self.used).find(|(_, used)| !**used) {
            Some((name, _)) => Err(format!("the Avro schema has no field for the column `{name}`")),
            None => Ok(()),
        }
    }
}

/// Resolves the type of a column.
fn column<'a>(schema: &'a AvroSchema, whole: TypeId, array: &'a ArrayRef, name: String) -> Result<Column<'a>, String> {
    let (of, union) = match schema.nullable(whole) {
        Some((of, null)) => (of, Some((null, 1 - null))),
        None => (whole, None),
    };
    let values = values(schema, of, array, &name)?.ok_or_else(|| {
        format!(
            "the column `{name}` is {}, which the field's type in the Avro schema does not take: cast it in the query",
            array.data_type()
        )
    })?;
    Ok(Column {
        name,
        nulls: array.logical_nulls().filter(|nulls| nulls.null_count() > 0),
        union,
        values,
    })
}

/// Returns the values of a column as a type of the schema; `None` when the type does not take them.
fn values<'a>(
    schema: &'a AvroSchema,
    of: TypeId,
    array: &'a ArrayRef,
    name: &str,
) -> Result<Option<Box<dyn Values + 'a>>, String> {
    let raw = RawColumn::new(array.as_ref());
    let is_text = matches!(
        array.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    );
    let text = raw.filter(|_| is_text);
    Ok(Some(match (schema.get(of), array.data_type()) {
        (Type::Boolean, DataType::Boolean) => Box::new(Booleans(array.as_boolean())),
        (Type::Int, kind) if kind.is_integer() => {
            integers(array, (i64::from(i32::MIN), i64::from(i32::MAX))).map_err(|error| format!("`{name}`: {error}"))?
        }
        (Type::Long, kind) if kind.is_integer() => {
            integers(array, (i64::MIN, i64::MAX)).map_err(|error| format!("`{name}`: {error}"))?
        }
        (found @ (Type::Float | Type::Double), DataType::Float32 | DataType::Float64) => Box::new(Floats {
            values: cast(array, &DataType::Float64)?.as_primitive().clone(),
            is_double: *found == Type::Double,
        }),
        (Type::Date, DataType::Date32) => {
            let days = array.as_primitive::<Date32Type>();
            Box::new(Integers {
                values: days.unary(i64::from),
                range: (i64::MIN, i64::MAX),
            })
        }
        (Type::Timestamp(ticks), DataType::Timestamp(_, zone)) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            Box::new(Times {
                micros: cast(array, &micros)?.as_primitive().clone(),
                per_second: ticks.per_second,
            })
        }
        (Type::Decimal(decimal), DataType::Decimal128(_, scale)) if *scale == decimal.scale => {
            Box::new(Decimals(array.as_primitive(), *decimal))
        }
        (Type::Array(items), DataType::List(_)) => {
            let list = array.as_list::<i32>();
            Box::new(Lists {
                offsets: list.offsets(),
                items: column(schema, *items, list.values(), name.to_owned())?,
            })
        }
        (Type::Record(fields), DataType::Struct(_)) => match record(schema, fields, array.as_struct(), name)? {
            Some(record) => Box::new(record),
            None => return Ok(None),
        },
        (of, _) => match (of, raw, text) {
            (Type::String, _, Some(text)) => Box::new(Bytes(text)),
            (Type::Enum(symbols), _, Some(text)) => Box::new(Symbols(text, symbols)),
            (Type::Bytes, Some(raw), _) => Box::new(Bytes(raw)),
            (Type::Fixed(size), Some(raw), _) => Box::new(Fixed(raw, *size)),
            _ => return Ok(None),
        },
    }))
}

/// Returns the fields of a record by their names; `None` when the struct has others.
fn record<'a>(
    schema: &'a AvroSchema,
    fields: &'a [Field],
    parts: &'a StructArray,
    name: &str,
) -> Result<Option<Record<'a>>, String> {
    if parts.num_columns() != fields.len() {
        return Ok(None);
    }
    let mut found = vec![];
    for field in fields {
        let Some(part) = parts.column_by_name(&field.name) else {
            return Ok(None);
        };
        found.push(column(schema, field.of, part, format!("{name}.{}", field.name))?);
    }
    Ok(Some(Record(found)))
}

fn integers<'a>(array: &ArrayRef, range: (i64, i64)) -> Result<Box<dyn Values + 'a>, String> {
    Ok(Box::new(Integers {
        values: cast(array, &DataType::Int64)?.as_primitive().clone(),
        range,
    }))
}

/// Casts without making a value null that does not fit.
fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, to, &options).map_err(|error| error.to_string())
}
