//! Records in and out of a broker: written fast, read back whole.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders, ToBytes};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::broker::Broker;
use super::{PATIENCE, eventually};

/// Lines in a row that go to the same partition, so that the producer makes large batches.
const LINES_PER_TURN: usize = 1000;

/// The headers of a record: names may repeat, values may be null.
pub(crate) type HeaderList = Vec<(String, Option<Vec<u8>>)>;

/// A record to write.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewRecord {
    /// The key, or null.
    pub(crate) key: Option<Vec<u8>>,
    /// The value, or null: a tombstone.
    pub(crate) value: Option<Vec<u8>>,
    /// The headers.
    pub(crate) headers: HeaderList,
    /// Milliseconds since 1970; `None` for now.
    pub(crate) timestamp: Option<i64>,
}

impl NewRecord {
    /// Returns a record of a value only.
    pub(crate) fn of(value: impl Into<Vec<u8>>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The partition's number.
    pub(crate) partition: i32,
    /// The record's offset in its partition.
    pub(crate) offset: i64,
    /// The key, or null.
    pub(crate) key: Option<Vec<u8>>,
    /// The value, or null.
    pub(crate) value: Option<Vec<u8>>,
    /// The headers.
    pub(crate) headers: HeaderList,
    /// Milliseconds since 1970.
    pub(crate) timestamp: Option<i64>,
}

/// Which records of transactions a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Those of committed transactions, up to the first open one.
    ReadCommitted,
    /// Those of open and aborted transactions too.
    ReadUncommitted,
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its records become visible.
    Commit,
    /// Its records stay invisible under read_committed.
    Abort,
}

impl Broker {
    /// Writes records to one partition, in order, and waits until all are stored.
    ///
    /// # Panics
    /// When one of them is refused.
    #[track_caller]
    pub(crate) fn produce(&self, topic: &str, partition: i32, records: impl IntoIterator<Item = NewRecord>) {
        let producer = self.take_producer();
        for record in records {
            send(&producer, topic, partition, &record);
        }
        finish(&producer);
        self.give_back(producer);
    }

    /// Writes lines to all partitions of a topic of `partitions`, in turns of 1,000; none has a key.
    ///
    /// # Panics
    /// When one of them is refused.
    #[track_caller]
    pub(crate) fn produce_lines<L: AsRef<[u8]>>(
        &self,
        topic: &str,
        partitions: usize,
        lines: impl IntoIterator<Item = L>,
    ) {
        let producer = self.take_producer();
        for (index, line) in lines.into_iter().enumerate() {
            let partition = i32::try_from(index / LINES_PER_TURN % partitions).expect("few partitions");
            let record = BaseRecord::<(), [u8]>::to(topic)
                .partition(partition)
                .payload(line.as_ref());
            enqueue(&producer, record);
        }
        finish(&producer);
        self.give_back(producer);
    }

    /// Writes records to one partition in one transaction, which leaves a marker: an offset without a record.
    ///
    /// # Panics
    /// When a record or the transaction is refused.
    #[track_caller]
    pub(crate) fn produce_in_transaction(
        &self,
        topic: &str,
        partition: i32,
        records: impl IntoIterator<Item = NewRecord>,
        end: End,
    ) {
        let transaction = self.begin_transaction();
        transaction.produce(topic, partition, records);
        transaction.end(end);
    }

    /// Writes records, each to its partition, in order, by a producer of its own with this codec; in a transaction if it has an
    /// end.
    ///
    /// # Panics
    /// When a record or the transaction is refused.
    #[track_caller]
    pub(crate) fn produce_block(
        &self,
        topic: &str,
        codec: &str,
        end: Option<End>,
        records: impl IntoIterator<Item = (i32, NewRecord)>,
    ) {
        let mut settings = self.producer_settings();
        settings.set("compression.type", codec);
        let transaction = end.map(|end| (begin_transaction(&mut settings), end));
        let producer = match &transaction {
            Some((Transaction(producer), _)) => producer,
            None => &create_producer(&settings),
        };
        for (partition, record) in records {
            send(producer, topic, partition, &record);
        }
        finish(producer);
        if let Some((transaction, end)) = transaction {
            transaction.end(end);
        }
    }

