//! Record batches, as a broker sends them: the first byte of the input says how they are read, the others are theirs.

use connectors::kafka::config::Connection;
use connectors::kafka::options::{KafkaColumn, SourceOptions};
use connectors::kafka::wire::Aborted;
use connectors::kafka::wire::segment::SegmentReader;
use engine::position::{OffsetRange, Partition};

const READ_COMMITTED: u8 = 1;
const ALL_COLUMNS: u8 = 2;
const FROM_THE_MIDDLE: u8 = 4;
const CHECK_CHECKSUMS: u8 = 8;

/// The aborted transactions of `data/segments/transactions.segment`, with which the corpus starts.
const ABORTED: [Aborted; 2] = [
    Aborted {
        producer_id: 2006,
        first_offset: 0,
    },
    Aborted {
        producer_id: 2007,
        first_offset: 6,
    },
];

/// Reads the batches; what comes out covers the offsets without gaps.
///
/// # Panics
/// When it does not.
pub(crate) fn run(input: &[u8]) {
    let Some((&flags, bytes)) = input.split_first() else {
        return;
    };
    let mut options = SourceOptions::new(Connection::new("localhost:9092"), vec!["t".into()], "fuzz");
    options.read_committed = flags & READ_COMMITTED != 0;
    options.batch_rows_max = 3;
    if flags & ALL_COLUMNS != 0 {
        options.columns = KafkaColumn::ALL.to_vec();
    }
    let range = match flags & FROM_THE_MIDDLE {
        0 => OffsetRange { from: 0, to: i64::MAX },
        _ => OffsetRange { from: 3, to: 9 },
    };
    let mut reader = SegmentReader::new(Partition::new("t", 0), &options, flags & CHECK_CHECKSUMS != 0);
    // Twice: the second time in memory that was used.
    for _ in 0..2 {
        let Ok(segment) = reader.read(bytes, range, &ABORTED) else {
            continue;
        };
        let mut position = range.from;
        for batch in &segment.batches {
            let offsets = batch.origin().expect("it comes from a partition").offsets;
            assert_eq!(offsets.from, position, "batches follow each other");
            assert!(
                batch.rows() as u64 <= offsets.from.abs_diff(offsets.to),
                "an offset is of one record"
            );
            position = offsets.to;
        }
        assert!(position <= segment.next_offset && segment.next_offset <= range.to.max(range.from));
    }
}
