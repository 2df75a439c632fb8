//! Batches that are damaged, made up to do harm, or of another time.

use proptest::prelude::*;

use super::super::testing::{Compressed, TestRecord, put_bytes, put_varint};
use super::*;

/// One batch with something in each field, for each compression.
fn rich(compressed: Compressed) -> Vec<u8> {
    let record = |offset| TestRecord {
        offset,
        timestamp: 1000 * offset,
        key: Some(vec![b'k'; 70]),
        value: Some(b"value ".repeat(offset as usize)),
        headers: vec![(b"h".to_vec(), Some(b"1".to_vec())), (b"h".to_vec(), None)],
    };
    let mut batch = TestBatch::new((1..30).map(record).collect());
    batch.compressed = compressed;
    batch.encode()
}

#[test]
fn the_checksum_notices_every_bit() {
    let bytes = rich(Compressed::Plain);
    for bit in 8 * 17..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let problem = problem(&flipped);
        let is_noticed = problem.contains("its checksum is") || problem.contains("its offsets are");
        assert!(is_noticed, "bit {bit}: {problem}");
    }
    assert!(
        problem(&{
            let mut flipped = bytes;
            flipped[200] ^= 1;
            flipped
        })
        .starts_with("the record batch at offset 1: ")
    );
}

#[test]
fn without_checksums_no_bit_does_harm() {
    for compressed in Compressed::ALL {
        let bytes = rich(compressed);
        let mut decoder = decoder_with(|options| options.check_crcs = false);
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut taken = Taken::default();
            // What comes out is anyone's guess, but offsets grow within the batch, and all is an answer.
            let _ = decoder.decode(&flipped, ALL, &[], &mut taken);
            assert!(
                taken.records.is_sorted_by(|one, next| one.offset < next.offset),
                "{compressed:?}, bit {bit}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_behind_a_header_are_an_answer(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        codec in 0..5_u16,
        count in -1..20_i32,
    ) {
        let mut batch = TestBatch::of_values(3, &["a"]);
        batch.attributes = codec;
        let _ = decode(&batch.encode_around(&bytes, count), &[]);
        let _ = decode(&bytes, &[]);
    }

    #[test]
    fn compressed_data_may_be_anything(bytes: Vec<u8>, at: usize, compressed in 0..Compressed::ALL.len()) {
        let mut batch = TestBatch::of_values(3, &["a"]);
        batch.compressed = Compressed::ALL[compressed];
        // A good start, so that the decompression gets somewhere.
        let good = batch.compressed.compress(&b"a text that repeats ".repeat(40));
        let mut data = good[..at % good.len()].to_vec();
        data.extend(bytes);
        let _ = decode(&batch.encode_around(&data, 1), &[]);
    }
}

#[test]
fn older_formats_are_named_with_the_settings_that_keep_them() {
    for magic in [0, 1] {
        let mut bytes = TestBatch::of_values(9, &["a"]).encode();
        bytes[16] = magic;
        assert_eq!(
            problem(&bytes),
            format!(
                "the record batch at offset 9: it is a message set of format v{magic}, expected a record batch (v2): see \
                 the settings log.message.format.version of the broker and message.format.version of the topic"
            )
        );
        // A message set can be shorter than a batch's header.
        assert!(problem(&bytes[..17]).contains("message set"));
    }
}

#[test]
fn a_newer_format_is_refused() {
    let mut bytes = TestBatch::of_values(9, &["a"]).encode();
    bytes[16] = 3;
    assert!(problem(&bytes).contains("its magic byte is 3, expected 2"));
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    for (length, expected) in [
        (-1, "its length is -1, expected at least 49"),
        (48, "its length is 48, expected at least 49"),
        (i32::MIN, "its length is -2147483648, expected at least 49"),
        (
            i32::MAX,
            "it has 2147483659 bytes, more than the 1048576 of receive.message.max.bytes",
        ),
    ] {
        let mut bytes = TestBatch::of_values(0, &["a"]).encode();
        bytes[8..12].copy_from_slice(&i32::to_be_bytes(length));
        assert_eq!(problem(&bytes), format!("the record batch at offset 0: {expected}"));
    }
}

#[test]
fn offsets_that_are_no_range_are_refused() {
    let batch = |base_offset, last_offset_delta| TestBatch {
        base_offset,
        last_offset_delta,
        ..TestBatch::of_values(0, &["a"])
    };
    for (base, delta) in [(-5, 0), (0, -1), (i64::MAX, 0), (i64::MAX - 1, 1), (i64::MIN, i32::MIN)] {
        let encoded = batch(0, delta).encode_around(&[], 0);
        let bytes = [&base.to_be_bytes()[..], &encoded[8..]].concat();
        assert!(problem(&bytes).contains("expected a range from 0 on"), "{base} {delta}");
    }
    let bytes = [
        &(i64::MAX - 1).to_be_bytes()[..],
        &batch(0, 0).encode_around(&[], 0)[8..],
    ]
    .concat();
    let (_, decoded) = decode(&bytes, &[]).expect("the last offset there is");
    assert_eq!(decoded.next_offset, i64::MAX);
}

#[test]
fn batches_that_go_back_are_refused() {
    let bytes = encode(&[TestBatch::of_values(4, &["a", "b"]), TestBatch::of_values(5, &["c"])]);
    assert_eq!(
        problem(&bytes),
        "the record batch at offset 5: the batch before it reaches to offset 6, expected offsets that grow"
    );
}

#[test]
fn an_unknown_compression_is_refused() {
    for kind in 5..8 {
        let mut batch = TestBatch::of_values(0, &["a"]);
        batch.attributes = kind;
        assert!(problem(&batch.encode()).contains(&format!("its compression is of type {kind}, expected 0 to 4")));
    }
}

/// Checks the error of a batch at offset 20 that says that it has `count` records, in `records`.
#[track_caller]
fn check_records(records: &[u8], count: i32, expected: &str) {
    let mut batch = TestBatch::of_values(20, &["a"]);
    batch.last_offset_delta = 5;
    let bytes = batch.encode_around(records, count);
    assert_eq!(problem(&bytes), format!("the record batch at offset 20: {expected}"));
}

/// Returns a record of these parts after its attributes.
fn record(parts: &[i64], rest: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    parts.iter().for_each(|&part| put_varint(&mut body, part));
    body.extend(rest);
    let mut record = Vec::new();
    put_bytes(&mut record, Some(&body));
    record
}

#[test]
fn records_that_are_none_are_named_by_their_number() {
    // Time, offset, null key, null value, no headers.
    let good = record(&[0, 0, -1, -1, 0], b"");
    check_records(&good, -3, "it counts -3 records, expected 0 or more");
    check_records(
        &good,
        i32::MAX,
        "record 1 of 2147483647: expected a length within the batch",
    );
    check_records(
        &[&good[..], b"xy"].concat(),
        1,
        "2 bytes follow its 1 records, expected none",
    );
    check_records(b"", 1, "record 0 of 1: expected a length within the batch");
    for length in [-1, 9, 1 << 40] {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, length);
        bytes.extend([0; 8]);
        check_records(&bytes, 1, "record 0 of 1: expected a length within the batch");
    }
    check_records(&[0], 1, "record 0 of 1: expected attributes");
    for (parts, rest, expected) in [
        (&[][..], &[][..], "a timestamp delta"),
        (&[0], &[], "an offset delta"),
        (&[0, 1 << 31], &[], "an offset delta"),
        (&[0, 0, -2], &[], "a key within the record"),
        (&[0, 0, 3], b"ab", "a key within the record"),
        (&[0, 0, -1, -2], &[], "a value within the record"),
        (&[0, 0, -1, i32::MAX as i64], b"ab", "a value within the record"),
        (&[0, 0, -1, -1], &[], "a number of headers"),
        (&[0, 0, -1, -1, -1], &[], "a number of headers, and nothing after them"),
        (&[0, 0, -1, -1, 0], b"x", "a number of headers, and nothing after them"),
        (
            &[0, 0, -1, -1, 1, 0, 0],
            b"x",
            "a number of headers, and nothing after them",
        ),
        (
            &[0, 0, -1, -1, i32::MAX as i64],
            &[],
            "a header's key within the record",
        ),
        (&[0, 0, -1, -1, 1, -1], &[], "a header's key within the record"),
        (&[0, 0, -1, -1, 1, 0, 4], b"abc", "a header's value within the record"),
        (&[0, 6, -1, -1, 0], &[], "offsets that grow, up to the batch's last"),
        (&[0, -1, -1, -1, 0], &[], "offsets that grow, up to the batch's last"),
    ] {
        check_records(&record(parts, rest), 1, &format!("record 0 of 1: expected {expected}"));
    }
    check_records(
        &good.repeat(2),
        2,
        "record 1 of 2: expected offsets that grow, up to the batch's last",
    );
}

