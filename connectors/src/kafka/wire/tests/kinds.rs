//! What a good batch can hold, and where reading starts and ends.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::testing::{Compressed, LOG_APPEND, TestRecord};
use super::*;
use crate::kafka::ffi::TimestampKind;

fn record() -> impl Strategy<Value = TestRecord> {
    let bytes = |length| option::of(vec(any::<u8>(), 0..length));
    // Repeats, so that compression has something to do, and keys that come twice.
    let value = (vec(any::<u8>(), 0..20), 1..30_usize).prop_map(|(part, times)| part.repeat(times));
    let headers = vec((vec(0..2_u8, 0..2), bytes(9)), 0..4);
    (1..400_i64, 0..1_000_000_i64, bytes(80), option::of(value), headers).prop_map(
        |(offset, timestamp, key, value, headers)| TestRecord {
            offset,
            timestamp,
            key,
            value,
            headers,
        },
    )
}

/// Returns batches whose records are apart by what is their offset before, as after compaction.
fn batches() -> impl Strategy<Value = Vec<TestBatch>> {
    let batch = (
        vec(record(), 1..12),
        proptest::sample::select(&Compressed::ALL[..]),
        0..3_i32,
    );
    (vec(batch, 1..5), 0..1_i64 << 40).prop_map(|(parts, start)| {
        let mut offset = start;
        let place = |(mut records, compressed, removed): (Vec<TestRecord>, _, i32)| {
            for record in &mut records {
                offset += record.offset;
                record.offset = offset;
            }
            let mut batch = TestBatch::new(records);
            batch.compressed = compressed;
            // Compaction took the last records away.
            batch.last_offset_delta += removed;
            offset += i64::from(removed);
            batch
        };
        parts.into_iter().map(place).collect()
    })
}

proptest! {
    #[test]
    fn what_was_encoded_comes_back(batches in batches()) {
        let bytes = encode(&batches);
        let (taken, decoded) = decode(&bytes, &[]).expect("good batches");
        let records: Vec<_> = batches.iter().flat_map(|batch| batch.records.clone()).collect();
        let last = batches.last().expect("one at least");
        prop_assert_eq!(taken.records, records);
        prop_assert_eq!(decoded.next_offset, last.base_offset + i64::from(last.last_offset_delta) + 1);
        prop_assert_eq!(super::super::batch::next_offset(&bytes, 0, BYTES_MAX).0, decoded.next_offset);
    }

    #[test]
    fn only_the_range_is_read_and_in_parts_it_is_the_whole(batches in batches(), cut in 0..2_000_i64) {
        let bytes = encode(&batches);
        let start = batches[0].base_offset;
        let middle = start + cut;
        let (whole, end) = decode(&bytes, &[]).expect("good batches");
        let mut parts = Taken::default();
        let mut decoder = decoder();
        let first = OffsetRange { from: start, to: middle };
        let first = decoder.decode(&bytes, first, &[], &mut parts).expect("good batches");
        prop_assert_eq!(first.next_offset, middle.min(end.next_offset));
        prop_assert!(parts.records.iter().all(|record| record.offset < middle));
        let second = OffsetRange { from: first.next_offset, to: i64::MAX };
        let second = decoder.decode(&bytes, second, &[], &mut parts).expect("good batches");
        prop_assert_eq!(second.next_offset, end.next_offset);
        prop_assert_eq!(parts, whole);
    }
}

#[test]
fn every_compression_gives_the_same_records() {
    // More than two of lz4's blocks and several of xerial's.
    let line = |offset| TestRecord {
        offset,
        value: Some(format!("{offset} GET /assets/{}.css 200", offset * 7919 % 1000).into_bytes()),
        ..TestRecord::default()
    };
    let mut batch = TestBatch::new((0..8000).map(line).collect());
    for compressed in Compressed::ALL {
        batch.compressed = compressed;
        let (taken, decoded) = decode(&batch.encode(), &[]).expect("a good batch");
        assert!(taken.records == batch.records, "{compressed:?}");
        assert_eq!(decoded.next_offset, 8000, "{compressed:?}");
    }
}

#[test]
fn an_empty_batch_of_any_compression_leads_on() {
    for compressed in Compressed::ALL {
        let mut empty = TestBatch::new(Vec::new());
        (empty.base_offset, empty.last_offset_delta, empty.compressed) = (10, 4, compressed);
        check(&[empty, TestBatch::of_values(15, &["a"])], &[], &["a"], 16);
    }
}

#[test]
fn no_bytes_are_no_records() {
    check(&[], &[], &[], 0);
}

