//! Timestamps out of text: bytes to microseconds since 1970 UTC.
//!
//! The formats that logs have most are read by byte scanners of their own (`scan`); patterns and mail dates by chrono.

mod scan;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::format::{Item, Parsed, StrftimeItems};
use chrono::{DateTime, NaiveTime};

use crate::spelling;

/// How a column's text says a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TimeFormat {
    /// Whatever of the other formats (patterns left out) reads the text; the one that did is tried first next time.
    /// Numbers are taken for seconds, milliseconds, microseconds or nanoseconds by their size.
    #[default]
    Auto,
    /// `2000-10-10T13:55:36.123Z`: `T` or a space; a fraction or none; a zone of `Z`, `+hh:mm`, `+hhmm` or none. Also
    /// called `rfc3339`. A date alone is its midnight.
    Iso8601,
    /// `10/Oct/2000:13:55:36 -0700`, as web servers write it.
    Clf,
    /// `Oct 11 22:14:15`, in the year that puts it nearest to [`TimeSettings::reference_micros`].
    Rfc3164,
    /// `Tue, 10 Oct 2000 13:55:36 -0700`.
    Rfc2822,
    /// Seconds since 1970, with a fraction or without.
    Unix,
    /// Milliseconds since 1970, with a fraction or without.
    UnixMs,
    /// Microseconds since 1970.
    UnixUs,
    /// Nanoseconds since 1970.
    UnixNs,
    /// A strftime pattern.
    Pattern(TimePattern),
}

/// A strftime pattern that says at least a date: `%d.%m.%Y %H:%M:%S`.
#[derive(Clone, PartialEq, Eq)]
pub struct TimePattern {
    text: Arc<str>,
    items: Arc<[Item<'static>]>,
}

/// The zone of times that do not say theirs: so many seconds east of Greenwich. UTC by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeZone {
    seconds_east: i32,
}

/// What a text leaves open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeSettings {
    /// The zone of times without one.
    pub zone: TimeZone,
    /// The time, in microseconds since 1970 UTC, that a time without a year is put nearest to; `None` is now.
    pub reference_micros: Option<i64>,
}

/// Reads one column's times.
#[derive(Clone, Debug)]
pub struct TimeParser {
    format: TimeFormat,
    zone: TimeZone,
    reference: scan::Reference,
    /// The index in [`DETECTED`] of the last hit.
    last: usize,
    /// The last time of [`TimeFormat::Clf`]: neighbours in a web server's log share their second.
    last_clf: Option<(ClfText, i64)>,
}

/// As long as `10/Oct/2000:13:55:36 -0700`.
type ClfText = [u8; 26];

/// The formats by name, but for the patterns.
const NAMES: &[(&str, TimeFormat)] = &[
    ("auto", TimeFormat::Auto),
    ("iso8601", TimeFormat::Iso8601),
    ("rfc3339", TimeFormat::Iso8601),
    ("clf", TimeFormat::Clf),
    ("rfc3164", TimeFormat::Rfc3164),
    ("rfc2822", TimeFormat::Rfc2822),
    ("unix", TimeFormat::Unix),
    ("unix_ms", TimeFormat::UnixMs),
    ("unix_us", TimeFormat::UnixUs),
    ("unix_ns", TimeFormat::UnixNs),
];

/// The formats that [`TimeFormat::Auto`] looks for; numbers come last, by their size.
const DETECTED: &[TimeFormat] = &[
    TimeFormat::Iso8601,
    TimeFormat::Clf,
    TimeFormat::Rfc3164,
    TimeFormat::Rfc2822,
    TimeFormat::Auto,
];

impl FromStr for TimeFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('%') {
            return TimePattern::new(text).map(Self::Pattern);
        }
        let named = NAMES.iter().find(|(name, _)| *name == text);
        named.map(|(_, format)| format.clone()).ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            format!(
                "expected {} or a pattern such as `%d.%m.%Y %H:%M:%S`, not `{text}`{}",
                names.join(", "),
                spelling::hint(text, names.iter().copied())
            )
        })
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern) => f.write_str(&pattern.text),
            _ => {
                let named = NAMES.iter().find(|(_, format)| format == self);
                f.write_str(named.expect("every format but a pattern has a name").0)
            }
        }
    }
}

impl TimePattern {
    fn new(text: &str) -> Result<Self, String> {
        let refused = |problem: &str| format!("expected a strftime pattern, not `{text}`: {problem}");
        let items = StrftimeItems::new(text).parse_to_owned();
        let items = items.map_err(|_| refused("it has a specifier that does not exist"))?;
        let pattern = Self {
            text: text.into(),
            items: items.into(),
        };
        // What it writes has to say a time again: a year, a month and a day at least.
        let sample = DateTime::UNIX_EPOCH.fixed_offset();
        let mut written = String::new();
        let is_writable = fmt::write(
            &mut written,
            format_args!("{}", sample.format_with_items(pattern.items.iter())),
        );
        match is_writable.is_ok() && pattern.read(&written, TimeZone::default()).is_some() {
            true => Ok(pattern),
            false => Err(refused("it has to give a year, a month and a day, as `%Y-%m-%d` does")),
        }
    }

