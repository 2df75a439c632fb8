//! Forms that only the job file has: secrets, lists of lines, one table or several.

use serde_json::{Value, json};

use super::error::Report;
use super::form::{Form, all, mismatch};
use super::node::{Entry, Node, TableNode};
use super::place::{At, Place};
use super::schema::Definitions;
use super::table::{Field, Key, sentence};

/// The value of a librdkafka setting: as it is, or where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    Literal(String),
    Env(String),
    File(String),
}

impl Form for Setting {
    fn expected() -> String {
        "a text, a number, true or false, { env = \"NAME\" } or { file = \"PATH\" }".to_owned()
    }

    fn read(node: &At<Node>, report: &mut Report) -> Option<Self> {
        match &node.value {
            Node::Text(text) => Some(Self::Literal(text.clone())),
            Node::Integer(number) => Some(Self::Literal(number.to_string())),
            Node::Float(number) => Some(Self::Literal(number.to_string())),
            Node::Boolean(flag) => Some(Self::Literal(flag.to_string())),
            Node::Table(table) => match table.entries.as_slice() {
                [Entry { key, value }] => match (key.value.as_str(), &value.value) {
                    ("env", Node::Text(name)) => Some(Self::Env(name.clone())),
                    ("file", Node::Text(path)) => Some(Self::File(path.clone())),
                    _ => unquoted(key, node, report),
                },
                _ => mismatch(node, report),
            },
            Node::Time(_) | Node::List(_) => mismatch(node, report),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        let reference = |key: &str| json!({ "type": "object", "properties": { key: { "type": "string" } }, "required": [key], "additionalProperties": false });
        json!({ "anyOf": [
            { "type": ["string", "number", "boolean"] },
            reference("env"),
            reference("file"),
        ] })
    }
}

/// Without quotes, the dots of `sasl.mechanism = ...` make tables.
fn unquoted(key: &At<String>, node: &At<Node>, report: &mut Report) -> Option<Setting> {
    let message = format!("expected {}, not a table with `{}`", Setting::expected(), key.value);
    let help = "the name of a setting has dots, so it needs quotes: \"sasl.mechanism\" = ...";
    report.error_with_help(node.place, message, help);
    None
}

/// A word or a table.
#[derive(Clone, Debug)]
pub(super) enum OneOf<W, T> {
    Word(W),
    Table(T),
}

impl<W: Form, T: Form> Form for OneOf<W, T> {
    fn expected() -> String {
        format!("{}, or {}", W::expected(), T::expected())
    }

    fn read(node: &At<Node>, report: &mut Report) -> Option<Self> {
        match &node.value {
            Node::Text(_) => W::read(node, report).map(Self::Word),
            Node::Table(_) => T::read(node, report).map(Self::Table),
            _ => mismatch(node, report),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "anyOf": [W::schema(definitions), T::schema(definitions)] })
    }
}

/// A text that may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnyText(pub(super) String);

impl Form for AnyText {
    fn expected() -> String {
        "a text".to_owned()
    }

    fn read(node: &At<Node>, report: &mut Report) -> Option<Self> {
        match &node.value {
            Node::Text(text) => Some(Self(text.clone())),
            _ => mismatch(node, report),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string" })
    }
}

/// Payloads: a list of texts and records `T`, or the lines of one text.
#[derive(Clone, Debug)]
pub(super) struct Payloads<T>(pub(super) Vec<At<OneOf<AnyText, T>>>);

impl<T: Form> Form for Payloads<T> {
    fn expected() -> String {
        "a list of texts and records, or one text of several lines".to_owned()
    }

    fn read(node: &At<Node>, report: &mut Report) -> Option<Self> {
        match &node.value {
            Node::Text(text) => {
                let line = |line: &str| At::new(OneOf::Word(AnyText(line.to_owned())), node.place);
                Some(Self(text.lines().map(line).collect()))
            }
            Node::List(items) => all(items.iter().map(|item| At::read(item, report))).map(Self),
            _ => mismatch(node, report),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let record = OneOf::<AnyText, T>::schema(definitions);
        json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": record }] })
    }
}

/// What stands once without a name, or several times with names: `[query]`, or `[query.a]` and `[query.b]`.
#[derive(Clone, Debug)]
pub(super) enum OneOrNamed<T> {
    One(At<T>),
    Named(Vec<(At<String>, At<T>)>),
}

/// What can be [`OneOrNamed`].
pub(super) trait Nameable: Form {
    /// Its keys whose values may be tables: they are no names.
    const OWN_TABLES: &'static [&'static str];
}

impl<T: Nameable> OneOrNamed<T> {
    fn are_names(table: &TableNode) -> bool {
        let is_name = |entry: &Entry| {
            matches!(entry.value.value, Node::Table(_)) && !T::OWN_TABLES.contains(&entry.key.value.as_str())
        };
        !table.entries.is_empty() && table.entries.iter().all(is_name)
    }
}

impl<T: Nameable> Form for OneOrNamed<T> {
    fn expected() -> String {
        format!("{}, or several such tables with names", T::expected())
    }

    fn read(node: &At<Node>, report: &mut Report) -> Option<Self> {
        match &node.value {
            Node::Table(table) if Self::are_names(table) => {
                let entries = table.entries.iter();
                let read = |entry: &Entry| Some((entry.key.clone(), At::read(&entry.value, report)?));
                Some(Self::Named(entries.filter_map(read).collect()))
            }
            _ => At::read(node, report).map(Self::One),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let one = T::schema(definitions);
        json!({ "anyOf": [one, { "type": "object", "additionalProperties": one }] })
    }
}

/// A part of the job file that is checked even if another part is broken, so that all errors are found at once.
#[derive(Clone, Debug)]
pub(super) enum Part<T, const REQUIRED: bool = false> {
    /// It is not there.
    Missing,
    /// It is wrong, or missing but required; either was reported.
    Broken,
    /// It can be read.
    Found(At<T>),
}

impl<T, const REQUIRED: bool> Part<T, REQUIRED> {
    /// Returns the part if it is there and can be read.
    pub(super) fn found(&self) -> Option<&At<T>> {
        match self {
            Self::Found(part) => Some(part),
            Self::Missing | Self::Broken => None,
        }
    }
}

impl<T: Form, const REQUIRED: bool> Field for Part<T, REQUIRED> {
    type Form = T;
    const IS_OPTIONAL: bool = !REQUIRED;

    fn read_key(table: At<&TableNode>, key: &Key, report: &mut Report) -> Option<Self> {
        Some(match table.value.get(key.name) {
            Some(node) => At::read(node, report).map_or(Self::Broken, Self::Found),
            None if !REQUIRED => Self::Missing,
            None => {
                // Nowhere in the file: its first character stands for it.
                let place = Place {
                    end: table.place.start,
                    ..table.place
                };
                let message = format!("missing `{}` in {}", key.name, table.value.describe());
                report.error_with_help(place, message, format!("{}: {}", key.name, sentence(key.doc)));
                Self::Broken
            }
        })
    }
}
