//! What the tests of every format ask of it.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::{Decoded, Decoder};

/// Returns the lines of a log in `data/`.
pub(super) fn sample(name: &str) -> Vec<Vec<u8>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../data")
        .join(name);
    let log = std::fs::read(path).expect("the sample logs are part of the project");
    log.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

pub(super) fn payloads(lines: &[Vec<u8>]) -> BinaryArray {
    lines.iter().map(|line| Some(line.as_slice())).collect()
}

/// Returns row `row` as text: its columns that are not null, by name.
fn row(decoder: &dyn Decoder, decoded: &Decoded, row: usize) -> Vec<(String, String)> {
    let schema = decoder.schema();
    let columns = schema.fields().iter().zip(&decoded.columns);
    let valid = columns.filter(|(_, column)| column.is_valid(row));
    valid
        .map(|(field, column)| (field.name().clone(), cell(column, row)))
        .collect()
}

fn cell(column: &ArrayRef, row: usize) -> String {
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) => {
            let time = chrono::DateTime::from_timestamp_micros(times.value(row)).expect("a time of four-digit years");
            time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
        }
        None => array_value_to_string(column, row).expect("every type has a text"),
    }
}

/// Expects `payload` to have these values and no others; their order does not matter.
#[track_caller]
pub(super) fn check(decoder: &dyn Decoder, payload: &[u8], expected: &[(&str, &str)]) {
    let decoded = decode(decoder, &BinaryArray::from_vec(vec![payload]));
    assert_eq!(decoded.rejects, [], "{}", payload.escape_ascii());
    let mut found = row(decoder, &decoded, 0);
    let mut expected: Vec<_> = expected
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{}", payload.escape_ascii());
}

/// Expects `payload` to be refused for this reason.
#[track_caller]
pub(super) fn check_reject(decoder: &dyn Decoder, payload: &[u8], reason: &str) {
    let decoded = decode(decoder, &BinaryArray::from_vec(vec![payload]));
    let reasons: Vec<_> = decoded.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    assert_eq!(reasons, [reason], "{}", payload.escape_ascii());
    assert_eq!(row(decoder, &decoded, 0), [], "a bad row is null");
}

/// Decodes, and checks what holds for every decoder.
#[track_caller]
fn decode(decoder: &dyn Decoder, payloads: &BinaryArray) -> Decoded {
    let decoded = decoder.decode(payloads).expect("columns");
    let schema = decoder.schema();
    assert_eq!(schema.fields().len(), decoded.columns.len(), "one column a field");
    for (field, column) in schema.fields().iter().zip(&decoded.columns) {
        assert_eq!(
            (field.data_type(), payloads.len()),
            (column.data_type(), column.len()),
            "{}",
            field.name()
        );
        assert!(field.is_nullable(), "{} is nullable", field.name());
    }
    decoded
}

/// Returns bytes of any kind, and `good` with bytes replaced, left out and cut off.
pub(super) fn near(good: &'static str) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let edits = prop::collection::vec((0..good.len(), any::<u8>(), 0..3_u8), 0..4);
    let edited = edits.prop_map(move |edits| {
        let mut line = good.as_bytes().to_vec();
        for (at, byte, kind) in edits {
            let at = at.min(line.len());
            match kind {
                0 if at < line.len() => line[at] = byte,
                1 if at < line.len() => drop(line.remove(at)),
                2 if byte < 64 => line.truncate(at),
                _ => line.insert(at, b" \"\\=[]<>-"[usize::from(byte) % 9]),
            }
        }
        line
    });
    prop::collection::vec(prop_oneof![any::<Vec<u8>>(), edited], 1..8)
}

/// Decodes `lines` among good ones and nulls, and expects of each the row or the reject that it has alone: a bad row is null
/// and named, and no row knows of another.
pub(super) fn check_rows_are_independent(
    decoder: &dyn Decoder,
    good: &[u8],
    lines: &[Vec<u8>],
) -> Result<(), TestCaseError> {
    let mixed = lines.iter().flat_map(|line| [Some(good), Some(line.as_slice()), None]);
    let mixed: Vec<_> = mixed.collect();
    // A sliced array starts somewhere inside its buffers.
    let longer: BinaryArray = [Some(&b"before"[..])]
        .into_iter()
        .chain(mixed.iter().copied())
        .collect();
    let together = decode(decoder, &longer.slice(1, mixed.len()));
    for (index, payload) in mixed.iter().enumerate() {
        let alone = decode(decoder, &BinaryArray::from_opt_vec(vec![*payload]));
        prop_assert_eq!(row(decoder, &together, index), row(decoder, &alone, 0));
        let reason = together
            .rejects
            .iter()
            .find(|reject| reject.row == index)
            .map(|reject| &reject.reason);
        prop_assert_eq!(reason, alone.rejects.first().map(|reject| &reject.reason));
        let is_bare = payload.is_none() || reason.is_some();
        prop_assert!(!is_bare || row(decoder, &alone, 0).is_empty());
        prop_assert!(reason.is_none_or(|reason| !reason.contains('\n')));
    }
    prop_assert!(together.rejects.is_sorted_by_key(|reject| reject.row));
    Ok(())
}
