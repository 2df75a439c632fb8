//! Groups, tokens, windows, order.

use engine::operator::tokenize::SplitMode;

use super::{bounded, check, check_plan};

#[test]
fn rows_are_grouped_and_aggregated() {
    check(
        "SELECT status, count(*) FROM logs GROUP BY status",
        &["200|2", "404|2", "500|1", "-|1"],
    );
    check(
        "SELECT count(*), count(status), sum(status), min(path), max(path), avg(seconds) FROM logs",
        &["6|5|1708|/|/x|2.625"],
    );
    check(
        "SELECT status / 100 AS class, sum(seconds) AS s FROM logs GROUP BY status / 100",
        &["2|2.5", "4|9.0", "5|0.25", "-|4.0"],
    );
    check(
        "SELECT count(*) * 2 + max(status) AS x FROM logs GROUP BY cached",
        &["410", "506"],
    );
}

#[test]
fn no_rows_are_one_group_where_there_are_no_keys() {
    check("SELECT count(*), sum(status) FROM logs WHERE path = 'none'", &["0|-"]);
    check(
        "SELECT status, count(*) FROM logs WHERE path = 'none' GROUP BY status",
        &[],
    );
}

#[test]
fn a_group_may_be_filtered_and_so_may_the_rows_of_an_aggregate() {
    check(
        "SELECT status FROM logs GROUP BY status HAVING count(*) > 1",
        &["200", "404"],
    );
    check(
        "SELECT count(*) FILTER (WHERE status >= 400), sum(seconds) FILTER (WHERE cached) FROM logs",
        &["3|10.5"],
    );
    check(
        "SELECT status, count(*) AS n FROM logs WHERE status > 200 GROUP BY status HAVING n = 1",
        &["500|1"],
    );
}

#[test]
fn distinct_rows_are_groups_without_aggregates() {
    check("SELECT DISTINCT status FROM logs", &["200", "404", "500", "-"]);
    check("SELECT count(DISTINCT status) FROM logs", &["3"]);
}

#[test]
fn the_engines_other_aggregates_are_found_by_name() {
    check(
        "SELECT bool_and(cached), bool_or(cached), approx_distinct(path), string_agg(path, ',') FROM logs WHERE status = 404",
        &["false|true|2|/api/1,/x"],
    );
    check(
        "SELECT first(path, time), last(status, time) FROM logs WHERE status > 0",
        &["/|404"],
    );
    check("SELECT first_value(path ORDER BY seconds DESC) FROM logs", &["/x"]);
    check(
        "SELECT round(stddev(seconds), 2) FROM logs WHERE status = 404",
        &["4.95"],
    );
}

#[test]
fn names_are_given_where_columns_are_made() {
    let planned = bounded("SELECT status AS s, count(*) AS n FROM logs WHERE cached GROUP BY s").expect("a query");
    check_plan(
        &planned,
        &[
            "read logs (status, cached)",
            "filter cached",
            "aggregate count(*) AS n by status",
            "project status AS s, n AS n",
            "result (s Int64, n Int64)",
        ],
    );
    let planned = bounded("SELECT status + 1 AS s, sum(seconds) AS n FROM logs GROUP BY s").expect("a query");
    check_plan(
        &planned,
        &[
            "read logs (status, seconds)",
            "project status + 1 AS s, seconds AS seconds",
            "aggregate sum(seconds) AS n by s",
            "result (s Int64, n Float64)",
        ],
    );
}

#[test]
fn the_word_count_is_planned_as_the_verb_plans_it() {
    let sql = "SELECT word, count(*) AS count FROM (SELECT unnest(tokenize(value)) AS word FROM logs) GROUP BY word";
    let planned = bounded(sql).expect("a query");
    check_plan(
        &planned,
        &[
            "read logs (value)",
            "text value",
            "tokenize value ascii",
            "aggregate count(*) AS count by word",
            "result (word Utf8, count Int64)",
        ],
    );
    check(sql, &["a|3", "b|1", "B|1", "c|1", "\u{fffd}|1", "x|1"]);
}

#[test]
fn tokens_take_modes_and_keep_other_columns() {
    let sql = "SELECT status, word, count(*) AS n FROM (SELECT status, unnest(tokenize(lower(value), 'word')) AS word FROM logs)
               WHERE word <> 'c' GROUP BY status, word";
    check(sql, &["200|a|2", "200|b|1", "404|b|1", "-|x|1", "404|a|1"]);
    let planned = bounded(sql).expect("a query");
    let described: Vec<_> = planned.inputs[0]
        .operators
        .iter()
        .map(|operator| operator.describe())
        .collect();
    assert!(
        described.contains(&format!("tokenize value {} lower keep status", SplitMode::Word)),
        "{described:?}"
    );
    check(
        "SELECT unnest(tokenize(path, 'bytes:/')) AS part FROM logs",
        &["api", "1", "api", "2", "x"],
    );
}

