//! What one writes without a decoder of one's own: each batch decompressed by its crate's reader into new memory, each
//! record an object with its own bytes, then the objects turned to columns.

use std::io::{Cursor, Read};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, ListBuilder, StringBuilder, TimestampMicrosecondArray};

/// A record, with what its batch says of it.
#[derive(Debug, Default)]
pub(crate) struct TwinRecord {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Returns the records of `segment`, whose batches are whole.
pub(crate) fn records(segment: &[u8]) -> Vec<TwinRecord> {
    let mut records = Vec::new();
    let mut batches = Cursor::new(segment);
    while batches.position() < segment.len() as u64 {
        let base_offset = i64::from_be_bytes(array(&mut batches));
        let length = i32::from_be_bytes(array(&mut batches));
        let mut batch = vec![0; length as usize];
        batches.read_exact(&mut batch).expect("whole batches");
        let mut batch = Cursor::new(&batch[..]);
        let [.., _magic] = array::<5>(&mut batch);
        let checksum = u32::from_be_bytes(array(&mut batch));
        let rest = batch.position() as usize;
        assert_eq!(crc32c::crc32c(&batch.get_ref()[rest..]), checksum);
        let attributes = u16::from_be_bytes(array(&mut batch));
        let _last_offset_delta = array::<4>(&mut batch);
        let base_timestamp = i64::from_be_bytes(array(&mut batch));
        let _max_timestamp_and_producer = array::<{ 8 + 8 + 2 + 4 }>(&mut batch);
        let count = i32::from_be_bytes(array(&mut batch));
        let mut compressed = Vec::new();
        batch.read_to_end(&mut compressed).expect("bytes in memory");
        let plain = decompress(attributes, compressed);
        let mut plain = Cursor::new(&plain[..]);
        records.extend((0..count).map(|_| record(&mut plain, base_offset, base_timestamp)));
    }
    records
}

/// Returns the values as a column.
pub(crate) fn values(records: &[TwinRecord]) -> BinaryArray {
    records.iter().map(|record| record.value.as_deref()).collect()
}

/// Returns the offsets, and turns all else that a record has to columns too.
pub(crate) fn columns(records: &[TwinRecord]) -> (Int64Array, Vec<ArrayRef>) {
    let offsets = records.iter().map(|record| record.offset).collect();
    let times = TimestampMicrosecondArray::from_iter_values(records.iter().map(|record| record.timestamp * 1000));
    let keys: BinaryArray = records.iter().map(|record| record.key.as_deref()).collect();
    let mut names = ListBuilder::new(StringBuilder::new());
    for record in records {
        record
            .headers
            .iter()
            .for_each(|(name, _)| names.values().append_value(name));
        names.append(true);
    }
    let header_values: BinaryArray = records
        .iter()
        .flat_map(|record| &record.headers)
        .map(|(_, value)| value.as_deref())
        .collect();
    let others: Vec<ArrayRef> = vec![
        Arc::new(times),
        Arc::new(keys),
        Arc::new(names.finish()),
        Arc::new(header_values),
    ];
    (offsets, others)
}

fn decompress(attributes: u16, bytes: Vec<u8>) -> Vec<u8> {
    let mut plain = Vec::new();
    match attributes & 7 {
        0 => return bytes,
        1 => flate2::read::MultiGzDecoder::new(&bytes[..])
            .read_to_end(&mut plain)
            .expect("gzip"),
        2 => {
            return snap::raw::Decoder::new()
                .decompress_vec(&bytes)
                .expect("a block of snappy");
        }
        3 => lz4_flex::frame::FrameDecoder::new(&bytes[..])
            .read_to_end(&mut plain)
            .expect("a frame of lz4"),
        _ => return zstd::decode_all(&bytes[..]).expect("zstd"),
    };
    plain
}

fn record(bytes: &mut Cursor<&[u8]>, base_offset: i64, base_timestamp: i64) -> TwinRecord {
    let _length = varint(bytes);
    let _attributes = array::<1>(bytes);
    let timestamp = base_timestamp + varint(bytes);
    let offset = base_offset + varint(bytes);
    let key = buffer(bytes);
    let value = buffer(bytes);
    let headers = (0..varint(bytes)).map(|_| {
        let key = String::from_utf8(buffer(bytes).expect("a header has a key")).expect("a key in UTF-8");
        (key, buffer(bytes))
    });
    TwinRecord {
        offset,
        timestamp,
        key,
        value,
        headers: headers.collect(),
    }
}

fn buffer(bytes: &mut Cursor<&[u8]>) -> Option<Vec<u8>> {
    let length = usize::try_from(varint(bytes)).ok()?;
    let mut buffer = vec![0; length];
    bytes.read_exact(&mut buffer).expect("a whole record");
    Some(buffer)
}

fn varint(bytes: &mut Cursor<&[u8]>) -> i64 {
    let mut number = 0_u64;
    for shift in (0..).step_by(7) {
        let [byte] = array(bytes);
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn array<const N: usize>(bytes: &mut impl Read) -> [u8; N] {
    let mut array = [0; N];
    bytes.read_exact(&mut array).expect("whole batches");
    array
}
