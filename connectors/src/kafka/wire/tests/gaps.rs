//! What is where readers find no record.

use std::collections::VecDeque;
use std::time::Duration;

use engine::position::Partition;

use super::super::super::config::Connection;
use super::super::super::gaps::{Cause, Walk};
use super::super::fake::{Act, Cluster, TOPIC};
use super::super::gaps::{GapDecoder, GapReader, GapTrouble};
use super::super::settings::FetchSettings;
use super::super::testing::{Compressed, TRANSACTIONAL};
use super::super::{Native, ReaderNetwork};
use super::*;

const SETTINGS: FetchSettings = FetchSettings {
    wait_ms: 1,
    min_bytes: 1,
    max_bytes: 1,
    partition_bytes: 1,
    check_crcs: true,
};

fn range(from: i64, to: i64) -> OffsetRange {
    OffsetRange { from, to }
}

/// Explains `gaps` by batches, and returns what was found and the offset where it ended.
fn explain(batches: &[TestBatch], aborted: &[Aborted], gaps: &[OffsetRange]) -> (Vec<(Cause, i64, i64)>, Option<i64>) {
    let mut found = Vec::new();
    let mut walk = Walk::new(gaps, |cause, offsets: OffsetRange| {
        found.push((cause, offsets.from, offsets.to));
    });
    let mut decoder = GapDecoder::new(&SETTINGS, BYTES_MAX);
    let wanted = decoder.decode(&encode(batches), aborted, &mut walk);
    assert_eq!(wanted.expect("good batches"), None);
    let next = walk.next();
    (found, next)
}

fn of_producer(producer_id: i64, base_offset: i64, values: &[&str]) -> TestBatch {
    let mut batch = TestBatch::of_values(base_offset, values);
    batch.attributes |= TRANSACTIONAL;
    batch.producer_id = producer_id;
    batch
}

#[test]
fn markers_aborted_records_and_what_is_in_no_batch_are_told_apart() {
    // Compaction has taken 3 and 4, the whole of the batches 8 to 10, and the record 13 out of a batch that is kept.
    let mut kept = TestBatch::of_values(11, &["l", "m", "n", "o"]);
    kept.records.remove(2);
    kept.compressed = Compressed::Gzip;
    let batches = [
        TestBatch::of_values(0, &["a"]),
        of_producer(7, 1, &["x1", "x2"]),
        of_producer(8, 5, &["y5"]),
        TestBatch::marker(6, 7, false),
        TestBatch::marker(7, 8, true),
        kept,
    ];
    let aborted = [Aborted {
        producer_id: 7,
        first_offset: 1,
    }];
    let gaps = [range(1, 5), range(6, 11), range(13, 14), range(20, 22)];
    let (found, next) = explain(&batches, &aborted, &gaps);
    let expected = [
        (Cause::Aborted, 1, 2),
        (Cause::Aborted, 2, 3),
        (Cause::Compacted, 3, 5),
        (Cause::Marker, 6, 7),
        (Cause::Marker, 7, 8),
        (Cause::Compacted, 8, 11),
        (Cause::Compacted, 13, 14),
    ];
    assert_eq!(found, expected);
    assert_eq!(next, Some(20), "the next answer has it");
}

#[test]
fn a_record_that_readers_see_is_found_as_such() {
    let batches = [
        TestBatch::of_values(0, &["a", "b", "c"]),
        of_producer(7, 3, &["d"]),
        TestBatch::marker(4, 7, true),
    ];
    let (found, next) = explain(&batches, &[], &[range(1, 2), range(3, 5)]);
    let expected = [(Cause::Record, 1, 2), (Cause::Record, 3, 4), (Cause::Marker, 4, 5)];
    assert_eq!((found.as_slice(), next), (&expected[..], None));
}

#[test]
fn a_batch_that_is_not_whole_says_how_large_it_is() {
    let bytes = TestBatch::of_values(0, &["a"]).encode();
    let gaps = [range(0, 1)];
    let mut walk = Walk::new(&gaps, |_, _| panic!("nothing is known"));
    let mut decoder = GapDecoder::new(&SETTINGS, BYTES_MAX);
    let wanted = decoder.decode(&bytes[..bytes.len() - 1], &[], &mut walk);
    assert_eq!(wanted.expect("no damage"), Some(bytes.len()));
}

fn network(cluster: &Cluster) -> ReaderNetwork {
    let mut connection = Connection::new(cluster.bootstrap());
    let set = connection.set("fetch.wait.max.ms", "1".to_owned());
    set.expect("not one of Millstream's own");
    let native = Native::new(&connection).expect("known settings");
    native.network().expect("no TLS")
}

#[test]
fn what_a_broker_answers_instead_of_batches_says_how_to_go_on() {
    let cluster = Cluster::start(1);
    cluster.append(0, &["a", "b"]);
    let acts = [
        Act::Error(6),
        Act::Break,
        Act::Error(1),
        Act::Error(29),
        Act::Throttle(Duration::from_millis(1)),
    ];
    cluster.change(|state| state.acts = acts.map(|act| (0, act)).into_iter().collect::<VecDeque<_>>());
    let partition = Partition::new(TOPIC, 0);
    let mut reader = GapReader::new(network(&cluster), &partition, true);
    let gaps = [range(1, 2)];
    let mut found = Vec::new();
    let mut walk = Walk::new(&gaps, |cause, offsets: OffsetRange| found.push((cause, offsets)));
    assert!(
        matches!(reader.read(1, &mut walk), Err(GapTrouble::Away(_))),
        "it leads no more"
    );
    assert!(
        matches!(reader.read(1, &mut walk), Err(GapTrouble::Away(_))),
        "it went away"
    );
    assert!(matches!(reader.read(1, &mut walk), Err(GapTrouble::OutOfRange)));
    assert!(
        matches!(reader.read(1, &mut walk), Err(GapTrouble::Refused(_))),
        "not authorized"
    );
    assert_eq!(walk.next(), Some(1), "nothing is known yet");
    assert!(reader.read(1, &mut walk).is_ok());
    assert_eq!(walk.next(), None);
    assert_eq!(found, [(Cause::Record, range(1, 2))]);
}

#[test]
fn a_broker_that_is_too_old_is_left_to_librdkafka() {
    let cluster = Cluster::start(1);
    cluster.change(|state| state.versions = vec![(1, 4, 9), (3, 0, 13), (18, 0, 4)]);
    let partition = Partition::new(TOPIC, 0);
    let mut reader = GapReader::new(network(&cluster), &partition, true);
    let gaps = [range(0, 1)];
    let mut walk = Walk::new(&gaps, |_, _| panic!("nothing is known"));
    let outcome = reader.read(0, &mut walk);
    assert!(matches!(outcome, Err(GapTrouble::NotNative(reason)) if reason.contains("4 to 9")));
}
