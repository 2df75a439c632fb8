//! Topics of a broker: make, delete, extend, empty.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::PATIENCE;
use super::broker::Broker;
use super::jvm;

/// The offsets of a partition that can be read: the half-open range `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The first offset that is still there.
    pub(crate) start: i64,
    /// The offset that the next record gets.
    pub(crate) end: i64,
}

impl Broker {
    /// Returns `name` with an ending that no other call, in this or another run, returned: for topics and groups.
    pub(crate) fn unique(name: &str) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let started = std::time::UNIX_EPOCH
            .elapsed()
            .expect("the clock is after 1970")
            .as_millis();
        format!("{name}-{started}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a topic, with settings such as `("cleanup.policy", "compact")`.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub(crate) fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        self.create(
            NewTopic::new(name, partitions, TopicReplication::Fixed(self.replicas)),
            settings,
        );
    }

    /// Makes a topic of one partition, whose replicas are on these brokers, with settings.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub(crate) fn create_topic_on(&self, name: &str, brokers: &[i32], settings: &[(&str, &str)]) {
        self.create(NewTopic::new(name, 1, TopicReplication::Variable(&[brokers])), settings);
    }

    #[track_caller]
    fn create<'a>(&self, mut topic: NewTopic<'a>, settings: &[(&'a str, &'a str)]) {
        topic.config.extend(settings);
        let results = block_on(self.admin().create_topics(&[topic], &options()));
        expect_one(results.expect("the broker answers"));
    }

    /// Makes a topic of a unique name that starts with `name`, and returns its name.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub(crate) fn new_topic(&self, name: &str, partitions: i32) -> String {
        let name = Self::unique(name);
        self.create_topic(&name, partitions, &[]);
        name
    }

    /// Makes a topic of one partition that is compacted as soon as it has a second segment, and returns its name.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub(crate) fn compacted_topic(&self) -> String {
        let name = Self::unique("compacted");
        let settings = [
            ("cleanup.policy", "compact"),
            ("segment.ms", "100"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("max.compaction.lag.ms", "100"),
        ];
        self.create_topic(&name, 1, &settings);
        name
    }

    /// Returns the broker that leads a partition, if one does.
    ///
    /// # Panics
    /// When no broker answers.
    #[track_caller]
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let consumer: BaseConsumer = self.client(&[]).create().expect("a valid configuration");
        let metadata = consumer
            .fetch_metadata(Some(topic), PATIENCE)
            .expect("the broker answers");
        let partitions = metadata.topics().first()?.partitions();
        let found = partitions.iter().find(|found| found.id() == partition)?;
        Some(found.leader()).filter(|&leader| leader >= 0)
    }

    /// Has each partition led by the first of its replicas again, as far as that is there.
    ///
    /// # Panics
    /// When the brokers refuse.
    #[track_caller]
    pub(crate) fn elect_preferred_leaders(&self) {
        let arguments = [
            "--bootstrap-server",
            self.bootstrap(),
            "--election-type",
            "preferred",
            "--all-topic-partitions",
        ];
        jvm::run_tool("org.apache.kafka.tools.LeaderElectionCommand", &arguments);
    }

    /// Deletes a topic.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub(crate) fn delete_topic(&self, name: &str) {
        let results = block_on(self.admin().delete_topics(&[name], &options()));
        expect_one(results.expect("the broker answers"));
    }

    /// Gives a topic more partitions: `partitions` in all.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub(crate) fn extend_topic(&self, name: &str, partitions: usize) {
        let partitions = NewPartitions::new(name, partitions);
        let results = block_on(self.admin().create_partitions(&[partitions], &options()));
        expect_one(results.expect("the broker answers"));
    }

    /// Removes a partition's records before the offset `before`, as retention does.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub(crate) fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before))
            .expect("an offset that is no marker");
        let results = block_on(self.admin().delete_records(&list, &options())).expect("the broker answers");
        for element in results.elements() {
            element.error().expect("the records can be deleted");
        }
    }

    /// Returns the bounds of every partition of a topic, by partition number. The end counts records of open and
    /// aborted transactions, and transaction markers.
    ///
    /// # Panics
    /// When the broker does not answer or the topic does not exist.
    #[track_caller]
    pub(crate) fn bounds(&self, topic: &str) -> Vec<Bounds> {
        let consumer: BaseConsumer = self.client(&[]).create().expect("a valid configuration");
        let metadata = consumer
            .fetch_metadata(Some(topic), PATIENCE)
            .expect("the broker answers");
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        assert!(partitions > 0, "the topic {topic} exists");
        let bounds = |partition| {
            let watermarks = consumer.fetch_watermarks(topic, partition, PATIENCE);
            let (start, end) = watermarks.expect("the broker answers");
            Bounds { start, end }
        };
        (0..i32::try_from(partitions).expect("few partitions"))
            .map(bounds)
            .collect()
    }

    /// Returns the settings of a client of this broker, with `more` settings.
    pub(crate) fn client(&self, more: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        for (name, value) in more {
            config.set(*name, *value);
        }
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client(&[]).create().expect("a valid configuration")
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(PATIENCE))
        .request_timeout(Some(PATIENCE))
}

#[track_caller]
fn expect_one(results: Vec<TopicResult>) {
    for result in results {
        if let Err((topic, code)) = result {
            panic!("the broker refuses {topic}: {code}");
        }
    }
}

/// Waits for a future on this thread: the administration of rdkafka is asynchronous, the tests are not.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}
