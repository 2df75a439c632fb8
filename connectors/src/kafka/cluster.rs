//! Questions to the brokers: which topics there are, which offsets they hold, what the group committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use engine::position::{Partition, Positions};
use engine::{Error, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::MetadataBroker;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};

use super::config::Connection;
use super::ffi::{self, Committer};
use super::health::{self, Context, Health, is_refusal};
use super::producer::invalid_settings;
use crate::spelling::edit_distance;

/// How long the brokers may take to answer at a start.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long the first attempt may take. Later ones may take twice as long each, for slow networks; a refusal is
/// noticed between two attempts.
const FIRST_ATTEMPT: Duration = Duration::from_millis(500);

/// How long a topic that the brokers do not know is looked for: a new one reaches all brokers a moment later.
const UNKNOWN_TOPIC_PATIENCE: Duration = Duration::from_secs(1);

/// How long the client may take to end before it is left to end by itself.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// How many near names an unknown topic's message offers.
const NEAR_NAMES_MAX: usize = 3;

/// The logical times that librdkafka's look-up by timestamp takes for a partition's ends.
const AT_BEGINNING: i64 = -2;
const AT_END: i64 = -1;

/// What the brokers say about the topics of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// The offsets of every partition.
    pub(super) spans: BTreeMap<Partition, Span>,
    /// The topics' ids, where the brokers have ids.
    pub(super) ids: BTreeMap<String, String>,
}

/// The offsets `[low, high)` that a partition holds. `high` is the last stable offset when only committed records
/// are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) low: i64,
    pub(super) high: i64,
}

/// A client for questions and for offset commits. It reads nothing.
pub(super) struct Cluster {
    /// Empty only while the cluster is being dropped.
    clients: Option<Clients>,
    health: Arc<Health>,
    /// A broker that is there, or -1 while none is known.
    broker: AtomicI32,
    /// Commits that were sent and not answered.
    pending: AtomicUsize,
    /// Whether the last commit went well.
    committed: AtomicBool,
    brokers: String,
    group: String,
}

struct Clients {
    consumer: Arc<BaseConsumer<Context>>,
    committer: Committer<Context>,
}

impl Cluster {
    /// Returns a client; nothing is asked yet.
    ///
    /// # Errors
    /// When a setting is not valid.
    pub(super) fn new(connection: &Connection, group: &str, read_committed: bool) -> Result<Self> {
        let config = client_config(connection, group, read_committed);
        let health = Arc::new(Health::new(connection.brokers(), group, false));
        let consumer: BaseConsumer<Context> = config
            .create_with_context(Context(Arc::clone(&health)))
            .map_err(|error| invalid_settings(&error))?;
        let consumer = Arc::new(consumer);
        let committer = Committer::new(Arc::clone(&consumer));
        Ok(Self {
            clients: Some(Clients { consumer, committer }),
            health,
            broker: AtomicI32::new(-1),
            pending: AtomicUsize::new(0),
            committed: AtomicBool::new(true),
            brokers: connection.brokers().to_owned(),
            group: group.to_owned(),
        })
    }

    /// Returns the partitions and offsets of `topics`, and their ids.
    ///
    /// # Errors
    /// When the brokers can't be reached, refuse, or do not know a topic.
    pub(super) fn survey(&self, topics: &[String]) -> Result<Survey> {
        let mut partitions = Vec::new();
        for topic in topics {
            let count = self.partitions_known(topic)?;
            partitions.extend((0..count).map(|index| Partition::new(topic.as_str(), index)));
        }
        Ok(Survey {
            spans: self.spans(&partitions, PATIENCE)?,
            ids: self.ids(topics, PATIENCE),
        })
    }

    /// Returns the offsets that each of `partitions` holds.
    ///
    /// # Errors
    /// When the brokers do not answer within `patience`, or refuse.
    pub(super) fn spans(&self, partitions: &[Partition], patience: Duration) -> Result<BTreeMap<Partition, Span>> {
        let lows = self.offsets_at(partitions, AT_BEGINNING, patience)?;
        let highs = self.offsets_at(partitions, AT_END, patience)?;
        let span = |(partition, low): (Partition, i64)| {
            let high = highs.get(&partition).copied().unwrap_or(low).max(low);
            (partition, Span { low, high })
        };
        Ok(lows.into_iter().map(span).collect())
    }

