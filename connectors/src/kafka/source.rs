//! The Kafka source: partitions of topics as Arrow batches.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use crossbeam_channel::{self as channel, Sender};
use engine::position::{Partition, Positions};
use engine::source::{Intake, Source, SourceState};
use engine::{Error, Result};

use super::bounds;
use super::cluster::{Cluster, PATIENCE, Survey};
use super::lane::{Assignment, Shared};
use super::options::{Client, SourceOptions};
use super::pattern::TopicPattern;
use super::reader::Reader;
use super::watcher::Watcher;
use super::wire::{Native, NativeReader, ReaderNetwork};

/// How long the last offset commit may take: a cluster without groups first makes the topic of their offsets.
const LAST_COMMIT_DEADLINE: Duration = Duration::from_secs(10);

/// Reads topics. Partitions are assigned, never subscribed to: the group only keeps the offsets.
///
/// `open` makes a client of librdkafka for questions, which later commits the offsets and watches the topics; `start`
/// makes the readers, native or on librdkafka, each with connections of its own. A reader survives brokers that go away;
/// it ends when they refuse it.
pub struct KafkaSource {
    options: SourceOptions,
    pattern: Option<TopicPattern>,
    schema: SchemaRef,
    shared: Option<Arc<Shared>>,
    threads: Vec<JoinHandle<()>>,
    /// The native readers' connections, to wake who waits there.
    networks: Vec<ReaderNetwork>,
    /// Dropped to stop the watcher.
    watching: Option<Sender<()>>,
    /// What was acknowledged last.
    acknowledged: Positions,
}

impl KafkaSource {
    /// Returns a source; nothing is connected yet.
    ///
    /// # Errors
    /// When the options contradict each other, or the topics' pattern is none.
    pub fn new(options: SourceOptions) -> Result<Self> {
        options.check()?;
        let pattern = options.topic_pattern.as_deref().map(TopicPattern::new);
        Ok(Self {
            pattern: pattern.transpose()?,
            schema: options.schema(),
            options,
            shared: None,
            threads: Vec::new(),
            networks: Vec::new(),
            watching: None,
            acknowledged: Positions::default(),
        })
    }

    /// Returns the topics that are read: those of the options, or all that match their pattern now. This asks the brokers,
    /// and can be done before the source is opened.
    ///
    /// # Errors
    /// When the brokers can't be reached, or no topic matches.
    pub fn topics(&self) -> Result<Vec<String>> {
        let options = &self.options;
        match &self.pattern {
            None => Ok(options.topics.clone()),
            Some(_) => self.chosen(&Cluster::new(
                &options.connection,
                &options.group,
                options.read_committed,
            )?),
        }
    }

    fn chosen(&self, cluster: &Cluster) -> Result<Vec<String>> {
        chosen(&self.options, self.pattern.as_ref(), cluster)
    }

    /// Returns what is read, for messages.
    fn input(&self) -> String {
        match &self.options.topic_pattern {
            Some(pattern) => format!("topics like {pattern}"),
            None => format!("topic {}", self.options.topics.join(", ")),
        }
    }

    /// Returns how many offsets were skipped in this run because their records are gone.
    pub fn offsets_lost(&self) -> u64 {
        let lost = |shared: &Arc<Shared>| shared.offsets_lost.load(Ordering::Relaxed);
        self.shared.as_ref().map_or(0, lost)
    }

    fn shared(&self) -> Result<&Arc<Shared>> {
        let unopened = || Error::Invalid("the Kafka source is used before it is opened".to_owned());
        self.shared.as_ref().ok_or_else(unopened)
    }

    fn spawn(&mut self, name: String, body: impl FnOnce() + Send + 'static) -> Result<()> {
        let spawned = thread::Builder::new().name(name).spawn(body);
        let thread = spawned.map_err(|error| Error::Source {
            input: self.input(),
            problem: format!("no thread for it: {error}"),
        })?;
        self.threads.push(thread);
        Ok(())
    }

