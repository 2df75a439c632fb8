//! Two records that another implementation has written: fastavro 1.13.1 for Python, `schemaless_writer`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;

/// Their schema.
pub(crate) const GOLDEN_SCHEMA: &str = r#"{"type": "record", "name": "R", "fields": [
    {"name": "text", "type": ["null", "string"]},
    {"name": "long", "type": "long"},
    {"name": "double", "type": ["null", "double"]},
    {"name": "float", "type": "float"},
    {"name": "flag", "type": "boolean"},
    {"name": "bytes", "type": "bytes"},
    {"name": "level", "type": {"type": "enum", "name": "Level", "symbols": ["LOW", "HIGH"]}},
    {"name": "date", "type": ["null", {"type": "int", "logicalType": "date"}]},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "decimal", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}]},
    {"name": "inside", "type": {"type": "record", "name": "Inside", "fields": [{"name": "n", "type": "int"}]}},
    {"name": "list", "type": {"type": "array", "items": "long"}}]}"#;

/// Their bytes, in hexadecimal.
const WRITTEN: [&str; 2] = [
    "0204c3a9ffffffffffffffffff01029a9999999999b93f0000003f0102ff02020182a8dceffabfb0060204cfc7d8040602040600",
    "00feffffffffffffffff0100000000800000000001000100",
];

/// The records.
pub(crate) struct Golden {
    /// What they are in Arrow.
    pub(crate) records: RecordBatch,
    /// What they are in Avro.
    pub(crate) payloads: Vec<Vec<u8>>,
}

impl Golden {
    pub(crate) fn new() -> Self {
        let time = TimestampMicrosecondArray::from(vec![1_795_501_800_000_001, -1]).with_timezone("UTC");
        let decimal = Decimal128Array::from(vec![Some(-12_345), None]).with_precision_and_scale(9, 2);
        let list =
            ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), Some(2), Some(3)]), Some(vec![])]);
        let columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("text", Arc::new(StringArray::from(vec![Some("é"), None])), true),
            ("long", Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX])), true),
            ("double", Arc::new(Float64Array::from(vec![Some(0.1), None])), true),
            ("float", Arc::new(Float64Array::from(vec![0.5, -0.0])), true),
            ("flag", Arc::new(BooleanArray::from(vec![true, false])), true),
            ("bytes", Arc::new(BinaryArray::from_vec(vec![b"\xff", b""])), true),
            ("level", Arc::new(StringArray::from(vec!["HIGH", "LOW"])), true),
            ("date", Arc::new(Date32Array::from(vec![Some(-1), None])), true),
            ("time", Arc::new(time), true),
            ("decimal", Arc::new(decimal.expect("nine digits")), true),
            ("inside.n", Arc::new(Int64Array::from(vec![300, -1])), true),
            ("list", Arc::new(list), true),
        ];
        let byte = |text: &str| u8::from_str_radix(text, 16).expect("hexadecimal");
        let bytes = |text: &str| (0..text.len()).step_by(2).map(|at| byte(&text[at..at + 2])).collect();
        Self {
            records: RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length"),
            payloads: WRITTEN.map(bytes).to_vec(),
        }
    }
}
