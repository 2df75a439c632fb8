//! The encoder against `serde_json`, which reads back what was written.

use std::sync::Arc;

use arrow::array::{
    BinaryArray, Date32Array, Date64Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int8Array,
    Int64Array, LargeListArray, ListArray, NullArray, StringArray, TimestampMillisecondArray, TimestampNanosecondArray,
    UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{Field, Fields};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

/// Encodes one column, whole and as a slice without its first row, and reads it back.
fn values(array: ArrayRef) -> Vec<Json> {
    let whole = read_back(&array);
    let rest = read_back(&array.slice(1, array.len() - 1));
    assert_eq!(whole[1..], rest, "a sliced array has the same values");
    whole
}

fn read_back(array: &ArrayRef) -> Vec<Json> {
    let records = RecordBatch::try_from_iter([("c", Arc::clone(array))]).expect("one column");
    let mut encoder = JsonEncoder::values();
    let rows = encoder.encode(&records).expect("the type has a text");
    (0..rows.len())
        .map(|row| serde_json::from_slice(rows.row(row)).expect("valid JSON"))
        .collect()
}

#[track_caller]
fn check(array: impl Array + 'static, expected: Json) {
    assert_eq!(Json::Array(values(Arc::new(array))), expected);
}

#[test]
fn a_row_is_an_object_and_the_buffer_is_json_lines() {
    let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let counts: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let records = RecordBatch::try_from_iter([("wo\"rd", words), ("count", counts)]).expect("two columns");
    let mut encoder = JsonEncoder::objects(&records.schema());
    for _ in 0..2 {
        let rows = encoder.encode(&records).expect("plain types");
        assert_eq!(rows.row(0), br#"{"wo\"rd":"a","count":1}"#);
        assert_eq!(rows.row(1), br#"{"wo\"rd":"b","count":null}"#);
        assert_eq!(rows.bytes().iter().filter(|&&byte| byte == b'\n').count(), rows.len());
    }
}

#[test]
fn rows_without_columns_are_empty_objects() {
    let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(2));
    let records = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).expect("no column");
    let mut encoder = JsonEncoder::objects(&records.schema());
    assert_eq!(encoder.encode(&records).expect("no column").bytes(), b"{}\n{}\n");
}

#[test]
fn the_largest_integers_are_whole() {
    check(UInt64Array::from(vec![0, u64::MAX]), json!([0, u64::MAX]));
    check(Int64Array::from(vec![i64::MIN, i64::MAX]), json!([i64::MIN, i64::MAX]));
    check(Int8Array::from(vec![None, Some(-128)]), json!([null, -128]));
}

#[test]
fn not_a_number_and_infinity_are_null() {
    check(
        Float64Array::from(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0]),
        json!([null, null, null, 1.0]),
    );
}

#[test]
fn a_binary_value_is_text_and_what_is_not_utf8_is_repaired() {
    check(
        BinaryArray::from_opt_vec(vec![Some(b"a\"\xff\xfeb"), None, Some("é".as_bytes())]),
        json!(["a\"\u{fffd}\u{fffd}b", null, "é"]),
    );
}

#[test]
fn timestamps_are_rfc_3339_in_utc() {
    check(
        TimestampMillisecondArray::from(vec![Some(0), None, Some(1_795_501_013_001)]).with_timezone("+02:00"),
        json!(["1970-01-01T00:00:00.000000Z", null, "2026-11-24T06:16:53.001000Z"]),
    );
    check(
        TimestampNanosecondArray::from(vec![1, -1]),
        json!(["1970-01-01T00:00:00.000000001Z", "1969-12-31T23:59:59.999999999Z"]),
    );
}

#[test]
fn dates_are_days() {
    check(
        Date32Array::from(vec![0, 20_000, -1]),
        json!(["1970-01-01", "2024-10-04", "1969-12-31"]),
    );
    check(Date64Array::from(vec![0, -1]), json!(["1970-01-01", "1969-12-31"]));
}

#[test]
fn decimals_are_numbers() {
    let array = Decimal128Array::from(vec![12_345, -5]).with_precision_and_scale(10, 2);
    check(array.expect("in range"), json!([123.45, -0.05]));
}

#[test]
fn a_dictionary_is_the_values_it_stands_for() {
    let array: DictionaryArray<Int8Type> = vec![Some("a"), None, Some("b"), Some("a")].into_iter().collect();
    check(array, json!(["a", null, "b", "a"]));
    let empty: DictionaryArray<Int8Type> = vec![None::<&str>, None].into_iter().collect();
    check(empty, json!([null, null]));
}

#[test]
fn lists_and_structs_nest() {
    let lists = vec![Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(4)])];
    check(
        ListArray::from_iter_primitive::<Int32Type, _, _>(lists.clone()),
        json!([[1, null], null, [], [4]]),
    );
    check(
        LargeListArray::from_iter_primitive::<Int32Type, _, _>(lists.clone()),
        json!([[1, null], null, [], [4]]),
    );
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
    let fields = Fields::from(vec![Field::new("l", lists.data_type().clone(), true)]);
    let nulls = NullBuffer::from(vec![true, true, true, false]);
    check(
        StructArray::new(fields, vec![lists], Some(nulls)),
        json!([{"l": [1, null]}, {"l": null}, {"l": []}, null]),
    );
}

#[test]
fn null_columns_are_null_and_rare_types_are_text() {
    check(NullArray::new(2), json!([null, null]));
    let times = cast(&Int64Array::from(vec![1, 61]), &DataType::Time64(TimeUnit::Microsecond)).expect("casts");
    assert_eq!(values(times), [json!("00:00:00.000001"), json!("00:00:00.000061")]);
}

proptest! {
    #[test]
    fn strings_read_back_as_they_were(texts in prop::collection::vec(prop::option::of(any::<String>()), 1..20)) {
        let expected: Vec<Json> = texts.iter().map(|text| json!(text)).collect();
        let array: ArrayRef = Arc::new(StringArray::from(texts));
        for data_type in [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View, DataType::Binary] {
            prop_assert_eq!(&values(cast(&array, &data_type).expect("casts")), &expected);
        }
    }

    #[test]
    fn bytes_of_any_kind_are_valid_json(bytes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70), 1..9)) {
        let expected: Vec<Json> = bytes.iter().map(|bytes| json!(String::from_utf8_lossy(bytes))).collect();
        let array = BinaryArray::from_iter_values(&bytes);
        prop_assert_eq!(values(Arc::new(array)), expected);
    }

    #[test]
    fn floats_read_back_bit_for_bit(value in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO) {
        let text = number(Arc::new(Float64Array::from(vec![value])));
        prop_assert_eq!(text.parse::<f64>().expect("a number").to_bits(), value.to_bits());
    }

    #[test]
    fn single_floats_read_back_bit_for_bit(value in prop::num::f32::NORMAL | prop::num::f32::ZERO) {
        let text = number(Arc::new(Float32Array::from(vec![value])));
        prop_assert_eq!(text.parse::<f32>().expect("a number").to_bits(), value.to_bits());
    }
}

/// Returns the text of a number, after `serde_json` has agreed that it is one.
fn number(array: ArrayRef) -> String {
    let records = RecordBatch::try_from_iter([("c", array)]).expect("one column");
    let mut encoder = JsonEncoder::values();
    let text = encoder.encode(&records).expect("a float").row(0).to_vec();
    serde_json::from_slice::<serde_json::Number>(&text).expect("a JSON number");
    String::from_utf8(text).expect("ASCII")
}
