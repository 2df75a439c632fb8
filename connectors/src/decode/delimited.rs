//! CSV and TSV: one record a payload, its fields by position.
//!
//! RFC 4180, with the delimiter and the quote that one likes: a field that begins with a quote ends at the next quote that is
//! not doubled, and may have delimiters and line ends inside. Elsewhere quotes are letters. An empty field without quotes is
//! null, one in quotes is the empty string. A line end after the record is no part of it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use arrow::array::{Array, BinaryArray};
use arrow::datatypes::SchemaRef;
use engine::{Error, Result};
use memchr::{memchr, memchr2};

use super::column::{DeclaredColumn, Rows, decode_rows, shown};
use super::layout::Layout;
use super::time::TimeSettings;
use super::{Decoded, Decoder};

/// How records are cut into fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    delimiter: u8,
    quote: Option<u8>,
}

impl Dialect {
    /// Fields between commas, in double quotes where they need to be.
    pub const CSV: Self = Self {
        delimiter: b',',
        quote: Some(b'"'),
    };

    /// Fields between tabs, in double quotes where they need to be.
    pub const TSV: Self = Self {
        delimiter: b'\t',
        ..Self::CSV
    };

    /// Returns the dialect with this delimiter.
    ///
    /// # Errors
    /// When it is no ASCII character, a line end or the quote.
    pub fn with_delimiter(self, delimiter: u8) -> Result<Self> {
        if delimiter.is_ascii() && !matches!(delimiter, b'\n' | b'\r') && self.quote != Some(delimiter) {
            return Ok(Self { delimiter, ..self });
        }
        Err(Error::Invalid(format!(
            "expected an ASCII character other than quotes and line ends as the delimiter, not `{}`",
            delimiter.escape_ascii()
        )))
    }

    /// Returns the dialect in which quotes are letters like any other.
    pub fn without_quotes(self) -> Self {
        Self { quote: None, ..self }
    }

    /// Returns the byte between two fields.
    pub fn delimiter(self) -> u8 {
        self.delimiter
    }

    /// Returns whether fields may be in quotes.
    pub fn has_quotes(self) -> bool {
        self.quote.is_some()
    }

    /// Returns the names that a header line has.
    ///
    /// # Errors
    /// When the line is no record, a name is empty or no UTF-8, or two are the same.
    pub fn header(self, line: &[u8]) -> Result<Vec<String>> {
        // Spreadsheets put a byte order mark before their first line.
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let refused = |problem: String| Error::Invalid(format!("expected a header line with names: {problem}"));
        let mut fields = Vec::new();
        self.split(line, usize::MAX, &mut fields).map_err(refused)?;
        let mut names: Vec<String> = Vec::with_capacity(fields.len());
        for (field, number) in fields.into_iter().zip(1..) {
            let mut name = Vec::new();
            field.unquote(line, self.quote, &mut name);
            let name = String::from_utf8(name).map_err(|_| refused(format!("name {number} is no UTF-8")))?;
            if name.is_empty() {
                return Err(refused(format!("name {number} is empty")));
            }
            if names.contains(&name) {
                return Err(refused(format!("{} is there twice", shown(name.as_bytes()))));
            }
            names.push(name);
        }
        Ok(names)
    }

    /// Puts the fields of a record into `fields`, no more than `max` of them, and returns how many there are.
    fn split(self, record: &[u8], max: usize, fields: &mut Vec<Field>) -> Result<usize, String> {
        fields.clear();
        let (mut at, mut count) = (0, 0);
        loop {
            let field = self.field(record, at)?;
            let after = field.after;
            count += 1;
            if count <= max {
                fields.push(field);
            }
            match record.get(after) {
                Some(&byte) if byte == self.delimiter => at = after + 1,
                Some(_) if is_line_end(&record[after..]) => return Ok(count),
                Some(_) => {
                    return Err(format!(
                        "expected one record, found `{}` at byte {after}",
                        shown(&record[after..=after])
                    ));
                }
                None => return Ok(count),
            }
        }
    }

