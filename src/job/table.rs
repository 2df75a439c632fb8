//! Tables of the job file: declared once, as a struct whose fields are the keys.
//!
//! ```text
//! table! {
//!     /// When results are put out, and what is kept of them.
//!     "[run]" struct Run {
//!         /// How often results are put out
//!         trigger: At<Duration> = "1s",
//!         /// Folder that keeps positions and state
//!         checkpoint: Option<At<Text>>,
//!     }
//! }
//! ```
//!
//! A field without a default that is no `Option` is required. The declaration is all there is: the reader with its errors,
//! the JSON schema and the reference of all keys come from it. [`kinds!`](kinds) does the same for a table whose keys
//! depend on one of them, as `kind = "kafka"`.

use serde_json::{Map, Value, json};

use super::error::Report;
use super::form::{Form, mismatch, one_of};
use super::nearest;
use super::node::{Node, TableNode};
use super::place::{At, Place};
use super::schema::{Definitions, KeyDoc, TableDoc};

/// A key of a table.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    pub(super) default: Option<&'static str>,
    pub(super) is_required: bool,
    pub(super) expected: fn() -> String,
    pub(super) schema: fn(&mut Definitions) -> Value,
}

/// A struct that [`table!`](table) declared.
pub(super) trait Table: Sized {
    /// How the file names the table: `[run]`.
    const TITLE: &'static str;
    const DOC: &'static str;
    const KEYS: &'static [Key];

    /// Reads the keys, and ignores others.
    fn read_keys(table: At<&TableNode>, report: &mut Report) -> Option<Self>;
}

/// The type of a key's field: it says whether the key may be left out.
pub(super) trait Field: Sized {
    type Form: Form;
    const IS_OPTIONAL: bool;

    /// Reads the value of `key`, its default, or nothing.
    fn read_key(table: At<&TableNode>, key: &Key, report: &mut Report) -> Option<Self>;
}

impl<T: Form> Field for At<T> {
    type Form = T;
    const IS_OPTIONAL: bool = false;

    fn read_key(table: At<&TableNode>, key: &Key, report: &mut Report) -> Option<Self> {
        match (table.value.get(key.name), key.default) {
            (Some(node), _) => At::read(node, report),
            (None, Some(default)) => At::read(&At::new(default_node(default), table.place), report),
            (None, None) => {
                let message = format!("missing `{}` in {}", key.name, table.value.describe());
                report.error_with_help(table.place, message, format!("{}: {}", key.name, sentence(key.doc)));
                None
            }
        }
    }
}

impl<T: Form> Field for Option<At<T>> {
    type Form = T;
    const IS_OPTIONAL: bool = true;

    fn read_key(table: At<&TableNode>, key: &Key, report: &mut Report) -> Option<Self> {
        match table.value.get(key.name) {
            Some(node) => At::read(node, report).map(Some),
            None => Some(None),
        }
    }
}

/// Returns a default as the file would have it.
fn default_node(text: &str) -> Node {
    match (text.parse(), text.parse()) {
        (Ok(flag), _) => Node::Boolean(flag),
        (_, Ok(number)) => Node::Integer(number),
        _ => Node::Text(text.to_owned()),
    }
}

/// Joins the lines of a doc comment.
pub(super) fn sentence(doc: &str) -> &str {
    doc.trim()
}

