//! Every function against a naive twin, whole and split into workers: what a job does with an accumulator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray};
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;

use super::*;

const GROUPS: [u32; 5] = [4, 3, 2, 1, 0];
const WORKERS: usize = 3;

/// A row: its group, its value, its time, and the worker that sees it.
type Row = (u32, Option<i32>, Option<i64>, usize);

/// What a function should give for a group, and the relative error that it may have.
enum Expected {
    Text(String),
    Number(Option<f64>, f64),
}

fn kinds() -> Vec<AggregateKind> {
    let parameters = |kind: &AggregateKind| match kind {
        AggregateKind::ApproxQuantile(_) => vec!["0.7"],
        AggregateKind::TopK(_) => vec!["2"],
        AggregateKind::StringAgg { .. } => vec![", "],
        _ => vec![],
    };
    let kind = |entry: &registry::Entry| AggregateKind::from_name(entry.name, &parameters(&entry.kind));
    let kinds: Result<_> = registry::ENTRIES.iter().map(kind).collect();
    kinds.expect("parameters that fit")
}

/// A string for a value: short, middle and long ones as the group table has them.
fn text(value: i32) -> String {
    let width = [1, 15, 16, 31, 32, 50][value.unsigned_abs() as usize % 6];
    format!("{value:x>width$}")
}

fn is_even(value: i32) -> bool {
    value % 2 == 0
}

fn arguments(kind: &AggregateKind, rows: &[Row]) -> Vec<ArrayRef> {
    use AggregateKind::*;
    let texts = || Arc::new(rows.iter().map(|row| row.1.map(text)).collect::<StringArray>());
    let times = || Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>());
    match kind {
        BoolAnd | BoolOr => vec![Arc::new(
            rows.iter().map(|row| row.1.map(is_even)).collect::<BooleanArray>(),
        )],
        First | Last => vec![texts(), times()],
        Count | CountDistinct | ApproxDistinct | Min | Max | TopK(_) | StringAgg { .. } | ArrayAgg { .. } => {
            vec![texts()]
        }
        _ => vec![Arc::new(rows.iter().map(|row| row.1).collect::<Int32Array>())],
    }
}

/// The twin: what the function gives for the rows of one group.
fn naive(kind: &AggregateKind, rows: &[Row]) -> Expected {
    use AggregateKind::*;
    let values: Vec<i32> = rows.iter().filter_map(|row| row.1).collect();
    let mut texts: Vec<String> = values.iter().copied().map(text).collect();
    texts.sort();
    let distinct = texts.iter().collect::<BTreeSet<_>>().len();
    let mut timed: Vec<_> = rows.iter().filter_map(|row| Some((row.2?, text(row.1?)))).collect();
    timed.sort();
    let some = |text: Option<&String>| Expected::Text(text.cloned().unwrap_or_default());
    match kind {
        Count => Expected::Text(values.len().to_string()),
        CountDistinct | ApproxDistinct => Expected::Text(distinct.to_string()),
        Min => some(texts.first()),
        Max => some(texts.last()),
        First => some(timed.first().map(|(_, text)| text)),
        Last => some(timed.last().map(|(_, text)| text)),
        TopK(k) => Expected::Text(naive_top(&texts, *k)),
        StringAgg { separator, .. } => Expected::Text(texts.join(separator)),
        ArrayAgg { .. } => {
            texts.extend(rows.iter().filter(|row| row.1.is_none()).map(|_| String::new()));
            Expected::Text(if texts.is_empty() {
                String::new()
            } else {
                format!("[{}]", texts.join(", "))
            })
        }
        BoolAnd if !values.is_empty() => Expected::Text(values.iter().all(|&value| is_even(value)).to_string()),
        BoolOr if !values.is_empty() => Expected::Text(values.iter().any(|&value| is_even(value)).to_string()),
        BoolAnd | BoolOr => Expected::Text(String::new()),
        _ => naive_number(kind, values),
    }
}

fn naive_number(kind: &AggregateKind, mut values: Vec<i32>) -> Expected {
    values.sort_unstable();
    let count = values.len() as f64;
    let sum: f64 = values.iter().copied().map(f64::from).sum();
    let squares: f64 = values
        .iter()
        .map(|&value| (f64::from(value) - sum / count).powi(2))
        .sum();
    let when = |is_defined: bool, number: f64| Expected::Number(is_defined.then_some(number), 1e-9);
    let has_one = !values.is_empty();
    let has_two = values.len() > 1;
    match kind {
        AggregateKind::Sum => when(has_one, sum),
        AggregateKind::Avg => when(has_one, sum / count),
        AggregateKind::VarSamp => when(has_two, squares / (count - 1.0)),
        AggregateKind::VarPop => when(has_one, squares / count),
        AggregateKind::Stddev => when(has_two, (squares / (count - 1.0)).sqrt()),
        AggregateKind::StddevPop => when(has_one, (squares / count).sqrt()),
        AggregateKind::ApproxQuantile(quantile) => {
            let rank = (quantile.fraction() * (count - 1.0)).floor();
            Expected::Number(values.get(rank as usize).map(|&value| f64::from(value)), 0.010_001)
        }
        other => panic!("{other} has no twin"),
    }
}

