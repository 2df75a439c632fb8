//! The process ends at each named step of an epoch, in the first, the second and the third passing of it.

use std::os::unix::process::ExitStatusExt;

use engine::fault::POINTS;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;

use super::input::Input;
use super::job::{Job, Kind};

/// What a process that aborts is ended by.
const SIGABRT: i32 = 6;

#[test]
fn a_crash_at_any_point_doubles_and_loses_no_count_in_kafka() {
    let points = passed_by(Kind::Kafka);
    assert_eq!(
        points.len(),
        POINTS.len() - 2,
        "all but the one in a file and that of several sinks"
    );
    let job = Job::new(Kind::Kafka, Broker::shared(), Input::tiny(), "crash-points");
    let unharmed = job.run().env("MILLSTREAM_CRASH_AT", "mid_file").finish(PATIENCE);
    unharmed.expect_code(0);
    check(Kind::Kafka, &points);
}

#[test]
fn a_crash_at_any_point_doubles_and_loses_no_count_in_a_parquet_table() {
    check(Kind::Table, &passed_by(Kind::Table));
}

#[test]
fn a_crash_at_any_point_doubles_and_loses_no_change_in_parquet() {
    check(Kind::Changes, &passed_by(Kind::Changes));
}

/// Returns the points that a job of this kind passes: only those that write files pass the one in the middle of a file, and
/// none of them has several sinks.
fn passed_by(kind: Kind) -> Vec<&'static str> {
    let passes = |point: &&str| (kind != Kind::Kafka || *point != "mid_file") && *point != "between_commits";
    POINTS.iter().copied().filter(passes).collect()
}

/// Crashes a job at each point, lets the same command finish it, and compares.
#[track_caller]
fn check(kind: Kind, points: &[&str]) {
    for point in points {
        for passing in 1..=3 {
            // Batches come one by one, so that there are three epochs and more, also on a machine with other work.
            let job = Job::new(kind, Broker::shared(), Input::tiny(), "crash-points").paced(60);
            let place = format!("{point}:{passing}");
            let crashed = job.run().env("MILLSTREAM_CRASH_AT", &place).finish(PATIENCE);
            assert_eq!(
                crashed.status.signal(),
                Some(SIGABRT),
                "{kind:?} passes {place}, not: {}\n{}",
                crashed.status,
                crashed.stderr
            );
            let resumed = job.run().finish(PATIENCE);
            assert_eq!(
                resumed.status.code(),
                Some(0),
                "{kind:?} goes on after {place}, not: {}\n{}",
                resumed.status,
                resumed.stderr
            );
            job.expect_exact();
        }
    }
}
