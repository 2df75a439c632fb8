//! Columns, filters, scalar functions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use engine::operator::OutputMode;

use super::{Table, bounded, check, check_plan, plan, run};

#[test]
fn columns_are_chosen_and_rows_filtered() {
    check(
        "SELECT path, status FROM logs WHERE status >= 400",
        &["/api/1|404", "/api/2|500", "/x|404"],
    );
    check(
        "SELECT path AS p FROM logs WHERE cached AND status = 200 AND path IS NOT NULL",
        &["/"],
    );
    check(
        "SELECT status FROM logs WHERE path = '/' OR status IS NULL",
        &["200", "-"],
    );
}

#[test]
fn only_the_columns_that_are_used_are_read() {
    let planned = bounded("SELECT path AS p FROM logs WHERE status >= 400 AND path LIKE '/api/%'").expect("a query");
    assert_eq!(planned.inputs[0].columns_used(), ["path", "status"]);
    check_plan(
        &planned,
        &[
            "read logs (path, status)",
            "filter status >= 400 AND path LIKE '/api/%'",
            "project path AS p",
            "result (p Utf8)",
        ],
    );
}

#[test]
fn offset_is_a_column_unless_a_number_follows() {
    let table = Table {
        name: "events".to_owned(),
        schema: Arc::new(Schema::new(vec![
            Field::new("partition", DataType::Int32, false),
            Field::new("offset", DataType::Int64, false),
        ])),
        event_time: None,
        bounded: true,
        record: None,
    };
    for (sql, columns) in [
        ("SELECT partition, offset\nFROM events", vec!["partition", "offset"]),
        ("SELECT offset, partition FROM events", vec!["offset", "partition"]),
        ("SELECT max(offset) AS last FROM events", vec!["last"]),
        (
            "SELECT partition FROM events WHERE offset > 5 LIMIT 3 OFFSET 2",
            vec!["partition"],
        ),
    ] {
        let planned = plan(sql, std::slice::from_ref(&table), OutputMode::Complete).expect(sql);
        let names: Vec<_> = planned
            .schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names, columns, "{sql}");
    }
}

#[test]
fn all_columns_make_no_projection() {
    let planned = bounded("SELECT * FROM logs").expect("a query");
    assert_eq!(planned.inputs[0].columns_used().len(), 6);
    assert!(
        planned.inputs[0]
            .operators
            .iter()
            .all(|operator| operator.describe() == "text value")
    );
    assert_eq!(run("SELECT * FROM logs").num_rows(), 6);
}

#[test]
fn expressions_follow_the_rules_of_sql() {
    check(
        "SELECT status / 100 * 100 FROM logs WHERE status <> 200",
        &["400", "500", "400"],
    );
    check(
        "SELECT CASE WHEN status >= 500 THEN 'bad' WHEN status >= 400 THEN 'poor' ELSE 'good' END FROM logs",
        &["good", "poor", "bad", "good", "good", "poor"],
    );
    check(
        "SELECT CAST(status AS VARCHAR) || '!' FROM logs WHERE status IN (404, 500)",
        &["404!", "500!", "404!"],
    );
    check("SELECT try_cast(path AS BIGINT) FROM logs WHERE path LIKE '%x'", &["-"]);
    check("SELECT coalesce(path, 'none') FROM logs WHERE path IS NULL", &["none"]);
    check(
        "SELECT status FROM logs WHERE status BETWEEN 404 AND 450",
        &["404", "404"],
    );
}

#[test]
fn text_functions_work_on_text_and_on_bytes() {
    check("SELECT upper(value) FROM logs WHERE status = 404", &["B  C", "A"]);
    check(
        "SELECT path FROM logs WHERE path ~ '^/api/[0-9]$'",
        &["/api/1", "/api/2"],
    );
    check(
        "SELECT regexp_replace(path, '[0-9]+', 'N') FROM logs WHERE path LIKE '/api%'",
        &["/api/N", "/api/N"],
    );
    check(
        "SELECT split_part(path, '/', 2), char_length(path) FROM logs WHERE status = 500",
        &["api|6"],
    );
    check(
        "SELECT substring(path FROM 2 FOR 3) FROM logs WHERE status = 500",
        &["api"],
    );
    check("SELECT value FROM logs WHERE status IS NULL", &["\u{fffd} x"]);
}

#[test]
fn times_and_numbers_have_functions() {
    check(
        "SELECT date_trunc('minute', time) FROM logs WHERE status = 500",
        &["1970-01-01T00:01:00Z"],
    );
    check(
        "SELECT extract(second FROM time) FROM logs WHERE status = 404",
        &["30", "0"],
    );
    check(
        "SELECT to_timestamp('2026-01-31T12:00:00Z') > time FROM logs WHERE status = 500",
        &["true"],
    );
    check(
        "SELECT round(seconds * 10), floor(seconds) FROM logs WHERE status = 500",
        &["3.0|0.0"],
    );
    check(
        "SELECT time + INTERVAL '1 hour' FROM logs WHERE status = 500",
        &["1970-01-01T01:01:00Z"],
    );
}

#[test]
fn values_are_taken_out_of_json() {
    let json = r#"'{"user": {"id": 7}, "list": ["x", "y"]}'"#;
    check(
        &format!(
            "SELECT json_get({json}, 'user.id'), {json} ->> 'list', json_get({json}, 'list[1]') FROM logs WHERE status = 500"
        ),
        &["7|[\"x\",\"y\"]|y"],
    );
    check(
        "SELECT CAST(json_get(value, 'n') AS BIGINT) FROM logs WHERE status = 500",
        &["-"],
    );
}

#[test]
fn constants_are_columns_too() {
    check("SELECT 1 + 1, 'x' FROM logs WHERE status = 500", &["2|x"]);
}
