//! Two processes of one job: the second is refused while the first one lives, and replaces one that is frozen, which
//! finds itself fenced when it wakes up.

use std::time::Duration;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::process::Running;
use crate::harness::seeded::Seeded;

use super::input::Input;
use super::job::{Job, Kind, SLOW};

/// How long after its second epoch a run is frozen at the latest: a small part of its time.
const FREEZE_WITHIN: Duration = Duration::from_millis(100);

#[test]
fn a_frozen_job_is_replaced_and_changes_nothing_in_kafka_when_it_wakes_up() {
    check_zombie(Kind::Kafka);
}

#[test]
fn a_frozen_job_is_replaced_and_changes_nothing_in_a_parquet_table_when_it_wakes_up() {
    check_zombie(Kind::Table);
}

#[test]
fn a_frozen_job_is_replaced_and_changes_nothing_in_parquet_changes_when_it_wakes_up() {
    check_zombie(Kind::Changes);
}

#[test]
fn a_frozen_job_is_replaced_and_changes_nothing_in_a_replay_when_it_wakes_up() {
    check_zombie(Kind::Replay);
}

#[test]
fn a_second_process_is_refused_with_the_pid_of_the_first() {
    for kind in [Kind::Kafka, Kind::Table, Kind::Replay] {
        let job = Job::new(kind, Broker::shared(), Input::small(), "refused").paced(SLOW);
        let first = start_and_wait_for_epochs(&job);
        let second = job.run().finish(PATIENCE).expect_code(75);
        let held = if kind == Kind::Replay { "out" } else { "checkpoint" };
        let says = format!("{held} is in use by process {}: stop it first", first.pid());
        assert!(second.stderr.contains(&says), "{}", second.stderr);
        first.signal("TERM");
        first.wait(PATIENCE).expect_code(75);
        job.unleash();
        job.run().finish(PATIENCE).expect_code(0);
        job.expect_exact();
    }
}

/// Freezes a run, lets a second one do the work, wakes the first up, and compares what readers see before and after.
#[track_caller]
fn check_zombie(kind: Kind) {
    let mut random = Seeded::new();
    let job = Job::new(kind, Broker::shared(), Input::small(), "zombie").paced(SLOW);
    let first = start_and_wait_for_epochs(&job);
    random.wait_at_most(FREEZE_WITHIN);
    first.signal("STOP");
    job.unleash();
    job.run().finish(PATIENCE).expect_code(0);
    job.expect_exact();
    let before = job.snapshot();

    first.signal("CONT");
    let woken = first.wait(PATIENCE).expect_code(75);
    assert!(
        woken.stderr.contains("fenced: another process took over"),
        "{}",
        woken.stderr
    );
    assert!(
        job.snapshot() == before,
        "the output is what it was before the first process woke up"
    );
    // Nor did it spoil the checkpoint: there is nothing left to do.
    job.run().finish(PATIENCE).expect_code(0);
    assert!(job.snapshot() == before, "a further run has nothing to add");
    job.expect_exact_in_duckdb();
}

/// Starts a run and waits until it is in the middle of its work.
#[track_caller]
fn start_and_wait_for_epochs(job: &Job<'_>) -> Running {
    let mut running = job.run().start();
    running.wait_until(PATIENCE, "two epochs", |_| (job.epoch() >= 2).then_some(()));
    running
}
