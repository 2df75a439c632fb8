//! What functions give for small columns, types they take and refuse.

use std::sync::Arc;

use super::*;
use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, StringArray,
    StructArray, TimestampMicrosecondArray, UInt64Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type, TimeUnit};

/// Aggregates `values` into groups 0 and 1 in turn.
#[track_caller]
fn check(kind: AggregateKind, values: ArrayRef, expected: ArrayRef) {
    let function = AggregateFunction::new(kind, &[values.data_type().clone()]).expect("a type it takes");
    let groups: Vec<u32> = (0..u32::try_from(values.len()).expect("small"))
        .map(|row| row % 2)
        .collect();
    let mut whole = function.accumulator();
    whole
        .update(std::slice::from_ref(&values), &groups, 2)
        .expect("in range");
    assert_eq!(&whole.evaluate(&[0, 1]), &expected);
    assert_eq!(*expected.data_type(), function.result_type());

    // Row by row through the state columns gives the same.
    let mut merged = function.accumulator();
    merged
        .update(std::slice::from_ref(&values), &groups, 2)
        .expect("in range");
    merged.reset(&[0, 1], 2);
    for (row, &group) in groups.iter().enumerate() {
        let mut partial = function.accumulator();
        partial.update(&[values.slice(row, 1)], &[0], 1).expect("in range");
        let state = partial.state(&[0]);
        let types: Vec<_> = state.iter().map(|column| column.data_type().clone()).collect();
        assert_eq!(types, function.state_types());
        merged.merge(&state, &[group], 2).expect("in range");
    }
    assert_eq!(&merged.evaluate(&[0, 1]), &expected);
}

#[test]
fn functions_skip_nulls_and_give_null_without_values() {
    let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(3), None, Some(-4), None]));
    let longs = |a, b| Arc::new(Int64Array::from(vec![a, b])) as ArrayRef;
    let ints = |a, b| Arc::new(Int32Array::from(vec![a, b])) as ArrayRef;
    check(AggregateKind::Count, values.clone(), longs(Some(2), Some(0)));
    check(AggregateKind::Sum, values.clone(), longs(Some(-1), None));
    check(AggregateKind::Min, values.clone(), ints(Some(-4), None));
    check(AggregateKind::Max, values.clone(), ints(Some(3), None));
    check(
        AggregateKind::Avg,
        values,
        Arc::new(Float64Array::from(vec![Some(-0.5), None])),
    );
}

#[test]
fn floats_are_summed_as_floats() {
    let values: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 1.0, 0.25, -3.0]));
    let floats = |a, b| Arc::new(Float64Array::from(vec![a, b])) as ArrayRef;
    check(AggregateKind::Sum, values.clone(), floats(0.75, -2.0));
    check(AggregateKind::Avg, values.clone(), floats(0.375, -1.0));
    check(AggregateKind::Max, values, floats(0.5, 1.0));
}

#[test]
fn the_mean_of_large_integers_is_exact() {
    let values: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1, i64::MAX, 2]));
    let expected = Arc::new(Float64Array::from(vec![9_223_372_036_854_775_807.0, 1.5]));
    check(AggregateKind::Avg, values, expected);
}

#[test]
fn strings_binaries_booleans_and_times_have_extremes() {
    let strings = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
    check(
        AggregateKind::Min,
        strings(vec!["b", "z", "a", "ß"]),
        strings(vec!["a", "z"]),
    );
    check(
        AggregateKind::Max,
        strings(vec!["b", "z", "a", "ß"]),
        strings(vec!["b", "ß"]),
    );
    let binaries = |values: Vec<&[u8]>| Arc::new(BinaryArray::from(values)) as ArrayRef;
    check(
        AggregateKind::Max,
        binaries(vec![b"\xff", b"", b"\x00", b"a"]),
        binaries(vec![b"\xff", b"a"]),
    );
    let bools = |values: Vec<bool>| Arc::new(BooleanArray::from(values)) as ArrayRef;
    check(
        AggregateKind::Min,
        bools(vec![true, true, false, true]),
        bools(vec![false, true]),
    );
    let times = |values: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) as ArrayRef;
    check(AggregateKind::Max, times(vec![5, 9, 7, -1]), times(vec![7, 9]));
}

#[test]
fn a_sum_that_leaves_its_range_is_an_error() {
    let function = AggregateFunction::new(AggregateKind::Sum, &[DataType::Int64]).expect("integers");
    let values: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1]));
    let error = function
        .accumulator()
        .update(&[values], &[0, 0], 1)
        .expect_err("too large");
    assert!(error.to_string().contains("out of range"), "{error}");
    let function = AggregateFunction::new(AggregateKind::Sum, &[DataType::UInt64]).expect("integers");
    let values: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    function
        .accumulator()
        .update(&[values], &[0], 1)
        .expect_err("too large");
}

