use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use proptest::prelude::*;

use super::*;
use crate::decode::avro::golden::{GOLDEN_SCHEMA, Golden};
use crate::decode::{AvroDecoder, Decoder, TimeZone};

fn format(fields: &str, framing: Framing) -> AvroFormat {
    AvroFormat {
        schema: Arc::new(record(fields).parse().expect("a schema")),
        framing,
    }
}

fn record(fields: &str) -> String {
    format!(r#"{{"type": "record", "name": "Line", "fields": [{fields}]}}"#)
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .expect("columns of one length")
}

fn encode(format: AvroFormat, records: &RecordBatch) -> Result<Vec<Vec<u8>>> {
    let mut encoder = AvroEncoder::new(format, &records.schema())?;
    let rows = encoder.encode(records)?;
    Ok((0..rows.len()).map(|row| rows.row(row).to_vec()).collect())
}

/// Encodes a column `a` as a field of this type.
#[track_caller]
fn check(of: &str, column: impl Array + 'static, expected: &[&[u8]]) {
    let format = format(&format!(r#"{{"name": "a", "type": {of}}}"#), Framing::Bare);
    let rows = encode(format, &batch(vec![("a", Arc::new(column))])).expect("types that go together");
    assert_eq!(rows, expected, "{of}");
}

#[track_caller]
fn check_error(fields: &str, columns: Vec<(&str, ArrayRef)>, expected: &str) {
    let error = encode(format(fields, Framing::Bare), &batch(columns))
        .expect_err("an error")
        .to_string();
    assert_eq!(error, expected);
}

#[track_caller]
fn check_value_error(of: &str, column: impl Array + 'static, expected: &str) {
    let fields = format!(r#"{{"name": "a", "type": {of}}}"#);
    check_error(&fields, vec![("a", Arc::new(column))], expected);
}

#[test]
fn values_are_written_as_the_specification_says() {
    check(
        "\"long\"",
        Int64Array::from(vec![0, -1, 64]),
        &[b"\x00", b"\x01", b"\x80\x01"],
    );
    check("\"string\"", StringArray::from(vec!["foo", ""]), &[b"\x06foo", b"\x00"]);
    check(
        "\"boolean\"",
        BooleanArray::from(vec![true, false]),
        &[b"\x01", b"\x00"],
    );
    check("\"float\"", Float64Array::from(vec![0.5]), &[&0.5_f32.to_le_bytes()]);
    check(
        "[\"null\", \"int\"]",
        Int64Array::from(vec![None, Some(1)]),
        &[b"\x00", b"\x02\x02"],
    );
    check(
        "[\"int\", \"null\"]",
        Int64Array::from(vec![None, Some(1)]),
        &[b"\x02", b"\x00\x02"],
    );
    let symbols = r#"{"type": "enum", "name": "E", "symbols": ["LOW", "HIGH"]}"#;
    check(symbols, StringArray::from(vec!["HIGH"]), &[b"\x02"]);
    let fixed = r#"{"type": "fixed", "name": "F", "size": 2}"#;
    check(fixed, BinaryArray::from_vec(vec![b"\x00\xff"]), &[b"\x00\xff"]);
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), Some(2)]), Some(vec![])]);
    check(
        r#"{"type": "array", "items": "long"}"#,
        list,
        &[b"\x04\x02\x04\x00", b"\x00"],
    );
}

#[test]
fn decimals_have_the_fewest_bytes_or_those_of_the_schema() {
    let decimals = |values: Vec<i128>| {
        Decimal128Array::from(values)
            .with_precision_and_scale(5, 2)
            .expect("five digits")
    };
    let of = r#"{"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}"#;
    let values = decimals(vec![0, 127, 128, -128, -129]);
    check(
        of,
        values,
        &[b"\x02\x00", b"\x02\x7f", b"\x04\x00\x80", b"\x02\x80", b"\x04\xff\x7f"],
    );
    let fixed = |size| {
        format!(
            r#"{{"type": "fixed", "name": "F", "size": {size}, "logicalType": "decimal", "precision": 5, "scale": 2}}"#
        )
    };
    check(&fixed(3), decimals(vec![-1, 1]), &[b"\xff\xff\xff", b"\x00\x00\x01"]);
    check_value_error(
        &fixed(1),
        decimals(vec![128]),
        "row 1 can't be Avro: `a` does not fit the 1 bytes of the schema",
    );
}