    /// Returns where each of `partitions` ends.
    ///
    /// # Errors
    /// When the brokers do not answer within `patience`, or refuse.
    pub(super) fn ends(&self, partitions: &[Partition], patience: Duration) -> Result<BTreeMap<Partition, i64>> {
        self.offsets_at(partitions, AT_END, patience)
    }

    /// Returns the first offset of each partition whose record has the time `milliseconds` or a later one; a
    /// partition without such a record is left out.
    ///
    /// # Errors
    /// When the brokers do not answer, or refuse.
    pub(super) fn offsets_for_time(
        &self,
        partitions: &[Partition],
        milliseconds: i64,
    ) -> Result<BTreeMap<Partition, i64>> {
        // Negative times are librdkafka's logical offsets; no record is older than 1970.
        self.offsets_at(partitions, milliseconds.max(0), PATIENCE)
    }

    /// Returns the group's committed offsets; a partition without one is left out.
    ///
    /// # Errors
    /// When the brokers do not answer, or refuse.
    pub(super) fn committed(&self, partitions: &[Partition]) -> Result<BTreeMap<Partition, i64>> {
        self.ask("read the group's offsets", PATIENCE, |timeout| {
            let list = partition_list(partitions.iter().map(|partition| (partition, Offset::Invalid)))?;
            copied(&self.consumer().committed_offsets(list, timeout)?)
        })
    }