    /// Returns the field at `at`.
    fn field(self, record: &[u8], at: usize) -> Result<Field, String> {
        match self.quote {
            Some(quote) if record.get(at) == Some(&quote) => quoted_field(record, at, quote),
            _ => {
                let rest = &record[at..];
                let mut length = memchr2(self.delimiter, b'\n', rest).unwrap_or(rest.len());
                // Of a line end of two bytes the first is no part of the field.
                if rest.get(length) != Some(&self.delimiter) && rest[..length].ends_with(b"\r") {
                    length -= 1;
                }
                Ok(Field {
                    text: at..at + length,
                    form: Form::Bare,
                    after: at + length,
                })
            }
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quotes = if self.quote.is_some() { "" } else { " without quotes" };
        match self.delimiter {
            b',' => write!(f, "csv{quotes}"),
            b'\t' => write!(f, "tsv{quotes}"),
            other => write!(f, "csv with `{}`{quotes}", other.escape_ascii()),
        }
    }
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    /// What is between the quotes, or all of it.
    text: Range<usize>,
    form: Form,
    /// The place after it.
    after: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Bare,
    Quoted,
    /// Quoted, with doubled quotes inside.
    Doubled,
}

impl Field {
    /// Appends what the field stands for.
    fn unquote(&self, record: &[u8], quote: Option<u8>, out: &mut Vec<u8>) {
        let mut rest = &record[self.text.clone()];
        if let (Form::Doubled, Some(quote)) = (self.form, quote) {
            while let Some(at) = memchr(quote, rest) {
                out.extend_from_slice(&rest[..=at]);
                rest = &rest[at + 2..];
            }
        }
        out.extend_from_slice(rest);
    }
}

/// Returns the field whose first quote is at `at`.
fn quoted_field(record: &[u8], at: usize, quote: u8) -> Result<Field, String> {
    let start = at + 1;
    let mut form = Form::Quoted;
    let mut end = start;
    loop {
        match memchr(quote, &record[end..]) {
            Some(length) => end += length,
            None => return Err(format!("the quote at byte {at} has no other that closes it")),
        }
        if record.get(end + 1) != Some(&quote) {
            return Ok(Field {
                text: start..end,
                form,
                after: end + 1,
            });
        }
        form = Form::Doubled;
        end += 2;
    }
}

/// Returns whether `rest` is a line end and nothing else.
fn is_line_end(rest: &[u8]) -> bool {
    matches!(rest, b"\n" | b"\r\n" | b"\r")
}

/// Decodes records of delimited fields.
#[derive(Clone, Debug)]
pub struct DelimitedDecoder {
    dialect: Dialect,
    names: Vec<String>,
    /// Whether a record of the columns' names is null.
    skips_header: bool,
    layout: Layout,
}

impl DelimitedDecoder {
    /// Returns a decoder of records whose fields are the declared columns, in this order, into those that are wanted.
    ///
    /// # Errors
    /// When no column is declared, or two have one name.
    pub fn new(
        dialect: Dialect,
        declared: &[DeclaredColumn],
        wanted: Option<&[String]>,
        settings: TimeSettings,
    ) -> Result<Self> {
        if declared.is_empty() {
            return Err(Error::Invalid(
                "expected columns, one for each field of a record".to_owned(),
            ));
        }
        for (index, column) in declared.iter().enumerate() {
            if declared[..index].iter().any(|before| before.name == column.name) {
                return Err(Error::Invalid(format!(
                    "the column `{}` is declared twice",
                    column.name
                )));
            }
        }
        Ok(Self {
            dialect,
            names: declared.iter().map(|column| column.name.clone()).collect(),
            skips_header: false,
            layout: Layout::new(declared.to_vec(), wanted, settings),
        })
    }

    /// Returns the decoder for which a record of the columns' names, a header among the payloads, is null as a tombstone is.
    pub fn skipping_header(self) -> Self {
        Self {
            skips_header: true,
            ..self
        }
    }

    /// Sets the columns of the present row to the fields of `record`.
    fn row(&self, record: &[u8], buffers: &mut Buffers, rows: &mut Rows) -> Result<(), String> {
        let Buffers { fields, text } = buffers;
        let expected = self.names.len();
        let found = self.dialect.split(record, expected, fields)?;
        if found != expected {
            return Err(format!("expected {expected} fields, found {found}"));
        }
        if self.skips_header && self.is_header(record, fields) {
            return Ok(());
        }
        for (index, field) in fields.iter().enumerate() {
            let Some(slot) = self.layout.slot(index) else {
                continue;
            };
            match field.form {
                Form::Bare if field.text.is_empty() => {}
                Form::Bare | Form::Quoted => rows.set_text(slot, &record[field.text.clone()])?,
                Form::Doubled => {
                    text.clear();
                    field.unquote(record, self.dialect.quote, text);
                    rows.set_text(slot, text)?;
                }
            }
        }
        Ok(())
    }

    fn is_header(&self, record: &[u8], fields: &[Field]) -> bool {
        let mut pairs = fields.iter().zip(&self.names);
        pairs.all(|(field, name)| &record[field.text.clone()] == name.as_bytes())
    }
}

/// Memory that rows share.
#[derive(Default)]
struct Buffers {
    fields: Vec<Field>,
    text: Vec<u8>,
}

impl Decoder for DelimitedDecoder {
    fn describe(&self) -> String {
        // By position: a column that is not wanted has its place.
        let header = if self.skips_header { " header" } else { "" };
        format!(
            "{}{header} {}: {}",
            self.dialect,
            self.names.join(", "),
            self.layout.describe()
        )
    }

    fn schema(&self) -> SchemaRef {
        self.layout.schema()
    }

    fn decode(&self, payloads: &BinaryArray) -> Result<Decoded> {
        let mut buffers = Buffers::default();
        decode_rows(payloads, self.layout.rows(payloads.len()), |record, rows| {
            self.row(record, &mut buffers, rows)
        })
    }
}
