//! Decoded lines and records as they are shown: a table, or JSON lines.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use clap::ValueEnum;
use connectors::decode::{Decoded, Reject};
use connectors::encode::{JsonEncoder, RawColumn};
use engine::{Error, Result};

use super::Exit;

/// The field of JSON lines that says why a line could not be decoded.
const ERROR_COLUMN: &str = "_error";

/// What errors call the place that is written to.
const STDOUT: &str = "<standard output>";

/// The longest cell of a table, in characters: a few of them fit a line of a terminal.
const CELL_CHARACTERS_MAX: usize = 60;

/// How decoded lines are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shape {
    /// Columns under their names; bad lines are named on the standard error
    Table,
    /// An object a line, bad lines too
    Json,
}

/// Shows decoded lines and counts the bad ones.
pub(super) struct Report<W> {
    writer: W,
    shape: Shape,
    schema: SchemaRef,
    encoder: JsonEncoder,
    /// Whether bad lines are named on the standard error.
    names_bad: bool,
    /// The widths of a table's columns; empty before its head.
    widths: Vec<usize>,
    pub(super) lines: u64,
    pub(super) bad: u64,
}

impl<W: Write> Report<W> {
    /// Returns a report of rows of `schema`.
    ///
    /// # Errors
    /// When a column has the name of the one for errors.
    pub(super) fn new(writer: W, shape: Shape, schema: &Schema, names_bad: bool) -> Result<Self> {
        if schema.index_of(ERROR_COLUMN).is_ok() {
            let taken = format!("the column `{ERROR_COLUMN}` says why a line is bad: declare it by another name");
            return Err(Error::Invalid(taken));
        }
        let error = Arc::new(Field::new(ERROR_COLUMN, DataType::Utf8, true));
        let fields: Vec<_> = schema.fields().iter().cloned().chain([error]).collect();
        let schema = Arc::new(Schema::new(fields));
        Ok(Self {
            encoder: JsonEncoder::objects(&schema),
            writer,
            shape,
            schema,
            names_bad,
            widths: Vec::new(),
            lines: 0,
            bad: 0,
        })
    }

    /// Shows rows; `place` says where one came from.
    ///
    /// # Errors
    /// When the output takes nothing.
    pub(super) fn show(&mut self, decoded: Decoded, rows: usize, place: impl Fn(usize) -> String) -> Result<()> {
        if self.names_bad {
            for reject in &decoded.rejects {
                eprintln!("millstream: {}: {}", place(reject.row), reject.reason);
            }
        }
        self.lines += rows as u64;
        self.bad += decoded.rejects.len() as u64;
        let text = match self.shape {
            Shape::Table => self.table(&decoded, rows)?,
            Shape::Json => self.objects(decoded, rows)?,
        };
        let written = self.writer.write_all(&text).and_then(|()| self.writer.flush());
        written.map_err(Error::io("write to", STDOUT))
    }

    fn objects(&mut self, decoded: Decoded, rows: usize) -> Result<Vec<u8>> {
        let mut columns = decoded.columns;
        columns.push(reasons(&decoded.rejects, rows));
        let records = RecordBatch::try_new(self.schema.clone(), columns).map_err(Error::arrow("show lines"))?;
        Ok(self.encoder.encode(&records)?.bytes().to_vec())
    }

