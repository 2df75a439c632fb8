//! Which aggregate function, with its parameters.

use std::fmt;
use std::mem::discriminant;

use super::registry::{ENTRIES, Entry, entry};
use super::user::UserFunction;
use crate::error::{Error, Result};

/// The most values of [`AggregateKind::TopK`]: it keeps 16 counters for each.
pub const TOP_K_MAX: usize = 1000;

/// The bytes that a group of [`AggregateKind::StringAgg`] or [`AggregateKind::ArrayAgg`] may take unless told otherwise:
/// about what a Kafka record may hold.
pub const COLLECTED_BYTES: usize = 1_000_000;

/// The most that can be told: an Arrow string column holds less than 2 GiB.
pub const COLLECTED_BYTES_MAX: usize = 1 << 30;

/// The aggregate functions. All but the counts are null for a group without a value; nulls are not seen, unless said
/// otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AggregateKind {
    /// Rows, or rows whose argument is not null.
    Count,
    /// Different values, exactly.
    CountDistinct,
    /// Different values, with a standard error of 0.81 %: HyperLogLog.
    ApproxDistinct,
    /// The sum: of integers as `Int64` (leaving its range is an error), of floats as `Float64`.
    Sum,
    /// The mean as `Float64`.
    Avg,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The standard deviation of a sample (divided by n - 1); null for fewer than two values.
    Stddev,
    /// The standard deviation of a population (divided by n).
    StddevPop,
    /// The variance of a sample (divided by n - 1); null for fewer than two values.
    VarSamp,
    /// The variance of a population (divided by n).
    VarPop,
    /// A quantile with a relative error of 1 %: DDSketch.
    ApproxQuantile(Quantile),
    /// The value of the row with the least second argument; the least value where several rows have that. Rows with a
    /// null in either are not seen.
    First,
    /// The value of the row with the greatest second argument; the greatest value where several rows have that. Rows
    /// with a null in either are not seen.
    Last,
    /// The most frequent values with their counts, this many at most.
    TopK(usize),
    /// Whether all values are true.
    BoolAnd,
    /// Whether one value is true.
    BoolOr,
    /// The strings in their order, joined.
    StringAgg {
        /// What stands between two strings.
        separator: String,
        /// The bytes that a group may take, a separator with every string.
        bytes_max: usize,
    },
    /// The values in their order as a list, nulls last.
    ArrayAgg {
        /// The bytes that a group may take, as encoded keys and 4 more a value.
        bytes_max: usize,
    },
    /// A function that is none of the engine's own.
    User(UserFunction),
}

/// A fraction from 0 to 1: 0.5 is the median.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile(f64);

// The fraction is never NaN.
impl Eq for Quantile {}

impl Quantile {
    /// The median.
    pub const MEDIAN: Self = Self(0.5);

    /// Returns the quantile.
    ///
    /// # Errors
    /// When the fraction is not from 0 to 1.
    pub fn new(fraction: f64) -> Result<Self> {
        match (0.0..=1.0).contains(&fraction) {
            true => Ok(Self(fraction)),
            false => Err(Error::Invalid(format!(
                "a quantile is a number from 0 to 1, not {fraction}"
            ))),
        }
    }

    /// Returns the fraction.
    pub fn fraction(self) -> f64 {
        self.0
    }
}

impl AggregateKind {
    /// Returns the function of a name, with parameters as text, without quotes: `0.99` of `approx_quantile(x, 0.99)`.
    ///
    /// # Errors
    /// When there is no function of that name (the nearest is named), or its parameters are others.
    pub fn from_name(name: &str, parameters: &[&str]) -> Result<Self> {
        let entry = entry(name)?;
        entry.kind.clone().with_parameters(parameters, entry)
    }

    /// Returns the function's line in the registry; a user's function has none.
    pub fn entry(&self) -> Option<&'static Entry> {
        let own = |entry: &&Entry| discriminant(&entry.kind) == discriminant(self);
        ENTRIES.iter().find(own)
    }

    /// Returns the function's name.
    pub fn name(&self) -> &str {
        match self {
            Self::User(function) => function.definition().name(),
            kind => kind.entry().expect("every function of the engine has an entry").name,
        }
    }

    /// Returns the parameters as SQL literals.
    pub fn literals(&self) -> Vec<String> {
        match self {
            Self::ApproxQuantile(quantile) => vec![quantile.0.to_string()],
            Self::TopK(k) => vec![k.to_string()],
            Self::StringAgg { separator, bytes_max } => {
                vec![format!("'{}'", separator.replace('\'', "''")), bytes_max.to_string()]
            }
            Self::ArrayAgg { bytes_max } => vec![bytes_max.to_string()],
            _ => vec![],
        }
    }

    /// Returns an error when a parameter is out of its range.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::TopK(k) => check_range("the number of values", *k, TOP_K_MAX),
            Self::StringAgg { bytes_max, .. } | Self::ArrayAgg { bytes_max } => {
                check_range("the number of bytes", *bytes_max, COLLECTED_BYTES_MAX)
            }
            _ => Ok(()),
        }
    }

    fn with_parameters(self, parameters: &[&str], entry: &Entry) -> Result<Self> {
        let kind = match (self, parameters) {
            (Self::ApproxQuantile(_), [fraction]) => Self::ApproxQuantile(Quantile::new(number(fraction)?)?),
            (Self::TopK(_), [k]) => Self::TopK(number(k)?),
            (Self::StringAgg { bytes_max, .. }, [separator]) => Self::StringAgg {
                separator: (*separator).to_owned(),
                bytes_max,
            },
            (Self::StringAgg { .. }, [separator, bytes_max]) => Self::StringAgg {
                separator: (*separator).to_owned(),
                bytes_max: number(bytes_max)?,
            },
            (Self::ArrayAgg { .. }, [bytes_max]) => Self::ArrayAgg {
                bytes_max: number(bytes_max)?,
            },
            (kind, []) if !entry.needs_parameters => kind,
            (kind, _) => {
                let usage = entry.usage;
                return Err(Error::Invalid(format!(
                    "the parameters of {kind} do not fit, expected {usage}"
                )));
            }
        };
        kind.check()?;
        Ok(kind)
    }
}

impl fmt::Display for AggregateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse()
        .map_err(|_| Error::Invalid(format!("`{text}` is no number that fits here")))
}

fn check_range(what: &str, value: usize, max: usize) -> Result<()> {
    match (1..=max).contains(&value) {
        true => Ok(()),
        false => Err(Error::Invalid(format!("{what} is from 1 to {max}, not {value}"))),
    }
}