#[test]
fn a_function_refuses_types_it_does_not_take() {
    for (kind, arguments, expected) in [
        (
            AggregateKind::Sum,
            vec![DataType::Utf8],
            "sum does not take Utf8, expected a column of integers",
        ),
        (
            AggregateKind::Avg,
            vec![],
            "avg needs an argument, expected a column of integers or floats",
        ),
        (AggregateKind::Min, vec![DataType::Null], "min does not take Null"),
        (
            AggregateKind::BoolAnd,
            vec![DataType::Int8],
            "expected a column of booleans",
        ),
        (
            AggregateKind::First,
            vec![DataType::Utf8],
            "expected a column of values and one to order them by",
        ),
        (
            AggregateKind::Max,
            vec![DataType::Utf8, DataType::Utf8],
            "max does not take Utf8 and Utf8",
        ),
        (
            AggregateKind::TopK(0),
            vec![DataType::Utf8],
            "the number of values is from 1 to 1000, not 0",
        ),
    ] {
        let error = AggregateFunction::new(kind, &arguments)
            .expect_err("not taken")
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Columns of many types, each with the values a, b, null, a, where a is less than b.
fn columns_of_every_type() -> Vec<ArrayRef> {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(1)]));
    let types = [
        DataType::Int8,
        DataType::UInt16,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(20, 2),
        DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        DataType::Time64(TimeUnit::Microsecond),
        DataType::Duration(TimeUnit::Second),
        DataType::Date64,
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
    ];
    let cast = |to: &DataType| arrow::compute::cast(&numbers, to).expect("a cast of Arrow's");
    let mut columns: Vec<_> = types.iter().map(cast).collect();
    columns.push(arrow::compute::cast(&cast(&DataType::Utf8), &DataType::Binary).expect("bytes"));
    columns.push(Arc::new(BooleanArray::from(vec![
        Some(false),
        Some(true),
        None,
        Some(false),
    ])));
    let lists = [
        Some(vec![Some(1)]),
        Some(vec![Some(1), None]),
        None,
        Some(vec![Some(1)]),
    ];
    columns.push(Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)));
    let field = Arc::new(Field::new("number", DataType::Int64, true));
    let nulls = numbers.nulls().cloned();
    columns.push(Arc::new(StructArray::new(vec![field].into(), vec![numbers], nulls)));
    columns
}

#[test]
fn functions_of_values_take_every_type_that_can_be_grouped_by() {
    let times: ArrayRef = Arc::new(Int64Array::from(vec![5, 6, 0, 5]));
    for column in columns_of_every_type() {
        let result = |kind: AggregateKind, columns: &[ArrayRef]| {
            let types: Vec<_> = columns.iter().map(|column| column.data_type().clone()).collect();
            let function = AggregateFunction::new(kind, &types).expect("a type it takes");
            let mut partial = function.accumulator();
            partial.update(columns, &[0, 0, 0, 0], 1).expect("values");
            let mut merged = function.accumulator();
            merged.merge(&partial.state(&[0]), &[0], 1).expect("a state");
            let result = merged.evaluate(&[0]);
            assert_eq!(*result.data_type(), function.result_type());
            let state: Vec<_> = merged
                .state(&[0])
                .iter()
                .map(|column| column.data_type().clone())
                .collect();
            assert_eq!(state, function.state_types());
            result
        };
        let one = std::slice::from_ref(&column);
        let two = [Arc::clone(&column), Arc::clone(&times)];
        assert_eq!(&result(AggregateKind::Min, one), &column.slice(0, 1));
        assert_eq!(&result(AggregateKind::Max, one), &column.slice(1, 1));
        assert_eq!(&result(AggregateKind::First, &two), &column.slice(0, 1));
        assert_eq!(&result(AggregateKind::Last, &two), &column.slice(1, 1));
        let two_values: ArrayRef = Arc::new(Int64Array::from(vec![2]));
        assert_eq!(&result(AggregateKind::CountDistinct, one), &two_values);
        assert_eq!(&result(AggregateKind::ApproxDistinct, one), &two_values);
        let bytes_max = COLLECTED_BYTES;
        let sorted = take(&column, &Int64Array::from(vec![0, 3, 1, 2]), None).expect("four rows");
        let listed = result(AggregateKind::ArrayAgg { bytes_max }, one);
        assert_eq!(&listed.as_list::<i32>().value(0), &sorted);
        let top = result(AggregateKind::TopK(1), one);
        let top = top.as_list::<i32>().value(0);
        assert_eq!(top.as_struct().column(0), &column.slice(0, 1));
    }
}

