//! Reading from brokers that move, break and misbehave.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Once, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use crossbeam_channel as channel;
use engine::Error;
use engine::position::Partition;
use engine::queue::Receiver;
use engine::source::{Event, Intake};

use super::super::super::cluster;
use super::super::super::config::Connection;
use super::super::super::lane::{Assignment, Shared};
use super::super::super::options::{Client, SourceOptions};
use super::super::fake::{Act, Cluster, TOPIC};
use super::super::{Native, NativeReader, ReaderNetwork};

const SOON: Duration = Duration::from_secs(30);

/// A native reader of all partitions of a fake cluster.
struct Reading {
    shared: Arc<Shared>,
    network: ReaderNetwork,
    events: Receiver<Event>,
    thread: JoinHandle<()>,
    /// The values read of each partition, and the position behind them.
    read: BTreeMap<i32, Vec<String>>,
    positions: BTreeMap<i32, i64>,
    ended: usize,
}

impl Reading {
    /// Starts to read, up to `end` if there is one.
    fn start(cluster: &Cluster, end: Option<i64>, settings: &[(&str, &str)]) -> Self {
        let mut connection = Connection::new(cluster.bootstrap());
        let backoff = [("reconnect.backoff.ms", "1"), ("reconnect.backoff.max.ms", "20")];
        for (name, value) in backoff.iter().chain(settings) {
            connection.set(name, (*value).to_owned()).expect("not Millstream's own");
        }
        let mut options = SourceOptions::new(connection.clone(), vec![TOPIC.into()], "g");
        options.client = Client::Native;
        let shared = Arc::new(Shared {
            schema: options.schema(),
            options,
            // Nothing here asks for what only librdkafka can tell.
            cluster: cluster::Cluster::new(&Connection::new("127.0.0.1:1"), "g", true).expect("valid settings"),
            stopping: AtomicBool::new(false),
            offsets_lost: AtomicU64::new(0),
            topic_ids: OnceLock::new(),
            fallback: Once::new(),
        });
        let network = Native::new(&connection)
            .expect("known settings")
            .network()
            .expect("no TLS");
        let (intake, events) = Intake::new(1 << 20);
        let indices: Vec<i32> = cluster.state().logs.keys().copied().collect();
        let assignment = |index: &i32| Assignment {
            partition: Partition::new(TOPIC, *index),
            position: 0,
            end,
        };
        let assignments = indices.iter().map(assignment).collect();
        let (_, added) = channel::unbounded();
        let reader = NativeReader::new(
            network.clone(),
            Arc::clone(&shared),
            assignments,
            intake,
            added,
            end.is_none(),
        );
        Self {
            shared,
            network,
            events,
            thread: thread::spawn(move || reader.run()),
            read: BTreeMap::new(),
            positions: indices.into_iter().map(|index| (index, 0)).collect(),
            ended: 0,
        }
    }

    /// Takes events until `is_enough` of what was read; returns the error if there is one before.
    #[track_caller]
    fn until(&mut self, is_enough: impl Fn(&Self) -> bool) -> Result<(), Error> {
        let deadline = Instant::now() + SOON;
        while !is_enough(self) {
            assert!(Instant::now() < deadline, "it is read soon: {:?}", self.read);
            let Some((event, _permit)) = self.events.receive(Duration::from_millis(10)) else {
                continue;
            };
            match event {
                Event::Batch(batch) => {
                    let origin = batch.origin().expect("a source's batch has one");
                    let position = self
                        .positions
                        .get_mut(&origin.partition.index)
                        .expect("it was assigned");
                    assert_eq!(*position, origin.offsets.from, "batches follow each other");
                    *position = origin.offsets.to;
                    let column = batch.column(0).to_array();
                    let values = column.as_binary::<i32>().iter().flatten();
                    let values = values.map(|value| String::from_utf8_lossy(value).into_owned());
                    self.read.entry(origin.partition.index).or_default().extend(values);
                }
                Event::Advanced { partition, position } => drop(self.positions.insert(partition.index, position)),
                Event::Ended { .. } => self.ended += 1,
                Event::Failed(error) => return Err(error),
                event @ (Event::Added { .. } | Event::Latest { .. }) => panic!("{event:?} is for the watcher to say"),
            }
        }
        Ok(())
    }

    #[track_caller]
    fn until_ended(&mut self) {
        let partitions = self.positions.len();
        self.until(|reading| reading.ended == partitions)
            .expect("nothing fails");
    }

    #[track_caller]
    fn until_read(&mut self, partition: i32, values: &[&str]) {
        self.until(|reading| reading.read.get(&partition).is_some_and(|read| read == values))
            .expect("nothing fails");
    }

    #[track_caller]
    fn until_failed(&mut self) -> String {
        self.until(|_| false).expect_err("it fails").to_string()
    }

    /// Stops as a source does.
    fn stop(self) {
        self.shared.stopping.store(true, std::sync::atomic::Ordering::Relaxed);
        self.events.close();
        self.network.close();
        self.thread.join().expect("the reader ends");
    }
}

