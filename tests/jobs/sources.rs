//! Several sources in one job, on a real broker: each record once, whatever it was read from and wherever the job was killed.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::duckdb;
use crate::harness::process::Run;
use crate::harness::records::{Isolation, NewRecord};
use crate::harness::scratch::Scratch;

/// Two topics and a file, each in its own format; `all` and `minutes` read all of them, `errors` one.
const JOB: &str = r#"
[source.web]
kind = "kafka"
brokers = "BROKERS"
topic = "WEB"
format = "json"
columns = { id = "int", time = "timestamp" }
time = { column = "time", lateness = "1s" }

[source.app]
kind = "kafka"
brokers = "BROKERS"
topic = "APP"
format = "logfmt"
columns = { number = "int", ts = "timestamp", level = "string" }
time = { column = "ts", lateness = "5s" }

[source.old]
kind = "file"
paths = "old-*.csv"
format = "csv"
columns = { id = "int", time = "timestamp" }
time = { column = "time" }

[query.all]
sql = """
SELECT 'web' AS source, id FROM web UNION ALL SELECT 'app', number FROM app UNION ALL SELECT 'old', id FROM old
"""
sink = { kind = "kafka", topic = "OUT", key = ["source"] }

[query.minutes]
mode = "append"
sql = """
SELECT tumble(time, '1 minute') AS minute, count(*) AS n
FROM (SELECT time FROM web UNION ALL SELECT ts FROM app UNION ALL SELECT time FROM old)
GROUP BY minute
"""
sink = { kind = "parquet", dir = "minutes" }

[query.errors]
sql = "SELECT number FROM app WHERE level = 'error'"
sink = { kind = "file", path = "errors.csv", format = "csv" }

[dead_letter]
kind = "kafka"
topic = "BAD"

[run]
checkpoint = "state"
trigger = "1ms"
checkpoint_interval = "1ms"
batch_rows = 20
queue = "1B"                           # so that an epoch is a few batches, and there is one left to be killed in
"#;

/// Rows of each source; every hundredth record of `app` is garbage.
const ROWS: usize = 1000;

/// The topics of one test.
struct Topics {
    web: String,
    app: String,
    out: String,
    bad: String,
}

/// The time of a row: all sources cover the same ten minutes.
fn time(number: usize) -> String {
    let seconds = number * 600 / ROWS;
    format!("2026-11-24T06:{:02}:{:02}Z", seconds / 60, seconds % 60)
}

/// Returns the record of a row of `app`; a hundredth of them are none.
fn app(number: usize) -> String {
    let level = if number.is_multiple_of(10) { "error" } else { "info" };
    match number % 100 {
        99 => format!("number={number} ts=never"),
        _ => format!("number={number} ts={} level={level}", time(number)),
    }
}

