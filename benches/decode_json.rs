//! Log lines of a real web server into ten typed columns, in processor time: JSON by our decoder, by `arrow-json` and by a
//! value a row, which is what everybody writes first; regular expressions and grok over the same requests.

mod cpu_clock;
mod cpu_time;
mod payloads;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, TimestampMicrosecondType};
use chrono::DateTime;
use connectors::decode::{DeclaredColumn, Decoder, GrokDecoder, JsonDecoder, RegexDecoder, TimeSettings};
use criterion::{BenchmarkId, Criterion, Throughput};
use serde_json::Value;

use cpu_time::CpuTime;
use payloads::{Payloads, declared};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The combined log format. Each byte leaves one way to go on, so that one pass does.
const COMBINED: &str = concat!(
    r"^(?<client>\S+) (?<ident>\S+) (?<user>\S+) \[(?<time>[^\]]+)\] ",
    r#""(?<method>[A-Z]+) (?<path>[^ "]+) (?<protocol>[^"]+)" (?<status>\d{3}) (?<bytes>\d+|-) "#,
    r#""(?<referer>[^"]*)" "(?<agent>[^"]*)"$"#
);

fn main() {
    let mut criterion = cpu_time::criterion();
    json(&mut criterion);
    patterns(&mut criterion);
    criterion.final_summary();
}

fn json(criterion: &mut Criterion<CpuTime>) {
    let payloads = Payloads::of("access.jsonl");
    let declared = declared();
    let names: Vec<_> = declared.iter().map(|column| column.name.clone()).collect();
    let decoder = JsonDecoder::new(&declared, Some(&names), TimeSettings::default()).expect("valid columns");
    let (columns, rejects) = payloads.decode(&decoder);
    assert_eq!(rejects, 0, "every line is JSON");
    let schema = arrow_schema(&declared);
    for (batch, columns) in payloads.batches.iter().zip(&columns) {
        expect_equal(columns, &by_arrow_json(batch, &schema));
        expect_equal(columns, &by_value(batch));
    }
    let mut group = criterion.benchmark_group("decode_json");
    group.throughput(Throughput::Bytes(payloads.bytes));
    group.bench_function("ten_columns", |bencher| {
        bencher.iter(|| black_box(payloads.decode(black_box(&decoder))));
    });
    group.bench_function("arrow_json", |bencher| {
        bencher.iter(|| {
            let batches = payloads.batches.iter();
            batches.for_each(|batch| drop(black_box(by_arrow_json(black_box(batch), &schema))));
        });
    });
    group.bench_function("value_a_row", |bencher| {
        bencher.iter(|| {
            let batches = payloads.batches.iter();
            batches.for_each(|batch| drop(black_box(by_value(black_box(batch)))));
        });
    });
    group.finish();
}

fn patterns(criterion: &mut Criterion<CpuTime>) {
    let payloads = Payloads::of("access.log");
    let types: Vec<_> = ["time:timestamp:clf", "status:int"]
        .map(|text| text.parse().expect("NAME:TYPE"))
        .into();
    let settings = TimeSettings::default();
    let regex = RegexDecoder::new(COMBINED, &types, None, settings).expect("a valid pattern");
    let grok =
        GrokDecoder::new("^%{COMBINEDAPACHELOG}$", &BTreeMap::new(), &[], None, settings).expect("a valid pattern");
    let mut group = criterion.benchmark_group("decode_pattern");
    group.throughput(Throughput::Bytes(payloads.bytes));
    for (name, decoder) in [("regex", &regex as &dyn Decoder), ("grok", &grok)] {
        let (_, rejects) = payloads.decode(decoder);
        let rows: usize = payloads.batches.iter().map(Array::len).sum();
        assert!(rejects * 20 < rows, "{rejects} of {rows} lines do not match");
        group.bench_function(BenchmarkId::new(name, "combined"), |bencher| {
            bencher.iter(|| black_box(payloads.decode(black_box(decoder))));
        });
    }
    group.finish();
}

/// Returns the declared columns as `arrow-json` takes them: it knows zones by their offset only.
fn arrow_schema(declared: &[DeclaredColumn]) -> Arc<Schema> {
    let field = |column: &DeclaredColumn| match column.field() {
        field if matches!(field.data_type(), DataType::Timestamp(..)) => {
            let in_utc = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
            Field::new(field.name(), in_utc, true)
        }
        field => field,
    };
    Arc::new(Schema::new(declared.iter().map(field).collect::<Vec<_>>()))
}

/// Decodes a batch with Arrow's own reader, which loses all of it for one bad line.
fn by_arrow_json(batch: &BinaryArray, schema: &Arc<Schema>) -> Vec<ArrayRef> {
    let builder = arrow_json::ReaderBuilder::new(Arc::clone(schema)).with_batch_size(batch.len());
    let mut decoder = builder.build_decoder().expect("types that it knows");
    for payload in batch.iter().flatten() {
        assert_eq!(decoder.decode(payload).expect("JSON"), payload.len(), "a line a row");
    }
    let records = decoder.flush().expect("values of the types").expect("rows");
    records.columns().to_vec()
}

/// Decodes a batch by a `serde_json::Value` a row.
fn by_value(batch: &BinaryArray) -> Vec<ArrayRef> {
    let mut time = TimestampMicrosecondBuilder::new();
    let mut strings: Vec<_> = ["client", "method", "path", "query", "referer", "agent"]
        .map(|key| (key, StringBuilder::new()))
        .into();
    let mut ints: Vec<_> = ["status", "bytes"].map(|key| (key, Int64Builder::new())).into();
    let mut seconds = Float64Builder::new();
    for payload in batch.iter().flatten() {
        let row: Value = serde_json::from_slice(payload).expect("JSON");
        let text = row["time"].as_str();
        time.append_option(text.and_then(|text| Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros())));
        strings
            .iter_mut()
            .for_each(|(key, column)| column.append_option(row[*key].as_str()));
        ints.iter_mut()
            .for_each(|(key, column)| column.append_option(row[*key].as_i64()));
        seconds.append_option(row["seconds"].as_f64());
    }
    let mut strings = strings
        .into_iter()
        .map(|(_, mut column)| Arc::new(column.finish()) as ArrayRef);
    let mut columns: Vec<ArrayRef> = vec![Arc::new(time.finish())];
    columns.extend(strings.by_ref().take(4));
    columns.extend(
        ints.into_iter()
            .map(|(_, mut column)| Arc::new(column.finish()) as ArrayRef),
    );
    columns.push(Arc::new(seconds.finish()));
    columns.extend(strings);
    columns
}

/// Expects the same values; what their zone is called does not matter.
fn expect_equal(ours: &[ArrayRef], theirs: &[ArrayRef]) {
    assert_eq!(ours.len(), theirs.len(), "a column each");
    for (ours, theirs) in ours.iter().zip(theirs) {
        match ours.as_primitive_opt::<TimestampMicrosecondType>() {
            Some(times) => assert_eq!(
                times.values(),
                theirs.as_primitive::<TimestampMicrosecondType>().values()
            ),
            None => assert_eq!(ours, theirs),
        }
    }
}
