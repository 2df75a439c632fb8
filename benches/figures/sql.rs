//! Statements in SQL: the word count beside the verb's, filter and count beside a plain loop, a whole job beside its parts.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray, Int64Array, StringArray};
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use connectors::decode::{Decoder, FormatOptions, registry};
use connectors::file::{FileOptions, FileSource};
use connectors::kafka::options::KafkaColumn;
use engine::Batch;
use engine::metrics::Metrics;
use engine::operator::{AbsorbContext, EmitContext, OutputMode};
use engine::pipeline::{Job, Settings};
use engine::source::Source;
use millstream::job::build::build;
use millstream::job::{JobFile, Overrides};
use millstream::sql::{Planned, Table as SqlTable, plan};

use super::ingest::timed;
use super::table::{Table, cpu_seconds, median};
use super::{Size, line_file, word_count};
use crate::harness::broker::Broker;
use crate::harness::scratch::Scratch;
use crate::jobs::{KeepSink, cores, run_to_end};
use crate::lines::line;
use crate::plain_loop::hash_count;
use crate::topic::Topic;

/// Rows of a batch, as sources make them.
const BATCH_ROWS: u64 = 8192;

const WORD_COUNT: &str =
    "SELECT word, count(*) AS count FROM (SELECT unnest(tokenize(value)) AS word FROM lines) GROUP BY word";

const FILTER_COUNT: &str =
    "SELECT method, status, count(*) AS hits FROM logs WHERE status >= 400 GROUP BY method, status";

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const STATUSES: [i64; 4] = [200, 304, 404, 503];

pub(crate) fn measure(size: Size, table: &mut Table) {
    words(size, table);
    filter_count(size, table);
    whole_job(size, table);
}

/// The word count in SQL and by the verb, of one file.
fn words(size: Size, table: &mut Table) {
    let scratch = Scratch::new("figures-sql");
    let path = scratch.join("lines.log");
    line_file::write(&path, size.lines);
    let expected = line_file::count_plain(&path).hash();
    let (mut verb, mut statement) = (vec![], vec![]);
    for _ in 0..size.turns {
        let counts = timed(&mut verb, || line_file::count(&path, cores()));
        assert_eq!(
            word_count::hash(&counts),
            expected,
            "the counts are those of a plain loop"
        );
        let counts = timed(&mut statement, || count_in_sql(&path));
        assert_eq!(
            word_count::hash(&counts),
            expected,
            "the counts are those of a plain loop"
        );
    }
    let (verb, statement) = (median(&verb), median(&statement));
    let result = format!("counts {expected:016x}");
    table.add("file -> word count, the verb", cpu_seconds(verb, size.lines), &result);
    table.add(
        "file -> word count, in SQL",
        cpu_seconds(statement, size.lines),
        &result,
    );
    let ratio = statement.as_secs_f64() / verb.as_secs_f64();
    table.ratio(ratio, "<= 1.1 of the verb", ratio <= 1.1);
}

fn planned(sql: &str, name: &str, schema: SchemaRef) -> Planned {
    let table = SqlTable {
        name: name.to_owned(),
        schema,
        event_time: None,
        bounded: true,
        record: None,
    };
    plan(sql, &[table], OutputMode::Complete).expect("a query that runs")
}

fn count_in_sql(path: &Path) -> Vec<RecordBatch> {
    let source = FileSource::new(FileOptions::new(vec![path.to_owned()])).expect("the file is there");
    let sink = KeepSink::default();
    let planned = planned(WORD_COUNT, "lines", source.schema());
    let query = planned.into_query(&source.schema(), OutputMode::Complete, Box::new(sink.clone()));
    let job = Job::new(Box::new(source), query.expect("the file's columns"));
    run_to_end(job, &Settings::bounded(cores()), None);
    sink.take()
}