#[test]
fn times_are_cut_off_downwards() {
    let of = |name: &str| format!(r#"{{"type": "long", "logicalType": "{name}"}}"#);
    let times = || TimestampMicrosecondArray::from(vec![-1, 1_000]).with_timezone("UTC");
    check(&of("timestamp-millis"), times(), &[b"\x01", b"\x02"]);
    check(&of("timestamp-micros"), times(), &[b"\x01", b"\xd0\x0f"]);
    check(&of("timestamp-nanos"), times(), &[b"\xcf\x0f", b"\x80\x89\x7a"]);
    let far = TimestampMicrosecondArray::from(vec![i64::MAX]);
    let expected = "row 1 can't be Avro: `a` is 9223372036854775807 microseconds, which is too far from 1970";
    check_value_error(&of("timestamp-nanos"), far, expected);
}

#[test]
fn a_value_that_does_not_fit_is_named_with_its_row() {
    let expected = "row 2 can't be Avro: `a` is null, which the schema does not allow";
    check_value_error("\"long\"", Int64Array::from(vec![Some(1), None]), expected);
    let expected = "row 1 can't be Avro: `a` is 2147483648, which is no int of 32 bits";
    check_value_error("\"int\"", Int64Array::from(vec![1_i64 << 31]), expected);
    let symbols = r#"{"type": "enum", "name": "E", "symbols": ["LOW"]}"#;
    let expected = "row 1 can't be Avro: `a` is `low`, which is no symbol of the enum";
    check_value_error(symbols, StringArray::from(vec!["low"]), expected);
    let fixed = r#"{"type": "fixed", "name": "F", "size": 2}"#;
    let expected = "row 1 can't be Avro: `a` has 3 bytes, and the schema wants 2";
    check_value_error(fixed, StringArray::from(vec!["low"]), expected);
}

#[test]
fn schemas_that_do_not_go_together_are_refused_before_the_first_row() {
    let ints = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    let expected = "there is no column for the field `b` of the Avro schema: they are a";
    let both = r#"{"name": "a", "type": "long"}, {"name": "b", "type": "long"}"#;
    check_error(both, vec![("a", ints())], expected);
    let a = r#"{"name": "a", "type": "long"}"#;
    check_error(
        a,
        vec![("a", ints()), ("c", ints())],
        "the Avro schema has no field for the column `c`",
    );
    let text = r#"{"name": "a", "type": "string"}"#;
    let expected =
        "the column `a` is Int64, which the field's type in the Avro schema does not take: cast it in the query";
    check_error(text, vec![("a", ints())], expected);
    let error = encode(format(a, Framing::Confluent(None)), &batch(vec![("a", ints())])).expect_err("no number");
    assert_eq!(
        error.to_string(),
        "the number of the Avro schema is missing: Confluent's header has it"
    );
}

/// Columns of every type, with the schema that they go with.
fn columns(rows: &[(Option<String>, i64, Option<f64>)]) -> (RecordBatch, &'static str) {
    let texts: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|(text, ..)| text.as_deref())));
    let ints: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, int, _)| *int)));
    let floats: ArrayRef = Arc::new(Float64Array::from_iter(rows.iter().map(|(.., float)| *float)));
    let days: ArrayRef = Arc::new(Date32Array::from_iter_values(
        rows.iter().map(|(_, int, _)| *int as i32),
    ));
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|(_, int, _)| *int));
    let decimals = Decimal128Array::from_iter_values(rows.iter().map(|(_, int, _)| i128::from(*int)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", texts),
        ("int", ints),
        ("float", floats),
        ("inside.day", days),
        ("inside.time", Arc::new(times.with_timezone("UTC"))),
        (
            "decimal",
            Arc::new(decimals.with_precision_and_scale(38, 3).expect("38 digits")),
        ),
    ];
    let fields = r#"
        {"name": "text", "type": ["string", "null"]},
        {"name": "int", "type": "long"},
        {"name": "float", "type": ["null", "double"]},
        {"name": "inside", "type": {"type": "record", "name": "Inside", "fields": [
            {"name": "day", "type": {"type": "int", "logicalType": "date"}},
            {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}}]}},
        {"name": "decimal", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 3}}"#;
    (batch(columns), fields)
}

#[test]
fn the_bytes_are_those_that_another_writer_writes() {
    let Golden { records, payloads } = Golden::new();
    let format = AvroFormat {
        schema: Arc::new(GOLDEN_SCHEMA.parse().expect("a schema")),
        framing: Framing::Bare,
    };
    assert_eq!(
        encode(format.clone(), &records).expect("types that go together"),
        payloads
    );
    let framed = AvroFormat {
        framing: Framing::Confluent(Some(258)),
        ..format
    };
    let header = b"\x00\x00\x00\x01\x02";
    let expected: Vec<_> = payloads.iter().map(|payload| [&header[..], payload].concat()).collect();
    assert_eq!(encode(framed, &records).expect("types that go together"), expected);
}

#[test]
fn lists_of_structs_are_arrays_of_records() {
    let field = |name: &str, of| Arc::new(Field::new(name, of, true));
    let counts: ArrayRef = Arc::new(Int64Array::from(vec![2, 1]));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
    let items = StructArray::from(vec![
        (field("value", DataType::Utf8), names),
        (field("count", DataType::Int64), counts),
    ]);
    let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([2, 0]);
    let list = ListArray::new(item, offsets, Arc::new(items), None);
    let of = r#"{"type": "array", "items": {"type": "record", "name": "Item", "fields": [
        {"name": "count", "type": "int"}, {"name": "value", "type": "string"}]}}"#;
    check(of, list, &[b"\x04\x04\x02x\x02\x02y\x00", b"\x00"]);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(rows in prop::collection::vec((any::<Option<String>>(), any::<i64>(), any::<Option<f64>>()), 1..20)) {
        let (records, fields) = columns(&rows);
        for framing in [Framing::Bare, Framing::Confluent(Some(1))] {
            let format = format(fields, framing);
            let rows = encode(format.clone(), &records).expect("types that go together");
            let decoder = AvroDecoder::new(format, None, TimeZone::default()).expect("columns");
            let decoded = decoder.decode(&rows.iter().map(|row| Some(row.as_slice())).collect()).expect("columns");
            prop_assert_eq!(decoded.rejects, []);
            prop_assert_eq!(&decoded.columns, records.columns());
        }
    }
}
