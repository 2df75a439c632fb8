//! The Kafka sink: rows become records of one topic, an epoch at a time.
//!
//! With [`Delivery::ExactlyOnce`] an epoch is one transaction of the transactional id `millstream-GROUP`:
//!
//! ```text
//! begin | records ... | the group's offsets, each with {"millstream":1,"job":ID,"epoch":N} as metadata | commit
//!         write         prepare                                                                          commit
//! ```
//!
//! The transaction is the commit point. A transaction can't be resumed by another process, only ended: so a start fences
//! its predecessor, then reads the group's offsets, and goes on from the checkpoint that they name. If the source is not
//! Kafka, the mark is committed for partition 0 of the output topic, at offset 0.
//!
//! The broker ends a transaction after `transaction.timeout.ms` (60 s unless the properties file says otherwise), so the
//! checkpoint interval must be shorter. A record that is not delivered after five sixths of that fails the epoch.
//!
//! Further topics of a job take part in the same transaction: see [`KafkaSink::fellows`].
//!
//! With [`Delivery::AtLeastOnce`] records are visible at once; a crash may repeat those since the last checkpoint.
//!
//! Records without a key keep the order of their partition: rows that were read from partition P of a topic go to
//! partition P modulo the number of output partitions; rows of other sources go to any, some milliseconds' worth at a
//! time. Records with a key go where Java's producers put them (murmur2).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use engine::sink::{Barrier, Guarantee, Recovery, Sink, Token};
use engine::{Batch, Epoch, Error, Partition, Positions, Result, fault};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::config::Connection;
use super::fellow::Shared;
pub use super::fellow::{FellowOptions, FellowSink, Fellows};
use super::group;
use super::health::Context;
use super::marks::{self, Committed, Mark};
use super::outgoing::{Outgoing, describe};
use super::producer::{COORDINATOR_TIME, Producer, TRANSACTION_TIMEOUT_MS};
use crate::decode::{AvroFormat, Dialect};

/// What a failure before the commit means.
const EPOCH_LOST: &str = "the epoch was given up, and a restart does it again";

/// What a failure of the commit means.
const EPOCH_UNKNOWN: &str = "a restart finds out whether the epoch was committed, and does it again if not";

/// What a Kafka sink writes, and where.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// The cluster.
    pub connection: Connection,
    /// The topic that the records go to.
    pub topic: String,
    /// The consumer group whose offsets are committed; also names the transactional id.
    pub group: String,
    /// The columns that make the key; none: records have no key.
    pub key: Vec<String>,
    /// What makes the value.
    pub value: ValueFormat,
    /// How sure the delivery is.
    pub delivery: Delivery,
    /// The topics of the Kafka source whose positions are committed with the records; empty when the source is not
    /// Kafka, or is another cluster.
    pub source_topics: Vec<String>,
    /// The columns of the batches.
    pub schema: SchemaRef,
}

/// What makes the value of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueFormat {
    /// A JSON object of all columns, those of the key included.
    Json,
    /// The fields of all columns, without a header.
    Delimited(Dialect),
    /// An Avro record of all columns.
    Avro(AvroFormat),
    /// The bytes of one string or binary column; null makes a tombstone.
    Column(String),
}

/// How sure the delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Every row once, for readers with `isolation.level=read_committed`.
    ExactlyOnce,
    /// Every row, some of them twice after a crash; no transactions, so readers see rows earlier.
    AtLeastOnce,
}

/// Writes batches to a Kafka topic.
pub struct KafkaSink {
    options: SinkOptions,
    outgoing: Outgoing,
    /// For those that take part in the transactions.
    shared: Shared,
    running: Option<Running>,
}

/// What a sink has after `recover`.
struct Running {
    producer: Arc<Producer>,
    /// The number of partitions of the output topic at the start.
    partitions: i32,
    job: String,
    /// The group, as the transaction coordinator wants to know it; none without transactions.
    group: Option<ConsumerGroupMetadata>,
    prepared: Option<Epoch>,
    committed: Option<Epoch>,
    failed: bool,
}

/// What a checkpoint keeps of an epoch. It serves its reader only: the truth is in the group.
#[derive(Serialize, Deserialize)]
struct TokenContent {
    epoch: Epoch,
    topic: String,
}

