//! A million lines, and SIGKILLs at random moments until the job is done.

use std::time::Duration;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::process::Running;
use crate::harness::seeded::Seeded;

use super::input::Input;
use super::job::{Job, Kind};

/// SIGKILLs of a job under way.
const KILLS: u32 = 24;

/// How long after its start, or after an epoch, a run is killed at the latest.
const KILL_WITHIN: Duration = Duration::from_millis(400);

#[test]
fn word_counts_in_kafka_are_exact_after_random_kills() {
    check(Kind::Kafka);
}

#[test]
fn word_counts_in_a_parquet_table_are_exact_after_random_kills() {
    check(Kind::Table);
}

#[test]
fn a_replay_holds_each_record_once_after_random_kills() {
    check(Kind::Replay);
}

/// Kills a job again and again, lets it finish, and compares.
#[track_caller]
fn check(kind: Kind) {
    let mut random = Seeded::new();
    let job = Job::new(kind, Broker::shared(), Input::large(), "random-kills");
    // An archive reads one partition a thread, and so gets on faster.
    let pause_ms = if kind == Kind::Replay { 100 } else { 25 };
    let job = job.every("10ms").paced(pause_ms);
    for number in 0..KILLS {
        let was_alive = kill_at_random(&job, job.run().start(), number, &mut random);
        assert!(was_alive, "the job ended before kill {number} of {KILLS}");
    }
    let epochs = job.epoch();
    job.unleash();
    job.run().finish(PATIENCE).expect_code(0);
    assert!(job.epoch() > epochs, "the kills fell into the work, not after it");
    job.expect_exact();
    job.expect_exact_in_duckdb();
}

/// Kills a run: one half of them at any moment from the start on, the other half after it has made an epoch of its own.
/// Returns whether the run was alive until then.
#[track_caller]
fn kill_at_random(job: &Job<'_>, mut running: Running, number: u32, random: &mut Seeded) -> bool {
    if number % 2 == 1 {
        let before = job.epoch();
        running.wait_until(PATIENCE, "an epoch", |_| (job.epoch() > before).then_some(()));
    }
    random.wait_at_most(KILL_WITHIN);
    let ended = running.kill();
    assert!(
        matches!(ended.status.code(), None | Some(0)),
        "a run failed by itself: {}\n{}",
        ended.status,
        ended.stderr
    );
    ended.status.code().is_none()
}
