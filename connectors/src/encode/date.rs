//! Days and seconds since 1970 as RFC 3339 text, in UTC.

use std::io::Write;

const SECONDS_PER_DAY: i64 = 86_400;

/// Digits of the finest fraction of a second: nanoseconds.
const DIGITS_MAX: usize = 9;

/// Writes `days` since 1970-01-01 as `YYYY-MM-DD`. Years before 0 and after 9999 have a sign or more digits.
pub(crate) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil(days);
    if (0..=9999).contains(&year) {
        let mut text = *b"0000-00-00";
        for (at, number) in [(0, year / 100), (2, year % 100), (5, month), (8, day)] {
            write_two(number, &mut text[at..]);
        }
        out.extend_from_slice(&text);
    } else {
        write!(out, "{year:04}-{month:02}-{day:02}").expect("a Vec takes every write");
    }
}

/// Writes `ticks` since 1970-01-01T00:00:00Z, `per_second` of them a second, as `YYYY-MM-DDThh:mm:ss.ffffffZ` with
/// `digits` digits, nine at most, of a fraction that has `per_second` parts or more.
pub(crate) fn write_timestamp(ticks: i64, per_second: i64, digits: usize, out: &mut Vec<u8>) {
    let seconds = ticks.div_euclid(per_second);
    let mut fraction = ticks.rem_euclid(per_second) * (10_i64.pow(digits as u32) / per_second);
    write_date(seconds.div_euclid(SECONDS_PER_DAY), out);
    let second = seconds.rem_euclid(SECONDS_PER_DAY);
    let mut text = *b"T00:00:00.000000000Z";
    for (at, number) in [(1, second / 3600), (4, second / 60 % 60), (7, second % 60)] {
        write_two(number, &mut text[at..]);
    }
    let end = text.len() - 1 - DIGITS_MAX + digits;
    for digit in text[end - digits..end].iter_mut().rev() {
        *digit = b'0' + (fraction % 10) as u8;
        fraction /= 10;
    }
    text[end] = b'Z';
    out.extend_from_slice(&text[..=end]);
}

/// Writes a number from 0 to 99 as two digits: what `write!` brings along costs more than they do.
#[inline]
fn write_two(number: i64, text: &mut [u8]) {
    text[0] = b'0' + (number / 10) as u8;
    text[1] = b'0' + (number % 10) as u8;
}

/// Returns year, month and day. The algorithm is `civil_from_days` of Howard Hinnant's "chrono-compatible low-level
/// date algorithms": eras of 400 years (146,097 days) from 0000-03-01 on.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, SecondsFormat};
    use proptest::prelude::*;

    use super::*;

    fn timestamp(ticks: i64, per_second: i64, digits: usize) -> String {
        let mut out = Vec::new();
        write_timestamp(ticks, per_second, digits, &mut out);
        String::from_utf8(out).expect("the text is ASCII")
    }

    #[test]
    fn seconds_before_1970_round_down() {
        assert_eq!(timestamp(-1, 1_000, 6), "1969-12-31T23:59:59.999000Z");
    }

    #[test]
    fn the_first_and_the_last_tick_have_a_text() {
        for ticks in [i64::MIN, i64::MAX] {
            for per_second in [1, 1_000, 1_000_000] {
                assert!(timestamp(ticks, per_second, 6).ends_with('Z'));
            }
        }
    }

    proptest! {
        #[test]
        fn timestamps_of_the_years_0_to_9999_are_what_chrono_says(micros in -62_167_219_200_000_000_i64..253_402_300_800_000_000) {
            let expected = DateTime::from_timestamp_micros(micros).expect("in range");
            prop_assert_eq!(timestamp(micros, 1_000_000, 6), expected.to_rfc3339_opts(SecondsFormat::Micros, true));
        }

        #[test]
        fn nanoseconds_are_kept(nanos: i64) {
            let expected = DateTime::from_timestamp_nanos(nanos);
            prop_assert_eq!(timestamp(nanos, 1_000_000_000, 9), expected.to_rfc3339_opts(SecondsFormat::Nanos, true));
        }
    }
}
