//! Record batches written as the protocol's guide says, for tests: an encoder that shares nothing with the decoder.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::super::columns;
use super::super::ffi::TimestampKind;

pub(super) type Header = (Vec<u8>, Option<Vec<u8>>);

/// How a batch is compressed, and in which of the forms that clients write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compressed {
    Plain,
    Gzip,
    SnappyBlock,
    SnappyXerial,
    /// Blocks by themselves, as all of Kafka's clients write them.
    Lz4,
    /// Blocks that refer to those before, with all checksums and sizes there are.
    Lz4Linked,
    /// With the content's size in the frame, or without.
    Zstd,
    ZstdStream,
}

impl Compressed {
    pub(super) const ALL: [Self; 8] = [
        Self::Plain,
        Self::Gzip,
        Self::SnappyBlock,
        Self::SnappyXerial,
        Self::Lz4,
        Self::Lz4Linked,
        Self::Zstd,
        Self::ZstdStream,
    ];

    pub(super) fn attribute(self) -> u16 {
        match self {
            Self::Plain => 0,
            Self::Gzip => 1,
            Self::SnappyBlock | Self::SnappyXerial => 2,
            Self::Lz4 | Self::Lz4Linked => 3,
            Self::Zstd | Self::ZstdStream => 4,
        }
    }

    pub(super) fn compress(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => bytes.to_vec(),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(bytes).expect("memory takes it");
                encoder.finish().expect("memory takes it")
            }
            Self::SnappyBlock => snappy_block(bytes),
            Self::SnappyXerial => xerial(bytes),
            Self::Lz4 => lz4(bytes, FrameInfo::new().block_size(BlockSize::Max64KB)),
            Self::Lz4Linked => {
                let info = FrameInfo::new()
                    .block_size(BlockSize::Max64KB)
                    .block_mode(BlockMode::Linked)
                    .block_checksums(true)
                    .content_checksum(true)
                    .content_size(Some(bytes.len() as u64));
                lz4(bytes, info)
            }
            Self::Zstd => zstd::bulk::compress(bytes, 1).expect("memory takes it"),
            Self::ZstdStream => zstd::encode_all(bytes, 1).expect("memory takes it"),
        }
    }
}

fn snappy_block(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).expect("memory takes it")
}

/// Blocks of 32 KiB behind their length, as snappy-java makes them.
fn xerial(bytes: &[u8]) -> Vec<u8> {
    let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for chunk in bytes.chunks(32 << 10) {
        let block = snappy_block(chunk);
        framed.extend((block.len() as u32).to_be_bytes());
        framed.extend(block);
    }
    framed
}

fn lz4(bytes: &[u8], info: FrameInfo) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// A record, with its offset and time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TestRecord {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<Header>,
}

/// A record batch.
#[derive(Clone, Debug)]
pub(super) struct TestBatch {
    pub(super) base_offset: i64,
    pub(super) last_offset_delta: i32,
    pub(super) compressed: Compressed,
    /// Bits beside the compression's.
    pub(super) attributes: u16,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) records: Vec<TestRecord>,
}

pub(super) const LOG_APPEND: u16 = 0x08;
pub(super) const TRANSACTIONAL: u16 = 0x10;
pub(super) const CONTROL: u16 = 0x20;

impl TestBatch {
    /// Returns a batch of `records`, which have offsets that grow.
    pub(super) fn new(records: Vec<TestRecord>) -> Self {
        let base_offset = records.first().map_or(0, |record| record.offset);
        let last_offset = records.last().map_or(0, |record| record.offset);
        Self {
            base_offset,
            last_offset_delta: i32::try_from(last_offset - base_offset).expect("offsets that are near each other"),
            compressed: Compressed::Plain,
            attributes: 0,
            base_timestamp: records.first().map_or(-1, |record| record.timestamp),
            max_timestamp: records.iter().map(|record| record.timestamp).max().unwrap_or(-1),
            producer_id: -1,
            records,
        }
    }

