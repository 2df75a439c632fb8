//! Three brokers, of which one dies in mid-read, comes back, and leads again, with its records or without.

use crate::harness::broker::Broker;
use crate::harness::process::{Run, Running};
use crate::harness::records::NewRecord;
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, eventually};

use super::CLIENTS;

const PARTITIONS: i32 = 6;

/// Returns the count in the last line that is whole.
fn count(running: &Running) -> Option<usize> {
    let stdout = running.stdout();
    let whole = stdout.rsplit_once('\n')?.0;
    whole.lines().last()?.strip_prefix("word\t")?.parse().ok()
}

#[test]
fn leaders_that_move_and_brokers_that_die_lose_and_repeat_nothing() {
    let (cluster, brokers) = Broker::cluster();
    let topic = cluster.new_topic("led", PARTITIONS);
    let mut counts: Vec<(Scratch, Running)> = CLIENTS
        .into_iter()
        .map(|client| {
            let scratch = Scratch::new("cluster");
            let run = Run::millstream(&scratch, "count").args(["wordcount", "-b", cluster.bootstrap(), "-t", &topic]);
            let group = Broker::unique(client);
            let run = run.args(["--client", client, "--every", "20ms", "--group", &group]);
            let running = run.start();
            (scratch, running)
        })
        .collect();
    let mut total = 0;
    let mut produce_and_wait = |what: &str| {
        for partition in 0..PARTITIONS {
            cluster.produce(&topic, partition, (0..50).map(|_| NewRecord::of("word")));
            total += 50;
        }
        for (_, running) in &mut counts {
            running.wait_until(PATIENCE, what, |run| (count(run) == Some(total)).then_some(()));
        }
    };
    produce_and_wait("all is counted");

    let led = |node: i32| {
        (0..PARTITIONS)
            .filter(|&index| cluster.leader(&topic, index) == Some(node))
            .count()
    };
    assert!(led(2) > 0, "each broker leads some partitions");
    brokers[1].kill();
    eventually(PATIENCE, "the others lead", || (led(1) + led(3) == 6).then_some(()));
    produce_and_wait("all is counted without broker 2");

    brokers[1].restart();
    eventually(PATIENCE, "broker 2 leads again", || {
        cluster.elect_preferred_leaders();
        (led(2) > 0).then_some(())
    });
    produce_and_wait("all is counted with broker 2 again");

    // Two of three go, in an orderly way and not; the last one does not lead until it is alone with all records.
    brokers[2].stop();
    produce_and_wait("all is counted without broker 3");
    for (_, running) in counts {
        running.signal("TERM");
        running.wait(PATIENCE).expect_code(0);
    }
}

#[test]
fn records_that_a_leader_without_them_replaced_end_the_job_and_are_named() {
    let (cluster, brokers) = Broker::cluster();
    let topic = Broker::unique("unclean");
    cluster.create_topic_on(&topic, &[2, 3], &[("unclean.leader.election.enable", "true")]);
    let words = |number| (0..number).map(|_| NewRecord::of("word"));
    cluster.produce(&topic, 0, words(10));
    let scratch = Scratch::new("unclean");
    let run = Run::millstream(&scratch, "count").args(["wordcount", "-b", cluster.bootstrap(), "-t", &topic]);
    let mut running = run.args(["--client", "native", "--every", "20ms"]).start();
    running.wait_until(PATIENCE, "all is counted", |run| (count(run) == Some(10)).then_some(()));

    brokers[2].kill();
    cluster.produce(&topic, 0, words(10));
    running.wait_until(PATIENCE, "the leader's are counted", |run| {
        (count(run) == Some(20)).then_some(())
    });
    brokers[1].kill();
    brokers[2].restart();
    eventually(PATIENCE, "the other leads, with half of the records", || {
        (cluster.leader(&topic, 0) == Some(3)).then_some(())
    });
    // By another producer: the first one's numbers do not fit a log without its records.
    brokers[2].produce(&topic, 0, words(30));
    let done = running.wait(PATIENCE).expect_code(6);
    assert!(
        done.stderr.contains(&format!("{topic}[0] offsets [10, 20) (replaced")),
        "{}",
        done.stderr
    );
}
