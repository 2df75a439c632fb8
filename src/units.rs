//! Durations, sizes and numbers as people write them, on the command line and in job files.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Units as SQL writes them, and as `humantime` does.
const LONG_UNITS: [(&str, &str); 4] = [
    ("milliseconds", "ms"),
    ("millisecond", "ms"),
    ("microseconds", "us"),
    ("microsecond", "us"),
];

/// Reads a span of time such as `1 minute`, `250 milliseconds`, `1h 30m`.
///
/// # Errors
/// When it is none.
pub(crate) fn span(text: &str) -> Result<Duration, humantime::DurationError> {
    let short = |text: String, &(long, short): &(&str, &str)| text.replace(long, short);
    humantime::parse_duration(&LONG_UNITS.iter().fold(text.to_owned(), short))
}

/// Reads `1s`, `500ms`, `2m 30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let bare = text.parse::<f64>().is_ok();
    match span(text) {
        Ok(duration) => Ok(duration),
        Err(_) if bare && text != "0" => Err(format!("`{text}` needs a unit, as in `{text}s` or `{text}ms`")),
        Err(_) if text == "0" => Ok(Duration::ZERO),
        Err(_) => Err(format!("expected a duration such as 1s, 500ms or 5m, not `{text}`")),
    }
}

/// Reads a number of at least one.
pub(crate) fn positive(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .map_err(|_| format!("expected a whole number, 1 or more, not `{text}`"))
}

/// Reads a number of lines.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("expected a whole number such as 1000000, not `{text}`"))
}

/// Reads a number of lines a second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| format!("expected lines a second, more than 0, not `{text}`"))
}

/// Reads `50MB/s`, or bytes as [`bytes`] does; more than none.
#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
pub(crate) fn bytes_a_second(text: &str) -> Result<f64, String> {
    let unknown = || format!("expected bytes a second such as 50MB/s, not `{text}`");
    match bytes(text.strip_suffix("/s").unwrap_or(text)) {
        Ok(0) | Err(_) => Err(unknown()),
        Ok(bytes) => Ok(bytes as f64),
    }
}

/// Reads `128MiB`, `1GB`, or a number of bytes.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let split = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit.trim() {
        "" | "B" => 1,
        "KB" | "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("expected bytes such as 128MiB or 1GB, not `{text}`")),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("expected bytes such as 128MiB or 1GB, not `{text}`"))?;
    number
        .checked_mul(scale)
        .ok_or_else(|| format!("`{text}` is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_as_people_write_them() {
        assert_eq!(duration("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("250 milliseconds"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1s 1 microsecond"), Ok(Duration::from_micros(1_000_001)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(
            duration("5").expect_err("no unit"),
            "`5` needs a unit, as in `5s` or `5ms`"
        );
        assert_eq!(bytes("128MiB"), Ok(128 << 20));
        assert_eq!(bytes("12"), Ok(12));
        for text in ["MiB", "1.5GB", "3 apples", "99999999999GiB"] {
            bytes(text).expect_err("no size");
        }
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused_in_plain_words() {
        assert_eq!(positive("2").map(NonZeroUsize::get), Ok(2));
        assert_eq!(
            positive("0").expect_err("zero"),
            "expected a whole number, 1 or more, not `0`"
        );
        assert_eq!(count("0"), Ok(0));
        count("-1").expect_err("negative");
        assert_eq!(rate("0.5"), Ok(0.5));
        for text in ["0", "-1", "nan", "inf", "fast"] {
            rate(text).expect_err("no rate");
        }
        assert_eq!((bytes_a_second("50MB/s"), bytes_a_second("7")), (Ok(5e7), Ok(7.0)));
        for text in ["0", "MB/s", "50MB/m"] {
            bytes_a_second(text).expect_err("no rate");
        }
    }
}