#[test]
fn the_last_offset_of_the_header_counts_not_the_last_record() {
    let mut compacted = TestBatch::of_values(7, &["a", "b"]);
    compacted.last_offset_delta = 90;
    check(&[compacted], &[], &["a", "b"], 98);
}

#[test]
fn a_batch_that_starts_before_the_asked_offset_is_read_from_there() {
    let bytes = encode(&[
        TestBatch::of_values(0, &["a", "b", "c", "d"]),
        TestBatch::of_values(4, &["e"]),
    ]);
    let mut taken = Taken::default();
    let range = OffsetRange { from: 2, to: 4 };
    let decoded = decoder().decode(&bytes, range, &[], &mut taken).expect("good batches");
    assert_eq!((values(&taken), decoded.next_offset), (vec!["c", "d"], 4));
}

#[test]
fn an_empty_range_takes_nothing_and_stays() {
    let bytes = encode(&[TestBatch::of_values(0, &["a"])]);
    let mut taken = Taken::default();
    let range = OffsetRange { from: 3, to: 3 };
    let decoded = decoder().decode(&bytes, range, &[], &mut taken).expect("nothing to do");
    assert_eq!((taken.records.len(), decoded.next_offset), (0, 3));
}

#[test]
fn the_brokers_time_stands_for_all_records_of_its_batch() {
    let mut batch = TestBatch::of_values(0, &["a", "b"]);
    (batch.base_timestamp, batch.records[1].timestamp) = (500, 700);
    batch.max_timestamp = 900;
    batch.records[0].timestamp = 500;
    let times = |batch: &TestBatch| {
        let (taken, _) = decode(&batch.encode(), &[]).expect("a good batch");
        let times: Vec<_> = taken.records.iter().map(|record| record.timestamp).collect();
        (times, taken.kinds)
    };
    assert_eq!(times(&batch), (vec![500, 700], vec![Some(TimestampKind::Create); 2]));
    batch.attributes = LOG_APPEND;
    assert_eq!(times(&batch), (vec![900, 900], vec![Some(TimestampKind::LogAppend); 2]));
}

#[test]
fn a_record_can_be_without_a_time() {
    let mut batch = TestBatch::of_values(0, &["a"]);
    (batch.base_timestamp, batch.records[0].timestamp) = (-1, -1);
    let (taken, _) = decode(&batch.encode(), &[]).expect("a good batch");
    assert_eq!(taken.kinds, [None]);
}

#[test]
fn headers_that_no_one_asked_for_are_passed_over() {
    let mut batch = TestBatch::of_values(0, &["a", "b"]);
    batch.records[0].headers = vec![(b"k".to_vec(), None)];
    let mut taken = Taken::default();
    let mut decoder = decoder_with(|options| options.headers = false);
    decoder
        .decode(&batch.encode(), ALL, &[], &mut taken)
        .expect("a good batch");
    assert_eq!(values(&taken), ["a", "b"]);
    assert!(taken.records.iter().all(|record| record.headers.is_empty()));
}

#[test]
fn what_takes_records_in_can_stop() {
    let bytes = encode(&[TestBatch::of_values(5, &["a", "b", "c"])]);
    let mut taken = Taken {
        records_max: Some(2),
        ..Taken::default()
    };
    let failure = decoder().decode(&bytes, ALL, &[], &mut taken);
    assert_eq!((values(&taken), failure), (vec!["a", "b"], Err(Failure::Stopped(7))));
}

#[test]
fn a_part_at_the_end_is_left_for_the_next_fetch() {
    let batches = [TestBatch::of_values(0, &["a"]), TestBatch::of_values(1, &["b", "c"])];
    let first = batches[0].encode().len();
    let bytes = encode(&batches);
    for end in 0..=bytes.len() {
        let (taken, decoded) = decode(&bytes[..end], &[]).expect("a part is no error");
        let (expected, next_offset) = match end {
            end if end < first => (&[][..], 0),
            end if end < bytes.len() => (&["a"][..], 1),
            _ => (&["a", "b", "c"][..], 3),
        };
        assert_eq!(
            (values(&taken), decoded.next_offset),
            (expected.to_vec(), next_offset),
            "{end} bytes"
        );
        let wanted = match end {
            1..12 => Some(61),
            12.. if end < first => Some(first),
            _ => None,
        };
        assert_eq!(decoded.wanted_bytes, wanted, "{end} bytes");
        assert_eq!(
            super::super::batch::next_offset(&bytes[..end], 0, BYTES_MAX).0,
            next_offset
        );
    }
}
