//! One generated log line.
//!
//! ```text
//! 10.0.3.17 2026-01-01T00:20:34Z GET /api/orders/42 200 5120B 12ms user-381 checkout
//! ```
//!
//! Nine tokens, about 90 bytes: client address, time, method, path, status, size, duration, user
//! and service. Line `k` is written `k` milliseconds after 2026-01-01 UTC, with whole seconds as access logs have them.
//! What varies follows Zipf's law (the word of rank `r` appears about `1/r` as often as the first): few words are very
//! common and many are rare, so that ten million lines hold about 335,000 distinct words.

/// 2026-01-01T00:00:00Z in seconds since 1970.
const BASE_SECONDS: u64 = 1_767_225_600;

const METHODS: [&str; 16] = [
    "GET", "GET", "GET", "GET", "GET", "GET", "GET", "GET", "GET", "GET", "POST", "POST", "POST", "PUT", "DELETE",
    "HEAD",
];

const STATUSES: [&str; 16] = [
    "200", "200", "200", "200", "200", "200", "200", "200", "200", "201", "204", "304", "301", "404", "401", "500",
];

const AREAS: [&str; 15] = [
    "/api/v1/products/",
    "/api/v1/orders/",
    "/api/v1/users/",
    "/static/images/catalogue/",
    "/api/v1/search/",
    "/static/scripts/",
    "/api/v1/recommendations/",
    "/api/v2/payments/authorizations/",
    "/api/v1/sessions/",
    "/api/v1/inventory/",
    "/api/v1/shipments/tracking/",
    "/internal/health/",
    "/api/v2/notifications/",
    "/admin/reports/",
    "/api/v1/reviews/",
];

const SERVICES: [&str; 15] = [
    "storefront",
    "catalogue",
    "checkout",
    "search-frontend",
    "recommendations",
    "payments",
    "identity",
    "inventory",
    "shipping",
    "notifications",
    "reviews",
    "reporting",
    "gateway",
    "scheduler",
    "archive",
];

/// What a generated line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// An access log of nine tokens.
    #[default]
    Access,
    /// The same with a tenth token, a request id that no other line has: the worst case for anything keyed by word.
    Traced,
}

impl Shape {
    /// Appends line `number` of `seed` to `out`, without a newline.
    pub fn line(self, seed: u64, number: u64, out: &mut Vec<u8>) {
        line(seed, number, out);
        if self == Self::Traced {
            out.push(b' ');
            push_hex(out, mix(seed ^ mix(number)));
        }
    }
}

/// Appends line `number` of `seed` in [`Shape::Access`] to `out`, without a newline.
pub fn line(seed: u64, number: u64, out: &mut Vec<u8>) {
    let mut random = Random(mix(seed).wrapping_add(number.wrapping_mul(0xd134_2543_de82_ef95)));
    push_address(out, random.rank(16));
    out.push(b' ');
    push_time(out, BASE_SECONDS + number / 1000);
    out.push(b' ');
    out.extend_from_slice(METHODS[random.below(16)].as_bytes());
    out.push(b' ');
    out.extend_from_slice(AREAS[random.rank(4) as usize].as_bytes());
    push_decimal(out, u64::from(random.rank(13)));
    out.push(b' ');
    out.extend_from_slice(STATUSES[random.below(16)].as_bytes());
    out.push(b' ');
    push_decimal(out, 128 * (1 + u64::from(random.rank(12))));
    out.extend_from_slice(b"B ");
    push_decimal(out, 1 + u64::from(random.rank(11)));
    out.extend_from_slice(b"ms user-");
    push_decimal(out, u64::from(random.rank(17)));
    out.push(b' ');
    out.extend_from_slice(SERVICES[random.rank(4) as usize].as_bytes());
}

/// The splitmix64 generator (Steele, Lea and Flood, OOPSLA 2014): any state is a good one, so each line has its own.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Returns a number below `bound`, which is small.
    fn below(&mut self, bound: u64) -> usize {
        (self.next() % bound) as usize
    }

    /// Returns a rank below `2^bits - 1` that follows Zipf's law in steps: first an octave, all equally likely, then one
    /// of its ranks. So rank `r` has a chance of about `1/r`, without a logarithm.
    fn rank(&mut self, bits: u32) -> u32 {
        let random = self.next();
        let octave = ((random >> 32) * u64::from(bits)) >> 32;
        let first = 1_u32 << octave;
        first - 1 + (random as u32 & (first - 1))
    }
}

