//! Spans of time as descriptions of operators write them: `10us`, `250ms`, `60s`.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The units, the largest first.
const UNITS: [(&str, i64); 3] = [("s", 1_000_000), ("ms", 1000), ("us", 1)];

/// Microseconds, written in the largest unit that divides them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Micros(pub(super) i64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, size)| self.0 % size == 0);
        let (name, size) = unit.expect("a microsecond divides everything");
        write!(f, "{}{name}", self.0 / size)
    }
}

impl FromStr for Micros {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::Invalid(format!("`{text}` is no span of time like 10us, 250ms or 60s"));
        let digits = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, name) = text.split_at(digits);
        let (_, size) = UNITS.iter().find(|unit| unit.0 == name).ok_or_else(wrong)?;
        let micros = number.parse::<i64>().ok().and_then(|number| number.checked_mul(*size));
        micros.map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_as_it_is_written() {
        for (micros, text) in [
            (10, "10us"),
            (250_000, "250ms"),
            (60_000_000, "60s"),
            (1_000_001, "1000001us"),
        ] {
            assert_eq!(Micros(micros).to_string(), text);
            assert_eq!(text.parse::<Micros>().expect("a span"), Micros(micros));
        }
        for text in ["", "10", "s", "1h", "-1s", "9223372036854775807s"] {
            text.parse::<Micros>().expect_err(text);
        }
    }
}
