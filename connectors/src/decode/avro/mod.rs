//! Avro: one record a payload, by a schema that is known beforehand, straight into typed columns.
//!
//! ```text
//! schema ── Steps: what of the record is a column, what is passed over        once
//! payload ── read ──> slots, one a column ── append ──> Arrow columns          a row; nothing is appended of a bad one
//! ```
//!
//! | Avro | column |
//! |---|---|
//! | int, long | int |
//! | float, double | float |
//! | boolean | bool |
//! | string, enum | string |
//! | bytes, fixed | bytes |
//! | timestamp-millis, -micros, -nanos, and local ones in the source's zone | timestamp in microseconds |
//! | date | date |
//! | decimal | decimal of up to 38 digits |
//! | record | a column for each of its fields, `http.status` |
//! | union of null and one other | the other, or null |
//! | array, map, other unions, records that hold themselves | string: JSON text |
//!
//! A payload is the record's bytes alone, or has Confluent's header before them: a zero byte and the four bytes of the
//! schema's number in a registry. Bytes that are left over make a payload bad. Avro can't tell a payload of another schema that
//! happens to fit: where records of several schemas are in a topic, say the number.

mod column;
mod cursor;
#[cfg(test)]
pub(crate) mod golden;
pub(crate) mod schema;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use engine::{Error, Result};

use self::column::{Builder, Kind, Slot};
use self::cursor::Cursor;
pub use self::schema::AvroSchema;
use self::schema::{Type, TypeId};
use self::walk::{DEPTH_MAX, Walk};
use super::time::TimeZone;
use super::{Decoded, Decoder, Reject};

/// What stands before the record in a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Nothing.
    #[default]
    Bare,
    /// Confluent's header. `None` takes records of any number, all by the one schema.
    Confluent(Option<u32>),
}

/// How the payloads are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvroFormat {
    /// The schema of those who write them.
    pub schema: Arc<AvroSchema>,
    /// What stands before the record.
    pub framing: Framing,
}

impl fmt::Display for AvroFormat {
    /// Writes the framing and a checksum of the schema: formats of one text make the same rows of the same payloads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "avro {:08x}", crc32c::crc32c(self.schema.to_string().as_bytes()))?;
        match self.framing {
            Framing::Bare => Ok(()),
            Framing::Confluent(None) => f.write_str(" after Confluent's header"),
            Framing::Confluent(Some(id)) => write!(f, " after Confluent's header of {id}"),
        }
    }
}

/// Fields of a record at most, those of the records inside it counted for each place where they are: a few names in a
/// schema could stand for any number.
const STEPS_MAX: usize = 10_000;

/// The first byte of Confluent's header.
pub(crate) const MAGIC: u8 = 0;

/// Decodes Avro records.
#[derive(Debug)]
pub struct AvroDecoder {
    format: AvroFormat,
    zone: TimeZone,
    steps: Vec<Step>,
    kinds: Vec<Kind>,
    schema: SchemaRef,
}

/// What is done with a value of the payload, one after the other.
#[derive(Debug)]
enum Step {
    Skip(TypeId),
    Column {
        of: Nullable,
        column: usize,
    },
    /// The steps of a record's fields, in their place.
    Record {
        of: Nullable,
        steps: Vec<Step>,
        name: String,
    },
}

/// A type that may be null: the branch of a union, if it is one.
#[derive(Clone, Copy, Debug)]
struct Nullable {
    of: TypeId,
    null: Option<usize>,
}

