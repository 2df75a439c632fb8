//! What one writes without a decoder: lines split with the standard library, times read by chrono, a map a line.
//!
//! Each makes the columns that the benchmark compares first, then the others that its format has.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use chrono::{DateTime, NaiveDateTime};

fn lines(batch: &BinaryArray) -> impl Iterator<Item = &str> {
    let text = |payload| std::str::from_utf8(payload).expect("the logs are UTF-8");
    batch.iter().flatten().map(text)
}

fn unless_dash(text: &str) -> Option<&str> {
    Some(text).filter(|text| *text != "-")
}

/// Returns column `index` of rows of text.
fn texts(rows: &[Vec<Option<String>>], index: usize) -> ArrayRef {
    Arc::new(rows.iter().map(|row| row[index].as_deref()).collect::<StringArray>())
}

fn ints(rows: &[Vec<Option<String>>], index: usize) -> ArrayRef {
    let numbers = rows
        .iter()
        .map(|row| row[index].as_deref().map(|text| text.parse::<i64>().expect("a number")));
    Arc::new(numbers.collect::<Int64Array>())
}

/// Returns status, bytes, path, user agent; then host, ident, user, time, request, method, protocol and referer.
pub(crate) fn combined(batch: &BinaryArray) -> Vec<ArrayRef> {
    let (mut rows, mut times) = (Vec::new(), Vec::new());
    for line in lines(batch) {
        let quoted: Vec<_> = line.split('"').collect();
        let head: Vec<_> = quoted[0].split_whitespace().collect();
        let numbers: Vec<_> = quoted[2].split_whitespace().collect();
        let time = format!("{} {}", head[3], head[4]);
        times.push(
            DateTime::parse_from_str(&time, "[%d/%b/%Y:%H:%M:%S %z]")
                .expect("a time")
                .timestamp_micros(),
        );
        let parts: Vec<_> = quoted[1].split(' ').collect();
        let parts = if parts.len() == 3 && parts[2].starts_with("HTTP/") {
            parts
        } else {
            vec!["-"; 3]
        };
        let fields = [
            numbers[0], numbers[1], parts[1], quoted[5], head[0], head[1], head[2], quoted[1], parts[0], parts[2],
            quoted[3],
        ];
        rows.push(fields.map(|field| unless_dash(field).map(str::to_owned)).to_vec());
    }
    let mut columns = vec![ints(&rows, 0), ints(&rows, 1)];
    columns.extend((2..11).map(|index| texts(&rows, index)));
    columns.push(Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")));
    columns
}

/// Returns status, path and agent; then client, method, query, protocol, referer, bytes, seconds, time and all other pairs.
pub(crate) fn logfmt(batch: &BinaryArray) -> Vec<ArrayRef> {
    const TEXTS: [&str; 7] = ["path", "agent", "client", "method", "query", "protocol", "referer"];
    let (mut rows, mut times, mut seconds, mut extra) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for line in lines(batch) {
        let mut pairs = pairs(line);
        let mut take = |key: &str| pairs.remove(key);
        times.push(
            DateTime::parse_from_rfc3339(&take("time").expect("a time"))
                .expect("a time")
                .timestamp_micros(),
        );
        seconds.push(take("seconds").expect("a number").parse::<f64>().expect("a number"));
        let numbers = [take("status"), take("bytes")];
        rows.push(numbers.into_iter().chain(TEXTS.map(&mut take)).collect::<Vec<_>>());
        extra.push(serde_json::to_string(&pairs).expect("a map of strings"));
    }
    let mut columns = vec![ints(&rows, 0)];
    columns.extend((2..9).map(|index| texts(&rows, index)));
    columns.push(ints(&rows, 1));
    columns.push(Arc::new(Float64Array::from(seconds)));
    columns.push(Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")));
    columns.push(Arc::new(StringArray::from(extra)));
    columns
}

fn pairs(line: &str) -> HashMap<String, String> {
    let (mut pairs, mut rest) = (HashMap::new(), line);
    while let Some((key, value)) = rest.split_once('=') {
        let (value, after) = match value.starts_with('"') {
            true => {
                let mut values = serde_json::Deserializer::from_str(value).into_iter::<String>();
                let text = values.next().expect("a value").expect("a closed value");
                (text, &value[values.byte_offset()..])
            }
            false => {
                let end = value.find(' ').unwrap_or(value.len());
                (value[..end].to_owned(), &value[end..])
            }
        };
        pairs.insert(key.trim_start().to_owned(), value);
        rest = after;
    }
    pairs
}

/// Returns app and message; then priority, host, process id and time.
pub(crate) fn syslog(batch: &BinaryArray) -> Vec<ArrayRef> {
    let (mut rows, mut times) = (Vec::new(), Vec::new());
    for line in lines(batch) {
        let (priority, rest) = line[1..].split_once('>').expect("a priority");
        let fields = match rest.strip_prefix("1 ") {
            Some(rest) => {
                let fields: Vec<_> = rest.splitn(7, ' ').collect();
                times.push(
                    DateTime::parse_from_rfc3339(fields[0])
                        .expect("a time")
                        .timestamp_micros(),
                );
                [fields[2], fields[6], priority, fields[1], fields[3]]
            }
            None => {
                let time = NaiveDateTime::parse_from_str(&format!("2026 {}", &rest[..15]), "%Y %b %e %H:%M:%S");
                times.push(time.expect("a time").and_utc().timestamp_micros());
                let (host, content) = rest[16..].split_once(' ').expect("a host");
                let (tag, message) = content.split_once(": ").expect("a tag");
                let (app, procid) = tag.trim_end_matches(']').split_once('[').expect("a process id");
                [app, message, priority, host, procid]
            }
        };
        rows.push(fields.map(|field| unless_dash(field).map(str::to_owned)).to_vec());
    }
    let mut columns = vec![
        texts(&rows, 0),
        texts(&rows, 1),
        ints(&rows, 2),
        texts(&rows, 3),
        texts(&rows, 4),
    ];
    columns.push(Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")));
    columns
}