#[test]
fn a_group_without_values_is_null_and_its_counts_are_zero() {
    for entry in registry::ENTRIES {
        let kind = entry.kind.clone();
        let argument = match kind {
            AggregateKind::BoolAnd | AggregateKind::BoolOr => DataType::Boolean,
            AggregateKind::StringAgg { .. } => DataType::Utf8,
            _ => DataType::Int32,
        };
        let types = vec![argument; entry.columns];
        let function = AggregateFunction::new(kind, &types).expect("types it takes");
        let mut empty = function.accumulator();
        let none: Vec<_> = types.iter().map(|argument| new_null_array(argument, 0)).collect();
        empty.update(&none, &[], 2).expect("no row");
        let mut merged = function.accumulator();
        merged.merge(&empty.state(&[0, 1]), &[1, 0], 2).expect("a state");
        for result in [empty.evaluate(&[1]), merged.evaluate(&[0])] {
            assert_eq!(result.is_null(0), function.is_nullable(), "{}", entry.name);
            assert_eq!(*result.data_type(), function.result_type(), "{}", entry.name);
            if !function.is_nullable() {
                assert_eq!(result.as_primitive::<Int64Type>().value(0), 0, "{}", entry.name);
            }
        }
    }
}

#[test]
fn a_dictionary_stands_for_its_values() {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let function = AggregateFunction::new(AggregateKind::Max, &[dictionary]).expect("strings");
    assert_eq!(function.argument_types(), [DataType::Utf8]);
    assert_eq!(function.result_type(), DataType::Utf8);
}

#[test]
fn first_and_last_go_by_time_then_by_value_and_leave_rows_with_nulls_out() {
    let values: ArrayRef = Arc::new(StringArray::from(vec![
        Some("b"),
        Some("a"),
        None,
        Some("d"),
        Some("c"),
        Some("e"),
    ]));
    let times: ArrayRef = Arc::new(Int64Array::from(vec![
        Some(1),
        Some(1),
        Some(0),
        Some(9),
        Some(9),
        None,
    ]));
    for (kind, expected) in [(AggregateKind::First, "a"), (AggregateKind::Last, "d")] {
        let function = AggregateFunction::new(kind, &[DataType::Utf8, DataType::Int64]).expect("values and times");
        let mut kept = function.accumulator();
        kept.update(&[values.clone(), times.clone()], &[0; 6], 1)
            .expect("values");
        assert_eq!(kept.evaluate(&[0]).as_string::<i32>().value(0), expected);
    }
}

#[test]
fn the_memory_of_a_state_is_at_least_what_is_in_it() {
    const GROUPS: u32 = 1000;
    let texts: ArrayRef = Arc::new(
        (0..GROUPS)
            .map(|group| Some(format!("{group:040}")))
            .collect::<StringArray>(),
    );
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..i64::from(GROUPS)));
    let collected = COLLECTED_BYTES;
    let of_texts = [
        AggregateKind::CountDistinct,
        AggregateKind::ApproxDistinct,
        AggregateKind::Min,
        AggregateKind::Max,
        AggregateKind::TopK(3),
        AggregateKind::ArrayAgg { bytes_max: collected },
    ];
    let of_numbers = [
        AggregateKind::Count,
        AggregateKind::Sum,
        AggregateKind::Avg,
        AggregateKind::Min,
        AggregateKind::Stddev,
        AggregateKind::ApproxQuantile(Quantile::MEDIAN),
    ];
    let cases = of_texts
        .map(|kind| (kind, &texts))
        .into_iter()
        .chain(of_numbers.map(|kind| (kind, &numbers)));
    for (kind, values) in cases {
        let name = format!("{kind:?}");
        let function = AggregateFunction::new(kind, &[values.data_type().clone()]).expect("a type it takes");
        let mut accumulator = function.accumulator();
        let groups: Vec<u32> = (0..GROUPS).collect();
        let begun = accumulator.memory();
        accumulator
            .update(std::slice::from_ref(values), &groups, GROUPS as usize)
            .expect("in range");
        let content: usize = accumulator
            .state(&groups)
            .iter()
            .map(|column| column.get_buffer_memory_size())
            .sum();
        let held = accumulator.memory() - begun;
        // A list's offsets and an array's spare room are no part of the state.
        assert!(
            held * 2 >= content && held <= 40 * content,
            "{name}: {held} bytes for {content}"
        );
    }
}
