//! Sessions against a plain loop, over watermarks and restarts.

use std::collections::BTreeMap;

use arrow::array::{Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use super::*;
use crate::aggregate::AggregateKind;
use crate::metrics::Metrics;
use crate::operator::retract::split;

const GAP: i64 = 10;
const LATENESS: i64 = 6;

type Row = (&'static str, i64);
/// A key and its session's bounds.
type Session = (String, i64, i64);
/// The number of rows, and the sum of their times.
type Totals = BTreeMap<Session, (i64, i64)>;

fn pool() -> ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .expect("two threads")
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("user", DataType::Utf8, true),
        Field::new("time", time, true),
        Field::new("number", DataType::Int64, true),
    ]))
}

fn operator() -> SessionAggregate {
    let call = |name: &str, kind, arguments: &[&str]| AggregateCall {
        name: name.to_owned(),
        kind,
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
    };
    let calls = [
        call("rows", AggregateKind::Count, &[]),
        call("sum", AggregateKind::Sum, &["number"]),
    ];
    SessionAggregate::new(&["user"], "time", GAP, &calls, &schema()).expect("columns that exist")
}

fn batch(rows: &[(&str, Option<i64>)]) -> Batch {
    let users: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>());
    let numbers: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>());
    let times: Times = rows.iter().map(|row| row.1).collect();
    let columns = vec![users, Arc::new(times.with_timezone("UTC")) as ArrayRef, numbers];
    Batch::new(
        RecordBatch::try_new(schema(), columns).expect("the schema's columns"),
        None,
    )
}

/// Absorbs the rows with two workers, a few at a time, and merges; returns how many were late.
fn absorb(operator: &mut SessionAggregate, closed_micros: Option<i64>, rows: &[Row]) -> u64 {
    let metrics = Metrics::default();
    let context = AbsorbContext {
        closed_micros,
        keeps_late: false,
        metrics: &metrics,
    };
    let mut partials = vec![operator.partial(), operator.partial()];
    for (index, rows) in rows.chunks(3).enumerate() {
        let rows: Vec<_> = rows.iter().map(|&(user, time)| (user, Some(time))).collect();
        partials[index % 2]
            .absorb(&batch(&rows), context)
            .expect("the right columns");
    }
    operator.merge(&mut partials, &pool()).expect("in range");
    metrics.rows_late.get()
}

fn emit(operator: &mut SessionAggregate, mode: OutputMode, watermark_micros: Option<i64>, last: bool) -> Totals {
    let context = EmitContext {
        mode,
        watermark_micros,
        last,
    };
    let mut totals = Totals::new();
    for records in operator.emit(context, &pool()).expect("columns") {
        assert_eq!(records.schema(), operator.schema());
        let time = |column: usize, row| {
            records
                .column(column)
                .as_primitive::<TimestampMicrosecondType>()
                .value(row)
        };
        let number = |column: usize, row| records.column(column).as_primitive::<Int64Type>().value(row);
        for row in 0..records.num_rows() {
            let user = records.column(0).as_string::<i32>().value(row).to_owned();
            let session = (user, time(1, row), time(2, row));
            let before = totals.insert(session, (number(3, row), number(4, row)));
            assert!(before.is_none(), "a session is emitted once");
        }
    }
    totals
}

fn naive(rows: &[Row]) -> Totals {
    let mut sorted = rows.to_vec();
    sorted.sort_unstable();
    let mut totals: Vec<(Session, (i64, i64))> = vec![];
    for (user, time) in sorted {
        match totals.last_mut() {
            Some(((of, _, end), total)) if of == user && time < *end => {
                *end = time + GAP;
                *total = (total.0 + 1, total.1 + time);
            }
            _ => totals.push(((user.to_owned(), time, time + GAP), (1, time))),
        }
    }
    totals.into_iter().collect()
}

fn snapshot(operator: &mut SessionAggregate, extent: Extent) -> Vec<RecordBatch> {
    operator.snapshot(extent).collect::<Result<_>>().expect("columns")
}

#[test]
fn a_row_between_two_sessions_joins_them() {
    let mut operator = operator();
    absorb(&mut operator, None, &[("a", 0), ("a", 15), ("b", 7)]);
    let two = emit(&mut operator, OutputMode::Complete, None, false);
    assert_eq!(two, naive(&[("a", 0), ("a", 15), ("b", 7)]));
    assert_eq!(operator.groups(), 3);
    absorb(&mut operator, None, &[("a", 9)]);
    let one = emit(&mut operator, OutputMode::Complete, None, false);
    assert_eq!(one[&("a".to_owned(), 0, 25)], (3, 24));
    assert_eq!(operator.groups(), 2);
}

