//! `millstream query` over a real access log, against DuckDB over the same lines.

use crate::harness::PATIENCE;
use crate::harness::duckdb;
use crate::harness::process::{Ended, Run};
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