/// Writes the input of all three sources, and the job.
fn prepare(scratch: &Scratch) -> Topics {
    let broker = Broker::shared();
    let [web, app_topic, out, bad] = ["web", "app", "out", "bad"].map(|name| broker.new_topic(name, 2));
    for partition in 0..2_usize {
        let numbers = || (0..ROWS).filter(move |number| number % 2 == partition);
        let number = i32::try_from(partition).expect("0 or 1");
        let record = |number| NewRecord::of(format!(r#"{{"id": {number}, "time": "{}"}}"#, time(number)));
        broker.produce(&web, number, numbers().map(record));
        broker.produce(&app_topic, number, numbers().map(|number| NewRecord::of(app(number))));
        let lines: String = numbers().map(|number| format!("{number},{}\n", time(number))).collect();
        fs::write(scratch.join(format!("old-{partition}.csv")), lines).expect("the scratch folder can be written");
    }
    let topics = Topics {
        web,
        app: app_topic,
        out,
        bad,
    };
    let job = JOB
        .replace("BROKERS", broker.bootstrap())
        .replace("WEB", &topics.web)
        .replace("APP", &topics.app)
        .replace("OUT", &topics.out)
        .replace("BAD", &topics.bad);
    let job = format!("name = \"{}\"\n{job}", topics.web);
    fs::write(scratch.join("job.toml"), job).expect("the scratch folder can be written");
    topics
}

fn run(scratch: &Scratch, threads: usize) -> Run {
    let threads = format!("run.threads={threads}");
    let arguments = ["run", "job.toml", "--to", "latest", "--set", &threads];
    Run::millstream(scratch, "millstream").args(arguments)
}

/// Compares all that was written with what was read.
#[track_caller]
fn check(scratch: &Scratch, topics: &Topics) {
    let broker = Broker::shared();
    let mut found: BTreeMap<(String, i64), usize> = BTreeMap::new();
    for record in broker.consume(&topics.out, Isolation::ReadCommitted) {
        let row: Value = serde_json::from_slice(&record.value.expect("a row")).expect("JSON");
        let source = row["source"].as_str().expect("a name").to_owned();
        *found
            .entry((source, row["id"].as_i64().expect("a number")))
            .or_default() += 1;
    }
    let good = |number: &usize| number % 100 != 99;
    let of = |source: &str, numbers: Vec<usize>| {
        let entry = |number| ((source.to_owned(), i64::try_from(number).expect("small")), 1);
        numbers.into_iter().map(entry).collect::<Vec<_>>()
    };
    let all: Vec<_> = (0..ROWS).collect();
    let goods: Vec<_> = all.iter().copied().filter(good).collect();
    let expected: BTreeMap<_, _> = [of("web", all.clone()), of("old", all.clone()), of("app", goods.clone())]
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(found, expected, "each row of each source once");

    let bad = broker.consume(&topics.bad, Isolation::ReadCommitted).len();
    assert_eq!(bad, ROWS - goods.len(), "each bad record is one dead letter");

    let mut minutes: BTreeMap<String, usize> = BTreeMap::new();
    for numbers in [&all, &all, &goods] {
        for number in numbers {
            *minutes.entry(time(*number)[..16].replace('T', " ")).or_default() += 1;
        }
    }
    let minutes: Vec<_> = minutes
        .into_iter()
        .map(|(minute, n)| vec![minute, n.to_string()])
        .collect();
    let sql = "SELECT strftime(minute, '%Y-%m-%d %H:%M'), n FROM 'minutes/*.parquet' ORDER BY 1";
    assert_eq!(
        duckdb::query(scratch.path(), sql),
        minutes,
        "each minute once, with the rows of all sources"
    );

    let text = fs::read_to_string(scratch.join("errors.csv")).expect("the file of the errors");
    let mut errors: Vec<usize> = text
        .lines()
        .skip(1)
        .map(|line| line.parse().expect("a number"))
        .collect();
    errors.sort_unstable();
    let is_error = |number: &usize| number.is_multiple_of(10);
    assert_eq!(errors, goods.into_iter().filter(is_error).collect::<Vec<_>>());

    // One group holds the offsets of both topics, of the same epoch.
    let group = format!("millstream-{}", topics.web);
    let mut epochs = vec![];
    for topic in [&topics.web, &topics.app] {
        for (committed, bounds) in broker.committed(&group, topic).iter().zip(broker.bounds(topic)) {
            assert_eq!(committed.offset, Some(bounds.end), "{topic}");
            epochs.push(committed.metadata.clone());
        }
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 1, "{epochs:?}");
}

#[test]
fn rows_of_two_topics_and_a_file_are_written_once_each_wherever_the_job_is_killed() {
    let points = [
        "mid_epoch",
        "after_prepare",
        "after_store_rename",
        "mid_commit",
        "between_commits",
        "after_commit",
    ];
    for threads in [1, 2] {
        let scratch = Scratch::new("sources");
        let topics = prepare(&scratch);
        for point in points {
            let crashed = run(&scratch, threads)
                .env("MILLSTREAM_CRASH_AT", format!("{point}:1"))
                .finish(PATIENCE);
            assert!(crashed.status.code().is_none(), "{point} is passed: {}", crashed.stderr);
        }
        run(&scratch, threads).finish(PATIENCE).expect_code(0);
        check(&scratch, &topics);
    }
}

#[test]
fn a_live_job_ends_its_epochs_over_all_sources_and_tells_of_each() {
    let scratch = Scratch::new("sources-live");
    let topics = prepare(&scratch);
    let arguments = ["run", "job.toml", "--progress", "json"];
    let mut live = Run::millstream(&scratch, "live").args(arguments).start();
    let told = |text: &str| -> [u64; 3] {
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut rows = [0; 3];
        for line in lines {
            for (source, rows) in rows
                .iter_mut()
                .enumerate()
                .map(|(index, rows)| (&line["sources"][index], rows))
            {
                *rows += source["numInputRows"].as_u64().unwrap_or(0);
            }
        }
        rows
    };
    let all = u64::try_from(ROWS).expect("small");
    live.wait_until(PATIENCE, "every source has told of all of its rows", |run| {
        (told(&run.stderr()) == [all; 3]).then_some(())
    });
    live.signal("TERM");
    let stderr = live.wait(PATIENCE).expect_code(0).stderr;
    let last: Value = stderr
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .next_back()
        .expect("a line");
    let ends = |source: usize| {
        last["sources"][source]["endOffset"]
            .as_object()
            .expect("offsets")
            .clone()
    };
    assert_eq!(ends(0).keys().collect::<Vec<_>>(), [&topics.web]);
    assert_eq!(ends(1).keys().collect::<Vec<_>>(), [&topics.app]);
    assert_eq!(ends(2).len(), 2, "both files: {last}");
    run(&scratch, 2).finish(PATIENCE).expect_code(0);
    check(&scratch, &topics);
}

/// Runs a job of two sources that differ in how they name a topic.
#[track_caller]
fn refused(second: &str, part: &str) {
    let scratch = Scratch::new("sources-refused");
    let topic = Broker::shared().new_topic("twice", 1);
    let brokers = Broker::shared().bootstrap();
    let job = format!(
        "[source.a]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{topic}\"\n\
         [source.b]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\n{}\n\
         [query]\nsql = \"SELECT line FROM a UNION ALL SELECT line FROM b\"\n[sink]\nkind = \"console\"\n",
        second.replace("TOPIC", &topic)
    );
    fs::write(scratch.join("job.toml"), job).expect("the scratch folder can be written");
    let ended = Run::millstream(&scratch, "millstream")
        .args(["run", "job.toml"])
        .finish(PATIENCE)
        .expect_code(3);
    let part = part.replace("TOPIC", &topic);
    assert!(ended.stderr.contains(&part), "`{part}` is in:\n{}", ended.stderr);
}

#[test]
fn a_topic_that_two_sources_read_is_refused_by_name() {
    refused("topic = \"TOPIC\"", "the topic TOPIC is read by [source.a] too");
    // What a pattern matches is known to the brokers only.
    let expected = "two sources of the job read TOPIC[0]: a topic or file is read by one source";
    refused("topic_pattern = \"^TOPIC$\"", expected);
}

#[test]
fn tap_asks_which_source_of_a_job_is_meant() {
    let scratch = Scratch::new("sources-tap");
    let topics = prepare(&scratch);
    let tap = |arguments: &[&str]| {
        let run = Run::millstream(&scratch, "tap").args(["tap", "--job", "job.toml", "--last", "1"]);
        run.args(arguments).finish(PATIENCE)
    };
    let ended = tap(&[]).expect_code(3);
    assert!(
        ended
            .stderr
            .contains("the job has several sources: say which with --source: web, app"),
        "{}",
        ended.stderr
    );
    let shown = tap(&["--source", "app"]);
    assert!(shown.stdout.contains("number"), "{}{}", shown.stdout, shown.stderr);
    let shown = tap(&[&topics.web]).expect_code(0).stdout;
    assert!(shown.contains("id") && shown.contains("999"), "{shown}");
    let ended = tap(&["--source", "old"]).expect_code(3);
    assert!(
        ended.stderr.contains("no Kafka source `old`; it has: web, app"),
        "{}",
        ended.stderr
    );
}
