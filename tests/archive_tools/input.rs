//! Topics with all that a record may have, and the commands over their archives.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::process::{Ended, Run};
use crate::harness::records::{End, HeaderList, Isolation, NewRecord};
use crate::harness::scratch::Scratch;

/// 2001-09-09T01:46:40Z: older than any retention.
pub(super) const OLD_MS: i64 = 1_000_000_000_000;

/// What a record is, wherever it stands in its partition.
pub(super) type Content = (i32, Option<Vec<u8>>, Option<Vec<u8>>, HeaderList, Option<i64>);

/// A folder in which commands run, and the broker that they speak to.
pub(super) struct Desk {
    pub(super) broker: &'static Broker,
    pub(super) scratch: Scratch,
    runs: AtomicU32,
}

impl Desk {
    /// Returns a desk of the test `name`.
    pub(super) fn new(name: &str) -> Self {
        Self {
            broker: Broker::shared(),
            scratch: Scratch::new(name),
            runs: AtomicU32::new(0),
        }
    }

    /// Prepares a run of the program.
    pub(super) fn run(&self, arguments: &[&str]) -> Run {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        Run::millstream(&self.scratch, &format!("run-{number:03}")).args(arguments)
    }

    /// Archives `topic` in the folder `out`.
    #[track_caller]
    pub(super) fn replay(&self, topic: &str, out: &str, options: &[&str]) -> PathBuf {
        let command = ["replay", "-b", self.broker.bootstrap(), "-t", topic, "--out", out];
        self.run(&[&command, options].concat()).finish(PATIENCE).expect_code(0);
        self.scratch.join(out)
    }

    /// Prepares a restore of the archive `dir` to `topic`.
    pub(super) fn restore(&self, dir: &str, topic: &str, options: &[&str]) -> Run {
        let command = ["restore", dir, "-b", self.broker.bootstrap(), "--to-topic", topic];
        self.run(&[&command, options].concat())
    }

    /// Restores to the end.
    #[track_caller]
    pub(super) fn restored(&self, dir: &str, topic: &str, options: &[&str]) -> Ended {
        self.restore(dir, topic, options).finish(PATIENCE).expect_code(0)
    }

    /// Returns what readers of committed records find in a topic, in order within each partition.
    #[track_caller]
    pub(super) fn contents(&self, topic: &str) -> Vec<Content> {
        let records = self.broker.consume(topic, Isolation::ReadCommitted).into_iter();
        let mut contents: Vec<_> = records
            .map(|record| {
                (
                    record.partition,
                    record.key,
                    record.value,
                    record.headers,
                    record.timestamp,
                )
            })
            .collect();
        contents.sort_by_key(|content| content.0);
        contents
    }

    /// Makes a topic of three partitions: two with all that a record may have, and one that is empty.
    #[track_caller]
    pub(super) fn mixed_topic(&self) -> String {
        let topic = self.broker.new_topic("mixed", 3);
        for partition in 0..2 {
            self.broker.produce(&topic, partition, mixed(partition, 0));
            let (aborted, committed) = (mixed(partition, 100), mixed(partition, 200));
            self.broker
                .produce_in_transaction(&topic, partition, aborted, End::Abort);
            self.broker
                .produce_in_transaction(&topic, partition, committed, End::Commit);
        }
        topic
    }

    /// Makes a topic of small records, four partitions in turn, a millisecond between two.
    #[track_caller]
    pub(super) fn even_topic(&self, records: u32) -> String {
        let topic = self.broker.new_topic("even", 4);
        for partition in 0..4 {
            let numbers = (0..records).filter(|number| number % 4 == partition);
            let record = |number: u32| NewRecord {
                key: Some(number.to_string().into_bytes()),
                timestamp: Some(OLD_MS + i64::from(number)),
                ..NewRecord::of(format!("record {number}"))
            };
            let partition = i32::try_from(partition).expect("few partitions");
            self.broker.produce(&topic, partition, numbers.map(record));
        }
        topic
    }
}

/// Returns records with null and empty keys and values, repeated headers, and old times; `first` numbers them.
fn mixed(partition: i32, first: i64) -> Vec<NewRecord> {
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    let header = |name: &str, value: Option<Vec<u8>>| (name.to_owned(), value);
    let time = |number: i64| Some(OLD_MS + (first + number) * 1000 + i64::from(partition));
    let record = |number, key, value, headers| NewRecord {
        key,
        value,
        headers,
        timestamp: time(number),
    };
    let repeated = vec![header("a", bytes("1")), header("b", None), header("a", bytes(""))];
    let mut records = vec![
        record(0, None, bytes("no key"), Vec::new()),
        record(1, bytes(""), bytes("an empty key"), repeated.clone()),
        record(2, bytes("tombstone"), None, vec![header("ü", Some(vec![0, 255]))]),
        record(3, bytes("empty"), bytes(""), Vec::new()),
        record(4, None, None, repeated),
        // Older than the one before.
        record(-5000, Some(vec![0xff, 0xfe]), Some(vec![0; 300_000]), Vec::new()),
    ];
    // One without a time.
    records.push(NewRecord {
        timestamp: Some(-1),
        ..NewRecord::of("timeless")
    });
    let line = |number: i64| {
        record(
            number,
            bytes("k"),
            Some(format!("line {}", first + number).into_bytes()),
            Vec::new(),
        )
    };
    records.extend((5..50).map(line));
    records
}
