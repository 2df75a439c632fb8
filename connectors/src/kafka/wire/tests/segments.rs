//! Segments that a real broker wrote, of what real clients sent: `data/segments/README.md` says how they were made.

use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use engine::position::Partition;

use super::super::segment::SegmentReader;
use super::super::testing::TestRecord;
use super::*;
use crate::kafka::config::Connection;
use crate::kafka::ffi::TimestampKind;
use crate::kafka::options::{KafkaColumn, SourceOptions};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

fn data(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(name: &str, aborted: &[Aborted]) -> (Taken, Decoded) {
    decode(&data(&format!("segments/{name}.segment")), aborted).expect("a broker wrote it")
}

fn text(bytes: &str) -> Option<Vec<u8>> {
    Some(bytes.as_bytes().to_vec())
}

#[test]
fn each_client_and_compression_gives_the_lines_that_were_sent() {
    let log = data("access.log");
    let lines: Vec<_> = log.split(|&byte| byte == b'\n').take(400).collect();
    for client in ["java", "rdkafka"] {
        for codec in CODECS {
            let (taken, decoded) = read(&format!("{client}-{codec}"), &[]);
            let sent: Vec<_> = taken.records.iter().flat_map(|record| &record.value).collect();
            assert!(sent == lines, "{client} {codec}");
            assert!(taken.records.iter().all(|record| record.timestamp == 1_800_000_000_000));
            assert_eq!(decoded.next_offset, 400, "{client} {codec}");
        }
    }
}

#[test]
fn all_kinds_of_records_arrive() {
    let (taken, _) = read("kinds", &[]);
    let record = |offset, timestamp, key, value| TestRecord {
        offset,
        timestamp,
        key,
        value,
        headers: Vec::new(),
    };
    let mut with_headers = record(3, 0, None, text("with headers"));
    let header = |key: &str, value| (key.as_bytes().to_vec(), value);
    with_headers.headers = vec![
        header("k", text("1")),
        header("k", None),
        header("", text("")),
        header("é", text("4")),
    ];
    let expected = [
        record(0, 1_800_000_000_000, text("key"), text("value")),
        record(1, 1_800_000_000_001, text(""), text("")),
        record(2, 1_799_999_999_999, text("gone"), None),
        with_headers,
    ];
    assert_eq!(taken.records, expected);
    assert_eq!(taken.kinds, [Some(TimestampKind::Create); 4]);
}

#[test]
fn the_time_of_the_broker_arrives_where_it_sets_it() {
    let (taken, _) = read("log-append", &[]);
    assert_eq!(values(&taken), ["a", "b"]);
    assert_eq!(taken.kinds, [Some(TimestampKind::LogAppend); 2]);
    assert!(taken.records.iter().all(|record| record.timestamp == 1_795_524_715_947));
}

#[test]
fn transactions_that_took_turns_are_told_apart() {
    // What the broker's index of the partition lists.
    let aborted = [(2006, 0), (2007, 6)].map(|(producer_id, first_offset)| Aborted {
        producer_id,
        first_offset,
    });
    let (taken, decoded) = read("transactions", &aborted);
    let expected = ["committed by two", "committed by one", "in no transaction"];
    assert_eq!((values(&taken), decoded.next_offset), (expected.to_vec(), 10));
}

#[test]
fn a_compacted_partition_has_gaps() {
    let (taken, decoded) = read("compacted", &[]);
    let records: Vec<_> = taken.records.iter().map(|record| record.offset).collect();
    assert_eq!(records, [13, 15, 17, 18, 19, 20, 21]);
    assert_eq!(values(&taken), ["2.1", "2.3", "2.5", "3.0", "3.2", "3.4", "last"]);
    assert_eq!(decoded.next_offset, 22);
}

#[test]
fn a_segment_becomes_batches_of_arrow() {
    let mut options = SourceOptions::new(Connection::new("localhost:1"), vec!["t".into()], "g");
    options.columns = vec![KafkaColumn::Offset, KafkaColumn::Timestamp, KafkaColumn::Value];
    options.batch_rows_max = 3;
    let mut reader = SegmentReader::new(Partition::new("t", 0), &options, true);
    for _ in 0..2 {
        let range = OffsetRange { from: 5, to: 100 };
        let segment = reader
            .read(&data("segments/compacted.segment"), range, &[])
            .expect("a broker wrote it");
        assert_eq!(segment.next_offset, 22);
        let ranges: Vec<_> = segment.batches.iter().flat_map(|batch| batch.origin()).collect();
        let ranges: Vec<_> = ranges
            .iter()
            .map(|origin| (origin.offsets.from, origin.offsets.to))
            .collect();
        assert_eq!(ranges, [(5, 18), (18, 21), (21, 22)]);
        let records = segment.batches[0]
            .to_records()
            .expect("the columns have the schema's types");
        assert_eq!(records.column(0).as_primitive::<Int64Type>().values()[..], [13, 15, 17]);
        let times = records.column(1).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.value(0), 1_800_000_020_000_000);
        assert_eq!(records.column(2).as_binary::<i32>().value(2), b"2.5");
    }
}

#[test]
fn a_damaged_segment_names_partition_and_offset_and_does_not_spoil_the_next() {
    let options = SourceOptions::new(Connection::new("localhost:1"), vec!["t".into()], "g");
    let mut reader = SegmentReader::new(Partition::new("t", 0), &options, true);
    let good = data("segments/compacted.segment");
    let mut damaged = good.clone();
    *damaged.last_mut().expect("bytes") ^= 1;
    let error = reader.read(&damaged, ALL, &[]).expect_err("the last batch is damaged");
    let text = error.to_string();
    assert!(
        text.starts_with("cannot read t[0]: the record batch at offset 21: its checksum is "),
        "{text}"
    );
    let segment = reader.read(&good, ALL, &[]).expect("a broker wrote it");
    let rows: usize = segment.batches.iter().map(|batch| batch.rows()).sum();
    assert_eq!(rows, 7);
}