    /// Returns the good rows as lines of a table, with its head before the first. A column is as wide as its widest cell up
    /// to now: what is shown does not move.
    fn table(&mut self, decoded: &Decoded, rows: usize) -> Result<Vec<u8>> {
        let is_first = self.widths.is_empty();
        let names = self.schema.fields().iter().map(|field| field.name().clone());
        let mut columns: Vec<Vec<String>> = Vec::with_capacity(decoded.columns.len());
        for (column, name) in decoded.columns.iter().zip(names) {
            columns.push(std::iter::once(name).chain(cells(column)?).collect());
        }
        self.widths.resize(columns.len(), 0);
        for (width, cells) in self.widths.iter_mut().zip(&columns) {
            *width = cells.iter().map(|cell| cell.chars().count()).fold(*width, usize::max);
        }
        let mut text = String::new();
        let mut bad = decoded.rejects.iter().map(|reject| reject.row + 1).peekable();
        for row in usize::from(!is_first)..=rows {
            if bad.next_if_eq(&row).is_some() {
                continue;
            }
            for (cells, width) in columns.iter().zip(&self.widths) {
                let _ = write!(text, "{:width$}  ", cells[row]);
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        Ok(text.into_bytes())
    }

    /// Returns how it went: in vain when there were lines and none was good.
    pub(super) fn exit(&self) -> Exit {
        if self.lines > 0 && self.bad == self.lines {
            Exit::Bad
        } else {
            Exit::Done
        }
    }
}

/// Returns a string a row: the reason of a reject.
fn reasons(rejects: &[Reject], rows: usize) -> ArrayRef {
    let mut reasons = vec![None; rows];
    for reject in rejects {
        reasons[reject.row] = Some(reject.reason.as_str());
    }
    Arc::new(StringArray::from(reasons))
}

/// Returns a column's cells: strings as they are, the rest as JSON writes it, null as nothing.
fn cells(column: &ArrayRef) -> Result<Vec<String>> {
    if let Some(raw) = RawColumn::new(column.as_ref()) {
        return Ok((0..column.len())
            .map(|row| cell(raw.get(row).unwrap_or_default()))
            .collect());
    }
    let records = RecordBatch::try_from_iter_with_nullable([("cell", column.clone(), true)]);
    let mut encoder = JsonEncoder::values();
    let rows = encoder.encode(&records.map_err(Error::arrow("show a column"))?)?;
    let text = |row| match column.is_valid(row) {
        true => cell(rows.row(row)).trim_matches('"').to_owned(),
        false => String::new(),
    };
    Ok((0..column.len()).map(text).collect())
}

/// Returns a cell's text, without what could move the cursor, and no longer than a table can show.
fn cell(bytes: &[u8]) -> String {
    let shown = String::from_utf8_lossy(bytes);
    let mut text = String::new();
    for (count, character) in shown.chars().enumerate() {
        if count == CELL_CHARACTERS_MAX {
            text.push('…');
            break;
        }
        match character.is_control() {
            true => text.extend(character.escape_default()),
            false => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, BinaryArray};
    use connectors::decode::registry;
    use connectors::decode::registry::FormatOptions;

    use super::*;

    #[track_caller]
    fn check(shape: Shape, batches: &[&[&str]], expected: &str) {
        let options = FormatOptions {
            columns: ["n:int", "word:string"]
                .map(|text| text.parse().expect("a column"))
                .into(),
            wanted: Some(["n", "word"].map(str::to_owned).into()),
            ..FormatOptions::default()
        };
        let decoder = registry::build(&["logfmt".to_owned()], &options).expect("a format");
        let mut report = Report::new(Vec::new(), shape, &decoder.schema(), false).expect("a report");
        for lines in batches {
            let lines: ArrayRef = Arc::new(BinaryArray::from_iter_values(lines.iter()));
            let records = RecordBatch::try_from_iter([("value", lines)]).expect("a column");
            let decoded = decoder.decode(records.column(0).as_binary()).expect("logfmt");
            report
                .show(decoded, records.num_rows(), |row| row.to_string())
                .expect("rows");
        }
        assert_eq!(String::from_utf8(report.writer).expect("text"), expected);
    }

    #[test]
    fn a_table_has_one_head_and_no_bad_rows() {
        let first = ["n=1 word=\"a\\tb\"", "n=x", "word=long-word"];
        let expected = "n  word\n1  a\\tb\n   long-word\n2\n123  z\n";
        check(Shape::Table, &[&first, &["n=2"], &["n=123 word=z"]], expected);
    }

    #[test]
    fn json_has_every_line_and_the_reason_of_bad_ones() {
        let expected = concat!(
            r#"{"n":1,"word":null,"_error":null}"#,
            "\n",
            r#"{"n":null,"word":null,"_error":"n: `x` is no int"}"#,
            "\n"
        );
        check(Shape::Json, &[&["n=1", "word=w n=x"]], expected);
    }

    #[test]
    fn long_cells_are_cut() {
        assert_eq!(cell("é".repeat(61).as_bytes()), "é".repeat(60) + "…");
        assert_eq!(cell(b"\x1b[2J"), "\\u{1b}[2J");
    }
}