macro_rules! table {
    (
        $(#[doc = $doc:literal])+
        $title:literal struct $name:ident {
            $($(#[doc = $key_doc:literal])+ $key:ident: $field:ty $(= $default:literal)?,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub(super) struct $name {
            $($(#[doc = $key_doc])+ pub(super) $key: $field,)+
        }

        impl $crate::job::table::Table for $name {
            const TITLE: &'static str = $title;
            const DOC: &'static str = concat!($($doc),+);
            const KEYS: &'static [$crate::job::table::Key] = &[$($crate::job::table::Key {
                name: stringify!($key),
                doc: concat!($($key_doc),+),
                default: $crate::job::table::table!(@default $($default)?),
                is_required: !<$field as $crate::job::table::Field>::IS_OPTIONAL
                    && $crate::job::table::table!(@default $($default)?).is_none(),
                expected: <<$field as $crate::job::table::Field>::Form as $crate::job::form::Form>::expected,
                schema: <<$field as $crate::job::table::Field>::Form as $crate::job::form::Form>::schema,
            }),+];

            fn read_keys(
                table: $crate::job::place::At<&$crate::job::node::TableNode>,
                report: &mut $crate::job::error::Report,
            ) -> Option<Self> {
                let mut keys = Self::KEYS.iter();
                $(let $key = $crate::job::table::Field::read_key(table, keys.next().expect("a key a field"), report);)+
                Some(Self { $($key: $key?,)+ })
            }
        }

        impl $crate::job::form::Form for $name {
            fn expected() -> String {
                $crate::job::table::expected_table(<Self as $crate::job::table::Table>::KEYS)
            }

            fn read(
                node: &$crate::job::place::At<$crate::job::node::Node>,
                report: &mut $crate::job::error::Report,
            ) -> Option<Self> {
                $crate::job::table::read_node(node, report)
            }

            fn schema(definitions: &mut $crate::job::schema::Definitions) -> serde_json::Value {
                $crate::job::table::table_schema::<Self>(stringify!($name), definitions)
            }
        }
    };
    (@default) => { None::<&'static str> };
    (@default $default:literal) => { Some($default) };
}
pub(super) use table;

/// Returns `a table { column, lateness, idle }`.
pub(super) fn expected_table(keys: &[Key]) -> String {
    let names: Vec<_> = keys.iter().map(|key| key.name).collect();
    format!("a table {{ {} }}", names.join(", "))
}

/// Reads a value that is a table of these keys and no others.
pub(super) fn read_node<T: Table + Form>(node: &At<Node>, report: &mut Report) -> Option<T> {
    match &node.value {
        Node::Table(table) => read_table(At::new(table, node.place), report),
        _ => mismatch(node, report),
    }
}

/// Reads a table that has these keys and no others.
pub(super) fn read_table<T: Table>(table: At<&TableNode>, report: &mut Report) -> Option<T> {
    let names: Vec<_> = T::KEYS.iter().map(|key| key.name).collect();
    refuse_unknown(table.value, &names, |_| None, report);
    T::read_keys(table, report)
}

/// Reports the keys of `table` that are not among `known`. `elsewhere` says where a key would be right.
fn refuse_unknown(table: &TableNode, known: &[&str], elsewhere: impl Fn(&str) -> Option<String>, report: &mut Report) {
    for entry in &table.entries {
        let name = entry.key.value.as_str();
        if known.contains(&name) {
            continue;
        }
        let hint = match nearest::nearest(name, known.iter().copied()) {
            Some(near) => format!(": did you mean `{near}`?"),
            None => elsewhere(name).map_or_else(String::new, |place| format!(": {place}")),
        };
        let message = format!("unknown key `{name}` in {}{hint}", table.describe());
        report.error_with_help(entry.key.place, message, format!("the keys here: {}", known.join(", ")));
    }
}

pub(super) fn table_schema<T: Table>(name: &'static str, definitions: &mut Definitions) -> Value {
    definitions.define(name, |definitions| {
        definitions.document(TableDoc::new(
            T::TITLE.to_owned(),
            T::DOC,
            T::KEYS.iter().map(KeyDoc::new),
        ));
        let mut schema = object_schema(T::KEYS.iter(), None, definitions);
        schema["description"] = json!(sentence(T::DOC));
        schema
    })
}

/// Returns the schema of an object of these keys, and of one more that has always the same value.
fn object_schema<'k>(
    keys: impl Iterator<Item = &'k Key>,
    constant: Option<(&'static str, &'static str)>,
    definitions: &mut Definitions,
) -> Value {
    let (mut properties, mut required) = (Map::new(), vec![]);
    if let Some((key, value)) = constant {
        properties.insert(key.to_owned(), json!({ "const": value }));
        required.push(key);
    }
    for key in keys {
        let mut schema = (key.schema)(definitions);
        if let Value::Object(schema) = &mut schema {
            schema.insert("description".to_owned(), json!(sentence(key.doc)));
            if let Some(default) = key.default {
                schema.insert("default".to_owned(), default_json(default));
            }
        }
        properties.insert(key.name.to_owned(), schema);
        if key.is_required {
            required.push(key.name);
        }
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn default_json(text: &str) -> Value {
    match default_node(text) {
        Node::Boolean(flag) => json!(flag),
        Node::Integer(number) => json!(number),
        _ => json!(text),
    }
}

/// One of the kinds of a table.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    pub(super) keys: &'static [Key],
}

/// An enum that [`kinds!`](kinds) declared.
pub(super) trait Kinds: Sized {
    const NAME: &'static str;
    /// How the file names the table: `[source.NAME]`.
    const TITLE: &'static str;
    /// The key that chooses.
    const KEY: &'static str;
    /// Whether the kind's name alone may stand for a table of that kind: `format = "json"`.
    const IS_NAME_ENOUGH: bool;
    const KINDS: &'static [Kind];

    /// Reads the keys of a kind.
    fn read_kind(name: &str, table: At<&TableNode>, report: &mut Report) -> Option<Self>;
}

/// A table of one of several kinds: what they have in common, and what is the kind's own.
#[derive(Clone, Debug)]
pub(super) struct Kinded<K, C> {
    pub(super) common: C,
    pub(super) kind: K,
}

/// A table without keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoKeys;

impl Table for NoKeys {
    const TITLE: &'static str = "";
    const DOC: &'static str = "";
    const KEYS: &'static [Key] = &[];

    fn read_keys(_: At<&TableNode>, _: &mut Report) -> Option<Self> {
        Some(Self)
    }
}

macro_rules! kinds {
    (
        $(#[$meta:meta])+
        $title:literal enum $name:ident by $key:literal, $is_name_enough:literal {
            $($(#[doc = $kind_doc:literal])+ $kind:ident($table:ty) = $word:literal,)+
        }
    ) => {
        $(#[$meta])+
        #[derive(Clone, Debug)]
        pub(super) enum $name { $($(#[doc = $kind_doc])+ $kind(Box<$table>),)+ }

        impl $crate::job::table::Kinds for $name {
            const NAME: &'static str = stringify!($name);
            const TITLE: &'static str = $title;
            const KEY: &'static str = $key;
            const IS_NAME_ENOUGH: bool = $is_name_enough;
            const KINDS: &'static [$crate::job::table::Kind] = &[$($crate::job::table::Kind {
                name: $word,
                doc: concat!($($kind_doc),+),
                keys: <$table as $crate::job::table::Table>::KEYS,
            }),+];

            fn read_kind(
                name: &str,
                table: $crate::job::place::At<&$crate::job::node::TableNode>,
                report: &mut $crate::job::error::Report,
            ) -> Option<Self> {
                match name {
                    $($word => <$table as $crate::job::table::Table>::read_keys(table, report)
                        .map(|keys| Self::$kind(Box::new(keys))),)+
                    _ => None,
                }
            }
        }
    };
}
pub(super) use kinds;

impl<K: Kinds, C: Table> Form for Kinded<K, C> {
    fn expected() -> String {
        let names: Vec<_> = K::KINDS.iter().map(|kind| kind.name).collect();
        match K::IS_NAME_ENOUGH {
            true => format!("{}, or a table {{ {} = ... }}", one_of(&names), K::KEY),
            false => format!("a table {{ {} = ..., ... }}", K::KEY),
        }
    }

    fn read(node: &At<Node>, report: &mut Report) -> Option<Self> {
        match &node.value {
            Node::Text(name) if K::IS_NAME_ENOUGH => {
                let kind = find_kind::<K>(name, node.place, report)?;
                let table = TableNode {
                    path: format!("{{ {} = \"{name}\" }}", K::KEY),
                    entries: vec![],
                };
                Self::read_as(kind, At::new(&table, node.place), report)
            }
            Node::Table(table) => {
                let kind = named_kind::<K>(At::new(table, node.place), report)?;
                refuse_unknown_of_kind::<K, C>(table, kind, report);
                Self::read_as(kind, At::new(table, node.place), report)
            }
            _ => mismatch(node, report),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        definitions.define(K::NAME, |definitions| {
            if !C::KEYS.is_empty() {
                definitions.document(TableDoc::new(
                    C::TITLE.to_owned(),
                    C::DOC,
                    C::KEYS.iter().map(KeyDoc::new),
                ));
            }
            let mut choices = vec![];
            if K::IS_NAME_ENOUGH {
                let is_enough = |kind: &&Kind| kind.keys.iter().all(|key| !key.is_required);
                let names: Vec<_> = K::KINDS.iter().filter(is_enough).map(|kind| kind.name).collect();
                choices.push(json!({ "enum": names }));
            }
            for kind in K::KINDS {
                let title = format!("{}, {} = \"{}\"", K::TITLE, K::KEY, kind.name);
                definitions.document(TableDoc::new(title, kind.doc, kind.keys.iter().map(KeyDoc::new)));
                let keys = C::KEYS.iter().chain(kind.keys);
                let mut schema = object_schema(keys, Some((K::KEY, kind.name)), definitions);
                schema["description"] = json!(sentence(kind.doc));
                choices.push(schema);
            }
            json!({ "oneOf": choices })
        })
    }
}

impl<K: Kinds, C: Table> Kinded<K, C> {
    fn read_as(kind: &Kind, table: At<&TableNode>, report: &mut Report) -> Option<Self> {
        let common = C::read_keys(table, report);
        let kind = K::read_kind(kind.name, table, report);
        Some(Self {
            common: common?,
            kind: kind?,
        })
    }
}

fn named_kind<K: Kinds>(table: At<&TableNode>, report: &mut Report) -> Option<&'static Kind> {
    let names: Vec<_> = K::KINDS.iter().map(|kind| kind.name).collect();
    match table.value.get(K::KEY) {
        Some(node) => match &node.value {
            Node::Text(name) => find_kind::<K>(name, node.place, report),
            other => {
                report.error(
                    node.place,
                    format!("expected {}, not {}", one_of(&names), other.describe()),
                );
                None
            }
        },
        None => {
            let message = format!(
                "missing `{}` in {}: expected {}",
                K::KEY,
                table.value.describe(),
                one_of(&names)
            );
            report.error(table.place, message);
            None
        }
    }
}

fn find_kind<K: Kinds>(name: &str, place: Place, report: &mut Report) -> Option<&'static Kind> {
    let found = K::KINDS.iter().find(|kind| kind.name == name);
    if found.is_none() {
        let names: Vec<_> = K::KINDS.iter().map(|kind| kind.name).collect();
        let hint = nearest::hint(name, names.iter().copied());
        report.error(place, format!("expected {}, not `{name}`{hint}", one_of(&names)));
    }
    found
}

fn refuse_unknown_of_kind<K: Kinds, C: Table>(table: &TableNode, kind: &Kind, report: &mut Report) {
    let keys = C::KEYS.iter().chain(kind.keys).map(|key| key.name);
    let known: Vec<_> = std::iter::once(K::KEY).chain(keys).collect();
    let elsewhere = |name: &str| {
        let has_key = |kind: &&Kind| kind.keys.iter().any(|key| key.name == name);
        let other = K::KINDS.iter().find(has_key)?;
        Some(format!("it goes with {} = \"{}\"", K::KEY, other.name))
    };
    refuse_unknown(table, &known, elsewhere, report);
}