fn naive_top(texts: &[String], k: usize) -> String {
    let mut counts: BTreeMap<&String, i64> = BTreeMap::new();
    texts.iter().for_each(|text| *counts.entry(text).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(text, count)| (-count, text));
    let items = counts
        .iter()
        .take(k)
        .map(|(text, count)| format!("{{value: {text}, count: {count}}}"));
    let items: Vec<_> = items.collect();
    if items.is_empty() {
        String::new()
    } else {
        format!("[{}]", items.join(", "))
    }
}

/// Asserts that the groups have the results of the twin.
#[track_caller]
fn check(kind: &AggregateKind, how: &str, found: &dyn Accumulator, rows: &[Row]) {
    let results = found.evaluate(&GROUPS);
    for (row, group) in GROUPS.into_iter().enumerate() {
        let mine: Vec<Row> = rows.iter().filter(|row| row.0 == group).copied().collect();
        let found = array_value_to_string(&results, row).expect("a value that can be shown");
        match naive(kind, &mine) {
            Expected::Text(expected) => assert_eq!(found, expected, "{kind} {how}"),
            Expected::Number(None, _) => assert_eq!(found, "", "{kind} {how}"),
            Expected::Number(Some(expected), error) => {
                let found: f64 = found.parse().expect("a number");
                let distance = (found - expected).abs();
                assert!(
                    distance <= error * expected.abs() + 1e-9,
                    "{kind} {how}: {found}, not {expected}"
                );
            }
        }
    }
}

/// Updates with the rows, in batches of seven.
fn update(kind: &AggregateKind, accumulator: &mut dyn Accumulator, rows: &[Row]) {
    accumulator.update(&arguments(kind, &[]), &[], 5).expect("no row");
    for rows in rows.chunks(7) {
        let groups: Vec<u32> = rows.iter().map(|row| row.0).collect();
        // A slice of a longer column, as operators make them.
        let mut longer = vec![(0, Some(99), Some(0), 0)];
        longer.extend_from_slice(rows);
        let arguments: Vec<_> = arguments(kind, &longer)
            .iter()
            .map(|column| column.slice(1, rows.len()))
            .collect();
        accumulator.update(&arguments, &groups, 5).expect("in range");
    }
}

/// Merges the state in two slices, as state shards do.
fn merge(accumulator: &mut dyn Accumulator, state: &[ArrayRef]) {
    for (from, to) in [(0, 2), (2, 5)] {
        let slices: Vec<_> = state.iter().map(|column| column.slice(from, to - from)).collect();
        accumulator.merge(&slices, &GROUPS[from..to], 5).expect("a state");
    }
}

proptest! {
    #[test]
    fn any_split_into_workers_gives_the_same(
        rows in prop::collection::vec(
            (0..5_u32, prop::option::weighted(0.9, -20..20_i32), prop::option::weighted(0.9, 0..4_i64), 0..WORKERS),
            0..100,
        )
    ) {
        for kind in kinds() {
            let types: Vec<_> = arguments(&kind, &[]).iter().map(|column| column.data_type().clone()).collect();
            let function = AggregateFunction::new(kind.clone(), &types).expect("types it takes");
            let mut whole = function.accumulator();
            update(&kind, whole.as_mut(), &rows);
            check(&kind, "in one", whole.as_ref(), &rows);

            let (mut merged, mut partial) = (function.accumulator(), function.accumulator());
            for worker in 0..WORKERS {
                let mine: Vec<Row> = rows.iter().filter(|row| row.3 == worker).copied().collect();
                update(&kind, partial.as_mut(), &mine);
                merge(merged.as_mut(), &partial.state(&GROUPS));
                partial.clear();
            }
            check(&kind, "in parts", merged.as_ref(), &rows);

            merged.reset(&[1, 3], 5);
            let kept: Vec<Row> = rows.iter().filter(|row| row.0 % 2 == 0).copied().collect();
            check(&kind, "after a reset", merged.as_ref(), &kept);
            merged.merge(&whole.state(&[3, 1]), &[3, 1], 5).expect("a state");
            check(&kind, "restored", merged.as_ref(), &rows);
        }
    }
}