/// Filter and count by two columns, of rows in memory: half of them pass.
fn filter_count(size: Size, table: &mut Table) {
    let batches = requests();
    let rounds = size.messages / (BATCH_ROWS * batches.len() as u64) + 1;
    let rows = rounds * BATCH_ROWS * batches.len() as u64;
    let (mut pipeline, mut plain) = (vec![], vec![]);
    let mut hash = 0;
    for _ in 0..size.turns {
        hash = timed(&mut plain, || count_plain(&batches, rounds));
        let counted = timed(&mut pipeline, || count_planned(&batches, rounds));
        assert_eq!(counted, hash, "the counts are those of a plain loop");
    }
    let (pipeline, plain) = (median(&pipeline), median(&plain));
    let result = format!("counts {hash:016x}");
    table.add(
        "filter + count by two columns, a HashMap",
        cpu_seconds(plain, rows),
        &result,
    );
    table.add(
        "filter + count by two columns, in SQL",
        cpu_seconds(pipeline, rows),
        &result,
    );
    #[expect(clippy::cast_precision_loss, reason = "a figure of three digits")]
    let speed = rows as f64 / pipeline.as_secs_f64() / 1e6;
    let bar = format!("{speed:.0} of >= 40 M rows a CPU-second");
    table.bar(&bar, speed >= 40.0);
}

/// Returns batches of requests.
fn requests() -> Vec<RecordBatch> {
    let batch = |number: u64| {
        let pick = |row: u64| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize;
        let rows = number * BATCH_ROWS..(number + 1) * BATCH_ROWS;
        let methods: StringArray = rows.clone().map(|row| Some(METHODS[pick(row) % 4])).collect();
        let statuses: Int64Array = rows.map(|row| STATUSES[pick(row) / 4]).collect();
        RecordBatch::try_from_iter([("method", Arc::new(methods) as _), ("status", Arc::new(statuses) as _)])
    };
    (0..32)
        .map(|number| batch(number).expect("columns of one length"))
        .collect()
}

fn count_planned(batches: &[RecordBatch], rounds: u64) -> u64 {
    let planned = planned(FILTER_COUNT, "logs", batches[0].schema());
    let mut aggregate = planned.aggregate.expect("a count");
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread");
    let metrics = Metrics::default();
    let context = AbsorbContext {
        closed_micros: None,
        keeps_late: false,
        metrics: &metrics,
    };
    let mut partials = [aggregate.partial()];
    for _ in 0..rounds {
        for records in batches {
            let batch = planned.inputs[0]
                .operators
                .iter()
                .fold(Batch::new(records.clone(), None), |batch, operator| {
                    operator.apply(batch, &metrics).expect("its own columns")
                });
            partials[0].absorb(&batch, context).expect("its own columns");
        }
    }
    aggregate.merge(&mut partials, &pool).expect("small numbers");
    let context = EmitContext {
        mode: OutputMode::Complete,
        watermark_micros: None,
        last: true,
    };
    let emitted = aggregate.emit(context, &pool).expect("columns of the groups");
    emitted.iter().map(hash_groups).fold(0, u64::wrapping_add)
}

fn hash_groups(groups: &RecordBatch) -> u64 {
    let methods = groups.column(0).as_string::<i32>().iter().flatten();
    let statuses = groups.column(1).as_primitive::<Int64Type>().values();
    let counts = groups.column(2).as_primitive::<Int64Type>().values();
    let rows = methods.zip(statuses).zip(counts);
    let share = |((method, status), count): ((&str, &i64), &i64)| hash_group(method, *status, count.cast_unsigned());
    rows.map(share).fold(0, u64::wrapping_add)
}

fn hash_group(method: &str, status: i64, count: u64) -> u64 {
    hash_count(format!("{method} {status}").as_bytes(), count)
}

fn count_plain(batches: &[RecordBatch], rounds: u64) -> u64 {
    let mut counts: HashMap<(String, i64), u64> = HashMap::new();
    for _ in 0..rounds {
        for batch in batches {
            let methods = batch.column(0).as_string::<i32>().iter().flatten();
            let statuses = batch.column(1).as_primitive::<Int64Type>().values();
            for (method, &status) in methods.zip(statuses) {
                if status >= 400 {
                    *counts.entry((method.to_owned(), status)).or_default() += 1;
                }
            }
        }
    }
    let share = |((method, status), count): (&(String, i64), &u64)| hash_group(method, *status, *count);
    counts.iter().map(share).fold(0, u64::wrapping_add)
}