/// The finalizer of splitmix64: every bit of the result depends on every bit of `value`.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Appends an address of 10.0.0.0/8; neighbouring ranks are not neighbouring addresses.
fn push_address(out: &mut Vec<u8>, rank: u32) {
    let spread = mix(u64::from(rank) + 1);
    out.extend_from_slice(b"10.");
    push_decimal(out, spread & 0xff);
    out.push(b'.');
    push_decimal(out, (spread >> 8) & 0xff);
    out.push(b'.');
    push_decimal(out, (spread >> 16) & 0xff);
}

/// Appends seconds since 1970 as `YYYY-MM-DDThh:mm:ssZ`.
fn push_time(out: &mut Vec<u8>, seconds: u64) {
    let (year, month, day) = civil_date(seconds / 86_400);
    let second = seconds % 86_400;
    push_decimal(out, year);
    for (separator, number) in [
        (b'-', month),
        (b'-', day),
        (b'T', second / 3600),
        (b':', second / 60 % 60),
        (b':', second % 60),
    ] {
        out.extend_from_slice(&[separator, b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
    }
    out.push(b'Z');
}

/// Returns year, month and day of a day since 1970, by Howard Hinnant's `civil_from_days`.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

fn push_hex(out: &mut Vec<u8>, number: u64) {
    let digit = |place: u32| b"0123456789abcdef"[(number >> (60 - 4 * place)) as usize & 15];
    out.extend((0..16).map(digit));
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn text(seed: u64, number: u64) -> String {
        let mut out = Vec::new();
        line(seed, number, &mut out);
        String::from_utf8(out).expect("a line is ASCII")
    }

    #[test]
    fn a_line_depends_on_seed_and_number_alone() {
        assert_eq!(text(1, 1000), text(1, 1000));
        assert_ne!(text(1, 1000), text(2, 1000));
        assert_ne!(text(1, 1000), text(1, 1001));
    }

    const FIRST: &str = "10.31.92.230 2026-01-01T00:00:00Z GET /api/v1/products/0 200 896B 9ms user-5 gateway";
    const LATER: &str = "10.229.5.11 2026-03-01T00:00:00Z GET /api/v1/products/1 301 97536B 1063ms user-0 scheduler";

    #[test]
    fn the_lines_of_a_seed_stay_the_same_between_versions() {
        assert_eq!(text(42, 0), FIRST);
        assert_eq!(text(42, 86_400_000 * 59), LATER);
    }

    #[test]
    fn a_line_has_nine_tokens_and_about_ninety_bytes() {
        let lines: Vec<_> = (0..10_000).map(|number| text(3, number)).collect();
        assert!(lines.iter().all(|line| line.split(' ').count() == 9));
        let mean = lines.iter().map(String::len).sum::<usize>() / lines.len();
        assert!((85..=110).contains(&mean), "{mean}");
    }

    #[test]
    fn few_words_are_common_and_many_are_rare() {
        let mut counts = HashMap::<String, u32>::new();
        for number in 0..100_000 {
            for word in text(3, number).split(' ') {
                *counts.entry(word.to_owned()).or_default() += 1;
            }
        }
        assert!((50_000..120_000).contains(&counts.len()), "{}", counts.len());
        let once = counts.values().filter(|&&count| count == 1).count();
        assert!(once > counts.len() / 4 && counts["GET"] > 50_000, "{once}");
    }

    #[test]
    fn request_ids_are_distinct() {
        let mut lines = HashSet::new();
        for number in 0..100_000 {
            let mut out = Vec::new();
            Shape::Traced.line(9, number, &mut out);
            assert!(lines.insert(out.split_off(out.len() - 16)));
        }
    }

    #[test]
    fn dates_agree_with_the_calendar() {
        assert_eq!(civil_date(0), (1970, 1, 1));
        assert_eq!(civil_date(11_016), (2000, 2, 29));
        assert_eq!(civil_date(20_454), (2026, 1, 1));
    }
}
