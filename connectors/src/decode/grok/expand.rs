//! A grok pattern as one regular expression.

use std::collections::BTreeMap;

use engine::{Error, Result};

use super::patterns::PATTERNS;
use crate::decode::column::{ColumnType, DeclaredColumn};
use crate::spelling;

/// Bytes of an expanded pattern: patterns of patterns grow fast.
const EXPANDED_BYTES_MAX: usize = 1 << 20;

/// Patterns inside each other; those of the library are at most six deep.
const DEPTH_MAX: usize = 64;

/// What the groups of columns are called: names of columns may have letters that names of groups may not.
const GROUP: &str = "grok_column_";

/// A pattern without `%{...}`.
#[derive(Debug, Default)]
pub(super) struct Expanded {
    pub(super) pattern: String,
    /// The column of each group [`GROUP`] with its number.
    columns: Vec<DeclaredColumn>,
}

impl Expanded {
    /// Returns the column that the group called `name` is for; none if it is the user's own group.
    pub(super) fn column(&self, name: &str) -> Option<&DeclaredColumn> {
        let number: usize = name.strip_prefix(GROUP)?.parse().ok()?;
        self.columns.get(number)
    }
}

/// Returns `pattern` with the patterns it names put in; `own` go before those of the library.
///
/// # Errors
/// When a name is unknown, a pattern contains itself, or the whole is too large.
pub(super) fn expand(pattern: &str, own: &BTreeMap<String, String>) -> Result<Expanded> {
    let mut expansion = Expansion {
        own,
        expanded: Expanded::default(),
        inside: Vec::new(),
    };
    expansion.append(pattern)?;
    Ok(expansion.expanded)
}

struct Expansion<'a> {
    own: &'a BTreeMap<String, String>,
    expanded: Expanded,
    /// The patterns that are being put in, the outermost first.
    inside: Vec<&'a str>,
}

/// What is between `%{` and `}`.
struct Reference<'a> {
    name: &'a str,
    column: Option<DeclaredColumn>,
}

impl<'a> Expansion<'a> {
    /// Appends a pattern, expanded.
    fn append(&mut self, pattern: &str) -> Result<()> {
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once("%{") {
            let Some((reference, after)) = after.split_once('}') else {
                return Err(Error::Invalid(format!("expected a `}}` after `%{{{after}`")));
            };
            self.append_text(before)?;
            self.append_reference(&Reference::parse(reference)?)?;
            rest = after;
        }
        self.append_text(rest)
    }

    fn append_reference(&mut self, reference: &Reference<'_>) -> Result<()> {
        let (name, definition) = self.find(reference.name)?;
        if self.inside.contains(&name) {
            return Err(Error::Invalid(format!(
                "the pattern {name} contains itself: {} -> {name}",
                self.inside.join(" -> ")
            )));
        }
        if self.inside.len() == DEPTH_MAX {
            return Err(Error::Invalid(format!(
                "expected at most {DEPTH_MAX} patterns inside each other, {name} is deeper"
            )));
        }
        match &reference.column {
            Some(column) => {
                let group = format!("(?P<{GROUP}{}>", self.expanded.columns.len());
                self.expanded.columns.push(column.clone());
                self.append_text(&group)?;
            }
            None => self.append_text("(?:")?,
        }
        self.inside.push(name);
        self.append(definition)?;
        self.inside.pop();
        self.append_text(")")
    }

    fn append_text(&mut self, text: &str) -> Result<()> {
        let pattern = &mut self.expanded.pattern;
        if pattern.len() + text.len() > EXPANDED_BYTES_MAX {
            return Err(Error::Invalid(format!(
                "expected a pattern of at most {EXPANDED_BYTES_MAX} bytes when the patterns it names are put in"
            )));
        }
        pattern.push_str(text);
        Ok(())
    }

    /// Returns the name and the definition of a pattern.
    fn find(&self, name: &str) -> Result<(&'a str, &'a str)> {
        if let Some((name, definition)) = self.own.get_key_value(name) {
            return Ok((name, definition));
        }
        let known = PATTERNS.iter().find(|(known, _)| *known == name);
        known.copied().ok_or_else(|| {
            let names = self.own.keys().map(String::as_str);
            let names = names.chain(PATTERNS.iter().map(|(name, _)| *name));
            Error::Invalid(format!(
                "there is no grok pattern {name}{}",
                spelling::hint(name, names)
            ))
        })
    }
}

impl<'a> Reference<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let Some((name, column)) = text.split_once(':') else {
            return Ok(Self {
                name: text,
                column: None,
            });
        };
        let (column, column_type) = match column.split_once(':') {
            Some((column, column_type)) => {
                let refused = |problem| Error::Invalid(format!("in %{{{text}}}: {problem}"));
                (column, column_type.parse().map_err(refused)?)
            }
            None => (column, ColumnType::Text),
        };
        if column.is_empty() {
            return Err(Error::Invalid(format!(
                "expected the name of a column after the colon in %{{{text}}}"
            )));
        }
        Ok(Self {
            name,
            column: Some(DeclaredColumn::new(column, column_type)),
        })
    }
}
