//! Values and rows: what is read, what is refused, and what a bad row leaves.

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;

use super::*;

fn column(column_type: &str) -> ColumnBuilder {
    ColumnBuilder::new(&column_type.parse().expect("a type"), TimeSettings::default(), 4)
}

#[track_caller]
fn check_refused(column_type: &str, text: &[u8], reason: &str) {
    let mut column = column(column_type);
    assert_eq!(column.append_text(text).expect_err("a bad value"), reason);
    assert!(column.is_empty(), "nothing is left of a refused value");
}

#[test]
fn values_have_the_declared_type() {
    let append = |column_type: &str, texts: [&str; 2]| {
        let mut column = column(column_type);
        for text in texts {
            column.append_text(text.as_bytes()).expect(text);
        }
        column.append_null();
        let array = column.finish().expect("a column");
        assert_eq!(
            array.data_type(),
            &column_type.parse::<ColumnType>().expect("a type").data_type()
        );
        assert!(array.len() == 3 && array.null_count() == 1 && array.is_null(2));
        array
    };
    let ints = append("int", ["-12", "+9223372036854775807"]);
    assert_eq!(ints.as_primitive::<Int64Type>().values()[..2], [-12, i64::MAX]);
    let floats = append("float", ["-1.5e3", "7"]);
    assert_eq!(floats.as_primitive::<Float64Type>().values()[..2], [-1500.0, 7.0]);
    let bools = append("bool", ["TRUE", "off"]);
    assert!(bools.as_boolean().value(0) && !bools.as_boolean().value(1));
    let texts = append("string", ["", "é"]);
    assert_eq!(
        (texts.as_string::<i32>().value(0), texts.as_string::<i32>().value(1)),
        ("", "é")
    );
    let bytes = append("bytes", ["a", ""]);
    assert_eq!(bytes.as_binary::<i32>().value(0), b"a");
    let times = append("timestamp", ["1970-01-01T00:00:01Z", "01/Jan/1970:00:00:02 +0000"]);
    assert_eq!(
        times.as_primitive::<TimestampMicrosecondType>().values()[..2],
        [1_000_000, 2_000_000]
    );
}

#[test]
fn a_bad_value_is_named_and_not_appended() {
    check_refused("int", b"abc", "`abc` is no int");
    check_refused("int", b"", "`` is no int");
    check_refused("int", b"-", "`-` is no int");
    check_refused("int", b"9223372036854775808", "`9223372036854775808` is no int");
    check_refused("float", b"1,5", "`1,5` is no float");
    check_refused("bool", b"maybe\n", "`maybe\\n` is no bool");
    check_refused("timestamp:%d.%m.%Y", b"31.02.2026", "`31.02.2026` is no timestamp");
    check_refused(
        "string",
        b"ab\xffc",
        "byte 2 of `ab\u{fffd}c` is 0xff, which is no UTF-8 there",
    );
    let long = [b'x'; 1000];
    check_refused("int", &long, &format!("`{}…` is no int", "x".repeat(40)));
}

#[test]
fn types_are_named_and_a_wrong_name_is_answered_with_the_nearest() {
    for (name, column_type) in NAMES {
        assert_eq!(name.parse::<ColumnType>().as_ref(), Ok(column_type));
        assert_eq!(column_type.to_string(), *name);
    }
    let declared: DeclaredColumn = "at:timestamp:%H:%M %d.%m.%Y".parse().expect("a column");
    assert_eq!(declared.to_string(), "at:timestamp:%H:%M %d.%m.%Y");
    let error = "n:integer".parse::<DeclaredColumn>().expect_err("no type");
    assert!(error.starts_with("expected a column type (int, float"), "{error}");
    let error = "n:strin".parse::<DeclaredColumn>().expect_err("no type");
    assert!(error.ends_with(": did you mean string?"), "{error}");
    for text in ["status", ":int", ""] {
        text.parse::<DeclaredColumn>().expect_err("no name or no type");
    }
}

#[test]
fn a_bad_row_is_null_in_every_column_and_leaves_its_neighbours_alone() {
    let columns: Vec<DeclaredColumn> = ["a:string", "b:int", "c:bool", "d:bytes", "e:float", "f:timestamp:unix"]
        .map(|text| text.parse().expect("a column"))
        .into();
    let payloads = BinaryArray::from_opt_vec(vec![Some(b"1"), Some(b"x"), None, Some(b"0")]);
    let rows = Rows::new(&columns, TimeSettings::default(), payloads.len());
    let decoded = decode_rows(&payloads, rows, |payload, rows| {
        rows.set_text(0, b"replaced")?;
        rows.set_text(0, payload)?;
        // Column 4 is never set; columns 3 and 5 come before the one that is refused.
        rows.set_text(3, payload)?;
        rows.set_text(5, b"1.5")?;
        rows.set_text(2, b"yes")?;
        rows.set_text(1, payload)
    });
    let decoded = decoded.expect("columns");
    let reason = "b: `x` is no int".to_owned();
    assert_eq!(decoded.rejects, [Reject { row: 1, reason }]);
    for (index, array) in decoded.columns.iter().enumerate() {
        let valid: Vec<_> = (0..4).map(|row| array.is_valid(row)).collect();
        let expected = if index == 4 {
            [false; 4]
        } else {
            [true, false, false, true]
        };
        assert_eq!(valid, expected, "column {index}");
    }
    assert_eq!(decoded.columns[0].as_string::<i32>().value(3), "0");
    assert_eq!(decoded.columns[1].as_primitive::<Int64Type>().value(0), 1);
}

proptest! {
    #[test]
    fn ints_are_what_the_standard_library_reads(value: i64, text in "[-+]?[0-9a]{0,21}") {
        prop_assert_eq!(parse_int(value.to_string().as_bytes()), Some(value));
        prop_assert_eq!(parse_int(text.as_bytes()), text.parse().ok());
    }

    #[test]
    fn no_bytes_panic_and_a_column_grows_by_good_values_only(texts: Vec<Vec<u8>>) {
        for (name, _) in NAMES {
            let mut column = column(name);
            let mut good = 0;
            for text in &texts {
                good += usize::from(column.append_text(text).is_ok());
            }
            prop_assert_eq!(column.len(), good);
            column.truncate(good / 2);
            prop_assert_eq!(column.finish().expect("a column").len(), good / 2);
        }
    }
}
