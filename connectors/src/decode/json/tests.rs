use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;
use serde_json::{Map, Number, Value};

use super::*;

/// Returns the declared columns of `NAME:TYPE NAME:TYPE ...`.
fn declared(columns: &str) -> Vec<DeclaredColumn> {
    let column = |text: &str| text.parse().expect("NAME:TYPE");
    columns.split_whitespace().map(column).collect()
}

/// Returns a decoder of `NAME:TYPE NAME:TYPE ... _extra`, with the column `_extra` only if it is named.
fn decoder(columns: &str) -> JsonDecoder {
    let declared = declared(columns.trim_end_matches("_extra"));
    let names = declared.iter().map(|column| column.name.clone());
    let extra = columns.ends_with("_extra").then(|| "_extra".to_owned());
    let wanted: Vec<_> = names.chain(extra).collect();
    JsonDecoder::new(&declared, Some(&wanted), TimeSettings::default()).expect("valid columns")
}

fn decode<P: AsRef<[u8]>>(columns: &str, payloads: &[Option<P>]) -> Decoded {
    let payloads: BinaryArray = payloads.iter().map(|payload| payload.as_ref()).collect();
    decoder(columns).decode(&payloads).expect("payloads are no errors")
}

/// Returns the values of a column as text; of a null none.
fn cells(column: &ArrayRef) -> Vec<Option<String>> {
    // Arrow names no zone but by its offset, unless it has a library for that.
    let column = match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) => &(Arc::new(times.clone().with_timezone("+00:00")) as ArrayRef),
        None => column,
    };
    let formatter = ArrayFormatter::try_new(column, &FormatOptions::default()).expect("a type with a text");
    let cell = |row| column.is_valid(row).then(|| formatter.value(row).to_string());
    (0..column.len()).map(cell).collect()
}

/// Returns the rows as text, cells between bars, and the reasons of rejects after them.
fn shown(decoded: &Decoded) -> String {
    let columns: Vec<_> = decoded.columns.iter().map(cells).collect();
    let rows = columns.first().map_or(0, Vec::len);
    let cell = |column: &Vec<Option<String>>, row: usize| column[row].clone().unwrap_or_else(|| "NULL".to_owned());
    let mut lines: Vec<_> = (0..rows)
        .map(|row| {
            columns
                .iter()
                .map(|column| cell(column, row))
                .collect::<Vec<_>>()
                .join(" | ")
        })
        .collect();
    lines.extend(
        decoded
            .rejects
            .iter()
            .map(|reject| format!("{}: {}", reject.row, reject.reason)),
    );
    lines.join("\n")
}

#[track_caller]
fn check(columns: &str, payloads: &[&str], expected: &[&str]) {
    let payloads: Vec<_> = payloads.iter().map(Some).collect();
    assert_eq!(shown(&decode(columns, &payloads)), expected.join("\n"));
}

/// Checks that `payload` is a reject for this reason.
#[track_caller]
fn check_reject(payload: &str, reason: &str) {
    check("a:string", &[payload], &["NULL", &format!("0: {reason}")]);
}

#[test]
fn a_payload_that_ends_within_a_character_is_no_utf8_whatever_comes_after_it() {
    let payloads: [Option<&[u8]>; 3] = [Some(b"{\"s\": \"\xc3"), Some(b"\xbf\"}"), Some(b"{\"s\": \"a\"}")];
    let reasons = |decoded: Decoded| -> Vec<_> { decoded.rejects.into_iter().map(|reject| reject.reason).collect() };
    let together = reasons(decode("s:string", &payloads));
    assert_eq!(together, ["expected UTF-8 at byte 7", "expected UTF-8 at byte 0"]);
    let alone = payloads
        .iter()
        .flat_map(|payload| reasons(decode("s:string", &[*payload])));
    assert_eq!(alone.collect::<Vec<_>>(), together);
}

