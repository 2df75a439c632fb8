//! Stores that fail, are busy, do not answer, or break off: what passes is survived, and nothing of it is seen in the archive.

use std::time::Duration;

use crate::harness::broker::Broker;

use super::between::{Between, Kind, PASSING};
use super::{Desk, expect_same, topic_of};

/// What a run may take whose requests are disturbed.
const DISTURBED: Duration = Duration::from_secs(300);

/// How long the program waits for an answer here.
const TIMEOUT: &str = "4s";

#[test]
fn each_fault_at_each_kind_of_request_is_survived_and_changes_nothing() {
    let topic = topic_of("bucket-faults", 12_000);
    let desk = Desk::new("bucket-faults");
    let (brokers, address) = (Broker::shared().bootstrap(), desk.bucket.address("a"));
    // More commits than have room in the head of the journal, so that objects of it are removed.
    let options = ["--segment", "1000", "--file-rows", "100"];
    let replay = |place: &str| {
        let command = ["replay", "-b", brokers, "-t", &topic, "--out", place];
        [&command[..], &options]
            .concat()
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let between = Between::disturbing(desk.bucket.port, &PASSING);
    let commands = [
        replay(&address),
        ["verify", &address].map(str::to_owned).to_vec(),
        ["compact", &address, "--target", "20KB"].map(str::to_owned).to_vec(),
        ["verify", &address].map(str::to_owned).to_vec(),
    ];
    for command in &commands {
        let words: Vec<_> = command.iter().map(String::as_str).collect();
        let run = desk.run_through(between.port, &words).env("AWS_TIMEOUT", TIMEOUT);
        run.finish(DISTURBED).expect_code(0);
    }
    desk.replayed(&topic, "archive", &options);
    let compacted = desk.run(&["compact", "archive", "--target", "20KB"]);
    compacted.finish(DISTURBED).expect_code(0);
    expect_same(&desk.archive("a"), &desk.folder("archive"));
    let done = between.done();
    for kind in [
        Kind::List,
        Kind::Get,
        Kind::Put,
        Kind::BeginUpload,
        Kind::Part,
        Kind::CompleteUpload,
        Kind::Remove,
    ] {
        for fault in PASSING {
            let count = done.get(&(kind, fault)).copied().unwrap_or(0);
            assert!(count > 0, "{fault:?} at {kind:?} was done: {done:?}");
        }
    }
    desk.expect_no_spool();
}
