//! What a job does with what it can't use: garbage among the lines, rows that come too late, a statement that is wrong.

use std::collections::BTreeMap;
use std::fs;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::duckdb;
use crate::harness::process::{Run, Running};
use crate::harness::records::{Isolation, NewRecord};
use crate::harness::scratch::Scratch;
use crate::harness::seeded::Seeded;

use super::logs;

/// An archive of requests, and a topic of what is none.
const ARCHIVE: &str = r#"[source.logs]
kind = "kafka"
brokers = "localhost:9092"
topic = "nginx"
from = "earliest"
format = "combined"
max_error_ratio = 0.05

[query]
sql = """
SELECT host, status, bytes,
       partition, offset
FROM logs
"""

[sink]
kind = "parquet"
dir = "out"

[dead_letter]
kind = "kafka"
topic = "nginx-bad"

[run]
checkpoint = "state"
"#;

/// What is no line of an access log: invalid UTF-8, nothing at all, a line that is cut off.
const GARBAGE: [&[u8]; 4] = [
    b"\xff\xfe\x00",
    b"",
    b"127.0.0.1 - - [24/Nov/2026:06:30:16 +0000] \"GET /",
    b"{\"time\": \"2026-11-24T06:30:16Z\"}",
];

/// Prepares a run of a job file of this text, from a topic to its end, with a topic for its dead letters.
fn prepare(scratch: &Scratch, job: &str, topic: &str, dead_letters: &str) -> Run {
    fs::write(scratch.join("job.toml"), job).expect("the scratch folder can be written");
    let settings = [
        format!("source.logs.brokers={}", Broker::shared().bootstrap()),
        format!("source.logs.topic={topic}"),
        format!("source.logs.group={topic}"),
        format!("dead_letter.topic={dead_letters}"),
    ];
    let run = Run::millstream(scratch, "millstream").args(["run", "job.toml"]);
    settings
        .into_iter()
        .fold(run, |run, setting| run.args(["--set".to_owned(), setting]))
}

/// Writes lines to two partitions, one of `every` of them garbage, and returns where that is and what it is.
fn write(topic: &str, count: usize, every: u64) -> BTreeMap<(i32, i64), Vec<u8>> {
    let mut garbage = BTreeMap::new();
    let mut partitions = [vec![], vec![]];
    let mut seeded = Seeded::new();
    for (number, line) in logs::access(count, 1).into_iter().enumerate() {
        let partition = number % 2;
        let mut value = line.into_bytes();
        if seeded.in_range(0..every) == 0 {
            value = GARBAGE[number / 2 % GARBAGE.len()].to_vec();
            let place = (i32::try_from(partition).expect("0 or 1"), partitions[partition].len());
            garbage.insert((place.0, i64::try_from(place.1).expect("an offset")), value.clone());
        }
        partitions[partition].push(NewRecord::of(value));
    }
    for (partition, records) in (0..).zip(partitions) {
        Broker::shared().produce(topic, partition, records);
    }
    garbage
}

