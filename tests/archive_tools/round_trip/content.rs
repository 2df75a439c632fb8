//! Records of all kinds, by number: sizes from nothing to a megabyte, null and empty keys and values, headers, times of all
//! ages and none, five codecs, transactions that are committed and aborted.

use crate::harness::broker::Broker;
use crate::harness::records::{End, HeaderList, NewRecord};
use crate::harness::seeded::Seeded;

use super::sums::Sums;

/// Partitions of the topic.
pub(super) const PARTITIONS: i32 = 4;

/// The codecs of the record batches, in turn.
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Records that are written by one producer, with one codec: at least so many, and so many blocks at most, since each new
/// producer waits half a second for its id.
const BLOCK_RECORDS_MIN: u64 = 2_500;
const BLOCKS_MAX: u64 = 400;

/// The largest value: what clients send unless they are told otherwise, less what comes with it.
const VALUE_BYTES_MAX: u64 = 999_000;

/// One in so many records is a large one, up to [`VALUE_BYTES_MAX`].
const LARGE_ONE_IN: u64 = 20_000;

/// 2001-09-09T01:46:40Z: older than any retention.
const OLD_MS: i64 = 1_000_000_000_000;

/// Writes so many records, and returns what readers of committed ones will find, by partition.
#[track_caller]
pub(super) fn produce(broker: &Broker, topic: &str, records: u64) -> Vec<Sums> {
    let mut sums = vec![Sums::default(); PARTITIONS as usize];
    let length = BLOCK_RECORDS_MIN.max(records.div_ceil(BLOCKS_MAX));
    let starts = (0..records.div_ceil(length)).map(|block| block * length);
    for (block, first) in starts.enumerate() {
        let end = match block % 6 {
            2 => Some(End::Commit),
            4 => Some(End::Abort),
            _ => None,
        };
        let numbers = first..records.min(first + length);
        let written = numbers.map(|number| {
            let (partition, record) = record(number);
            if end != Some(End::Abort) {
                sums[usize::try_from(partition).expect("from 0 on")].add(&record);
            }
            (partition, record)
        });
        broker.produce_block(topic, CODECS[block % CODECS.len()], end, written);
    }
    sums
}

/// Returns record `number`, and its partition.
fn record(number: u64) -> (i32, NewRecord) {
    let mut random = Seeded::from_seed(number);
    let value = match random.next() % 10 {
        0 => None,
        1 => Some(Vec::new()),
        2..=8 => Some(bytes(&mut random, 10, 300)),
        _ => Some(bytes(&mut random, 300, 2_000)),
    };
    let value = match number % LARGE_ONE_IN {
        7 => Some(bytes(&mut random, 100_000, VALUE_BYTES_MAX)),
        _ => value,
    };
    let key = match random.next() % 4 {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some((number % 1000).to_string().into_bytes()),
        _ => Some(bytes(&mut random, 1, 40)),
    };
    let back = i64::try_from(random.next() % 5000).expect("few");
    let time = OLD_MS + i64::try_from(number).expect("fewer than 2^63") - back;
    let timestamp = match random.next() % 50 {
        0 => Some(-1),
        _ => Some(time),
    };
    let record = NewRecord {
        key,
        value,
        headers: headers(&mut random),
        timestamp,
    };
    let partition = i32::try_from(random.next() % PARTITIONS as u64).expect("few partitions");
    (partition, record)
}

/// Returns headers for one record in five: names repeat and may be empty, values may be null.
fn headers(random: &mut Seeded) -> HeaderList {
    let header = |number: u64| match number % 4 {
        0 => ("trace".to_owned(), Some(number.to_le_bytes().to_vec())),
        1 => ("trace".to_owned(), None),
        2 => ("ü".to_owned(), Some(Vec::new())),
        _ => (String::new(), Some(b"nameless".to_vec())),
    };
    match random.next() % 5 {
        0 => (0..1 + random.next() % 3).map(|_| header(random.next())).collect(),
        _ => HeaderList::new(),
    }
}

/// Returns bytes that compress like text: words out of a few, of a length from `least` to `most`.
fn bytes(random: &mut Seeded, least: u64, most: u64) -> Vec<u8> {
    const WORDS: [&str; 8] = [
        "GET",
        "/index.html",
        "200",
        "\u{fffd}",
        "error",
        "\0\u{1}",
        "127.0.0.1",
        "-",
    ];
    let length = usize::try_from(least + random.next() % (most - least)).expect("less than a megabyte");
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        let choice = random.next();
        bytes.extend_from_slice(WORDS[usize::try_from(choice % 8).expect("one of eight")].as_bytes());
        bytes.extend_from_slice(&choice.to_le_bytes()[4..6]);
    }
    bytes.truncate(length);
    bytes
}
