//! The frame around records: a record batch of version 2, its header and its checksum.
//!
//! ```text
//!  0 base offset   8  12 leader epoch    4  21 attributes          2  43 producer id     8  61 records, compressed
//!  8 bytes from 12 4  16 magic, which is 2  23 last offset's delta 4  51 producer epoch  2     or not
//!                     17 CRC-32C of 21.. 4  27 base timestamp      8  53 base sequence   4
//!                                           35 max timestamp       8  57 records         4
//! ```
//!
//! All numbers are big-endian (<https://kafka.apache.org/documentation/#recordbatch>).

use super::super::ffi::TimestampKind;
use super::codec::Codec;

/// Bytes before the records.
const HEADER_BYTES: usize = 61;

/// Bytes up to and with the length, which counts from there on; and up to and with the magic byte.
const LENGTH_END: usize = 12;
const MAGIC_END: usize = 17;

/// Where the bytes start that the checksum covers.
const CHECKED_FROM: usize = 21;

/// Why bytes are no record batch that can be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record batch at offset {offset}: {problem}")]
pub(super) struct BatchError {
    /// The batch's first offset, as its header says.
    pub(super) offset: i64,
    pub(super) problem: Problem,
}

/// What is wrong with a record batch.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error(
        "it is a message set of format v{0}, expected a record batch (v2): see the settings log.message.format.version \
         of the broker and message.format.version of the topic"
    )]
    MessageSet(u8),
    #[error("its magic byte is {0}, expected 2: Kafka 0.11 to 4 write that")]
    Magic(u8),
    #[error("its length is {0}, expected at least {least}", least = HEADER_BYTES - LENGTH_END)]
    Length(i32),
    #[error("it has {bytes} bytes, more than the {max} of receive.message.max.bytes")]
    TooLarge { bytes: usize, max: usize },
    #[error("it has more than {max} bytes without compression, the limit that receive.message.max.bytes sets")]
    Inflated { max: usize },
    #[error("its checksum is {computed:08x}, expected {stored:08x}: its bytes were damaged on the way or on a disk")]
    Checksum { stored: u32, computed: u32 },
    #[error("its offsets are {base} and {delta} more, expected a range from 0 on")]
    Offsets { base: i64, delta: i32 },
    #[error("the batch before it reaches to offset {0}, expected offsets that grow")]
    Order(i64),
    #[error("its compression is of type {0}, expected 0 to 4 (none, gzip, snappy, lz4, zstd)")]
    Compression(u8),
    #[error("its {codec} data cannot be decompressed: {reason}")]
    Corrupt { codec: Codec, reason: String },
    #[error("it counts {0} records, expected 0 or more")]
    Count(i32),
    #[error("record {index} of {count}: expected {expected}")]
    Record {
        index: i32,
        count: i32,
        expected: &'static str,
    },
    #[error("{bytes} bytes follow its {count} records, expected none")]
    Rest { count: i32, bytes: usize },
}

/// A record batch whose header makes sense. Its records were not looked at yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordBatch<'a> {
    pub(super) base_offset: i64,
    pub(super) last_offset_delta: i32,
    /// The epoch of the leader that appended it.
    pub(super) leader_epoch: i32,
    pub(super) producer_id: i64,
    /// Records that the batch says it has; not checked.
    pub(super) count: i32,
    /// The records, as they were sent.
    pub(super) records: &'a [u8],
    /// What the checksum covers.
    checked: &'a [u8],
    checksum: u32,
    attributes: u16,
    base_timestamp: i64,
    max_timestamp: i64,
}

/// What stands at the front of bytes.
#[derive(Debug)]
pub(super) enum Front<'a> {
    /// A whole batch, and the bytes after it.
    Batch(RecordBatch<'a>, &'a [u8]),
    /// A part of a batch, which has so many bytes; at least, when its length is not there.
    Part(usize),
}

/// Returns the batch at the front of `bytes`.
///
/// # Errors
/// When the header can't be one of a record batch, or says that the batch has more than `bytes_max` bytes.
pub(super) fn front(bytes: &[u8], bytes_max: usize) -> Result<Front<'_>, BatchError> {
    let Some(length) = field::<4>(bytes, 8).map(i32::from_be_bytes) else {
        return Ok(Front::Part(HEADER_BYTES));
    };
    let offset = i64::from_be_bytes(field(bytes, 0).expect("it stands before the length"));
    let error = |problem| Err(BatchError { offset, problem });
    // The magic byte tells how the rest is meant, the length too, and stands at one place in all formats.
    match bytes.get(MAGIC_END - 1) {
        Some(&magic @ (0 | 1)) => return error(Problem::MessageSet(magic)),
        Some(2) | None => {}
        Some(&magic) => return error(Problem::Magic(magic)),
    }
    let size = match usize::try_from(length) {
        Ok(length) if length >= HEADER_BYTES - LENGTH_END => length + LENGTH_END,
        _ => return error(Problem::Length(length)),
    };
    if size > bytes_max {
        return error(Problem::TooLarge {
            bytes: size,
            max: bytes_max,
        });
    }
    let Some((whole, rest)) = bytes.split_at_checked(size) else {
        return Ok(Front::Part(size));
    };
    let batch = RecordBatch::parse(whole);
    if batch.base_offset < 0 || batch.last_offset_delta < 0 || batch.last_offset().is_none() {
        return error(Problem::Offsets {
            base: offset,
            delta: batch.last_offset_delta,
        });
    }
    Ok(Front::Batch(batch, rest))
}