#[test]
fn values_come_into_columns_of_their_type() {
    check(
        "time:timestamp client:string status:int seconds:float cached:bool raw:bytes",
        &[
            r#"{"time":"2026-11-24T06:30:16+00:00","client":"127.0.0.1","status":200,"seconds":0.125,"cached":true,"raw":"\u0001"}"#,
            " {\n\t\"seconds\" : 1 , \"time\" : 1795501816 , \"other\":[1,{\"a\":[]}], \"cached\":\"no\",\"status\":\"404\",\r\"client\":null}\n",
            r#"{"cached":null,"raw":"","seconds":-1e3,"status":-5}"#,
        ],
        &[
            "2026-11-24T06:30:16Z | 127.0.0.1 | 200 | 0.125 | true | 01",
            "2026-11-24T06:30:16Z | NULL | 404 | 1.0 | false | NULL",
            "NULL | NULL | -5 | -1000.0 | NULL | ",
        ],
    );
}

#[test]
fn the_logs_of_a_real_web_server_are_what_serde_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/access.jsonl");
    let log = std::fs::read_to_string(path).expect("data/access.jsonl is part of the project");
    let lines: Vec<_> = log.lines().map(Some).collect();
    let names = [
        "client", "method", "path", "query", "status", "bytes", "seconds", "agent", "requests",
    ];
    let columns = names.map(|name| format!("{name}:string")).join(" ");
    let decoded = decode(&columns, &lines);
    assert_eq!(decoded.rejects, []);
    let columns: Vec<_> = decoded.columns.iter().map(cells).collect();
    for (row, line) in lines.iter().flatten().enumerate() {
        let value: Value = serde_json::from_str(line).expect("JSON");
        for (name, column) in names.iter().zip(&columns) {
            let found = column[row].as_deref().expect("every line has all members");
            match &value[name] {
                Value::String(text) => assert_eq!(found, text),
                other => assert_eq!(found.parse::<f64>().ok(), other.as_f64()),
            }
        }
    }
}

#[test]
fn strings_have_what_else_a_value_is() {
    check(
        "s:string",
        &[
            r#"{"s":1.50e0}"#,
            r#"{"s":false}"#,
            r#"{"s":{"a": [1, "]}"]} }"#,
            r#"{"s":[]}"#,
            r#"{"s":"a\tb \ud83e\udd80 \u6570"}"#,
            r#"{"s":"a string of more than sixteen bytes"}"#,
        ],
        &[
            "1.50e0",
            "false",
            r#"{"a": [1, "]}"]}"#,
            "[]",
            "a\tb 🦀 数",
            "a string of more than sixteen bytes",
        ],
    );
}

#[test]
fn dots_reach_into_objects_and_a_whole_name_goes_before() {
    check(
        "http.status:int http:string http.url.host:string",
        &[
            r#"{"http":{"status":200,"url":{"host":"a","port":1}}}"#,
            r#"{"http.status":1,"http":{"status":200}}"#,
            r#"{"http":{"status":200},"http.status":null}"#,
            r#"{"http":{"status":200,"url":{"host":"a"}},"http":{"url":5}}"#,
            r#"{"http":{"status":200},"http":7}"#,
            r#"{"http":null}"#,
        ],
        &[
            r#"200 | {"status":200,"url":{"host":"a","port":1}} | a"#,
            r#"1 | {"status":200} | NULL"#,
            r#"NULL | {"status":200} | NULL"#,
            r#"NULL | {"url":5} | NULL"#,
            "NULL | 7 | NULL",
            "NULL | NULL | NULL",
        ],
    );
}

