//! Transactions, aborted and committed, and their markers.

use super::super::testing::TRANSACTIONAL;
use super::*;

/// Returns a batch of a producer's transaction.
fn of_producer(producer_id: i64, base_offset: i64, values: &[&str]) -> TestBatch {
    let mut batch = TestBatch::of_values(base_offset, values);
    batch.attributes |= TRANSACTIONAL;
    batch.producer_id = producer_id;
    batch
}

fn aborted(producer_id: i64, first_offset: i64) -> Aborted {
    Aborted {
        producer_id,
        first_offset,
    }
}

/// Two producers that take turns: 7 aborts, commits, aborts; 8 commits, aborts.
fn interleaved() -> Vec<TestBatch> {
    vec![
        of_producer(7, 0, &["a0", "a1"]),
        of_producer(8, 2, &["b2"]),
        of_producer(7, 3, &["a3"]),
        TestBatch::marker(4, 7, false),
        of_producer(7, 5, &["A5"]),
        TestBatch::marker(6, 8, true),
        of_producer(8, 7, &["c7"]),
        TestBatch::marker(8, 7, true),
        TestBatch::of_values(9, &["plain"]),
        of_producer(7, 10, &["d10"]),
        TestBatch::marker(11, 8, false),
        TestBatch::marker(12, 7, false),
        of_producer(8, 13, &["E13"]),
        TestBatch::marker(14, 8, true),
    ]
}

#[test]
fn records_of_aborted_transactions_are_left_out() {
    let list = [aborted(7, 10), aborted(8, 7), aborted(7, 0)];
    check(&interleaved(), &list, &["b2", "A5", "plain", "E13"], 15);
}

#[test]
fn a_fetch_in_the_middle_of_a_transaction_knows_it_by_its_first_offset() {
    // The answer to a fetch from offset 3 lists the transaction that began at 0.
    let batches = &interleaved()[2..5];
    check(batches, &[aborted(7, 0)], &["A5"], 6);
}

#[test]
fn the_list_of_one_answer_is_forgotten_with_the_next() {
    let bytes = of_producer(7, 0, &["a"]).encode();
    let mut decoder = decoder();
    let mut taken = Taken::default();
    decoder
        .decode(&bytes, ALL, &[aborted(7, 0)], &mut taken)
        .expect("a good batch");
    assert_eq!(values(&taken), [""; 0]);
    decoder.decode(&bytes, ALL, &[], &mut taken).expect("a good batch");
    assert_eq!(values(&taken), ["a"]);
}

#[test]
fn without_read_committed_only_the_markers_are_left_out() {
    let bytes = encode(&interleaved());
    let mut taken = Taken::default();
    let mut decoder = decoder_with(|options| options.read_committed = false);
    let decoded = decoder
        .decode(&bytes, ALL, &[aborted(7, 0)], &mut taken)
        .expect("good batches");
    let all = ["a0", "a1", "b2", "a3", "A5", "c7", "plain", "d10", "E13"];
    assert_eq!((values(&taken), decoded.next_offset), (all.to_vec(), 15));
}

#[test]
fn a_marker_that_compaction_emptied_ends_nothing() {
    let mut emptied = TestBatch::marker(2, 7, false);
    emptied.records.clear();
    let batches = [
        of_producer(7, 0, &["a"]),
        emptied,
        of_producer(7, 3, &["b"]),
        TestBatch::marker(4, 7, false),
        of_producer(7, 5, &["c"]),
    ];
    check(&batches, &[aborted(7, 0)], &["c"], 6);
}

#[test]
fn a_marker_without_a_type_is_an_error() {
    let mut marker = TestBatch::marker(3, 7, false);
    marker.records[0].key = Some(vec![0, 0]);
    let failure = decode(&marker.encode(), &[aborted(7, 0)]).expect_err("no type");
    let Failure::Malformed(error) = failure else {
        panic!("expected an error of the batch")
    };
    assert_eq!(
        error.to_string(),
        "the record batch at offset 3: record 0 of 1: expected a marker's key of 4 bytes or more"
    );
}
