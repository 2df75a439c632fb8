//! How a value of the job file becomes a value of a Rust type: one implementation a type.
//!
//! A [`Form`] says what it expects, reads it, and describes itself as JSON schema; so errors, documentation and schema
//! can't differ from what is read.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use connectors::kafka::options::{Client, DataLossPolicy, End, Start};
use connectors::parquet::Compression;
use serde_json::{Value, json};

use super::error::Report;
use super::nearest;
use super::node::{Entry, Node};
use super::place::At;
use super::schema::Definitions;
use crate::units;

/// A type of values of the job file.
pub(super) trait Form: Sized {
    /// Returns what is expected, as errors and documentation say it: "a duration such as 1s, 500ms or 5m".
    fn expected() -> String;

    /// Reads a value. When it is none, that is reported.
    fn read(node: &At<Node>, report: &mut Report) -> Option<Self>;

    /// Returns the JSON schema of the values.
    fn schema(definitions: &mut Definitions) -> Value;
}

/// Any text but the empty one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

/// Bytes, at least one, written with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) u64);

/// A share, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio(pub(super) f64);

/// Something a second, more than 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate(pub(super) f64);

/// Entries whose names the job's author chooses, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Named<T>(pub(super) Vec<(At<String>, At<T>)>);

/// One value, or a list of them.
#[derive(Clone, Debug)]
pub(super) struct OneOrMore<T>(pub(super) Vec<At<T>>);

impl<T: Form> Form for At<T> {
    fn expected() -> String {
        T::expected()
    }

    fn read(node: &At<Node>, report: &mut Report) -> Option<Self> {
        T::read(node, report).map(|value| At::new(value, node.place))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        T::schema(definitions)
    }
}

/// Reports a value of the wrong type or range.
pub(super) fn mismatch<T: Form>(node: &At<Node>, report: &mut Report) -> Option<T> {
    let message = format!("expected {}, not {}", T::expected(), node.value.describe());
    report.error(node.place, message);
    None
}

/// Types that are written as text, read by a function whose error says what was expected.
macro_rules! text_forms {
    ($($form:ty, $expected:literal, $example:literal, $read:expr;)*) => { $(
        impl Form for $form {
            fn expected() -> String {
                $expected.to_owned()
            }

            fn read(node: &At<Node>, report: &mut Report) -> Option<Self> {
                match &node.value {
                    Node::Text(text) | Node::Time(text) => report.check(node.place, $read(text.as_str())),
                    _ => mismatch(node, report),
                }
            }

            fn schema(_: &mut Definitions) -> Value {
                json!({ "type": "string", "minLength": 1, "examples": [$example] })
            }
        }
    )* };
}

pub(super) use text_forms;

text_forms! {
    Text, "a text", "text", text;
    Duration, "a duration such as 1s, 500ms or 5m", "5m", units::duration;
    Start, "earliest, latest, committed, a time, an age or offsets", "earliest", str::parse::<Start>;
    End, "latest, a time, an age or offsets", "latest", str::parse::<End>;
    Client, "auto, native or librdkafka", "auto", str::parse::<Client>;
    DataLossPolicy, "fail, skip or reset", "fail", str::parse::<DataLossPolicy>;
    Compression, "none, snappy, lz4, zstd or zstd:1 to zstd:22", "zstd:3", str::parse::<Compression>;
}

fn text(text: &str) -> Result<Text, &'static str> {
    match text {
        "" => Err("expected a text, not an empty one"),
        text => Ok(Text(text.to_owned())),
    }
}

/// Types that are written as numbers, converted by a function that returns `None` for what is out of range.
macro_rules! number_forms {
    ($($form:ty, $expected:literal, $schema:expr, $read:expr;)*) => { $(
        impl Form for $form {
            fn expected() -> String {
                $expected.to_owned()
            }

            fn read(node: &At<Node>, report: &mut Report) -> Option<Self> {
                $read(&node.value).or_else(|| mismatch(node, report))
            }

            fn schema(_: &mut Definitions) -> Value {
                $schema
            }
        }
    )* };
}

number_forms! {
    bool, "true or false", json!({ "type": "boolean" }), flag;
    u64, "a whole number", json!({ "type": "integer", "minimum": 0 }), |node: &Node| whole(node);
    NonZeroU64, "a whole number, 1 or more", json!({ "type": "integer", "minimum": 1 }),
        |node: &Node| whole(node).and_then(NonZeroU64::new);
    NonZeroUsize, "a whole number, 1 or more", json!({ "type": "integer", "minimum": 1 }),
        |node: &Node| whole(node).and_then(|number| usize::try_from(number).ok()).and_then(NonZeroUsize::new);
    Ratio, "a number from 0 to 1", json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        |node: &Node| real(node).filter(|ratio| (0.0..=1.0).contains(ratio)).map(Ratio);
    Rate, "a number above 0", json!({ "type": "number", "exclusiveMinimum": 0 }),
        |node: &Node| real(node).filter(|rate| rate.is_finite() && *rate > 0.0).map(Rate);
}

fn flag(node: &Node) -> Option<bool> {
    match node {
        Node::Boolean(flag) => Some(*flag),
        _ => None,
    }
}

