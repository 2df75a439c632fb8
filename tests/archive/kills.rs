//! Replays that are killed, and go on: the folder is that of a run which was left alone.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use engine::fault::ARCHIVE_POINTS;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::parquet;
use crate::harness::records::Isolation;
use crate::harness::scratch::Scratch;
use crate::harness::seeded::Seeded;

use super::{command, content, expect_same, replay, topic_of};

/// What a process that aborts is ended by.
const SIGABRT: i32 = 6;

/// SIGKILLs of one replay.
const KILLS: u32 = 50;

/// How long after its start, or after a file, a run is killed at the latest.
const KILL_WITHIN: Duration = Duration::from_millis(250);

/// Small segments, and several files in each.
const SMALL: &[&str] = &["--segment", "1500", "--file-rows", "400"];

/// Returns the folder of a run that nothing disturbs.
#[track_caller]
fn unbroken(topic: &str, options: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let scratch = Scratch::new("unbroken");
    replay(&scratch, topic, "archive", options);
    let found = parquet::records(&scratch.join("archive"));
    assert_eq!(found, Broker::shared().consume(topic, Isolation::ReadCommitted));
    content(&scratch.join("archive"))
}

#[test]
fn a_crash_at_any_point_changes_no_byte_of_the_folder() {
    let topic = topic_of("points", 8000);
    let expected = unbroken(&topic, SMALL);
    for &point in ARCHIVE_POINTS {
        let is_once = ["archive_after_manifest", "archive_after_header"].contains(&point);
        for passing in if is_once { 1..=1 } else { 1..=4 } {
            let scratch = Scratch::new("points");
            let place = format!("{point}:{passing}");
            let run = command(&scratch, &topic, "archive", SMALL).env("MILLSTREAM_CRASH_AT", &place);
            let crashed = run.finish(PATIENCE);
            assert_eq!(crashed.status.signal(), Some(SIGABRT), "{place}: {}", crashed.stderr);
            // Whatever a reader finds is whole.
            let _ = parquet::records(&scratch.join("archive"));
            replay(&scratch, &topic, "archive", SMALL);
            expect_same(&content(&scratch.join("archive")), &expected);
        }
    }
}

#[test]
fn fifty_random_kills_change_no_byte_of_the_folder() {
    let topic = topic_of("kills", 60_000);
    let expected = unbroken(&topic, SMALL);
    let mut random = Seeded::new();
    let scratch = Scratch::new("kills");
    let archive = scratch.join("archive");
    // So slow that all kills fall into the work.
    let slow = [SMALL, &["--rate", "250KB/s"]].concat();
    for number in 0..KILLS {
        let mut running = command(&scratch, &topic, "archive", &slow).start();
        if number % 2 == 1 {
            let before = parquet::files(&archive).len();
            running.wait_until(PATIENCE, "a file", |_| {
                (parquet::files(&archive).len() > before).then_some(())
            });
        }
        random.wait_at_most(KILL_WITHIN);
        let killed = running.kill();
        assert_eq!(killed.status.code(), None, "run {number} ended: {}", killed.stderr);
    }
    let files = parquet::files(&archive).len();
    let all = expected.keys().filter(|name| name.ends_with(".parquet")).count();
    assert!(
        0 < files && files < all,
        "{files} of {all} files were left by the kills"
    );
    replay(&scratch, &topic, "archive", SMALL);
    expect_same(&content(&archive), &expected);
}

#[test]
fn a_stopped_replay_leaves_whole_files_and_the_command_that_goes_on() {
    let topic = topic_of("stopped", 20_000);
    let expected = unbroken(&topic, SMALL);
    for signal in ["INT", "TERM"] {
        let scratch = Scratch::new("stopped");
        let slow = [SMALL, &["--rate", "200KB/s"]].concat();
        let mut running = command(&scratch, &topic, "my archive", &slow).start();
        let archive = scratch.join("my archive");
        running.wait_until(PATIENCE, "a file", |_| {
            (!parquet::files(&archive).is_empty()).then_some(())
        });
        running.signal(signal);
        let stopped = running.wait(PATIENCE).expect_code(75);
        for part in [
            "millstream: to go on: ",
            "--out 'my archive'",
            "millstream: stopped; what is done is in",
        ] {
            assert!(stopped.stderr.contains(part), "{part}: {}", stopped.stderr);
        }
        let left = content(&archive);
        let names = left
            .keys()
            .filter(|name| name.contains("staging-") || name.contains("owner-"));
        assert_eq!(names.collect::<Vec<_>>(), [""; 0], "nothing is left of the run");
        replay(&scratch, &topic, "my archive", SMALL);
        expect_same(&content(&archive), &expected);
    }
}
