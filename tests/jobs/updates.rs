//! Sessions in mode `update`: a topic always has the sessions as they are known so far, and tombstones for those that are no more.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::process::Run;
use crate::harness::records::{Isolation, NewRecord};
use crate::harness::scratch::Scratch;
use crate::harness::seeded::Seeded;

const JOB: &str = r#"
[source.logs]
kind = "kafka"
brokers = "BROKERS"
topic = "TOPIC"
format = "json"
columns = { user = "string", time = "timestamp" }
time = { column = "time", lateness = "1h" }

[query]
mode = "update"
sql = """
SELECT user, session(time, '10 seconds') AS start, count(*) AS n
FROM logs GROUP BY user, start HAVING count(*) > 1
"""

[sink]
kind = "kafka"
topic = "OUT"
key = ["start", "user"]

[run]
checkpoint = "state"
trigger = "1ms"
checkpoint_interval = "1ms"
batch_rows = 10
queue = "1B"
"#;

/// The gap between sessions, and what all times are spread over, in seconds.
const GAP: u64 = 10;
const SPAN: u64 = 3000;

const USERS: [&str; 3] = ["ada", "ben", "cleo"];

type Row = (&'static str, u64);

fn time(seconds: u64) -> String {
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!("2026-11-24T06:{minutes:02}:{seconds:02}.000000Z")
}

fn produce(topic: &str, rows: &[Row]) {
    let record =
        |(user, seconds): &Row| NewRecord::of(format!(r#"{{"user": "{user}", "time": "{}"}}"#, time(*seconds)));
    Broker::shared().produce(topic, 0, rows.iter().map(record));
}

/// Returns the sessions of more than one row: by start and user, the number of rows.
fn sessions(rows: &[Row]) -> BTreeMap<(String, String), u64> {
    let mut sorted = rows.to_vec();
    sorted.sort_unstable();
    let mut found: Vec<(Row, u64, u64)> = vec![];
    for (user, seconds) in sorted {
        match found.last_mut() {
            Some((first, last, count)) if first.0 == user && seconds < *last + GAP => {
                (*last, *count) = (seconds, *count + 1)
            }
            _ => found.push(((user, seconds), seconds, 1)),
        }
    }
    let of_several = found.into_iter().filter(|(_, _, count)| *count > 1);
    of_several
        .map(|((user, start), _, count)| ((time(start), user.to_owned()), count))
        .collect()
}

/// Returns what a reader of the topic has when it keeps the last value of each key, and how many tombstones there are.
fn kept(topic: &str) -> (BTreeMap<(String, String), u64>, usize) {
    let (mut kept, mut tombstones) = (BTreeMap::new(), 0);
    for record in Broker::shared().consume(topic, Isolation::ReadCommitted) {
        let key: Value = serde_json::from_slice(&record.key.expect("a key")).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let key = (text(&key["start"]), text(&key["user"]));
        match record.value {
            None => {
                tombstones += 1;
                kept.remove(&key);
            }
            Some(value) => {
                let row: Value = serde_json::from_slice(&value).expect("JSON");
                assert_eq!((text(&row["start"]), text(&row["user"])), key);
                kept.insert(key, row["n"].as_u64().expect("a number"));
            }
        }
    }
    (kept, tombstones)
}

#[test]
fn sessions_that_join_or_begin_earlier_leave_a_tombstone_and_no_other_trace() {
    let (broker, scratch) = (Broker::shared(), Scratch::new("updates"));
    let [topic, out] = ["visits", "sessions"].map(|name| broker.new_topic(name, 1));
    let job = JOB
        .replace("BROKERS", broker.bootstrap())
        .replace("TOPIC", &topic)
        .replace("OUT", &out);
    fs::write(scratch.join("job.toml"), format!("name = \"{topic}\"\n{job}"))
        .expect("the scratch folder can be written");
    let mut seeded = Seeded::new();
    let row = |seeded: &mut Seeded| {
        let user = usize::try_from(seeded.in_range(0..USERS.len() as u64)).expect("a place in a short list");
        (USERS[user], seeded.in_range(0..SPAN))
    };
    let rows: Vec<Row> = (0..600).map(|_| row(&mut seeded)).collect();
    let run = |end: usize| {
        let end = format!("0:{end}");
        Run::millstream(&scratch, "millstream").args(["run", "job.toml", "--to", &end])
    };
    let mut done = 0;
    for point in ["after_prepare", "after_commit", "mid_commit"] {
        let more = &rows[done..done + 200];
        produce(&topic, more);
        done += more.len();
        let crashed = run(done).env("MILLSTREAM_CRASH_AT", point).finish(PATIENCE);
        assert!(crashed.status.code().is_none(), "{point} is passed: {}", crashed.stderr);
        run(done).finish(PATIENCE).expect_code(0);
        let (kept, tombstones) = kept(&out);
        assert_eq!(kept, sessions(&rows[..done]), "after {done} rows");
        assert!(tombstones > 0 || done == 200, "sessions of {done} rows have joined");
    }
}

#[test]
fn sessions_are_updated_only_where_they_can_be_taken_back() {
    let scratch = Scratch::new("updates-refused");
    let refused = |from: &str, to: &str, part: &str| {
        let job = JOB.replace("BROKERS", "localhost:9092").replace(from, to);
        fs::write(scratch.join("job.toml"), job).expect("the scratch folder can be written");
        let ended = Run::millstream(&scratch, "check")
            .args(["check", "job.toml"])
            .finish(PATIENCE);
        let ended = ended.expect_code(3);
        assert!(ended.stderr.contains(part), "`{part}` is in:\n{}", ended.stderr);
    };
    let expected = "use a Kafka sink with key = [\"user\", \"start\"], or mode append";
    refused("key = [\"start\", \"user\"]", "key = [\"user\"]", expected);
    refused(
        "kind = \"kafka\"\ntopic = \"OUT\"\nkey = [\"start\", \"user\"]",
        "kind = \"console\"",
        expected,
    );
    refused(
        "SELECT user, session",
        "SELECT session",
        "put every column of GROUP BY into SELECT",
    );
}
