//! The TOML text of a job as a tree in which everything has its place.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Report;
use super::place::{At, Place};

/// The deepest nesting of tables. The deepest key of a job file has six parts.
const DEPTH_MAX: usize = 32;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// A date, a time or both, as it was written.
    Time(String),
    List(Vec<At<Node>>),
    Table(TableNode),
}

/// A table, its entries in the order of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TableNode {
    /// How the file names it: `source.logs`; empty for the file itself.
    pub(super) path: String,
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: At<String>,
    pub(super) value: At<Node>,
}

impl Node {
    /// Returns what this is, for errors.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Text(text) => format!("`{text}`"),
            Self::Integer(number) => format!("the number {number}"),
            Self::Float(number) => format!("the number {number}"),
            Self::Boolean(flag) => format!("`{flag}`"),
            Self::Time(time) => format!("the time {time}"),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }

    /// Returns the table that this is, if it is one.
    pub(super) fn as_table(&self) -> Option<&TableNode> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }
}

impl TableNode {
    /// Returns the value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&At<Node>> {
        self.entries
            .iter()
            .find(|entry| entry.key.value == key)
            .map(|entry| &entry.value)
    }

    /// Returns the table as the file's author knows it.
    pub(super) fn describe(&self) -> String {
        match self.path.as_str() {
            "" => "the job file".to_owned(),
            // Not of the file: what a single word stands for.
            word if word.starts_with('{') => word.to_owned(),
            path => format!("[{path}]"),
        }
    }

    /// Puts the values of `other` in the place of those of the same keys; tables are merged.
    pub(super) fn merge(&mut self, other: TableNode) {
        for entry in other.entries {
            let known = self.entries.iter_mut().find(|known| known.key.value == entry.key.value);
            match known {
                None => self.entries.push(entry),
                Some(known) => match (&mut known.value.value, entry.value.value) {
                    (Node::Table(table), Node::Table(other)) => table.merge(other),
                    (_, value) => known.value = At::new(value, entry.value.place),
                },
            }
        }
    }
}

/// Reads TOML whose first byte has the place `start`. What is not TOML is reported, and left out.
pub(super) fn parse(text: &str, start: usize, report: &mut Report) -> At<TableNode> {
    if let Some(at) = too_deep(text) {
        let message = format!("a key has more than {DEPTH_MAX} parts");
        report.error(place(at..at + 1, start), message);
        return At::new(TableNode::default(), place(0..0, start));
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let range = error.span().unwrap_or_default();
        report.error(
            place(range, start),
            format!("this is not TOML: {}", error.message().trim_end()),
        );
    }
    let range = table.span();
    At::new(
        Reader { start }.table(String::new(), table.into_inner()),
        place(range, start),
    )
}

/// Returns where a dotted key starts that has too many parts: it would nest as many tables, for which the parser has no
/// bound of its own. Keys start lines, or follow `{`, `,` and `[`.
fn too_deep(text: &str) -> Option<usize> {
    let starts = text.match_indices(['\n', '{', ',', '[']).map(|(at, _)| at + 1);
    std::iter::once(0)
        .chain(starts)
        .find(|&at| key_parts(&text[at..]) > DEPTH_MAX)
}

/// Returns the number of parts of the key that `text` starts with, counted up to one too many.
fn key_parts(text: &str) -> usize {
    let mut rest = text;
    for parts in 1..=DEPTH_MAX {
        rest = rest.trim_start_matches([' ', '\t']);
        let quote = rest.chars().next().filter(|first| ['"', '\''].contains(first));
        let end = match quote {
            Some(quote) => rest[1..].find([quote, '\n']).map_or(rest.len(), |end| end + 2),
            None => rest.find(|letter: char| !is_bare(letter)).unwrap_or(rest.len()),
        };
        rest = rest.get(end..).unwrap_or_default().trim_start_matches([' ', '\t']);
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None => return parts,
        }
    }
    DEPTH_MAX + 1
}

fn is_bare(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == '-'
}

struct Reader {
    start: usize,
}

impl Reader {
    fn table(&self, path: String, table: DeTable<'_>) -> TableNode {
        let entry = |(key, value): (Spanned<Cow<'_, str>>, Spanned<DeValue<'_>>)| {
            let key = At::new(key.get_ref().to_string(), place(key.span(), self.start));
            let path = match path.is_empty() {
                true => key.value.clone(),
                false => format!("{path}.{}", key.value),
            };
            let value = self.value(path, value);
            Entry { key, value }
        };
        let mut entries: Vec<_> = table.into_iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.key.place);
        TableNode { path, entries }
    }

    fn value(&self, path: String, value: Spanned<DeValue<'_>>) -> At<Node> {
        let place = place(value.span(), self.start);
        let node = match value.into_inner() {
            DeValue::String(text) => Node::Text(text.into_owned()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Node::Integer(number),
                // Beyond 64 bits; whoever reads it says what was expected.
                Err(_) => Node::Text(number.to_string()),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Node::Float(number),
                Err(_) => Node::Text(number.to_string()),
            },
            DeValue::Boolean(flag) => Node::Boolean(flag),
            DeValue::Datetime(time) => Node::Time(time.to_string()),
            DeValue::Array(list) => {
                let items = list.into_iter().map(|item| self.value(path.clone(), item));
                Node::List(items.collect())
            }
            DeValue::Table(table) => Node::Table(self.table(path, table)),
        };
        At::new(node, place)
    }
}

fn place(range: Range<usize>, start: usize) -> Place {
    Place {
        start: range.start,
        end: range.end,
    }
    .shifted(start)
}