impl SinkOptions {
    /// Returns how long a transaction may stay open, if there are any: an epoch must be shorter.
    pub fn transaction_timeout(&self) -> Option<Duration> {
        let set = self
            .connection
            .property("transaction.timeout.ms")
            .and_then(|text| text.parse().ok());
        let timeout = Duration::from_millis(set.unwrap_or(TRANSACTION_TIMEOUT_MS));
        (self.delivery == Delivery::ExactlyOnce).then_some(timeout)
    }
}

impl KafkaSink {
    /// Returns a sink that has not connected yet.
    ///
    /// # Errors
    /// When a column of the key or the value does not exist, or can't be one.
    pub fn new(options: SinkOptions) -> Result<Self> {
        let SinkOptions {
            topic,
            key,
            value,
            source_topics,
            schema,
            ..
        } = &options;
        Ok(Self {
            outgoing: Outgoing::new(topic, key, value, schema, !source_topics.is_empty())?,
            options,
            shared: Shared::default(),
            running: None,
        })
    }

    /// Returns what makes the sinks of further topics, whose records are part of this sink's transactions.
    pub fn fellows(&self) -> Fellows {
        Fellows::new(self.shared.clone(), !self.options.source_topics.is_empty())
    }

    fn is_transactional(&self) -> bool {
        self.options.delivery == Delivery::ExactlyOnce
    }

    fn connect(&self, job: &str) -> Result<Running> {
        let transactional_id = format!("millstream-{}", self.options.group);
        let transactional_id = self.is_transactional().then_some(transactional_id);
        let producer = Producer::new(&self.options.connection, &self.options.topic, transactional_id)?;
        let producer = Arc::new(producer);
        self.shared.set(Arc::clone(&producer));
        Ok(Running {
            partitions: producer.partitions(&self.options.topic)?,
            producer,
            job: job.to_owned(),
            group: None,
            prepared: None,
            committed: None,
            failed: false,
        })
    }

    /// Fences older processes, then finds the candidate whose transaction was the last to commit.
    fn recover_transactional(&self, running: &mut Running, recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        let group = self.options.group.as_str();
        if recovery.candidates.iter().all(|candidate| candidate.epoch == Epoch(0)) {
            // A new job with the group of a living one must not fence that one before it says so. Offsets of an open
            // transaction are not waited for: nobody has fenced its producer yet.
            let (committed, _) = self.read_group("read_uncommitted", recovery)?;
            marks::check_owner(group, recovery.job, &committed)?;
        }
        running.producer.init_transactions()?;
        let (committed, metadata) = self.read_group("read_committed", recovery)?;
        running.group = Some(metadata);
        marks::choose(group, recovery, &committed, |candidate| {
            self.marked(&candidate.positions)
        })
    }

    /// Asks the group for its offsets, and for what transactions need to know of it.
    fn read_group(&self, isolation: &str, recovery: &Recovery<'_>) -> Result<(Vec<Committed>, ConsumerGroupMetadata)> {
        let options = &self.options;
        group::read(&options.connection, &options.group, isolation, |consumer| {
            self.watched(consumer, recovery)
        })
    }

    /// Returns the partitions that may hold a mark: those that exist, and those that the checkpoints know.
    fn watched(&self, consumer: &BaseConsumer<Context>, recovery: &Recovery<'_>) -> Result<Vec<Partition>, KafkaError> {
        let known = recovery
            .candidates
            .iter()
            .map(|candidate| self.marked(&candidate.positions));
        let mut partitions: BTreeSet<_> = known.flatten().map(|(partition, _)| partition).collect();
        if self.options.source_topics.is_empty() {
            partitions.insert(Partition::new(self.options.topic.as_str(), 0));
        }
        for topic in &self.options.source_topics {
            let metadata = consumer.fetch_metadata(Some(topic), COORDINATOR_TIME)?;
            let found = metadata.topics().iter().flat_map(|found| found.partitions());
            partitions.extend(found.map(|found| Partition::new(topic.as_str(), found.id())));
        }
        Ok(partitions.into_iter().collect())
    }

    /// Returns the offsets that an epoch which ends at `positions` commits, each with the epoch's mark.
    fn marked(&self, positions: &Positions) -> Vec<(Partition, i64)> {
        let topics = &self.options.source_topics;
        if topics.is_empty() {
            return vec![(Partition::new(self.options.topic.as_str(), 0), 0)];
        }
        let is_source = |(partition, _): &(&Partition, &i64)| topics.iter().any(|topic| **topic == *partition.stream);
        let entries = positions.0.iter().filter(is_source);
        entries
            .map(|(partition, &offset)| (partition.clone(), offset))
            .collect()
    }

