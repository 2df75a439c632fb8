//! Texts of a job file that have a form of their own: addresses, topics, patterns, folders of values.

use chrono::DateTime;
use connectors::console::Order;
use connectors::kafka::options::check_topic;
use serde_json::{Value, json};

use super::error::Report;
use super::form::{Form, mismatch, text_forms};
use super::nearest;
use super::node::Node;
use super::place::At;
use super::plan::{DatePart, PartitionBy};
use super::schema::Definitions;

/// What makes a folder of a time, by its name in `partition_by`.
const DATE_PARTS: &[(&str, DatePart)] = &[
    ("year", DatePart::Year),
    ("month", DatePart::Month),
    ("date", DatePart::Date),
    ("hour", DatePart::Hour),
];

/// `HOST:PORT[,HOST:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Brokers(pub(super) String);

/// The name of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topic(pub(super) String);

/// A regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(pub(super) String);

/// A regular expression with named groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupPattern(pub(super) String);

/// What stands between values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delimiter(pub(super) u8);

/// A time zone, `UTC` or as `+02:00`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Zone(pub(super) String);

/// A point in time, in microseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(pub(super) i64);

text_forms! {
    Brokers, "HOST:PORT[,HOST:PORT]", "localhost:9092", brokers;
    Topic, "the name of a topic", "nginx", |text: &str| check_topic(text).map(|()| Topic(text.to_owned()));
    Pattern, "a regular expression", "^nginx-", |text: &str| pattern(text).map(Pattern);
    GroupPattern, "a regular expression with named groups", "(?<level>[A-Z]+)", group_pattern;
    Delimiter, "one ASCII character", ";", delimiter;
    Zone, "UTC, or hours and minutes as in +02:00", "+02:00", zone;
    Moment, "a time such as 2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z", moment;
    Order, "a column, and asc or desc", "hits desc", order;
    PartitionBy, "a column, or year, month, date or hour of one", "date(time)", partition_by;
}

fn brokers(text: &str) -> Result<Brokers, String> {
    let is_address = |address: &str| match address.rsplit_once(':') {
        Some((host, port)) => !host.is_empty() && port.parse().is_ok_and(|port: u16| port > 0),
        None => !address.is_empty(),
    };
    match text.split(',').all(is_address) && !text.contains(char::is_whitespace) {
        true => Ok(Brokers(text.to_owned())),
        false => Err(format!("expected HOST:PORT[,HOST:PORT], not `{text}`")),
    }
}

fn pattern(text: &str) -> Result<String, String> {
    let problem = match regex_syntax::parse(text) {
        Ok(_) => return Ok(text.to_owned()),
        Err(regex_syntax::Error::Parse(error)) => error.kind().to_string(),
        Err(regex_syntax::Error::Translate(error)) => error.kind().to_string(),
        Err(_) => format!("not `{text}`"),
    };
    Err(format!("expected a regular expression: {problem}"))
}

fn group_pattern(text: &str) -> Result<GroupPattern, String> {
    let pattern = pattern(text)?;
    match text.contains("(?<") || text.contains("(?P<") {
        true => Ok(GroupPattern(pattern)),
        false => Err("expected named groups, as in `(?<level>[A-Z]+)`: they are the columns".to_owned()),
    }
}

fn delimiter(text: &str) -> Result<Delimiter, String> {
    match text.as_bytes() {
        [byte] if !b"\"\r\n".contains(byte) => Ok(Delimiter(*byte)),
        _ => Err(format!("expected one ASCII character, not `{text}`")),
    }
}

fn zone(text: &str) -> Result<Zone, String> {
    // A time with that zone is one that chrono reads.
    let is_offset = |text: &str| DateTime::parse_from_str(&format!("2026-01-31 00:00:00 {text}"), "%F %T %z").is_ok();
    let is_signed = text.starts_with(['+', '-']) && text.len() >= "+0200".len();
    match text == "UTC" || is_signed && is_offset(text) {
        true => Ok(Zone(text.to_owned())),
        false => Err(format!("expected UTC, or hours and minutes as in +02:00, not `{text}`")),
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Ok(Moment(time.timestamp_micros())),
        Err(_) => Err(format!("expected a time such as 2026-01-31T12:00:00Z, not `{text}`")),
    }
}

/// Reads `hits`, `hits asc` or `hits desc`.
fn order(text: &str) -> Result<Order, String> {
    let words: Vec<_> = text.split_whitespace().collect();
    let (column, descending) = match words.as_slice() {
        [column] => (*column, false),
        [column, way] if way.eq_ignore_ascii_case("asc") => (*column, false),
        [column, way] if way.eq_ignore_ascii_case("desc") => (*column, true),
        _ => {
            return Err(format!(
                "expected a column, and asc or desc, as in `hits desc`, not `{text}`"
            ));
        }
    };
    Ok(Order {
        column: column.to_owned(),
        descending,
    })
}

/// Reads `status` or `date(time)`.
///
/// # Errors
/// When it is neither.
pub(crate) fn partition_by(text: &str) -> Result<PartitionBy, String> {
    let text = text.trim();
    let (function, rest) = match text.split_once('(') {
        None if !text.is_empty() => {
            return Ok(PartitionBy {
                column: text.to_owned(),
                part: None,
            });
        }
        None => ("", ""),
        Some((function, rest)) => (function.trim(), rest),
    };
    let column = rest
        .strip_suffix(')')
        .map(str::trim)
        .filter(|column| !column.is_empty());
    let part = DATE_PARTS.iter().find(|(name, _)| *name == function);
    match (column, part) {
        (Some(column), Some((_, part))) => Ok(PartitionBy {
            column: column.to_owned(),
            part: Some(*part),
        }),
        _ => {
            let names = DATE_PARTS
                .iter()
                .map(|(name, _)| *name)
                .filter(|name| *name != function);
            let hint = nearest::hint(function, names);
            Err(format!(
                "expected a column, or year, month, date or hour of one, as in `date(time)`, not `{text}`{hint}"
            ))
        }
    }
}
