//! The archive without an end: it has what comes, and is an archive like any other.

use std::fs;
use std::path::PathBuf;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::parquet;
use crate::harness::process::Running;
use crate::harness::records::{End, Isolation, NewRecord};
use crate::harness::seeded::Seeded;

use super::input::Desk;
use super::verify::flip;

/// SIGKILLs of one archive.
const KILLS: u32 = 30;

/// How long after its start a run is killed at the latest.
const KILL_WITHIN: std::time::Duration = std::time::Duration::from_millis(400);

/// Files are closed as often as they can be.
const EAGER: [&str; 3] = ["--follow", "--file-age", "10ms"];

impl Desk {
    /// Follows a topic into the folder `archive`.
    #[track_caller]
    fn follow(&self, topic: &str, options: &[&str]) -> Running {
        let command = ["replay", "-b", self.broker.bootstrap(), "-t", topic, "--out", "archive"];
        self.run(&[&command, &EAGER[..], options].concat()).start()
    }

    fn archive(&self) -> PathBuf {
        self.scratch.join("archive")
    }

    /// Waits until the archive has so many records.
    #[track_caller]
    fn wait_for(&self, running: &mut Running, records: usize) {
        running.wait_until(PATIENCE, &format!("{records} records"), |_| {
            (parquet::records(&self.archive()).len() == records).then_some(())
        });
    }

    /// Checks that the archive is whole, alone and beside the topic, and holds all of it.
    #[track_caller]
    fn expect_all_of(&self, topic: &str) {
        self.verified("archive", &["--against", self.broker.bootstrap()]);
        let mut all = self.broker.consume(topic, Isolation::ReadCommitted);
        all.sort_by_key(|record| (record.partition, record.offset));
        assert!(
            parquet::records(&self.archive()) == all,
            "all records are archived, each once"
        );
    }
}

#[track_caller]
fn stop(running: Running) {
    running.signal("TERM");
    running.wait(PATIENCE).expect_code(0);
}

