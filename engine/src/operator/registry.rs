//! The operators by name: one line each. Documentation and golden cases derive from it.
//!
//! [`parse`] reads what `describe` of an operator says, so a pipeline can be written down as text:
//!
//! ```text
//! text value
//! filter value <> 'ping'
//! tokenize value ascii lower
//! aggregate count(*) AS count by word
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::aggregate::{AggregateCall, HashAggregate};
use super::deduplicate::Deduplicate;
use super::expression::{Comparison, Connective, ExpressionRef, column, column_index, compare, literal, logic};
use super::filter::Filter;
use super::project::Project;
use super::session::SessionAggregate;
use super::span::Micros;
use super::text::Text;
use super::tokenize::Tokenize;
use super::{Operator, StatefulOperator};
use crate::aggregate::AggregateKind;
use crate::aggregate::registry::entry;
use crate::error::{Error, Result};

/// An operator that can be made from text.
#[derive(Debug)]
pub struct Entry {
    /// Its name, the first word of its description.
    pub name: &'static str,
    /// What follows the name.
    pub usage: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    build: Build,
}

#[derive(Debug)]
enum Build {
    Stateless(fn(&str, &SchemaRef) -> Result<Arc<dyn Operator>>),
    Stateful(fn(&str, &SchemaRef) -> Result<Box<dyn StatefulOperator>>),
}

/// An operator made from text.
#[derive(Debug)]
pub enum Parsed {
    /// Maps batches to batches.
    Stateless(Arc<dyn Operator>),
    /// Keeps state over batches.
    Stateful(Box<dyn StatefulOperator>),
}

/// Every operator.
pub const ENTRIES: &[Entry] = &[
    Entry {
        name: "text",
        usage: "COLUMN",
        summary: "a binary column as UTF-8 text; what is no UTF-8 becomes U+FFFD and is counted",
        build: Build::Stateless(text),
    },
    Entry {
        name: "filter",
        usage: "COLUMN =|<>|<|<=|>|>= LITERAL, or COLUMN IS [NOT] NULL",
        summary: "the rows for which a comparison holds",
        build: Build::Stateless(filter),
    },
    Entry {
        name: "project",
        usage: "COLUMN AS NAME, ...",
        summary: "columns chosen and renamed",
        build: Build::Stateless(project),
    },
    Entry {
        name: "tokenize",
        usage: "COLUMN ascii|space|unicode|word|bytes:CHARACTERS [lower] [keep COLUMN, ...]",
        summary: "a row for each token of a text column, as spans into its buffer",
        build: Build::Stateless(tokenize),
    },
    Entry {
        name: "aggregate",
        usage: "FUNCTION(COLUMN, ...) AS NAME, ... by COLUMN, ... [closing SPAN after COLUMN]",
        summary: "groups with aggregate functions",
        build: Build::Stateful(aggregate),
    },
    Entry {
        name: "sessions",
        usage: "FUNCTION(COLUMN, ...) AS NAME, ... by COLUMN, ... with gap SPAN of COLUMN",
        summary: "the rows of each key that follow each other within a gap, with aggregate functions",
        build: Build::Stateful(sessions),
    },
    Entry {
        name: "deduplicate",
        usage: "COLUMN, ... by time COLUMN",
        summary: "the first row of each key, as long as the watermark may bring another",
        build: Build::Stateful(deduplicate),
    },
];

/// Returns the operator that `text` describes, over batches of `schema`.
///
/// # Errors
/// When the text is no operator, or it does not fit the columns; the message says what was expected.
pub fn parse(text: &str, schema: &SchemaRef) -> Result<Parsed> {
    let (name, arguments) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let Some(entry) = ENTRIES.iter().find(|entry| entry.name == name) else {
        let names: Vec<_> = ENTRIES.iter().map(|entry| entry.name).collect();
        return Err(Error::Invalid(format!(
            "there is no operator `{name}`; there are: {}",
            names.join(", ")
        )));
    };
    let built = match entry.build {
        Build::Stateless(build) => build(arguments.trim(), schema).map(Parsed::Stateless),
        Build::Stateful(build) => build(arguments.trim(), schema).map(Parsed::Stateful),
    };
    built.map_err(|error| Error::Invalid(format!("`{text}`: {error}; expected {name} {}", entry.usage)))
}

fn text(arguments: &str, schema: &SchemaRef) -> Result<Arc<dyn Operator>> {
    Ok(Arc::new(Text::new(arguments, schema)?))
}

fn filter(arguments: &str, schema: &SchemaRef) -> Result<Arc<dyn Operator>> {
    Ok(Arc::new(Filter::new(
        predicate(arguments, schema)?,
        Arc::clone(schema),
    )?))
}

fn project(arguments: &str, schema: &SchemaRef) -> Result<Arc<dyn Operator>> {
    let named = |item: &str| {
        let (from, to) = item.split_once(" AS ").unwrap_or((item, item));
        (to.trim().to_owned(), column(from.trim()))
    };
    Ok(Arc::new(Project::new(
        arguments.split(',').map(named).collect(),
        schema,
    )?))
}

