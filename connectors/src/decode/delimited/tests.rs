use proptest::prelude::*;

use super::*;
use crate::decode::testing::{check, check_reject, check_rows_are_independent, near};

fn decoder(dialect: Dialect, columns: &str) -> DelimitedDecoder {
    let columns: Vec<_> = columns
        .split_whitespace()
        .map(|text| text.parse().expect("NAME:TYPE"))
        .collect();
    DelimitedDecoder::new(dialect, &columns, None, TimeSettings::default()).expect("valid columns")
}

fn csv(columns: &str) -> DelimitedDecoder {
    decoder(Dialect::CSV, columns)
}

#[test]
fn fields_come_into_columns_by_position() {
    check(
        &csv("time:timestamp client:string status:int seconds:float cached:bool"),
        b"2026-11-24T06:30:16Z,127.0.0.1,200,0.125,true",
        &[
            ("time", "2026-11-24T06:30:16Z"),
            ("client", "127.0.0.1"),
            ("status", "200"),
            ("seconds", "0.125"),
            ("cached", "true"),
        ],
    );
    let tsv = decoder(Dialect::TSV, "a:string b:string");
    check(&tsv, b"x, y\t\"a\tb\"\r\n", &[("a", "x, y"), ("b", "a\tb")]);
}

#[test]
fn quotes_hide_delimiters_line_ends_and_doubled_quotes() {
    let decoder = csv("a:string b:string c:string");
    check(
        &decoder,
        b"\"x,y\",\"line\r\nline\",\"say \"\"hi\"\"\"",
        &[("a", "x,y"), ("b", "line\r\nline"), ("c", "say \"hi\"")],
    );
    check(
        &decoder,
        b"\"\"\"\",\"\",6\" pipe\n",
        &[("a", "\""), ("b", ""), ("c", "6\" pipe")],
    );
}

#[test]
fn empty_fields_are_null_and_empty_quoted_ones_are_empty() {
    check(&csv("a:string b:int c:string"), b",,\"\"", &[("c", "")]);
    check_reject(&csv("a:string b:int"), b",\"\"", "b: `` is no int");
    check(&csv("a:string"), b"", &[]);
}

#[test]
fn a_record_with_other_fields_is_a_reject() {
    let decoder = csv("a:int b:int");
    check_reject(&decoder, b"", "expected 2 fields, found 1");
    check_reject(&decoder, b"x", "expected 2 fields, found 1");
    check_reject(&decoder, b"1,2,", "expected 2 fields, found 3");
    check_reject(&decoder, b"1,x", "b: `x` is no int");
}

#[test]
fn a_record_is_one_and_its_quotes_are_closed() {
    let decoder = csv("a:string b:string");
    check_reject(&decoder, b"1,2\n3,4", "expected one record, found `\\n` at byte 3");
    check_reject(&decoder, b"1,2\n\n", "expected one record, found `\\n` at byte 3");
    check_reject(&decoder, b"1,\"2", "the quote at byte 2 has no other that closes it");
    check_reject(&decoder, b"\"1\"x,2", "expected one record, found `x` at byte 3");
}

#[test]
fn dialects_have_their_delimiter_and_their_quotes() {
    let semicolon = Dialect::CSV.with_delimiter(b';').expect("a delimiter");
    check(
        &decoder(semicolon, "a:string b:float"),
        b"x,y;1.5",
        &[("a", "x,y"), ("b", "1.5")],
    );
    let plain = Dialect::TSV.without_quotes();
    check(
        &decoder(plain, "a:string b:string"),
        b"\"x\ty\"",
        &[("a", "\"x"), ("b", "y\"")],
    );
    for delimiter in [b'"', b'\n', b'\r', 0xff] {
        let refused = Dialect::CSV.with_delimiter(delimiter).expect_err("refused").to_string();
        assert!(refused.starts_with("expected an ASCII character"), "{refused}");
    }
}

#[test]
fn only_wanted_columns_are_built() {
    let columns: Vec<_> = ["a:int", "b:int", "c:int"]
        .map(|text| text.parse().expect("NAME:TYPE"))
        .into();
    let wanted = ["c".to_owned()];
    let decoder = DelimitedDecoder::new(Dialect::CSV, &columns, Some(&wanted), TimeSettings::default());
    let decoder = decoder.expect("valid columns");
    check(&decoder, b"x,,3", &[("c", "3")]);
    assert_eq!(decoder.describe(), "csv a, b, c: c:int");
}

#[test]
fn a_header_among_the_payloads_is_null() {
    let decoder = csv("a:int b:int").skipping_header();
    check(&decoder, b"a,b\r\n", &[]);
    check(&decoder, b"\"a\",b", &[]);
    check(&decoder, b"1,2", &[("a", "1"), ("b", "2")]);
    check_reject(&csv("a:int b:int"), b"a,b", "a: `a` is no int");
    assert_eq!(decoder.describe(), "csv header a, b: a:int, b:int");
}

#[test]
fn a_header_line_has_names() {
    let names = Dialect::CSV
        .header(b"\xef\xbb\xbftime,\"user, name\",status\r\n")
        .expect("names");
    assert_eq!(names, ["time", "user, name", "status"]);
    for (line, problem) in [
        (&b"a,,b"[..], "name 2 is empty"),
        (b"a,b,a", "a is there twice"),
        (b"a,\xff", "name 2 is no UTF-8"),
        (b"a,\"b", "the quote at byte 2 has no other that closes it"),
    ] {
        let refused = Dialect::CSV.header(line).expect_err("refused").to_string();
        assert_eq!(refused, format!("expected a header line with names: {problem}"));
    }
}

#[test]
fn columns_that_contradict_each_other_are_refused() {
    let refused = |columns: &[&str]| {
        let columns: Vec<_> = columns.iter().map(|text| text.parse().expect("NAME:TYPE")).collect();
        let decoder = DelimitedDecoder::new(Dialect::CSV, &columns, None, TimeSettings::default());
        decoder.expect_err("refused").to_string()
    };
    assert_eq!(refused(&[]), "expected columns, one for each field of a record");
    assert_eq!(refused(&["a:int", "a:int"]), "the column `a` is declared twice");
}

/// Writes fields as RFC 4180 has them, quoted where it has to be and where `quotes` says so.
fn record(fields: &[Option<String>], quotes: &[bool]) -> String {
    let written = fields.iter().zip(quotes).map(|(field, quote)| match field {
        None => String::new(),
        Some(text) if *quote || text.is_empty() || text.contains(['"', ',', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Some(text) => text.clone(),
    });
    written.collect::<Vec<_>>().join(",")
}

proptest! {
    #[test]
    fn fields_that_were_written_are_read(
        fields: [Option<String>; 4],
        quotes: [bool; 4],
        line_end in prop::sample::select(vec!["", "\n", "\r\n"]),
    ) {
        let payload = format!("{}{line_end}", record(&fields, &quotes));
        let names = ["a", "b", "c", "d"];
        let expected: Vec<_> = names.iter().zip(&fields).filter_map(|(name, field)| Some((*name, field.as_deref()?))).collect();
        check(&csv("a:string b:string c:string d:string"), payload.as_bytes(), &expected);
    }

    #[test]
    fn bad_rows_leave_the_others_as_they_are(lines in near("2026-11-24T06:30:16Z,\"GET /a, HTTP\",200,\"a \"\"b\"\"\"")) {
        let decoder = csv("time:timestamp request:string status:int agent:string");
        check_rows_are_independent(&decoder, b"2026-11-24T06:30:16Z,x,200,y", &lines)?;
    }
}