#[test]
fn an_archive_that_follows_has_what_comes_and_is_an_archive_like_any_other() {
    let desk = Desk::new("follow");
    let topic = desk.mixed_topic();
    let mut running = desk.follow(&topic, &[]);
    desk.wait_for(&mut running, 208);
    desk.verified("archive", &[]);
    desk.broker.produce(&topic, 1, ["late"].map(NewRecord::of));
    desk.wait_for(&mut running, 209);
    desk.broker.extend_topic(&topic, 4);
    let record = (3, NewRecord::of("in a new partition"));
    desk.broker.produce_block(&topic, "none", None, [record]);
    desk.wait_for(&mut running, 210);
    stop(running);
    desk.expect_all_of(&topic);
    let mut private: Vec<_> = fs::read_dir(desk.archive().join("_millstream"))
        .expect("the private folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    private.sort();
    let names = ["acquire.lock", "archive.json", "manifest.jsonl"];
    assert_eq!(private, names, "what every complete archive has, and no more");

    // Damage is found and named; the archive goes back; its small files become one for each partition.
    let target = Broker::unique("restored");
    desk.restored("archive", &target, &["--create"]);
    assert!(
        desk.contents(&target) == desk.contents(&topic),
        "the same records in the same order"
    );
    desk.run(&["compact", "archive"]).finish(PATIENCE).expect_code(0);
    assert_eq!(parquet::files(&desk.archive()).len(), 3);
    desk.expect_all_of(&topic);
    let file = parquet::files(&desk.archive()).swap_remove(1);
    flip(&file);
    desk.expect_finding("archive", &[], "was changed: the CRC-32C");
}

#[test]
fn an_archive_goes_on_with_an_end_and_without_one_in_turns() {
    let desk = Desk::new("follow-turns");
    let topic = desk.even_topic(400);
    let more = || {
        let records = (0..100).map(|number| NewRecord::of(format!("more {number}")));
        desk.broker.produce(&topic, 2, records);
    };
    desk.replay(&topic, "archive", &["--file-rows", "70"]);
    more();
    let mut running = desk.follow(&topic, &["--file-rows", "70"]);
    desk.wait_for(&mut running, 500);
    stop(running);
    desk.expect_all_of(&topic);
    desk.run(&["compact", "archive"]).finish(PATIENCE).expect_code(0);
    more();
    desk.replay(&topic, "archive", &["--file-rows", "70"]);
    desk.expect_all_of(&topic);
    more();
    let mut running = desk.follow(&topic, &["--file-rows", "70"]);
    desk.wait_for(&mut running, 700);
    stop(running);
    desk.expect_all_of(&topic);
}

#[test]
fn an_archive_that_follows_can_be_verified_all_the_time_and_is_not_changed_by_others() {
    let desk = Desk::new("follow-busy");
    let topic = desk.broker.new_topic("busy", 2);
    let mut running = desk.follow(&topic, &["--threads", "2"]);
    for round in 0..20 {
        for partition in 0..2 {
            let records = (0..50).map(|number| NewRecord::of(format!("{round} {number}")));
            match round % 3 {
                0 => desk
                    .broker
                    .produce_in_transaction(&topic, partition, records, End::Abort),
                1 => desk
                    .broker
                    .produce_in_transaction(&topic, partition, records, End::Commit),
                _ => desk.broker.produce(&topic, partition, records),
            }
        }
        if round > 0 {
            desk.verified("archive", &[]);
        } else {
            let header = desk.archive().join("_millstream/archive.json");
            running.wait_until(PATIENCE, "the archive is begun", |_| header.exists().then_some(()));
        }
    }
    let refused = desk.run(&["compact", "archive"]).finish(PATIENCE).expect_code(75);
    assert!(refused.stderr.contains("is in use by process"), "{}", refused.stderr);
    desk.wait_for(&mut running, 13 * 100);
    stop(running);
    desk.expect_all_of(&topic);
}

#[test]
fn an_archive_that_follows_survives_kills_and_a_restart_of_the_broker() {
    let desk = Desk::new("follow-kills");
    let mut random = Seeded::new();
    let topic = desk.broker.new_topic("kills", 3);
    for round in 0..KILLS {
        let running = desk.follow(&topic, &[]);
        for partition in 0..3 {
            let records = (0..100).map(|number| NewRecord::of(format!("{round} {number}")));
            desk.broker.produce(&topic, partition, records);
        }
        random.wait_at_most(KILL_WITHIN);
        let killed = running.kill();
        assert_eq!(
            killed.status.code(),
            None,
            "it was killed in its work: {}",
            killed.stderr
        );
        if desk.archive().join("_millstream/archive.json").exists() {
            desk.verified("archive", &[]);
        }
    }
    let mut running = desk.follow(&topic, &[]);
    desk.wait_for(&mut running, 300 * KILLS as usize);
    stop(running);
    desk.expect_all_of(&topic);
}

#[test]
fn an_archive_that_follows_waits_for_brokers_that_are_away() {
    let (desk, broker) = (Desk::new("follow-away"), Broker::own());
    let topic = broker.new_topic("away", 1);
    broker.produce(&topic, 0, ["before"].map(NewRecord::of));
    let command = ["replay", "-b", broker.bootstrap(), "-t", &topic, "--out", "archive"];
    let mut running = desk.run(&[&command, &EAGER[..]].concat()).start();
    desk.wait_for(&mut running, 1);
    broker.kill();
    running.wait_until(PATIENCE, "a word about it", |run| {
        let is_said = run.stderr().contains("followed again when the brokers answer");
        is_said.then_some(())
    });
    broker.restart();
    broker.produce(&topic, 0, ["after"].map(NewRecord::of));
    desk.wait_for(&mut running, 2);
    stop(running);
    desk.verified("archive", &["--against", broker.bootstrap()]);
}
