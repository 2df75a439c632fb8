use arrow::array::{AsArray, BinaryArray};
use arrow::datatypes::{DataType, Float64Type};
use proptest::prelude::*;

use super::golden::{GOLDEN_SCHEMA, Golden};
use super::*;
use crate::decode::testing::{check, check_reject, check_rows_are_independent, payloads};

fn decoder(fields: &str, framing: Framing) -> AvroDecoder {
    decoder_of(fields, framing, None, TimeZone::default()).expect("columns of different names")
}

fn decoder_of(fields: &str, framing: Framing, wanted: Option<&[&str]>, zone: TimeZone) -> Result<AvroDecoder> {
    let text = format!(r#"{{"type": "record", "name": "Line", "fields": [{fields}]}}"#);
    let schema = Arc::new(text.parse().expect("a schema"));
    let wanted: Option<Vec<_>> = wanted.map(|wanted| wanted.iter().map(|&name| name.to_owned()).collect());
    AvroDecoder::new(AvroFormat { schema, framing }, wanted.as_deref(), zone)
}

/// Decodes a record of one field `a` of this type.
#[track_caller]
fn check_value(of: &str, payload: &[u8], expected: &str) {
    let decoder = decoder(&format!(r#"{{"name": "a", "type": {of}}}"#), Framing::Bare);
    check(&decoder, payload, &[("a", expected)]);
}

#[track_caller]
fn check_refused(of: &str, payload: &[u8], reason: &str) {
    let decoder = decoder(&format!(r#"{{"name": "a", "type": {of}}}"#), Framing::Bare);
    check_reject(&decoder, payload, reason);
}

/// A record of an access log.
const LINE: &str = r#"
    {"name": "host", "type": "string"},
    {"name": "status", "type": "int"},
    {"name": "user", "type": ["null", "string"]},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}}"#;

/// `h`, 404, no user, the first millisecond of 1970.
const GOOD: &[u8] = b"\x02h\xa8\x06\x00\x02";

#[test]
fn a_record_is_a_row() {
    let expected = [("host", "h"), ("status", "404"), ("time", "1970-01-01T00:00:00.001Z")];
    check(&decoder(LINE, Framing::Bare), GOOD, &expected);
}

#[test]
fn every_primitive_has_its_column() {
    check_value("\"long\"", b"\x01", "-1");
    check_value("\"float\"", &0.5_f32.to_le_bytes(), "0.5");
    check_value("\"double\"", &(-2.5_f64).to_le_bytes(), "-2.5");
    check_value("\"boolean\"", b"\x01", "true");
    check_value("\"string\"", "\x06é!".as_bytes(), "é!");
    check_value("\"bytes\"", b"\x04\x00\xff", "00ff");
    check_value(r#"{"type": "fixed", "name": "F", "size": 2}"#, b"\x01\x02", "0102");
    check_value(
        r#"{"type": "enum", "name": "E", "symbols": ["LOW", "HIGH"]}"#,
        b"\x02",
        "HIGH",
    );
}

#[test]
fn logical_types_have_columns_of_their_own() {
    let long = |name: &str| format!(r#"{{"type": "long", "logicalType": "{name}"}}"#);
    check_value(&long("timestamp-millis"), b"\x03", "1969-12-31T23:59:59.998Z");
    check_value(&long("timestamp-micros"), b"\x03", "1969-12-31T23:59:59.999998Z");
    // 1,001 nanoseconds before 1970 are two microseconds before it.
    check_value(&long("timestamp-nanos"), b"\xd1\x0f", "1969-12-31T23:59:59.999998Z");
    check_value(r#"{"type": "int", "logicalType": "date"}"#, b"\x02", "1970-01-02");
    let decimal = r#"{"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}"#;
    check_value(decimal, b"\x04\xff\x85", "-1.23");
    check_value(decimal, b"\x00", "0.00");
    let fixed = r#"{"type": "fixed", "name": "F", "size": 20, "logicalType": "decimal", "precision": 5, "scale": 2}"#;
    let mut wide = vec![0xff; 20];
    wide[19] = 0x85;
    check_value(fixed, &wide, "-1.23");
}

#[test]
fn local_times_are_those_of_the_sources_zone() {
    let field = r#"{"name": "a", "type": {"type": "long", "logicalType": "local-timestamp-millis"}}"#;
    let zone = "+02:00".parse().expect("a zone");
    let decoder = decoder_of(field, Framing::Bare, None, zone).expect("a column");
    check(&decoder, b"\x00", &[("a", "1969-12-31T22:00:00Z")]);
    assert!(decoder.describe().contains(" in +02:00: "), "{}", decoder.describe());
}

#[test]
fn null_may_be_either_branch() {
    check_value("[\"null\", \"int\"]", b"\x02\x04", "2");
    check_value("[\"int\", \"null\"]", b"\x00\x04", "2");
    let decoder = decoder(r#"{"name": "a", "type": ["int", "null"]}"#, Framing::Bare);
    check(&decoder, b"\x02", &[]);
}

#[test]
fn records_inside_are_columns_with_dots() {
    let fields = r#"
        {"name": "http", "type": ["null", {"type": "record", "name": "Http", "fields": [
            {"name": "status", "type": "int"}, {"name": "path", "type": "string"}]}]},
        {"name": "last", "type": "int"}"#;
    let decoder = decoder(fields, Framing::Bare);
    check(
        &decoder,
        b"\x02\x02\x02/\x06",
        &[("http.status", "1"), ("http.path", "/"), ("last", "3")],
    );
    check(&decoder, b"\x00\x06", &[("last", "3")]);
}

#[test]
fn arrays_maps_and_unions_are_json_text() {
    check_value(
        r#"{"type": "array", "items": "long"}"#,
        b"\x04\x02\x04\x02\x06\x00",
        "[1,2,3]",
    );
    // A block may say its size, after a negative number of items.
    check_value(
        r#"{"type": "array", "items": "long"}"#,
        b"\x03\x04\x02\x04\x00",
        "[1,2]",
    );
    check_value(
        r#"{"type": "map", "values": ["null", "boolean", "bytes"]}"#,
        b"\x06\x02a\x00\x02b\x02\x01\x02\"\x04\x02\xff\x00",
        "{\"a\":null,\"b\":true,\"\\\"\":\"\u{fffd}\"}",
    );
    check_value("[\"int\", \"string\"]", b"\x02\x02x", "\"x\"");
    check_value("[\"null\", \"int\", \"string\"]", b"\x02\x02", "1");
    let decoder = decoder(r#"{"name": "a", "type": ["null", "int", "string"]}"#, Framing::Bare);
    check(&decoder, b"\x00", &[]);
}

#[test]
fn values_in_json_text_are_written_as_the_json_encoder_does() {
    let items = |of: &str| format!(r#"{{"type": "array", "items": {of}}}"#);
    let one = |bytes: &[u8]| [b"\x02", bytes, b"\x00"].concat();
    check_value(&items("\"double\""), &one(&f64::NAN.to_le_bytes()), "[null]");
    check_value(&items("\"float\""), &one(&1e20_f32.to_le_bytes()), "[1e+20]");
    let time = r#"{"type": "long", "logicalType": "timestamp-micros"}"#;
    check_value(&items(time), &one(b"\x02"), "[\"1970-01-01T00:00:00.000001Z\"]");
    check_value(
        &items(r#"{"type": "int", "logicalType": "date"}"#),
        &one(b"\x02"),
        "[\"1970-01-02\"]",
    );
    let decimal = r#"{"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}"#;
    check_value(&items(decimal), &one(b"\x04\xff\x85"), "[-1.23]");
    let record =
        r#"{"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "null"}]}"#;
    check_value(&items(record), &one(b"\x02"), "[{\"x\":1,\"y\":null}]");
}

#[test]
fn a_record_that_holds_itself_is_json_text_up_to_a_depth() {
    let fields = r#"{"name": "n", "type": "int"}, {"name": "next", "type": ["null", "Line"]}"#;
    let decoder = decoder(fields, Framing::Bare);
    let expected = "{\"n\":2,\"next\":{\"n\":3,\"next\":null}}";
    check(&decoder, b"\x02\x02\x04\x02\x06\x00", &[("n", "1"), ("next", expected)]);
    let reason = "next: at byte 66: more than 64 values inside each other";
    check_reject(&decoder, &b"\x02\x02".repeat(100), reason);
}

#[test]
fn confluents_header_is_taken_off_and_its_number_checked() {
    let payload = [b"\x00\x00\x00\x01\x02", GOOD].concat();
    let expected = [("host", "h"), ("status", "404"), ("time", "1970-01-01T00:00:00.001Z")];
    check(&decoder(LINE, Framing::Confluent(None)), &payload, &expected);
    check(&decoder(LINE, Framing::Confluent(Some(258))), &payload, &expected);
    check_reject(
        &decoder(LINE, Framing::Confluent(Some(7))),
        &payload,
        "expected a record of the schema 7, not 258",
    );
    let any = decoder(LINE, Framing::Confluent(None));
    check_reject(
        &any,
        GOOD,
        "expected Confluent's header, whose first byte is 0x00, not 0x02",
    );
    check_reject(
        &any,
        b"\x00\x00",
        "expected Confluent's header of 5 bytes, and the payload ends in it",
    );
    assert!(any.rules_out(GOOD) && any.rules_out(b"") && !any.rules_out(&payload));
    assert!(!decoder(LINE, Framing::Bare).rules_out(GOOD));
}

#[test]
fn only_wanted_columns_are_made_and_the_rest_is_passed_over() {
    let fields = r#"
        {"name": "a", "type": {"type": "map", "values": {"type": "array", "items": "double"}}},
        {"name": "b", "type": {"type": "record", "name": "B", "fields": [
            {"name": "c", "type": ["null", "bytes", {"type": "fixed", "name": "F", "size": 2}]}, {"name": "d", "type": "float"}]}},
        {"name": "e", "type": "boolean"}"#;
    let payload = [
        &b"\x02\x02k\x02"[..],
        &1.0_f64.to_le_bytes(),
        b"\x00\x00\x04xy",
        &2.0_f32.to_le_bytes(),
        b"\x01",
    ]
    .concat();
    let all = decoder(fields, Framing::Bare);
    check(
        &all,
        &payload,
        &[("a", "{\"k\":[1.0]}"), ("b.c", "\"xy\""), ("b.d", "2.0"), ("e", "true")],
    );
    for (name, value) in [("a", "{\"k\":[1.0]}"), ("b.c", "\"xy\""), ("b.d", "2.0"), ("e", "true")] {
        let one = decoder_of(fields, Framing::Bare, Some(&[name]), TimeZone::default()).expect("a column");
        check(&one, &payload, &[(name, value)]);
        for length in 0..payload.len() {
            let cut = BinaryArray::from_vec(vec![&payload[..length]]);
            assert_eq!(
                one.decode(&cut).expect("columns").rejects.len(),
                1,
                "{name}, {length} bytes"
            );
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    check_refused(
        "\"int\"",
        b"\x80\x80\x80\x80\x10",
        "a: at byte 0: expected a number of 32 bits, not 2147483648",
    );
    check_refused(
        "\"int\"",
        b"\x02\x02",
        "at byte 1: expected the end of the payload, and there are 1 bytes more",
    );
    check_refused("\"string\"", b"\x02\xff", "a: at byte 0: expected a string of UTF-8");
    check_refused(
        "[\"null\", \"int\"]",
        b"\x04",
        "a: at byte 0: expected a branch from 0 to 1, not 2",
    );
    let decimal = r#"{"type": "bytes", "logicalType": "decimal", "precision": 2}"#;
    check_refused(
        decimal,
        b"\x02\x64",
        "a: at byte 0: expected a decimal of 2 digits, not a longer one",
    );
    let time = r#"{"type": "long", "logicalType": "timestamp-millis"}"#;
    let far = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    check_refused(
        time,
        far,
        "a: at byte 0: the time 9223372036854775807 is too far from 1970",
    );
}

#[test]
fn a_few_bytes_can_not_claim_any_number_of_items() {
    let nulls = r#"{"type": "array", "items": "null"}"#;
    check_value(nulls, b"\x06\x00", "[null,null,null]");
    let far = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00";
    let reason = "a: at byte 10: there are more values than a payload of this size has";
    check_refused(nulls, far, reason);
    let empty = r#"{"type": "array", "items": {"type": "record", "name": "E", "fields": []}}"#;
    let reason = "a: at byte 2: there are more values than a payload of this size has";
    check_refused(empty, b"\xa0\x3f\x00", reason);
}

#[test]
fn a_schema_can_not_have_columns_without_end() {
    // Each record holds the one before it twice.
    let mut fields =
        r#"{"name": "r0", "type": {"type": "record", "name": "R0", "fields": [{"name": "n", "type": "int"}]}}"#
            .to_owned();
    for number in 1..30 {
        let before = number - 1;
        fields += &format!(
            r#", {{"name": "r{number}", "type": {{"type": "record", "name": "R{number}", "fields": [
                {{"name": "a", "type": "R{before}"}}, {{"name": "b", "type": "R{before}"}}]}}}}"#
        );
    }
    let error = decoder_of(&fields, Framing::Bare, None, TimeZone::default()).expect_err("too many");
    assert_eq!(
        error.to_string(),
        "the Avro schema has more than 10000 values a record, with those of the records inside"
    );
}

#[test]
fn two_fields_of_one_column_name_are_refused() {
    let fields = r#"{"name": "a.b", "type": "int"}, {"name": "a", "type": {"type": "record", "name": "A", "fields": [
        {"name": "b", "type": "int"}]}}"#;
    let error = decoder_of(fields, Framing::Bare, None, TimeZone::default()).expect_err("one name twice");
    assert_eq!(
        error.to_string(),
        "two fields of the Avro schema would be columns of the name `a.b`"
    );
}

#[test]
fn the_description_changes_with_what_changes_the_rows() {
    let describe = |fields: &str, framing| decoder(fields, framing).describe();
    let bare = describe(LINE, Framing::Bare);
    assert!(bare.ends_with(": host, status, user, time"), "{bare}");
    assert_ne!(bare, describe(LINE, Framing::Confluent(None)));
    assert_ne!(
        describe(LINE, Framing::Confluent(Some(1))),
        describe(LINE, Framing::Confluent(None))
    );
    assert_ne!(bare, describe(&LINE.replace("millis", "micros"), Framing::Bare));
}

#[test]
fn what_another_writer_writes_is_read() {
    let golden = Golden::new();
    let payloads: Vec<_> = golden.payloads.iter().map(|payload| Some(payload.as_slice())).collect();
    let format = AvroFormat {
        schema: Arc::new(GOLDEN_SCHEMA.parse().expect("a schema")),
        framing: Framing::Bare,
    };
    let decoder = AvroDecoder::new(format, None, TimeZone::default()).expect("columns");
    let decoded = decoder.decode(&BinaryArray::from_opt_vec(payloads)).expect("columns");
    assert_eq!(decoded.rejects, []);
    let (lists, flat) = decoded.columns.split_last().expect("columns");
    assert_eq!(flat, &golden.records.columns()[..flat.len()]);
    assert_eq!(
        lists.as_string::<i32>().iter().collect::<Vec<_>>(),
        [Some("[1,2,3]"), Some("[]")]
    );
}

#[test]
fn floats_are_read_as_they_are() {
    let decoder = decoder(r#"{"name": "a", "type": "double"}"#, Framing::Bare);
    let values = [f64::NAN, f64::INFINITY, -0.0, f64::MIN_POSITIVE];
    let lines: Vec<_> = values.iter().map(|value| value.to_le_bytes().to_vec()).collect();
    let decoded = decoder.decode(&payloads(&lines)).expect("a column");
    let found = decoded.columns[0].as_primitive::<Float64Type>().values();
    assert!(
        found
            .iter()
            .zip(values)
            .all(|(found, value)| found.to_bits() == value.to_bits())
    );
    assert_eq!(decoded.columns[0].data_type(), &DataType::Float64);
}

/// Bytes of any kind, and records with bytes replaced, left out and cut off.
fn near_records() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let edited = (
        prop::collection::vec((0..GOOD.len(), any::<u8>()), 0..4),
        0..GOOD.len() + 1,
    )
        .prop_map(|(edits, length)| {
            let mut line = GOOD.to_vec();
            for (at, byte) in edits {
                line[at] = byte;
            }
            line.truncate(length);
            line
        });
    prop::collection::vec(prop_oneof![any::<Vec<u8>>(), edited], 1..8)
}

proptest! {
    #[test]
    fn a_bad_row_never_touches_its_neighbours(lines in near_records()) {
        check_rows_are_independent(&decoder(LINE, Framing::Bare), GOOD, &lines)?;
    }

    #[test]
    fn bad_values_inside_of_json_text_touch_no_neighbour(lines in near_records()) {
        let fields = r#"{"name": "a", "type": {"type": "map", "values": ["null", "string", {"type": "array", "items": "int"}]}},
                        {"name": "b", "type": {"type": "array", "items": "null"}}"#;
        check_rows_are_independent(&decoder(fields, Framing::Bare), b"\x02\x02k\x04\x02\x06\x00\x00\x00", &lines)?;
    }
}
