//! A broker that dies and comes back, and signals that ask a job to stop.

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::process::Running;

use super::input::Input;
use super::job::{Job, Kind, SLOW};

#[test]
fn jobs_survive_the_death_of_their_broker_by_themselves() {
    let broker = Broker::own();
    let input = Input::write(&broker, 80_000);
    let jobs: Vec<_> = Kind::ALL
        .into_iter()
        .map(|kind| {
            Job::new(kind, &broker, &input, "broker-killed")
                .every("20ms")
                .paced(100)
        })
        .collect();
    let mut running: Vec<_> = jobs.iter().map(|job| job.run().start()).collect();
    for (job, running) in jobs.iter().zip(&mut running) {
        wait_for_epoch(job, running, 2);
    }
    broker.kill();
    broker.restart();
    for (job, running) in jobs.iter().zip(running) {
        running.wait(PATIENCE).expect_code(0);
        job.expect_exact();
    }
}

#[test]
fn a_bounded_job_stops_on_sigterm_and_says_how_to_go_on() {
    for kind in Kind::ALL {
        let job = Job::new(kind, Broker::shared(), Input::small(), "stopped")
            .every("20ms")
            .paced(SLOW);
        for (number, signal) in (1..).zip(["TERM", "INT", "TERM"]) {
            let mut running = job.run().start();
            wait_for_epoch(&job, &mut running, job.epoch() + number);
            running.signal(signal);
            let stopped = running.wait(PATIENCE).expect_code(75);
            assert!(stopped.stderr.contains("millstream: to go on: "), "{}", stopped.stderr);
        }
        let epochs = job.epoch();
        job.unleash();
        job.run().finish(PATIENCE).expect_code(0);
        assert!(job.epoch() > epochs, "the signals fell into the work, not after it");
        job.expect_exact();
    }
}

#[test]
fn an_endless_job_that_is_stopped_is_done() {
    let job = Job::new(Kind::Kafka, Broker::shared(), Input::small(), "endless").every("20ms");
    let job = job.paced(20);
    let mut running = job.run_on().start();
    wait_for_epoch(&job, &mut running, 3);
    running.signal("TERM");
    let stopped = running.wait(PATIENCE).expect_code(0);
    assert!(!stopped.stderr.contains("to go on"), "{}", stopped.stderr);

    job.unleash();
    let mut running = job.run_on().start();
    running.wait_until(PATIENCE, "all is counted", |_| job.has_committed_all().then_some(()));
    running.signal("INT");
    running.wait(PATIENCE).expect_code(0);
    job.expect_exact();
}

#[test]
fn a_second_signal_ends_a_job_that_cannot_finish_its_epoch() {
    let broker = Broker::own();
    let input = Input::write(&broker, 400_000);
    // A small queue, so that there is more to count than fits the first epochs.
    let job = Job::new(Kind::Kafka, &broker, &input, "stopped-twice").every("20ms");
    let job = job.with(&["--queue", "1MB"]);
    let mut running = job.run().start();
    wait_for_epoch(&job, &mut running, 2);
    // An epoch can't be committed by a broker that does not answer.
    broker.freeze();
    let epoch = job.epoch();
    running.signal("TERM");
    running.wait_until(PATIENCE, "it heard the signal", |running| {
        running.stderr().contains("once more to stop at once").then_some(())
    });
    running.signal("TERM");
    let stopped = running.wait(PATIENCE).expect_code(75);
    assert!(stopped.stderr.contains("stopped at once"), "{}", stopped.stderr);
    assert!(job.epoch() <= epoch + 1, "nothing was committed without the broker");
    broker.thaw();
    job.run().finish(PATIENCE).expect_code(0);
    job.expect_exact();
}

#[track_caller]
fn wait_for_epoch(job: &Job<'_>, running: &mut Running, epoch: u64) {
    running.wait_until(PATIENCE, "it makes epochs", |_| (job.epoch() >= epoch).then_some(()));
}
