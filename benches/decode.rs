//! Log lines to columns, each format beside the code that one writes without it, in processor time.

mod cpu_clock;
mod cpu_time;
mod split_twin;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray};
use connectors::decode::registry::{FormatOptions, build};
use connectors::decode::{Decoder, TimeSettings};
use criterion::{Criterion, Throughput};

use cpu_time::CpuTime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of a batch, as the Kafka source makes them, and bytes of a log: more than the second-level cache, as a stream is.
const BATCH_ROWS: usize = 8192;
const LOG_BYTES: usize = 8 << 20;

/// 2026-11-24T06:30:16Z, when the sample logs were written.
const REFERENCE: i64 = 1_795_501_816_000_000;

/// What `logfmt` makes of the sample log: its usual columns, with `_extra` for the others.
const LOGFMT_COLUMNS: [&str; 11] = [
    "time:timestamp",
    "client:string",
    "method:string",
    "path:string",
    "query:string",
    "protocol:string",
    "status:int",
    "bytes:int",
    "seconds:float",
    "referer:string",
    "agent:string",
];

/// Makes columns out of a batch of lines, some way.
type Decode<'a> = &'a dyn Fn(&BinaryArray) -> Vec<ArrayRef>;

/// A log, in batches.
struct Log {
    name: &'static str,
    batches: Vec<BinaryArray>,
    bytes: u64,
}

fn main() {
    let mut criterion = cpu_time::criterion();
    let access = Log::new("combined", read("access.log"));
    let combined = decoder("combined", &[]);
    compare(
        &mut criterion,
        &access,
        &*combined,
        &split_twin::combined,
        &["status", "bytes", "path", "user_agent"],
    );
    let pairs = Log::new("logfmt", read("access.jsonl").iter().map(|line| logfmt(line)).collect());
    let logfmt = decoder("logfmt", &LOGFMT_COLUMNS);
    compare(
        &mut criterion,
        &pairs,
        &*logfmt,
        &split_twin::logfmt,
        &["status", "path", "agent"],
    );
    let syslog = decoder("syslog", &[]);
    for log in [Log::new("syslog_3164", rfc3164()), Log::new("syslog_5424", rfc5424())] {
        compare(&mut criterion, &log, &*syslog, &split_twin::syslog, &["app", "message"]);
    }
    criterion.final_summary();
}

impl Log {
    /// Returns a log of the lines, again and again.
    fn new(name: &'static str, lines: Vec<String>) -> Self {
        let bytes: usize = lines.iter().map(String::len).sum();
        let rows = lines.len() * LOG_BYTES.div_ceil(bytes);
        let lines: Vec<_> = lines.iter().map(String::as_bytes).cycle().take(rows).collect();
        Self {
            name,
            batches: lines
                .chunks(BATCH_ROWS)
                .map(|lines| BinaryArray::from_vec(lines.to_vec()))
                .collect(),
            bytes: lines.iter().map(|line| line.len() as u64).sum(),
        }
    }
}

/// Returns the lines of a sample log.
fn read(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
    let log = std::fs::read_to_string(path).expect("the sample logs are part of the project");
    log.lines().map(str::to_owned).collect()
}

/// Returns a JSON object as key=value pairs.
fn logfmt(line: &str) -> String {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).expect("an object a line");
    let pair = |(key, value): (String, serde_json::Value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let is_bare = !text.is_empty() && !text.contains([' ', '"', '=', '\\']);
        if is_bare {
            format!("{key}={text}")
        } else {
            format!("{key}={}", serde_json::Value::from(text))
        }
    };
    object.into_iter().map(pair).collect::<Vec<_>>().join(" ")
}

/// Returns dpkg's log as a syslog daemon forwards it.
fn rfc3164() -> Vec<String> {
    let forward = |line: &String| format!("<30>Nov 24 {} web-1 dpkg[4711]: {}", &line[11..19], &line[20..]);
    read("dpkg.log").iter().map(forward).collect()
}

/// Returns the Kafka broker's log as a syslog daemon forwards it, without the lines that go on with an event.
fn rfc5424() -> Vec<String> {
    let log = read("kafka-server.log");
    let events = log.iter().filter(|line| line.starts_with("[2026"));
    let forward = |line: &String| {
        let (date, time, millis) = (&line[1..11], &line[12..20], &line[21..24]);
        format!("<134>1 {date}T{time}.{millis}Z web-1 kafka 812 - - {}", &line[26..])
    };
    events.map(forward).collect()
}

fn decoder(format: &str, columns: &[&str]) -> Arc<dyn Decoder> {
    let options = FormatOptions {
        columns: columns.iter().map(|text| text.parse().expect("a column")).collect(),
        time: TimeSettings {
            reference_micros: Some(REFERENCE),
            ..TimeSettings::default()
        },
        ..FormatOptions::default()
    };
    build(&[format.to_owned()], &options).expect("a format")
}

/// Times the decoder and its twin, whose columns are those named in `shared`, in this order.
fn compare(criterion: &mut Criterion<CpuTime>, log: &Log, decoder: &dyn Decoder, twin: Decode<'_>, shared: &[&str]) {
    for batch in &log.batches {
        let decoded = decoder.decode(batch).expect("columns");
        assert_eq!(decoded.rejects, [], "{}", log.name);
        let schema = decoder.schema();
        for (name, expected) in shared.iter().zip(twin(batch)) {
            let column = &decoded.columns[schema.index_of(name).expect("a column")];
            assert_eq!(column.to_data(), expected.to_data(), "{} of {}", name, log.name);
        }
    }
    let mut group = criterion.benchmark_group(log.name);
    group.throughput(Throughput::Bytes(log.bytes));
    group.bench_function("decoder", |bencher| {
        bencher.iter(|| {
            for batch in black_box(&log.batches) {
                black_box(decoder.decode(batch).expect("columns"));
            }
        });
    });
    group.bench_function("split_and_parse", |bencher| {
        bencher.iter(|| {
            for batch in black_box(&log.batches) {
                black_box(twin(batch));
            }
        });
    });
    group.finish();
}
