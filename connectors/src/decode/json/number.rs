//! Short decimal numbers into floats, without the general algorithm.

use crate::decode::column::parse_float;

/// Digits that a float holds exactly: 10^15 is below 2^53.
const EXACT_DIGITS: usize = 15;

/// The powers of ten that a float holds exactly and that [`EXACT_DIGITS`] need.
const POWERS: [f64; EXACT_DIGITS + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// Reads a JSON number. Up to 15 digits without an exponent are a whole number over a power of ten: both are exact, so
/// one division rounds right (Clinger, "How to read floating point numbers accurately", PLDI 1990).
#[inline]
pub(super) fn float(text: &[u8]) -> Option<f64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > EXACT_DIGITS + 1 {
        return parse_float(text);
    }
    let mut whole = 0_u64;
    let mut fraction_from = None;
    for (at, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => whole = whole * 10 + u64::from(byte - b'0'),
            b'.' if fraction_from.is_none() => fraction_from = Some(at + 1),
            _ => return parse_float(text),
        }
    }
    let fraction_digits = fraction_from.map_or(0, |from| digits.len() - from);
    let value = whole as f64 / POWERS[fraction_digits];
    Some(if is_negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str) {
        let expected: f64 = text.parse().expect("a number");
        let found = float(text.as_bytes()).expect("a number");
        assert_eq!(found.to_bits(), expected.to_bits(), "{text}");
    }

    #[test]
    fn short_and_long_numbers_are_read_exactly() {
        for text in [
            "0",
            "-0",
            "0.000",
            "1795501816.041",
            "0.1",
            "999999999999999",
            "9999999999999999",
            "1e5",
            "-1.5e-7",
            "0.000000000000001",
            "123456789012345678901234567890",
            "5e-324",
            "1.7976931348623157e308",
        ] {
            check(text);
        }
    }

    proptest! {
        #[test]
        fn numbers_are_what_the_standard_library_says(whole in 0_u64..1 << 60, fraction in 0_u64..1 << 40, sign: bool) {
            let sign = if sign { "-" } else { "" };
            check(&format!("{sign}{whole}.{fraction}"));
            check(&format!("{sign}{}.{}", whole % 10_000, fraction % 10_000));
            check(&format!("{sign}{whole}"));
        }
    }
}
