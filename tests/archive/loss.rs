//! Topics that change while they are archived: they grow, lose their head, are deleted, or made again.

use std::path::PathBuf;

use crate::harness::broker::Broker;
use crate::harness::process::Running;
use crate::harness::records::{Isolation, NewRecord};
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, eventually, parquet};

use super::{command, replay};

const RECORDS: i64 = 6000;

/// A slow replay of one partition with [`RECORDS`] records, of which one segment is read at a time.
struct Slow {
    scratch: Scratch,
    topic: String,
    running: Running,
}

const SEGMENT: i64 = 500;

impl Slow {
    /// Starts it, and waits for its first file.
    #[track_caller]
    fn start(options: &[&str]) -> Self {
        let topic = Broker::shared().new_topic("changing", 1);
        fill(&topic);
        let scratch = Scratch::new("changing");
        let slow = ["--threads", "1", "--segment", "500", "--rate", "100KB/s"];
        let mut running = command(&scratch, &topic, "archive", &[&slow, options].concat()).start();
        let archive = scratch.join("archive");
        running.wait_until(PATIENCE, "a file", |_| {
            (!parquet::files(&archive).is_empty()).then_some(())
        });
        Self {
            scratch,
            topic,
            running,
        }
    }

    fn archive(&self) -> PathBuf {
        self.scratch.join("archive")
    }
}

fn fill(topic: &str) {
    Broker::shared().produce_lines(topic, 1, (0..RECORDS).map(|line| format!("line {line}")));
}

/// Returns the first range `[from, to)` in a message.
#[track_caller]
fn range(text: &str) -> (i64, i64) {
    let (_, rest) = text.split_once("offsets [").expect("a range in the message");
    let (range, _) = rest.split_once(')').expect("a half-open range");
    let (from, to) = range.split_once(", ").expect("two offsets");
    (from.parse().expect("an offset"), to.parse().expect("an offset"))
}

#[test]
fn a_topic_that_grows_is_archived_up_to_where_it_was() {
    let slow = Slow::start(&[]);
    fill(&slow.topic);
    let expected: Vec<_> = Broker::shared()
        .consume(&slow.topic, Isolation::ReadCommitted)
        .into_iter()
        .filter(|record| record.offset < RECORDS)
        .collect();
    let archive = slow.archive();
    slow.running.wait(PATIENCE).expect_code(0);
    assert_eq!(parquet::records(&archive), expected);
    let again = || replay(&slow.scratch, &slow.topic, "archive", &["--segment", "500"]);
    again();
    let all = Broker::shared().consume(&slow.topic, Isolation::ReadCommitted);
    assert!(parquet::records(&archive) == all, "what came meanwhile is there too");
    let ended = again();
    assert!(ended.stderr.contains("nothing left to do"), "{}", ended.stderr);
}

#[test]
fn a_head_that_is_lost_in_mid_replay_is_named_with_its_exact_range() {
    let slow = Slow::start(&[]);
    Broker::shared().delete_records(&slow.topic, 0, RECORDS - 700);
    let archive = slow.archive();
    let ended = slow.running.wait(PATIENCE).expect_code(6);
    let (from, to) = range(&ended.stderr);
    assert_eq!((from % SEGMENT, to), (0, RECORDS - 700), "{}", ended.stderr);
    assert!(ended.stderr.contains("retention"), "{}", ended.stderr);
    let offsets: Vec<_> = parquet::records(&archive).iter().map(|record| record.offset).collect();
    assert!(
        offsets.iter().copied().eq(0..from),
        "what came before the loss is there"
    );
    // A second start names the same range before it reads.
    let again = command(&slow.scratch, &slow.topic, "archive", &["--segment", "500"]);
    let again = again.finish(PATIENCE).expect_code(6);
    assert_eq!(range(&again.stderr), (from, to), "{}", again.stderr);
    let skip = ["--segment", "500", "--on-data-loss", "skip"];
    let skipped = replay(&slow.scratch, &slow.topic, "archive", &skip);
    assert_eq!(range(&skipped.stderr), (from, to), "{}", skipped.stderr);
    let offsets: Vec<_> = parquet::records(&archive).iter().map(|record| record.offset).collect();
    assert!(
        offsets.into_iter().eq((0..from).chain(to..RECORDS)),
        "all that is left is there"
    );
}

#[test]
fn a_topic_that_is_made_again_in_mid_replay_is_not_mixed_with_the_old_one() {
    let slow = Slow::start(&[]);
    Broker::shared().delete_topic(&slow.topic);
    eventually(PATIENCE, "the topic can be made again", || {
        let made = std::panic::catch_unwind(|| Broker::shared().create_topic(&slow.topic, 1, &[]));
        made.ok()
    });
    let line = |line: i64| NewRecord::of(format!("new {line}"));
    Broker::shared().produce(&slow.topic, 0, (0..RECORDS).map(line));
    let archive = slow.archive();
    let ended = slow.running.wait(PATIENCE).expect_code(6);
    let (from, to) = range(&ended.stderr);
    assert_eq!((from % SEGMENT, to), (0, RECORDS), "{}", ended.stderr);
    let records = parquet::records(&archive);
    assert!(records.iter().map(|record| record.offset).eq(0..from));
    let is_old = |value: &Option<Vec<u8>>| value.as_ref().is_some_and(|value| value.starts_with(b"line "));
    assert!(
        records.iter().all(|record| is_old(&record.value)),
        "no record of the new topic"
    );
}

#[test]
fn a_topic_that_is_deleted_in_mid_replay_is_lost_from_an_exact_offset_on() {
    let slow = Slow::start(&[]);
    Broker::shared().delete_topic(&slow.topic);
    let ended = slow.running.wait(PATIENCE).expect_code(6);
    let (from, to) = range(&ended.stderr);
    assert_eq!((from % SEGMENT, to), (0, RECORDS), "{}", ended.stderr);
    assert!(ended.stderr.contains("the partition is gone"), "{}", ended.stderr);
}