fn whole(node: &Node) -> Option<u64> {
    match node {
        Node::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates and ratios are small numbers")]
fn real(node: &Node) -> Option<f64> {
    match node {
        Node::Integer(number) => Some(*number as f64),
        Node::Float(number) => Some(*number),
        _ => None,
    }
}

impl Form for Bytes {
    fn expected() -> String {
        "bytes such as 128MiB or 1GB".to_owned()
    }

    fn read(node: &At<Node>, report: &mut Report) -> Option<Self> {
        let bytes = match &node.value {
            Node::Text(text) => report.check(node.place, units::bytes(text))?,
            other => whole(other).unwrap_or(0),
        };
        match bytes {
            0 => mismatch(node, report),
            bytes => Some(Self(bytes)),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "anyOf": [
            { "type": "string", "pattern": "^[0-9]+ ?([KMG]i?B|kB|B)?$", "examples": ["128MiB"] },
            { "type": "integer", "minimum": 1 },
        ] })
    }
}

impl<T: Form> Form for Vec<At<T>> {
    fn expected() -> String {
        format!("a list, each entry {}", T::expected())
    }

    fn read(node: &At<Node>, report: &mut Report) -> Option<Self> {
        match &node.value {
            Node::List(items) => all(items.iter().map(|item| At::<T>::read(item, report))),
            _ => mismatch(node, report),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "type": "array", "items": T::schema(definitions) })
    }
}

impl<T: Form> Form for OneOrMore<T> {
    fn expected() -> String {
        format!("{}, or a list of such", T::expected())
    }

    fn read(node: &At<Node>, report: &mut Report) -> Option<Self> {
        let items = match &node.value {
            Node::List(_) => Vec::read(node, report)?,
            _ => vec![At::read(node, report)?],
        };
        match items.is_empty() {
            true => mismatch(node, report),
            false => Some(Self(items)),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let one = T::schema(definitions);
        json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

impl<T: Form> Form for Named<T> {
    fn expected() -> String {
        format!("a table of names, each with {}", T::expected())
    }

    fn read(node: &At<Node>, report: &mut Report) -> Option<Self> {
        let Node::Table(table) = &node.value else {
            return mismatch(node, report);
        };
        // Without the broken ones, which were reported, so that the others are checked too.
        let entries = table.entries.iter();
        let read = |entry: &Entry| Some((entry.key.clone(), At::read(&entry.value, report)?));
        Some(Self(entries.filter_map(read).collect()))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "type": "object", "additionalProperties": T::schema(definitions) })
    }
}

/// Collects all or nothing, but goes through all, so that every error is reported.
pub(super) fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let items: Vec<_> = items.collect();
    items.into_iter().collect()
}

/// Any value of a row in a test.
impl Form for Value {
    fn expected() -> String {
        "a value".to_owned()
    }

    fn read(node: &At<Node>, _: &mut Report) -> Option<Self> {
        Some(json_of(&node.value))
    }

    fn schema(_: &mut Definitions) -> Value {
        json!(true)
    }
}

fn json_of(node: &Node) -> Value {
    match node {
        Node::Text(text) | Node::Time(text) => json!(text),
        Node::Integer(number) => json!(number),
        Node::Float(number) => json!(number),
        Node::Boolean(flag) => json!(flag),
        Node::List(items) => items.iter().map(|item| json_of(&item.value)).collect(),
        Node::Table(table) => {
            let entries = table.entries.iter();
            entries
                .map(|entry| (entry.key.value.clone(), json_of(&entry.value.value)))
                .collect()
        }
    }
}

/// A word of a list.
pub(super) trait Choice: Copy + fmt::Debug + 'static {
    /// Each word with its value and what it means.
    const CHOICES: &'static [(&'static str, Self, &'static str)];
}

/// Declares an enum whose values are words of the job file.
macro_rules! choice {
    ($(#[doc = $doc:literal])+ $vis:vis enum $name:ident { $($(#[doc = $value_doc:literal])+ $value:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[doc = $value_doc])+ $value,)+ }

        impl std::fmt::Display for $name {
            /// Writes the word of the job file.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$value => $word,)+ })
            }
        }

        impl $crate::job::form::Choice for $name {
            const CHOICES: &'static [(&'static str, Self, &'static str)] =
                &[$(($word, Self::$value, concat!($($value_doc),+)),)+];
        }
    };
}
pub(super) use choice;

impl<T: Choice> Form for T {
    fn expected() -> String {
        let words: Vec<_> = T::CHOICES.iter().map(|(word, ..)| *word).collect();
        one_of(&words)
    }

    fn read(node: &At<Node>, report: &mut Report) -> Option<Self> {
        let Node::Text(text) = &node.value else {
            return mismatch(node, report);
        };
        let found = T::CHOICES.iter().find(|(word, ..)| word == text);
        if found.is_none() {
            let hint = nearest::hint(text, T::CHOICES.iter().map(|(word, ..)| *word));
            report.error(node.place, format!("expected {}, not `{text}`{hint}", Self::expected()));
        }
        found.map(|(_, value, _)| *value)
    }

    fn schema(_: &mut Definitions) -> Value {
        let choice = |(word, _, doc): &(&str, T, &str)| json!({ "const": word, "description": doc.trim() });
        json!({ "oneOf": T::CHOICES.iter().map(choice).collect::<Vec<_>>() })
    }
}

/// Returns `a, b or c`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [words @ .., last] => format!("{} or {last}", words.join(", ")),
    }
}
