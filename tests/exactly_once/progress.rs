//! What others see of a job's progress, and what may change between its runs.

use crate::harness::broker::Broker;
use crate::harness::{PATIENCE, eventually};

use super::input::{self, Input, PARTITIONS};
use super::job::{Job, Kind, SLOW};

#[test]
fn kafkas_own_tool_shows_no_lag_after_a_finished_run() {
    // An archive commits no offsets.
    for kind in [Kind::Kafka, Kind::Table, Kind::Changes] {
        let job = Job::new(kind, Broker::shared(), Input::small(), "lag");
        job.run().finish(PATIENCE).expect_code(0);
        expect_no_lag(&job);
    }
}

#[test]
fn kafkas_own_tool_shows_no_lag_after_a_finished_run_to_the_console() {
    let job = Job::new(Kind::Console, Broker::shared(), Input::small(), "lag-console");
    let ended = job.run().finish(PATIENCE).expect_code(0);
    assert!(!ended.stdout.is_empty(), "counts are put out");
    expect_no_lag(&job);
}

#[test]
fn partitions_that_are_added_are_counted_while_a_job_runs_and_between_its_runs() {
    let broker = Broker::shared();
    let input = Input::write(broker, 4_000);
    let job = Job::new(Kind::Kafka, broker, &input, "added");
    let mut expected = input.counts().clone();
    let mut running = job.run_on().start();
    for partition in PARTITIONS..PARTITIONS + 2 {
        running.wait_until(PATIENCE, "all is counted", |_| job.has_committed_all().then_some(()));
        if partition > PARTITIONS {
            running.signal("TERM");
            running.wait(PATIENCE).expect_code(0);
            add_partition(&job, partition, &mut expected);
            running = job.run_on().start();
        } else {
            add_partition(&job, partition, &mut expected);
        }
    }
    running.wait_until(PATIENCE, "all is counted", |_| job.has_committed_all().then_some(()));
    running.signal("TERM");
    running.wait(PATIENCE).expect_code(0);
    job.expect_counts(&expected);
}

#[test]
fn the_number_of_threads_may_change_from_run_to_run() {
    for kind in [Kind::Kafka, Kind::Table] {
        let job = Job::new(kind, Broker::shared(), Input::small(), "threads")
            .every("20ms")
            .paced(SLOW);
        for threads in ["1", "2", "3"] {
            let mut running = job.run().args(["--threads", threads]).start();
            let before = job.epoch();
            running.wait_until(PATIENCE, "epochs", |_| (job.epoch() > before + 1).then_some(()));
            running.signal("TERM");
            running.wait(PATIENCE).expect_code(75);
        }
        job.unleash();
        job.run().args(["--threads", "1"]).finish(PATIENCE).expect_code(0);
        job.expect_exact();
    }
}

/// Adds a partition with some lines to the topic of a job, and their words to what is expected.
#[track_caller]
fn add_partition(job: &Job<'_>, partition: u64, expected: &mut input::Counts) {
    let (broker, topic) = (job.broker, &job.input.topic);
    let count = usize::try_from(partition + 1).expect("few partitions");
    broker.extend_topic(topic, count);
    eventually(PATIENCE, "the new partition is known", || {
        (broker.bounds(topic).len() == count).then_some(())
    });
    let lines: Vec<_> = (0..100)
        .map(|number| input::line(partition * 1_000_000 + number))
        .collect();
    input::produce(broker, topic, lines.iter().map(|line| (partition, line.clone())));
    for (word, count) in input::count(lines) {
        *expected.entry(word).or_insert(0) += count;
    }
}

#[track_caller]
fn expect_no_lag(job: &Job<'_>) {
    let lags = job.broker.describe_group(&job.group);
    let records = i64::try_from(job.input.records_per_partition()).expect("an offset");
    let shown: Vec<_> = lags
        .iter()
        .map(|lag| (lag.topic.as_str(), lag.partition, lag.committed, lag.end, lag.lag))
        .collect();
    let expected: Vec<_> = (0..)
        .take(usize::try_from(PARTITIONS).expect("few partitions"))
        .map(|partition| {
            (
                job.input.topic.as_str(),
                partition,
                Some(records),
                Some(records),
                Some(0),
            )
        })
        .collect();
    assert_eq!(shown, expected, "{:?}", job.kind);
}
