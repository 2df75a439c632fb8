//! The producer under the sink: librdkafka's, with bounded waits, transactions, and errors that say what to do.
//!
//! Waiting: rdkafka's `flush` and `poll` take all of their timeout even when what they wait for has come, and spin through
//! its last millisecond. So they are only asked with a timeout of 0 here, and the thread sleeps between, until there is a
//! report. A call with a queue that is known to be empty does not wait at all.

mod failure;
mod reports;

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use engine::{Error, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::config::Connection;
use super::ffi::{Pair, RECORDS_MAX, Target, Watched, drop_within};
use super::health::TLS_FAILED;

pub(super) use self::failure::invalid_settings;
use self::failure::{Failures, is_absent, is_fenced};
use self::reports::Reports;
pub(super) use self::reports::Undelivered;

/// How long a start waits for the first answer of a broker.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long a start waits for the coordinators of the transactional id and of the group. One that has just been
/// restarted loads its log first, which takes seconds.
pub(super) const COORDINATOR_TIME: Duration = Duration::from_secs(30);

/// How long offsets and a commit are tried again, with back-off, while the coordinator is away.
const RETRY_TIME: Duration = Duration::from_secs(60);

/// One blocking call into librdkafka; between two, errors that make waiting pointless are looked for.
const CALL_TIME: Duration = Duration::from_secs(1);

/// How long giving up a transaction, or letting go of a client, may take. What is left then, the broker ends after
/// `transaction.timeout.ms`, or the next start.
const END_TIME: Duration = Duration::from_secs(5);

/// How long the broker may take to create the topic.
const CREATION_TIME: Duration = Duration::from_secs(5);

/// The first and the longest pause between two tries.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long deliveries are waited for before somebody looks whether they are there all the same.
const REPORT_LOOK: Duration = Duration::from_millis(10);

/// Between two looks for delivery reports while another thread gives a transaction up.
const LOOK: Duration = Duration::from_micros(500);

/// The broker ends a transaction that is open for longer, so the checkpoint interval must be shorter.
pub(super) const TRANSACTION_TIMEOUT_MS: u64 = 60_000;

/// What both deliveries set, before the properties file.
///
/// - `compression.type`: lz4 costs little CPU, and log lines shrink to a third or less.
/// - `partitioner`: where Java's producers put a key.
/// - `linger.ms`: an epoch's last batch waits this long, so it is part of every commit's latency.
/// - `retry.backoff.ms`: the coordinator turns the next transaction away while it still ends the last one, which takes
///   milliseconds; the default of 100 ms made an epoch of 1,000 records take 40 ms, 10 ms makes it 14.
/// - `reconnect.backoff.max.ms`: a broker that comes back is noticed within a second, not ten.
/// - `message.max.bytes`: the broker's own limit (1 MB by default) is the one that counts. A record must fit the queue.
/// - `queue.buffering.max.*`: 64 MB of records wait at most; a full queue is the sink's back-pressure.
const DEFAULTS: &[(&str, &str)] = &[
    ("compression.type", "lz4"),
    ("partitioner", "murmur2_random"),
    ("linger.ms", "2"),
    ("retry.backoff.ms", "10"),
    ("reconnect.backoff.max.ms", "1000"),
    ("message.max.bytes", "33554432"),
    ("queue.buffering.max.kbytes", "65536"),
    ("queue.buffering.max.messages", "500000"),
    ("enable.idempotence", "true"),
];

/// A producer for one topic, and for others that take part in its transactions.
pub(super) struct Producer {
    client: Watched<Reports>,
    reports: Reports,
    failures: Failures,
    transaction: Option<Transaction>,
}

/// What makes a producer transactional.
struct Transaction {
    timeout: Duration,
    /// When the open transaction was begun.
    begun: Mutex<Option<Instant>>,
}

impl Transaction {
    fn begun(&self) -> Option<Instant> {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_begun(&self, begun: Option<Instant>) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = begun;
    }
}

impl Producer {
    /// Returns a producer that connects when it is first used. With a transactional id, the records are sent in
    /// transactions.
    ///
    /// # Errors
    /// When a setting is not valid.
    pub(super) fn new(connection: &Connection, topic: &str, transactional_id: Option<String>) -> Result<Self> {
        Self::with(connection, topic, transactional_id, &[])
    }

    /// Returns the same with further settings, which the properties file may change.
    ///
    /// # Errors
    /// When a setting is not valid.
    pub(super) fn with(
        connection: &Connection,
        topic: &str,
        transactional_id: Option<String>,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let config = config(connection, transactional_id.as_deref(), settings);
        let reports = Reports::new(connection.brokers());
        let client = config
            .create_with_context(reports.clone())
            .map_err(|error| invalid_settings(&error))?;
        let timeout_ms = config.get("transaction.timeout.ms").and_then(|text| text.parse().ok());
        Ok(Self {
            client: Watched::new(client),
            reports,
            transaction: transactional_id.is_some().then(|| Transaction {
                timeout: Duration::from_millis(timeout_ms.unwrap_or(TRANSACTION_TIMEOUT_MS)),
                begun: Mutex::new(None),
            }),
            failures: Failures {
                brokers: connection.brokers().to_owned(),
                topic: topic.to_owned(),
                transactional_id,
            },
        })
    }

    /// Returns the topic.
    pub(super) fn topic(&self) -> &str {
        &self.failures.topic
    }

    /// Returns the number of partitions of `topic`. Waits for its creation: brokers that create topics on their own do
    /// it when they are first asked.
    ///
    /// # Errors
    /// When the brokers can't be reached or refuse us, or there is no such topic.
    pub(super) fn partitions(&self, topic: &str) -> Result<i32> {
        let deadline = Instant::now() + CONNECT_TIME;
        let mut creation_deadline = None;
        loop {
            let code = match self.client.client().fetch_metadata(Some(topic), CALL_TIME) {
                Ok(metadata) => match count_partitions(&metadata, topic) {
                    Ok(count) => return Ok(count),
                    Err(code) if !is_absent(code) => return Err(self.failure("look up the topic", code, "")),
                    Err(code) => {
                        let deadline = *creation_deadline.get_or_insert_with(|| Instant::now() + CREATION_TIME);
                        if Instant::now() > deadline {
                            return Err(self.failures.of_topic(topic).absent());
                        }
                        code
                    }
                },
                Err(error) => error.rdkafka_error_code().unwrap_or(Code::Fail),
            };
            self.wait(PAUSE_MIN);
            self.check_reachable(code, Instant::now() > deadline)?;
        }
    }

    /// Fences every older producer of the same transactional id, and ends its open transaction.
    ///
    /// # Errors
    /// When the coordinator can't be reached or refuses us.
    pub(super) fn init_transactions(&self) -> Result<()> {
        self.retried("take over the transactional id", COORDINATOR_TIME, |client| {
            client.init_transactions(CALL_TIME)
        })
    }

    /// Begins a transaction unless one is open. Costs no request.
    ///
    /// # Errors
    /// When this producer was fenced.
    pub(super) fn begin(&self) -> Result<()> {
        if self.in_transaction() {
            return Ok(());
        }
        self.client
            .begin_transaction()
            .map_err(|error| self.transaction_failure("begin a transaction", &error))?;
        if let Some(transaction) = &self.transaction {
            transaction.set_begun(Some(Instant::now()));
        }
        Ok(())
    }

    /// Returns whether a transaction is open.
    pub(super) fn in_transaction(&self) -> bool {
        self.transaction
            .as_ref()
            .is_some_and(|transaction| transaction.begun().is_some())
    }

    /// Puts `count` records for `topic` in the queue, and handles the delivery reports that have come; waits while the queue
    /// is full.
    ///
    /// # Errors
    /// When a record is too large, or an earlier one was not delivered.
    pub(super) fn send_all<'r>(
        &self,
        topic: &str,
        partition: Option<i32>,
        count: usize,
        record: impl Fn(usize) -> Pair<'r>,
    ) -> Result<()> {
        let failed = |code| self.failure("send a record", code, "");
        let target = Target::new(self.client.client(), topic).map_err(failed)?;
        let mut next = 0;
        while next < count {
            let end = count.min(next + RECORDS_MAX);
            match target.produce(partition, (next..end).map(&record)) {
                Ok(()) => next = end,
                Err(refused) => {
                    next += refused.at;
                    let Pair { key, value } = record(next);
                    let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
                    self.wait_for_room(topic, refused.code, bytes)?;
                }
            }
            self.serve()?;
        }
        self.serve()
    }

    /// Puts a record in the queue, with all that it has; waits while the queue is full. What it is tagged with is told if it
    /// can't be delivered.
    ///
    /// # Errors
    /// When the record is too large, or an earlier one was not delivered.
    pub(super) fn send_record(&self, mut record: BaseRecord<'_, [u8], [u8], usize>) -> Result<()> {
        let topic = record.topic;
        let bytes = record.key.map_or(0, <[u8]>::len) + record.payload.map_or(0, <[u8]>::len);
        loop {
            let Err((error, back)) = self.client.send(record) else {
                return Ok(());
            };
            self.wait_for_room(topic, error.rdkafka_error_code().unwrap_or(Code::Fail), bytes)?;
            self.check_delivered()?;
            record = back;
        }
    }

    /// Waits a little for the queue to have room again, if that is why a record of `bytes` bytes was refused.
    fn wait_for_room(&self, topic: &str, code: Code, bytes: usize) -> Result<()> {
        match code {
            // An empty queue that has no room never will.
            Code::QueueFull if self.client.in_flight_count() == 0 => {
                Err(self.failures.of_topic(topic).too_large(bytes))
            }
            Code::QueueFull => {
                self.client.wait(REPORT_LOOK);
                self.client.poll(Duration::ZERO);
                Ok(())
            }
            Code::MessageSizeTooLarge => Err(self.failures.of_topic(topic).too_large(bytes)),
            code => Err(self.failure("send a record", code, "")),
        }
    }

    /// Returns the first record that was not delivered, if there is one.
    pub(super) fn undelivered(&self) -> Option<Undelivered> {
        self.reports.undelivered()
    }

    /// Handles the delivery reports that have come, without waiting.
    ///
    /// # Errors
    /// When a record was not delivered.
    pub(super) fn serve(&self) -> Result<()> {
        self.client.poll(Duration::ZERO);
        self.check_delivered()
    }

    /// Waits until every record is delivered or has failed; librdkafka gives each `message.timeout.ms`.
    ///
    /// # Errors
    /// When a record was not delivered.
    pub(super) fn flush(&self) -> Result<()> {
        // Sends what lingers. Once, since each call wakes all of librdkafka's threads.
        let is_empty = self.client.flush(Duration::ZERO).is_ok();
        while !is_empty && self.client.in_flight_count() > 0 {
            self.client.wait(REPORT_LOOK);
            self.client.poll(Duration::ZERO);
            self.check_delivered()?;
        }
        self.check_delivered()
    }

    /// Makes the group's offsets part of the transaction.
    ///
    /// # Errors
    /// When the coordinator can't be reached or refuses, or this producer was fenced.
    pub(super) fn send_offsets(&self, offsets: &TopicPartitionList, group: &ConsumerGroupMetadata) -> Result<()> {
        self.retried("add the source's offsets to the transaction", RETRY_TIME, |client| {
            client.send_offsets_to_transaction(offsets, group, RETRY_TIME)
        })
    }

    /// Commits the transaction; everything in it was delivered before.
    ///
    /// # Errors
    /// When the coordinator can't be reached or refuses, or this producer was fenced.
    pub(super) fn commit(&self) -> Result<()> {
        self.retried("commit the transaction", RETRY_TIME, |client| {
            client.commit_transaction(RETRY_TIME)
        })?;
        if let Some(transaction) = &self.transaction {
            transaction.set_begun(None);
        }
        Ok(())
    }

    /// Gives up the open transaction, if there is one, as far as that succeeds in a bounded time.
    pub(super) fn abort(&self) {
        if !self.in_transaction() {
            return;
        }
        // librdkafka waits for the delivery reports of what it purges, so another thread must take them meanwhile.
        let client = &self.client;
        let aborted = thread::scope(|scope| {
            let abort = scope.spawn(|| client.abort_transaction(END_TIME));
            while !abort.is_finished() {
                client.poll(Duration::ZERO);
                thread::sleep(LOOK);
            }
            abort.join()
        });
        if let Ok(Err(error)) = aborted {
            tracing::debug!(%error, "the transaction was not aborted; the next start does it");
        }
        if let Some(transaction) = &self.transaction {
            transaction.set_begun(None);
        }
    }

    /// Lets go of the client in a bounded time.
    pub(super) fn close(self) {
        drop_within(END_TIME, self.client.into_producer());
    }

    /// Tries a transactional call again while it may succeed.
    fn retried(
        &self,
        act: &str,
        time: Duration,
        call: impl Fn(&BaseProducer<Reports>) -> Result<(), KafkaError>,
    ) -> Result<()> {
        let deadline = Instant::now() + time;
        let mut pause = PAUSE_MIN;
        loop {
            let error = match call(&self.client) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let retriable = matches!(&error, KafkaError::Transaction(error) if error.is_retriable());
            if !retriable || Instant::now() > deadline {
                return Err(self.transaction_failure(act, &error));
            }
            self.wait(pause);
            self.reports.health().check()?;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Lets some time pass, then handles the delivery reports that have come.
    fn wait(&self, pause: Duration) {
        thread::sleep(pause);
        self.client.poll(Duration::ZERO);
    }

    fn check_delivered(&self) -> Result<()> {
        let Some(undelivered) = self.reports.undelivered() else {
            return Ok(());
        };
        if undelivered.code == Code::MessageSizeTooLarge {
            return Err(self.failures.too_large(undelivered.bytes));
        }
        let act = format!("deliver {} records", undelivered.records);
        Err(match self.transaction_problem() {
            Some(cause) => self.transaction_failure(&act, &cause),
            None => self.failure(&act, undelivered.code, ""),
        })
    }

    /// Returns why the open transaction has failed, if it has: then its records are only the victims. Beginning once more
    /// is the one call that tells without a side effect.
    fn transaction_problem(&self) -> Option<KafkaError> {
        if !self.in_transaction() {
            return None;
        }
        let answer = self.client.begin_transaction().err();
        answer.filter(|error| error.rdkafka_error_code() != Some(Code::State))
    }

    /// Refuses to wait on for a first answer that failed with `code`: when the time is `over`, or the brokers say no.
    fn check_reachable(&self, code: Code, over: bool) -> Result<()> {
        let health = self.reports.health();
        health.check()?;
        let problem = health.problem();
        let is_final = problem.as_ref().is_some_and(|problem| problem.starts_with(TLS_FAILED));
        if !over && !is_final {
            return Ok(());
        }
        let reason = problem.unwrap_or_else(|| code.to_string());
        Err(health.connect_error(format!("no answer within {} s: {reason}", CONNECT_TIME.as_secs())))
    }

    fn transaction_failure(&self, act: &str, error: &KafkaError) -> Error {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        let text = match error {
            KafkaError::Transaction(error) => error.string(),
            error => error.to_string(),
        };
        self.failure(act, code, &text)
    }

    /// Returns the error for a failed act: what happened, and what to do where that is known.
    fn failure(&self, act: &str, code: Code, text: &str) -> Error {
        // Every call of a producer that was fenced fails with an error that only says `fatal`.
        let code = self.client.client().fatal_error().map_or(code, |(code, _)| code);
        if let Some(transaction) = &self.transaction
            && is_fenced(code)
            && transaction
                .begun()
                .is_some_and(|begun| begun.elapsed() >= transaction.timeout)
        {
            return self.failures.timed_out(transaction.timeout);
        }
        self.failures.failed(act, code, text)
    }
}

fn config(connection: &Connection, transactional_id: Option<&str>, settings: &[(&str, &str)]) -> ClientConfig {
    let timeout = TRANSACTION_TIMEOUT_MS.to_string();
    let mut defaults = [DEFAULTS, settings].concat();
    if let Some(id) = transactional_id {
        defaults.extend([("transactional.id", id), ("transaction.timeout.ms", timeout.as_str())]);
    }
    let mut config = connection.client_config(&defaults);
    // A record must fail before the broker ends the transaction, or the failure would look like a fence.
    let transaction_ms: Option<u64> = config.get("transaction.timeout.ms").and_then(|text| text.parse().ok());
    if let Some(transaction_ms) = transaction_ms
        && config.get("message.timeout.ms").is_none()
    {
        config.set("message.timeout.ms", (transaction_ms * 5 / 6).to_string());
    }
    config
}

fn count_partitions(metadata: &Metadata, topic: &str) -> Result<i32, Code> {
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let found = found.ok_or(Code::UnknownTopicOrPartition)?;
    match found.error() {
        Some(error) => Err(error.into()),
        None if found.partitions().is_empty() => Err(Code::LeaderNotAvailable),
        None => Ok(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(transactional_id: Option<&str>) -> Producer {
        let connection = Connection::new("localhost:1");
        Producer::new(&connection, "out", transactional_id.map(str::to_owned)).expect("valid settings")
    }

    fn properties(text: &str) -> ClientConfig {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        std::fs::write(file.path(), text).expect("a scratch file can be written");
        let connection = Connection::with_properties("localhost:1", file.path()).expect("valid settings");
        config(&connection, Some("millstream-g"), &[])
    }

    #[test]
    fn a_record_fails_before_the_broker_ends_its_transaction() {
        let message_timeout = |text| properties(text).get("message.timeout.ms").map(str::to_owned);
        assert_eq!(message_timeout(""), Some("50000".to_owned()));
        assert_eq!(message_timeout("transaction.timeout.ms=6000"), Some("5000".to_owned()));
        assert_eq!(message_timeout("message.timeout.ms=7"), Some("7".to_owned()));
    }

    #[test]
    fn settings_of_the_properties_file_win() {
        assert_eq!(
            properties("compression.type=zstd").get("compression.type"),
            Some("zstd")
        );
        assert_eq!(properties("").get("compression.type"), Some("lz4"));
    }

    #[test]
    fn a_transaction_open_for_too_long_is_not_called_a_fence() {
        let mut producer = producer(Some("millstream-g"));
        let transaction = producer.transaction.as_mut().expect("transactional");
        transaction.timeout = Duration::ZERO;
        transaction.set_begun(Some(Instant::now()));
        let error = producer.failure("commit the transaction", Code::InvalidProducerEpoch, "");
        producer.transaction = None;
        assert!(
            matches!(&error, Error::Sink { problem, .. } if problem.contains("transaction.timeout.ms")),
            "{error}"
        );
    }

    #[test]
    fn a_record_that_no_queue_can_hold_is_refused_at_once() {
        let producer = producer(None);
        let value = vec![0; 33_554_433];
        let record = |_| Pair {
            key: None,
            value: Some(value.as_slice()),
        };
        let error = producer
            .send_all("out", None, 1, record)
            .expect_err("too large")
            .to_string();
        assert!(
            error.contains("33554433 bytes") && error.contains("max.message.bytes"),
            "{error}"
        );
    }

    #[test]
    fn a_failed_delivery_is_told_by_the_next_call() {
        let producer = producer(None);
        for _ in 0..3 {
            producer.reports.count_undelivered(Undelivered {
                code: Code::MessageTimedOut,
                bytes: 10,
                partition: 0,
                tag: 0,
                records: 1,
            });
        }
        let error = producer.serve().expect_err("not delivered").to_string();
        assert!(
            error.contains("deliver 3 records") && error.contains("message.timeout.ms"),
            "{error}"
        );
    }
}
