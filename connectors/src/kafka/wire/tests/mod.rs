//! Record batches of all kinds, whole, cut, damaged and hostile.

mod damage;
mod gaps;
mod kinds;
mod leaders;
mod segments;
mod transactions;

use engine::position::OffsetRange;

use super::aborted::Aborted;
use super::records::{DecodeOptions, Decoded, Failure, RecordsDecoder};
use super::testing::{Taken, TestBatch};

/// All offsets.
const ALL: OffsetRange = OffsetRange { from: 0, to: i64::MAX };

const BYTES_MAX: usize = 1 << 20;

fn decoder() -> RecordsDecoder {
    decoder_with(|_| ())
}

fn decoder_with(change: impl FnOnce(&mut DecodeOptions)) -> RecordsDecoder {
    let mut options = DecodeOptions {
        check_crcs: true,
        read_committed: true,
        headers: true,
        batch_bytes_max: BYTES_MAX,
    };
    change(&mut options);
    RecordsDecoder::new(options)
}

/// Decodes everything that one fetch got.
fn decode(bytes: &[u8], aborted: &[Aborted]) -> Result<(Taken, Decoded), Failure<i64>> {
    let mut taken = Taken::default();
    let decoded = decoder().decode(bytes, ALL, aborted, &mut taken)?;
    Ok((taken, decoded))
}

fn encode(batches: &[TestBatch]) -> Vec<u8> {
    batches.iter().flat_map(TestBatch::encode).collect()
}

/// Returns the values as text, without nulls.
fn values(taken: &Taken) -> Vec<&str> {
    let text = |value| std::str::from_utf8(value).expect("the tests' values are text");
    taken
        .records
        .iter()
        .flat_map(|record| &record.value)
        .map(|value| text(value))
        .collect()
}

/// Checks the values and the next offset of everything in `batches`.
#[track_caller]
fn check(batches: &[TestBatch], aborted: &[Aborted], expected: &[&str], next_offset: i64) {
    let bytes = encode(batches);
    let (taken, decoded) = decode(&bytes, aborted).expect("good batches");
    assert_eq!(values(&taken), expected);
    assert_eq!((decoded.next_offset, decoded.wanted_bytes), (next_offset, None));
    assert_eq!(
        super::batch::next_offset(&bytes, 0, BYTES_MAX).0,
        next_offset,
        "the headers say the same"
    );
}

/// Returns the text of the error that ends the decoding of `bytes`.
#[track_caller]
fn problem(bytes: &[u8]) -> String {
    match decode(bytes, &[]) {
        Err(Failure::Malformed(error)) => error.to_string(),
        other => panic!("expected an error, not {other:?}"),
    }
}
