//! The aggregate against a plain loop, and its state over restarts.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;

use super::*;
use crate::aggregate::AggregateKind;
use crate::metrics::Metrics;
use crate::operator::OutputMode;

const UPDATE: EmitContext = EmitContext {
    mode: OutputMode::Update,
    watermark_micros: None,
    last: false,
};
const COMPLETE: EmitContext = EmitContext {
    mode: OutputMode::Complete,
    ..UPDATE
};

type Row<'a> = (Option<&'a str>, i64);
type Totals = BTreeMap<Option<String>, (i64, i64)>;

fn pool() -> ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .expect("two threads")
}

fn schema() -> SchemaRef {
    let key = Field::new("word", DataType::Utf8, true);
    Arc::new(Schema::new(vec![key, Field::new("bytes", DataType::Int64, true)]))
}

fn operator() -> HashAggregate {
    let call = |name: &str, kind, arguments: &[&str]| AggregateCall {
        name: name.to_owned(),
        kind,
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
    };
    let calls = [
        call("count", AggregateKind::Count, &[]),
        call("bytes", AggregateKind::Sum, &["bytes"]),
    ];
    HashAggregate::new(&["word"], &calls, &schema()).expect("columns that exist")
}

fn batch(rows: &[Row<'_>]) -> Batch {
    let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>());
    let bytes: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>());
    Batch::new(
        RecordBatch::try_new(schema(), vec![keys, bytes]).expect("the schema's columns"),
        None,
    )
}

/// Absorbs the rows with two workers and merges.
fn absorb(operator: &mut HashAggregate, rows: &[Row<'_>]) {
    let context = AbsorbContext {
        closed_micros: None,
        keeps_late: false,
        metrics: &Metrics::default(),
    };
    let mut partials = vec![operator.partial(), operator.partial()];
    for (index, rows) in rows.chunks(3).enumerate() {
        partials[index % 2]
            .absorb(&batch(rows), context)
            .expect("the right columns");
    }
    operator.merge(&mut partials, &pool()).expect("in range");
}

fn totals(batches: &[RecordBatch]) -> Totals {
    let mut totals = Totals::new();
    for batch in batches {
        let (keys, counts, sums) = (batch.column(0), batch.column(1), batch.column(2));
        for row in 0..batch.num_rows() {
            let keys = keys.as_string::<i32>();
            let key = keys.is_valid(row).then(|| keys.value(row).to_owned());
            let number = |column: &ArrayRef| column.as_primitive::<Int64Type>().value(row);
            assert!(
                totals.insert(key, (number(counts), number(sums))).is_none(),
                "a group is emitted once"
            );
        }
    }
    totals
}

fn naive(rows: &[Row<'_>]) -> Totals {
    let mut totals = Totals::new();
    for (key, bytes) in rows {
        let total = totals.entry(key.map(str::to_owned)).or_default();
        *total = (total.0 + 1, total.1 + bytes);
    }
    totals
}

#[test]
fn update_emits_the_groups_that_changed_and_complete_all() {
    let mut operator = operator();
    let rows = [(Some("a"), 1), (Some("b"), 2), (None, 3), (Some("a"), 4)];
    absorb(&mut operator, &rows);
    assert_eq!(totals(&operator.emit(UPDATE, &pool()).expect("columns")), naive(&rows));
    absorb(&mut operator, &[(Some("b"), 5)]);
    let changed = totals(&operator.emit(UPDATE, &pool()).expect("columns"));
    assert_eq!(changed, Totals::from([(Some("b".to_owned()), (2, 7))]));
    assert_eq!(totals(&operator.emit(UPDATE, &pool()).expect("columns")), Totals::new());
    let all = totals(&operator.emit(COMPLETE, &pool()).expect("columns"));
    assert_eq!(all.len(), 3);
    assert_eq!(operator.groups(), 3);
}

#[test]
fn without_keys_all_rows_are_one_group() {
    let call = AggregateCall {
        name: "rows".to_owned(),
        kind: AggregateKind::Count,
        arguments: vec![],
    };
    let mut operator = HashAggregate::new(&[], &[call], &schema()).expect("no column is needed");
    absorb(&mut operator, &[(Some("a"), 1), (None, 2), (Some("b"), 2), (None, 2)]);
    let rows = operator.emit(UPDATE, &pool()).expect("columns");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().values(), &[4]);
}

#[test]
fn a_base_and_its_deltas_restore_the_state() {
    let words: Vec<String> = (0..500).map(|number| format!("word-{number:020}")).collect();
    let mut first = operator();
    let mut all = vec![];
    let mut files = vec![];
    for round in 0..4 {
        let rows: Vec<_> = words[100 * round..]
            .iter()
            .map(|word| (Some(word.as_str()), 7))
            .collect();
        absorb(&mut first, &rows);
        all.extend(rows);
        first.emit(UPDATE, &pool()).expect("columns");
        let extent = if round == 1 { Extent::Base } else { Extent::Delta };
        let file: Vec<_> = first.snapshot(extent).collect::<Result<_>>().expect("columns");
        let rows: usize = file.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, if extent == Extent::Base { 500 } else { 500 - 100 * round });
        files.push(file);
    }
    let mut second = operator();
    second.set_seed(Seed(5, 6));
    for records in files[1..].iter().flatten() {
        second.restore(records, None).expect("a state of this operator");
    }
    assert_eq!(
        totals(&second.emit(UPDATE, &pool()).expect("columns")),
        Totals::new(),
        "nothing has changed since"
    );
    assert_eq!(totals(&second.emit(COMPLETE, &pool()).expect("columns")), naive(&all));
}