#[test]
fn a_row_at_the_end_of_a_session_begins_another() {
    let mut operator = operator();
    absorb(&mut operator, None, &[("a", 0), ("a", GAP), ("a", 2 * GAP - 1)]);
    let sessions = emit(&mut operator, OutputMode::Complete, None, false);
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[&("a".to_owned(), GAP, 3 * GAP - 1)], (2, 3 * GAP - 1));
}

#[test]
fn append_emits_a_session_when_it_has_ended_and_forgets_it() {
    let mut operator = operator();
    absorb(&mut operator, None, &[("a", 0), ("a", 5), ("b", 8)]);
    assert_eq!(emit(&mut operator, OutputMode::Append, Some(14), false), Totals::new());
    let ended = emit(&mut operator, OutputMode::Append, Some(15), false);
    assert_eq!(ended, naive(&[("a", 0), ("a", 5)]));
    assert_eq!(operator.groups(), 1);
    assert_eq!(absorb(&mut operator, Some(15), &[("a", 5), ("b", 6), ("a", 16)]), 1);
    let rest = emit(&mut operator, OutputMode::Append, Some(15), true);
    assert_eq!(rest, naive(&[("b", 8), ("b", 6), ("a", 16)]));
    assert_eq!(operator.groups(), 0);
}

#[test]
fn rows_without_time_are_left_out_and_counted() {
    let metrics = Metrics::default();
    let context = AbsorbContext {
        closed_micros: None,
        keeps_late: false,
        metrics: &metrics,
    };
    let mut operator = operator();
    let mut partials = vec![operator.partial()];
    partials[0]
        .absorb(&batch(&[("a", None), ("a", Some(3))]), context)
        .expect("the right columns");
    operator.merge(&mut partials, &pool()).expect("in range");
    assert_eq!(metrics.rows_late.get(), 1);
    assert_eq!(
        emit(&mut operator, OutputMode::Complete, None, true),
        naive(&[("a", 3)])
    );
}

