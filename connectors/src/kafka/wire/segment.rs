//! Log segments: the record batches of one partition as a broker keeps them in its files, which is how it sends them.
//!
//! This is decoding without the network: benchmarks and fuzzing start here.

use engine::batch::Batch;
use engine::position::{OffsetRange, Partition};
use engine::{Error, Result};

use super::super::columns::{Record, Rows, TooLarge};
use super::super::options::{KafkaColumn, SourceOptions};
use super::aborted::Aborted;
use super::batch::next_offset;
use super::records::{DecodeOptions, Failure, RecordsDecoder, Take};

/// Bytes of a batch at most: librdkafka's default for `receive.message.max.bytes`.
const BATCH_BYTES_MAX: usize = 100_000_000;

/// Reads the log segments of one partition.
pub struct SegmentReader {
    decoder: RecordsDecoder,
    lane: Lane,
}

/// What was read of a segment.
#[derive(Debug)]
pub struct Segment {
    /// The records in batches of Arrow, in their order.
    pub batches: Vec<Batch>,
    /// The offset after the segment's last whole batch.
    pub next_offset: i64,
}

/// Rows on their way into batches.
struct Lane {
    partition: Partition,
    rows: Rows,
    position: i64,
    batches: Vec<Batch>,
}

impl SegmentReader {
    /// Returns a reader whose batches are as `options` say: their columns and size, and whether records of aborted
    /// transactions are left out.
    pub fn new(partition: Partition, options: &SourceOptions, check_crcs: bool) -> Self {
        Self {
            decoder: RecordsDecoder::new(DecodeOptions {
                check_crcs,
                read_committed: options.read_committed,
                headers: options.columns.contains(&KafkaColumn::Headers),
                batch_bytes_max: BATCH_BYTES_MAX,
            }),
            lane: Lane {
                rows: Rows::new(partition.clone(), options.schema(), options),
                partition,
                position: 0,
                batches: Vec::new(),
            },
        }
    }

    /// Returns the records of `segment` in `range`, without those of the transactions that were `aborted`.
    ///
    /// A part of a record batch at the end of the segment is left out.
    ///
    /// # Errors
    /// When a record batch is damaged, or a record is larger than a batch of Arrow can hold.
    pub fn read(&mut self, segment: &[u8], range: OffsetRange, aborted: &[Aborted]) -> Result<Segment> {
        self.lane.position = range.from;
        let result = self.decoder.decode(segment, range, aborted, &mut self.lane);
        let decoded = result.map_err(|failure| self.lane.error(failure))?;
        debug_assert_eq!(
            decoded.next_offset,
            next_offset(segment, range.from, BATCH_BYTES_MAX)
                .0
                .min(range.to.max(range.from)),
            "the headers alone say how far a segment reaches"
        );
        if !self.lane.rows.is_empty() {
            self.lane.flush(decoded.next_offset);
        }
        Ok(Segment {
            batches: std::mem::take(&mut self.lane.batches),
            next_offset: decoded.next_offset,
        })
    }
}

impl Take for Lane {
    type Stop = (i64, TooLarge);

    #[inline]
    fn record(&mut self, record: &impl Record) -> Result<(), Self::Stop> {
        let append = self.rows.append(record);
        append.map_err(|problem| (record.offset(), problem))?;
        if self.rows.is_full() {
            self.flush(record.offset() + 1);
        }
        Ok(())
    }
}

impl Lane {
    /// Ends a batch, which reaches to before offset `to`.
    fn flush(&mut self, to: i64) {
        let from = std::mem::replace(&mut self.position, to);
        self.batches.push(self.rows.finish(OffsetRange { from, to }));
    }

    /// Forgets what was read of the segment, and returns why.
    fn error(&mut self, failure: Failure<(i64, TooLarge)>) -> Error {
        let partition = &self.partition;
        let error = match failure {
            Failure::Malformed(error) => Error::Source {
                input: partition.to_string(),
                problem: error.to_string(),
            },
            Failure::Stopped((offset, problem)) => Error::Source {
                input: format!("{partition} at offset {offset}"),
                problem: problem.to_string(),
            },
        };
        self.flush(self.position);
        self.batches.clear();
        error
    }
}
