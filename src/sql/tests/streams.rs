//! What a query is when its input never ends.

use engine::operator::OutputMode;

use super::{Planned, SqlError, check_plan, plan, table};

fn endless(sql: &str, mode: OutputMode) -> Result<Planned, SqlError> {
    plan(sql, &[table(false)], mode)
}

#[test]
fn windows_of_the_event_time_close() {
    let sql = "SELECT tumble(time, '1 minute') AS minute, status, count(*) AS hits FROM logs WHERE status >= 400 GROUP BY minute, status";
    let planned = endless(sql, OutputMode::Append).expect("a query");
    check_plan(
        &planned,
        &[
            "read logs (time, status)",
            "filter status >= 400",
            "project tumble(time, '1 minute') AS minute, status AS status",
            "aggregate count(*) AS hits by minute, status closing 60s after minute",
            "result (minute Timestamp(µs, \"UTC\"), status Int64, hits Int64)",
        ],
    );
    assert!(planned.aggregate.is_some_and(|aggregate| aggregate.is_windowed()));
}

#[test]
fn sessions_close() {
    let sql = "SELECT path, session(time, '30m') AS start, count(*) AS n FROM logs GROUP BY path, start";
    let planned = endless(sql, OutputMode::Append).expect("a query");
    check_plan(
        &planned,
        &[
            "read logs (time, path)",
            "sessions count(*) AS n by path with gap 1800s of time",
            "project path AS path, session_start AS start, n AS n",
            "result (path Utf8, start Timestamp(µs, \"UTC\"), n Int64)",
        ],
    );
}

#[test]
fn sessions_are_updated_under_their_keys_and_start() {
    let sql = "SELECT upper(path) AS p, path, session(time, '30m') AS start, count(*) AS n
               FROM logs GROUP BY path, start HAVING count(*) > 1";
    let planned = endless(sql, OutputMode::Update).expect("a query");
    check_plan(
        &planned,
        &[
            "read logs (time, path)",
            "sessions count(*) AS n by path with gap 1800s of time",
            "filter ((retracted)) OR (n > 1)",
            "project upper(path) AS p, path AS path, session_start AS start, n AS n, (retracted) AS (retracted)",
            "result (p Utf8, path Utf8, start Timestamp(µs, \"UTC\"), n Int64)",
        ],
    );
    assert_eq!(
        planned.retraction_key,
        Some(vec!["path".to_owned(), "start".to_owned()])
    );
    check_refused(
        "SELECT session(time, '30m') AS start, count(*) AS n FROM logs GROUP BY path, start",
        OutputMode::Update,
        "put every column of GROUP BY into SELECT",
    );
    let appended = endless(sql, OutputMode::Append).expect("a query");
    assert_eq!(appended.retraction_key, None);
}

#[test]
fn the_first_row_of_a_key_is_kept_while_another_may_come() {
    let sql = "SELECT DISTINCT ON (path, status / 100) upper(path) AS p, status FROM logs WHERE cached";
    let planned = endless(sql, OutputMode::Append).expect("a query");
    let text = planned.explain();
    let steps: Vec<_> = text.lines().collect();
    assert_eq!(steps[2], "filter cached", "{text}");
    assert!(steps[4].starts_with("deduplicate status / 100, path by time"), "{text}");
    assert_eq!(steps[5], "project upper(path) AS p, status AS status", "{text}");
    check_refused(sql, OutputMode::Update, "use mode append");
    check_refused(
        "SELECT DISTINCT ON (path) path FROM logs ORDER BY path, status",
        OutputMode::Append,
        "takes no ORDER BY",
    );
}

#[test]
fn a_window_of_a_subquery_is_known_outside_it() {
    let sql = "SELECT m, count(*) AS n FROM (SELECT tumble(time, '1s') AS m FROM logs) GROUP BY m";
    let planned = endless(sql, OutputMode::Append).expect("a query");
    assert_eq!(planned.window.expect("a window").key, "m");
}

#[track_caller]
fn check_refused(sql: &str, mode: OutputMode, expected: &str) {
    let error = endless(sql, mode).expect_err(sql);
    assert!(error.message.contains(expected), "{}", error.render());
}

#[test]
fn an_endless_result_has_no_order() {
    check_refused(
        "SELECT path FROM logs ORDER BY path",
        OutputMode::Append,
        "ORDER BY needs the whole result",
    );
    check_refused(
        "SELECT path FROM logs LIMIT 5",
        OutputMode::Append,
        "LIMIT needs the whole result",
    );
    let counted = "SELECT path, count(*) AS n FROM logs GROUP BY path ORDER BY n DESC LIMIT 10";
    check_refused(counted, OutputMode::Update, "use mode complete");
    endless(counted, OutputMode::Complete).expect("all groups are put out");
}

#[test]
fn what_is_appended_must_be_final() {
    check_refused(
        "SELECT path, count(*) FROM logs GROUP BY path",
        OutputMode::Append,
        "group by a window of the event time",
    );
    let other = "SELECT tumble(to_timestamp(path), '1m') AS m, count(*) FROM logs GROUP BY m";
    check_refused(other, OutputMode::Append, "the event time, which is `time`");
    check_refused(
        "SELECT path FROM logs",
        OutputMode::Complete,
        "there is none: use mode append",
    );
}

#[test]
fn the_moment_of_the_start_is_no_time_of_a_stream() {
    check_refused(
        "SELECT now() - time FROM logs",
        OutputMode::Append,
        "now() would stay the moment of the start",
    );
    check_refused(
        "SELECT path FROM logs WHERE time < current_date",
        OutputMode::Append,
        "current_date()",
    );
}
