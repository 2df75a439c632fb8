use proptest::prelude::*;

use super::patterns::PATTERNS;
use super::*;
use crate::decode::testing::{check, check_reject, check_rows_are_independent, near, payloads, sample};

fn decoder(pattern: &str, own: &[(&str, &str)]) -> Result<GrokDecoder> {
    let own = own
        .iter()
        .map(|&(name, definition)| (name.to_owned(), definition.to_owned()));
    GrokDecoder::new(pattern, &own.collect(), &[], None, TimeSettings::default())
}

fn grok(pattern: &str) -> GrokDecoder {
    decoder(pattern, &[]).expect("a valid pattern")
}

/// Checks that the library's pattern `name` matches the whole of each text that `is` one, and of no other.
#[track_caller]
fn check_pattern(name: &str, is: &[&str], is_not: &[&str]) {
    let decoder = grok(&format!("^%{{{name}:it}}$"));
    is.iter().for_each(|text| check_one(&decoder, text));
    for text in is_not {
        check_reject(&decoder, text.as_bytes(), "the pattern does not match");
    }
}

#[track_caller]
fn check_one(decoder: &GrokDecoder, text: &str) {
    let schema = decoder.schema();
    assert_eq!(schema.field(0).name(), "it");
    let decoded = decoder.decode(&payloads(&[text.as_bytes().to_vec()])).expect("columns");
    assert_eq!(decoded.rejects, [], "{text}");
}

#[track_caller]
fn check_refused(pattern: &str, own: &[(&str, &str)], expected: &str) {
    assert_eq!(decoder(pattern, own).expect_err("refused").to_string(), expected);
}

#[test]
fn the_library_is_in_order_and_every_pattern_compiles() {
    assert!(PATTERNS.is_sorted_by_key(|(name, _)| *name));
    for (name, _) in PATTERNS {
        decoder(&format!("%{{{name}:it}}"), &[]).expect(name);
    }
}

