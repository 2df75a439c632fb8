//! Resident memory: of a long word count, and of one whose output nobody takes.

use std::collections::HashSet;
use std::process::Stdio;
use std::time::Duration;

use super::Size;
use super::lines::line;
use super::program::Program;
use super::table::Table;
use crate::harness::broker::Broker;
use crate::harness::scratch::Scratch;
use crate::topic::Topic;

/// What a stalled program may grow by, in MiB: pages of buffers that were there before and are touched only now.
const GROWTH_MIB: f64 = 2.0;

pub(crate) fn measure(size: Size, table: &mut Table) {
    let broker = Broker::shared();
    let topic = Topic::new(broker, size.messages_for_memory, "uncompressed");
    let content = format!("{} messages, {} words", topic.messages, distinct_words(topic.messages));
    let count = [
        "wordcount",
        "--quiet",
        "--brokers",
        broker.bootstrap(),
        "--topic",
        &topic.name,
    ];
    let to_end: Vec<_> = count.iter().copied().chain(["--to", "latest"]).collect();
    let updates = Program::start(&to_end, Stdio::null()).wait_for_peak();
    table.add(
        "peak memory, word count, updates every second",
        format!("{updates:.0} MiB"),
        &content,
    );
    table.bar("< 300 MB", updates * 1.048_576 < 300.0);
    let scratch = Scratch::new("figures-memory");
    let out = format!("parquet:{}", scratch.join("counts").display());
    let to_parquet: Vec<_> = to_end.iter().copied().chain(["--out", &out]).collect();
    let complete = Program::start(&to_parquet, Stdio::null()).wait_for_peak();
    table.add(
        "peak memory, word count, table in Parquet",
        format!("{complete:.0} MiB"),
        &content,
    );
    table.bar("< 300 MB", complete * 1.048_576 < 300.0);
    stalled(&count, size, table);
}

/// Watches a word count whose output goes to a pipe that is full.
fn stalled(arguments: &[&str], size: Size, table: &mut Table) {
    let mut program = Program::start(arguments, Stdio::piped());
    let _pipe = program.take_stdout();
    program.wait_until_quiet();
    let look = || program.memory_mib("VmRSS").expect("it runs");
    let first = look();
    let mut most = first;
    for _ in 0..size.stall_seconds {
        std::thread::sleep(Duration::from_secs(1));
        most = most.max(look());
    }
    let figure = format!("{first:.0} MiB, at most {most:.0} MiB in {} s", size.stall_seconds);
    table.add("memory with a stalled sink", figure, "");
    table.bar("flat", most - first < GROWTH_MIB);
}

fn distinct_words(lines: u64) -> usize {
    let mut words = HashSet::new();
    let mut text = Vec::new();
    for number in 0..lines {
        text.clear();
        line(number, &mut text);
        for word in text.split(|&byte| byte == b' ') {
            if !words.contains(word) {
                words.insert(word.to_vec());
            }
        }
    }
    words.len()
}