#[test]
fn what_inflates_over_the_limit_is_refused() {
    let zeros = vec![0; 32 << 20];
    for compressed in &Compressed::ALL[1..] {
        let mut batch = TestBatch::of_values(0, &["a"]);
        batch.compressed = *compressed;
        let mut decoder = decoder_with(|options| options.batch_bytes_max = 3 << 20);
        let bytes = batch.encode_around(&compressed.compress(&zeros), 1);
        let failure = decoder
            .decode(&bytes, ALL, &[], &mut Taken::default())
            .expect_err("too much");
        let Failure::Malformed(error) = failure else {
            panic!("expected an error of the batch")
        };
        assert!(
            error
                .to_string()
                .contains("more than 3145728 bytes without compression"),
            "{compressed:?}: {error}"
        );
    }
}

#[test]
fn what_just_fits_is_taken() {
    for compressed in &Compressed::ALL[1..] {
        let mut batch = TestBatch::of_values(0, &[&"x".repeat(200_000)]);
        // Length, attributes, time, offset, key, the value's length and the number of headers: 3 + 1 + 1 + 1 + 1 + 3 + 1.
        let bytes_max = 200_000 + 11;
        batch.compressed = *compressed;
        for (bytes_max, fits) in [(bytes_max, true), (bytes_max - 1, false)] {
            let mut decoder = decoder_with(|options| options.batch_bytes_max = bytes_max);
            let result = decoder.decode(&batch.encode(), ALL, &[], &mut Taken::default());
            assert_eq!(result.is_ok(), fits, "{compressed:?}: {result:?}");
        }
    }
}