    /// Begins a transaction of a producer of its own.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub(crate) fn begin_transaction(&self) -> Transaction {
        begin_transaction(&mut self.producer_settings())
    }

    /// Returns every record of a topic, in order within each partition.
    ///
    /// # Panics
    /// When the broker does not answer or the topic does not exist.
    #[track_caller]
    pub(crate) fn consume(&self, topic: &str, isolation: Isolation) -> Vec<Record> {
        let mut records = Vec::new();
        self.for_each(topic, isolation, |message| records.push(owned(message)));
        records
    }

    /// Calls `visit` for every record of a topic, in order within each partition, without keeping them.
    ///
    /// # Panics
    /// When the broker does not answer or the topic does not exist.
    #[track_caller]
    pub(crate) fn for_each(&self, topic: &str, isolation: Isolation, mut visit: impl FnMut(&BorrowedMessage<'_>)) {
        let isolation = match isolation {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        };
        let settings = [
            ("group.id", "harness"),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("isolation.level", isolation),
            ("fetch.wait.max.ms", "10"),
            ("fetch.queue.backoff.ms", "2"),
        ];
        let consumer: BaseConsumer = self.client(&settings).create().expect("a valid configuration");
        // Numbers, not the marker for the beginning: librdkafka takes half a second to look that one up.
        let starts: Vec<_> = (0..).zip(self.bounds(topic)).collect();
        let mut unfinished: HashSet<i32> = starts.iter().map(|(partition, _)| *partition).collect();
        let mut all = TopicPartitionList::new();
        for (partition, bounds) in starts {
            let start = Offset::Offset(bounds.start);
            all.add_partition_offset(topic, partition, start)
                .expect("an offset that is no marker");
        }
        consumer.assign(&all).expect("the partitions exist");
        while !unfinished.is_empty() {
            match consumer
                .poll(PATIENCE)
                .unwrap_or_else(|| panic!("waited {PATIENCE:?} for records of {topic}"))
            {
                Ok(message) => visit(&message),
                Err(KafkaError::PartitionEOF(partition)) => {
                    unfinished.remove(&partition);
                }
                Err(error) => panic!("cannot read {topic}: {error}"),
            }
        }
    }

    /// Producers are kept, since each needs half a second for the producer id that keeps retries from doubling records.
    fn take_producer(&self) -> BackgroundProducer {
        let idle = self.idle_producers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| create_producer(&self.producer_settings()))
    }

    fn give_back(&self, producer: BackgroundProducer) {
        self.idle_producers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(producer);
    }

    fn producer_settings(&self) -> ClientConfig {
        self.client(&[
            ("enable.idempotence", "true"),
            ("linger.ms", "5"),
            ("batch.num.messages", "100000"),
            ("compression.type", "lz4"),
            // A broker that comes back is found at once, not within ten seconds.
            ("reconnect.backoff.max.ms", "200"),
            ("message.max.bytes", "10485760"),
        ])
    }
}

/// A transaction that is open; dropped, it stays open until its timeout.
pub(crate) struct Transaction(BackgroundProducer);

impl Transaction {
    /// Writes records to one partition, in order, and waits until all are stored.
    ///
    /// # Panics
    /// When one of them is refused.
    #[track_caller]
    pub(crate) fn produce(&self, topic: &str, partition: i32, records: impl IntoIterator<Item = NewRecord>) {
        for record in records {
            send(&self.0, topic, partition, &record);
        }
        finish(&self.0);
    }

    /// Ends the transaction, which leaves a marker: an offset without a record.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub(crate) fn end(self, end: End) {
        match end {
            End::Commit => self.0.commit_transaction(PATIENCE).expect("the transaction commits"),
            End::Abort => self.0.abort_transaction(PATIENCE).expect("the transaction aborts"),
        }
    }
}

/// A producer that sends in the background.
pub(crate) type BackgroundProducer = ThreadedProducer<Deliveries>;

/// Counts the records that the broker refused.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    refused: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            eprintln!("a record was refused: {error}");
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn create_producer(settings: &ClientConfig) -> BackgroundProducer {
    ThreadedProducer::from_config_and_context(settings, Deliveries::default()).expect("a valid configuration")
}

#[track_caller]
fn begin_transaction(settings: &mut ClientConfig) -> Transaction {
    settings.set("transactional.id", Broker::unique("harness"));
    let producer = create_producer(settings);
    producer
        .init_transactions(PATIENCE)
        .expect("the broker knows transactions");
    producer.begin_transaction().expect("no transaction is open");
    Transaction(producer)
}

#[track_caller]
fn send(producer: &BackgroundProducer, topic: &str, partition: i32, new: &NewRecord) {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition);
    if let Some(key) = &new.key {
        record = record.key(key.as_slice());
    }
    if let Some(value) = &new.value {
        record = record.payload(value.as_slice());
    }
    if let Some(timestamp) = new.timestamp {
        record = record.timestamp(timestamp);
    }
    if !new.headers.is_empty() {
        let insert = |headers: OwnedHeaders, (key, value): &(String, Option<Vec<u8>>)| {
            let value = value.as_deref();
            headers.insert(Header { key, value })
        };
        record = record.headers(new.headers.iter().fold(OwnedHeaders::new(), insert));
    }
    enqueue(producer, record);
}

/// Hands a record to librdkafka, waiting while its queue is full.
#[track_caller]
fn enqueue<K: ToBytes + ?Sized>(producer: &BackgroundProducer, record: BaseRecord<'_, K, [u8]>) {
    let mut waiting = Some(record);
    eventually(PATIENCE, "room in the producer's queue", || {
        match producer.send(waiting.take().expect("put back when it was not taken")) {
            Ok(()) => Some(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                waiting = Some(record);
                None
            }
            Err((error, _)) => panic!("cannot write: {error}"),
        }
    });
}

#[track_caller]
fn finish(producer: &BackgroundProducer) {
    producer.flush(PATIENCE).expect("the broker stores the records in time");
    let refused = producer.context().refused.load(Ordering::Relaxed);
    assert_eq!(refused, 0, "the broker refused records");
}

fn owned(message: &BorrowedMessage<'_>) -> Record {
    let header = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message
            .headers()
            .map_or_else(Vec::new, |headers| headers.iter().map(header).collect()),
        timestamp: message.timestamp().to_millis(),
    }
}