impl AvroDecoder {
    /// Returns a decoder of the columns of `format` that are named in `wanted`; `None` wants all.
    ///
    /// # Errors
    /// When two fields would be columns of one name, or there are too many.
    pub fn new(format: AvroFormat, wanted: Option<&[String]>, zone: TimeZone) -> Result<Self> {
        let mut planner = Planner {
            schema: &format.schema,
            wanted,
            open: vec![format.schema.root()],
            names: vec![],
            fields: vec![],
            kinds: vec![],
            planned: 0,
        };
        let steps = planner.fields(format.schema.root(), "")?;
        let mut seen = HashSet::new();
        if let Some(name) = planner.names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(Error::Invalid(format!(
                "two fields of the Avro schema would be columns of the name `{name}`"
            )));
        }
        let (fields, kinds) = (planner.fields, planner.kinds);
        Ok(Self {
            format,
            zone,
            steps,
            kinds,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// Reads a payload into `row`, which has a null a column.
    fn read<'a>(&'a self, payload: &'a [u8], row: &mut Row<'a>) -> Result<(), String> {
        let mut cursor = Cursor::new(payload);
        self.format.framing.read(&mut cursor)?;
        let mut reading = Reading {
            decoder: self,
            walk: Walk::new(&self.format.schema, self.zone, payload.len()),
            row,
        };
        reading.steps(&self.steps, &mut cursor)?;
        cursor.end()
    }
}

impl Decoder for AvroDecoder {
    fn describe(&self) -> String {
        let zone = match self.zone == TimeZone::default() {
            true => String::new(),
            false => format!(" in {}", self.zone),
        };
        let columns: Vec<_> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        format!("{}{zone}: {}", self.format, columns.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn rules_out(&self, payload: &[u8]) -> bool {
        matches!(self.format.framing, Framing::Confluent(_)) && payload.first() != Some(&MAGIC)
    }

    fn decode(&self, payloads: &BinaryArray) -> Result<Decoded> {
        let builder = |kind: &Kind| Builder::new(*kind, payloads.len());
        let mut columns: Vec<_> = self.kinds.iter().map(builder).collect();
        let mut rejects = Vec::new();
        let mut row = Row::default();
        for index in 0..payloads.len() {
            row.clear(columns.len());
            let read = match payloads.is_null(index) {
                true => Ok(()),
                false => self.read(payloads.value(index), &mut row),
            };
            if let Err(reason) = read.and_then(|()| row.check_room(&columns)) {
                row.clear(columns.len());
                rejects.push(Reject { row: index, reason });
            }
            for (column, slot) in columns.iter_mut().zip(&row.slots) {
                column.append(slot, &row.scratch);
            }
        }
        Ok(Decoded {
            columns: columns.into_iter().map(Builder::finish).collect(),
            rejects,
        })
    }
}

impl Framing {
    /// Takes what stands before the record.
    fn read(self, cursor: &mut Cursor<'_>) -> Result<(), String> {
        let Self::Confluent(expected) = self else {
            return Ok(());
        };
        let refused = |_| "expected Confluent's header of 5 bytes, and the payload ends in it".to_owned();
        let [magic, id @ ..] = cursor.array::<5>().map_err(refused)?;
        let id = u32::from_be_bytes(id);
        if magic != MAGIC {
            return Err(format!(
                "expected Confluent's header, whose first byte is 0x00, not {magic:#04x}"
            ));
        }
        match expected.filter(|expected| *expected != id) {
            Some(expected) => Err(format!("expected a record of the schema {expected}, not {id}")),
            None => Ok(()),
        }
    }
}

/// A row before it goes into the columns.
#[derive(Default)]
struct Row<'a> {
    slots: Vec<Slot<'a>>,
    /// The JSON text of its slots.
    scratch: Vec<u8>,
}

impl Row<'_> {
    fn clear(&mut self, columns: usize) {
        self.slots.clear();
        self.slots.resize(columns, Slot::Null);
        self.scratch.clear();
    }

    fn check_room(&self, columns: &[Builder]) -> Result<(), String> {
        match columns
            .iter()
            .zip(&self.slots)
            .all(|(column, slot)| column.has_room(slot))
        {
            true => Ok(()),
            false => Err("the batch has more than the 2 GiB of text that a column holds".to_owned()),
        }
    }
}

/// A payload under way.
struct Reading<'r, 'a> {
    decoder: &'a AvroDecoder,
    walk: Walk<'a>,
    row: &'r mut Row<'a>,
}

impl<'a> Reading<'_, 'a> {
    fn steps(&mut self, steps: &'a [Step], cursor: &mut Cursor<'a>) -> Result<(), String> {
        steps.iter().try_for_each(|step| self.step(step, cursor))
    }