#[test]
fn claims_of_compressed_data_are_not_believed() {
    // A block of snappy that says it becomes 1 GiB, and one in a frame.
    let claim = [0x80, 0x80, 0x80, 0x80, 0x04, 0x00, b'a'];
    let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x07".to_vec();
    framed.extend(claim);
    for data in [&claim[..], &framed] {
        let mut batch = TestBatch::of_values(0, &["a"]);
        batch.compressed = Compressed::SnappyBlock;
        assert_eq!(
            problem(&batch.encode_around(data, 1)),
            "the record batch at offset 0: its snappy data cannot be decompressed: 7 bytes can't become the 1073741824 that \
             they claim"
        );
    }
}

#[test]
fn cut_frames_are_refused() {
    for compressed in &Compressed::ALL[1..] {
        let mut batch = TestBatch::of_values(0, &["a"]);
        batch.compressed = *compressed;
        let good = compressed.compress(&b"some text, some text".repeat(10));
        for end in 0..good.len() {
            let problem = problem(&batch.encode_around(&good[..end], 1));
            // No frame of zstd, and a frame of snappy-java without a block, hold nothing.
            let is_empty = problem.contains("record 0 of 1") && [0, 16].contains(&end);
            assert!(
                problem.contains("data cannot be decompressed") || is_empty,
                "{compressed:?}, {end} bytes: {problem}"
            );
        }
    }
}