#[test]
fn numbers_and_words_are_what_they_are_called() {
    check_pattern("INT", &["0", "-12", "+7"], &["1.5", "x", ""]);
    check_pattern("NUMBER", &["0", "-1.5", ".5"], &["1.", "1e5", "x"]);
    check_pattern("BASE16NUM", &["0xff", "DEADBEEF"], &["0xg"]);
    check_pattern("POSINT", &["1", "10"], &["0", "-1"]);
    check_pattern("WORD", &["GET", "a_1", "été"], &["a b", "a-b", ""]);
    check_pattern("NOTSPACE", &["/a?b=c", "ä"], &["a b", ""]);
    check_pattern("SPACE", &["", " \t"], &["x"]);
    check_pattern("DATA", &["", "any thing é"], &[]);
    check_pattern("UUID", &["123e4567-e89b-12d3-a456-426614174000"], &["123e4567"]);
    check_pattern("QS", &[r#""""#, r#""a \"b\" c""#, "'x'", "`x`"], &["x", r#""a"b""#]);
    check_pattern(
        "LOGLEVEL",
        &["INFO", "warn", "Warning", "ERROR", "err", "emerg"],
        &["loud"],
    );
}

#[test]
fn addresses_are_what_they_are_called() {
    check_pattern(
        "IPV4",
        &["127.0.0.1", "255.255.255.255"],
        &["256.0.0.1", "1.2.3", "1.2.3.4.5"],
    );
    check_pattern(
        "IPV6",
        &[
            "::1",
            "::",
            "fe80::1%eth0",
            "1:2:3:4:5:6:7:8",
            "::ffff:1.2.3.4",
            "2001:db8::8a2e:370:7334",
            "1::",
        ],
        &["12:34:56", "1:2:3:4:5:6:7:8:9", "1::2::3", ":"],
    );
    check_pattern("IP", &["::1", "10.0.0.1"], &["localhost"]);
    check_pattern("IPORHOST", &["::1", "10.0.0.1", "web-1.example.com"], &["a b", "-"]);
    check_pattern("HOSTPORT", &["web-1:8080", "10.0.0.1:80"], &["web-1"]);
    check_pattern(
        "MAC",
        &["00:1b:44:11:3a:b7", "00-1B-44-11-3A-B7", "001b.4411.3ab7"],
        &["00:1b"],
    );
    check_pattern("EMAILADDRESS", &["a.b+c@example.com"], &["a@", "a.example.com"]);
    check_pattern(
        "URI",
        &["http://u:p@example.com:80/a/b?c=d", "file:///etc/hosts"],
        &["/a/b"],
    );
    check_pattern("URIPATHPARAM", &["/", "/a/b?c=d&e"], &["a"]);
    check_pattern("PATH", &["/var/log/syslog", r"C:\logs\a.txt"], &["x"]);
}

#[test]
fn times_are_what_they_are_called() {
    check_pattern("HTTPDATE", &["24/Nov/2026:06:30:16 +0000"], &["24/Nov/2026"]);
    check_pattern(
        "TIMESTAMP_ISO8601",
        &[
            "2026-11-24T06:30:16.123+02:00",
            "2026-11-24 06:30",
            "2026-11-24T06:30:16Z",
        ],
        &["2026-11-24"],
    );
    check_pattern("SYSLOGTIMESTAMP", &["Nov 24 06:30:16", "Nov  4 06:30:16"], &["24 Nov"]);
    check_pattern("DATE", &["11/24/2026", "24.11.2026"], &["2026"]);
    check_pattern("DATESTAMP_RFC2822", &["Tue, 24 Nov 2026 06:30:16 +0000"], &["Tue"]);
    check_pattern("TIME", &["06:30:16", "23:59:60.5"], &["24:00:00", "6"]);
    check_pattern("DAY", &["Mon", "Tuesday"], &["Noday"]);
    check_pattern("MONTH", &["Jan", "September", "june"], &["Smarch"]);
    check_pattern("YEAR", &["2026", "26"], &["202"]);
}

#[test]
fn columns_have_the_types_that_the_pattern_gives() {
    check(
        &grok(r"^%{IP:client} %{WORD:verb} %{URIPATHPARAM:[url][path]} %{NUMBER:seconds:float} (?<rest>.*)$"),
        b"10.0.0.1 GET /a?b=c 0.25 and so on",
        &[
            ("client", "10.0.0.1"),
            ("verb", "GET"),
            ("[url][path]", "/a?b=c"),
            ("seconds", "0.25"),
            ("rest", "and so on"),
        ],
    );
    let schema = grok("%{NUMBER:seconds:float} %{HTTPDATE:time:timestamp:clf}").schema();
    let types: Vec<_> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
    let expected = ["float", "timestamp:clf"].map(|text| text.parse::<ColumnType>().expect("a type").data_type());
    assert_eq!(types, expected);
}

#[test]
fn a_column_in_several_places_has_what_matched() {
    let decoder = grok("^(?:id=%{INT:id:int}|name=%{WORD:name}|#%{INT:id:int})$");
    check(&decoder, b"id=1", &[("id", "1")]);
    check(&decoder, b"#2", &[("id", "2")]);
    check(&decoder, b"name=x", &[("name", "x")]);
}

#[test]
fn the_logs_of_real_programs_match_the_patterns_for_them() {
    let lines = sample("access.log");
    let decoder = grok("^%{COMBINEDAPACHELOG}$");
    let decoded = decoder.decode(&payloads(&lines)).expect("columns");
    let good = lines.len() - decoded.rejects.len();
    assert!(
        good * 100 > lines.len() * 95,
        "{good} of {}: {:?}",
        lines.len(),
        decoded.rejects
    );
    check(
        &grok("^%{SYSLOGLINE}$"),
        b"Nov  4 06:30:16 web-1 sshd[812]: Accepted publickey for ada",
        &[
            ("timestamp", &this_or_last_year("-11-04T06:30:16Z")),
            ("logsource", "web-1"),
            ("program", "sshd"),
            ("pid", "812"),
            ("message", "Accepted publickey for ada"),
        ],
    );
}

/// Returns the time that a date without a year is put to.
fn this_or_last_year(rest: &str) -> String {
    use crate::decode::time::{TimeFormat, TimeParser};
    let mut parser = TimeParser::new(&TimeFormat::Rfc3164, TimeSettings::default());
    let micros = parser.parse(b"Nov  4 06:30:16").expect("a time");
    let year = chrono::DateTime::from_timestamp_micros(micros)
        .expect("in range")
        .format("%Y")
        .to_string();
    format!("{year}{rest}")
}

#[test]
fn ones_own_patterns_go_before_the_librarys() {
    let own = [("ID", "[a-z]%{INT}"), ("INT", "[0-9]")];
    let decoder = decoder("^%{ID:id}$", &own).expect("a valid pattern");
    check(&decoder, b"x1", &[("id", "x1")]);
    check_reject(&decoder, b"x12", "the pattern does not match");
    assert_eq!(
        decoder.describe(),
        "grok `^%{ID:id}$` id:string ID=`[a-z]%{INT}` INT=`[0-9]`"
    );
}

#[test]
fn declared_types_go_before_those_of_the_pattern() {
    let declared = ["a:string".parse().expect("NAME:TYPE")];
    let own = BTreeMap::new();
    let decoder = GrokDecoder::new(
        "%{INT:a:int} %{INT:b:int}",
        &own,
        &declared,
        None,
        TimeSettings::default(),
    );
    let decoder = decoder.expect("a valid pattern");
    check(&decoder, b"007 008", &[("a", "007"), ("b", "8")]);
}

#[test]
fn patterns_that_can_not_be_put_together_are_refused() {
    check_refused("%{WRD:a}", &[], "there is no grok pattern WRD: did you mean WORD?");
    check_refused("%{WORD:a} %{WORD", &[], "expected a `}` after `%{WORD`");
    check_refused(
        "%{WORD:}",
        &[],
        "expected the name of a column after the colon in %{WORD:}",
    );
    check_refused(
        "%{WORD:a:floot}",
        &[],
        "in %{WORD:a:floot}: expected a column type (int, float, bool, string, bytes, timestamp or timestamp:FORMAT), not \
         `floot`: did you mean float?",
    );
    check_refused(
        "%{INT:a:int} %{INT:a}",
        &[],
        "expected one type for the column a, found int and string",
    );
    check_refused(
        "%{INT}",
        &[],
        "expected a pattern with columns such as %{NUMBER:status:int}, not `%{INT}`",
    );
    check_refused(
        "%{A:a}",
        &[("A", "x%{B}"), ("B", "%{A}")],
        "the pattern A contains itself: A -> B -> A",
    );
}

#[test]
fn patterns_that_grow_without_end_are_refused() {
    let names: Vec<String> = (0..30).map(|number| format!("P{number:02}")).collect();
    let definitions: Vec<String> = (1..31)
        .map(|number| format!("%{{P{number:02}}}%{{P{number:02}}}"))
        .collect();
    let doubling = names
        .iter()
        .zip(&definitions)
        .map(|(name, definition)| (name.as_str(), definition.as_str()));
    let own: Vec<_> = doubling.chain([("P30", "x")]).collect();
    check_refused(
        "%{P00:a}",
        &own,
        "expected a pattern of at most 1048576 bytes when the patterns it names are put in",
    );
    let names: Vec<String> = (0..70).map(|number| format!("P{number:02}")).collect();
    let definitions: Vec<String> = (1..71).map(|number| format!("%{{P{number:02}}}")).collect();
    let chain = names
        .iter()
        .zip(&definitions)
        .map(|(name, definition)| (name.as_str(), definition.as_str()));
    let own: Vec<_> = chain.collect();
    check_refused(
        "%{P00:a}",
        &own,
        "expected at most 64 patterns inside each other, P64 is deeper",
    );
}

proptest! {
    #[test]
    fn bad_rows_leave_the_others_as_they_are(lines in near("10.0.0.1 GET /a 200")) {
        let decoder = grok("%{IPORHOST:client} %{WORD:verb} %{NOTSPACE:path} %{INT:status:int}");
        check_rows_are_independent(&decoder, b"::1 PUT /b 404", &lines)?;
    }

    #[test]
    fn any_text_is_a_pattern_or_refused(pattern: String, name in "[A-Z]{1,3}", definition in r"[%{}A-Z:a-z()\[\]?*]{0,30}") {
        let _ = decoder(&pattern, &[(name.as_str(), definition.as_str())]);
        let _ = decoder(&definition, &[(name.as_str(), pattern.as_str())]);
    }
}
