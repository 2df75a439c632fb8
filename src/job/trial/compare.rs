//! Expected rows beside those that came, and their difference as people read it.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, Schema};
use serde_json::{Map, Value};

use super::cells;
use crate::job::nearest;
use crate::job::plan::TestRow;

/// The most rows of a difference that are shown: more no one reads.
const ROWS_MAX: usize = 40;

/// The longest cell that is shown whole, in characters.
const CELL_CHARACTERS_MAX: usize = 80;

/// The rows that a test expects of one sink.
pub(super) struct Expected<'a> {
    pub(super) rows: &'a [TestRow],
    /// Whether they come in this order.
    pub(super) is_ordered: bool,
}

/// A column that is compared.
#[derive(Clone, Copy)]
struct Compared<'a> {
    name: &'a str,
    data_type: &'a DataType,
}

/// A row by the compared columns.
type Row = Vec<Value>;

impl Expected<'_> {
    /// Returns how `came`, rows of `schema`, differ from those expected; `None` if they do not.
    pub(super) fn difference(&self, what: &str, schema: &Schema, came: &[Map<String, Value>]) -> Option<String> {
        if let Some(unknown) = self.unknown(schema) {
            return Some(format!("{what}: {unknown}"));
        }
        let columns = self.compared(schema);
        let pick = |get: &dyn Fn(&str) -> Option<Value>| -> Row {
            columns
                .iter()
                .map(|column| get(column.name).unwrap_or(Value::Null))
                .collect()
        };
        let expected: Vec<Row> = self
            .rows
            .iter()
            .map(|row| pick(&|name| row.get(name).cloned()))
            .collect();
        let came: Vec<Row> = came.iter().map(|row| pick(&|name| row.get(name).cloned())).collect();
        let (missing, unexpected) = unmatched(&expected, &came, &columns);
        if missing.is_empty() && unexpected.is_empty() {
            let in_order = expected.iter().zip(&came).all(|(a, b)| are_same(a, b, &columns));
            let is_wrong = self.is_ordered && !in_order;
            return is_wrong.then(|| out_of_order(what, &expected, &came, &columns));
        }
        let same = expected.len() - missing.len();
        let mut text = format!("{what}: {same} of {} rows as expected", expected.len());
        for (count, kind) in [(missing.len(), "missing (-)"), (unexpected.len(), "not expected (+)")] {
            if count > 0 {
                let _ = write!(text, ", {count} {kind}");
            }
        }
        text.push('\n');
        text.push_str(&table(&columns, &paired(missing, unexpected, &columns)));
        Some(text)
    }

    fn unknown(&self, schema: &Schema) -> Option<String> {
        let names = self.rows.iter().flat_map(|row| row.keys());
        let unknown = names.into_iter().find(|name| schema.index_of(name).is_err())?;
        let known: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        Some(format!(
            "there is no column `{unknown}`; the columns are {}{}",
            known.join(", "),
            nearest::hint(unknown, known.iter().copied())
        ))
    }

    /// Returns the columns that a row names; if none does, all.
    fn compared<'s>(&self, schema: &'s Schema) -> Vec<Compared<'s>> {
        let all = schema.fields().iter().map(|field| Compared {
            name: field.name(),
            data_type: field.data_type(),
        });
        let is_named = |column: &Compared<'_>| self.rows.iter().any(|row| row.contains_key(column.name));
        let named: Vec<_> = all.clone().filter(is_named).collect();
        match named.is_empty() {
            true => all.collect(),
            false => named,
        }
    }
}

fn are_same(expected: &Row, came: &Row, columns: &[Compared<'_>]) -> bool {
    let cells = expected.iter().zip(came).zip(columns);
    cells
        .into_iter()
        .all(|((expected, came), column)| cells::is_same(expected, came, column.data_type))
}

/// Returns the expected rows that did not come, and those that came and have no expected row of their own.
fn unmatched(expected: &[Row], came: &[Row], columns: &[Compared<'_>]) -> (Vec<Row>, Vec<Row>) {
    let mut left: Vec<&Row> = came.iter().collect();
    let mut missing = vec![];
    for row in expected {
        match left.iter().position(|other| are_same(row, other, columns)) {
            Some(index) => drop(left.remove(index)),
            None => missing.push(row.clone()),
        }
    }
    (missing, left.into_iter().cloned().collect())
}

/// Returns the rows with their marks, each missing one before the unexpected one that is most like it.
fn paired(missing: Vec<Row>, mut unexpected: Vec<Row>, columns: &[Compared<'_>]) -> Vec<(char, Row)> {
    let alike = |a: &Row, b: &Row| {
        let cells = a.iter().zip(b).zip(columns);
        cells
            .filter(|((a, b), column)| cells::is_same(a, b, column.data_type))
            .count()
    };
    let mut rows = vec![];
    for row in missing {
        let nearest = (0..unexpected.len())
            .rev()
            .max_by_key(|&index| alike(&row, &unexpected[index]));
        let nearest = nearest.filter(|&index| alike(&row, &unexpected[index]) > 0);
        rows.push(('-', row));
        rows.extend(nearest.map(|index| ('+', unexpected.remove(index))));
    }
    rows.extend(unexpected.into_iter().map(|row| ('+', row)));
    rows
}

fn out_of_order(what: &str, expected: &[Row], came: &[Row], columns: &[Compared<'_>]) -> String {
    let mark = |mark: char| move |row: &Row| (mark, row.clone());
    let rows: Vec<_> = expected
        .iter()
        .map(mark('-'))
        .chain(came.iter().map(mark('+')))
        .collect();
    let head = format!("{what}: the rows are in another order than expected (-): they came as (+)\n");
    head + &table(columns, &rows)
}

/// Returns the rows under the names of their columns.
fn table(columns: &[Compared<'_>], rows: &[(char, Row)]) -> String {
    let names = columns.iter().map(|column| column.name.to_owned()).collect();
    let mut lines: Vec<(char, Vec<String>)> = vec![(' ', names)];
    for (mark, row) in rows.iter().take(ROWS_MAX) {
        let cells = row.iter().zip(columns);
        let cells = cells.map(|(value, column)| cut(cells::shown(value, column.data_type)));
        lines.push((*mark, cells.collect()));
    }
    let width = |column: usize| lines.iter().map(|(_, cells)| cells[column].chars().count()).max();
    let widths: Vec<_> = (0..columns.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for (mark, cells) in &lines {
        let _ = write!(text, "  {mark}");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, " {cell:width$} ");
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    match rows.len().saturating_sub(ROWS_MAX) {
        0 => drop(text.pop()),
        more => {
            let _ = write!(text, "    and {more} more");
        }
    }
    text
}

fn cut(cell: String) -> String {
    match cell.char_indices().nth(CELL_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &cell[..end]),
        None => cell,
    }
}
