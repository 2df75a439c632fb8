//! Lines that a regular expression takes apart: its named groups become columns.
//!
//! The engine is linear in the length of a payload, whatever the pattern; so there is no look-around and there are no
//! back-references. A pattern that begins with `^` and leaves at each byte only one way to go on is run as a table of
//! states in one pass; others need a second one for the groups.

#[cfg(test)]
mod tests;

use arrow::array::{Array, BinaryArray};
use arrow::datatypes::SchemaRef;
use engine::{Error, Result};
use regex_automata::meta::{self, BuildError, Regex};
use regex_automata::util::captures::Captures;
use regex_automata::util::syntax;
use regex_automata::{Input, PatternID};

use super::column::{ColumnType, DeclaredColumn, Rows, decode_rows};
use super::layout::Layout;
use super::time::TimeSettings;
use super::{Decoded, Decoder};
use crate::spelling;

/// Bytes of the compiled program: the default of the crate `regex`.
const PROGRAM_BYTES_MAX: usize = 10 << 20;

/// Bytes of the table of states of a pattern that is run in one pass: eight times the engine's default, since each use of a
/// Unicode class such as `\S` takes states of its own.
const ONE_PASS_BYTES_MAX: usize = 8 << 20;

/// Decodes lines that a pattern matches somewhere, or where `^` and `$` say.
///
/// A group that has no part in a match is null, and so is an empty one in a column that is no string.
#[derive(Debug)]
pub struct RegexDecoder {
    description: String,
    matcher: Matcher,
    layout: Layout,
}

impl RegexDecoder {
    /// Returns a decoder whose columns are the named groups of `pattern`, as far as they are wanted: strings, or of the type
    /// of the declared column of that name.
    ///
    /// # Errors
    /// When the pattern is none (a caret shows where), compiles to too much, or has no named group, or a declared column is
    /// no group.
    pub fn new(
        pattern: &str,
        declared: &[DeclaredColumn],
        wanted: Option<&[String]>,
        settings: TimeSettings,
    ) -> Result<Self> {
        let regex = compile(pattern)?;
        let mut columns = Vec::new();
        let mut groups = Vec::new();
        for (group, name) in regex.group_info().pattern_names(PatternID::ZERO).enumerate() {
            if let Some(name) = name {
                groups.push((group, columns.len()));
                columns.push(DeclaredColumn::new(name, ColumnType::Text));
            }
        }
        if columns.is_empty() {
            return Err(Error::Invalid(format!(
                "expected a pattern with named groups such as (?<status>[0-9]+), not `{pattern}`"
            )));
        }
        set_types(&mut columns, declared)?;
        let matcher = Matcher::new(regex, groups, &columns);
        let layout = Layout::new(columns, wanted, settings);
        Ok(Self {
            description: format!("regex `{pattern}` {}", layout.describe()),
            matcher,
            layout,
        })
    }
}

/// Gives the columns that are declared their type.
///
/// # Errors
/// When a declared column is none of `columns`.
pub(super) fn set_types(columns: &mut [DeclaredColumn], declared: &[DeclaredColumn]) -> Result<()> {
    for declaration in declared {
        match columns.iter_mut().find(|column| column.name == declaration.name) {
            Some(column) => column.column_type = declaration.column_type.clone(),
            None => {
                let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
                return Err(Error::Invalid(format!(
                    "the pattern has no group for the column {}; it has {}{}",
                    declaration.name,
                    names.join(", "),
                    spelling::hint(&declaration.name, names.iter().copied())
                )));
            }
        }
    }
    Ok(())
}

/// Compiles a pattern.
///
/// # Errors
/// When it is none, or too large.
pub(super) fn compile(pattern: &str) -> Result<Regex> {
    let config = meta::Config::new()
        .nfa_size_limit(Some(PROGRAM_BYTES_MAX))
        .onepass_size_limit(Some(ONE_PASS_BYTES_MAX));
    let built = meta::Builder::new()
        .configure(config)
        // Payloads need not be UTF-8.
        .syntax(syntax::Config::new().utf8(false))
        .build(pattern);
    built.map_err(|error| Error::Invalid(problem(pattern, &error)))
}

fn problem(pattern: &str, error: &BuildError) -> String {
    match (error.syntax_error(), error.size_limit()) {
        // It shows the pattern with a caret below.
        (Some(error), _) => format!("cannot read the pattern: {error}"),
        (None, Some(limit)) => {
            format!("expected a pattern that compiles to at most {limit} bytes, not `{pattern}`")
        }
        (None, None) => format!("cannot compile the pattern `{pattern}`: {error}"),
    }
}

/// A compiled pattern and where its groups go.
#[derive(Debug)]
pub(super) struct Matcher {
    regex: Regex,
    /// The index of each group of a column, and the column's.
    groups: Vec<(usize, usize)>,
    /// Whether an empty group is a value of its column.
    takes_empty: Vec<bool>,
}

impl Matcher {
    /// Returns a matcher that puts groups into columns: pairs of both their indices.
    pub(super) fn new(regex: Regex, groups: Vec<(usize, usize)>, columns: &[DeclaredColumn]) -> Self {
        let takes_empty = |column: &DeclaredColumn| matches!(column.column_type, ColumnType::Text | ColumnType::Bytes);
        Self {
            regex,
            groups,
            takes_empty: columns.iter().map(takes_empty).collect(),
        }
    }

    /// Decodes a column of payloads.
    pub(super) fn decode(&self, payloads: &BinaryArray, layout: &Layout) -> Result<Decoded> {
        let mut captures = self.regex.create_captures();
        decode_rows(payloads, layout.rows(payloads.len()), |payload, rows| {
            self.row(without_line_end(payload), layout, &mut captures, rows)
        })
    }

    /// Sets the columns of the present row to the groups of the first match in `line`.
    fn row(&self, line: &[u8], layout: &Layout, captures: &mut Captures, rows: &mut Rows) -> Result<(), String> {
        self.regex.search_captures(&Input::new(line), captures);
        if !captures.is_match() {
            return Err("the pattern does not match".to_owned());
        }
        for &(group, column) in &self.groups {
            let (Some(span), Some(slot)) = (captures.get_group(group), layout.slot(column)) else {
                continue;
            };
            if self.takes_empty[column] || !span.is_empty() {
                rows.set_text(slot, &line[span.range()])?;
            }
        }
        Ok(())
    }
}

/// Returns the payload without the line end it may have, which no pattern has to say.
fn without_line_end(payload: &[u8]) -> &[u8] {
    let line = payload.strip_suffix(b"\n").unwrap_or(payload);
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl Decoder for RegexDecoder {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn schema(&self) -> SchemaRef {
        self.layout.schema()
    }

    fn decode(&self, payloads: &BinaryArray) -> Result<Decoded> {
        self.matcher.decode(payloads, &self.layout)
    }
}