#[test]
fn rows_are_put_into_windows() {
    check(
        "SELECT tumble(time, '1 minute') AS minute, count(*) AS n FROM logs GROUP BY minute",
        &[
            "1969-12-31T23:59:00Z|1",
            "1970-01-01T00:00:00Z|2",
            "1970-01-01T00:01:00Z|2",
            "1970-01-01T00:03:00Z|1",
        ],
    );
    check(
        "SELECT tumble_end(time, INTERVAL '2 minutes') AS until, count(*) AS n FROM logs GROUP BY until",
        &[
            "1970-01-01T00:00:00Z|1",
            "1970-01-01T00:02:00Z|4",
            "1970-01-01T00:04:00Z|1",
        ],
    );
}

#[test]
fn windows_may_overlap() {
    let expected = [
        "1969-12-31T23:58:00Z|1",
        "1969-12-31T23:59:00Z|3",
        "1970-01-01T00:00:00Z|4",
        "1970-01-01T00:01:00Z|2",
        "1970-01-01T00:02:00Z|1",
        "1970-01-01T00:03:00Z|1",
    ];
    check(
        "SELECT hop(time, '1m', '2m') AS start, count(*) FROM logs GROUP BY start",
        &expected,
    );
    check(
        "SELECT window(time, '2m', '1m') AS start, count(*) FROM logs GROUP BY start",
        &expected,
    );
    check(
        "SELECT start, n FROM (SELECT hop(time, '1m', '2m') AS start, count(*) AS n FROM logs WHERE status > 0 GROUP BY start)
         WHERE start > to_timestamp('1970-01-01T00:00:30Z')",
        &["1970-01-01T00:01:00Z|2", "1970-01-01T00:02:00Z|1", "1970-01-01T00:03:00Z|1"],
    );
    check(
        "SELECT hop_end(time, '1m', '2m') AS until, count(*) AS n FROM logs WHERE status = 500 GROUP BY until",
        &["1970-01-01T00:02:00Z|1", "1970-01-01T00:03:00Z|1"],
    );
    let planned =
        bounded("SELECT hop(time, '1m', '2m') AS start, count(*) AS n FROM logs GROUP BY start").expect("a query");
    let window = planned.window.clone().expect("a window");
    assert_eq!(
        (window.key.as_str(), window.size_micros, window.slide_micros),
        ("start", 120_000_000, 60_000_000)
    );
    assert!(
        planned
            .aggregate
            .as_ref()
            .is_some_and(|aggregate| aggregate.is_windowed())
    );
}

#[test]
fn rows_that_follow_each_other_are_a_session() {
    check(
        "SELECT session(time, '40s') AS start, session_end(time, '40s') AS until, count(*) AS n FROM logs GROUP BY start",
        &[
            "1969-12-31T23:59:59.999999Z|1970-01-01T00:01:40.000001Z|5",
            "1970-01-01T00:03:00Z|1970-01-01T00:03:40Z|1",
        ],
    );
    check(
        "SELECT cached, session_window(time, '30 seconds') AS start, sum(status) FROM logs GROUP BY cached, start
         HAVING start >= to_timestamp('1970-01-01T00:00:00Z')",
        &[
            "true|1970-01-01T00:00:00Z|200",
            "false|1970-01-01T00:00:30Z|404",
            "false|1970-01-01T00:01:00Z|500",
            "true|1970-01-01T00:01:00.000001Z|200",
            "true|1970-01-01T00:03:00Z|404",
        ],
    );
}

#[test]
fn results_are_sorted_and_limited() {
    check(
        "SELECT status, count(*) AS n FROM logs GROUP BY status ORDER BY n DESC, status LIMIT 2",
        &["200|2", "404|2"],
    );
    check(
        "SELECT path FROM logs ORDER BY seconds DESC LIMIT 2 OFFSET 1",
        &["/", "-"],
    );
    check(
        "SELECT status FROM logs ORDER BY status DESC NULLS LAST LIMIT 1",
        &["500"],
    );
    check(
        "SELECT path, status FROM logs WHERE status > 200 ORDER BY abs(status - 500), path",
        &["/api/2|500", "/api/1|404", "/x|404"],
    );
    check(
        "SELECT cached FROM logs GROUP BY cached ORDER BY sum(seconds)",
        &["false", "true"],
    );
}

#[test]
fn subqueries_and_common_tables_are_one_chain() {
    check(
        "WITH bad AS (SELECT path, status FROM logs WHERE status >= 400), api AS (SELECT * FROM bad WHERE path LIKE '/api%')
         SELECT status, count(*) FROM api GROUP BY status",
        &["404|1", "500|1"],
    );
    check(
        "SELECT n FROM (SELECT status, count(*) AS n FROM logs GROUP BY status) AS counted WHERE status = 404",
        &["2"],
    );
}

#[test]
fn branches_over_one_source_are_put_together() {
    check(
        "SELECT path AS what FROM logs WHERE status = 500 UNION ALL SELECT CAST(status AS VARCHAR) FROM logs WHERE cached",
        &["/api/2", "200", "200", "404"],
    );
    check(
        "SELECT kind, count(*) FROM (SELECT 'bad' AS kind FROM logs WHERE status >= 400 UNION ALL
         SELECT 'slow' FROM logs WHERE seconds > 1) GROUP BY kind",
        &["bad|3", "slow|3"],
    );
}
