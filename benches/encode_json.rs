//! Ten typed columns of a real web server's log to JSON lines, in processor time: by our encoder, by `arrow-json`, and a row
//! at a time by `serde_json`, which is what everybody writes first.

mod cpu_clock;
mod cpu_time;
#[expect(dead_code, reason = "the benchmark of the decoders counts bytes")]
mod payloads;

use std::hint::black_box;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use chrono::{DateTime, SecondsFormat};
use connectors::decode::{Decoder, JsonDecoder, TimeSettings};
use connectors::encode::JsonEncoder;
use criterion::Throughput;
use serde::Serialize;
use serde_json::Value;

use payloads::{Payloads, declared};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A row, as a program in Rust has it.
#[derive(Serialize)]
struct Row<'a> {
    time: Option<String>,
    client: Option<&'a str>,
    method: Option<&'a str>,
    path: Option<&'a str>,
    query: Option<&'a str>,
    status: Option<i64>,
    bytes: Option<i64>,
    seconds: Option<f64>,
    referer: Option<&'a str>,
    agent: Option<&'a str>,
}

fn main() {
    let mut criterion = cpu_time::criterion();
    let batches = batches();
    let mut encoder = JsonEncoder::objects(&batches[0].schema());
    let (mut text, mut bytes) = (Vec::new(), 0);
    for batch in &batches {
        let rows = encoder.encode(batch).expect("plain types").bytes();
        a_row_at_a_time(batch, &mut text);
        assert!(rows == text, "both have the same bytes");
        assert_eq!(
            values(rows),
            values(&by_arrow_json(batch)),
            "and what `arrow-json` says"
        );
        bytes += text.len() as u64;
    }
    let mut group = criterion.benchmark_group("encode_json");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("ten_columns", |bencher| {
        bencher.iter(|| {
            for batch in &batches {
                black_box(encoder.encode(black_box(batch)).expect("plain types"));
            }
        });
    });
    group.bench_function("arrow_json", |bencher| {
        bencher.iter(|| {
            for batch in &batches {
                black_box(by_arrow_json(black_box(batch)));
            }
        });
    });
    group.bench_function("serde_json_a_row", |bencher| {
        bencher.iter(|| {
            for batch in &batches {
                a_row_at_a_time(black_box(batch), &mut text);
            }
        });
    });
    group.finish();
    criterion.final_summary();
}

/// Returns the columns of a log.
fn batches() -> Vec<RecordBatch> {
    let declared = declared();
    let names: Vec<_> = declared.iter().map(|column| column.name.clone()).collect();
    let decoder = JsonDecoder::new(&declared, Some(&names), TimeSettings::default()).expect("valid columns");
    let (batches, rejects) = Payloads::of("access.jsonl").decode(&decoder);
    assert_eq!(rejects, 0, "every line is JSON");
    let batch = |columns| RecordBatch::try_new(decoder.schema(), columns).expect("the columns of the schema");
    batches.into_iter().map(batch).collect()
}

fn a_row_at_a_time(batch: &RecordBatch, out: &mut Vec<u8>) {
    let text = |index: usize| batch.column(index).as_string::<i32>();
    let [client, method, path, query, referer, agent] = [1, 2, 3, 4, 8, 9].map(text);
    let integer = |index: usize| batch.column(index).as_primitive::<Int64Type>();
    let (status, bytes) = (integer(5), integer(6));
    let seconds = batch.column(7).as_primitive::<Float64Type>();
    let time = batch.column(0).as_primitive::<TimestampMicrosecondType>();
    let rfc3339 = |micros| {
        let time = DateTime::from_timestamp_micros(micros).expect("a year of four digits");
        time.to_rfc3339_opts(SecondsFormat::Micros, true)
    };
    out.clear();
    for row in 0..batch.num_rows() {
        let number = |column: &Int64Array| column.is_valid(row).then(|| column.value(row));
        let fields = Row {
            time: time.is_valid(row).then(|| rfc3339(time.value(row))),
            client: string(row, client),
            method: string(row, method),
            path: string(row, path),
            query: string(row, query),
            status: number(status),
            bytes: number(bytes),
            seconds: seconds.is_valid(row).then(|| seconds.value(row)),
            referer: string(row, referer),
            agent: string(row, agent),
        };
        serde_json::to_writer(&mut *out, &fields).expect("a Vec takes every write");
        out.push(b'\n');
    }
}

fn string(row: usize, column: &StringArray) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

fn by_arrow_json(batch: &RecordBatch) -> Vec<u8> {
    let writer = WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = writer.build::<_, LineDelimited>(Vec::new());
    writer.write(batch).expect("plain types");
    writer.finish().expect("a Vec takes every write");
    writer.into_inner()
}

/// Returns the rows without their times, which `arrow-json` writes with other digits.
fn values(lines: &[u8]) -> Vec<Value> {
    let row = |line: &[u8]| {
        let mut row: Value = serde_json::from_slice(line).expect("JSON");
        let time = row["time"].take();
        assert!(time.is_string() || time.is_null());
        row
    };
    let lines = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(row).collect()
}