    /// Returns the number of partitions of `topic`; `None` when the brokers do not know it.
    ///
    /// # Errors
    /// When the brokers do not answer within `patience`, or refuse.
    pub(super) fn partition_count(&self, topic: &str, patience: Duration) -> Result<Option<i32>> {
        let act = format!("read the metadata of topic {topic}");
        self.ask(&act, patience, |timeout| {
            let metadata = self.consumer().fetch_metadata(Some(topic), timeout)?;
            let broker = Some(metadata.orig_broker_id()).filter(|&id| id >= 0);
            let broker = broker.or_else(|| metadata.brokers().first().map(MetadataBroker::id));
            self.broker.store(broker.unwrap_or(-1), Ordering::Relaxed);
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            match found.map(|found| (found.error(), found.partitions().len())) {
                None | Some((Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART), _)) => Ok(None),
                Some((Some(error), _)) => Err(KafkaError::MetadataFetch(error.into())),
                Some((None, count)) => Ok(Some(i32::try_from(count).unwrap_or(i32::MAX))),
            }
        })
    }

    /// Returns the names of all topics.
    ///
    /// # Errors
    /// When the brokers do not answer within `patience`, or refuse.
    pub(super) fn topic_names(&self, patience: Duration) -> Result<Vec<String>> {
        self.ask("read the metadata", patience, |timeout| {
            let metadata = self.consumer().fetch_metadata(None, timeout)?;
            let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
            Ok(names.collect())
        })
    }

    /// Returns the cluster's id, if the brokers tell it within `patience`.
    pub(super) fn id(&self, patience: Duration) -> Option<String> {
        self.consumer().client().fetch_cluster_id(patience)
    }

    /// Returns the brokers, for messages.
    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Returns the ids of those topics whose ids the brokers tell.
    pub(super) fn ids(&self, topics: &[String], timeout: Duration) -> BTreeMap<String, String> {
        let broker = self.broker.load(Ordering::Relaxed);
        if broker < 0 {
            return BTreeMap::new();
        }
        ffi::topic_ids(self.consumer().client(), broker, topics, timeout)
            .into_iter()
            .collect()
    }

    /// Sends the group's offsets off, without waiting for the answer.
    ///
    /// # Errors
    /// When the brokers refused us, now or at an earlier commit.
    pub(super) fn commit(&self, positions: &Positions) -> Result<()> {
        self.serve(Duration::ZERO);
        self.health.check()?;
        while let Some(answer) = self.committer().answer(Duration::ZERO) {
            self.pending.fetch_sub(1, Ordering::Relaxed);
            self.judge_commit(answer)?;
        }
        let sent = self
            .committer()
            .send(positions.0.iter().map(|(partition, &position)| (partition, position)));
        if sent.is_ok() {
            self.pending.fetch_add(1, Ordering::Relaxed);
        }
        self.judge_commit(sent)
    }

    /// Waits at most `patience` for the answers to all commits, and sends `positions` again if the last one failed.
    /// Returns whether they are committed.
    pub(super) fn commit_last(&self, positions: &Positions, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        self.await_commits(deadline)
            && (self.committed.load(Ordering::Relaxed)
                || self.commit(positions).is_ok() && self.await_commits(deadline))
            && self.committed.load(Ordering::Relaxed)
    }

    /// Returns whether all answers came before `deadline`.
    fn await_commits(&self, deadline: Instant) -> bool {
        while self.pending.load(Ordering::Relaxed) > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(answer) = self.committer().answer(left) else {
                return false;
            };
            self.pending.fetch_sub(1, Ordering::Relaxed);
            self.committed.store(answer.is_ok(), Ordering::Relaxed);
        }
        true
    }

    /// Serves librdkafka's callbacks for `timeout`.
    pub(super) fn serve(&self, timeout: Duration) {
        // This consumer reads nothing, so that all a poll gives are errors, which the context has taken in already.
        let _ = self.consumer().poll(timeout);
    }

    /// Returns an error of this cluster.
    pub(super) fn connect_error(&self, problem: impl Into<String>) -> Error {
        self.health.connect_error(problem)
    }

    fn judge_commit(&self, outcome: Result<(), Code>) -> Result<()> {
        let Err(code) = outcome else {
            self.committed.store(true, Ordering::Relaxed);
            return Ok(());
        };
        if is_refusal(code) {
            return Err(self.connect_error(format!(
                "the offsets of group {} can't be committed: {code}",
                self.group
            )));
        }
        if self.committed.swap(false, Ordering::Relaxed) {
            tracing::warn!(group = self.group, %code, "offsets were not committed; the next commit covers them");
        }
        Ok(())
    }

    fn partitions_known(&self, topic: &str) -> Result<i32> {
        let start = Instant::now();
        loop {
            match self.partition_count(topic, PATIENCE)? {
                Some(count) if count > 0 => return Ok(count),
                _ if start.elapsed() < UNKNOWN_TOPIC_PATIENCE => self.serve(Duration::from_millis(50)),
                _ => return Err(self.unknown_topic(topic)?),
            }
        }
    }

    fn unknown_topic(&self, topic: &str) -> Result<Error> {
        let names = self.topic_names(PATIENCE)?;
        let near = near_names(topic, &names);
        let hint = if near.is_empty() {
            "create it first, or check the spelling".to_owned()
        } else {
            format!("did you mean {}?", near.join(", "))
        };
        Ok(Error::Source {
            input: format!("topic {topic}"),
            problem: format!("the brokers at {} have no such topic; {hint}", self.brokers),
        })
    }

    fn offsets_at(&self, partitions: &[Partition], time: i64, patience: Duration) -> Result<BTreeMap<Partition, i64>> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.ask("look offsets up", patience, |timeout| {
            let place = Offset::from_raw(time);
            let list = partition_list(partitions.iter().map(|partition| (partition, place)))?;
            copied(&self.consumer().offsets_for_times(list, timeout)?)
        })
    }

    /// Asks until there is an answer, `patience` has passed, or the brokers refuse.
    fn ask<T>(&self, act: &str, patience: Duration, question: impl Fn(Duration) -> KafkaResult<T>) -> Result<T> {
        let deadline = Instant::now() + patience;
        let mut attempt = FIRST_ATTEMPT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match question(attempt.min(left).max(Duration::from_millis(1))) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.serve(Duration::from_millis(20));
            self.health.check()?;
            let code = error.rdkafka_error_code();
            if code.is_some_and(is_refusal) {
                return Err(self.connect_error(format!("refused to {act}: {}", health::describe(&error))));
            }
            let problem = self.health.problem();
            // A handshake does not mend itself, so that a start need not wait for its whole patience.
            if let Some(problem) = problem
                .as_ref()
                .filter(|problem| problem.starts_with(health::TLS_FAILED))
            {
                return Err(self.connect_error(problem.clone()));
            }
            if Instant::now() >= deadline {
                let last = problem.unwrap_or_else(|| health::describe(&error));
                return Err(self.connect_error(format!(
                    "no answer within {patience:?} to {act}; check the address, and that security.protocol is the \
                     listener's ({last})"
                )));
            }
            attempt *= 2;
        }
    }

    fn consumer(&self) -> &BaseConsumer<Context> {
        &self.clients().consumer
    }

    fn committer(&self) -> &Committer<Context> {
        &self.clients().committer
    }

    fn clients(&self) -> &Clients {
        self.clients
            .as_ref()
            .expect("the clients are taken by the cluster's drop only")
    }
}

