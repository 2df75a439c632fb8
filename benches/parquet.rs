//! The Parquet sink beside parquet-rs alone, on the same batches, in processor time.

mod cpu_clock;
mod cpu_time;
mod lines;
mod parquet_twin;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use connectors::parquet::{Layout, ParquetOptions, ParquetSink};
use criterion::{Criterion, Throughput};
use engine::sink::{Barrier, Recovery, Sink};
use engine::{Batch, Epoch, OffsetRange, Origin, Partition, Positions};

use cpu_time::CpuTime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of a batch, and batches of a file: 400,000 lines, 37 MB.
const ROWS: i64 = 8192;
const BATCHES: i64 = 49;

fn main() {
    let mut criterion = cpu_time::criterion();
    lines_to_parquet(&mut criterion);
    criterion.final_summary();
}

fn lines_to_parquet(criterion: &mut Criterion<CpuTime>) {
    let batches: Vec<_> = (0..BATCHES).map(batch).collect();
    let records: Vec<_> = batches
        .iter()
        .map(|batch| batch.to_records().expect("the schema's columns"))
        .collect();
    let bytes: usize = records
        .iter()
        .map(|records| records.column(0).get_buffer_memory_size())
        .sum();
    let folder = tempfile::tempdir().expect("a scratch folder");
    write(folder.path(), &batches);
    let file = the_file(folder.path());
    assert_eq!(
        parquet_twin::check_same(&file, &parquet_twin::encode(&records)),
        (ROWS * BATCHES).cast_unsigned()
    );
    let mut group = criterion.benchmark_group("parquet_zstd_1");
    group.sample_size(10).throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("sink", |bencher| {
        bencher.iter(|| {
            let folder = tempfile::tempdir().expect("a scratch folder");
            write(folder.path(), black_box(&batches));
        });
    });
    group.bench_function("parquet_rs", |bencher| {
        bencher.iter(|| black_box(parquet_twin::encode(black_box(&records)).bytes));
    });
    group.finish();
}

/// Returns the batch `number` of one partition: line, offset, time.
fn batch(number: i64) -> Batch {
    let offsets = number * ROWS..(number + 1) * ROWS;
    let line = |offset: i64| {
        let mut line = Vec::new();
        lines::line(offset.cast_unsigned(), &mut line);
        line
    };
    let values = BinaryArray::from_iter_values(offsets.clone().map(line));
    // A record a millisecond, in bursts, as producers send them.
    let times = offsets
        .clone()
        .map(|offset| 1_767_225_600_000_000 + offset / 100 * 100_000);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("value", Arc::new(values)),
        ("offset", Arc::new(Int64Array::from_iter_values(offsets.clone()))),
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        ),
    ];
    let records = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let origin = Origin {
        partition: Partition::new("lines", 0),
        offsets: OffsetRange {
            from: offsets.start,
            to: offsets.end,
        },
    };
    Batch::new(records, Some(origin))
}

/// Writes the batches as one epoch: one file, synced, renamed, listed.
fn write(folder: &Path, batches: &[Batch]) {
    let schema = Arc::clone(batches[0].schema());
    let mut sink = ParquetSink::new(ParquetOptions::new(folder, schema, Layout::Append)).expect("valid options");
    let recovery = Recovery {
        job: "bench",
        generation: 1,
        candidates: &[],
    };
    sink.recover(&recovery).expect("an empty folder");
    for batch in batches {
        sink.write(batch).expect("the disk has room");
    }
    let barrier = Barrier {
        epoch: Epoch(1),
        positions: &Positions::default(),
    };
    let token = sink.prepare(&barrier).expect("the disk has room");
    sink.commit(&token).expect("the folder can be written");
}

/// Returns the one file in the folder of the topic.
fn the_file(folder: &Path) -> std::path::PathBuf {
    let topic = folder.join("topic=lines");
    let mut files = topic
        .read_dir()
        .expect("the topic's folder")
        .map(|entry| entry.expect("an entry").path());
    let file = files.next().expect("a file");
    assert!(files.next().is_none(), "one file an epoch and partition");
    file
}
