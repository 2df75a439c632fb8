//! The aggregate functions by name: one line each. The README's table and the planners of text and SQL derive from it.

use super::kind::{AggregateKind, COLLECTED_BYTES, Quantile};
use crate::error::{Error, Result};

/// An aggregate function that can be called by name.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Other names for the same.
    pub aliases: &'static [&'static str],
    /// How it is called.
    pub usage: &'static str,
    /// What it takes as its columns, for messages.
    pub takes: &'static str,
    /// The most columns that it takes; what follows them in a call are parameters.
    pub columns: usize,
    /// Whether it can't be called without parameters.
    pub needs_parameters: bool,
    /// What it gives, in one line.
    pub summary: &'static str,
    /// The function, with parameters that stand for those of a call: its types do not depend on them.
    pub kind: AggregateKind,
}

const NUMBER: &str = "a column of integers or floats";
const VALUE: &str = "a column of values that can be compared";
const ONE: Entry = Entry {
    name: "",
    aliases: &[],
    usage: "",
    takes: VALUE,
    columns: 1,
    needs_parameters: false,
    summary: "",
    kind: AggregateKind::Count,
};

/// Every aggregate function.
pub const ENTRIES: &[Entry] = &[
    Entry {
        name: "count",
        usage: "count(*), count(x)",
        takes: "`*` or a column",
        summary: "rows, or rows whose argument is not null",
        ..ONE
    },
    Entry {
        name: "count_distinct",
        usage: "count(distinct x)",
        summary: "different values, exactly",
        kind: AggregateKind::CountDistinct,
        ..ONE
    },
    Entry {
        name: "approx_distinct",
        aliases: &["approx_count_distinct"],
        usage: "approx_distinct(x)",
        summary: "different values, standard error 0.81 %, at most 16 KiB a group (HyperLogLog)",
        kind: AggregateKind::ApproxDistinct,
        ..ONE
    },
    Entry {
        name: "sum",
        usage: "sum(x)",
        takes: NUMBER,
        summary: "the sum: of integers exactly or not at all, of floats as a float",
        kind: AggregateKind::Sum,
        ..ONE
    },
    Entry {
        name: "avg",
        aliases: &["mean"],
        usage: "avg(x)",
        takes: NUMBER,
        summary: "the mean",
        kind: AggregateKind::Avg,
        ..ONE
    },
    Entry {
        name: "min",
        usage: "min(x)",
        summary: "the least value",
        kind: AggregateKind::Min,
        ..ONE
    },
    Entry {
        name: "max",
        usage: "max(x)",
        summary: "the greatest value",
        kind: AggregateKind::Max,
        ..ONE
    },
    Entry {
        name: "stddev",
        aliases: &["stddev_samp"],
        usage: "stddev(x)",
        takes: NUMBER,
        summary: "the standard deviation of a sample",
        kind: AggregateKind::Stddev,
        ..ONE
    },
    Entry {
        name: "stddev_pop",
        usage: "stddev_pop(x)",
        takes: NUMBER,
        summary: "the standard deviation of a population",
        kind: AggregateKind::StddevPop,
        ..ONE
    },
    Entry {
        name: "var_samp",
        aliases: &["variance", "var"],
        usage: "var_samp(x)",
        takes: NUMBER,
        summary: "the variance of a sample",
        kind: AggregateKind::VarSamp,
        ..ONE
    },
    Entry {
        name: "var_pop",
        usage: "var_pop(x)",
        takes: NUMBER,
        summary: "the variance of a population",
        kind: AggregateKind::VarPop,
        ..ONE
    },
    Entry {
        name: "approx_quantile",
        aliases: &["approx_percentile", "approx_percentile_cont"],
        usage: "approx_quantile(x, q)",
        takes: NUMBER,
        needs_parameters: true,
        summary: "the q-quantile, q from 0 to 1, within 1 % of the value (DDSketch)",
        kind: AggregateKind::ApproxQuantile(Quantile::MEDIAN),
        ..ONE
    },
    Entry {
        name: "first",
        aliases: &["first_value", "arg_min", "min_by"],
        usage: "first(x, t)",
        takes: "a column of values and one to order them by",
        columns: 2,
        summary: "the value with the least t, of several the least",
        kind: AggregateKind::First,
        ..ONE
    },
    Entry {
        name: "last",
        aliases: &["last_value", "arg_max", "max_by"],
        usage: "last(x, t)",
        takes: "a column of values and one to order them by",
        columns: 2,
        summary: "the value with the greatest t, of several the greatest",
        kind: AggregateKind::Last,
        ..ONE
    },
    Entry {
        name: "top_k",
        usage: "top_k(x, k)",
        needs_parameters: true,
        summary: "the k most frequent values with counts, exact for up to 2048 different values a group",
        kind: AggregateKind::TopK(1),
        ..ONE
    },
    Entry {
        name: "bool_and",
        aliases: &["every"],
        usage: "bool_and(x)",
        takes: "a column of booleans",
        summary: "whether all values are true",
        kind: AggregateKind::BoolAnd,
        ..ONE
    },
    Entry {
        name: "bool_or",
        aliases: &["some"],
        usage: "bool_or(x)",
        takes: "a column of booleans",
        summary: "whether one value is true",
        kind: AggregateKind::BoolOr,
        ..ONE
    },
    Entry {
        name: "string_agg",
        aliases: &["listagg"],
        usage: "string_agg(x, separator [, bytes])",
        takes: "a column of strings",
        needs_parameters: true,
        summary: "the strings sorted and joined; more than the bound of bytes (1,000,000) is an error",
        kind: AggregateKind::StringAgg {
            separator: String::new(),
            bytes_max: COLLECTED_BYTES,
        },
        ..ONE
    },
    Entry {
        name: "array_agg",
        usage: "array_agg(x [, bytes])",
        summary: "the values as a sorted list, nulls last; more than the bound of bytes (1,000,000) is an error",
        kind: AggregateKind::ArrayAgg {
            bytes_max: COLLECTED_BYTES,
        },
        ..ONE
    },
];

