//! Times that logs have, and the scanners beside chrono.

use chrono::{DateTime, FixedOffset, NaiveDate, SecondsFormat, TimeZone as _};
use proptest::prelude::*;

use super::*;

/// 2026-11-24T06:30:16Z.
const NOVEMBER: i64 = 1_795_501_816_000_000;

fn parser(format: &str, zone: &str) -> TimeParser {
    let settings = TimeSettings {
        zone: zone.parse().expect("a zone"),
        reference_micros: Some(NOVEMBER),
    };
    TimeParser::new(&format.parse().expect("a format"), settings)
}

#[track_caller]
fn check(format: &str, text: &str, expected: Option<&str>) {
    let expected = expected.map(|time| DateTime::parse_from_rfc3339(time).expect("a time").timestamp_micros());
    assert_eq!(
        parser(format, "UTC").parse(text.as_bytes()),
        expected,
        "{format} {text}"
    );
}

#[test]
fn iso_8601_has_fractions_and_zones_or_none() {
    for text in [
        "2026-11-24T06:30:16Z",
        "2026-11-24 06:30:16",
        "2026-11-24t06:30:16z",
        "2026-11-24T07:30:16+01:00",
        "2026-11-24T02:00:16-0430",
        "2026-11-24 07:30:16 +01",
        "2026-11-24 06:30:16 UTC",
        "2026-11-24T06:30:16.000000000Z",
    ] {
        check("iso8601", text, Some("2026-11-24T06:30:16Z"));
        check("auto", text, Some("2026-11-24T06:30:16Z"));
    }
    check("rfc3339", "2026-11-24 06:51:16,649", Some("2026-11-24T06:51:16.649Z"));
    check(
        "iso8601",
        "2026-11-24T06:51:16.1234567891+01:00",
        Some("2026-11-24T05:51:16.123456Z"),
    );
    check("iso8601", "1969-12-31T23:59:59.5Z", Some("1969-12-31T23:59:59.5Z"));
    check("iso8601", "2024-02-29", Some("2024-02-29T00:00:00Z"));
    check("iso8601", "2016-12-31T23:59:60Z", Some("2017-01-01T00:00:00Z"));
}

#[test]
fn what_no_calendar_has_is_no_time() {
    for text in [
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2025-02-29",
        "2026-11-24T24:00:00Z",
        "2026-11-24T06:60:16Z",
        "2026-11-24T06:30:61Z",
        "2026-11-24T06:30:16+24:00",
        "2026-11-24T06:30:16.Z",
        "2026-11-24T06:30:16Zz",
        "2026-11-24T06:30:16 ",
        "2026-11-24T06:30",
        "2026-11-24X06:30:16Z",
        "+026-11-24T06:30:16Z",
        "",
        "-",
    ] {
        check("iso8601", text, None);
        check("auto", text, None);
    }
    check("clf", "31/Apr/2026:00:00:00 +0000", None);
    check("rfc3164", "Feb 30 00:00:00", None);
}

#[test]
fn web_servers_times_have_their_zone() {
    check("clf", "10/Oct/2000:13:55:36 -0700", Some("2000-10-10T20:55:36Z"));
    check("auto", "24/Nov/2026:06:30:16 +0000", Some("2026-11-24T06:30:16Z"));
    check("clf", "24/nov/2026:06:30:16", Some("2026-11-24T06:30:16Z"));
    for text in [
        "24/Nov/2026:06:30:16 ",
        "24/Nov/2026:06:30:16x",
        "24-Nov-2026:06:30:16 +0000",
        "24/Nov/2026 06:30:16",
    ] {
        check("clf", text, None);
    }
}

#[test]
fn a_time_without_a_year_is_put_nearest_to_the_reference() {
    check("rfc3164", "Oct 11 22:14:15", Some("2026-10-11T22:14:15Z"));
    check("auto", "Nov  3 01:02:03", Some("2026-11-03T01:02:03Z"));
    check("rfc3164", "Jan 02 00:00:00", Some("2027-01-02T00:00:00Z"));
    check("rfc3164", "Jun 25 00:00:00", Some("2026-06-25T00:00:00Z"));
    check("rfc3164", "Feb 29 00:00:00", None);
    let leap = TimeSettings {
        reference_micros: Some(1_709_164_800_000_000),
        ..TimeSettings::default()
    };
    let mut parser = TimeParser::new(&TimeFormat::Rfc3164, leap);
    assert_eq!(parser.parse(b"Feb 29 00:00:00"), Some(1_709_164_800_000_000));
}

#[test]
fn numbers_are_units_since_1970() {
    check("unix", "1795501816.041", Some("2026-11-24T06:30:16.041Z"));
    check("unix", "-0.5", Some("1969-12-31T23:59:59.5Z"));
    check("unix_ms", "1795501816041.25", Some("2026-11-24T06:30:16.04125Z"));
    check("unix_us", "1795501816041001", Some("2026-11-24T06:30:16.041001Z"));
    check("unix_ns", "-1", Some("1969-12-31T23:59:59.999999Z"));
    for text in [
        "1795501816",
        "1795501816000",
        "1795501816000000",
        "1795501816000000000",
        "1795501816.0",
    ] {
        check("auto", text, Some("2026-11-24T06:30:16Z"));
    }
    for text in [
        "",
        "-",
        ".5",
        "5.",
        "1e9",
        "12345678901234567890",
        "9223372036854775807",
        "+5",
    ] {
        check("unix", text, None);
        check(
            "auto",
            text,
            text.starts_with("922").then_some("2262-04-11T23:47:16.854775Z"),
        );
    }
}

