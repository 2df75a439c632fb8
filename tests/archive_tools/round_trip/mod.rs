//! Records of all kinds and sizes, there and back: topic, archive, topic, archive. What is expected comes from the generator
//! of the records, and from DuckDB; neither shares code with the program.

mod content;
mod sums;

use std::time::{Duration, Instant};

use crate::harness::broker::Broker;
use crate::harness::process::{Ended, Run};
use crate::harness::records::{Isolation, NewRecord};
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, duckdb, eventually, parquet};

use self::content::{PARTITIONS, produce};
use self::sums::{Sums, sums_of};

/// Records of the topic that is compacted, at most: it is read again and again until the broker has compacted it.
const COMPACTED_MAX: u64 = 20_000;

/// Records that one run of the program handles before it is given more time than usual.
const USUAL_RECORDS: u64 = 100_000;

/// What the commands of one round trip have in common.
struct Trip {
    broker: &'static Broker,
    scratch: Scratch,
    patience: Duration,
}

impl Trip {
    fn new(name: &str, records: u64) -> Self {
        Self {
            broker: Broker::shared(),
            scratch: Scratch::new(name),
            patience: PATIENCE * u32::try_from(1 + records / USUAL_RECORDS).expect("fewer than 2^32 minutes"),
        }
    }

    /// Runs the program with the brokers' address for `@`, and says how long it took.
    #[track_caller]
    fn run(&self, command: &str) -> Ended {
        let address = |word| if word == "@" { self.broker.bootstrap() } else { word };
        let words: Vec<_> = command.split(' ').map(address).collect();
        let begun = Instant::now();
        let ended = Run::millstream(&self.scratch, words[0])
            .args(&words)
            .finish(self.patience);
        eprintln!("{:8.1} s  millstream {command}", begun.elapsed().as_secs_f64());
        ended.expect_code(0)
    }

    /// Archives `topic`, writes it to another topic, archives that, and verifies each step.
    #[track_caller]
    fn there_and_back(&self, topic: &str) {
        self.run(&format!("replay -b @ -t {topic} --out first"));
        self.run("verify first --against @");
        let target = Broker::unique("back");
        self.run(&format!("restore first -b @ --to-topic {target} --create"));
        self.run(&format!("verify first --against @ --restored-as {target}"));
        self.run(&format!("replay -b @ -t {target} --out second"));
        self.run("verify second --against @");
        self.broker.delete_topic(&target);
    }

    /// Checks that DuckDB finds these numbers in the archive `dir`.
    #[track_caller]
    fn expect_in_duckdb(&self, dir: &str, expected: &[Sums]) {
        let sql = format!(
            "SELECT partition, count(*), count(key), count(value), sum(octet_length(value)), sum(len(headers)), \
             count(timestamp), count(DISTINCT \"offset\") FROM '{dir}/**/*.parquet' GROUP BY partition ORDER BY partition"
        );
        let line = |(partition, sums): (usize, &Sums)| -> Vec<String> {
            let Sums { rows, keys, values, .. } = sums;
            let counts = [rows, keys, values, &sums.value_bytes, &sums.headers, &sums.times, rows];
            let partition = partition.to_string();
            [partition].into_iter().chain(counts.map(u64::to_string)).collect()
        };
        let lines: Vec<_> = expected.iter().enumerate().map(line).collect();
        assert_eq!(duckdb::query(self.scratch.path(), &sql), lines);
    }
}

/// Sends `records` records of all kinds there and back, and checks that they are the same; says what they came to.
#[track_caller]
pub(crate) fn of_all_kinds(records: u64) -> String {
    let trip = Trip::new("round-trip", records);
    let topic = trip.broker.new_topic("all-kinds", PARTITIONS);
    let expected = produce(trip.broker, &topic, records);
    trip.there_and_back(&topic);
    for dir in ["first", "second"] {
        let found = sums_of(&parquet::files(&trip.scratch.join(dir)), PARTITIONS);
        assert!(
            found == expected,
            "{dir} has the records that were written: {found:?}, not {expected:?}"
        );
        trip.expect_in_duckdb(dir, &expected);
    }
    let rows: u64 = expected.iter().map(|sums| sums.rows).sum();
    let bytes: u64 = expected.iter().map(|sums| sums.value_bytes).sum();
    let hash = expected.iter().fold(0, |all: u64, sums| all.rotate_left(7) ^ sums.hash);
    format!("{rows} records of {records} that were written, {bytes} bytes of values, hash {hash:016x}")
}

/// The same of a topic that the broker has compacted, where only the broker knows what is left.
#[track_caller]
pub(crate) fn of_a_compacted_topic(records: u64) -> String {
    let records = records.min(COMPACTED_MAX);
    let trip = Trip::new("round-trip-compacted", records);
    let topic = trip.broker.compacted_topic();
    let keyed = |number: u64| NewRecord {
        key: Some((number * 7 % (records / 3)).to_string().into_bytes()),
        ..NewRecord::of(format!("record {number}"))
    };
    trip.broker.produce(&topic, 0, (0..records).map(keyed));
    eventually(PATIENCE, "records are compacted away", || {
        // One more record makes a new segment, so that the one before can be compacted.
        trip.broker.produce(&topic, 0, [keyed(0)]);
        let mut left = 0;
        trip.broker.for_each(&topic, Isolation::ReadCommitted, |_| left += 1);
        (left < records).then_some(())
    });
    trip.there_and_back(&topic);
    let [first, second] = ["first", "second"].map(|dir| sums_of(&parquet::files(&trip.scratch.join(dir)), 1));
    assert!(first == second && first[0].rows < records, "{first:?}, {second:?}");
    trip.expect_in_duckdb("first", &first);
    format!("{} records that compaction has left of {records}", first[0].rows)
}

#[test]
fn records_of_all_kinds_come_back_from_an_archive_as_they_were() {
    let said = of_all_kinds(50_000);
    assert!(!said.starts_with("0 "), "{said}");
}

#[test]
fn what_compaction_has_left_comes_back_from_an_archive_as_it_was() {
    let said = of_a_compacted_topic(2_000);
    assert!(!said.starts_with("0 "), "{said}");
}