#[test]
fn the_last_of_members_with_one_name_counts() {
    check(
        "a:int",
        &[r#"{"a":"x","a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"a":1,"a":null}"#],
        &["1", "2", "NULL"],
    );
}

#[test]
fn extra_has_the_members_that_no_column_takes() {
    check(
        "a:int http.status:int _extra",
        &[
            r#"{"x":1,"a":2,"y" : {"z": "\n"},"http":{"status":1,"size":2}}"#,
            r#"{"a":2}"#,
            r#"{"x":1,"a":"no number"}"#,
            r#"{"x":1,"#,
            r#"{"_extra":{},"x":"é"}"#,
        ],
        &[
            r#"2 | 1 | {"x":1,"y" : {"z": "\n"}}"#,
            "2 | NULL | NULL",
            "NULL | NULL | NULL",
            "NULL | NULL | NULL",
            r#"NULL | NULL | {"_extra":{},"x":"é"}"#,
            "2: a: `no number` is no int",
            "3: expected a key in quotes at byte 7, found the end",
        ],
    );
}

#[test]
fn only_wanted_columns_are_built_and_checked() {
    let wanted = ["_extra".to_owned(), "c".to_owned()];
    let declared = declared("a:int b.x:int c:int");
    let decoder = JsonDecoder::new(&declared, Some(&wanted), TimeSettings::default()).expect("valid columns");
    let payloads = BinaryArray::from_vec(vec![br#"{"a":"x","b":{"y":1},"c":3,"d":4}"#, br#"{"a":}"#]);
    let decoded = decoder.decode(&payloads).expect("payloads are no errors");
    let names: Vec<_> = decoder
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(names, ["c", "_extra"]);
    assert_eq!(
        shown(&decoded),
        "3 | {\"d\":4}\nNULL | NULL\n1: expected a value at byte 5, found `}`"
    );
    let none = JsonDecoder::new(&declared, Some(&[]), TimeSettings::default()).expect("valid columns");
    let decoded = none.decode(&payloads).expect("payloads are no errors");
    assert!(decoded.columns.is_empty());
    assert_eq!(decoded.rejects.len(), 1);
}

#[test]
fn values_of_another_type_are_rejects_with_column_and_value() {
    check(
        "i:int f:float b:bool t:timestamp",
        &[
            r#"{"i":9223372036854775807,"f":1}"#,
            r#"{"f":1,"i":9223372036854775808}"#,
            r#"{"i":1.5}"#,
            r#"{"i":{"a":1}}"#,
            r#"{"f":1e999}"#,
            r#"{"f":"fast"}"#,
            r#"{"b":1}"#,
            r#"{"t":"yesterday"}"#,
            r#"{"t":true}"#,
        ],
        &[
            "9223372036854775807 | 1.0 | NULL | NULL",
            "NULL | NULL | NULL | NULL",
            "NULL | NULL | NULL | NULL",
            "NULL | NULL | NULL | NULL",
            "NULL | NULL | NULL | NULL",
            "NULL | NULL | NULL | NULL",
            "NULL | NULL | NULL | NULL",
            "NULL | NULL | NULL | NULL",
            "NULL | NULL | NULL | NULL",
            "1: i: `9223372036854775808` is no int",
            "2: i: `1.5` is no int",
            "3: i: `{\"a\":1}` is no int",
            "4: f: `1e999` is no float",
            "5: f: `fast` is no float",
            "6: b: `1` is no bool",
            "7: t: `yesterday` is no timestamp",
            "8: t: `true` is no timestamp",
        ],
    );
}

#[test]
fn what_is_no_object_is_a_reject() {
    check_reject("", "expected an object at byte 0, found the end");
    check_reject("  ", "expected an object at byte 2, found the end");
    check_reject("[1]", "expected an object at byte 0, found `[`");
    check_reject("hello", "expected an object at byte 0, found `h`");
    check_reject("\u{feff}{}", "expected an object at byte 0, found `\\u{feff}`");
    check_reject("{} {}", "expected the end after the object at byte 3, found `{`");
    check_reject("{}\0", "expected the end after the object at byte 2, found `\\0`");
}

#[test]
fn what_is_no_json_is_a_reject_that_says_where() {
    check_reject(r#"{"a":1"#, "expected `,` or `}` at byte 6, found the end");
    check_reject(r#"{"a":1 "b":2}"#, "expected `,` or `}` at byte 7, found `\"`");
    check_reject(r#"{"a":1,}"#, "expected a key in quotes at byte 7, found `}`");
    check_reject(r#"{,"a":1}"#, "expected a key in quotes at byte 1, found `,`");
    check_reject(r#"{"a" 1}"#, "expected `:` after a key at byte 5, found `1`");
    check_reject(r#"{"a":}"#, "expected a value at byte 5, found `}`");
    check_reject(r#"{"a":nul}"#, "expected `null` at byte 5, found `n`");
    check_reject(r#"{"a":truefalse}"#, "expected `,` or `}` at byte 9, found `f`");
    check_reject(
        r#"{"a":"x}"#,
        "expected `\"` at the end of a string at byte 8, found the end",
    );
    check_reject(
        "{\"a\":\"x\ny\"}",
        "expected control characters in strings to be escaped at byte 7, found `\\n`",
    );
    check_reject(
        r#"{"a":"\x"}"#,
        "expected one of `\"\\/bfnrtu` after a backslash at byte 7, found `x`",
    );
    check_reject(
        r#"{"a":"\u12"}"#,
        "expected four hexadecimal digits after `\\u` at byte 10, found `\"`",
    );
    check_reject(r#"{"\u0061":01}"#, "expected `,` or `}` at byte 11, found `1`");
    for (number, at) in [
        ("-", 6),
        ("1.", 7),
        ("1e", 7),
        ("1e+", 8),
        ("-a", 6),
        (".5", 5),
        ("+1", 5),
    ] {
        let expected = if at == 5 { "a value" } else { "a digit" };
        let reason = format!("expected {expected} at byte {at}, found ");
        let decoded = decode("a:string", &[Some(format!(r#"{{"a":{number}}}"#))]);
        assert!(decoded.rejects[0].reason.starts_with(&reason), "{:?}", decoded.rejects);
    }
}

#[test]
fn skipped_values_are_checked_as_the_wanted_ones_are() {
    check_reject(r#"{"b":[1,]}"#, "expected a value at byte 8, found `]`");
    check_reject(r#"{"b":[1 2]}"#, "expected `,` or `]` at byte 8, found `2`");
    check_reject(r#"{"b":[,1]}"#, "expected a value at byte 6, found `,`");
    check_reject(r#"{"b":{"c":1,}}"#, "expected a key in quotes at byte 12, found `}`");
    check_reject(r#"{"b":{"c":[}}"#, "expected a value at byte 11, found `}`");
    check_reject(r#"{"b":{"c":1]}"#, "expected `,` or `}` at byte 11, found `]`");
    check_reject(
        r#"{"b":["\ud800"]}"#,
        "expected the second half of a surrogate pair at byte 13, found `\"`",
    );
}

#[test]
fn brackets_may_be_64_deep() {
    let nested = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
    check("b:int", &[&nested(64)], &["NULL"]);
    let reason = "0: expected at most 64 objects and arrays inside each other at byte 68, found `[`";
    check("b:int", &[&nested(65)], &["NULL", reason]);
    let name = vec!["a"; 70].join(".");
    let objects = format!("{}1{}", r#"{"a":"#.repeat(70), "}".repeat(70));
    let decoded = decode(&format!("{name}:int"), &[Some(objects)]);
    assert!(
        decoded.rejects[0].reason.starts_with("expected at most 64"),
        "{:?}",
        decoded.rejects
    );
}

#[test]
fn bytes_that_are_no_utf8_are_a_reject_of_their_row_alone() {
    let payloads: [&[u8]; 4] = [
        b"{\"a\":\"\xc3\xa9\"}",
        b"{\"a\":\"\xc3\"}",
        // Together with the next payload it would be UTF-8.
        b"{\"a\":\"x\"}\xc3",
        b"\xa9{\"a\":\"x\"}",
    ];
    let decoded = decode("a:string", &payloads.map(Some));
    assert_eq!(
        shown(&decoded),
        "é\nNULL\nNULL\nNULL\n1: expected UTF-8 at byte 6\n2: expected UTF-8 at byte 9\n3: expected UTF-8 at byte 0"
    );
    let halves = decode("a:string", &[Some(&payloads[2]), Some(&payloads[3])]);
    assert_eq!(
        shown(&halves),
        "NULL\nNULL\n0: expected UTF-8 at byte 9\n1: expected UTF-8 at byte 0"
    );
}

#[test]
fn tombstones_are_null_and_no_rejects() {
    let decoded = decode("a:int _extra", &[Some(r#"{"a":1,"b":2}"#), None, Some(r#"{"a":3}"#)]);
    assert_eq!(shown(&decoded), "1 | {\"b\":2}\nNULL | NULL\n3 | NULL");
}

#[test]
fn sliced_payloads_are_decoded_from_their_own_rows() {
    let payloads: BinaryArray = (0..1000).map(|row| Some(format!(r#"{{"a":{row}}}"#))).collect();
    let decoded = decoder("a:int")
        .decode(&payloads.slice(300, 500))
        .expect("payloads are no errors");
    let expected: Vec<_> = (300..800).map(|row| Some(row.to_string())).collect();
    assert_eq!(cells(&decoded.columns[0]), expected);
}

#[test]
fn columns_that_contradict_each_other_are_refused() {
    let refused = |columns| {
        let decoder = JsonDecoder::new(&declared(columns), None, TimeSettings::default());
        decoder.expect_err("refused").to_string()
    };
    assert_eq!(refused("a:int a:string"), "the column `a` is declared twice");
    assert_eq!(refused("_extra:string"), "the column `_extra` is declared twice");
}

#[test]
fn the_description_names_columns_and_types() {
    let decoder = JsonDecoder::new(&declared("a:int b.c:timestamp:unix"), None, TimeSettings::default());
    let description = decoder.expect("valid columns").describe();
    assert_eq!(description, "json a:int, b.c:timestamp:unix, _extra:string");
}

/// The keys of made-up objects: few, so that they come again, and some with what needs an escape.
const KEYS: &[&str] = &["a", "b", "c", "a.b", "a key of more than sixteen bytes", "é\"\n", ""];

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["[a-z ]{0,20}", any::<String>(), Just("\\\"/\u{8}\u{1f}🦀".to_owned())];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| Value::Number(number.into())),
        // Few digits: serde does not read all numbers exactly by default.
        any::<i32>().prop_map(|number| Number::from_f64(f64::from(number) / 64.0).map_or(Value::Null, Value::Number)),
        text.prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((prop::sample::select(KEYS), inner), 0..5).prop_map(object_of),
        ]
    })
}

fn object_of(members: Vec<(&str, Value)>) -> Value {
    let members = members.into_iter().map(|(key, value)| (key.to_owned(), value));
    Value::Object(members.collect::<Map<_, _>>())
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::vec((prop::sample::select(KEYS), value()), 0..8).prop_map(object_of)
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// What a change puts into a payload.
const BYTES: &[u8] = b"\"\\{}[]:,0123456789-+.eEtfnu \n\x00\x1f\xc3\xff";

proptest! {
    #[test]
    fn values_are_what_serde_says(objects in prop::collection::vec(object(), 1..20), pretty: bool) {
        let text = |object: &Value| if pretty { format!("{object:#}") } else { object.to_string() };
        let payloads: Vec<_> = objects.iter().map(|object| Some(text(object))).collect();
        let keys = ["a", "b", "a key of more than sixteen bytes"];
        let columns = ["a", "b", "c"].map(|key| DeclaredColumn::new(key, ColumnType::Text));
        let long = DeclaredColumn::new(keys[2], ColumnType::Text);
        let columns = [&columns[..2], &[long]].concat();
        let decoder = JsonDecoder::new(&columns, None, TimeSettings::default()).expect("valid columns");
        let decoded = decoder.decode(&payloads.iter().map(Option::as_ref).collect()).expect("no errors");
        prop_assert_eq!(&decoded.rejects, &[]);
        for (key, column) in keys.iter().zip(&decoded.columns) {
            for (object, cell) in objects.iter().zip(cells(column)) {
                let expected = object.get(key).and_then(text_of);
                let is_nested = object.get(key).is_some_and(|value| value.is_object() || value.is_array());
                if is_nested {
                    let cell: Value = serde_json::from_str(&cell.expect("a text")).expect("JSON");
                    prop_assert_eq!(Some(&cell), object.get(key));
                } else {
                    prop_assert_eq!(cell, expected);
                }
            }
        }
    }

    #[test]
    fn typed_values_are_what_serde_says(objects in prop::collection::vec(object(), 1..20)) {
        let payloads: Vec<_> = objects.iter().map(|object| Some(object.to_string())).collect();
        for (column_type, convert) in [
            ("int", (|value| value.as_i64().map(|value| value.to_string())) as fn(&Value) -> Option<String>),
            ("float", |value| value.as_f64().map(|value| format!("{value:?}"))),
            ("bool", |value| value.as_bool().map(|value| value.to_string())),
        ] {
            let decoded = decode(&format!("a:{column_type}"), &payloads);
            let cells = cells(&decoded.columns[0]);
            for (row, object) in objects.iter().enumerate() {
                // Numbers and words in quotes count too: the table above has them.
                let value = object.get("a").filter(|value| !value.is_string() && !value.is_null());
                if let Some(value) = value {
                    let is_reject = decoded.rejects.iter().any(|reject| reject.row == row);
                    let cell = match column_type {
                        "float" => cells[row].as_ref().map(|cell| format!("{:?}", cell.parse::<f64>().expect("a float"))),
                        _ => cells[row].clone(),
                    };
                    prop_assert_eq!(cell, convert(value));
                    prop_assert_eq!(is_reject, convert(value).is_none());
                }
            }
        }
    }

    #[test]
    fn damaged_payloads_are_rejected_when_serde_does(
        object in object(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(BYTES), 0..4), 1..4),
    ) {
        let mut payload = object.to_string().into_bytes();
        for (place, byte, change) in changes {
            let at = place.index(payload.len() + 1);
            match change {
                0 => payload.truncate(at),
                1 if at < payload.len() => drop(payload.remove(at)),
                2 if at < payload.len() => payload[at] = byte,
                _ => payload.insert(at, byte),
            }
        }
        let parsed = serde_json::from_slice::<Value>(&payload);
        let is_too_large = parsed.as_ref().is_err_and(|error| error.to_string().contains("number out of range"));
        let is_object = parsed.is_ok_and(|value| value.is_object());
        let good = br#"{"a":"x","b":[1],"z":null}"#.to_vec();
        let payloads = [Some(good.clone()), Some(payload), Some(good)];
        let decoded = decode("a:string b:string", &payloads);
        if !is_too_large {
            let expected: Vec<usize> = if is_object { vec![] } else { vec![1] };
            prop_assert_eq!(decoded.rejects.iter().map(|reject| reject.row).collect::<Vec<_>>(), expected);
        }
        let alone = decode("a:string b:string", &[payloads[0].clone(), None, payloads[2].clone()]);
        for (column, expected) in decoded.columns.iter().zip(&alone.columns) {
            prop_assert_eq!(&column.slice(0, 1), &expected.slice(0, 1));
            prop_assert_eq!(&column.slice(2, 1), &expected.slice(2, 1));
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_rejected(payloads: Vec<Option<Vec<u8>>>) {
        let decoded = decode("a:string a.b:int _extra", &payloads);
        prop_assert!(decoded.columns.iter().all(|column| column.len() == payloads.len()));
        let is_reject = |row| decoded.rejects.iter().any(|reject| reject.row == row);
        for (row, payload) in payloads.iter().enumerate() {
            let is_ruled_out = payload.as_ref().is_some_and(|payload| decoder("a:string").rules_out(payload));
            prop_assert!(!is_ruled_out || is_reject(row));
        }
        let _ = infer(payloads.iter().flatten().map(Vec::as_slice));
    }

    #[test]
    fn inferred_columns_decode_their_sample(objects in prop::collection::vec(object(), 1..10)) {
        let payloads: Vec<_> = objects.iter().map(Value::to_string).collect();
        let columns = infer(payloads.iter().map(String::as_bytes));
        let decoder = JsonDecoder::new(&columns, None, TimeSettings::default()).expect("valid columns");
        let decoded = decoder.decode(&payloads.iter().map(Some).collect()).expect("no errors");
        prop_assert_eq!(&decoded.rejects, &[]);
    }
}