#[test]
fn each_partition_is_read_from_its_leader_to_its_end() {
    let cluster = Cluster::start(2);
    cluster.append(0, &["a", "b", "c"]);
    cluster.append(1, &["d", "e"]);
    let mut reading = Reading::start(&cluster, Some(2), &[]);
    reading.until_ended();
    assert_eq!(reading.read[&0], ["a", "b"]);
    assert_eq!(reading.read[&1], ["d", "e"]);
    assert_eq!(reading.positions, [(0, 2), (1, 2)].into());
    assert!(
        cluster
            .state()
            .seen
            .iter()
            .all(|seen| seen.wanted.contains_key(&seen.node))
    );
    reading.stop();
}

#[test]
fn every_version_of_a_fetch_reads_the_same() {
    for newest in 10..=16 {
        let cluster = Cluster::start(1);
        cluster.state().versions = vec![(1, 4, newest), (3, 0, newest - 3), (18, 0, 3)];
        cluster.append(0, &["a", "b"]);
        let mut reading = Reading::start(&cluster, Some(2), &[]);
        reading.until_ended();
        assert_eq!(reading.read[&0], ["a", "b"]);
        // Without a topic's id, it can only be named.
        let expected = if newest - 3 >= 10 { newest } else { newest.min(12) };
        assert_eq!(cluster.state().seen[0].version, expected);
        reading.stop();
    }
}

#[test]
fn what_comes_later_is_read_and_a_waiting_reader_stops_at_once() {
    let cluster = Cluster::start(1);
    let mut reading = Reading::start(&cluster, None, &[("fetch.wait.max.ms", "60000")]);
    cluster.append(0, &["a"]);
    reading.until_read(0, &["a"]);
    cluster.append(0, &["b"]);
    reading.until_read(0, &["a", "b"]);
    let seen = cluster.state().seen.clone();
    let pause = seen[1].at - seen[0].at;
    assert!(
        pause >= Duration::from_millis(5),
        "several records may come together: {pause:?}"
    );
    reading.stop();
}

#[test]
fn a_leader_that_moves_in_mid_read_is_followed() {
    let cluster = Cluster::start(2);
    cluster.append(0, &["a"]);
    let mut reading = Reading::start(&cluster, None, &[]);
    reading.until_read(0, &["a"]);
    for (leader, epoch, value) in [(1, 2, "b"), (0, 3, "c"), (1, 4, "d")] {
        cluster.change(|state| {
            let log = state.log(0);
            (log.leader, log.epoch) = (leader, epoch);
        });
        cluster.append(0, &[value]);
        let expected: Vec<&str> = ["a", "b", "c", "d"][..epoch as usize].to_vec();
        reading.until_read(0, &expected);
    }
    reading.stop();
}

#[test]
fn a_new_epoch_of_the_same_leader_is_learned() {
    let cluster = Cluster::start(1);
    cluster.append(0, &["a"]);
    let mut reading = Reading::start(&cluster, None, &[]);
    reading.until_read(0, &["a"]);
    cluster.change(|state| state.log(0).epoch = 9);
    cluster.append(0, &["b"]);
    reading.until_read(0, &["a", "b"]);
    reading.stop();
}

#[test]
fn broken_connections_and_garbage_lose_and_repeat_nothing() {
    let cluster = Cluster::start(1);
    let huge = [&i32::MAX.to_be_bytes()[..], &[0xff; 64]].concat();
    let negative = vec![0xff; 64];
    let wrong_answer = [&64_i32.to_be_bytes()[..], &[9; 64]].concat();
    let mut expected = Vec::new();
    let mut reading = Reading::start(&cluster, None, &[]);
    let values: Vec<String> = (0..6).map(|value| value.to_string()).collect();
    let acts = [
        Act::Break,
        Act::Garbage(huge),
        Act::Garbage(negative),
        Act::Garbage(wrong_answer),
        Act::Garbage(vec![]),
        Act::Error(56),
    ];
    for (value, act) in values.iter().zip(acts) {
        cluster.change(|state| state.acts.push_back((0, act)));
        cluster.append(0, &[value]);
        expected.push(value.as_str());
        reading.until_read(0, &expected);
    }
    reading.stop();
}

#[test]
fn brokers_that_are_away_are_waited_for() {
    let cluster = Cluster::start(2);
    cluster.append(0, &["a"]);
    let mut reading = Reading::start(&cluster, None, &[]);
    reading.until_read(0, &["a"]);
    cluster.change(|state| state.away = vec![0, 1]);
    cluster.disconnect(0);
    cluster.disconnect(1);
    cluster.append(0, &["b"]);
    cluster.append(1, &["c"]);
    // They come back when somebody has knocked in vain for a while.
    let deadline = Instant::now() + SOON;
    while cluster.state().knocks < 10 {
        assert!(Instant::now() < deadline, "the reader tries again");
        thread::yield_now();
    }
    cluster.change(|state| state.away.clear());
    reading.until_read(1, &["c"]);
    reading.until_read(0, &["a", "b"]);
    reading.stop();
}

