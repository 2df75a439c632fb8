//! Replays into an archive, on the real broker: the same range gives the same folder, byte for byte, whatever the threads,
//! the client and the interruptions; and what the folder holds is what the broker has.

mod bounds;
mod determinism;
mod files;
mod folders;
mod jobs;
mod kills;
mod layouts;
mod loss;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::harness::broker::Broker;
use crate::harness::process::{Ended, Run};
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, parquet};

/// Returns a topic of two partitions with so many lines, in turns of a thousand.
#[track_caller]
pub(crate) fn topic_of(name: &str, lines: usize) -> String {
    let topic = Broker::shared().new_topic(name, 2);
    let line = |number: usize| format!("{number} {}", "x".repeat(number * 7 % 90));
    Broker::shared().produce_lines(&topic, 2, (0..lines).map(line));
    topic
}

/// Returns a replay of the topic into a folder of the scratch.
fn command(scratch: &Scratch, topic: &str, out: &str, options: &[&str]) -> Run {
    let brokers = Broker::shared().bootstrap();
    let run = Run::millstream(scratch, out).args(["replay", "--brokers", brokers, "--topic", topic, "--out", out]);
    run.args(options)
}

/// Runs a replay to its end.
#[track_caller]
fn replay(scratch: &Scratch, topic: &str, out: &str, options: &[&str]) -> Ended {
    command(scratch, topic, out, options).finish(PATIENCE).expect_code(0)
}

/// Returns all files of a folder, by name, with their content.
#[track_caller]
pub(crate) fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder that can be listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("a path below").display().to_string();
            found.insert(name, fs::read(&path).expect("a file that was listed"));
        }
    }
    found
}

/// Checks that two folders are the same, byte for byte.
#[track_caller]
pub(crate) fn expect_same(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>) {
    let names = |folder: &BTreeMap<String, Vec<u8>>| folder.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected));
    let differing = expected.iter().find(|(name, bytes)| found[*name] != **bytes);
    assert_eq!(differing.map(|(name, _)| name), None, "the bytes differ");
}

/// Returns the offsets `[from, to)` in the names of the files of a partition, in order.
#[track_caller]
fn ranges(folder: &Path, partition: i32) -> Vec<(i64, i64)> {
    let prefix = format!("partition-{partition:05}-offset-");
    let range = |path: &std::path::PathBuf| {
        let name = path
            .file_name()?
            .to_str()?
            .strip_prefix(&prefix)?
            .strip_suffix(".parquet")?;
        let (from, to) = name.split_once('-')?;
        Some((from.parse().ok()?, to.parse().ok()?))
    };
    parquet::files(folder).iter().filter_map(range).collect()
}