    fn start_readers(&mut self, state: &SourceState, intake: &Intake) -> Result<Vec<Sender<Assignment>>> {
        let shared = Arc::clone(self.shared()?);
        let follows = state.ends.is_none();
        let native = native(&shared);
        let mut senders = Vec::new();
        for (number, share) in shares(state, self.options.readers, follows).into_iter().enumerate() {
            let (sender, added) = channel::unbounded();
            let (shared, intake, name) = (Arc::clone(&shared), intake.clone(), format!("kafka-reader-{number}"));
            if let Some(native) = &native {
                let network = native.network()?;
                self.networks.push(network.clone());
                let reader = NativeReader::new(network, shared, share, intake, added, follows);
                self.spawn(name, move || reader.run())?;
            } else {
                let reader = Reader::new(shared, share, intake, added, follows)?;
                self.spawn(name, move || reader.run())?;
            }
            senders.push(sender);
        }
        Ok(senders)
    }
}

impl Source for KafkaSource {
    fn describe(&self) -> String {
        let columns: Vec<_> = self.options.columns.iter().map(|column| column.name()).collect();
        let isolation = if self.options.read_committed {
            "read_committed"
        } else {
            "read_uncommitted"
        };
        let topics = match &self.options.topic_pattern {
            Some(pattern) => format!("topic_pattern={pattern}"),
            None => format!("topics={}", self.options.topics.join(",")),
        };
        format!("kafka {topics} columns={} isolation={isolation}", columns.join(","))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn open(&mut self, resume: Option<&SourceState>) -> Result<SourceState> {
        let options = &self.options;
        let cluster = Cluster::new(&options.connection, &options.group, options.read_committed)?;
        let topics = self.chosen(&cluster)?;
        let mut survey = cluster.survey(&topics)?;
        let state = match resume {
            None => bounds::fresh(options, &survey, &cluster)?,
            Some(recorded) => {
                lift_ends(options, &mut survey, recorded)?;
                bounds::resumed(options, &survey, &cluster, recorded)?
            }
        };
        self.shared = Some(Arc::new(Shared {
            options: SourceOptions {
                topics,
                ..self.options.clone()
            },
            schema: Arc::clone(&self.schema),
            cluster,
            stopping: AtomicBool::new(false),
            offsets_lost: AtomicU64::new(0),
            topic_ids: bounds::recorded_ids(&state).into(),
            fallback: Once::new(),
        }));
        Ok(state)
    }

    fn start(&mut self, state: &SourceState, intake: Intake) -> Result<()> {
        let readers = self.start_readers(state, &intake)?;
        let (watching, stop) = channel::bounded(0);
        self.watching = Some(watching);
        let watcher = Watcher {
            topics: self.shared()?.options.topics.clone(),
            pattern: self.pattern.clone(),
            shared: Arc::clone(self.shared()?),
            intake,
            ids: bounds::recorded_ids(state),
            known: state.positions.0.keys().cloned().collect(),
            readers: if state.ends.is_none() { readers } else { Vec::new() },
            stop,
        };
        self.spawn("kafka-watcher".to_owned(), move || watcher.run())
    }

    fn acknowledge(&mut self, positions: &Positions) -> Result<()> {
        if !self.options.commits {
            return Ok(());
        }
        let moved = |entry: &(&Partition, &i64)| self.acknowledged.get(entry.0) != Some(*entry.1);
        let changed: BTreeMap<_, _> = positions
            .0
            .iter()
            .filter(moved)
            .map(|(p, &at)| (p.clone(), at))
            .collect();
        if !changed.is_empty() {
            self.shared()?.cluster.commit(&Positions(changed))?;
            self.acknowledged = positions.clone();
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.watching = None;
        let Some(shared) = self.shared.clone() else {
            return;
        };
        shared.stopping.store(true, Ordering::Relaxed);
        self.networks.drain(..).for_each(|network| network.close());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a Kafka reader thread panicked");
            }
        }
        let acknowledged = std::mem::take(&mut self.acknowledged);
        commit_last(&shared, &acknowledged);
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns the topics of the options, or all that match their pattern now.
///
/// # Errors
/// When the brokers can't be reached, or no topic matches.
pub(super) fn chosen(
    options: &SourceOptions,
    pattern: Option<&TopicPattern>,
    cluster: &Cluster,
) -> Result<Vec<String>> {
    match pattern {
        None => Ok(options.topics.clone()),
        Some(pattern) => pattern.choose(cluster.topic_names(PATIENCE)?, cluster.brokers()),
    }
}

/// Waits until the group's offsets are committed, and says so if they can't be.
pub(super) fn commit_last(shared: &Shared, acknowledged: &Positions) {
    if !acknowledged.0.is_empty() && !shared.cluster.commit_last(acknowledged, LAST_COMMIT_DEADLINE) {
        let group = &shared.options.group;
        tracing::warn!(
            group,
            "the group's offsets were not committed; the output is whole, only lag tools differ"
        );
    }
}

/// Returns the native client, if it reads.
pub(super) fn native(shared: &Shared) -> Option<Native> {
    if shared.options.client == Client::Librdkafka {
        return None;
    }
    let native = Native::new(&shared.options.connection);
    native.inspect_err(|reason| shared.say_librdkafka_reads(reason)).ok()
}

/// Lifts the ends of partitions whose last stable offset is before a recorded position: an open transaction holds
/// that back, and says nothing about loss.
///
/// # Errors
/// When the brokers do not answer.
pub(super) fn lift_ends(options: &SourceOptions, survey: &mut Survey, recorded: &SourceState) -> Result<()> {
    let beyond = |partition: &Partition, high: i64| {
        let end = recorded.ends.as_ref().and_then(|ends| ends.get(partition));
        recorded
            .positions
            .get(partition)
            .max(end)
            .is_some_and(|offset| offset > high)
    };
    let mut spans = survey.spans.iter_mut();
    let held: BTreeMap<_, _> = spans
        .by_ref()
        .filter(|(partition, span)| beyond(partition, span.high))
        .collect();
    if held.is_empty() || !options.read_committed {
        return Ok(());
    }
    let partitions: Vec<Partition> = held.keys().map(|&partition| partition.clone()).collect();
    let all = Cluster::new(&options.connection, &options.group, false)?;
    let lifted = all.spans(&partitions, PATIENCE)?;
    for (partition, span) in held {
        span.high = lifted.get(partition).map_or(span.high, |lifted| lifted.high);
    }
    Ok(())
}

/// Splits the partitions between the readers. A bounded job has no reader without partitions; one that takes new
/// partitions keeps at least one.
fn shares(state: &SourceState, readers: usize, follows: bool) -> Vec<Vec<Assignment>> {
    let mut shares = vec![Vec::new(); readers.min(state.positions.0.len().max(usize::from(follows)))];
    for (number, (partition, &position)) in state.positions.0.iter().enumerate() {
        let end = state.ends.as_ref().and_then(|ends| ends.get(partition));
        let count = shares.len();
        shares[number % count].push(Assignment {
            partition: partition.clone(),
            position,
            end,
        });
    }
    shares
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use engine::queue::Receiver;
    use engine::source::Event;
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
    use rdkafka::types::RDKafkaApiKey;

    use super::super::config::Connection;
    use super::super::options::{KafkaColumn, Start};
    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    /// An in-process broker with a topic `access` of two partitions.
    struct Broker(MockCluster<'static, DefaultProducerContext>);

    impl Broker {
        fn new() -> Self {
            let cluster = MockCluster::new(1).expect("a mock broker");
            cluster.create_topic("access", 2, 1).expect("a topic");
            Self(cluster)
        }

        /// Produces `count` numbered lines to each partition.
        fn produce(&self, count: usize) {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", self.0.bootstrap_servers());
            let producer: BaseProducer = config.create().expect("a producer");
            for line in 0..count {
                let line = line.to_string();
                for partition in 0..2 {
                    let record = BaseRecord::<(), str>::to("access").partition(partition).payload(&line);
                    producer.send(record).expect("room in the producer's queue");
                }
            }
            producer.flush(SOON).expect("the mock broker takes all");
        }

        fn options(&self) -> SourceOptions {
            let connection = Connection::new(self.0.bootstrap_servers());
            let mut options = SourceOptions::new(connection, vec!["access".into()], "g");
            options.columns = vec![KafkaColumn::Offset, KafkaColumn::Value];
            options.batch_rows_max = 7;
            options
        }

        fn bounded(&self, readers: usize) -> KafkaSource {
            let mut options = self.options();
            options.to = Some("latest".parse().expect("an end"));
            options.readers = readers;
            KafkaSource::new(options).expect("valid options")
        }
    }

    /// Takes events until `state`'s partitions have all ended; returns the offsets that were read.
    fn read_all(receiver: &Receiver<Event>, state: &mut SourceState) -> BTreeMap<Partition, Vec<i64>> {
        let deadline = Instant::now() + SOON;
        let mut read: BTreeMap<Partition, Vec<i64>> = BTreeMap::new();
        let mut open = state.ends.as_ref().expect("a bounded run").0.len();
        while open > 0 {
            assert!(Instant::now() < deadline, "the run ends");
            let Some((event, _permit)) = receiver.receive(Duration::from_millis(100)) else {
                continue;
            };
            match event {
                Event::Batch(batch) => {
                    let origin = batch.origin().expect("a source's batch has an origin").clone();
                    let from = state.positions.get(&origin.partition);
                    assert_eq!(
                        from,
                        Some(origin.offsets.from),
                        "a batch starts where the one before ended"
                    );
                    state.positions.advance(&origin.partition, origin.offsets.to);
                    let offsets = batch.column(0).to_array();
                    let offsets = offsets.as_primitive::<Int64Type>().values().to_vec();
                    assert!(offsets.len() <= 7, "batches keep to their limit");
                    let lines = batch.column(1).to_array();
                    let lines = lines
                        .as_binary::<i32>()
                        .iter()
                        .map(|line| line.expect("no tombstone").to_vec());
                    let expected = offsets.iter().map(|offset| offset.to_string().into_bytes());
                    assert!(lines.eq(expected), "line and offset belong together");
                    read.entry(origin.partition).or_default().extend(offsets);
                }
                Event::Ended { .. } => open -= 1,
                Event::Advanced { partition, position } => state.positions.advance(&partition, position),
                Event::Latest { ends } => assert!(ends.0.keys().eq(state.positions.0.keys()), "{ends:?}"),
                event => panic!("{event:?} is not expected"),
            }
        }
        read
    }

    #[track_caller]
    fn check_bounded_run(readers: usize) {
        for client in [Client::Native, Client::Librdkafka] {
            let broker = Broker::new();
            broker.produce(100);
            let mut source = broker.bounded(readers);
            source.options.client = client;
            check_run(&broker, source);
        }
    }

    /// Reads what is there by now.
    #[track_caller]
    fn check_run(broker: &Broker, mut source: KafkaSource) {
        let mut state = source.open(None).expect("the topic is there");
        broker.produce(5);
        let (intake, receiver) = Intake::new(1 << 20);
        source.start(&state, intake).expect("readers start");
        let read = read_all(&receiver, &mut state);
        assert_eq!(read.len(), 2);
        assert!(read.values().all(|offsets| offsets.iter().copied().eq(0..100)));
        assert_eq!(Some(&state.positions), state.ends.as_ref());
        source.stop();
    }

    #[test]
    fn a_bounded_run_reads_each_record_once_and_in_order_up_to_its_end() {
        check_bounded_run(1);
    }

    #[test]
    fn readers_split_the_partitions() {
        check_bounded_run(3);
    }

    #[test]
    fn brokers_that_are_too_old_for_the_native_client_are_read_by_librdkafka() {
        let broker = Broker::new();
        let newest = broker.0.apiversion(RDKafkaApiKey::Fetch, Some(0), Some(9));
        newest.expect("the mock broker has it");
        broker.produce(100);
        check_run(&broker, broker.bounded(2));
        let mut source = broker.bounded(1);
        source.options.client = Client::Native;
        let state = source.open(None).expect("the topic is there");
        let (intake, receiver) = Intake::new(1 << 20);
        source.start(&state, intake).expect("readers start");
        // The watcher says where the partitions end, whoever reads them.
        let said = || receiver.receive(SOON).expect("the reader says something").0;
        let event = std::iter::repeat_with(said).find(|event| !matches!(event, Event::Latest { .. }));
        let Some(Event::Failed(error)) = event else {
            panic!("{event:?} is not an error");
        };
        let error = error.to_string();
        assert!(
            error.contains("the broker offers Fetch in the versions 0 to 9"),
            "{error}"
        );
    }

    #[test]
    fn an_empty_range_ends_at_once() {
        let broker = Broker::new();
        let mut source = broker.bounded(1);
        let mut state = source.open(None).expect("the topic is there");
        let (intake, receiver) = Intake::new(1 << 20);
        source.start(&state, intake).expect("readers start");
        assert!(read_all(&receiver, &mut state).is_empty());
    }

    #[test]
    fn a_run_from_the_committed_offsets_goes_on_where_the_last_one_was_acknowledged() {
        let broker = Broker::new();
        broker.produce(10);
        let mut source = broker.bounded(1);
        let state = source.open(None).expect("the topic is there");
        let done = Positions([(Partition::new("access", 0), 10), (Partition::new("access", 1), 4)].into());
        source.acknowledge(&done).expect("the group is ours");
        source.stop();
        let mut options = broker.options();
        options.from = Start::Committed;
        let mut next = KafkaSource::new(options).expect("valid options");
        let resumed = next.open(None).expect("the topic is there");
        assert_eq!(resumed.positions, done);
        assert_ne!(resumed.positions, state.positions);
    }

    #[test]
    fn a_reader_with_a_full_queue_stops_when_the_driver_closes_it() {
        let broker = Broker::new();
        broker.produce(100);
        let mut source = KafkaSource::new(broker.options()).expect("valid options");
        let state = source.open(None).expect("the topic is there");
        let (intake, receiver) = Intake::new(1);
        source.start(&state, intake).expect("readers start");
        let deadline = Instant::now() + SOON;
        while receiver.receive(Duration::from_millis(100)).is_none() {
            assert!(Instant::now() < deadline, "a first batch comes");
        }
        receiver.close();
        source.stop();
        assert!(source.threads.is_empty(), "all threads have ended");
    }

    #[test]
    fn a_position_after_the_end_of_its_partition_is_named_at_a_restart() {
        let broker = Broker::new();
        broker.produce(3);
        let mut source = KafkaSource::new(broker.options()).expect("valid options");
        let mut state = source.open(None).expect("the topic is there");
        state.positions.advance(&Partition::new("access", 1), 9);
        let error = source.open(Some(&state)).expect_err("records are gone").to_string();
        assert!(error.contains("access[1] offsets [3, 9)"), "{error}");
    }

    /// Takes events until `count` partitions of `topic` were added.
    fn wait_for_partitions(receiver: &Receiver<Event>, topic: &str, count: usize) {
        let deadline = Instant::now() + SOON;
        let mut added = 0;
        while added < count {
            assert!(Instant::now() < deadline, "the partitions are noticed");
            if let Some((Event::Added { partition, position }, _)) = receiver.receive(Duration::from_millis(100)) {
                assert_eq!((&*partition.stream, position), (topic, 0));
                added += 1;
            }
        }
    }

    #[test]
    fn a_pattern_reads_the_topics_there_are_and_those_that_come() {
        let broker = Broker::new();
        for topic in ["errors", "access-2"] {
            broker.0.create_topic(topic, 1, 1).expect("a topic");
        }
        let mut options = SourceOptions::new(Connection::new(broker.0.bootstrap_servers()), vec![], "g");
        options.topic_pattern = Some("^access".into());
        options.metadata_interval = Duration::from_millis(50);
        let mut source = KafkaSource::new(options).expect("valid options");
        assert_eq!(source.topics().expect("two match"), ["access", "access-2"]);
        let state = source.open(None).expect("two match");
        let topics: Vec<_> = state.positions.0.keys().map(ToString::to_string).collect();
        assert_eq!(topics, ["access[0]", "access[1]", "access-2[0]"]);
        let (intake, receiver) = Intake::new(1 << 20);
        source.start(&state, intake).expect("readers start");
        broker.0.create_topic("other", 1, 1).expect("a topic");
        broker.0.create_topic("access-3", 2, 1).expect("a topic");
        wait_for_partitions(&receiver, "access-3", 2);
        source.stop();
        let expected = "kafka topic_pattern=^access columns=value isolation=read_committed";
        assert_eq!(source.describe(), expected);
    }

    #[test]
    fn names_and_a_pattern_together_are_refused() {
        let mut options = Broker::new().options();
        options.topic_pattern = Some(".".into());
        let error = KafkaSource::new(options).map(drop).expect_err("both").to_string();
        assert!(error.contains("not both"), "{error}");
    }

    #[test]
    fn an_unknown_topic_is_named_with_its_neighbours() {
        let broker = Broker::new();
        let mut options = broker.options();
        options.topics = vec!["acess".into()];
        // The mock broker makes the topics that it is asked for, unless told otherwise.
        let unknown = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        broker.0.topic_error("acess", unknown).expect("a topic error");
        let mut source = KafkaSource::new(options).expect("valid options");
        let error = source.open(None).expect_err("no such topic").to_string();
        assert!(
            error.contains("topic acess") && error.contains("did you mean access?"),
            "{error}"
        );
    }

    #[test]
    fn the_description_names_what_decides_over_the_records() {
        let source = Broker::new().bounded(1);
        let expected = "kafka topics=access columns=offset,value isolation=read_committed";
        assert_eq!(source.describe(), expected);
    }
}