    fn send(&mut self, batch: &Batch) -> Result<()> {
        let running = running(&mut self.running)?;
        if self.options.delivery == Delivery::ExactlyOnce {
            running.producer.begin()?;
        }
        self.outgoing.send(&running.producer, running.partitions, batch)
    }

    fn prepare_epoch(&mut self, barrier: &Barrier<'_>) -> Result<Token> {
        let marked = self.marked(barrier.positions);
        let running = running(&mut self.running)?;
        if let Some(group) = &running.group {
            running.producer.begin()?;
            running.producer.flush()?;
            let metadata = Mark::new(&running.job, barrier.epoch).to_metadata();
            let offsets = offset_list(&marked, &metadata);
            running.producer.send_offsets(&offsets, group)?;
        } else {
            running.producer.flush()?;
        }
        running.prepared = Some(barrier.epoch);
        let content = TokenContent {
            epoch: barrier.epoch,
            topic: self.options.topic.clone(),
        };
        Ok(Token(
            serde_json::to_value(content).expect("a token holds a number and a string"),
        ))
    }

    fn commit_epoch(&mut self, token: &Token) -> Result<()> {
        let content: TokenContent = serde_json::from_value(token.0.clone()).map_err(|error| {
            self.sink_error(format!(
                "the checkpoint's token {} is not of a Kafka sink: {error}",
                token.0
            ))
        })?;
        let output = self.options.topic.as_str();
        let running = running(&mut self.running)?;
        if running.committed >= Some(content.epoch) {
            return Ok(());
        }
        if running.prepared != Some(content.epoch) {
            let problem = format!("epoch {} was not prepared by this process", content.epoch);
            return Err(sink_error(output, problem));
        }
        fault::point("mid_commit");
        if running.group.is_some() {
            running.producer.commit()?;
        }
        running.committed = Some(content.epoch);
        Ok(())
    }

    /// Ends the use of the sink after an error: nothing may be committed any more. Says what that means for the epoch.
    fn give_up(&mut self, error: Error, consequence: &str) -> Error {
        if let Some(running) = &mut self.running {
            if std::mem::replace(&mut running.failed, true) {
                return error;
            }
            if !matches!(error, Error::Fenced { .. }) {
                running.producer.abort();
            }
        }
        match error {
            Error::Sink { output, problem } if self.is_transactional() => Error::Sink {
                output,
                problem: format!("{problem}; {consequence}"),
            },
            error => error,
        }
    }

    fn sink_error(&self, problem: String) -> Error {
        sink_error(&self.options.topic, problem)
    }
}

impl Sink for KafkaSink {
    fn describe(&self) -> String {
        let SinkOptions {
            topic,
            key,
            value,
            group,
            delivery,
            ..
        } = &self.options;
        format!("{}, group {group}, {delivery:?}", describe(topic, key, value))
    }

    fn guarantee(&self) -> Guarantee {
        match self.options.delivery {
            Delivery::ExactlyOnce => Guarantee::ExactlyOnce,
            Delivery::AtLeastOnce => Guarantee::AtLeastOnce,
        }
    }

    fn publishes(&self, stream: &str) -> bool {
        self.is_transactional() && self.options.source_topics.iter().any(|topic| topic == stream)
    }

    fn decides(&self) -> bool {
        self.is_transactional()
    }

    fn recover(&mut self, recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        let mut running = self.connect(recovery.job)?;
        let epoch = if self.is_transactional() {
            self.recover_transactional(&mut running, recovery)?
        } else {
            recovery.candidates.first().map(|candidate| candidate.epoch)
        };
        running.committed = epoch;
        self.running = Some(running);
        Ok(epoch)
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        if batch.rows() == 0 {
            return Ok(());
        }
        self.send(batch).map_err(|error| self.give_up(error, EPOCH_LOST))
    }

    fn prepare(&mut self, barrier: &Barrier<'_>) -> Result<Token> {
        self.prepare_epoch(barrier)
            .map_err(|error| self.give_up(error, EPOCH_LOST))
    }

    fn commit(&mut self, token: &Token) -> Result<()> {
        self.commit_epoch(token)
            .map_err(|error| self.give_up(error, EPOCH_UNKNOWN))
    }

