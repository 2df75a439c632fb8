//! Records that go back to a topic as they were, each exactly once.
//!
//! ```text
//! begin | records ... | for each partition of the target: the next offset of the archive, with a mark | commit
//! ```
//!
//! The positions in the archive are group offsets of the target's partitions, and part of the transaction that holds the
//! records. So a start fences its predecessor, reads the group and knows what is there; and if the topic is deleted, Kafka
//! forgets its offsets, so that a restore begins anew.

use std::collections::BTreeMap;

use engine::{Epoch, Error, Partition, Result};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::config::Connection;
use super::group;
use super::marks::{Committed, Mark};
use super::producer::{Producer, Undelivered};
use super::topic::BATCH_BYTES_MAX;
use crate::envelope::Record;

/// Records between two looks at the delivery reports.
const SERVE_RECORDS: u32 = 1024;

/// Bytes of the client's batches at most, if the topic takes them: librdkafka's default.
const CLIENT_BATCH_BYTES: usize = 1_000_000;

/// How a Kafka record says that it has no time.
const NO_TIMESTAMP: i64 = -1;

/// What is restored, and where to.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The cluster.
    pub connection: Connection,
    /// The topic that the records go to.
    pub topic: String,
    /// The group that keeps the positions; also names the transactional id.
    pub group: String,
    /// What is restored, for messages and for the mark: the same text means the same records.
    pub origin: String,
    /// The partitions that are written to.
    pub partitions: Vec<i32>,
    /// Bytes of a record batch that the topic takes, if that is known.
    pub batch_bytes_max: Option<usize>,
}

/// The way into the topic.
pub struct Restorer {
    options: RestoreOptions,
    producer: Producer,
    group: ConsumerGroupMetadata,
    /// The transactions that the group knows of.
    committed: Epoch,
    /// Records since the last look at the delivery reports.
    unserved: u32,
}

impl Restorer {
    /// Fences other processes that restore with the same group, and returns the next offset of the archive for each
    /// partition that has records of it already.
    ///
    /// # Errors
    /// When the brokers can't be reached or refuse us, or the group is that of something else.
    pub fn start(options: RestoreOptions) -> Result<(Self, BTreeMap<i32, i64>)> {
        // One with the group of a living other restore must not fence that one before it says so.
        let (committed, _) = read(&options, "read_uncommitted")?;
        check_owner(&options, &committed)?;
        let batch_bytes = options
            .batch_bytes_max
            .unwrap_or(BATCH_BYTES_MAX)
            .min(CLIENT_BATCH_BYTES);
        // A batch that the topic does not take for its size must be one record, so that it can be named.
        let settings = [("batch.size", batch_bytes.to_string())];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        let id = format!("millstream-{}", options.group);
        let producer = Producer::with(&options.connection, &options.topic, Some(id), &settings)?;
        producer.partitions(&options.topic)?;
        producer.init_transactions()?;
        let (committed, group) = read(&options, "read_committed")?;
        check_owner(&options, &committed)?;
        let position = |committed: &Committed| Some((committed.partition.index, committed.offset?));
        let positions = committed.iter().filter_map(position).collect();
        let epochs = committed.iter().filter_map(|committed| committed.mark.as_ref());
        let restorer = Self {
            committed: epochs.map(|mark| mark.epoch).max().unwrap_or(Epoch(0)),
            options,
            producer,
            group,
            unserved: 0,
        };
        Ok((restorer, positions))
    }