    #[inline]
    fn step(&mut self, step: &'a Step, cursor: &mut Cursor<'a>) -> Result<(), String> {
        match step {
            Step::Skip(of) => self.walk.skip(*of, cursor),
            Step::Column { of, column } => {
                let read = self.value(*of, *column, cursor);
                read.map_err(|reason| format!("{}: {reason}", self.decoder.schema.field(*column).name()))
            }
            Step::Record { of, steps, name } => match of.is_null(cursor) {
                Ok(true) => Ok(()),
                Ok(false) => self.steps(steps, cursor),
                Err(reason) => Err(format!("{name}: {reason}")),
            },
        }
    }

    #[inline]
    fn value(&mut self, of: Nullable, column: usize, cursor: &mut Cursor<'a>) -> Result<(), String> {
        if !of.is_null(cursor)? {
            let (schema, zone) = (&*self.decoder.format.schema, self.decoder.zone);
            let slot = column::read(schema, of.of, zone, cursor, &mut self.walk, &mut self.row.scratch)?;
            self.row.slots[column] = slot;
        }
        Ok(())
    }
}

impl Nullable {
    /// Takes the branch of a union, and returns whether it is null.
    #[inline]
    fn is_null(self, cursor: &mut Cursor<'_>) -> Result<bool, String> {
        match self.null {
            Some(null) => Ok(cursor.index(2, "a branch")? == null),
            None => Ok(false),
        }
    }
}

/// Makes steps of a schema.
struct Planner<'s> {
    schema: &'s AvroSchema,
    wanted: Option<&'s [String]>,
    /// The records that are being taken apart, as many as values may be inside each other: one inside of itself is not.
    open: Vec<TypeId>,
    /// Of all columns, the unwanted ones too.
    names: Vec<String>,
    fields: Vec<Field>,
    kinds: Vec<Kind>,
    /// The steps that there are.
    planned: usize,
}

impl Planner<'_> {
    /// Returns the steps of a record's fields, whose columns are called `prefix` and their names.
    fn fields(&mut self, record: TypeId, prefix: &str) -> Result<Vec<Step>> {
        let Type::Record(fields) = self.schema.get(record) else {
            unreachable!("only records have fields");
        };
        let schema = self.schema;
        let step = |field: &schema::Field| {
            let (of, null) = match schema.nullable(field.of) {
                Some((of, null)) => (of, Some(null)),
                None => (field.of, None),
            };
            self.step(field.of, Nullable { of, null }, format!("{prefix}{}", field.name))
        };
        fields.iter().map(step).collect()
    }

    fn step(&mut self, whole: TypeId, of: Nullable, name: String) -> Result<Step> {
        self.planned += 1;
        if self.planned > STEPS_MAX {
            return Err(Error::Invalid(format!(
                "the Avro schema has more than {STEPS_MAX} values a record, with those of the records inside"
            )));
        }
        let is_record = matches!(self.schema.get(of.of), Type::Record(_));
        if is_record && !self.open.contains(&of.of) && self.open.len() < DEPTH_MAX {
            self.open.push(of.of);
            let first = self.fields.len();
            let steps = self.fields(of.of, &format!("{name}."))?;
            self.open.pop();
            return Ok(match self.fields.len() == first {
                true => Step::Skip(whole),
                false => Step::Record { of, steps, name },
            });
        }
        self.names.push(name.clone());
        if self.wanted.is_some_and(|wanted| !wanted.contains(&name)) {
            return Ok(Step::Skip(whole));
        }
        let kind = Kind::of(self.schema.get(of.of));
        self.kinds.push(kind);
        self.fields.push(Field::new(name, kind.data_type(), true));
        let column = self.kinds.len() - 1;
        Ok(Step::Column { of, column })
    }
}
