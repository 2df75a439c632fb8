//! Record batches as a broker sends them to Arrow, in processor time, beside an object a record, for each compression.

mod cpu_clock;
mod cpu_time;
mod record_twin;

use std::hint::black_box;
use std::path::Path;

use arrow::array::{Array, AsArray, BinaryArray, Int64Array};
use arrow::compute::concat;
use arrow::datatypes::Int64Type;
use connectors::kafka::config::Connection;
use connectors::kafka::options::{KafkaColumn, SourceOptions};
use connectors::kafka::wire::segment::{Segment, SegmentReader};
use criterion::{Criterion, Throughput};
use engine::position::{OffsetRange, Partition};

use cpu_time::CpuTime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Lines of a segment, and how often it is repeated: to more bytes than the second-level cache has, as of a stream.
const SEGMENT_RECORDS: usize = 400;
const COPIES: usize = 200;

/// Everything that was fetched.
const ALL: OffsetRange = OffsetRange { from: 0, to: i64::MAX };

fn main() {
    let mut criterion = cpu_time::criterion();
    for codec in CODECS {
        let fetched = fetched(codec);
        compare(&mut criterion, codec, &fetched);
    }
    criterion.final_summary();
}

/// Returns the lines of a log as librdkafka sent them and the broker keeps them, again and again.
fn fetched(codec: &str) -> Vec<u8> {
    let name = format!("data/segments/rdkafka-{codec}.segment");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let segment = std::fs::read(path).expect("the segments are part of the project");
    let copy = |index: usize| {
        let mut copy = segment.clone();
        let mut rest = &mut copy[..];
        // A batch says in its first bytes where its offsets start, outside of its checksum, and then how long the rest is.
        while let Some((start, _)) = rest.split_first_chunk_mut::<8>() {
            let offset = i64::from_be_bytes(*start) + (index * SEGMENT_RECORDS) as i64;
            *start = offset.to_be_bytes();
            let length = i32::from_be_bytes(rest[8..12].try_into().expect("four bytes"));
            rest = &mut rest[12 + length as usize..];
        }
        copy
    };
    (0..COPIES).flat_map(copy).collect()
}

fn reader(columns: &[KafkaColumn], check_crcs: bool) -> SegmentReader {
    let mut options = SourceOptions::new(Connection::new("localhost:9092"), vec!["access".into()], "bench");
    options.columns = columns.to_vec();
    SegmentReader::new(Partition::new("access", 0), &options, check_crcs)
}

fn read(reader: &mut SegmentReader, fetched: &[u8]) -> Segment {
    reader.read(black_box(fetched), ALL, &[]).expect("a broker wrote it")
}

/// Times the decoder and its twin, which must have the same records.
fn compare(criterion: &mut Criterion<CpuTime>, codec: &str, fetched: &[u8]) {
    check(fetched);
    let mut group = criterion.benchmark_group(codec);
    group.throughput(Throughput::Elements((COPIES * SEGMENT_RECORDS) as u64));
    for (name, columns, check_crcs) in [
        ("values", &[KafkaColumn::Value][..], true),
        ("values_unchecked", &[KafkaColumn::Value], false),
        ("all_columns", KafkaColumn::ALL, true),
    ] {
        let mut reader = reader(columns, check_crcs);
        group.bench_function(name, |bencher| bencher.iter(|| black_box(read(&mut reader, fetched))));
    }
    group.bench_function("objects_values", |bencher| {
        bencher.iter(|| black_box(record_twin::values(&record_twin::records(black_box(fetched)))));
    });
    group.bench_function("objects_all_columns", |bencher| {
        bencher.iter(|| {
            let records = record_twin::records(black_box(fetched));
            black_box((record_twin::values(&records), record_twin::columns(&records)))
        });
    });
    group.finish();
}

fn check(fetched: &[u8]) {
    let segment = read(&mut reader(&[KafkaColumn::Offset, KafkaColumn::Value], true), fetched);
    assert_eq!(segment.next_offset, (COPIES * SEGMENT_RECORDS) as i64);
    let batches = segment.batches.iter().map(|batch| batch.to_records());
    let batches: Vec<_> = batches.map(|batch| batch.expect("columns")).collect();
    let column = |index: usize| {
        let arrays: Vec<&dyn Array> = batches.iter().map(|batch| &**batch.column(index)).collect();
        concat(&arrays).expect("arrays of one type")
    };
    let (offsets, values) = (column(0), column(1));
    let twin = record_twin::records(fetched);
    let same: (&Int64Array, &BinaryArray) = (&record_twin::columns(&twin).0, &record_twin::values(&twin));
    assert!((offsets.as_primitive::<Int64Type>(), values.as_binary::<i32>()) == same);
}
