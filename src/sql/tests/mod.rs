//! Queries over rows in memory, with the rows that they must give.

mod expressions;
mod groups;
mod late;
mod refusals;
mod sources;
mod streams;
mod views;

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use engine::Batch;
use engine::metrics::Metrics;
use engine::operator::{AbsorbContext, EmitContext, Operator, OutputMode, StatefulOperator};

use super::{Planned, SqlError, Table, plan};

/// Rows of requests: two batches, with nulls.
fn rows() -> Vec<RecordBatch> {
    let minute = 60_000_000;
    let times = [
        Some(0),
        Some(minute / 2),
        Some(minute),
        Some(minute + 1),
        Some(-1),
        Some(3 * minute),
    ];
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC"));
    let value: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![
        Some(b"a b a"),
        Some(b"B  c"),
        None,
        Some(b""),
        Some(b"\xff x"),
        Some(b"a"),
    ]));
    let path: ArrayRef = Arc::new(StringArray::from(vec![
        Some("/"),
        Some("/api/1"),
        Some("/api/2"),
        None,
        Some("/"),
        Some("/x"),
    ]));
    let status = [Some(200), Some(404), Some(500), Some(200), None, Some(404)];
    let status: ArrayRef = Arc::new(Int64Array::from(status.to_vec()));
    let seconds: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 1.0, 0.25, 2.0, 4.0, 8.0]));
    let cached: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, false, true, false, true]));
    let columns = [
        ("time", time),
        ("value", value),
        ("path", path),
        ("status", status),
        ("seconds", seconds),
        ("cached", cached),
    ];
    let records = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)));
    let records = records.expect("columns of one length");
    vec![records.slice(0, 4), records.slice(4, 2)]
}

fn table(bounded: bool) -> Table {
    Table {
        name: "logs".to_owned(),
        schema: rows()[0].schema(),
        event_time: Some("time".to_owned()),
        bounded,
        record: None,
    }
}

fn bounded(sql: &str) -> Result<Planned, SqlError> {
    plan(sql, &[table(true)], OutputMode::Complete)
}

/// Runs a query over all rows, which end.
fn run(sql: &str) -> RecordBatch {
    let planned = bounded(sql).unwrap_or_else(|error| panic!("{}", error.render()));
    let metrics = Metrics::default();
    let apply = |operators: &[Arc<dyn Operator>], batch: Batch| {
        operators
            .iter()
            .fold(batch, |batch, operator| operator.apply(batch, &metrics).expect(sql))
    };
    let inputs = rows().into_iter().map(|records| {
        let narrow = planned.inputs[0]
            .narrow(&records.schema())
            .expect("the source has the columns");
        let batch = apply(narrow.as_slice(), Batch::new(records, None));
        apply(&planned.inputs[0].operators, batch)
    });
    let inputs: Vec<_> = inputs.collect();
    let outputs = match planned.aggregate {
        None => inputs,
        Some(aggregate) => {
            let emitted = emitted(aggregate, &inputs, &metrics);
            vec![apply(&planned.finish, emitted)]
        }
    };
    let records: Vec<_> = outputs.iter().map(|batch| batch.to_records().expect(sql)).collect();
    let whole = concat_batches(&records[0].schema(), &records).expect("batches of one query");
    let whole = apply(&planned.whole, Batch::new(whole, None)).to_records().expect(sql);
    assert_eq!(whole.schema().fields(), planned.schema.fields(), "{sql}");
    whole
}

fn emitted(mut aggregate: Box<dyn StatefulOperator>, inputs: &[Batch], metrics: &Metrics) -> Batch {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(NonZeroUsize::MIN.get())
        .build();
    let pool = pool.expect("one thread");
    let context = AbsorbContext {
        closed_micros: None,
        keeps_late: false,
        metrics,
    };
    let mut partials = vec![aggregate.partial(), aggregate.partial()];
    for (index, batch) in inputs.iter().enumerate() {
        partials[index % 2].absorb(batch, context).expect("its own columns");
    }
    aggregate.merge(&mut partials, &pool).expect("small numbers");
    let context = EmitContext {
        mode: OutputMode::Complete,
        watermark_micros: None,
        last: true,
    };
    let batches = aggregate.emit(context, &pool).expect("columns of the groups");
    Batch::new(concat_batches(&aggregate.schema(), &batches).expect("one schema"), None)
}

/// Returns the rows as text; a null is `-`.
fn lines(records: &RecordBatch) -> Vec<String> {
    let cell = |column: &ArrayRef, row| match column.is_null(row) {
        true => "-".to_owned(),
        false => array_value_to_string(column, row).expect("a printable value"),
    };
    let line = |row| {
        records
            .columns()
            .iter()
            .map(|column| cell(column, row))
            .collect::<Vec<_>>()
            .join("|")
    };
    (0..records.num_rows()).map(line).collect()
}

/// Checks the rows, in any order, unless the query has one.
#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    let mut found = lines(&run(sql));
    let mut expected = expected.to_vec();
    if !sql.contains("ORDER BY") {
        found.sort_unstable();
        expected.sort_unstable();
    }
    assert_eq!(found, expected, "{sql}");
}

/// Checks the steps of the plan.
#[track_caller]
fn check_plan(planned: &Planned, expected: &[&str]) {
    let text = planned.explain();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}
