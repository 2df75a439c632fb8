//! The aggregate against a plain loop, and its state over restarts.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use proptest::prelude::*;

use super::*;
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
    let call = |name: &str, kind, argument: Option<&str>| AggregateCall {
        name: name.to_owned(),
        kind,
        argument: argument.map(str::to_owned),
    };
    let calls = [
        call("count", AggregateKind::Count, None),
        call("bytes", AggregateKind::Sum, Some("bytes")),
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
        argument: None,
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