#[test]
fn a_refusal_ends_the_job_and_names_the_partition() {
    let cluster = Cluster::start(1);
    cluster.change(|state| state.acts.push_back((0, Act::Error(29))));
    let mut reading = Reading::start(&cluster, None, &[]);
    let error = reading.until_failed();
    assert!(
        error.contains("cannot connect") && error.contains("refused to read access[0]"),
        "{error}"
    );
    reading.stop();
}

#[test]
fn a_leader_with_other_records_at_offsets_that_were_read_ends_the_job() {
    let cluster = Cluster::start(1);
    cluster.append(0, &["a", "b"]);
    cluster.append(0, &["c"]);
    let mut reading = Reading::start(&cluster, None, &[]);
    reading.until_read(0, &["a", "b", "c"]);
    cluster.change(|state| state.acts.push_back((0, Act::Part(1))));
    cluster.append(0, &["d"]);
    let error = reading.until_failed();
    assert!(error.contains("access[0] offsets [1, 3) (replaced"), "{error}");
    reading.stop();
}

#[test]
fn a_topic_that_was_made_anew_ends_the_job() {
    let cluster = Cluster::start(1);
    cluster.append(0, &["a"]);
    let mut reading = Reading::start(&cluster, None, &[]);
    reading.until_read(0, &["a"]);
    cluster.change(|state| state.topic_id = [8; 16]);
    let error = reading.until_failed();
    assert!(
        error.contains("deleted and created again") && error.contains("its id was BwcHBwcHBwcHBwcHBwcHBw"),
        "{error}"
    );
    reading.stop();
}

#[test]
fn the_broker_is_left_alone_for_as_long_as_it_wants() {
    let cluster = Cluster::start(1);
    let throttle = Duration::from_millis(300);
    cluster.change(|state| state.acts.push_back((0, Act::Throttle(throttle))));
    cluster.append(0, &["a"]);
    let mut reading = Reading::start(&cluster, None, &[]);
    reading.until_read(0, &["a"]);
    cluster.append(0, &["b"]);
    reading.until_read(0, &["a", "b"]);
    let seen = cluster.state().seen.clone();
    assert!(seen[1].at - seen[0].at >= throttle);
    reading.stop();
}

#[test]
fn the_nearest_replica_is_read_where_the_leader_says_so() {
    let cluster = Cluster::start(2);
    cluster.change(|state| {
        state.logs.remove(&1);
        state.acts.push_back((0, Act::Prefer(1)));
    });
    cluster.append(0, &["a"]);
    let mut reading = Reading::start(&cluster, Some(1), &[("client.rack", "here")]);
    reading.until_ended();
    assert_eq!(reading.read[&0], ["a"]);
    let nodes: Vec<i32> = cluster.state().seen.iter().map(|seen| seen.node).collect();
    assert_eq!(nodes, [0, 1]);
    reading.stop();
}

#[test]
fn a_batch_larger_than_a_fetch_is_asked_for_whole() {
    let cluster = Cluster::start(1);
    let large = "x".repeat(5000);
    cluster.append(0, &["a"]);
    cluster.append(0, &[&large]);
    cluster.append(0, &["b"]);
    let mut reading = Reading::start(&cluster, Some(3), &[("max.partition.fetch.bytes", "200")]);
    reading.until_ended();
    assert_eq!(reading.read[&0], ["a", &large, "b"]);
    let asked: Vec<i32> = cluster.state().seen.iter().map(|seen| seen.wanted[&0].1).collect();
    assert!(asked[0] == 200 && asked.iter().any(|bytes| *bytes > 5000), "{asked:?}");
    assert_eq!(asked.last(), Some(&200), "the usual size is enough again");
    reading.stop();
}

#[test]
fn damage_is_an_error_with_its_place() {
    let cluster = Cluster::start(1);
    cluster.append(0, &["a"]);
    let mut damaged = super::super::testing::TestBatch::of_values(1, &["b"]).encode();
    *damaged.last_mut().expect("a batch has bytes") ^= 1;
    cluster.append_raw(0, 1, damaged);
    let mut reading = Reading::start(&cluster, None, &[]);
    let error = reading.until_failed();
    assert!(
        error.contains("access[0] at offset 1") && error.contains("checksum"),
        "{error}"
    );
    assert_eq!(reading.read[&0], ["a"], "what came before it is read");
    reading.stop();
}

#[test]
fn what_can_not_be_read_natively_is_named() {
    let cluster = Cluster::start(1);
    cluster.change(|state| state.versions = vec![(1, 0, 9), (3, 0, 12), (18, 0, 3)]);
    let error = Reading::start(&cluster, None, &[]).until_failed();
    assert!(
        error.contains("Fetch in the versions 0 to 9") && error.contains("the client `auto`"),
        "{error}"
    );
    let cluster = Cluster::start(1);
    let mut old = super::super::testing::TestBatch::of_values(0, &["a"]).encode();
    old[16] = 1;
    cluster.append_raw(0, 1, old);
    let error = Reading::start(&cluster, None, &[]).until_failed();
    assert!(
        error.contains("log.message.format.version") && error.contains("access[0]"),
        "{error}"
    );
}
