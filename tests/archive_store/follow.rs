//! An archive without an end in a bucket: it has what comes, and whoever looks finds an archive.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::parquet;
use crate::harness::process::Running;
use crate::harness::records::{End, Isolation, NewRecord};
use crate::harness::seeded::Seeded;

use super::Desk;

/// SIGKILLs of one archive.
const KILLS: usize = 12;

/// How long after its start a run is killed at the latest.
const KILL_WITHIN: Duration = Duration::from_millis(800);

impl Desk {
    /// Follows a topic into the bucket, below `a`; files are closed as often as they can be.
    fn follow(&self, topic: &str) -> Running {
        let options = ["--follow", "--file-age", "10ms", "--file-rows", "40"];
        self.replay(topic, &self.bucket.address("a"), &options).start()
    }

    /// Verifies what was followed, which is as it should be, and returns how many records it has.
    #[track_caller]
    fn verified(&self, options: &[&str]) -> u64 {
        let command = ["verify", &self.bucket.address("a"), "--format", "json"];
        let ended = self.run(&[&command, options].concat()).finish(PATIENCE).expect_code(0);
        let report: Value = serde_json::from_str(&ended.stdout).expect("a report in JSON");
        let partitions = report["partitions"].as_array().expect("a list").iter();
        partitions.map(|part| part["rows"].as_u64().expect("a number")).sum()
    }

    /// Verifies what a kill has left: files that the journal names may not have appeared, as the next start will see to; nothing
    /// else is wrong.
    #[track_caller]
    fn expect_nothing_but_late(&self) {
        let command = ["verify", &self.bucket.address("a"), "--format", "json"];
        let ended = self.run(&command).finish(PATIENCE);
        let report: Value = serde_json::from_str(&ended.stdout).expect("a report in JSON");
        let findings = report["findings"].as_array().expect("a list");
        let problem = |finding: &Value| finding["problem"].as_str().unwrap_or_default().to_owned();
        let is_late = |finding: &&Value| problem(finding).starts_with("is missing: ");
        assert_eq!(findings.iter().find(|finding| !is_late(finding)), None, "{report}");
    }

    /// Waits until the archive has so many records, and finds nothing wrong meanwhile.
    #[track_caller]
    fn wait_for(&self, running: &mut Running, records: u64) {
        let what = format!("{records} records");
        running.wait_until(PATIENCE, &what, |_| {
            (self.is_begun() && self.verified(&[]) == records).then_some(())
        });
    }

    fn is_begun(&self) -> bool {
        self.bucket
            .names("a/_millstream")
            .iter()
            .any(|name| name == "archive.json")
    }

    /// Checks that the archive is at rest, and has all records of the topic, each once.
    #[track_caller]
    fn expect_all_of(&self, topic: &str) {
        self.verified(&["--against", Broker::shared().bootstrap()]);
        let mut all = Broker::shared().consume(topic, Isolation::ReadCommitted);
        all.sort_by_key(|record| (record.partition, record.offset));
        let dir = self.scratch.join("copy");
        for (name, bytes) in self.archive("a") {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a scratch folder");
            fs::write(path, bytes).expect("a scratch file");
        }
        assert!(parquet::records(&dir) == all, "all records are archived, each once");
        fs::remove_dir_all(&dir).expect("a scratch folder");
        assert_eq!(self.bucket.parts_left(), [""; 0]);
    }
}

#[track_caller]
fn stop(running: Running) {
    running.signal("TERM");
    running.wait(PATIENCE).expect_code(0);
}

fn produce(topic: &str, round: usize) {
    for partition in 0..2 {
        let records = (0..50).map(|number| NewRecord::of(format!("{round} {number}")));
        match round % 3 {
            0 => Broker::shared().produce_in_transaction(topic, partition, records, End::Abort),
            1 => Broker::shared().produce_in_transaction(topic, partition, records, End::Commit),
            _ => Broker::shared().produce(topic, partition, records),
        }
    }
}

#[test]
fn an_archive_that_follows_into_a_bucket_is_an_archive_like_any_other() {
    let topic = Broker::shared().new_topic("bucket-follow", 2);
    let desk = Desk::new("bucket-follow");
    let mut running = desk.follow(&topic);
    let mut records = 0;
    for round in 0..6 {
        produce(&topic, round);
        records += if round % 3 == 0 { 0 } else { 100 };
        desk.wait_for(&mut running, records);
    }
    let address = desk.bucket.address("a");
    let refused = desk.run(&["compact", &address]).finish(PATIENCE).expect_code(75);
    assert!(refused.stderr.contains("is in use by process"), "{}", refused.stderr);
    stop(running);
    desk.expect_all_of(&topic);

    // With an end, compacted, and without an end again.
    produce(&topic, 1);
    desk.replayed(&topic, &address, &["--file-rows", "40"]);
    desk.run(&["compact", &address]).finish(PATIENCE).expect_code(0);
    desk.expect_all_of(&topic);
    let mut running = desk.follow(&topic);
    produce(&topic, 2);
    desk.wait_for(&mut running, records + 200);
    stop(running);
    desk.expect_all_of(&topic);
    assert!(desk.bucket.uploads().is_empty(), "no upload is left");
    desk.expect_no_spool();
}

#[test]
fn an_archive_that_follows_into_a_bucket_survives_kills() {
    let topic = Broker::shared().new_topic("bucket-follow-kills", 2);
    let desk = Desk::new("bucket-follow-kills");
    let mut random = Seeded::new();
    let mut before = BTreeMap::new();
    for round in 0..KILLS {
        let running = desk.follow(&topic);
        produce(&topic, round);
        random.wait_at_most(KILL_WITHIN);
        let killed = running.kill();
        assert_eq!(killed.status.code(), None, "run {round} ended: {}", killed.stderr);
        if desk.is_begun() {
            desk.expect_nothing_but_late();
        }
        let mut files = desk.archive("a");
        files.retain(|name, _| name.ends_with(".parquet"));
        let is_kept = |(name, bytes): (&String, &Vec<u8>)| files.get(name) == Some(bytes);
        assert!(before.iter().all(is_kept), "run {round} changed a file");
        before = files;
    }
    let mut running = desk.follow(&topic);
    desk.wait_for(&mut running, 800);
    stop(running);
    desk.expect_all_of(&topic);
}
