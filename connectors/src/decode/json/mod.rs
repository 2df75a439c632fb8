//! JSON objects into typed columns, straight from the payload bytes: no value, map or string a row.
//!
//! ```text
//! payloads ── a block of rows at a time
//!    mask of quotes, backslashes and control characters (scan)       64 bytes at a time
//!    walk over the members (object, order, paths)  ──>  slots        a place in the text for each row and column
//!    slots ──> Arrow columns (column, text, number)                  a column at a time
//! ```
//!
//! A payload is one object, and JSON by RFC 8259 to its last byte, at most 64 brackets deep; anything else is a reject that
//! says at which byte what was expected. The types of values are checked for the columns that are wanted.
//!
//! | JSON | int | float | bool | string, bytes | timestamp |
//! |---|---|---|---|---|---|
//! | `null`, or no member | null | null | null | null | null |
//! | whole number | value | value | reject | its text | by the format |
//! | other number | reject | value | reject | its text | by the format |
//! | string | the number it holds | the number it holds | the word it holds | what it stands for | by the format |
//! | `true`, `false` | reject | reject | value | its text | reject |
//! | object, array | reject | reject | reject | its text | reject |
//!
//! - Of members with one name the last counts.
//! - A name with dots reaches into objects: `http.status` is `status` inside `http`. A member of the payload's object that
//!   is called `http.status` itself goes before.
//! - The column `_extra`, where it is wanted, has the members that no declared column takes or reaches into, as the text of
//!   an object; it is null where there are none.

mod column;
mod escape;
mod infer;
mod number;
mod object;
mod order;
mod paths;
mod rest;
mod scan;
#[cfg(test)]
mod tests;
mod text;

use std::ops::Range;

use arrow::array::{Array, ArrayRef, BinaryArray};
use arrow::datatypes::SchemaRef;
use engine::{Error, Result};

pub use self::infer::infer;

use self::column::{JsonColumn, Slots};
use self::object::Walk;
use self::paths::Paths;
use self::rest::Rest;
use self::scan::{Scanner, Slot, Specials};
use super::column::{ColumnType, DeclaredColumn};
use super::time::TimeSettings;
use super::{Decoded, Decoder, Reject};

/// The column of the members that no other column takes.
const EXTRA: &str = "_extra";

/// Rows that are scanned before their columns are built: a block of log lines and its slots stay in the second-level cache.
const BLOCK_ROWS: usize = 256;

/// Decodes JSON objects.
#[derive(Clone, Debug)]
pub struct JsonDecoder {
    description: String,
    /// The wanted columns, without the one of the rest.
    columns: Vec<DeclaredColumn>,
    /// Whether the column of the rest is wanted.
    has_extra: bool,
    paths: Paths,
    settings: TimeSettings,
    schema: SchemaRef,
}

impl JsonDecoder {
    /// Returns a decoder of the declared columns and `_extra`, as far as they are named in `wanted`; `None` wants all.
    ///
    /// # Errors
    /// When two columns have one name, or one is called `_extra`.
    pub fn new(declared: &[DeclaredColumn], wanted: Option<&[String]>, settings: TimeSettings) -> Result<Self> {
        let extra = DeclaredColumn::new(EXTRA, ColumnType::Text);
        for (index, column) in declared.iter().enumerate() {
            let is_same = |other: &DeclaredColumn| other.name == column.name;
            if is_same(&extra) || declared[..index].iter().any(is_same) {
                return Err(Error::Invalid(format!(
                    "the column `{}` is declared twice",
                    column.name
                )));
            }
        }
        let is_wanted = |column: &&DeclaredColumn| wanted.is_none_or(|wanted| wanted.contains(&column.name));
        let columns: Vec<_> = declared.iter().filter(is_wanted).cloned().collect();
        let has_extra = is_wanted(&&extra);
        let all = [&columns[..], if has_extra { std::slice::from_ref(&extra) } else { &[] }].concat();
        let described: Vec<_> = all.iter().map(DeclaredColumn::to_string).collect();
        Ok(Self {
            description: format!("json {}", described.join(", ")),
            paths: Paths::new(names(&columns), names(declared)),
            schema: DeclaredColumn::schema(&all),
            columns,
            has_extra,
            settings,
        })
    }
}

fn names(columns: &[DeclaredColumn]) -> impl Iterator<Item = &str> {
    columns.iter().map(|column| column.name.as_str())
}

impl Decoder for JsonDecoder {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn rules_out(&self, payload: &[u8]) -> bool {
        let first = payload.iter().find(|byte| !byte.is_ascii_whitespace());
        first != Some(&b'{')
    }

