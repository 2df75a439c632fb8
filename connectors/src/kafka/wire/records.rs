//! From the bytes that a broker sends for a partition to records.
//!
//! A batch is checked and decompressed as a whole, into memory that is used again; its records are slices of that. What
//! takes them in is known when this is compiled, so that a record costs a few compares and the copy of what is asked for.

use engine::position::OffsetRange;

use super::super::columns::Record as ColumnsRecord;
use super::super::ffi::TimestampKind;
use super::aborted::{Aborted, AbortedFilter};
use super::batch::{BatchError, Front, Problem, RecordBatch, front};
use super::codec::Decompressor;
use super::record::{self, Record};

/// Takes records in, one by one.
pub(super) trait Take {
    /// Why it may stop.
    type Stop;

    /// Takes the next record of the partition in. Offsets grow.
    ///
    /// # Errors
    /// What ends the decoding.
    fn record(&mut self, record: &impl ColumnsRecord) -> Result<(), Self::Stop>;
}

/// How record batches are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DecodeOptions {
    /// Whether checksums are checked.
    pub(super) check_crcs: bool,
    /// Whether records of aborted transactions are left out.
    pub(super) read_committed: bool,
    /// Whether records come with their headers.
    pub(super) headers: bool,
    /// Bytes that a batch may have, both as it is sent and without its compression.
    pub(super) batch_bytes_max: usize,
}

/// Decodes record batches. Each thread that reads has its own, for the memory in it.
pub(super) struct RecordsDecoder {
    options: DecodeOptions,
    decompressor: Decompressor,
    aborted: AbortedFilter,
}

/// How far a decoding came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// The next offset to read: after the whole batches, whatever of them was a record for us.
    pub(super) next_offset: i64,
    /// The bytes of the first batch, if not even that was whole. At least, when there is too little of it to tell.
    pub(super) wanted_bytes: Option<usize>,
}

/// Why a decoding ended before the bytes did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure<S> {
    /// What takes the records in stopped.
    Stopped(S),
    /// The bytes are no record batches.
    Malformed(BatchError),
}

impl<S> From<BatchError> for Failure<S> {
    fn from(error: BatchError) -> Self {
        Self::Malformed(error)
    }
}

impl RecordsDecoder {
    /// Returns a decoder.
    pub(super) fn new(options: DecodeOptions) -> Self {
        Self {
            options,
            decompressor: Decompressor::new(options.batch_bytes_max),
            aborted: AbortedFilter::default(),
        }
    }

    /// Gives the records with offsets in `range` to `take`, from all whole batches of `bytes`, which one fetch of one
    /// partition got together with the list `aborted`.
    ///
    /// A part of a batch at the end is left for the next fetch.
    ///
    /// # Errors
    /// What `take` stopped with, or the first batch that can't be read; the records before it were taken in.
    pub(super) fn decode<T: Take>(
        &mut self,
        bytes: &[u8],
        range: OffsetRange,
        aborted: &[Aborted],
        take: &mut T,
    ) -> Result<Decoded, Failure<T::Stop>> {
        let listed = if self.options.read_committed { aborted } else { &[] };
        self.aborted.start(listed);
        let mut rest = bytes;
        let mut end_before = 0;
        let mut decoded = Decoded {
            next_offset: range.from,
            wanted_bytes: None,
        };
        while decoded.next_offset < range.to {
            let (batch, after) = match front(rest, self.options.batch_bytes_max)? {
                Front::Batch(batch, after) => (batch, after),
                Front::Part(size) => {
                    let is_first = rest.len() == bytes.len() && !bytes.is_empty();
                    decoded.wanted_bytes = is_first.then_some(size);
                    break;
                }
            };
            if batch.base_offset < end_before {
                return Err(batch.error(Problem::Order(end_before)).into());
            }
            end_before = batch.next_offset();
            self.decode_batch(&batch, range, take)?;
            decoded.next_offset = decoded.next_offset.max(end_before).min(range.to);
            rest = after;
        }
        Ok(decoded)
    }

    fn decode_batch<T: Take>(
        &mut self,
        batch: &RecordBatch<'_>,
        range: OffsetRange,
        take: &mut T,
    ) -> Result<(), Failure<T::Stop>> {
        let error = |problem| batch.error(problem);
        if self.options.check_crcs {
            batch.check().map_err(error)?;
        }
        let is_aborted = self.aborted.is_aborted(batch).map_err(error)?;
        let is_outside = batch.next_offset() <= range.from || batch.base_offset >= range.to;
        if is_aborted || is_outside || batch.is_control() {
            return Ok(());
        }
        let records = match batch.codec().map_err(error)? {
            None => batch.records,
            Some(codec) => self.decompressor.decompress(codec, batch.records).map_err(error)?,
        };
        each_record(batch, records, range, self.options.headers, take)
    }
}

/// Gives the records of one batch with offsets in `range` to `take`.
///
/// # Errors
/// What `take` stopped with, or the record that can't be read.
pub(super) fn each_record<T: Take>(
    batch: &RecordBatch<'_>,
    records: &[u8],
    range: OffsetRange,
    with_headers: bool,
    take: &mut T,
) -> Result<(), Failure<T::Stop>> {
    let count = batch.count;
    if count < 0 {
        return Err(batch.error(Problem::Count(count)).into());
    }
    let malformed = |index, expected| {
        let problem = Problem::Record { index, count, expected };
        Failure::Malformed(batch.error(problem))
    };
    let (time, timestamp_kind) = batch.timestamp();
    let mut rest = records;
    let mut last_delta = -1;
    for index in 0..count {
        let fields = record::take(&mut rest, with_headers).map_err(|problem| malformed(index, problem.0))?;
        if fields.offset_delta <= last_delta || fields.offset_delta > batch.last_offset_delta {
            return Err(malformed(index, "offsets that grow, up to the batch's last"));
        }
        last_delta = fields.offset_delta;
        let offset = batch.base_offset + i64::from(last_delta);
        if offset < range.from {
            continue;
        }
        if offset >= range.to {
            return Ok(());
        }
        let record = Record {
            offset,
            timestamp: match timestamp_kind {
                TimestampKind::Create => time.saturating_add(fields.timestamp_delta),
                TimestampKind::LogAppend => time,
            },
            timestamp_kind,
            key: fields.key,
            value: fields.value,
            headers: fields.headers,
        };
        take.record(&record).map_err(Failure::Stopped)?;
    }
    match rest.len() {
        0 => Ok(()),
        bytes => Err(batch.error(Problem::Rest { count, bytes }).into()),
    }
}
