//! A disk that is full: the kernel refuses a write in mid-run.

use std::path::Path;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;

use super::input::Input;
use super::job::{Job, Kind};

/// Blocks of 512 bytes: 32 KiB, less than any job writes to one file, and more than it says.
const BLOCKS: u32 = 64;

#[test]
fn a_full_disk_under_a_parquet_table_stops_the_job_and_a_restart_goes_on() {
    check(Kind::Table, "out/_millstream/staging-");
}

#[test]
fn a_full_disk_under_a_replay_stops_the_job_and_a_restart_goes_on() {
    check(Kind::Replay, "out/_millstream/staging-");
}

#[test]
fn a_full_disk_under_the_checkpoint_stops_the_job_and_a_restart_goes_on() {
    check(Kind::Kafka, "checkpoint/owner-");
}

/// Runs a job on a disk without room, and again with room.
#[track_caller]
fn check(kind: Kind, path: &str) {
    let job = Job::new(kind, Broker::shared(), Input::small(), "full-disk");
    let job = job.at_once();
    for _ in 0..2 {
        let stopped = job.run_within(BLOCKS).finish(PATIENCE).expect_code(7);
        assert!(
            stopped.stderr.contains(path) && stopped.stderr.contains("File too large"),
            "the path {path} and the cause: {}",
            stopped.stderr
        );
        assert_eq!(job.epoch(), 0, "no epoch was made");
        expect_no_rows(&job.folder());
    }
    job.run().finish(PATIENCE).expect_code(0);
    job.expect_exact();
}

/// Checks that readers of the folder see nothing.
#[track_caller]
fn expect_no_rows(folder: &Path) {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let visible = names.filter(|entry| !entry.file_name().to_string_lossy().starts_with('_'));
    assert_eq!(visible.count(), 0, "no output is visible in {}", folder.display());
}