/// Returns the entry of a name or an alias.
///
/// # Errors
/// When there is none; the message says the nearest name.
pub fn entry(name: &str) -> Result<&'static Entry> {
    let known = |entry: &&Entry| entry.names().any(|known| known == name);
    ENTRIES.iter().find(known).ok_or_else(|| {
        let names = ENTRIES.iter().flat_map(Entry::names);
        let nearest = names.min_by_key(|known| distance(name, known)).unwrap_or_default();
        Error::Invalid(format!("there is no aggregate `{name}`; the nearest is `{nearest}`"))
    })
}

impl Entry {
    /// Returns its name and its aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// Returns the number of letters to insert, remove or replace to make one name of another (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, from) in from.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (left, to) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[left + 1];
            row[left + 1] = replaced.min(diagonal + 1).min(row[left] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_gives_its_function_and_no_name_is_there_twice() {
        let mut seen = HashSet::new();
        for entry in ENTRIES {
            assert_eq!(entry.kind.name(), entry.name);
            for name in entry.names() {
                assert!(seen.insert(name), "{name}");
                if !entry.needs_parameters {
                    assert_eq!(AggregateKind::from_name(name, &[]).expect("a name"), entry.kind);
                }
            }
        }
    }

    #[test]
    fn parameters_are_read_and_checked() {
        let kind = AggregateKind::from_name("approx_percentile", &["0.99"]).expect("a quantile");
        let quantile = Quantile::new(0.99).expect("from 0 to 1");
        assert_eq!(kind, AggregateKind::ApproxQuantile(quantile));
        assert_eq!(
            AggregateKind::from_name("top_k", &["10"]).expect("a number"),
            AggregateKind::TopK(10)
        );
        let joined = AggregateKind::from_name("string_agg", &["'", "10"]).expect("a separator and a bound");
        assert_eq!(joined.literals(), ["''''", "10"]);
        for (name, parameters, expected) in [
            (
                "median",
                &[][..],
                "there is no aggregate `median`; the nearest is `mean`",
            ),
            ("count_distnct", &[], "the nearest is `count_distinct`"),
            (
                "approx_quantile",
                &["1.5"],
                "a quantile is a number from 0 to 1, not 1.5",
            ),
            (
                "approx_quantile",
                &["NaN"],
                "a quantile is a number from 0 to 1, not NaN",
            ),
            ("approx_quantile", &[], "expected approx_quantile(x, q)"),
            ("top_k", &["many"], "`many` is no number"),
            ("top_k", &["0"], "the number of values is from 1 to 1000, not 0"),
            ("sum", &["1"], "the parameters of sum do not fit, expected sum(x)"),
        ] {
            let error = AggregateKind::from_name(name, parameters)
                .expect_err("not valid")
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_distance_of_names_counts_letters() {
        for (from, to, expected) in [("", "sum", 3), ("sum", "sum", 0), ("smu", "sum", 2), ("maxx", "max", 1)] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }
}
