//! Records that are gone before they were read, on the real broker: named with their exact ranges, and handled by policy.

use std::fs;
use std::path::PathBuf;

use crate::harness::broker::Broker;
use crate::harness::process::{Ended, Run, Running};
use crate::harness::records::NewRecord;
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, eventually};

/// A count without an end of a topic of two partitions, each record one `word`, with a checkpoint of its own.
struct Count {
    scratch: Scratch,
    topic: String,
}

impl Count {
    /// Counts `records` records a partition, and stops.
    fn of(records: usize) -> Self {
        let count = Self {
            scratch: Scratch::new("loss"),
            topic: Broker::shared().new_topic("losing", 2),
        };
        count.produce([records, records]);
        let running = count.start_and_wait(2 * records, &[]);
        running.signal("TERM");
        running.wait(PATIENCE).expect_code(0);
        count
    }

    fn produce(&self, records: [usize; 2]) {
        for (partition, records) in (0..).zip(records) {
            Broker::shared().produce(&self.topic, partition, (0..records).map(|_| NewRecord::of("word")));
        }
    }

    fn command(&self, options: &[&str]) -> Run {
        let brokers = Broker::shared().bootstrap();
        let run = Run::millstream(&self.scratch, "count").args(["wordcount", "-b", brokers, "-t", &self.topic]);
        run.args(["--checkpoint", "state", "--every", "20ms"]).args(options)
    }

    /// Starts the count and waits until it has counted `total` words in all.
    #[track_caller]
    fn start_and_wait(&self, total: usize, options: &[&str]) -> Running {
        let mut running = self.command(options).start();
        running.wait_until(PATIENCE, "all is counted", |run| {
            (last_count(&run.stdout()) == Some(total)).then_some(())
        });
        running
    }

    /// Goes on with the count up to what is there now.
    #[track_caller]
    fn resume(&self, options: &[&str]) -> Ended {
        self.command(&["--to", "latest"]).args(options).finish(PATIENCE)
    }

    /// Goes on with a count that is to be refused, and returns the message.
    #[track_caller]
    fn refused(&self) -> String {
        let ended = self.resume(&[]).expect_code(6);
        assert_eq!(ended.stdout, "", "nothing is counted beside what is lost");
        ended.stderr
    }

    fn partition(&self, index: i32) -> String {
        format!("{}[{index}]", self.topic)
    }
}

/// Returns the count in the last line that is whole.
fn last_count(stdout: &str) -> Option<usize> {
    let whole = stdout.rsplit_once('\n')?.0;
    whole.lines().last()?.strip_prefix("word\t")?.parse().ok()
}

#[track_caller]
fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is in the message:\n{text}");
    }
}

/// Returns the bounds of the first range `[from, to)` in a message, and what stands before it.
#[track_caller]
fn range(text: &str) -> (i64, i64) {
    let (_, rest) = text.split_once("offsets [").expect("a range in the message");
    let (range, _) = rest.split_once(')').expect("a half-open range");
    let (from, to) = range.split_once(", ").expect("two offsets");
    (from.parse().expect("an offset"), to.parse().expect("an offset"))
}

/// Has retention pass the position of partition 0 by 20 offsets, and partition 1 untouched.
fn aged() -> Count {
    let count = Count::of(100);
    count.produce([50, 50]);
    Broker::shared().delete_records(&count.topic, 0, 120);
    count
}

#[test]
fn records_that_aged_out_between_two_runs_stop_the_second_one_with_their_range() {
    let count = aged();
    let message = count.refused();
    let range = format!(
        "{} offsets [100, 120) (retention: the first offset there is now is 120)",
        count.partition(0)
    );
    assert_holds(
        &message,
        &["millstream: records were lost before they were read: ", &range],
    );
    assert!(
        !message.contains(&count.partition(1)),
        "partition 1 lost nothing: {message}"
    );
    assert_holds(&count.refused(), &[&range]);
}

#[test]
fn every_partition_that_lost_records_is_named() {
    let count = aged();
    Broker::shared().delete_records(&count.topic, 1, 150);
    let ranges = [
        format!("{} offsets [100, 120)", count.partition(0)),
        format!("{} offsets [100, 150)", count.partition(1)),
    ];
    assert_holds(&count.refused(), &[&ranges[0], &ranges[1]]);
}

#[test]
fn with_skip_the_count_goes_on_at_the_first_record_there_is() {
    let count = aged();
    let ended = count.resume(&["--on-data-loss", "skip"]).expect_code(0);
    let range = format!("{} offsets [100, 120)", count.partition(0));
    assert_holds(
        &ended.stderr,
        &["WARN", "records were lost before they were read", &range],
    );
    assert_eq!(last_count(&ended.stdout), Some(200 + 30 + 50));
    let again = count.resume(&[]).expect_code(0);
    assert_eq!(again.stdout, "", "what was skipped is not lost again");
}