fn tokenize(arguments: &str, schema: &SchemaRef) -> Result<Arc<dyn Operator>> {
    let (arguments, kept) = arguments.split_once(" keep ").unwrap_or((arguments, ""));
    let kept: Vec<_> = kept.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let words: Vec<_> = arguments.split_whitespace().collect();
    let (name, mode, lower) = match words[..] {
        [name, mode] => (name, mode, false),
        [name, mode, "lower"] => (name, mode, true),
        _ => return Err(Error::Invalid("a column and a mode are needed".to_owned())),
    };
    let mode = mode.parse().map_err(Error::Invalid)?;
    Ok(Arc::new(Tokenize::new(name, mode, lower, &kept, "word", schema)?))
}

fn aggregate(arguments: &str, schema: &SchemaRef) -> Result<Box<dyn StatefulOperator>> {
    let (arguments, window) = match arguments.rsplit_once(" closing ") {
        Some((arguments, window)) => (arguments, Some(window)),
        None => (arguments, None),
    };
    let (calls, keys) = calls_by_keys(arguments)?;
    let aggregate = HashAggregate::new(&keys, &calls, schema)?;
    let Some(window) = window else {
        return Ok(Box::new(aggregate));
    };
    let (size, key) = window
        .split_once(" after ")
        .ok_or_else(|| Error::Invalid("`after` is missing".to_owned()))?;
    let size: Micros = size.trim().parse()?;
    Ok(Box::new(aggregate.with_window(key.trim(), size.0)?))
}

fn sessions(arguments: &str, schema: &SchemaRef) -> Result<Box<dyn StatefulOperator>> {
    let missing = |word: &str| Error::Invalid(format!("`{word}` is missing"));
    let (arguments, gap) = arguments.rsplit_once(" with gap ").ok_or_else(|| missing("with gap"))?;
    let (gap, time) = gap.split_once(" of ").ok_or_else(|| missing("of"))?;
    let gap: Micros = gap.trim().parse()?;
    let (calls, keys) = calls_by_keys(arguments)?;
    Ok(Box::new(SessionAggregate::new(
        &keys,
        time.trim(),
        gap.0,
        &calls,
        schema,
    )?))
}

fn deduplicate(arguments: &str, schema: &SchemaRef) -> Result<Box<dyn StatefulOperator>> {
    let (keys, time) = arguments
        .rsplit_once(" by time ")
        .ok_or_else(|| Error::Invalid("`by time` is missing".to_owned()))?;
    let keys: Vec<_> = keys.split(',').map(str::trim).filter(|key| !key.is_empty()).collect();
    Ok(Box::new(Deduplicate::new(&keys, time.trim(), schema)?))
}

/// Reads `CALLS by KEYS`; without keys the text ends in `by`, for one group of all rows.
fn calls_by_keys(text: &str) -> Result<(Vec<AggregateCall>, Vec<&str>)> {
    let (calls, keys) = match text.trim().strip_suffix(" by") {
        Some(calls) => (calls, ""),
        None => text
            .rsplit_once(" by ")
            .ok_or_else(|| Error::Invalid("`by` is missing".to_owned()))?,
    };
    let calls = items(calls).into_iter().map(call).collect::<Result<_>>()?;
    let keys = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
    Ok((calls, keys.collect()))
}

fn call(text: &str) -> Result<AggregateCall> {
    let wrong = || Error::Invalid(format!("`{text}` is no `FUNCTION(COLUMN, ...) AS NAME`"));
    let (call, name) = text.rsplit_once(" AS ").ok_or_else(wrong)?;
    let (function, arguments) = call
        .trim()
        .strip_suffix(')')
        .and_then(|call| call.split_once('('))
        .ok_or_else(wrong)?;
    let (function, arguments) = match (function, arguments.strip_prefix("distinct ")) {
        ("count", Some(column)) => ("count_distinct", column),
        _ => (function, arguments),
    };
    let mut arguments = items(arguments);
    let parameters = arguments.split_off(arguments.len().min(entry(function)?.columns));
    let parameters: Vec<_> = parameters.into_iter().map(unquoted).collect();
    let parameters: Vec<_> = parameters.iter().map(String::as_str).collect();
    arguments.retain(|argument| *argument != "*");
    Ok(AggregateCall {
        name: name.trim().to_owned(),
        kind: AggregateKind::from_name(function, &parameters)?,
        arguments: arguments.into_iter().map(str::to_owned).collect(),
    })
}

