//! DuckDB, which shares no code with the program: what it finds in Parquet files is what is in them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::scratch::{root, target};

const NEEDED: &str = "the tests need Python 3 with pip: apt-get install python3 python3-pip";

/// Prints the rows that the query in the first argument gives, columns separated by tabs.
const SCRIPT: &str = r#"
import sys, duckdb
duckdb.sql("SET enable_progress_bar = false")
for row in duckdb.sql(sys.argv[1]).fetchall():
    print(*row, sep="\t")
"#;

/// Returns the rows of a query; each column as Python prints it. The query reads files below `folder` by relative names.
///
/// DuckDB is fetched if it is not there yet.
///
/// # Panics
/// When it can't be fetched, or the query fails; the message shows why.
#[track_caller]
pub(crate) fn query(folder: &Path, sql: &str) -> Vec<Vec<String>> {
    static PACKAGES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let packages = PACKAGES
        .get_or_init(fetch)
        .as_ref()
        .unwrap_or_else(|problem| panic!("{problem}"));
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT, sql]).stdin(Stdio::null());
    // Words need not be in the encoding of the caller's locale.
    python.env("PYTHONPATH", packages).env("PYTHONIOENCODING", "utf-8");
    let output = python
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("{NEEDED} ({error})"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "DuckDB failed at {sql}\n{complaint}");
    let text = String::from_utf8(output.stdout).expect("Python prints UTF-8");
    let columns = |line: &str| line.split('\t').map(str::to_owned).collect();
    text.lines().map(columns).collect()
}

fn fetch() -> Result<PathBuf, String> {
    let packages = target().join("duckdb");
    let script = root().join("scripts/fetch-duckdb.sh");
    let output = Command::new(&script)
        .arg(&packages)
        .output()
        .map_err(|error| format!("cannot run {}: {error}", script.display()))?;
    match output.status.success() {
        true => Ok(packages),
        false => Err(format!("{NEEDED}\n{}", String::from_utf8_lossy(&output.stderr))),
    }
}
