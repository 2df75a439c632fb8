//! Queries over several sources: each source has operators of its own, and all end in the same.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use connectors::decode::record_field;
use engine::operator::OutputMode;

use super::{Planned, SqlError, Table, check_plan, plan};

/// Requests of a web server and lines of an application, with times that are not called the same.
fn tables() -> [Table; 2] {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let table = |name: &str, columns: &[(&str, DataType)], event_time: &str| Table {
        name: name.to_owned(),
        schema: Arc::new(Schema::new(
            columns
                .iter()
                .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
                .collect::<Vec<_>>(),
        )),
        event_time: Some(event_time.to_owned()),
        bounded: false,
        record: Some(record_field()),
    };
    let requests = [
        ("time", time.clone()),
        ("path", DataType::Utf8),
        ("status", DataType::Int64),
    ];
    let lines = [("ts", time), ("level", DataType::Utf8), ("ms", DataType::Int32)];
    [table("web", &requests, "time"), table("app", &lines, "ts")]
}

fn planned(sql: &str, mode: OutputMode) -> Result<Planned, SqlError> {
    plan(sql, &tables(), mode)
}

const BOTH: &str = "SELECT time, path AS what, status AS number FROM web WHERE status >= 500
                    UNION ALL SELECT ts, level, ms FROM app WHERE level = 'ERROR'";

#[test]
fn each_source_has_the_operators_of_its_branch() {
    let mut tables = tables();
    tables.iter_mut().for_each(|table| table.record = None);
    let sql = format!(
        "SELECT tumble(time, '1 minute') AS minute, what, sum(number) AS n FROM ({BOTH}) GROUP BY minute, what"
    );
    let planned = plan(&sql, &tables, OutputMode::Append).expect("a query");
    check_plan(
        &planned,
        &[
            "read web (time, path, status)",
            "filter status >= 500",
            "project time AS time, path AS what, status AS number",
            "project tumble(time, '1 minute') AS minute, what AS what, number AS number",
            "read app (ts, level, ms)",
            "filter level = 'ERROR'",
            "project ts AS time, level AS what, ms AS number",
            "project tumble(time, '1 minute') AS minute, what AS what, number AS number",
            "the rows of web, app together",
            "aggregate sum(number) AS n by minute, what closing 60s after minute",
            "result (minute Timestamp(µs, \"UTC\"), what Utf8, n Int64)",
        ],
    );
    assert!(planned.input("app").is_some() && planned.input("logs").is_none());
}

#[test]
fn a_source_may_be_in_several_branches() {
    let sql = "SELECT path FROM web WHERE status = 200 UNION ALL SELECT level FROM app
               UNION ALL SELECT path FROM web WHERE status = 404";
    let planned = planned(sql, OutputMode::Append).expect("a query");
    let operators: Vec<Vec<_>> = planned
        .inputs
        .iter()
        .map(|input| input.operators.iter().map(|operator| operator.describe()).collect())
        .collect();
    assert!(
        operators[0][0].starts_with("union (filter status = 200; "),
        "{operators:?}"
    );
    assert!(
        operators[1].iter().all(|step| !step.starts_with("union")),
        "{operators:?}"
    );
}

#[test]
fn the_records_of_late_rows_travel_from_every_source() {
    let planned = planned(BOTH, OutputMode::Append).expect("a query");
    for input in &planned.inputs {
        let last = input.operators.last().expect("a projection").schema();
        let record = record_field();
        assert_eq!(
            (last.field(3).name(), last.field(3).data_type()),
            (record.name(), record.data_type())
        );
    }
}

#[test]
fn a_window_closes_only_if_its_column_is_the_event_time_of_every_source() {
    let sql = format!("SELECT tumble(time, '1 minute') AS minute, count(*) AS n FROM ({BOTH}) GROUP BY minute");
    let refused = |tables: &[Table], mode, expected: &str| {
        let error = plan(&sql, tables, mode).expect_err("no query");
        assert!(error.message.contains(expected), "{}", error.message);
    };
    let mut without = tables();
    without[1].event_time = None;
    refused(
        &without,
        OutputMode::Append,
        "windows close by the event time, and the source app has none: give it an event time",
    );
    refused(
        &without,
        OutputMode::Update,
        "the window is one of the event time of web, but not of app",
    );
    let mut other = tables();
    other[0].event_time = Some("received".to_owned());
    refused(
        &other,
        OutputMode::Append,
        "which is `received` in web: make the window of that column",
    );
}

#[test]
fn types_of_branches_that_do_not_go_together_and_joins_are_refused() {
    let refused = |sql: &str, expected: &str| {
        let error = planned(sql, OutputMode::Append).expect_err(sql);
        assert!(error.message.contains(expected), "{}", error.message);
    };
    refused("SELECT path, status FROM web UNION ALL SELECT level FROM app", "UNION");
    refused(
        "SELECT path FROM web JOIN app ON path = level",
        "a JOIN can't run as a stream",
    );
    refused("SELECT path FROM web, app", "can't run as a stream");
}