#[test]
fn what_is_no_session_is_refused() {
    let check = |key: &str, time: &str, gap, expected: &str| {
        let error = SessionAggregate::new(&[key], time, gap, &[], &schema()).expect_err("no session");
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(
        "user",
        "number",
        5,
        "`number` is Int64, expected a timestamp in microseconds",
    );
    check("user", "time", 0, "longer than nothing");
    check("host", "time", 5, "host");
    let refusal = operator().refusal(OutputMode::Update).expect("no update");
    assert!(refusal.contains("taken back in mode update"), "{refusal}");
    assert_eq!(operator().refusal(OutputMode::Append), None);
}

/// What a reader knows who keeps the last row of each key and start, and drops what is taken back.
type Known = BTreeMap<(String, i64), (i64, (i64, i64))>;

/// Emits in mode update, and follows.
fn follow(operator: &mut SessionAggregate, watermark_micros: Option<i64>, known: &mut Known) -> usize {
    let context = EmitContext {
        mode: OutputMode::Update,
        watermark_micros,
        last: false,
    };
    let mut taken_back = 0;
    for records in operator.emit(context, &pool()).expect("columns") {
        assert_eq!(records.schema(), operator.schema());
        let (rows, gone) = split(records).expect("the column is there");
        let time = |records: &RecordBatch, column: usize, row| {
            let times = records.column(column).as_primitive::<TimestampMicrosecondType>();
            times.value(row)
        };
        let key = |records: &RecordBatch, row| {
            let user = records.column(0).as_string::<i32>().value(row).to_owned();
            (user, time(records, 1, row))
        };
        if let Some(gone) = gone {
            for row in 0..gone.num_rows() {
                taken_back += 1;
                known
                    .remove(&key(&gone, row))
                    .expect("only what was put out is taken back");
                assert!(
                    (2..5).all(|column| gone.column(column).is_null(row)),
                    "there is nothing else in it"
                );
            }
        }
        for row in 0..rows.num_rows() {
            let number = |column: usize| rows.column(column).as_primitive::<Int64Type>().value(row);
            known.insert(key(&rows, row), (time(&rows, 2, row), (number(3), number(4))));
        }
    }
    taken_back
}

fn totals_of(known: Known) -> Totals {
    let entry = |((user, start), (end, total))| ((user, start, end), total);
    known.into_iter().map(entry).collect()
}

#[test]
fn update_takes_back_sessions_that_begin_earlier_or_join_an_earlier_one() {
    let mut operator = operator().with_updates();
    let mut known = Known::new();
    absorb(&mut operator, None, &[("a", 20), ("a", 40), ("b", 7)]);
    assert_eq!(follow(&mut operator, None, &mut known), 0);
    absorb(&mut operator, None, &[("a", 45)]);
    assert_eq!(
        follow(&mut operator, None, &mut known),
        0,
        "one that goes on is put out again"
    );
    absorb(&mut operator, None, &[("a", 15)]);
    assert_eq!(follow(&mut operator, None, &mut known), 1, "one that begins earlier");
    absorb(&mut operator, None, &[("a", 28), ("a", 35)]);
    assert_eq!(follow(&mut operator, None, &mut known), 1, "one that joins another");
    absorb(&mut operator, None, &[]);
    assert_eq!(follow(&mut operator, None, &mut known), 0);
    let rows = [15, 20, 28, 35, 40, 45].map(|time| ("a", time));
    assert_eq!(totals_of(known), naive(&[&rows[..], &[("b", 7)]].concat()));
    assert!(operator.refusal(OutputMode::Append).is_some());
}

/// Rows that are never more than the lateness older than the newest before.
fn in_time() -> impl Strategy<Value = Vec<Row>> {
    let step = (0..6_i64, 0..=LATENESS, prop::sample::select(vec!["a", "b", "c"]));
    prop::collection::vec(step, 1..120).prop_map(|steps| {
        let mut newest = 0;
        let row = |(step, delay, user)| {
            newest += step;
            (user, newest - delay)
        };
        steps.into_iter().map(row).collect()
    })
}

proptest! {
    #[test]
    fn complete_sessions_are_those_of_a_plain_loop(
        rows in prop::collection::vec((prop::sample::select(vec!["a", "b"]), 0..400_i64), 0..120),
        size in 1..40_usize,
    ) {
        let mut operator = operator();
        for rows in rows.chunks(size) {
            absorb(&mut operator, None, rows);
            emit(&mut operator, OutputMode::Complete, None, false);
        }
        prop_assert_eq!(emit(&mut operator, OutputMode::Complete, None, true), naive(&rows));
    }

    #[test]
    fn ended_sessions_are_those_of_a_plain_loop_over_restarts(
        rows in in_time(),
        size in 1..40_usize,
        restarts in prop::collection::vec(any::<bool>(), 120),
        mode in prop::sample::select(vec![OutputMode::Append, OutputMode::Complete]),
    ) {
        let mut operator = operator();
        let mut files = vec![];
        let mut totals = Totals::new();
        let mut watermark = None;
        for (rows, is_restarted) in rows.chunks(size).zip(restarts) {
            let closed = mode.closed_micros(watermark);
            if is_restarted {
                operator = self::operator();
                operator.set_seed(Seed(5, 6));
                files.iter().for_each(|file| operator.restore(file, closed).expect("a state"));
            }
            prop_assert_eq!(absorb(&mut operator, closed, rows), 0);
            watermark = watermark.max(rows.iter().map(|row| row.1 - LATENESS).max());
            let ended = emit(&mut operator, mode, watermark, false);
            if mode == OutputMode::Append {
                for (session, total) in ended {
                    prop_assert!(totals.insert(session, total).is_none());
                }
            }
            let extent = if files.len() > 100 { Extent::Base } else { Extent::Delta };
            if extent == Extent::Base {
                files.clear();
            }
            files.extend(snapshot(&mut operator, extent));
        }
        totals.extend(emit(&mut operator, mode, watermark, true));
        prop_assert_eq!(totals, naive(&rows));
    }

    #[test]
    fn sessions_that_are_updated_are_those_of_a_plain_loop_over_restarts(
        rows in in_time(),
        size in 1..40_usize,
        restarts in prop::collection::vec(any::<bool>(), 120),
    ) {
        let mut operator = operator().with_updates();
        let mut files = vec![];
        let mut known = Known::new();
        let mut watermark = None;
        for (rows, is_restarted) in rows.chunks(size).zip(restarts) {
            if is_restarted {
                operator = self::operator().with_updates();
                operator.set_seed(Seed(5, 6));
                files.iter().for_each(|file| operator.restore(file, watermark).expect("a state"));
            }
            prop_assert_eq!(absorb(&mut operator, watermark, rows), 0);
            watermark = watermark.max(rows.iter().map(|row| row.1 - LATENESS).max());
            follow(&mut operator, watermark, &mut known);
            files.extend(snapshot(&mut operator, Extent::Delta));
        }
        prop_assert_eq!(totals_of(known), naive(&rows));
    }
}