proptest! {
    #[test]
    fn groups_are_those_of_a_plain_loop(
        rows in prop::collection::vec((prop::option::of("[a-c]{0,3}|[a-b]{14,17}"), -9..9_i64), 0..200),
        batches in 1..4_usize,
    ) {
        let rows: Vec<Row<'_>> = rows.iter().map(|(key, bytes)| (key.as_deref(), *bytes)).collect();
        let mut operator = operator();
        for rows in rows.chunks(rows.len() / batches + 1) {
            absorb(&mut operator, rows);
        }
        prop_assert_eq!(totals(&operator.emit(COMPLETE, &pool()).expect("columns")), naive(&rows));
    }
}

fn windowed() -> HashAggregate {
    let schema = Schema::new(vec![Field::new("window", minutes(vec![]).data_type().clone(), true)]);
    let call = AggregateCall {
        name: "count".to_owned(),
        kind: AggregateKind::Count,
        arguments: vec![],
    };
    let aggregate = HashAggregate::new(&["window"], &[call], &schema).expect("a column that exists");
    aggregate.with_window("window", 60).expect("a timestamp")
}

fn minutes(starts: Vec<Option<i64>>) -> ArrayRef {
    let micros = starts
        .into_iter()
        .map(|minute| minute.map(|minute| 60 * minute))
        .collect::<Vec<_>>();
    Arc::new(TimestampMicrosecondArray::from(micros))
}

/// Absorbs rows of the windows that start at these minutes, and returns how many were late.
fn absorb_minutes(operator: &mut HashAggregate, closed_micros: Option<i64>, starts: Vec<Option<i64>>) -> u64 {
    let metrics = Metrics::default();
    let records = RecordBatch::try_from_iter([("window", minutes(starts))]).expect("one column");
    let mut partials = vec![operator.partial()];
    let context = AbsorbContext {
        closed_micros,
        keeps_late: false,
        metrics: &metrics,
    };
    partials[0]
        .absorb(&Batch::new(records, None), context)
        .expect("a timestamp column");
    operator.merge(&mut partials, &pool()).expect("in range");
    metrics.rows_late.get()
}

/// Emits at a watermark, and returns minute and count of each group.
fn emit_at(operator: &mut HashAggregate, mode: OutputMode, watermark: i64, last: bool) -> Vec<(i64, i64)> {
    let context = EmitContext {
        mode,
        watermark_micros: Some(watermark),
        last,
    };
    let mut rows = vec![];
    for records in operator.emit(context, &pool()).expect("columns") {
        let starts = records.column(0).as_primitive::<TimestampMicrosecondType>().values();
        let counts = records.column(1).as_primitive::<Int64Type>().values();
        rows.extend(starts.iter().map(|start| start / 60).zip(counts.iter().copied()));
    }
    rows.sort_unstable();
    rows
}

#[test]
fn append_emits_a_window_once_when_it_has_closed() {
    let mut operator = windowed();
    absorb_minutes(&mut operator, None, vec![Some(0), Some(1), Some(1), Some(2)]);
    assert_eq!(emit_at(&mut operator, OutputMode::Append, 119, false), [(0, 1)]);
    assert_eq!(operator.groups(), 2);
    let late = absorb_minutes(&mut operator, Some(119), vec![Some(0), Some(1), None, Some(3)]);
    assert_eq!(late, 2, "a closed window, and none at all");
    assert_eq!(emit_at(&mut operator, OutputMode::Append, 119, false), []);
    assert_eq!(emit_at(&mut operator, OutputMode::Append, 120, false), [(1, 3)]);
    assert_eq!(emit_at(&mut operator, OutputMode::Append, 120, true), [(2, 1), (3, 1)]);
    assert_eq!(operator.groups(), 0);
}