#[test]
fn with_reset_the_partition_starts_where_a_first_run_would() {
    let count = aged();
    let reset = ["--on-data-loss", "reset", "--from", "latest"];
    let ended = count.resume(&reset).expect_code(0);
    assert_holds(
        &ended.stderr,
        &["WARN", &format!("{} offsets [100, 120)", count.partition(0))],
    );
    assert_eq!(
        last_count(&ended.stdout),
        Some(200 + 50),
        "partition 0 begins at its end"
    );
    let count = aged();
    let ended = count.resume(&reset[..2]).expect_code(0);
    assert_eq!(
        last_count(&ended.stdout),
        Some(200 + 30 + 50),
        "partition 0 begins at its first record"
    );
}

/// Freezes a running count while more is produced, and all of it but the last 10 records of partition 0 is deleted.
fn passed_in_mid_run(options: &[&str]) -> (Count, Running) {
    let count = Count::of(100);
    let running = {
        let mut running = count.command(options).start();
        // It waits for more once the group knows that it has read everything.
        count.produce([0, 1]);
        running.wait_until(PATIENCE, "it is at the end", |run| {
            (last_count(&run.stdout()) == Some(201)).then_some(())
        });
        running
    };
    running.signal("STOP");
    // More than a fetch that was under way, and what waits in a socket, can hold.
    for _ in 0..20 {
        let record = |_| NewRecord::of(format!("word {}", " ".repeat(1 << 20)));
        Broker::shared().produce(&count.topic, 0, (0..10).map(record));
    }
    count.produce([10, 0]);
    Broker::shared().delete_records(&count.topic, 0, 300);
    running.signal("CONT");
    (count, running)
}

#[test]
fn records_that_age_out_in_mid_run_stop_it_with_their_range() {
    let (count, running) = passed_in_mid_run(&[]);
    let ended = running.wait(PATIENCE).expect_code(6);
    assert_holds(&ended.stderr, &[&count.partition(0), "retention"]);
    let (from, to) = range(&ended.stderr);
    assert!(from >= 100 && to == 300, "{}", ended.stderr);
    let read = last_count(&ended.stdout).expect("a count");
    assert!(
        i64::try_from(read).expect("a small count") <= 101 + from,
        "only what was read is counted"
    );
}

#[test]
fn with_skip_records_that_age_out_in_mid_run_are_passed_over() {
    let (count, mut running) = passed_in_mid_run(&["--on-data-loss", "skip"]);
    let (from, to) = running.wait_until(PATIENCE, "the loss is reported", |run| {
        let stderr = run.stderr();
        stderr.contains("offsets [").then(|| range(&stderr))
    });
    assert!(from >= 100 && to == 300, "[{from}, {to})");
    let expected = usize::try_from(101 + from + 10).expect("a small count");
    running.wait_until(PATIENCE, "all that is left is counted", |run| {
        (last_count(&run.stdout()) == Some(expected)).then_some(())
    });
    running.signal("TERM");
    running.wait(PATIENCE).expect_code(0);
    assert_eq!(count.resume(&[]).expect_code(0).stdout, "", "nothing is left to count");
}

fn recreated(records: [usize; 2]) -> Count {
    let count = Count::of(100);
    Broker::shared().delete_topic(&count.topic);
    eventually(PATIENCE, "the topic can be made again", || {
        let made = std::panic::catch_unwind(|| Broker::shared().create_topic(&count.topic, 2, &[]));
        made.ok()
    });
    count.produce(records);
    count
}

#[test]
fn a_recreated_topic_is_noticed_although_its_offsets_fit() {
    let count = recreated([150, 150]);
    let message = count.refused();
    let cause = "the topic was deleted and created again: its id was ";
    assert_holds(&message, &[&count.partition(0), &count.partition(1), cause, " and is "]);
    let ended = count.resume(&["--on-data-loss", "skip"]).expect_code(0);
    assert_holds(&ended.stderr, &["WARN", cause]);
    assert_eq!(
        last_count(&ended.stdout),
        Some(200 + 300),
        "the new topic is read from its start"
    );
}

#[test]
fn a_recreated_topic_that_is_shorter_is_noticed_too() {
    let count = recreated([3, 0]);
    assert_holds(&count.refused(), &["the topic was deleted and created again"]);
}

#[test]
fn a_topic_that_was_deleted_is_named() {
    let count = Count::of(10);
    Broker::shared().delete_topic(&count.topic);
    let ended = eventually(PATIENCE, "the broker has forgotten the topic", || {
        let ended = count.resume(&[]);
        (ended.status.code() != Some(0)).then_some(ended)
    });
    let stderr = ended.expect_code(7).stderr;
    assert_holds(
        &stderr,
        &[&format!("cannot read topic {}", count.topic), "have no such topic"],
    );
}

#[test]
fn committed_offsets_that_aged_out_stop_a_first_run() {
    let count = aged();
    // The count committed for its group; a run that starts where the group was has lost the same records.
    fs::remove_dir_all(PathBuf::from(count.scratch.path()).join("state")).expect("the checkpoint is there");
    let ended = count.resume(&["--from", "committed"]).expect_code(6);
    assert_holds(
        &ended.stderr,
        &[&format!("{} offsets [100, 120) (retention", count.partition(0))],
    );
    let ended = count
        .resume(&["--from", "committed", "--on-data-loss", "skip"])
        .expect_code(0);
    assert_eq!(last_count(&ended.stdout), Some(30 + 50));
}
