//! The programs in `examples/`, run as a user runs them.

use std::fs;
use std::path::Path;

use crate::harness::PATIENCE;
use crate::harness::process::Run;
use crate::harness::scratch::{Scratch, root};

/// Runs an example in the project's folder; returns the lines of its output, sorted.
///
/// `cargo test` has built it. Asking cargo for it here would build ring, and all that needs it, once more: its build script depends on
/// variables that cargo sets for a test.
#[track_caller]
fn run(name: &str, arguments: &[&str]) -> Vec<String> {
    let scratch = Scratch::new("examples");
    let example = Path::new(env!("CARGO_BIN_EXE_millstream"))
        .with_file_name("examples")
        .join(name);
    assert!(
        example.exists(),
        "{} is not built: `cargo test --workspace` does, or `cargo build --examples`",
        example.display()
    );
    let ended = Run::program(example, &scratch, name)
        .in_dir(root())
        .args(arguments)
        .finish(PATIENCE)
        .expect_code(0);
    let mut lines: Vec<_> = ended.stdout.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// Returns how many lines of a file of `data/` a test holds for.
fn count_lines(file: &str, holds: impl Fn(&str) -> bool) -> usize {
    let text = fs::read_to_string(root().join("data").join(file)).expect("a sample log");
    text.lines().filter(|line| holds(line)).count()
}

#[cfg(feature = "sql")]
#[test]
fn a_scalar_function_of_ones_own_is_called_from_a_job_file() {
    let lines = run("scalar_function", &[]);
    assert_eq!(lines.len(), 3, "{lines:?}");
    for line in lines {
        let (section, hits) = line.split_once('\t').expect("a section and its hits");
        let is_in = |line: &str| {
            let path = line.split(' ').nth(6).unwrap_or_default();
            let rest = path.strip_prefix(section);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']) && section != "/")
        };
        assert_eq!(hits, count_lines("access.log", is_in).to_string(), "{section}");
    }
}

#[cfg(feature = "sql")]
#[test]
fn an_aggregate_function_of_ones_own_is_called_from_sql() {
    let text = fs::read_to_string(root().join("data/access.log")).expect("a sample log");
    let found = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let gets = found.filter(|fields| fields[5] == "\"GET" && fields[8] == "200");
    let paths = gets.map(|fields| fields[6]);
    let longest = paths.max_by_key(|path| (path.len(), std::cmp::Reverse(*path)));
    let expected = format!("GET\t{}", longest.expect("a GET that succeeded"));
    let lines = run("aggregate_function", &[]);
    assert!(lines.contains(&expected), "{expected} in {lines:?}");
}

#[test]
fn an_operator_of_ones_own_sees_every_row_once() {
    let lines = run("operator", &[]);
    let hits = lines.iter().map(|line| {
        let (host, hits) = line.split_once('\t').expect("a host and its hits");
        assert!(
            host.parse::<std::net::Ipv4Addr>().is_err() || host.ends_with(".0"),
            "{host}"
        );
        hits.parse::<usize>().expect("a count")
    });
    assert_eq!(hits.sum::<usize>(), count_lines("access.log", |_| true));
}

#[cfg(feature = "sql")]
#[test]
fn a_format_of_ones_own_makes_typed_columns() {
    let lines = run("format", &[]);
    let installs = count_lines("dpkg.log", |line| line.split(' ').nth(2) == Some("status"));
    let status = lines.iter().find(|line| line.starts_with("status\t"));
    let status = status.expect("an action that every package has");
    assert!(
        status.ends_with(&format!("\t{installs}")),
        "{status} has {installs} lines"
    );
    assert!(status.contains('T'), "{status} has a time");
}

#[test]
fn a_source_of_ones_own_is_read_to_its_end() {
    let expected = [
        "be\t2",
        "is\t1",
        "not\t1",
        "or\t1",
        "question\t1",
        "that\t1",
        "the\t1",
        "to\t2",
    ];
    assert_eq!(run("source", &[]), expected);
}

#[test]
fn a_sink_of_ones_own_makes_an_epoch_visible_once() {
    let scratch = Scratch::new("example-sink");
    let dir = scratch.join("out");
    let argument = dir.to_str().expect("a path of text");
    run("sink", &[argument]);
    let files = || {
        let entries = fs::read_dir(dir.join("counts")).expect("the folder of the sink");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths
            .map(|path| (fs::read_to_string(&path).expect("text"), path))
            .collect::<Vec<_>>()
    };
    let first = files();
    let [(text, path)] = first.as_slice() else {
        panic!("one epoch, not {first:?}");
    };
    assert!(path.ends_with("epoch-1.csv"), "{path:?}");
    assert!(text.starts_with("word,count\n"), "{text}");
    let words: usize = text
        .lines()
        .skip(1)
        .filter_map(|line| line.rsplit_once(',')?.1.parse::<usize>().ok())
        .sum();
    let log = fs::read_to_string(root().join("data/dpkg.log")).expect("a sample log");
    assert_eq!(words, log.split_ascii_whitespace().count());
    // The job has reached its end: it finishes the last commit again, and writes nothing.
    run("sink", &[argument]);
    assert_eq!(files(), first);
}