    fn decode(&self, payloads: &BinaryArray) -> Result<Decoded> {
        let mut batch = Building::new(self, payloads.len());
        for first in (0..payloads.len()).step_by(BLOCK_ROWS) {
            batch.block(payloads, first..payloads.len().min(first + BLOCK_ROWS));
        }
        batch.finish()
    }
}

/// A batch under way.
struct Building<'d> {
    walk: Walk<'d>,
    columns: Vec<JsonColumn>,
    rest: Option<Rest>,
    rejects: Vec<Reject>,
    // Of the present block, kept for their memory.
    specials: Specials,
    slots: Vec<Slot>,
    failures: Vec<Option<String>>,
}

impl<'d> Building<'d> {
    fn new(decoder: &'d JsonDecoder, rows: usize) -> Self {
        let column = |declared| JsonColumn::new(declared, decoder.settings, rows);
        Self {
            walk: Walk::new(&decoder.paths),
            columns: decoder.columns.iter().map(column).collect(),
            rest: decoder.has_extra.then(|| Rest::with_capacity(rows)),
            rejects: Vec::new(),
            specials: Specials::new(),
            slots: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Appends a block of rows.
    fn block(&mut self, payloads: &BinaryArray, rows: Range<usize>) {
        let text = self.scan(payloads, rows.clone());
        let slots = Slots {
            text,
            slots: &self.slots,
            columns: self.columns.len(),
        };
        for (index, column) in self.columns.iter_mut().enumerate() {
            column.absorb(slots, index, &mut self.failures);
        }
        for (row, reason) in rows.zip(&mut self.failures) {
            if let Some(reason) = reason.take() {
                self.columns.iter_mut().for_each(|column| column.clear(row));
                self.rest.iter_mut().for_each(|rest| rest.clear(row));
                self.rejects.push(Reject { row, reason });
            }
        }
    }

    /// Finds the values of a block of rows, and returns its text.
    fn scan<'p>(&mut self, payloads: &'p BinaryArray, rows: Range<usize>) -> &'p [u8] {
        let ends = &payloads.value_offsets()[rows.start..=rows.end];
        let (first, last) = (ends[0] as usize, ends[rows.len()] as usize);
        let text = &payloads.value_data()[first..last];
        let is_utf8 = simdutf8::basic::from_utf8(text).is_ok();
        self.specials.find(text);
        self.slots.clear();
        self.slots.resize(rows.len() * self.columns.len(), Slot::ABSENT);
        self.failures.clear();
        self.failures.resize(rows.len(), None);
        for (index, row) in rows.enumerate() {
            if payloads.is_null(row) {
                self.rest.iter_mut().for_each(Rest::end_null);
                continue;
            }
            let payload = ends[index] as usize - first..ends[index + 1] as usize - first;
            self.row(text, payload, index, is_utf8);
        }
        text
    }

    /// Finds the values of one row of a block.
    fn row(&mut self, text: &[u8], payload: Range<usize>, index: usize, is_utf8: bool) {
        let slots = &mut self.slots[index * self.columns.len()..(index + 1) * self.columns.len()];
        let mut rest = self.rest.as_mut();
        let scanner = Scanner {
            text: &text[..payload.end],
            specials: &self.specials,
        };
        let bytes = &text[payload.clone()];
        let outcome = match check_utf8(bytes, is_utf8) {
            Err(reason) => Err(reason),
            Ok(()) => {
                let walked = self.walk.payload(scanner, payload.start, slots, rest.as_deref_mut());
                let reason = walked.map_err(|unexpected| unexpected.reason(scanner.text, payload.start));
                // A payload that ends within a character and the next may be UTF-8 together: each must be so by itself.
                reason.map_err(|reason| check_utf8(bytes, false).err().unwrap_or(reason))
            }
        };
        match outcome {
            Ok(()) => rest.into_iter().for_each(Rest::end_row),
            Err(reason) => {
                slots.fill(Slot::ABSENT);
                rest.into_iter().for_each(Rest::end_null);
                self.failures[index] = Some(reason);
            }
        }
    }

    fn finish(self) -> Result<Decoded> {
        let columns = self.columns.into_iter().map(JsonColumn::finish);
        let mut columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        columns.extend(self.rest.map(Rest::finish).transpose()?);
        Ok(Decoded {
            columns,
            rejects: self.rejects,
        })
    }
}

/// Checks a payload of a block that is not UTF-8 as a whole. In a block that is, every string is: quotes end it, which are
/// ASCII.
fn check_utf8(payload: &[u8], is_utf8: bool) -> Result<(), String> {
    if is_utf8 {
        return Ok(());
    }
    match std::str::from_utf8(payload) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("expected UTF-8 at byte {}", error.valid_up_to())),
    }
}
