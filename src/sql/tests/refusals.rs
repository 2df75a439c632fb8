//! Queries that are wrong or can't run, and what is said about them.

use super::bounded;

/// Checks the message, and the place of the error: line, column.
#[track_caller]
fn check(sql: &str, place: (usize, usize), expected: &str) {
    let error = bounded(sql).expect_err(sql);
    assert!(error.message.contains(expected), "{}", error.render());
    assert_eq!((error.line, error.column), place, "{}", error.render());
}

#[test]
fn an_error_of_syntax_says_where() {
    check("SELECT FROM logs", (1, 1), "nothing to put out");
    check("SELECT path\nFROM logs\nWHERE", (1, 1), "expected");
    check("", (1, 1), "there is no query");
    check("SELECT path FROM logs; SELECT status FROM logs", (1, 24), "one query");
    check("DROP TABLE logs", (1, 1), "a query is expected");
}

#[test]
fn unknown_names_come_with_the_nearest() {
    check("SELECT pth FROM logs", (1, 8), "path");
    check(
        "SELECT path,\n  uper(path) FROM logs",
        (2, 3),
        "there is no function `uper`: did you mean upper?",
    );
    check("SELECT countt(*) FROM logs", (1, 8), "count");
    check(
        "SELECT path FROM lgs",
        (1, 18),
        "there is no source `lgs`; there are: logs",
    );
}

#[test]
fn types_that_do_not_fit_are_named() {
    check("SELECT sum(path) FROM logs", (1, 8), "sum");
    check("SELECT tumble(path, '1m') FROM logs", (1, 8), "to_timestamp");
    check(
        "SELECT tumble(time, '1 month') AS m, count(*) FROM logs GROUP BY m",
        (1, 8),
        "no fixed length",
    );
    check("SELECT tokenize(status) FROM logs", (1, 8), "tokenize");
    check(
        "SELECT unnest(tokenize(value, 'words')) FROM logs",
        (1, 15),
        "expected ascii, space",
    );
}

#[test]
fn what_can_not_run_is_refused_by_name() {
    check(
        "SELECT a.path FROM logs a JOIN logs b ON a.path = b.path",
        (1, 32),
        "a JOIN can't run",
    );
    check("SELECT 1 FROM logs, logs", (1, 21), "a JOIN can't run");
    check(
        "SELECT row_number() OVER (ORDER BY time) FROM logs",
        (1, 8),
        "OVER can't run",
    );
    check(
        "SELECT path FROM logs WHERE status IN (SELECT status FROM logs)",
        (1, 29),
        "a subquery in an expression",
    );
    check(
        "SELECT path FROM logs UNION SELECT path FROM logs",
        (1, 1),
        "write UNION ALL",
    );
    check(
        "SELECT path FROM logs EXCEPT SELECT path FROM logs",
        (1, 1),
        "EXCEPT compares two whole results",
    );
    check("SELECT 1", (1, 1), "FROM is missing");
    check("SELECT session(time, '1m') FROM logs", (1, 8), "it stands in GROUP BY");
    check(
        "SELECT max(n) FROM (SELECT count(*) AS n FROM logs GROUP BY path)",
        (1, 1),
        "an aggregate over an aggregate",
    );
    check(
        "SELECT path, count(*) FROM logs GROUP BY ROLLUP (path)",
        (1, 50),
        "several groupings",
    );
    check(
        "SELECT tokenize(value) FROM logs",
        (1, 8),
        "write unnest(tokenize(text))",
    );
    check(
        "SELECT path FROM logs WHERE hop(time, '1m', '2m') IS NULL",
        (1, 29),
        "hop makes several rows",
    );
    check("SELECT count(DISTINCT path, status) FROM logs", (1, 8), "count");
}

#[test]
fn the_place_is_marked() {
    let error = bounded("SELECT path,\n       pth\nFROM logs").expect_err("no such column");
    let text = error.render();
    assert!(text.ends_with("\n  |\n2 |        pth\n  |        ^^^"), "{text}");
}

#[test]
fn deep_nesting_is_an_error_not_a_crash() {
    let sql = format!("SELECT {}1{} FROM logs", "(".repeat(5000), ")".repeat(5000));
    check(&sql, (1, 1), "nested too deeply");
}
