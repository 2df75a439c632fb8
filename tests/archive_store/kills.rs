//! Replays and compactions of a bucket that are killed, and go on: what is there in the end is what a run leaves that nothing
//! disturbs.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use engine::fault::ARCHIVE_POINTS;

use crate::harness::PATIENCE;
use crate::harness::process::Ended;
use crate::harness::seeded::Seeded;

use super::{Desk, SMALL, expect_same, topic_of};

/// What a process that aborts is ended by.
const SIGABRT: i32 = 6;

/// SIGKILLs of one replay.
const KILLS: usize = 15;

/// How long after a file a run is killed at the latest.
const KILL_WITHIN: Duration = Duration::from_millis(250);

/// Returns how often a point is passed in these tests before the crash: once, or each of the first times.
fn passings(point: &str) -> std::ops::RangeInclusive<u32> {
    match ["archive_after_manifest", "archive_after_header"].contains(&point) {
        true => 1..=1,
        false => 1..=2,
    }
}

#[track_caller]
fn expect_crash(ended: &Ended, place: &str) {
    assert_eq!(ended.status.signal(), Some(SIGABRT), "{place}: {}", ended.stderr);
}

/// Returns what no reader may see: files of an archive that are not those of the whole one.
fn strange(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let seen = found.iter().filter(|(name, _)| name.ends_with(".parquet"));
    let strange = seen.filter(|(name, bytes)| expected.get(*name) != Some(bytes));
    strange.map(|(name, _)| name.clone()).collect()
}

#[test]
fn a_crash_at_any_point_changes_no_byte_of_the_bucket() {
    let topic = topic_of("bucket-points", 4000);
    let desk = Desk::new("bucket-points");
    desk.replayed(&topic, "archive", SMALL);
    let expected = desk.folder("archive");
    for &point in ARCHIVE_POINTS {
        for passing in passings(point) {
            let (place, prefix) = (format!("{point}:{passing}"), format!("{point}-{passing}"));
            let address = desk.bucket.address(&prefix);
            let run = desk.replay(&topic, &address, SMALL).env("MILLSTREAM_CRASH_AT", &place);
            expect_crash(&run.finish(PATIENCE), &place);
            assert_eq!(strange(&desk.archive(&prefix), &expected), [""; 0], "{place}");
            desk.replayed(&topic, &address, SMALL);
            expect_same(&desk.archive(&prefix), &expected);
            assert_eq!(desk.bucket.parts_left(), [""; 0], "{place}");
        }
    }
    desk.expect_no_spool();
}

#[test]
fn random_kills_change_no_byte_of_the_bucket() {
    let topic = topic_of("bucket-kills", 30_000);
    let desk = Desk::new("bucket-kills");
    let address = desk.bucket.address("a");
    desk.replayed(&topic, "archive", SMALL);
    let expected = desk.folder("archive");
    let mut random = Seeded::new();
    // So slow that all kills fall into the work.
    let slow = [SMALL, &["--rate", "250KB/s"]].concat();
    let files = || {
        desk.bucket
            .names("a")
            .iter()
            .filter(|name| name.ends_with(".parquet"))
            .count()
    };
    for number in 0..KILLS {
        let before = files();
        let mut running = desk.replay(&topic, &address, &slow).start();
        if number % 3 != 0 {
            running.wait_until(PATIENCE, "a file", |_| (files() > before).then_some(()));
        }
        random.wait_at_most(KILL_WITHIN);
        let killed = running.kill();
        assert_eq!(killed.status.code(), None, "run {number} ended: {}", killed.stderr);
        assert_eq!(strange(&desk.archive("a"), &expected), [""; 0], "run {number}");
    }
    assert!(files() > 0, "files were left by the kills");
    desk.replayed(&topic, &address, SMALL);
    expect_same(&desk.archive("a"), &expected);
    assert_eq!(desk.bucket.parts_left(), [""; 0]);
}

#[test]
fn a_compaction_that_crashes_at_any_point_goes_on_to_the_same_bucket() {
    let topic = topic_of("bucket-compact-points", 4000);
    let desk = Desk::new("bucket-compact-points");
    let compact = |place: &str| desk.run(&["compact", place, "--target", "20KB"]);
    desk.replayed(&topic, "archive", SMALL);
    compact("archive").finish(PATIENCE).expect_code(0);
    let expected = desk.folder("archive");
    for &point in ARCHIVE_POINTS.iter().filter(|point| **point != "archive_mid_file") {
        for passing in passings(point) {
            let (place, prefix) = (format!("{point}:{passing}"), format!("{point}-{passing}"));
            let address = desk.bucket.address(&prefix);
            desk.replayed(&topic, &address, SMALL);
            expect_crash(
                &compact(&address).env("MILLSTREAM_CRASH_AT", &place).finish(PATIENCE),
                &place,
            );
            compact(&address).finish(PATIENCE).expect_code(0);
            expect_same(&desk.archive(&prefix), &expected);
            assert_eq!(desk.bucket.parts_left(), [""; 0], "{place}");
        }
    }
}
