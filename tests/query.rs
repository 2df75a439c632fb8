//! `millstream query` over a real access log, against DuckDB over the same lines.

use std::fs;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::duckdb;
use crate::harness::process::{Ended, Run};
use crate::harness::records::NewRecord;
use crate::harness::scratch::{Scratch, root};

/// The log as DuckDB reads it, with a regular expression of its own.
const LOGS: &str = r#"
WITH lines AS (SELECT unnest(string_split(content, chr(10))) AS line FROM read_text('access.log')),
logs AS (
  SELECT line,
         regexp_extract(line, '^(\S+)', 1) AS host,
         strptime(regexp_extract(line, '\[([^\]]+)\]', 1), '%d/%b/%Y:%H:%M:%S %z') AS time,
         regexp_extract(line, '"([A-Z]+) ', 1) AS method,
         regexp_extract(line, '"[A-Z]+ (\S+)', 1) AS path,
         CAST(regexp_extract(line, '" (\d{3}) ', 1) AS BIGINT) AS status,
         CAST(regexp_extract(line, '" \d{3} (\d+) ', 1) AS BIGINT) AS bytes
  FROM lines WHERE line <> ''
)
"#;

#[track_caller]
fn millstream(arguments: &[&str]) -> Ended {
    let scratch = Scratch::new("query");
    let run = Run::millstream(&scratch, "query").args(["query"].iter().chain(arguments));
    run.finish(PATIENCE)
}

/// Checks the rows of a query over the log `LOG`, decoded as `format` or as lines, against those that DuckDB's query gives.
#[track_caller]
fn check(format: &[&str], sql: &str, oracle: &str) {
    let data = root().join("data");
    let sql = sql.replace("LOG", &format!("'{}'", data.join("access.log").display()));
    let arguments: Vec<_> = format.iter().copied().chain(["--format", "csv", &sql]).collect();
    let text = millstream(&arguments).expect_code(0).stdout;
    let mut found: Vec<_> = text.lines().skip(1).map(|line| line.replace(',', "\t")).collect();
    let rows = duckdb::query(&data, &format!("{LOGS} {oracle}"));
    let mut expected: Vec<_> = rows.iter().map(|row| row.join("\t")).collect();
    if !sql.contains("ORDER BY") {
        found.sort_unstable();
        expected.sort_unstable();
    }
    assert!(!expected.is_empty(), "the log has such rows");
    assert_eq!(found, expected, "{sql}");
}

const COMBINED: &[&str] = &["-f", "combined"];

#[test]
fn groups_are_those_of_duckdb() {
    check(
        COMBINED,
        "SELECT status, count(*), sum(bytes), min(bytes), max(bytes), count(DISTINCT host) FROM LOG GROUP BY status",
        "SELECT status, count(*), sum(bytes), min(bytes), max(bytes), count(DISTINCT host) FROM logs GROUP BY status",
    );
    let common = "SELECT method, status / 100 * 100, count(*) FILTER (WHERE bytes > 100) FROM FROM_HERE
        WHERE path LIKE '/%' AND status IN (200, 403, 404, 500) GROUP BY 1, 2 HAVING count(*) > 1";
    let of_duckdb = common
        .replace("FROM_HERE", "logs")
        .replace("status / 100", "status // 100");
    check(COMBINED, &common.replace("FROM_HERE", "LOG"), &of_duckdb);
}