    fn abort(&mut self) {
        if let Some(running) = &mut self.running {
            running.failed = true;
            running.producer.abort();
        }
    }

    fn close(&mut self) -> Result<()> {
        self.shared.take();
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        running.producer.abort();
        let flushed = if running.failed {
            Ok(())
        } else {
            running.producer.flush()
        };
        if let Some(producer) = Arc::into_inner(running.producer) {
            producer.close();
        }
        flushed
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        self.shared.take();
        if let Some(producer) = self
            .running
            .take()
            .and_then(|running| Arc::into_inner(running.producer))
        {
            producer.close();
        }
    }
}

fn running(running: &mut Option<Running>) -> Result<&mut Running> {
    let running = running.as_mut().expect("recover comes before every other call");
    if running.failed {
        let problem = "an earlier error ended this sink".to_owned();
        return Err(sink_error(running.producer.topic(), problem));
    }
    Ok(running)
}

fn offset_list(marked: &[(Partition, i64)], metadata: &str) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(marked.len());
    for (partition, _) in marked {
        list.add_partition(&partition.stream, partition.index);
    }
    for (mut element, (_, offset)) in list.elements().into_iter().zip(marked) {
        element
            .set_offset(Offset::Offset(*offset))
            .expect("a number is an offset");
        element.set_metadata(metadata);
    }
    list
}