#[test]
fn mail_dates_and_patterns_are_read() {
    check(
        "rfc2822",
        "Tue, 10 Oct 2000 13:55:36 -0700",
        Some("2000-10-10T20:55:36Z"),
    );
    check("auto", "Tue, 10 Oct 2000 13:55:36 GMT", Some("2000-10-10T13:55:36Z"));
    check("%d.%m.%Y %H:%M:%S", "24.11.2026 06:30:16", Some("2026-11-24T06:30:16Z"));
    check("%Y/%m/%d", "2026/11/24", Some("2026-11-24T00:00:00Z"));
    check(
        "%Y/%m/%d %H:%M:%S%.f %z",
        "2026/11/24 06:30:16.5 +0100",
        Some("2026-11-24T05:30:16.5Z"),
    );
    check("%s", "1795501816", Some("2026-11-24T06:30:16Z"));
    check("%Y-%j", "2026-366", None);
}

#[test]
fn a_zone_is_for_times_that_do_not_say_theirs() {
    for (format, text) in [
        ("iso8601", "2026-11-24 08:30:16"),
        ("clf", "24/Nov/2026:08:30:16"),
        ("rfc3164", "Nov 24 08:30:16"),
        ("%Y/%m/%d %H:%M:%S", "2026/11/24 08:30:16"),
        ("iso8601", "2026-11-24 06:30:16Z"),
        ("%Y/%m/%d %H:%M:%S%z", "2026/11/24 06:30:16+0000"),
        ("unix", "1795501816"),
    ] {
        assert_eq!(
            parser(format, "+02:00").parse(text.as_bytes()),
            Some(NOVEMBER),
            "{text}"
        );
    }
    assert_eq!(parser("iso8601", "-0030").zone.to_string(), "-00:30");
    "Berlin".parse::<TimeZone>().expect_err("no offset");
    "".parse::<TimeZone>().expect_err("no offset");
}

#[test]
fn a_column_may_change_its_format() {
    let mut parser = parser("auto", "UTC");
    let texts: [&[u8]; 5] = [
        b"1795501816",
        b"24/Nov/2026:06:30:16 +0000",
        b"nonsense",
        b"1795501816000",
        b"2026-11-24T06:30:16Z",
    ];
    let times = texts.map(|text| parser.parse(text));
    assert_eq!(
        times,
        [Some(NOVEMBER), Some(NOVEMBER), None, Some(NOVEMBER), Some(NOVEMBER)]
    );
}

#[test]
fn formats_are_named_and_a_wrong_name_is_answered_with_the_nearest() {
    for (name, format) in NAMES {
        assert_eq!(name.parse::<TimeFormat>().as_ref(), Ok(format));
        assert_eq!(format.to_string().parse::<TimeFormat>().as_ref(), Ok(format));
    }
    let pattern: TimeFormat = "%d.%m.%Y".parse().expect("a pattern");
    assert_eq!(pattern.to_string(), "%d.%m.%Y");
    let error = "unix_mss".parse::<TimeFormat>().expect_err("no format");
    assert!(error.ends_with("not `unix_mss`: did you mean unix_ms?"), "{error}");
    for (pattern, problem) in [
        ("%H:%M", "a year"),
        ("%!", "does not exist"),
        ("%b %d %H:%M:%S", "a year"),
    ] {
        let error = pattern.parse::<TimeFormat>().expect_err("no pattern");
        assert!(error.contains(problem), "{error}");
    }
}

proptest! {
    #[test]
    fn what_chrono_writes_is_read_back(micros in -62_167_219_200_000_000_i64..253_402_300_800_000_000, east in -1439..1440) {
        let zone = FixedOffset::east_opt(east * 60).expect("less than a day");
        let time = DateTime::from_timestamp_micros(micros).expect("in range").with_timezone(&zone);
        prop_assume!(time.format("%Y").to_string().len() == 4);
        let iso = time.to_rfc3339_opts(SecondsFormat::Micros, true);
        prop_assert_eq!(parser("iso8601", "UTC").parse(iso.as_bytes()), Some(micros));
        prop_assert_eq!(parser("auto", "UTC").parse(iso.as_bytes()), Some(micros));
        let seconds = time.timestamp() * 1_000_000;
        let clf = time.format("%d/%b/%Y:%H:%M:%S %z").to_string();
        prop_assert_eq!(parser("clf", "UTC").parse(clf.as_bytes()), Some(seconds));
    }

    #[test]
    fn any_digits_are_the_time_that_chrono_says_or_none(
        year in 0..=9999, month in 0_u32..=13, day in 0_u32..=32, hour in 0_u32..=25, minute in 0_u32..=61, second in 0_u32..=62,
    ) {
        // Chrono takes a leap second as the 59th second with too many nanoseconds.
        let (whole, nanos) = if second == 60 { (59, 1_000_000_000) } else { (second, 0) };
        let expected = NaiveDate::from_ymd_opt(year, month, day)
            .and_then(|date| date.and_hms_nano_opt(hour, minute, whole, nanos))
            .map(|time| chrono::Utc.from_utc_datetime(&time).timestamp_micros());
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
        prop_assert_eq!(parser("iso8601", "UTC").parse(text.as_bytes()), expected);
    }

    #[test]
    fn no_bytes_panic(text: Vec<u8>, digits in "[-+0-9:./ TZ]{0,40}") {
        for (_, format) in NAMES {
            let mut parser = TimeParser::new(format, TimeSettings::default());
            parser.parse(&text);
            parser.parse(digits.as_bytes());
        }
        parser("%Y-%m-%dT%H:%M:%S", "UTC").parse(digits.as_bytes());
    }
}
