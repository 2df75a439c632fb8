//! The README's tables are those of the registries. `UPDATE=1` rewrites them.

use std::fs;
use std::path::Path;

use millstream::connectors::decode;
use millstream::engine::{aggregate, operator};
use millstream::{cli, connectors};

/// Returns the README with the text between the marks of `table` replaced.
fn with_table(readme: &str, table: &str, rows: &str) -> String {
    let (start, end) = (format!("<!-- {table} -->\n"), format!("<!-- end of {table} -->"));
    let (before, rest) = readme
        .split_once(&start)
        .unwrap_or_else(|| panic!("README.md has the mark {start}"));
    let (_, after) = rest
        .split_once(&end)
        .unwrap_or_else(|| panic!("README.md has the mark {end}"));
    format!("{before}{start}{rows}{end}{after}")
}

fn verbs_table() -> String {
    let mut rows = "| verb | what it does |\n|---|---|\n".to_owned();
    for verb in cli::command().get_subcommands() {
        let about = verb.get_about().expect("a verb says what it does");
        rows.push_str(&format!("| `millstream {}` | {about} |\n", verb.get_name()));
    }
    rows
}

fn connectors_table() -> String {
    let mut rows = "| connector | reads | writes |\n|---|---|---|\n".to_owned();
    for entry in connectors::registry::ENTRIES {
        rows.push_str(&format!("| {} | {} | {} |\n", entry.name, entry.reads, entry.writes));
    }
    rows
}

fn operators_table() -> String {
    let mut rows = "| operator | what it gives |\n|---|---|\n".to_owned();
    for entry in operator::registry::ENTRIES {
        rows.push_str(&format!("| {} | {} |\n", entry.name, entry.summary));
    }
    rows
}

fn formats_table() -> String {
    let mut rows = "| format | what it is | columns |\n|---|---|---|\n".to_owned();
    for entry in decode::registry::ENTRIES {
        rows.push_str(&format!("| {} | {} | {} |\n", entry.name, entry.summary, entry.columns));
    }
    rows
}

fn aggregates_table() -> String {
    let mut rows = "| aggregate | what it gives |\n|---|---|\n".to_owned();
    for entry in aggregate::registry::ENTRIES {
        rows.push_str(&format!("| `{}` | {} |\n", entry.usage, entry.summary));
    }
    rows
}

#[test]
fn the_tables_are_those_of_the_registries() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("the README");
    let mut expected = readme.clone();
    for (table, rows) in [
        ("verbs", verbs_table()),
        ("connectors", connectors_table()),
        ("operators", operators_table()),
        ("formats", formats_table()),
        ("aggregates", aggregates_table()),
    ] {
        expected = with_table(&expected, table, &rows);
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &expected).expect("the README can be written");
    }
    let current = fs::read_to_string(&path).expect("the README");
    assert!(
        current == expected,
        "the README's tables are old: UPDATE=1 cargo test --test main readme"
    );
}

#[test]
fn every_connector_folder_is_in_the_registry() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/src");
    for entry in fs::read_dir(folder).expect("the connectors' folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_connector = entry.path().is_dir() && !["encode", "decode"].contains(&name.as_str());
        let known = connectors::registry::ENTRIES.iter().any(|entry| entry.name == name);
        assert!(
            !is_connector || known,
            "{name} has a line in connectors/src/registry.rs"
        );
    }
}