    fn read(&self, text: &str, zone: TimeZone) -> Option<i64> {
        let mut parsed = Parsed::new();
        chrono::format::parse(&mut parsed, text, self.items.iter()).ok()?;
        if parsed.offset().is_some() || parsed.timestamp().is_some() {
            return parsed.to_datetime().ok().map(|time| time.timestamp_micros());
        }
        let local = match parsed.hour_mod_12() {
            Some(_) => parsed.to_naive_datetime_with_offset(0).ok()?,
            None => parsed.to_naive_date().ok()?.and_time(NaiveTime::MIN),
        };
        let micros = local.and_utc().timestamp_micros();
        micros.checked_sub(zone.seconds_east() * scan::MICROS_PER_SECOND)
    }
}

impl fmt::Debug for TimePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimePattern({:?})", self.text)
    }
}

impl TimeZone {
    /// Returns the seconds east of Greenwich.
    pub fn seconds_east(self) -> i64 {
        i64::from(self.seconds_east)
    }
}

impl FromStr for TimeZone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let offset = scan::offset(text.as_bytes(), Self::default()).filter(|_| !text.is_empty());
        let seconds_east = offset.and_then(|seconds| i32::try_from(seconds).ok());
        seconds_east
            .map(|seconds_east| Self { seconds_east })
            .ok_or_else(|| format!("expected a zone such as UTC, +02:00 or -0700, not `{text}`"))
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.seconds_east.abs() / 60;
        let sign = if self.seconds_east < 0 { '-' } else { '+' };
        match minutes {
            0 => f.write_str("UTC"),
            _ => write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60),
        }
    }
}

impl TimeParser {
    /// Returns a parser of texts in `format`. Without a reference time it takes the system's clock, once.
    pub fn new(format: &TimeFormat, settings: TimeSettings) -> Self {
        let now = || {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX)
        };
        Self {
            format: format.clone(),
            zone: settings.zone,
            reference: scan::Reference::new(settings.reference_micros.unwrap_or_else(now)),
            last: 0,
            last_clf: None,
        }
    }

    /// Returns the time that the whole of `text` says, in microseconds since 1970 UTC; `None` when it says none, or one
    /// out of range. What is below a microsecond is cut off.
    #[inline]
    pub fn parse(&mut self, text: &[u8]) -> Option<i64> {
        match &self.format {
            TimeFormat::Clf => self.clf(text),
            TimeFormat::Iso8601 => scan::iso8601(text, self.zone),
            TimeFormat::Auto => self.detect(text),
            format => self.read(format, text),
        }
    }

    #[inline]
    fn clf(&mut self, text: &[u8]) -> Option<i64> {
        let Ok(text) = <&ClfText>::try_from(text) else {
            return scan::clf(text, self.zone);
        };
        match self.last_clf {
            Some((last, time)) if last == *text => Some(time),
            _ => {
                let time = scan::clf(text, self.zone)?;
                self.last_clf = Some((*text, time));
                Some(time)
            }
        }
    }

    /// Tries the format of the last hit, then all others.
    fn detect(&mut self, text: &[u8]) -> Option<i64> {
        if let Some(time) = self.read(&DETECTED[self.last], text) {
            return Some(time);
        }
        let mut formats = DETECTED.iter().enumerate();
        let (last, time) = formats.find_map(|(index, format)| Some((index, self.read(format, text)?)))?;
        self.last = last;
        Some(time)
    }

    fn read(&self, format: &TimeFormat, text: &[u8]) -> Option<i64> {
        match format {
            TimeFormat::Iso8601 => scan::iso8601(text, self.zone),
            TimeFormat::Clf => scan::clf(text, self.zone),
            TimeFormat::Rfc3164 => scan::rfc3164(text, self.zone, self.reference),
            TimeFormat::Rfc2822 => {
                let time = DateTime::parse_from_rfc2822(std::str::from_utf8(text).ok()?).ok()?;
                Some(time.timestamp_micros())
            }
            TimeFormat::Unix => scan::unix(text, scan::MICROS_PER_SECOND),
            TimeFormat::UnixMs => scan::unix(text, 1_000),
            TimeFormat::UnixUs => scan::unix(text, 1),
            TimeFormat::UnixNs => scan::unix_ns(text),
            TimeFormat::Auto => unix_by_size(text),
            TimeFormat::Pattern(pattern) => pattern.read(std::str::from_utf8(text).ok()?, self.zone),
        }
    }
}

/// Reads a number of seconds, milliseconds, microseconds or nanoseconds since 1970, which of them by its number of digits:
/// each has three digits more than the one before. Times before 1973, of eight digits or fewer, are no such number.
fn unix_by_size(text: &[u8]) -> Option<i64> {
    match text.iter().take_while(|byte| byte.is_ascii_digit()).count() {
        9..=11 => scan::unix(text, scan::MICROS_PER_SECOND),
        12..=14 => scan::unix(text, 1_000),
        15..=17 => scan::unix(text, 1),
        18..=19 => scan::unix_ns(text),
        _ => None,
    }
}
