//! Topics of generated lines, written once for all tests, and what a plain loop finds in them.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::harness::broker::Broker;
use crate::harness::topics::Bounds;
use crate::harness::{PATIENCE, eventually};

/// The partitions of each topic.
pub(super) const PARTITIONS: u64 = 4;

/// Lines in a row that go to the same partition, in a batch of their own.
const LINES_PER_TURN: u64 = 1000;

/// How long a full queue of the producer is left to drain.
const QUEUE_WAIT: Duration = Duration::from_millis(10);

/// The words of some lines, and how often each is there.
pub(super) type Counts = HashMap<Vec<u8>, i64>;

/// A topic of generated lines.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) topic: String,
    lines: u64,
    counts: OnceLock<Counts>,
}

impl Input {
    /// Returns the million lines that random kills meet; on the shared broker.
    pub(super) fn large() -> &'static Self {
        static LARGE: OnceLock<Input> = OnceLock::new();
        LARGE.get_or_init(|| Self::write(Broker::shared(), 1_000_000))
    }

    /// Returns lines enough for thirty batches a partition; on the shared broker.
    pub(super) fn small() -> &'static Self {
        static SMALL: OnceLock<Input> = OnceLock::new();
        SMALL.get_or_init(|| Self::write(Broker::shared(), 120_000))
    }

    /// Returns lines enough for four batches a partition; on the shared broker.
    pub(super) fn tiny() -> &'static Self {
        static TINY: OnceLock<Input> = OnceLock::new();
        TINY.get_or_init(|| Self::write(Broker::shared(), 16_000))
    }

    /// Writes a topic of so many lines, a thousand to a partition in turn.
    pub(super) fn write(broker: &Broker, lines: u64) -> Self {
        assert_eq!(lines % (PARTITIONS * LINES_PER_TURN), 0, "whole turns");
        let topic = broker.new_topic("lines", index(PARTITIONS));
        let partition = |number| number / LINES_PER_TURN % PARTITIONS;
        produce(
            broker,
            &topic,
            (0..lines).map(|number| (partition(number), line(number))),
        );
        let end = i64::try_from(lines / PARTITIONS).expect("an offset");
        let whole = Bounds { start: 0, end };
        assert!(
            broker.bounds(&topic).iter().all(|bounds| *bounds == whole),
            "all is stored"
        );
        Self {
            topic,
            lines,
            counts: OnceLock::new(),
        }
    }

    /// Returns how many records each partition holds.
    pub(super) fn records_per_partition(&self) -> u64 {
        self.lines / PARTITIONS
    }

    /// Returns the value of the record at an offset.
    pub(super) fn value(&self, partition: u64, offset: u64) -> Vec<u8> {
        let (turn, rest) = (offset / LINES_PER_TURN, offset % LINES_PER_TURN);
        line((turn * PARTITIONS + partition) * LINES_PER_TURN + rest)
    }

    /// Returns the words of all lines, counted by a plain loop.
    pub(super) fn counts(&self) -> &Counts {
        self.counts.get_or_init(|| count((0..self.lines).map(line)))
    }
}

/// Writes lines to partitions, in batches of one turn at most: so readers can be slowed down in steps of a thousand lines.
///
/// # Panics
/// When they can't be written.
pub(super) fn produce(broker: &Broker, topic: &str, lines: impl IntoIterator<Item = (u64, Vec<u8>)>) {
    let settings = [
        ("enable.idempotence", "true"),
        ("batch.num.messages", "1000"),
        ("compression.type", "lz4"),
    ];
    let producer: BaseProducer = broker.client(&settings).create().expect("a valid configuration");
    for (partition, line) in lines {
        let record = BaseRecord::<(), [u8]>::to(topic).partition(index(partition));
        let mut waiting = Some(record.payload(&line));
        eventually(PATIENCE, "room in the producer's queue", || {
            match producer.send(waiting.take().expect("put back when it was not taken")) {
                Ok(()) => Some(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                    waiting = Some(record);
                    producer.poll(QUEUE_WAIT);
                    None
                }
                Err((error, _)) => panic!("cannot write: {error}"),
            }
        });
    }
    producer.flush(PATIENCE).expect("the broker stores the records in time");
}

/// Returns the words of `lines`, counted by a plain loop.
pub(super) fn count(lines: impl IntoIterator<Item = Vec<u8>>) -> Counts {
    let mut counts = Counts::new();
    for line in lines {
        for word in line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            match counts.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(counts.insert(word.to_vec(), 1)),
            }
        }
    }
    counts
}

/// Returns a generated line: nine words, some of them common, many of them rare.
pub(super) fn line(number: u64) -> Vec<u8> {
    let mut line = Vec::new();
    connectors::generate::line(1, number, &mut line);
    line
}

/// Returns the number of a partition as Kafka's protocol has it.
pub(super) fn index(partition: u64) -> i32 {
    i32::try_from(partition).expect("few partitions")
}
