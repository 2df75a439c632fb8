//! Byte scanners of the common timestamp formats. Each takes a whole text and returns microseconds since 1970 UTC, or `None`
//! for anything else: another format, a day that no month has, a number out of range.

use chrono::{DateTime, Datelike};

use super::TimeZone;

pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// A time, and its year in UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    micros: i64,
    year: i64,
}

impl Reference {
    pub(super) fn new(micros: i64) -> Self {
        let year = DateTime::from_timestamp_micros(micros).map_or(1970, |time| i64::from(time.year()));
        Self { micros, year }
    }
}

/// Digits of a fraction that count; more are cut off.
const FRACTION_DIGITS: usize = 6;

/// Reads `2000-10-10T13:55:36.123Z`: `T` or a space in the middle, a fraction after a point or a comma, and a zone of `Z`,
/// `UTC`, `+hh:mm`, `+hhmm` or `+hh`, with or without a space before it. A date alone is its midnight.
pub(super) fn iso8601(text: &[u8], zone: TimeZone) -> Option<i64> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let days = days_from_civil(year(date), two(date[5], date[6])?, two(date[8], date[9])?)?;
    let Some((time, rest)) = rest.split_first_chunk::<9>() else {
        return rest.is_empty().then(|| at(days, 0, zone.seconds_east(), 0)).flatten();
    };
    if !matches!(time[0], b'T' | b't' | b' ') {
        return None;
    }
    let second = time_of_day(time[1..].first_chunk()?)?;
    let (fraction, rest) = match rest.split_first() {
        Some((b'.' | b',', digits)) => fraction(digits)?,
        _ => (0, rest),
    };
    let rest = rest.strip_prefix(b" ").filter(|zone| !zone.is_empty()).unwrap_or(rest);
    at(days, second, offset(rest, zone)?, fraction)
}

/// Reads `10/Oct/2000:13:55:36 -0700`, as web servers write it.
#[inline]
pub(super) fn clf(text: &[u8], zone: TimeZone) -> Option<i64> {
    let (head, rest) = text.split_first_chunk::<20>()?;
    if head[2] != b'/' || head[6] != b'/' || head[11] != b':' {
        return None;
    }
    let month = month([head[3], head[4], head[5]])?;
    let days = days_from_civil(year(&head[7..]), month, two(head[0], head[1])?)?;
    let second = time_of_day(head[12..].first_chunk()?)?;
    let offset = match rest.split_first() {
        None => zone.seconds_east(),
        Some((b' ', rest)) if !rest.is_empty() => offset(rest, zone)?,
        Some(_) => return None,
    };
    at(days, second, offset, 0)
}

/// Reads `Oct 11 22:14:15`, the day padded with a space or a zero. Of the three years around `reference`, the one is taken
/// that puts the time nearest to it.
pub(super) fn rfc3164(text: &[u8], zone: TimeZone, reference: Reference) -> Option<i64> {
    let text: &[u8; 15] = text.try_into().ok()?;
    if text[3] != b' ' || text[6] != b' ' {
        return None;
    }
    let month = month([text[0], text[1], text[2]])?;
    let tens = if text[4] == b' ' { b'0' } else { text[4] };
    let day = two(tens, text[5])?;
    let second = time_of_day(text[7..].first_chunk()?)?;
    let candidates = (reference.year - 1..=reference.year + 1).filter_map(|year| {
        let days = days_from_civil(Some(year), month, day)?;
        at(days, second, zone.seconds_east(), 0)
    });
    candidates.min_by_key(|time| time.abs_diff(reference.micros))
}

/// Reads a number of units since 1970, `micros` microseconds each, with or without a sign and a fraction.
pub(super) fn unix(text: &[u8], micros: i64) -> Option<i64> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, text),
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, rest) = digits.split_at(length);
    let (fraction, rest) = match rest.split_first() {
        Some((b'.', digits)) => fraction(digits)?,
        _ => (0, rest),
    };
    if whole.is_empty() || !rest.is_empty() {
        return None;
    }
    let time = number(whole)?
        .checked_mul(micros)?
        .checked_add(fraction * micros / MICROS_PER_SECOND)?;
    Some(if negative { -time } else { time })
}

/// Reads a whole number of nanoseconds since 1970; what is below a microsecond is cut off.
pub(super) fn unix_ns(text: &[u8]) -> Option<i64> {
    let nanoseconds = match text.split_first() {
        Some((b'-', digits)) => -number(digits)?,
        _ => number(text)?,
    };
    Some(nanoseconds.div_euclid(1_000))
}

/// Reads `Z`, `UTC`, `+hh:mm`, `+hhmm` or `+hh` as seconds east of Greenwich; nothing is `zone`.
#[inline]
pub(super) fn offset(text: &[u8], zone: TimeZone) -> Option<i64> {
    let (sign, hours, minutes) = match *text {
        [] => return Some(zone.seconds_east()),
        [b'Z' | b'z'] | [b'U', b'T', b'C'] => return Some(0),
        [sign, a, b, c, d] | [sign, a, b, b':', c, d] => (sign, two(a, b)?, two(c, d)?),
        [sign, a, b] => (sign, two(a, b)?, 0),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = hours * 3_600 + minutes * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// Returns the days from 1970-01-01 to a date, `None` when there is no such date. The algorithm is `days_from_civil` of
/// Howard Hinnant's "chrono-compatible low-level date algorithms": eras of 400 years (146,097 days) from 0000-03-01 on.
#[inline]
fn days_from_civil(year: Option<i64>, month: i64, day: i64) -> Option<i64> {
    let year = year?;
    if !(1..=12).contains(&month) || day < 1 || day > days_of_month(year, month) {
        return None;
    }
    let from_march = if month > 2 { year } else { year - 1 };
    let era = from_march.div_euclid(400);
    let year_of_era = from_march.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn at(days: i64, second: i64, seconds_east: i64, micros: i64) -> Option<i64> {
    let seconds = days * SECONDS_PER_DAY + second - seconds_east;
    seconds.checked_mul(MICROS_PER_SECOND)?.checked_add(micros)
}

/// Reads `hh:mm:ss` as the second of the day. A leap second is the first second of the next minute.
#[inline]
fn time_of_day(text: &[u8; 8]) -> Option<i64> {
    if text[2] != b':' || text[5] != b':' {
        return None;
    }
    let (hour, minute, second) = (two(text[0], text[1])?, two(text[3], text[4])?, two(text[6], text[7])?);
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3_600 + minute * 60 + second)
}

/// Reads the digits that `text` starts with as a fraction in millionths, and returns it with what follows them.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    if digits.is_empty() {
        return None;
    }
    let padded = digits.iter().copied().chain(std::iter::repeat(b'0'));
    let millionths = padded
        .take(FRACTION_DIGITS)
        .fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some((millionths, rest))
}

fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_i64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[inline]
fn year(text: &[u8]) -> Option<i64> {
    let (first, second) = (two(text[0], text[1])?, two(text[2], text[3])?);
    Some(first * 100 + second)
}

#[inline]
fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
}

/// Reads the English short name of a month, in any case.
#[inline]
fn month(name: [u8; 3]) -> Option<i64> {
    // Letters differ from capitals in this bit, and nothing but a letter becomes one by it.
    Some(match &name.map(|letter| letter | 0x20) {
        b"jan" => 1,
        b"feb" => 2,
        b"mar" => 3,
        b"apr" => 4,
        b"may" => 5,
        b"jun" => 6,
        b"jul" => 7,
        b"aug" => 8,
        b"sep" => 9,
        b"oct" => 10,
        b"nov" => 11,
        b"dec" => 12,
        _ => return None,
    })
}