#[test]
fn update_forgets_a_closed_window_after_its_last_emit_and_complete_never_does() {
    let mut operator = windowed();
    absorb_minutes(&mut operator, None, vec![Some(0), Some(1), Some(1), Some(2)]);
    let all = [(0, 1), (1, 2), (2, 1)];
    assert_eq!(emit_at(&mut operator, OutputMode::Update, 120, false), all);
    assert_eq!(operator.groups(), 1);
    absorb_minutes(&mut operator, Some(120), vec![Some(2)]);
    assert_eq!(emit_at(&mut operator, OutputMode::Update, 120, true), [(2, 2)]);

    let mut operator = windowed();
    absorb_minutes(&mut operator, None, vec![Some(0), Some(1), Some(1), Some(2)]);
    assert_eq!(emit_at(&mut operator, OutputMode::Complete, 120, false), all);
    assert_eq!(emit_at(&mut operator, OutputMode::Complete, 120, true), all);
}

#[test]
fn a_restore_leaves_out_what_was_closed_since_it_was_written() {
    for mode in [OutputMode::Append, OutputMode::Update] {
        let mut first = windowed();
        let mut files: Vec<RecordBatch> = vec![];
        let mut snapshot = |operator: &mut HashAggregate| {
            let rows = operator.snapshot(Extent::Delta).collect::<Result<Vec<_>>>();
            files.extend(rows.expect("columns"));
        };
        absorb_minutes(&mut first, None, vec![Some(0), Some(1), Some(1), Some(2)]);
        emit_at(&mut first, mode, 0, false);
        snapshot(&mut first);
        absorb_minutes(&mut first, Some(0), vec![Some(1), Some(3), Some(2)]);
        emit_at(&mut first, mode, 120, false);
        absorb_minutes(&mut first, Some(120), vec![Some(3)]);
        emit_at(&mut first, mode, 120, false);
        snapshot(&mut first);

        let mut second = windowed();
        second.set_seed(Seed(5, 6));
        files
            .iter()
            .for_each(|records| second.restore(records, Some(120)).expect("a state of this operator"));
        assert_eq!(second.groups(), 2);
        assert_eq!(
            emit_at(&mut second, OutputMode::Update, 120, false),
            [],
            "nothing has changed since"
        );
        assert_eq!(emit_at(&mut second, OutputMode::Append, 240, false), [(2, 2), (3, 2)]);
    }
}

#[test]
fn a_window_that_is_none_is_refused() {
    let check = |key: &str, size, expected: &str| {
        let schema = Schema::new(vec![
            Field::new("window", minutes(vec![]).data_type().clone(), true),
            Field::new("word", DataType::Utf8, true),
        ]);
        let aggregate = HashAggregate::new(&["window", "word"], &[], &schema).expect("columns that exist");
        let error = aggregate.with_window(key, size).expect_err("no window").to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        "minute",
        60,
        "`minute` is no key of the aggregate; keys are: window, word",
    );
    check("word", 60, "`word` is Utf8, expected a timestamp in microseconds");
    check("window", 0, "longer than nothing");
}

#[test]
fn memory_is_that_of_the_groups_in_the_state_and_in_the_workers() {
    let words: Vec<_> = (0..10_000).map(|number| format!("{number:050}")).collect();
    let rows: Vec<Row<'_>> = words.iter().map(|word| (Some(word.as_str()), 1)).collect();
    let mut operator = operator();
    let begun = operator.memory();
    let mut partials = vec![operator.partial()];
    let context = AbsorbContext {
        closed_micros: None,
        keeps_late: false,
        metrics: &Metrics::default(),
    };
    partials[0].absorb(&batch(&rows), context).expect("the right columns");
    let content = 10_000 * (50 + 2 * size_of::<i64>());
    assert!(
        partials[0].memory() >= content,
        "{} bytes in the worker",
        partials[0].memory()
    );
    operator.merge(&mut partials, &pool()).expect("in range");
    let held = operator.memory() - begun;
    assert!(held >= content && held < 8 * content, "{held} bytes for {content}");
}
