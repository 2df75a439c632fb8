//! Grok: patterns with a library of named parts, `%{IP:client} %{WORD:verb} %{NUMBER:seconds:float}`.
//!
//! `%{PATTERN}` stands for a pattern of the library or of one's own, `%{PATTERN:column}` puts what it matches into a column,
//! `%{PATTERN:column:type}` gives the column a type. Everything else is a regular expression, with named groups as columns
//! too. A column that is there in several places has what the first of them matched.
//!
//! All is put together into one pattern for the [regex decoder](super::regex), which is linear in the length of a payload.

mod expand;
mod patterns;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arrow::array::BinaryArray;
use arrow::datatypes::SchemaRef;
use engine::{Error, Result};
use regex_automata::PatternID;

use self::expand::expand;
use super::column::{ColumnType, DeclaredColumn};
use super::layout::Layout;
use super::regex::{Matcher, compile, set_types};
use super::time::TimeSettings;
use super::{Decoded, Decoder};

/// Decodes lines that a grok pattern matches somewhere, or where `^` and `$` say.
#[derive(Debug)]
pub struct GrokDecoder {
    description: String,
    matcher: Matcher,
    layout: Layout,
}

impl GrokDecoder {
    /// Returns a decoder whose columns are those of `pattern`, as far as they are wanted. `own` has patterns by name, beside
    /// those of the library and before them. The type of a declared column goes before one in the pattern.
    ///
    /// # Errors
    /// When a pattern is unknown (the nearest name is offered), contains itself, is no regular expression or is too large,
    /// a column has two types, or there is no column, or a declared column is none of the pattern's.
    pub fn new(
        pattern: &str,
        own: &BTreeMap<String, String>,
        declared: &[DeclaredColumn],
        wanted: Option<&[String]>,
        settings: TimeSettings,
    ) -> Result<Self> {
        let expanded = expand(pattern, own)?;
        let regex = compile(&expanded.pattern)?;
        let mut columns: Vec<DeclaredColumn> = Vec::new();
        let mut groups = Vec::new();
        for (group, name) in regex.group_info().pattern_names(PatternID::ZERO).enumerate() {
            let Some(name) = name else {
                continue;
            };
            let column = match expanded.column(name) {
                Some(column) => column,
                // A named group of the regular expression itself.
                None => &DeclaredColumn::new(name, ColumnType::Text),
            };
            groups.push((group, add(&mut columns, column)?));
        }
        if columns.is_empty() {
            return Err(Error::Invalid(format!(
                "expected a pattern with columns such as %{{NUMBER:status:int}}, not `{pattern}`"
            )));
        }
        set_types(&mut columns, declared)?;
        let matcher = Matcher::new(regex, groups, &columns);
        let layout = Layout::new(columns, wanted, settings);
        Ok(Self {
            description: describe(pattern, own, &layout),
            matcher,
            layout,
        })
    }
}

/// Returns the index of the column, which comes to be if there is none of its name.
fn add(columns: &mut Vec<DeclaredColumn>, column: &DeclaredColumn) -> Result<usize> {
    match columns.iter().position(|known| known.name == column.name) {
        Some(index) if columns[index].column_type != column.column_type => Err(Error::Invalid(format!(
            "expected one type for the column {}, found {} and {}",
            column.name, columns[index].column_type, column.column_type
        ))),
        Some(index) => Ok(index),
        None => {
            columns.push(column.clone());
            Ok(columns.len() - 1)
        }
    }
}

/// Returns what the decoder does, the user's own patterns included: they decide what it reads.
fn describe(pattern: &str, own: &BTreeMap<String, String>, layout: &Layout) -> String {
    let mut description = format!("grok `{pattern}` {}", layout.describe());
    for (name, definition) in own {
        description.push_str(&format!(" {name}=`{definition}`"));
    }
    description
}

impl Decoder for GrokDecoder {
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