/// Returns the offset after the whole batches of `bytes`, at least `from`, and the leader's epoch of the batch before it;
/// none if no batch reaches beyond `from`.
///
/// Only headers are looked at, so that the next request can go out before the records are decoded; what is wrong with them
/// is for the decoding to say, and ends the walk here.
pub(super) fn next_offset(mut bytes: &[u8], from: i64, bytes_max: usize) -> (i64, Option<i32>) {
    let (mut next, mut leader_epoch) = (from, None);
    while let Ok(Front::Batch(batch, rest)) = front(bytes, bytes_max) {
        if batch.next_offset() > next {
            (next, leader_epoch) = (batch.next_offset(), Some(batch.leader_epoch));
        }
        bytes = rest;
    }
    (next, leader_epoch)
}

impl<'a> RecordBatch<'a> {
    /// Returns the batch that is `whole`, which has a header's bytes at least.
    fn parse(whole: &'a [u8]) -> Self {
        const WHOLE: &str = "the batch has its header's bytes";
        let number = |at| i64::from_be_bytes(field(whole, at).expect(WHOLE));
        let word = |at| i32::from_be_bytes(field(whole, at).expect(WHOLE));
        Self {
            base_offset: number(0),
            leader_epoch: word(12),
            checksum: u32::from_be_bytes(field(whole, 17).expect(WHOLE)),
            attributes: u16::from_be_bytes(field(whole, CHECKED_FROM).expect(WHOLE)),
            last_offset_delta: word(23),
            base_timestamp: number(27),
            max_timestamp: number(35),
            producer_id: number(43),
            count: word(57),
            records: &whole[HEADER_BYTES..],
            checked: &whole[CHECKED_FROM..],
        }
    }

    fn last_offset(&self) -> Option<i64> {
        // One more is the next offset, which must be a number too.
        let last = self.base_offset.checked_add(self.last_offset_delta.into())?;
        (last < i64::MAX).then_some(last)
    }

    /// Returns the offset after the batch, which its header says: compaction takes records away at its end, too.
    pub(super) fn next_offset(&self) -> i64 {
        self.last_offset().expect("checked when the header was read") + 1
    }

    /// Checks the checksum.
    ///
    /// # Errors
    /// [`Problem::Checksum`].
    pub(super) fn check(&self) -> Result<(), Problem> {
        let computed = crc32c::crc32c(self.checked);
        let stored = self.checksum;
        (computed == stored)
            .then_some(())
            .ok_or(Problem::Checksum { stored, computed })
    }

    /// Returns how the records are compressed.
    ///
    /// # Errors
    /// [`Problem::Compression`] when it is a way that no Kafka knows.
    pub(super) fn codec(&self) -> Result<Option<Codec>, Problem> {
        match self.attributes & 0b111 {
            0 => Ok(None),
            1 => Ok(Some(Codec::Gzip)),
            2 => Ok(Some(Codec::Snappy)),
            3 => Ok(Some(Codec::Lz4)),
            4 => Ok(Some(Codec::Zstd)),
            other => Err(Problem::Compression(other as u8)),
        }
    }

    /// Returns the time of all its records in milliseconds since 1970 if the broker gave it, or else the time that theirs
    /// count from.
    pub(super) fn timestamp(&self) -> (i64, TimestampKind) {
        match self.attributes & 0b1000 {
            0 => (self.base_timestamp, TimestampKind::Create),
            _ => (self.max_timestamp, TimestampKind::LogAppend),
        }
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & 0b1_0000 != 0
    }

    /// Returns whether the batch holds a transaction's marker, and no records for anyone.
    pub(super) fn is_control(&self) -> bool {
        self.attributes & 0b10_0000 != 0
    }

    /// Returns the batch's error.
    pub(super) fn error(&self, problem: Problem) -> BatchError {
        BatchError {
            offset: self.base_offset,
            problem,
        }
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