    /// Returns a batch of records with these values, from an offset on.
    pub(super) fn of_values(base_offset: i64, values: &[&str]) -> Self {
        let record = |(value, offset): (&&str, i64)| TestRecord {
            offset,
            value: Some(value.as_bytes().to_vec()),
            ..TestRecord::default()
        };
        Self::new(values.iter().zip(base_offset..).map(record).collect())
    }

    /// Returns a transaction's marker.
    pub(super) fn marker(offset: i64, producer_id: i64, commits: bool) -> Self {
        let mut batch = Self::new(vec![TestRecord {
            offset,
            key: Some(vec![0, 0, 0, u8::from(commits)]),
            // Version and the coordinator's epoch.
            value: Some(vec![0; 6]),
            ..TestRecord::default()
        }]);
        batch.attributes = TRANSACTIONAL | CONTROL;
        batch.producer_id = producer_id;
        batch
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for record in &self.records {
            self.put_record(&mut records, record);
        }
        self.encode_around(&self.compressed.compress(&records), self.records.len() as i32)
    }

    /// Returns the batch with these bytes as its records, of which it counts `count`.
    pub(super) fn encode_around(&self, records: &[u8], count: i32) -> Vec<u8> {
        let mut checked = Vec::new();
        checked.extend((self.attributes | self.compressed.attribute()).to_be_bytes());
        checked.extend(self.last_offset_delta.to_be_bytes());
        checked.extend(self.base_timestamp.to_be_bytes());
        checked.extend(self.max_timestamp.to_be_bytes());
        checked.extend(self.producer_id.to_be_bytes());
        checked.extend([0; 2 + 4]);
        checked.extend(count.to_be_bytes());
        checked.extend(records);
        let mut batch = Vec::new();
        batch.extend(self.base_offset.to_be_bytes());
        batch.extend((checked.len() as i32 + 9).to_be_bytes());
        batch.extend([0; 4]);
        batch.push(2);
        batch.extend(crc32c::crc32c(&checked).to_be_bytes());
        batch.extend(checked);
        batch
    }

    fn put_record(&self, buffer: &mut Vec<u8>, record: &TestRecord) {
        let mut body = vec![0];
        put_varint(&mut body, record.timestamp.wrapping_sub(self.base_timestamp));
        put_varint(&mut body, record.offset - self.base_offset);
        put_bytes(&mut body, record.key.as_deref());
        put_bytes(&mut body, record.value.as_deref());
        put_varint(&mut body, record.headers.len() as i64);
        for (key, value) in &record.headers {
            put_bytes(&mut body, Some(key));
            put_bytes(&mut body, value.as_deref());
        }
        put_bytes(buffer, Some(&body));
    }
}

/// Appends a zigzag varint.
pub(super) fn put_varint(buffer: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        buffer.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    buffer.push(rest as u8);
}

/// Appends bytes behind their length, or the length -1.
pub(super) fn put_bytes(buffer: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(buffer, bytes.map_or(-1, |bytes| bytes.len() as i64));
    buffer.extend(bytes.unwrap_or_default());
}

/// Records as they were taken in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) records: Vec<TestRecord>,
    /// Who gave the records' times; -1 stands for a record without one.
    pub(super) kinds: Vec<Option<TimestampKind>>,
    /// Stops after as many records.
    pub(super) records_max: Option<usize>,
}

impl super::records::Take for Taken {
    /// The offset of the record that was too much.
    type Stop = i64;

    fn record(&mut self, record: &impl columns::Record) -> Result<(), i64> {
        if self.records_max == Some(self.records.len()) {
            return Err(record.offset());
        }
        let mut headers = Vec::new();
        record.visit_headers(|key, value| headers.push((key.to_vec(), value.map(<[u8]>::to_vec))));
        self.records.push(TestRecord {
            offset: record.offset(),
            timestamp: record.timestamp().map_or(-1, |(milliseconds, _)| milliseconds),
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers,
        });
        self.kinds.push(record.timestamp().map(|(_, kind)| kind));
        Ok(())
    }
}