    /// Sends a record to a partition, in the transaction under way or a new one; waits while the queue is full.
    ///
    /// # Errors
    /// When it, or an earlier one, can't be written; the message names its offset in the archive.
    pub fn send(&mut self, partition: i32, record: &Record<'_>) -> Result<()> {
        self.producer.begin()?;
        let tag = usize::try_from(record.offset).expect("offsets are not negative, and have as many bits as a pointer");
        let mut outgoing = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.options.topic, tag);
        outgoing.partition = Some(partition);
        outgoing.key = record.key;
        outgoing.payload = record.value;
        outgoing.timestamp = Some(record.timestamp_ms.unwrap_or(NO_TIMESTAMP));
        if record.timestamp_ms == Some(0) {
            let problem =
                "has the time 1970-01-01T00:00:00Z, which the client takes for none and replaces by the present";
            return Err(self.refused(partition, record.offset, problem));
        }
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            let insert = |headers: OwnedHeaders, (key, value)| headers.insert(Header { key, value });
            outgoing.headers = Some(record.headers.iter().fold(headers, insert));
        }
        let sent = self.producer.send_record(outgoing);
        sent.map_err(|error| match self.producer.undelivered() {
            Some(_) => self.explain(error),
            None => self.named(partition, record.offset, error),
        })?;
        self.unserved += 1;
        if self.unserved == SERVE_RECORDS {
            self.unserved = 0;
            self.producer.serve().map_err(|error| self.explain(error))?;
        }
        Ok(())
    }

    /// Sends off what waits, without waiting for it.
    ///
    /// # Errors
    /// When a record can't be written; the message names its offset in the archive.
    pub fn serve(&self) -> Result<()> {
        self.producer.serve().map_err(|error| self.explain(error))
    }

    /// Commits the records sent since the last commit, with the next offset of the archive for each of `positions`.
    ///
    /// # Errors
    /// When a record can't be written, the coordinator can't be reached, or this process was fenced. A restart finds out
    /// whether the transaction was committed.
    pub fn commit(&mut self, positions: &BTreeMap<i32, i64>) -> Result<()> {
        self.producer.begin()?;
        self.producer.flush().map_err(|error| self.explain(error))?;
        let epoch = self.committed.next();
        let metadata = Mark::new(&self.options.origin, epoch).to_metadata();
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (&partition, &offset) in positions {
            let mut entry = list.add_partition(&self.options.topic, partition);
            entry
                .set_offset(Offset::Offset(offset))
                .expect("offsets of an archive are not negative");
            entry.set_metadata(&metadata);
        }
        self.producer.send_offsets(&list, &self.group)?;
        engine::fault::point("mid_commit");
        self.producer.commit()?;
        self.committed = epoch;
        Ok(())
    }

    /// Waits until readers of committed records see all that was committed. A commit returns before its markers are in the
    /// topic; the next transaction of the same id begins after that, so an empty one is made.
    ///
    /// # Errors
    /// As those of [`Self::commit`].
    pub fn settle(&mut self, positions: &BTreeMap<i32, i64>) -> Result<()> {
        self.commit(positions)
    }

    /// Gives up what was not committed, and ends.
    pub fn close(self) {
        self.producer.abort();
        self.producer.close();
    }

    /// Returns the error with the record's place in the archive, if it is about one.
    fn explain(&self, error: Error) -> Error {
        match self.producer.undelivered() {
            Some(Undelivered {
                code,
                bytes,
                partition,
                tag,
                ..
            }) if is_of_the_record(code) => {
                let offset = i64::try_from(tag).unwrap_or(i64::MAX);
                self.refused(
                    partition,
                    offset,
                    &format!("({bytes} bytes) is refused: {}", advice(code)),
                )
            }
            _ => error,
        }
    }

    fn named(&self, partition: i32, offset: i64, error: Error) -> Error {
        match error {
            Error::Sink { problem, .. } => self.refused(partition, offset, &format!("can't be written: {problem}")),
            other => other,
        }
    }

    fn refused(&self, partition: i32, offset: i64, problem: &str) -> Error {
        Error::Sink {
            output: format!("the topic `{}`", self.options.topic),
            problem: format!(
                "the record of partition {partition} offset {offset} ({}) {problem}",
                self.options.origin
            ),
        }
    }
}

fn read(options: &RestoreOptions, isolation: &str) -> Result<(Vec<Committed>, ConsumerGroupMetadata)> {
    let partition = |&index: &i32| Partition::new(options.topic.as_str(), index);
    let partitions: Vec<_> = options.partitions.iter().map(partition).collect();
    group::read(&options.connection, &options.group, isolation, |_| Ok(partitions))
}

/// Refuses a group that keeps other positions than those of this restore.
fn check_owner(options: &RestoreOptions, committed: &[Committed]) -> Result<()> {
    let RestoreOptions {
        group, origin, topic, ..
    } = options;
    for kept in committed.iter().filter(|kept| kept.offset.is_some()) {
        let other = match &kept.mark {
            Some(mark) if mark.job == *origin => continue,
            Some(mark) => format!("of another restore into it: {}; this one is: {origin}", mark.job),
            None => "that no restore has left".to_owned(),
        };
        return Err(Error::Invalid(format!(
            "the group `{group}` holds a position of {} {other}; give this one a topic or a --group of its own, or delete the \
             topic `{topic}` to begin anew",
            kept.partition
        )));
    }
    Ok(())
}

/// Returns whether a delivery failed for what is in the record.
fn is_of_the_record(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge | Code::InvalidTimestamp | Code::InvalidRecord | Code::InvalidMessage
    )
}

fn advice(code: Code) -> String {
    match code {
        Code::MessageSizeTooLarge => "it is larger than the topic's max.message.bytes".to_owned(),
        Code::InvalidTimestamp => {
            "its time is outside of what the topic's message.timestamp.before.max.ms and message.timestamp.after.max.ms allow"
                .to_owned()
        }
        Code::InvalidRecord => "the topic is compacted and takes no record without a key, or it is not valid".to_owned(),
        code => code.to_string(),
    }
}