/// A job over access logs in a topic: decode, filter, window, count; beside its source and its decoder alone.
fn whole_job(size: Size, table: &mut Table) {
    let topic = Topic::of(Broker::shared(), size.messages, "uncompressed", combined);
    let lines = payloads(&topic);
    let (mut source, mut decode, mut job) = (vec![], vec![], vec![]);
    let mut errors = 0;
    for _ in 0..size.turns {
        let seen = timed(&mut source, || topic.read_values());
        assert_eq!(seen, topic.content, "the source saw all");
        errors = timed(&mut decode, || decode_errors(&lines));
        let counted = timed(&mut job, || job_errors(&topic));
        assert_eq!(counted, errors, "the job counts what the decoder found");
    }
    let (source, decode, job) = (median(&source), median(&decode), median(&job));
    let count = topic.messages;
    table.add(
        "topic of access logs -> Arrow",
        cpu_seconds(source, count),
        topic.content.to_string(),
    );
    table.add(
        "decode combined: time, status",
        cpu_seconds(decode, count),
        format!("{errors} errors"),
    );
    table.add(
        "the whole job: errors a minute",
        cpu_seconds(job, count),
        format!("{errors} errors"),
    );
    let ratio = job.as_secs_f64() / (source + decode).as_secs_f64();
    table.ratio(ratio, "<= 2 of source + decoder", ratio <= 2.0);
}

/// Appends access log line `number` in the combined format: 10,000 lines a minute.
fn combined(number: u64, out: &mut Vec<u8>) {
    let mut text = Vec::with_capacity(128);
    line(number, &mut text);
    let text = String::from_utf8(text).expect("lines are ASCII");
    let fields: Vec<_> = text.split(' ').collect();
    let [host, _, method, path, status, bytes, _, user, app] = fields[..] else {
        panic!("a line of nine words, not `{text}`");
    };
    let (second, bytes) = (number * 6 / 1000, bytes.trim_end_matches('B'));
    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    let time = format!("24/Nov/2026:{hour:02}:{minute:02}:{second:02} +0000");
    let line = format!(r#"{host} - {user} [{time}] "{method} {path} HTTP/1.1" {status} {bytes} "-" "{app}/1.0""#);
    out.extend_from_slice(line.as_bytes());
}

fn payloads(topic: &Topic) -> Vec<BinaryArray> {
    let mut payloads = vec![];
    topic.read(&[KafkaColumn::Value], |batch| {
        payloads.push(batch.column(0).to_array().as_binary::<i32>().clone());
    });
    payloads
}

/// Decodes the columns that the job uses and returns how many requests failed.
fn decode_errors(lines: &[BinaryArray]) -> i64 {
    let options = FormatOptions {
        wanted: Some(vec!["time".to_owned(), "status".to_owned()]),
        ..FormatOptions::default()
    };
    let decoder = registry::build(&["combined".to_owned()], &options).expect("a known format");
    let errors = |lines: &BinaryArray| failed_requests(&*decoder, lines);
    lines.iter().map(errors).sum()
}

fn failed_requests(decoder: &dyn Decoder, lines: &BinaryArray) -> i64 {
    let decoded = decoder.decode(lines).expect("columns");
    let status = decoder.schema().index_of("status").expect("a column that is wanted");
    let statuses = decoded.columns[status].as_primitive::<Int64Type>();
    statuses.iter().flatten().map(|status| i64::from(status >= 400)).sum()
}

/// Runs the job as its file says it, and returns the sum of what it counted.
fn job_errors(topic: &Topic) -> i64 {
    let text = format!(
        r#"
        [source.logs]
        kind = "kafka"
        brokers = "{}"
        topic = "{}"
        to = "latest"
        format = "combined"
        [query]
        mode = "update"
        sql = """SELECT tumble(time, '1 minute') AS minute, count(*) AS errors FROM logs WHERE status >= 400 GROUP BY minute"""
        [sink]
        kind = "console"
        "#,
        topic.options(&[]).connection.brokers(),
        topic.name,
    );
    let overrides = Overrides::default();
    let plan = JobFile::from_text("errors.toml", text, &overrides)
        .check(None)
        .expect("a valid job");
    let mut built = build(&plan).expect("a job that runs");
    let sink = KeepSink::default();
    built.job.queries[0].sink = Box::new(sink.clone());
    run_to_end(built.job, &built.settings, None);
    let mut last: HashMap<i64, i64> = HashMap::new();
    for rows in sink.take() {
        let minutes = rows.column(0).as_primitive::<TimestampMicrosecondType>().values();
        let errors = rows.column(1).as_primitive::<Int64Type>().values();
        last.extend(minutes.iter().copied().zip(errors.iter().copied()));
    }
    last.values().sum()
}