/// Splits a list at its commas, those in quotes and parentheses left out.
fn items(list: &str) -> Vec<&str> {
    let (mut depth, mut is_quoted) = (0_usize, false);
    let parts = list.split(|letter| {
        match letter {
            '\'' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0 && !is_quoted
    });
    parts.map(str::trim).collect()
}

/// Returns the text of a literal in quotes, or the literal itself.
fn unquoted(literal: &str) -> String {
    let inner = literal.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    inner.map_or_else(|| literal.to_owned(), |inner| inner.replace("''", "'"))
}

fn predicate(text: &str, schema: &Schema) -> Result<ExpressionRef> {
    if let Some(name) = text.strip_suffix(" IS NULL") {
        return Ok(logic(Connective::IsNull, vec![column(name)]));
    }
    if let Some(name) = text.strip_suffix(" IS NOT NULL") {
        return Ok(logic(Connective::IsNotNull, vec![column(name)]));
    }
    let words: Vec<_> = text.splitn(3, ' ').collect();
    let [name, sign, value] = words[..] else {
        return Err(Error::Invalid(
            "a column, a comparison and a value are needed".to_owned(),
        ));
    };
    let comparison = match sign {
        "=" => Comparison::Equal,
        "<>" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        other => return Err(Error::Invalid(format!("`{other}` is no comparison"))),
    };
    let data_type = schema.field(column_index(schema, name)?).data_type().clone();
    Ok(compare(column(name), comparison, value_of(value, &data_type)?))
}

/// Reads a literal as a value of the column's type.
fn value_of(text: &str, data_type: &DataType) -> Result<ExpressionRef> {
    let wrong = |_| Error::Invalid(format!("`{text}` is no {data_type}"));
    let number = |error: std::num::ParseIntError| wrong(error.to_string());
    let array: ArrayRef = match data_type {
        DataType::Utf8 => {
            let is_quoted = text.len() > 1 && text.starts_with('\'') && text.ends_with('\'');
            let text = is_quoted.then(|| unquoted(text)).ok_or_else(|| wrong(String::new()))?;
            Arc::new(StringArray::from(vec![text]))
        }
        DataType::Int32 => Arc::new(Int32Array::from(vec![text.parse::<i32>().map_err(number)?])),
        DataType::Int64 => Arc::new(Int64Array::from(vec![text.parse::<i64>().map_err(number)?])),
        DataType::Float64 => {
            let value = text.parse::<f64>().map_err(|error| wrong(error.to_string()))?;
            Arc::new(Float64Array::from(vec![value]))
        }
        DataType::Boolean => {
            let value = text.parse::<bool>().map_err(|error| wrong(error.to_string()))?;
            Arc::new(BooleanArray::from(vec![value]))
        }
        other => return Err(Error::Invalid(format!("a literal of type {other} can't be written"))),
    };
    Ok(literal(array))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, TimeUnit};

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("value", DataType::Binary, true),
            Field::new("line", DataType::Utf8, true),
            Field::new("status", DataType::Int32, true),
            Field::new("seconds", DataType::Float64, true),
            Field::new("minute", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        ]))
    }

    fn description(text: &str) -> String {
        match parse(text, &schema()).expect("a valid description") {
            Parsed::Stateless(operator) => operator.describe(),
            Parsed::Stateful(operator) => operator.describe(),
        }
    }

    #[test]
    fn a_description_makes_the_operator_that_it_describes() {
        for text in [
            "text value",
            "filter status >= 400",
            "filter line <> 'it''s'",
            "filter seconds < 0.5",
            "project line AS message, status AS status",
            "tokenize line ascii",
            "tokenize line bytes:,; lower keep status, seconds",
            "aggregate count(*) AS count, avg(seconds) AS mean by line, status",
            "aggregate max(line) AS last by ",
            "aggregate max(line) AS last by status, minute closing 60s after minute",
            "sessions count(*) AS rows, max(line) AS last by status with gap 30s of minute",
            "deduplicate line, status by time minute",
            "sessions count(*) AS rows by  with gap 250ms of minute",
            "aggregate first(line, seconds) AS first, approx_quantile(seconds, 0.99) AS p99 by status",
            "aggregate string_agg(line, ', by '' AS ', 1000) AS lines, top_k(line, 3) AS top by status",
        ] {
            assert_eq!(description(text), text);
        }
        assert_eq!(description("filter line IS NOT NULL"), "filter (line) IS NOT NULL");
        assert_eq!(
            description("aggregate count(distinct line) AS lines, mean(status) AS status by "),
            "aggregate count_distinct(line) AS lines, avg(status) AS status by "
        );
    }

    #[test]
    fn what_is_no_operator_is_refused_with_what_was_expected() {
        for (text, expected) in [
            (
                "explode line",
                "there is no operator `explode`; there are: text, filter,",
            ),
            ("filter status ~ 4", "`~` is no comparison; expected filter COLUMN"),
            ("filter status > high", "`high` is no Int32"),
            ("tokenize line", "a column and a mode are needed"),
            (
                "aggregate median(status) AS m by line",
                "there is no aggregate `median`; the nearest is `mean`",
            ),
            (
                "aggregate sum(line) AS s by line",
                "sum does not take Utf8, expected a column of integers or floats",
            ),
            (
                "aggregate last(line) AS s by line",
                "last does not take Utf8, expected a column of values and one to order them by",
            ),
        ] {
            let error = parse(text, &schema()).expect_err("not valid").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
