//! Late rows still have the record that they were made of, whatever the statement does with them before.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use connectors::decode::{KeepRecords, LateLetters, record_field};
use engine::metrics::Metrics;
use engine::operator::{AbsorbContext, Operator, OutputMode};
use engine::{Batch, Result};

use super::super::{Table, plan};

/// The times of the records, in seconds; their offsets are their places.
const TIMES: [Option<i64>; 6] = [Some(10), Some(70), None, Some(130), Some(65), Some(100)];

/// The second up to which all is closed.
const CLOSED: i64 = 120;

fn schema() -> Schema {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Schema::new(vec![
        Field::new("time", time, true),
        Field::new("line", DataType::Utf8, true),
        Field::new("offset", DataType::Int64, false),
        Field::new("value", DataType::Binary, true),
    ])
}

fn records() -> Batch {
    let times = TIMES.iter().map(|time| time.map(|seconds| seconds * 1_000_000));
    let times = TimestampMicrosecondArray::from_iter(times).with_timezone("UTC");
    let lines: ArrayRef = Arc::new(StringArray::from(vec!["a b c"; TIMES.len()]));
    let offsets: ArrayRef = Arc::new(Int64Array::from_iter_values(0..6));
    let values: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"raw"; TIMES.len()]));
    let columns: Vec<ArrayRef> = vec![Arc::new(times), lines, offsets, values];
    let records = RecordBatch::try_new(Arc::new(schema()), columns).expect("the schema's columns");
    Batch::new(records, None)
}

/// Returns the offsets of the dead letters that a query makes of its late rows, and how many rows were late.
fn late(sql: &str) -> Result<(Vec<i64>, u64)> {
    let table = Table {
        name: "logs".to_owned(),
        schema: Arc::new(schema()),
        event_time: Some("time".to_owned()),
        bounded: false,
        record: Some(record_field()),
    };
    let planned = plan(sql, &[table], OutputMode::Append).unwrap_or_else(|error| panic!("{error}"));
    let metrics = Metrics::default();
    let keep = KeepRecords::new(&schema());
    let mut batch = keep.apply(records(), &metrics)?;
    let read = &planned.inputs[0];
    for operator in read.narrow(&keep.schema())?.iter().chain(&read.operators) {
        batch = operator.apply(batch, &metrics)?;
    }
    let context = AbsorbContext {
        closed_micros: Some(CLOSED * 1_000_000),
        keeps_late: true,
        metrics: &metrics,
    };
    let aggregate = planned.aggregate.expect("a query with windows");
    let Some(rows) = aggregate.partial().absorb(&batch, context)? else {
        return Ok((vec![], metrics.rows_late.get()));
    };
    let letters = LateLetters::new("query").apply(rows, &metrics)?.to_records()?;
    let values = letters.column_by_name("value").expect("a value").as_binary::<i32>();
    assert!(values.iter().all(|value| value == Some(b"raw")));
    let offsets = letters
        .column_by_name("offset")
        .expect("an offset")
        .as_primitive::<Int64Type>();
    assert_eq!(offsets.null_count(), 0);
    assert!(
        aggregate
            .schema()
            .fields()
            .iter()
            .all(|field| field.name() != record_field().name())
    );
    Ok((offsets.values().to_vec(), metrics.rows_late.get()))
}

#[track_caller]
fn check(sql: &str, offsets: &[i64], rows: u64) {
    let found = late(sql).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found, (offsets.to_vec(), rows), "{sql}");
}

#[test]
fn rows_of_closed_windows_and_of_none_are_late() {
    let counted = "SELECT tumble(time, '1 minute') AS minute, count(*) AS hits FROM logs";
    check(&format!("{counted} GROUP BY minute"), &[0, 1, 2, 4, 5], 5);
    check(
        &format!("{counted} WHERE time > to_timestamp(60) GROUP BY minute"),
        &[1, 4, 5],
        3,
    );
    check(
        "SELECT tumble(time, '1 minute') AS minute, upper(line) AS text, count(*) FROM (SELECT time, line || '!' AS line FROM logs) GROUP BY minute, text",
        &[0, 1, 2, 4, 5],
        5,
    );
}

#[test]
fn a_record_of_several_rows_is_one_dead_letter() {
    // The record of second 100 is late for [60 s, 120 s), and in time for [90 s, 150 s).
    check(
        "SELECT hop(time, '30 seconds', '1 minute') AS start, count(*) FROM logs GROUP BY start",
        &[0, 1, 2, 4, 5],
        8,
    );
    check(
        "SELECT tumble(time, '1 minute') AS minute, word, count(*) FROM (SELECT time, unnest(tokenize(line)) AS word FROM logs) GROUP BY minute, word",
        &[0, 1, 2, 4, 5],
        15,
    );
    check(
        "SELECT tumble(time, '1 minute') AS minute, count(*) FROM (SELECT time FROM logs UNION ALL SELECT time FROM logs) GROUP BY minute",
        &[0, 1, 2, 4, 5],
        10,
    );
}

#[test]
fn rows_of_closed_sessions_and_of_forgotten_keys_are_late() {
    check(
        "SELECT session(time, '1 minute') AS s, count(*) FROM logs GROUP BY s",
        &[0, 2],
        2,
    );
    check("SELECT DISTINCT ON (line) line, time FROM logs", &[0, 1, 2, 4, 5], 5);
}
