//! What a job file may hold, for editors (JSON schema) and for people (a reference of all keys).

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::file::JobTables;
use super::form::Form;
use super::table::{Key, sentence};

/// The schemas and tables that were met so far.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    schemas: BTreeMap<&'static str, Value>,
    tables: Vec<TableDoc>,
}

/// What a table is for, and its keys.
#[derive(Debug)]
pub(super) struct TableDoc {
    title: String,
    doc: &'static str,
    keys: Vec<KeyDoc>,
}

/// What a key is for.
#[derive(Debug)]
pub(super) struct KeyDoc {
    name: &'static str,
    expected: String,
    default: &'static str,
    doc: &'static str,
}

impl Definitions {
    /// Returns a reference to the schema `name`, which is built when it is met for the first time.
    pub(super) fn define(&mut self, name: &'static str, build: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.schemas.contains_key(name) {
            self.schemas.insert(name, Value::Null);
            let schema = build(self);
            self.schemas.insert(name, schema);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    /// Adds a table to the reference.
    pub(super) fn document(&mut self, table: TableDoc) {
        self.tables.push(table);
    }
}

impl TableDoc {
    pub(super) fn new(title: String, doc: &'static str, keys: impl Iterator<Item = KeyDoc>) -> Self {
        Self {
            title,
            doc: sentence(doc),
            keys: keys.collect(),
        }
    }
}

impl KeyDoc {
    pub(super) fn new(key: &Key) -> Self {
        Self {
            name: key.name,
            expected: (key.expected)(),
            default: key.default.unwrap_or(if key.is_required { "required" } else { "" }),
            doc: sentence(key.doc),
        }
    }
}

/// Returns the JSON schema (draft 2020-12) of job files.
pub fn json_schema() -> Value {
    let mut definitions = Definitions::default();
    let root = JobTables::schema(&mut definitions);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Millstream job",
        "$ref": root["$ref"],
        "$defs": definitions.schemas,
    })
}

/// Returns every table and key of job files as Markdown.
pub fn reference() -> String {
    let mut definitions = Definitions::default();
    JobTables::schema(&mut definitions);
    let mut text = String::new();
    for table in &definitions.tables {
        write_table(&mut text, table).expect("a string takes all text");
    }
    text
}

fn write_table(text: &mut String, table: &TableDoc) -> std::fmt::Result {
    let space = if text.is_empty() { "" } else { "\n" };
    writeln!(
        text,
        "{space}### `{}`\n\n{}.",
        table.title,
        table.doc.trim_end_matches('.')
    )?;
    if table.keys.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n| key | value | default | what it does |\n|---|---|---|---|")?;
    for key in &table.keys {
        let default = match key.default {
            "" | "required" => key.default.to_owned(),
            default => format!("`{default}`"),
        };
        writeln!(text, "| `{}` | {} | {default} | {} |", key.name, key.expected, key.doc)?;
    }
    Ok(())
}