#[test]
fn windows_are_those_of_duckdb() {
    check(
        COMBINED,
        "SELECT to_unixtime(tumble(time, '10s')) AS start, count(*) FROM LOG GROUP BY start",
        "SELECT CAST(epoch(time_bucket(INTERVAL '10 seconds', time)) AS BIGINT), count(*) FROM logs GROUP BY 1",
    );
    // Every window of 25 s, each 10 s, that has a row: those that start up to 25 s before it.
    check(
        COMBINED,
        "SELECT to_unixtime(hop(time, '10s', '25s')) AS start, count(*) FROM LOG GROUP BY start",
        "SELECT start, count(*) FROM (
           SELECT unnest(range(second // 10 * 10, second - 25, -10)) AS start
           FROM (SELECT CAST(epoch(time) AS BIGINT) AS second FROM logs)
         ) GROUP BY start",
    );
}

#[test]
fn the_word_count_is_that_of_duckdb() {
    check(
        &[],
        "SELECT word, count(*) AS n FROM (SELECT unnest(tokenize(value)) AS word FROM LOG) WHERE word NOT LIKE '%,%'
         AND word NOT LIKE '%\"%' GROUP BY word ORDER BY n DESC, word LIMIT 50",
        "SELECT word, count(*) AS n FROM (SELECT unnest(regexp_split_to_array(line, '[ \\t]+')) AS word FROM logs)
         WHERE word <> '' AND word NOT LIKE '%,%' AND word NOT LIKE '%\"%' GROUP BY word ORDER BY n DESC, word LIMIT 50",
    );
}

#[test]
fn sorted_rows_and_functions_are_those_of_duckdb() {
    check(
        COMBINED,
        "SELECT host, path, bytes FROM LOG WHERE path ~ '^/[a-z]+' ORDER BY bytes DESC, host, path LIMIT 20",
        "SELECT host, path, bytes FROM logs WHERE regexp_matches(path, '^/[a-z]+') ORDER BY bytes DESC, host, path LIMIT 20",
    );
    check(
        COMBINED,
        "SELECT DISTINCT upper(split_part(path, '/', 2)) FROM LOG WHERE path LIKE '/_%'",
        "SELECT DISTINCT upper(split_part(path, '/', 2)) FROM logs WHERE path LIKE '/_%'",
    );
}

#[test]
fn the_plan_is_shown_and_nothing_is_read() {
    let sql = "EXPLAIN SELECT word, count(*) AS n FROM (SELECT unnest(tokenize(value)) AS word FROM 'data/dpkg.log') GROUP BY word";
    let ended = millstream_at_root(&[sql]).expect_code(0);
    let expected = "read data/dpkg.log (value)\ntext value\ntokenize value ascii\naggregate count(*) AS n by word\n\
                    result (word Utf8, n Int64)\n";
    assert_eq!(ended.stdout, expected);
}

#[test]
fn a_wrong_query_is_marked_and_ends_with_its_own_code() {
    let ended = millstream_at_root(&["SELECT valu FROM 'data/*.log'"]).expect_code(3);
    assert!(
        ended
            .stderr
            .contains("1 | SELECT valu FROM 'data/*.log'\n  |        ^^^^"),
        "{}",
        ended.stderr
    );
    millstream_at_root(&["SELECT * FROM 'data/nothing.log'"]).expect_code(7);
}

#[track_caller]
fn millstream_at_root(arguments: &[&str]) -> Ended {
    let scratch = Scratch::new("query");
    let run = Run::program("bash", &scratch, "query");
    let script = "cd \"$ROOT\" && exec \"$MILLSTREAM\" query \"$@\"";
    let run = run.args(["-c", script, "query"].iter().chain(arguments));
    run.env("ROOT", root())
        .env("MILLSTREAM", env!("CARGO_BIN_EXE_millstream"))
        .finish(PATIENCE)
}

/// A topic of three partitions with the lines of the access log, dealt in turn.
fn topic_of_the_log() -> String {
    let broker = Broker::shared();
    let topic = broker.new_topic("query", 3);
    let log = fs::read_to_string(root().join("data/access.log")).expect("the sample log");
    for partition in 0..3 {
        let lines = log.lines().skip(partition).step_by(3).map(NewRecord::of);
        broker.produce(&topic, i32::try_from(partition).expect("few partitions"), lines);
    }
    topic
}

#[test]
fn a_topic_gives_the_rows_of_the_file_that_is_in_it_and_no_group_is_left() {
    let (topic, brokers) = (topic_of_the_log(), Broker::shared().bootstrap());
    let statement =
        "SELECT status, count(*) AS hits, sum(bytes) AS bytes FROM FROM_HERE GROUP BY status ORDER BY status";
    let file = statement.replace("FROM_HERE", "'data/access.log'");
    let expected = millstream_at_root(&["-f", "combined", "--format", "csv", &file])
        .expect_code(0)
        .stdout;
    assert!(expected.lines().count() > 3, "{expected}");
    let call = format!("kafka('{topic}', brokers => '{brokers}', format => 'combined')");
    let sql = statement.replace("FROM_HERE", &call);
    assert_eq!(
        millstream_at_root(&["--format", "csv", &sql]).expect_code(0).stdout,
        expected
    );
    // The same said with options.
    let sql = statement.replace("FROM_HERE", &format!("kafka('{topic}')"));
    let found = millstream_at_root(&["-b", brokers, "-f", "combined", "--format", "csv", &sql]).expect_code(0);
    assert_eq!(found.stdout, expected);
    let committed = Broker::shared().committed("millstream-query", &topic);
    assert!(
        committed.iter().all(|committed| committed.offset.is_none()),
        "{committed:?}"
    );
}

#[test]
fn records_have_their_place_beside_their_decoded_columns_and_bounds_are_kept() {
    let (topic, brokers) = (topic_of_the_log(), Broker::shared().bootstrap());
    let sql = format!(
        "SELECT k.partition, count(*) AS n, max(k.offset) AS last, min(status) > 0 AS decoded
         FROM kafka('{topic}', from => '0:10,1:10,2:10', to => '0:15,1:12,2:10', format => 'combined') AS k
         GROUP BY k.partition ORDER BY k.partition"
    );
    let found = millstream_at_root(&["-b", brokers, "--format", "csv", &sql])
        .expect_code(0)
        .stdout;
    assert_eq!(found, "partition,n,last,decoded\n0,5,14,true\n1,2,11,true\n");
    let sql = format!("SELECT kafka.value FROM kafka('{topic}', to => '0:1,1:0,2:0') WHERE topic = '{topic}'");
    let found = millstream_at_root(&["-b", brokers, "--format", "json", &sql])
        .expect_code(0)
        .stdout;
    assert!(found.starts_with("{\"value\":\"127.0.0.1 - - ["), "{found}");
    assert_eq!(found.lines().count(), 1);
}

#[test]
fn a_call_that_is_wrong_says_what_is_right() {
    for (call, part) in [
        (
            "kafka('t')",
            "kafka('t'): no brokers: write brokers => 'HOST:PORT', or give --brokers",
        ),
        ("kafka()", "kafka(): a topic is expected"),
        (
            "kafka('t', form => 'json')",
            "there is no argument `form`; there are: brokers, from, to, format",
        ),
        ("kafka('t', from => 'soon')", "expected earliest, latest, committed"),
        ("kafka('t', brokers => 'b:1', format => 'jsn')", "jsn"),
        ("kafka('t', upper('b'))", "is no argument of kafka"),
        (
            "pulsar('t')",
            "there is no function `pulsar` to read from: write kafka('topic', ...)",
        ),
    ] {
        let ended = millstream_at_root(&[&format!("SELECT * FROM {call}")]).expect_code(3);
        assert!(ended.stderr.contains(part), "{call}: {}", ended.stderr);
    }
}

#[test]
fn a_parquet_file_of_a_query_is_read_by_the_next_one() {
    let scratch = Scratch::new("parquet");
    let run = |arguments: &[&str]| {
        let arguments = ["query"].iter().chain(arguments);
        Run::millstream(&scratch, "query").args(arguments).finish(PATIENCE)
    };
    let log = root().join("data/access.log");
    let sql = format!("SELECT time, status, bytes, path FROM '{}'", log.display());
    run(&[
        "-f",
        "combined",
        "--output-format",
        "parquet",
        "-o",
        "rows.parquet",
        &sql,
    ])
    .expect_code(0);
    let by_status = "SELECT status, count(*) AS n, sum(bytes) AS bytes FROM FROM_HERE GROUP BY status ORDER BY status";
    let of_log = by_status.replace("FROM_HERE", &format!("'{}'", log.display()));
    let of_rows = by_status.replace("FROM_HERE", "'*.parquet'");
    let expected = run(&["-f", "combined", "--format", "csv", &of_log])
        .expect_code(0)
        .stdout;
    assert_eq!(run(&["--format", "csv", &of_rows]).expect_code(0).stdout, expected);
    let rows = duckdb::query(scratch.path(), &by_status.replace("FROM_HERE", "'rows.parquet'"));
    let rows: Vec<_> = rows.iter().map(|row| row.join(",") + "\n").collect();
    assert_eq!(format!("status,n,bytes\n{}", rows.concat()), expected);
    // Of what is in the file only the columns of the query are read.
    let plan = run(&[&format!("EXPLAIN {of_rows}")]).expect_code(0).stdout;
    assert!(plan.starts_with("read *.parquet (status, bytes)\n"), "{plan}");
}

#[test]
fn an_output_file_appears_only_when_it_is_whole() {
    let scratch = Scratch::new("whole");
    let log = root().join("data/access.log");
    let sql = format!("SELECT sum(CAST(path AS BIGINT)) FROM '{}'", log.display());
    let arguments = ["query", "-f", "combined", "--format", "csv", "-o", "sums.csv", &sql];
    let ended = Run::millstream(&scratch, "query").args(arguments).finish(PATIENCE);
    assert_ne!(ended.status.code(), Some(0), "{}", ended.stdout);
    let left = fs::read_dir(scratch.path()).expect("the scratch folder").flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().contains("sums"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn union_all_puts_rows_of_several_files_and_topics_together() {
    let (broker, scratch) = (Broker::shared(), Scratch::new("query-several"));
    let topic = broker.new_topic("query-several", 1);
    broker.produce(&topic, 0, ["x", "y"].map(NewRecord::of));
    let file = |name: &str, lines: usize| {
        let path = scratch.join(name);
        fs::write(&path, "line\n".repeat(lines)).expect("the scratch folder can be written");
        path.display().to_string()
    };
    let (one, other) = (file("one.log", 3), file("other.log", 4));
    let sql = format!(
        "SELECT source, count(*) AS n FROM (SELECT 'one' AS source FROM '{one}' UNION ALL SELECT 'other' FROM '{other}' \
         UNION ALL SELECT 'topic' FROM kafka('{topic}')) GROUP BY source ORDER BY source"
    );
    let shown = millstream(&["-b", broker.bootstrap(), "--format", "csv", &sql])
        .expect_code(0)
        .stdout;
    assert_eq!(shown, "source,n\none,3\nother,4\ntopic,2\n");
}