fn sink_error(topic: &str, problem: String) -> Error {
    Error::Sink {
        output: format!("the topic `{topic}`"),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::record_batch::RecordBatch;
    use engine::sink::Candidate;
    use engine::{OffsetRange, Origin};
    use rdkafka::Message;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;

    use super::*;

    type Cluster = MockCluster<'static, DefaultProducerContext>;
    type Record = (i32, Option<Vec<u8>>, Option<Vec<u8>>);

    fn cluster(topic: &str) -> Cluster {
        let cluster = MockCluster::new(1).expect("a mock cluster starts");
        cluster.create_topic(topic, 4, 1).expect("a topic of four partitions");
        cluster
    }

    fn records() -> RecordBatch {
        let words: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        RecordBatch::try_from_iter([("word", words), ("count", counts)]).expect("two columns")
    }

    fn options(cluster: &Cluster, key: &[&str], delivery: Delivery) -> SinkOptions {
        SinkOptions {
            connection: Connection::new(cluster.bootstrap_servers()),
            topic: "out".to_owned(),
            group: "g".to_owned(),
            key: key.iter().map(|&name| name.to_owned()).collect(),
            value: ValueFormat::Json,
            delivery,
            source_topics: vec!["in".to_owned()],
            schema: records().schema(),
        }
    }

    fn start(epoch: u64) -> Candidate {
        Candidate {
            epoch: Epoch(epoch),
            positions: Positions::default(),
            token: Token::default(),
        }
    }

    fn recover(sink: &mut KafkaSink, candidates: &[Candidate]) -> Option<Epoch> {
        let recovery = Recovery {
            job: "5e0c",
            generation: 1,
            candidates,
        };
        sink.recover(&recovery).expect("the mock cluster answers")
    }

    fn barrier(epoch: u64, positions: &Positions) -> Barrier<'_> {
        Barrier {
            epoch: Epoch(epoch),
            positions,
        }
    }

    /// Reads `count` records of all partitions.
    fn read(cluster: &Cluster, count: usize) -> Vec<Record> {
        let settings = [("group.id", "reader"), ("auto.offset.reset", "earliest")];
        let consumer: BaseConsumer = Connection::new(cluster.bootstrap_servers())
            .client_config(&settings)
            .create()
            .expect("valid settings");
        let mut list = TopicPartitionList::new();
        list.add_partition_range("out", 0, 3);
        list.set_all_offsets(Offset::Beginning).expect("a place to start");
        consumer.assign(&list).expect("the partitions exist");
        let deadline = Instant::now() + COORDINATOR_TIME;
        let mut records = Vec::new();
        while records.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} records came", records.len());
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                records.push((message.partition(), owned(message.key()), owned(message.payload())));
            }
        }
        records.sort();
        records
    }

    #[test]
    fn at_least_once_delivers_by_the_barrier_and_goes_on_from_the_newest_checkpoint() {
        let cluster = cluster("out");
        let mut sink = KafkaSink::new(options(&cluster, &["word"], Delivery::AtLeastOnce)).expect("the key exists");
        assert!(!sink.publishes("in"));
        assert_eq!(sink.guarantee(), Guarantee::AtLeastOnce);
        assert_eq!(recover(&mut sink, &[start(3), start(2)]), Some(Epoch(3)));
        sink.write(&Batch::new(records(), None))
            .expect("the mock cluster takes records");
        let token = sink
            .prepare(&barrier(4, &Positions::default()))
            .expect("everything is delivered");
        let read: Vec<_> = read(&cluster, 2)
            .into_iter()
            .map(|(_, key, value)| (key, value))
            .collect();
        let value = |text: &str| Some(text.as_bytes().to_vec());
        assert!(read.contains(&(Some(b"a".to_vec()), value(r#"{"word":"a","count":1}"#))));
        assert!(read.contains(&(None, value(r#"{"word":null,"count":2}"#))));
        sink.commit(&token).expect("nothing is left to do");
        sink.close().expect("nothing is left to send");
    }

    #[test]
    fn records_without_a_key_follow_the_partition_they_were_read_from() {
        let cluster = cluster("out");
        let mut sink = KafkaSink::new(options(&cluster, &[], Delivery::AtLeastOnce)).expect("no key");
        recover(&mut sink, &[start(0)]);
        for index in [1, 6] {
            let origin = Origin {
                partition: Partition::new("in", index),
                offsets: OffsetRange { from: 0, to: 2 },
            };
            sink.write(&Batch::new(records(), Some(origin)))
                .expect("the mock cluster takes records");
        }
        sink.prepare(&barrier(1, &Positions::default()))
            .expect("everything is delivered");
        let partitions: Vec<_> = read(&cluster, 4).into_iter().map(|(partition, ..)| partition).collect();
        assert_eq!(partitions, [1, 1, 2, 2]);
    }

    #[test]
    fn an_epoch_is_a_transaction_even_without_records() {
        let cluster = cluster("out");
        cluster.create_topic("in", 1, 1).expect("a source topic");
        let mut sink = KafkaSink::new(options(&cluster, &["word"], Delivery::ExactlyOnce)).expect("the key exists");
        assert!(sink.publishes("in") && !sink.publishes("out"));
        assert_eq!(recover(&mut sink, &[start(0)]), Some(Epoch(0)));
        let mut positions = Positions::default();
        positions.advance(&Partition::new("in", 0), 7);
        for epoch in 1..=2 {
            let token = sink
                .prepare(&barrier(epoch, &positions))
                .expect("the coordinator answers");
            sink.commit(&token).expect("the coordinator answers");
            sink.commit(&token).expect("a second commit changes nothing");
        }
        sink.write(&Batch::new(records(), None))
            .expect("the mock cluster takes records");
        sink.abort();
        let error = sink
            .prepare(&barrier(3, &positions))
            .expect_err("after an abort")
            .to_string();
        assert!(error.contains("ended this sink"), "{error}");
        sink.close().expect("nothing is left to send");
    }

    #[test]
    fn an_epoch_that_this_process_did_not_prepare_is_not_committed() {
        let cluster = cluster("out");
        let mut sink = KafkaSink::new(options(&cluster, &[], Delivery::AtLeastOnce)).expect("no key");
        recover(&mut sink, &[start(5), start(4)]);
        let token = |epoch: u64| Token(serde_json::json!({ "epoch": epoch, "topic": "out" }));
        sink.commit(&token(5)).expect("it was committed before");
        let error = sink.commit(&token(6)).expect_err("not prepared").to_string();
        assert!(error.contains("epoch 6 was not prepared"), "{error}");
    }

    #[test]
    fn only_the_positions_of_the_source_are_marked() {
        let cluster = cluster("out");
        let mut options = options(&cluster, &[], Delivery::ExactlyOnce);
        let mut positions = Positions::default();
        positions.advance(&Partition::new("in", 3), 7);
        positions.advance(&Partition::new("other", 0), 9);
        let sink = KafkaSink::new(options.clone()).expect("no key");
        assert_eq!(sink.marked(&positions), [(Partition::new("in", 3), 7)]);
        options.source_topics.clear();
        let sink = KafkaSink::new(options).expect("no key");
        assert_eq!(sink.marked(&positions), [(Partition::new("out", 0), 0)]);
        assert!(!sink.publishes("in"));
    }
}
