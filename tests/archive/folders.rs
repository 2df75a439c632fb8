//! Folders by columns.

use std::fs;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::records::NewRecord;
use crate::harness::scratch::Scratch;
use crate::harness::{duckdb, parquet};

use super::{command, content, expect_same, replay, topic_of};

/// 2026-01-31T00:00:00Z.
const START: i64 = 1_769_817_600_000;

const HOUR: i64 = 3_600_000;

/// The memory that a replay into ten thousand folders may have.
const MEMORY_KB: u64 = 512 << 10;

#[test]
fn rows_are_in_the_folders_of_their_day_topic_and_partition() {
    let topic = Broker::shared().new_topic("days", 2);
    for partition in 0..2 {
        let record = |hour: i64| NewRecord {
            timestamp: Some(START + hour * HOUR),
            ..NewRecord::of(format!("{hour}"))
        };
        Broker::shared().produce(&topic, partition, (0..30).rev().map(record));
    }
    let scratch = Scratch::new("days");
    let by = ["--partition-by", "date(timestamp),topic,partition"];
    replay(&scratch, &topic, "archive", &by);
    let file = "partition-00001-offset-00000000000000000000-00000000000000000030.parquet";
    let names: Vec<_> = content(&scratch.join("archive")).into_keys().collect();
    for day in ["2026-01-31", "2026-02-01"] {
        let name = format!("date={day}/topic={topic}/partition=1/{file}");
        assert!(names.contains(&name), "{name} of {names:?}");
    }
    assert_eq!(names.iter().filter(|name| name.ends_with(".parquet")).count(), 4);
    let sql = "SELECT CAST(date AS VARCHAR), partition, count(*), min(decode(value)), max(len(decode(value))) \
               FROM read_parquet('archive/**/*.parquet', hive_partitioning = true) GROUP BY ALL ORDER BY ALL";
    let row = |day: &str, partition: &str, rows: &str, least: &str| {
        [day, partition, rows, least, "2"].map(str::to_owned).to_vec()
    };
    let expected = [
        row("2026-01-31", "0", "24", "0"),
        row("2026-01-31", "1", "24", "0"),
        row("2026-02-01", "0", "6", "24"),
        row("2026-02-01", "1", "6", "24"),
    ];
    assert_eq!(duckdb::query(scratch.path(), sql), expected);
}

#[test]
fn threads_and_kills_change_no_byte_of_the_folders() {
    let topic = Broker::shared().new_topic("hours", 2);
    for partition in 0..2 {
        let record = |number: i64| NewRecord {
            timestamp: Some(START + number * 7919 % 40 * HOUR),
            ..NewRecord::of(format!("{number}"))
        };
        Broker::shared().produce(&topic, partition, (0..4000).map(record));
    }
    let scratch = Scratch::new("hours");
    let by = [
        "--partition-by",
        "hour(timestamp)",
        "--segment",
        "1500",
        "--file-rows",
        "600",
    ];
    let with = |more: &[&'static str]| [&by[..], more].concat();
    replay(&scratch, &topic, "one", &with(&["--threads", "1"]));
    let expected = content(&scratch.join("one"));
    replay(&scratch, &topic, "two", &with(&["--threads", "2"]));
    expect_same(&content(&scratch.join("two")), &expected);
    for place in [
        "archive_mid_publish:100",
        "archive_after_journal:3",
        "archive_before_journal:4",
    ] {
        let killed = command(&scratch, &topic, "killed", &by).env("MILLSTREAM_CRASH_AT", place);
        assert_eq!(killed.finish(PATIENCE).status.code(), None, "it was killed at {place}");
    }
    replay(&scratch, &topic, "killed", &by);
    expect_same(&content(&scratch.join("killed")), &expected);
}

#[test]
fn ten_thousand_folders_fit_the_memory_and_take_one_file_at_a_time() {
    const FOLDERS: i64 = 10_000;
    let topic = Broker::shared().new_topic("folders", 1);
    let record = |number: i64| NewRecord {
        timestamp: Some(START + number % FOLDERS * HOUR),
        ..NewRecord::of(format!("{number} {}", "x".repeat(100)))
    };
    Broker::shared().produce(&topic, 0, (0..2 * FOLDERS).map(record));
    let scratch = Scratch::new("folders");
    let by = ["--partition-by", "hour(timestamp)"];
    let mut running = command(&scratch, &topic, "archive", &by).start();
    let (mut peak_kb, archive) = (0, scratch.join("archive"));
    running.wait_until(2 * PATIENCE, "all is archived", |run| {
        peak_kb = peak_memory_kb(run.pid()).unwrap_or(peak_kb);
        archive.join("_millstream/manifest.jsonl").exists().then_some(())
    });
    running.wait(PATIENCE).expect_code(0);
    assert!(0 < peak_kb && peak_kb < MEMORY_KB, "{peak_kb} KiB");
    assert_eq!(parquet::files(&archive).len(), usize::try_from(FOLDERS).expect("few"));
    let sql = "SELECT count(*), count(DISTINCT \"offset\") FROM 'archive/**/*.parquet'";
    assert_eq!(duckdb::query(scratch.path(), sql), [["20000", "20000"]]);
}

/// Returns the most memory that a process has had, in KiB; `None` when it is gone.
fn peak_memory_kb(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn folders_that_can_not_be_are_refused_by_name() {
    let topic = topic_of("refused", 1000);
    let scratch = Scratch::new("refused");
    for (by, part) in [
        ("timestamp", "`timestamp` is a time: expected year(timestamp)"),
        ("key", "`key` is Binary, expected text"),
        ("offset", "the files of an archive need the column `offset`"),
        ("date(value)", "date() takes a time"),
        (
            "topik",
            "there is no column `topik` to make folders by: did you mean topic?",
        ),
    ] {
        let ended = command(&scratch, &topic, "archive", &["--partition-by", by]).finish(PATIENCE);
        let ended = ended.expect_code(3);
        assert!(
            ended.stderr.contains(part),
            "`{part}` is in the message: {}",
            ended.stderr
        );
    }
}