impl Drop for Cluster {
    /// Ends the client on a thread of its own: librdkafka may wait for a coordinator that does not answer.
    fn drop(&mut self) {
        ffi::drop_within(CLOSE_DEADLINE, self.clients.take());
    }
}

/// Returns the settings of a client that reads; those of the properties file win.
pub(super) fn client_config(connection: &Connection, group: &str, read_committed: bool) -> ClientConfig {
    let isolation = if read_committed {
        "read_committed"
    } else {
        "read_uncommitted"
    };
    let mut config = connection.client_config(DEFAULTS);
    for (name, value) in OWNED {
        config.set(*name, *value);
    }
    config.set("group.id", group);
    config.set("isolation.level", isolation);
    config
}

/// Settings that a properties file may change.
const DEFAULTS: &[(&str, &str)] = &[
    // The default of one second between two fetches of a full queue reads 0.2 million records a second at most.
    ("fetch.queue.backoff.ms", "2"),
    // Memory: what waits in a consumer is bounded by these and one fetch answer, whatever the number of partitions.
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "16384"),
    ("fetch.message.max.bytes", "1048576"),
    ("fetch.max.bytes", "16777216"),
    // A broker answers a record larger than what a fetch asked for all the same.
    ("receive.message.max.bytes", "1073741824"),
    // A fetch that found nothing holds back the news of the end of the partition for as long as it waits.
    ("fetch.wait.max.ms", "100"),
    ("topic.metadata.refresh.fast.interval.ms", "50"),
    // Reading goes on soon after the brokers are back.
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "1000"),
    // A stalled sink is not an error of the reader, who is in no group that would give its partitions away.
    ("max.poll.interval.ms", "86400000"),
];

/// Settings that what Millstream promises hangs on.
const OWNED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("auto.offset.reset", "error"),
];

fn partition_list<'p>(entries: impl Iterator<Item = (&'p Partition, Offset)>) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in entries {
        list.add_partition_offset(&partition.stream, partition.index, offset)?;
    }
    Ok(list)
}

/// Copies a list's real offsets out. The list itself must not outlive its consumer: librdkafka would wait for it.
fn copied(list: &TopicPartitionList) -> KafkaResult<BTreeMap<Partition, i64>> {
    let mut offsets = BTreeMap::new();
    for element in list.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(Partition::new(element.topic(), element.partition()), offset);
        }
    }
    Ok(offsets)
}

/// Returns the names that a typing error away, nearest first.
fn near_names<'n>(topic: &str, names: &'n [String]) -> Vec<&'n str> {
    let mut near: BTreeSet<(usize, &str)> = BTreeSet::new();
    for name in names.iter().filter(|name| *name != topic && !name.starts_with("__")) {
        let distance = edit_distance(topic.as_bytes(), name.as_bytes());
        // A third of the letters may differ, as in compilers' hints.
        if distance <= topic.len().max(3) / 3 {
            near.insert((distance, name));
        }
    }
    near.into_iter().take(NEAR_NAMES_MAX).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_offered_nearest_first() {
        let names: Vec<String> = ["access-logs", "acces-log", "orders", "__consumer_offsets"]
            .map(str::to_owned)
            .into();
        assert_eq!(near_names("access-log", &names), ["acces-log", "access-logs"]);
        assert!(near_names("x", &names).is_empty());
    }

    #[test]
    fn what_is_promised_wins_over_the_properties() {
        let config = client_config(&Connection::new("localhost:1"), "g", true);
        assert_eq!(config.get("enable.auto.commit"), Some("false"));
        assert_eq!(config.get("isolation.level"), Some("read_committed"));
    }
}
