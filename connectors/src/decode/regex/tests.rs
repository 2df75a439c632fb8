use proptest::prelude::*;

use super::*;
use crate::decode::testing::{check, check_reject, check_rows_are_independent, near, payloads, sample};

/// A line of a web server's log.
const COMBINED: &str = concat!(
    r"^(?<client>\S+) (?<ident>\S+) (?<user>\S+) \[(?<time>[^\]]+)\] ",
    r#""(?<method>[A-Z]+) (?<path>[^ "]+) (?<protocol>[^"]+)" (?<status>\d{3}) (?<bytes>\d+|-) "#,
    r#""(?<referer>[^"]*)" "(?<agent>[^"]*)"$"#
);

fn decoder(pattern: &str, columns: &str) -> RegexDecoder {
    let columns: Vec<_> = columns
        .split_whitespace()
        .map(|text| text.parse().expect("NAME:TYPE"))
        .collect();
    RegexDecoder::new(pattern, &columns, None, TimeSettings::default()).expect("a valid pattern")
}

#[track_caller]
fn check_refused(pattern: &str, columns: &[&str], expected: &str) {
    let columns: Vec<_> = columns.iter().map(|text| text.parse().expect("NAME:TYPE")).collect();
    let decoder = RegexDecoder::new(pattern, &columns, None, TimeSettings::default());
    assert_eq!(decoder.expect_err("refused").to_string(), expected);
}

#[test]
fn named_groups_are_columns() {
    check(
        &decoder(COMBINED, "time:timestamp status:int"),
        br#"127.0.0.1 - - [24/Nov/2026:06:30:16 +0000] "GET /login HTTP/1.1" 200 6 "" "curl/7.88.1""#,
        &[
            ("client", "127.0.0.1"),
            ("ident", "-"),
            ("user", "-"),
            ("time", "2026-11-24T06:30:16Z"),
            ("method", "GET"),
            ("path", "/login"),
            ("protocol", "HTTP/1.1"),
            ("status", "200"),
            ("bytes", "6"),
            ("referer", ""),
            ("agent", "curl/7.88.1"),
        ],
    );
}

#[test]
fn the_lines_of_a_real_web_server_match() {
    let lines = sample("access.log");
    let decoder = decoder(COMBINED, "time:timestamp status:int");
    let decoded = decoder.decode(&payloads(&lines)).expect("columns");
    let good = lines.len() - decoded.rejects.len();
    // A few requests are no HTTP.
    assert!(
        good * 100 > lines.len() * 95,
        "{good} of {}: {:?}",
        lines.len(),
        decoded.rejects
    );
}

#[test]
fn patterns_match_anywhere_unless_they_say_where() {
    check(
        &decoder("status=(?<status>[0-9]+)", ""),
        b"a status=200 b\n",
        &[("status", "200")],
    );
    check_reject(
        &decoder("^(?<status>[0-9]+)", ""),
        b"a 200",
        "the pattern does not match",
    );
    check(&decoder("(?<end>[0-9]+)$", ""), b"1 2\r\n", &[("end", "2")]);
}

#[test]
fn groups_without_a_part_are_null_and_empty_ones_only_in_strings() {
    let decoder = decoder("^(?:(?<a>x)|(?<b>y*))(?<c>[0-9]*)$", "c:int");
    check(&decoder, b"", &[("b", "")]);
    check(&decoder, b"x7", &[("a", "x"), ("c", "7")]);
}

#[test]
fn text_that_is_no_utf8_is_a_reject_of_a_string_column() {
    let pattern = r"(?-u)^(?<a>[^ ]+) (?<b>[^ ]+)$";
    check_reject(
        &decoder(pattern, "a:bytes"),
        b"\xff \xfe",
        "b: byte 0 of `\u{fffd}` is 0xfe, which is no UTF-8 there",
    );
    check(&decoder(pattern, "a:bytes"), b"\xff x", &[("a", "ff"), ("b", "x")]);
}

#[test]
fn only_wanted_columns_are_built() {
    let wanted = ["b".to_owned()];
    let decoder = RegexDecoder::new("(?<a>.)(?<b>.)", &[], Some(&wanted), TimeSettings::default());
    let decoder = decoder.expect("a valid pattern");
    check(&decoder, b"xy", &[("b", "y")]);
    assert_eq!(decoder.describe(), "regex `(?<a>.)(?<b>.)` b:string");
}

#[test]
fn what_is_no_pattern_is_refused_with_a_caret() {
    check_refused(
        "(?<a>x",
        &[],
        "cannot read the pattern: regex parse error:\n    (?<a>x\n    ^\nerror: unclosed group",
    );
    check_refused(
        r"(?<a>x)(?=y)",
        &[],
        "cannot read the pattern: regex parse error:\n    (?<a>x)(?=y)\n           ^^^\nerror: look-around, including \
         look-ahead and look-behind, is not supported",
    );
    check_refused(
        "(?<a>(x{1000}){1000})",
        &[],
        "expected a pattern that compiles to at most 10485760 bytes, not `(?<a>(x{1000}){1000})`",
    );
}

#[test]
fn patterns_and_columns_have_to_fit() {
    check_refused(
        "(x)",
        &[],
        "expected a pattern with named groups such as (?<status>[0-9]+), not `(x)`",
    );
    check_refused(
        "(?<status>x)(?<b>y)",
        &["statis:int"],
        "the pattern has no group for the column statis; it has status, b: did you mean status?",
    );
}

proptest! {
    #[test]
    fn bad_rows_leave_the_others_as_they_are(
        lines in near(r#"::1 - - [24/Nov/2026:06:30:16 +0000] "GET / HTTP/1.1" 200 - "" "x""#),
    ) {
        let good = br#"127.0.0.1 - - [24/Nov/2026:06:30:16 +0000] "GET /login HTTP/1.1" 200 6 "" "curl/7.88.1""#;
        check_rows_are_independent(&decoder(COMBINED, "time:timestamp status:int"), good, &lines)?;
    }
}
