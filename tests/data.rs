//! The sample logs in `data/` are the ones that `data/README.md` describes.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::harness::scratch::root;

#[test]
fn the_sample_logs_have_their_checksums() {
    let output = Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(root().join("data"))
        .output()
        .expect("sha256sum can be run");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

#[test]
fn every_sample_log_has_the_lines_that_its_table_says() {
    let data = root().join("data");
    let readme = fs::read_to_string(data.join("README.md")).expect("data/README.md is there");
    let described: BTreeMap<_, usize> = readme.lines().filter_map(table_row).collect();
    let mut counted = BTreeMap::new();
    for entry in fs::read_dir(&data).expect("data/ is there") {
        let path = entry.expect("data/ can be listed").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a UTF-8 name")
            .to_owned();
        if path
            .extension()
            .is_some_and(|extension| extension == "log" || extension == "jsonl")
        {
            let bytes = fs::read(&path).expect("a sample log can be read");
            counted.insert(name, bytes.iter().filter(|byte| **byte == b'\n').count());
        }
    }
    assert_eq!(described, counted);
}

/// Returns file and lines of a row `| name | lines | …`; the head of the table is none.
fn table_row(line: &str) -> Option<(String, usize)> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let name = cells.next()?.trim_matches('`').to_owned();
    let lines = cells.next()?.replace(',', "").parse().ok()?;
    Some((name, lines))
}
