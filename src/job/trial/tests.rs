//! Tests of jobs that hold, and the words of those that do not.

use super::*;
use crate::job::build::SqlAnalysis;
use crate::job::{JobFile, Overrides};

const LOGFMT: &str = r#"
[source.logs]
kind = "kafka"
brokers = "localhost:9092"
topic = "app"
format = "logfmt"
columns = { time = "timestamp", level = "string", ms = "float" }
time = { column = "time", lateness = "10s" }
"#;

const BY_MINUTE: &str = r#"
[query]
mode = "append"
sql = "SELECT tumble(time, '1 minute') AS minute, level, count(*) AS hits FROM logs GROUP BY minute, level"
[sink]
kind = "console"
[[test]]
name = "t"
"#;

/// Four lines: the third is a minute ahead, the fourth belongs to the first minute.
const LINES: &str = r#"
input.logs = """
time=2026-01-01T00:00:10Z level=info
time=2026-01-01T00:00:20Z level=warn
time=2026-01-01T00:01:30Z level=info
time=2026-01-01T00:00:30Z level=info
"""
"#;

/// Runs the first test of a job and returns what is not as expected.
#[track_caller]
fn differences(job: &[&str]) -> String {
    let overrides = Overrides::default();
    let file = JobFile::from_text("job.toml", job.concat(), &overrides);
    let plan = file
        .check(Some(&SqlAnalysis::default()))
        .unwrap_or_else(|errors| panic!("{errors}"));
    match run(&plan, &plan.tests[0]) {
        Ok(differences) => differences.join("\n"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(job: &[&str], expected: &str) {
    assert_eq!(differences(job), expected.trim_matches('\n'));
}

#[test]
fn an_input_that_ends_closes_all_windows() {
    let expect = r#"
expect.query = [
    { minute = 2026-01-01T00:00:00Z, level = "info", hits = 2 },
    { minute = 2026-01-01T00:00:00Z, level = "warn", hits = 1 },
    { minute = 2026-01-01T00:01:00Z, level = "info", hits = 1 },
]
late = 0
"#;
    check(&[LOGFMT, BY_MINUTE, LINES, expect], "");
}

#[test]
fn with_a_watermark_only_windows_that_it_has_passed_are_closed() {
    let expect = r#"
watermark = 2026-01-01T00:01:20Z
expect.query = [
    { minute = 2026-01-01T00:00:00Z, level = "info", hits = 2 },
    { minute = 2026-01-01T00:00:00Z, level = "warn", hits = 1 },
]
"#;
    check(&[LOGFMT, BY_MINUTE, LINES, expect], "");
}

#[test]
fn row_by_row_a_row_of_a_closed_window_is_late() {
    let expect = r#"
micro_batch_rows = 1
watermark = 2026-01-01T00:01:20Z
expect.query = [
    { minute = 2026-01-01T00:00:00Z, level = "info", hits = 1 },
    { minute = 2026-01-01T00:00:00Z, level = "warn", hits = 1 },
]
late = 1
"#;
    check(&[LOGFMT, BY_MINUTE, LINES, expect], "");
}

#[test]
fn the_slowest_partition_holds_the_watermark() {
    let records = r#"
input.logs = [
    { value = "time=2026-01-01T00:00:10Z level=info", partition = 0 },
    { value = "time=2026-01-01T00:05:00Z level=info", partition = 1 },
    { value = "time=2026-01-01T00:00:40Z level=info", partition = 0 },
]
micro_batch_rows = 1
watermark = 2026-01-01T00:00:30Z
expect.query = []
late = 0
"#;
    check(&[LOGFMT, BY_MINUTE, records], "");
}

#[test]
fn a_difference_shows_each_missing_row_beside_the_one_that_is_most_like_it() {
    let expect = r#"
watermark = 2026-01-01T00:00:00Z
late = 3
expect.query = [
    { minute = 2026-01-01T00:00:00Z, level = "info", hits = 2 },
    { minute = 2026-01-01T00:00:00Z, level = "warn", hits = 7 },
    { minute = 2026-01-01T00:09:00Z, level = "none", hits = 8 },
]
"#;
    check(
        &[LOGFMT, BY_MINUTE, LINES, expect],
        "
expect.query: 1 of 3 rows as expected, 2 missing (-), 1 not expected (+)
    minute                level  hits
  - 2026-01-01T00:00:00Z  warn   7
  + 2026-01-01T00:00:00Z  warn   1
  - 2026-01-01T00:09:00Z  none   8
late: expected 3, got 0
watermark: expected 2026-01-01T00:00:00Z, got 2026-01-01T00:01:20Z
",
    );
}

#[test]
fn columns_that_no_row_names_are_not_compared_and_unknown_ones_are_refused() {
    let named = "expect.query = [{ hits = 1 }, { hits = 1 }, { hits = 2 }]\n";
    check(&[LOGFMT, BY_MINUTE, LINES, named], "");
    let unknown = "expect.query = [{ hit = 1 }]\n";
    check(
        &[LOGFMT, BY_MINUTE, LINES, unknown],
        "expect.query: there is no column `hit`; the columns are minute, level, hits: did you mean `hits`?",
    );
}

#[test]
fn a_table_is_the_last_one_and_its_order_counts_if_the_query_gives_it_one() {
    let query = r#"
[query]
mode = "complete"
sql = "SELECT level, count(*) AS hits FROM logs GROUP BY level ORDER BY hits DESC"
[sink]
kind = "console"
[[test]]
name = "t"
micro_batch_rows = 2
"#;
    let right = "expect.query = [{ level = 'info', hits = 3 }, { level = 'warn', hits = 1 }]\n";
    check(&[LOGFMT, query, LINES, right], "");
    let wrong = "expect.query = [{ level = 'warn', hits = 1 }, { level = 'info', hits = 3 }]\n";
    check(
        &[LOGFMT, query, LINES, wrong],
        "
expect.query: the rows are in another order than expected (-): they came as (+)
    level  hits
  - warn   1
  - info   3
  + info   3
  + warn   1
",
    );
}

#[test]
fn updates_come_after_each_micro_batch() {
    let query = r#"
[query]
mode = "update"
sql = "SELECT level, count(*) AS hits FROM logs GROUP BY level"
[sink]
kind = "console"
[[test]]
name = "t"
micro_batch_rows = 2
expect.query = [
    { level = 'info', hits = 1 },
    { level = 'warn', hits = 1 },
    { level = 'info', hits = 3 },
]
"#;
    check(&[LOGFMT, query, LINES], "");
}

#[test]
fn dead_letters_have_their_place_and_reason() {
    let rest = r#"
[dead_letter]
kind = "file"
path = "bad.jsonl"
[query]
sql = "SELECT level, ms, topic, partition, offset, timestamp, key, headers FROM logs"
[sink]
kind = "console"
[[test]]
name = "t"
input.logs = [
    "level=info ms=1.5",
    "level=info ms=x",
    { value = "level=warn", key = "k", timestamp = 2026-01-01T00:00:00Z, partition = 2, headers = { trace = "7" } },
]
bad = 1
expect.query = [
    { level = "info", ms = 1.5, topic = "app", partition = 0, offset = 0, headers = [] },
    { level = "warn", topic = "app", partition = 2, offset = 0, key = "k", timestamp = 2026-01-01T00:00:00Z, headers = [
        { key = "trace", value = "7" },
    ] },
]
dead_letter = [{ offset = 1, value = "level=info ms=x", reason = "ms: `x` is no float" }]
"#;
    check(&[LOGFMT, rest], "");
    let wrong = rest.replace("offset = 1,", "offset = 2,").replace("bad = 1\n", "");
    check(
        &[LOGFMT, &wrong],
        "
dead_letter: 0 of 1 rows as expected, 1 missing (-), 1 not expected (+)
    offset  value            reason
  - 2       level=info ms=x  ms: `x` is no float
  + 1       level=info ms=x  ms: `x` is no float
bad: 1, of which the test says nothing
",
    );
}

#[test]
fn a_job_that_stops_says_why() {
    let job = LOGFMT.replace("[source.logs]", "[source.logs]\non_bad = \"fail\"");
    let test = "input.logs = [\"time=x\"]\nexpect.query = []\n";
    let text = differences(&[&job, BY_MINUTE, test]);
    assert!(text.starts_with("the job stopped: "), "{text}");
}

#[test]
fn tests_may_stand_in_a_file_beside_the_job() {
    let overrides = Overrides::default();
    let job = [LOGFMT, BY_MINUTE, LINES, "late = 0\n"].concat();
    let tests = "[[test]]\nname = \"beside\"\ninput.logs = []\nexpect.query = []\n";
    let file = JobFile::from_text("job.toml", &job, &overrides).with_tests("job.test.toml", tests);
    let plan = file.check(None).unwrap_or_else(|errors| panic!("{errors}"));
    let places: Vec<_> = plan.tests.iter().map(|test| plan.place_of_test(test)).collect();
    assert_eq!(places, ["job.toml:15:1", "job.test.toml:1:1"]);
    let file = JobFile::from_text("job.toml", &job, &overrides).with_tests("job.test.toml", "[run]\nthreads = 1\n");
    let errors = file.check(None).expect_err("no test").to_string();
    let expected = "job.test.toml:1:2: `run` stands in the job file; here are its tests only, as [[test]]";
    assert!(errors.starts_with(expected), "{errors}");
}

/// A second source, in another format and with another name of its time.
const EVENTS: &str = r#"
[source.events]
kind = "file"
paths = "events.jsonl"
format = "json"
columns = { at = "timestamp", kind = "string" }
time = { column = "at", lateness = "0s" }

[query]
mode = "append"
sql = """
SELECT tumble(time, '1 minute') AS minute, level, count(*) AS hits
FROM (SELECT time, level FROM logs UNION ALL SELECT at, kind FROM events)
GROUP BY minute, level
"""
[sink]
kind = "console"
[[test]]
name = "t"
"#;

#[test]
fn a_test_gives_records_of_several_sources_and_the_slowest_holds_the_watermark() {
    let events = r#"
input.events = [
    '{"at": "2026-01-01T00:00:05Z", "kind": "info"}',
    '{"at": "2026-01-01T00:05:00Z", "kind": "warn"}',
]
"#;
    let expect = r#"
watermark = 2026-01-01T00:01:20Z
expect.query = [
    { minute = 2026-01-01T00:00:00Z, level = "info", hits = 3 },
    { minute = 2026-01-01T00:00:00Z, level = "warn", hits = 1 },
]
"#;
    check(&[LOGFMT, EVENTS, LINES, events, expect], "");
}

#[test]
fn row_by_row_the_sources_of_a_test_take_turns() {
    let events = r#"
input.events = ['{"at": "2026-01-01T00:05:00Z", "kind": "warn"}']
micro_batch_rows = 1
late = 1
expect.query = [
    { minute = 2026-01-01T00:00:00Z, level = "info", hits = 1 },
    { minute = 2026-01-01T00:00:00Z, level = "warn", hits = 1 },
    { minute = 2026-01-01T00:01:00Z, level = "info", hits = 1 },
    { minute = 2026-01-01T00:05:00Z, level = "warn", hits = 1 },
]
"#;
    check(&[LOGFMT, EVENTS, LINES, events], "");
}

#[test]
fn a_source_of_which_a_test_gives_nothing_has_no_records() {
    let expect = r#"
expect.query = [
    { minute = 2026-01-01T00:00:00Z, level = "info", hits = 2 },
    { minute = 2026-01-01T00:00:00Z, level = "warn", hits = 1 },
    { minute = 2026-01-01T00:01:00Z, level = "info", hits = 1 },
]
"#;
    check(&[LOGFMT, EVENTS, LINES, expect], "");
}