#[test]
fn garbage_goes_to_the_dead_letters_count_for_count_and_all_else_comes_through() {
    let (broker, scratch) = (Broker::shared(), Scratch::new("garbage"));
    let (topic, dead_letters) = (broker.new_topic("garbage", 2), broker.new_topic("bad", 1));
    let garbage = write(&topic, 4000, 100);
    let run = || prepare(&scratch, ARCHIVE, &topic, &dead_letters).args(["--to", "latest", "--set", "run.trigger=1ms"]);
    // Killed once on the way: a dead letter is no more written twice than a row.
    let crashed = run().env("MILLSTREAM_CRASH_AT", "after_prepare").finish(PATIENCE);
    assert!(crashed.status.code().is_none(), "{}", crashed.stderr);
    run().finish(PATIENCE).expect_code(0);

    let mut found = BTreeMap::new();
    let letters = broker.consume(&dead_letters, Isolation::ReadCommitted);
    for letter in &letters {
        let letter = letter.value.as_ref().expect("no tombstone");
        let letter: serde_json::Value = serde_json::from_slice(letter).expect("a dead letter in JSON");
        assert_eq!(letter["topic"], topic.as_str());
        assert!(
            letter["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
            "{letter}"
        );
        let number = |name: &str| letter[name].as_i64().expect("a number");
        let place = (i32::try_from(number("partition")).expect("0 or 1"), number("offset"));
        found.insert(place, letter["value"].as_str().expect("a value").to_owned());
    }
    assert_eq!(letters.len(), garbage.len(), "each bad line once");
    assert_eq!(found.keys().collect::<Vec<_>>(), garbage.keys().collect::<Vec<_>>());
    assert!(!garbage.is_empty());
    let counts = "SELECT count(*), count(DISTINCT (partition, \"offset\")), count(host) FROM 'out/**/*.parquet'";
    let good = (4000 - garbage.len()).to_string();
    assert_eq!(
        duckdb::query(scratch.path(), counts),
        [[&good, &good, &good].map(String::clone)]
    );
}

#[test]
fn more_garbage_than_is_tolerated_ends_the_job_with_its_own_exit_code() {
    let (broker, scratch) = (Broker::shared(), Scratch::new("too-much-garbage"));
    let (topic, dead_letters) = (broker.new_topic("garbage", 2), broker.new_topic("bad", 1));
    write(&topic, 4000, 8);
    let run = || prepare(&scratch, ARCHIVE, &topic, &dead_letters).args(["--to", "latest"]);
    let ended = run().finish(PATIENCE).expect_code(5);
    let expected = "rows could not be decoded: more than the share of 0.05 that max_error_ratio allows";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    run()
        .args(["--set", "source.logs.max_error_ratio=0.5"])
        .finish(PATIENCE)
        .expect_code(0);
}

/// Runs a count of the hits of each minute, live, over lines of which three are late, and expects what comes of those that are
/// not. Returns the topic, and that of the dead letters.
fn run_with_late_rows(scratch: &Scratch, late: &str) -> (String, String) {
    let broker = Broker::shared();
    let (topic, dead_letters) = (broker.new_topic("late", 1), broker.new_topic("bad", 1));
    let job = ARCHIVE
        .replace(
            "format = ",
            "time = { column = \"time\", lateness = \"30s\" }\nformat = ",
        )
        .replace("[query]\n", &format!("[query]\nlate = \"{late}\"\n"))
        .replace(
            "SELECT host, status, bytes,\n       partition, offset\nFROM logs",
            "SELECT tumble(time, '1 minute') AS minute, count(*) AS hits FROM logs GROUP BY minute",
        );
    let write = |times: &[&str], end: i64, running: &mut Running| {
        broker.produce(&topic, 0, times.iter().map(|time| NewRecord::of(line_at(time))));
        running.wait_until(PATIENCE, "the lines are taken in", |_| {
            (broker.committed(&topic, &topic)[0].offset == Some(end)).then_some(())
        });
    };
    let hurry = ["--set", "run.trigger=10ms", "--set", "run.checkpoint_interval=20ms"];
    let mut running = prepare(scratch, &job, &topic, &dead_letters).args(hurry).start();
    write(&["06:00:10", "06:00:05", "06:10:00"], 3, &mut running);
    write(
        &["06:00:59", "06:20:00", "06:05:00", "06:00:00", "06:30:00"],
        8,
        &mut running,
    );
    running.signal("TERM");
    let ended = running.wait(PATIENCE).expect_code(0);
    // What was only out of order, 06:00:05, is not among them.
    assert!(ended.stderr.contains("; 3 late\n"), "{}", ended.stderr);

    // The last minute is still open.
    let found = "SELECT strftime(make_timestamp(epoch_us(minute)), '%H:%M'), hits FROM 'out/**/*.parquet' ORDER BY ALL";
    let expected = [["06:00", "2"], ["06:10", "1"], ["06:20", "1"]];
    assert_eq!(
        duckdb::query(scratch.path(), found),
        expected.map(|row| row.map(str::to_owned))
    );
    (topic, dead_letters)
}

fn line_at(time: &str) -> String {
    format!(r#"h - - [24/Nov/2026:{time} +0000] "GET /a HTTP/1.1" 404 5 "-" "-""#)
}

#[test]
fn late_rows_are_counted_to_the_row_and_left_out() {
    let scratch = Scratch::new("late");
    let (_, dead_letters) = run_with_late_rows(&scratch, "drop");
    assert_eq!(Broker::shared().consume(&dead_letters, Isolation::ReadCommitted), []);
}

#[test]
fn late_rows_are_dead_letters_row_for_row_if_the_query_says_so() {
    let scratch = Scratch::new("late-letters");
    let (topic, dead_letters) = run_with_late_rows(&scratch, "dead_letter");
    let letters = Broker::shared().consume(&dead_letters, Isolation::ReadCommitted);
    let letters: Vec<serde_json::Value> = letters
        .iter()
        .map(|letter| serde_json::from_slice(letter.value.as_ref().expect("no tombstone")).expect("JSON"))
        .collect();
    let found: Vec<_> = letters
        .iter()
        .map(|letter| {
            assert_eq!(
                (&letter["topic"], &letter["partition"]),
                (&topic.as_str().into(), &0.into())
            );
            assert_eq!(letter["reason"], "late for the query `query`");
            assert!(letter["timestamp"].is_string(), "{letter}");
            (
                letter["offset"].as_i64().expect("an offset"),
                letter["value"].as_str().expect("a value").to_owned(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (3, line_at("06:00:59")),
            (5, line_at("06:05:00")),
            (6, line_at("06:00:00"))
        ]
    );
}

#[test]
fn an_unknown_column_is_shown_where_it_stands_in_the_job_file() {
    let scratch = Scratch::new("unknown-column");
    let job = ARCHIVE.replace("partition, offset", "partition, ofset");
    let ended = prepare(&scratch, &job, "none", "none").finish(PATIENCE).expect_code(3);
    for part in [
        "job.toml:12:19: ",
        "ofset",
        "\n   |\n12 |        partition, ofset\n   |                   ^",
        "millstream: job.toml: 1 error\n",
    ] {
        assert!(ended.stderr.contains(part), "`{part}` is in:\n{}", ended.stderr);
    }
}
