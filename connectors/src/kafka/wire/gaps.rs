//! Looks into the batches where readers find no record: markers, records of aborted transactions, or nothing at all.

use std::convert::Infallible;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use engine::position::{OffsetRange, Partition};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::super::columns;
use super::super::gaps::{Cause, Walk};
use super::super::health::is_refusal;
use super::ReaderNetwork;
use super::aborted::{Aborted, AbortedFilter};
use super::asker::Asker;
use super::batch::{BatchError, Front, Problem, RecordBatch, front};
use super::codec::Decompressor;
use super::connection::{Connection, Failure, Network};
use super::fetch::{self, Answer, BY_NAME_MAX, Part, Question, Wanted};
use super::input::TopicId;
use super::records::{self, Take, each_record};
use super::settings::FetchSettings;
use super::versions::Api;

/// Empty answers in a row after which an offset before the partition's end has nothing behind it: what compaction left of the
/// last batches may be nothing. Quotas give empty answers too, but say so.
const EMPTY_MAX: u32 = 3;

/// Why a partition's batches were not read.
pub(in crate::kafka) enum GapTrouble {
    /// The partition does not have the offset.
    OutOfRange,
    /// The broker is not there, or leads no more: trying again may help.
    Away(String),
    /// The brokers do not want us.
    Refused(String),
    /// Only librdkafka can.
    NotNative(String),
    /// The batches can't be read.
    Damaged(String),
}

impl From<Failure> for GapTrouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(problem) => Self::Away(problem),
            Failure::Refused(_, problem) => Self::Refused(problem),
            Failure::Tls(_) | Failure::Unsupported(_) => Self::NotNative(failure.to_string()),
        }
    }
}

impl From<BatchError> for GapTrouble {
    fn from(error: BatchError) -> Self {
        match error.problem {
            Problem::MessageSet(_) => Self::NotNative(error.to_string()),
            _ => Self::Damaged(error.to_string()),
        }
    }
}

/// Reads the batches of one partition, over one connection.
pub(in crate::kafka) struct GapReader<'p> {
    network: Arc<Network>,
    asker: Asker,
    partition: &'p Partition,
    read_committed: bool,
    link: Option<Link>,
    decoder: GapDecoder,
    /// The last answer.
    buffer: Vec<u8>,
    fetch_bytes: i32,
    /// Empty answers since one that was not.
    empty: u32,
}

/// A connection to the partition's leader.
struct Link {
    connection: Connection,
    topic_id: TopicId,
    epoch: i32,
}

impl<'p> GapReader<'p> {
    /// Returns a reader; one of `read_committed` knows which transactions were aborted.
    pub(in crate::kafka) fn new(network: ReaderNetwork, partition: &'p Partition, read_committed: bool) -> Self {
        let ReaderNetwork(network) = network;
        let settings = &network.settings;
        Self {
            asker: Asker::new(Arc::clone(&network)),
            decoder: GapDecoder::new(&settings.fetch, settings.answer_bytes_max),
            fetch_bytes: settings.fetch.partition_bytes,
            network,
            partition,
            read_committed,
            link: None,
            buffer: Vec::new(),
            empty: 0,
        }
    }

    /// Gets one answer from `offset` on, and says what of the walk's gaps it explains.
    ///
    /// # Errors
    /// Why it could not.
    pub(in crate::kafka) fn read<F>(&mut self, offset: i64, walk: &mut Walk<'_, F>) -> Result<(), GapTrouble>
    where
        F: FnMut(Cause, OffsetRange),
    {
        let part = self.ask(offset).inspect_err(|_| self.link = None)?;
        let bytes = &self.buffer[part.records.clone()];
        if bytes.is_empty() {
            self.empty += 1;
            if self.empty >= EMPTY_MAX {
                walk.pass(part.end, Cause::Compacted);
            }
            return Ok(());
        }
        self.empty = 0;
        let wanted = self.decoder.decode(bytes, &part.aborted, walk)?;
        let usual = self.network.settings.fetch.partition_bytes;
        self.fetch_bytes = wanted.map_or(usual, |bytes| i32::try_from(bytes).unwrap_or(i32::MAX).max(usual));
        Ok(())
    }

    /// Asks for the batches from `offset` on; they are in the buffer.
    fn ask(&mut self, offset: i64) -> Result<Part, GapTrouble> {
        if self.link.as_ref().is_none_or(|link| link.connection.is_expired()) {
            self.link = Some(self.connect()?);
        }
        let link = self.link.as_mut().expect("it was made just now, or before");
        let settings = &self.network.settings;
        let wanted = Wanted {
            topic: &self.partition.stream,
            topic_id: link.topic_id,
            partition: self.partition.index,
            leader_epoch: link.epoch,
            last_epoch: -1,
            offset,
            max_bytes: self.fetch_bytes,
        };
        let question = Question {
            max_wait_ms: settings.fetch.wait_ms,
            min_bytes: 1,
            max_bytes: settings.fetch.max_bytes.max(self.fetch_bytes),
            read_committed: self.read_committed,
            // The leader itself.
            rack: "",
        };
        let limit = if link.topic_id == [0; 16] {
            BY_NAME_MAX
        } else {
            i16::MAX
        };
        let connection = &mut link.connection;
        let sent = connection.send(Api::Fetch, limit, |output, version| {
            fetch::write(output, version, &question, &[wanted]);
        })?;
        let mut input = connection.receive(sent, &mut self.buffer)?;
        let answer = Answer::read(&mut input, sent.version);
        let answer = answer.map_err(|problem| connection.malformed(sent, problem))?;
        let index = self.partition.index;
        let part = answer.parts.into_iter().find(|part| part.partition == index);
        match answer.error.or(part.as_ref().and_then(|part| part.error)) {
            None => {}
            Some(Code::OffsetOutOfRange) => return Err(GapTrouble::OutOfRange),
            Some(code) if is_refusal(code) => return Err(GapTrouble::Refused(code.to_string())),
            Some(code) => return Err(GapTrouble::Away(code.to_string())),
        }
        if let Ok(throttle @ 1..) = u64::try_from(answer.throttle_ms) {
            self.empty = 0;
            sleep(Duration::from_millis(throttle));
        }
        part.ok_or_else(|| GapTrouble::Away("the answer has nothing of the partition".to_owned()))
    }

    /// Connects to the partition's leader.
    fn connect(&mut self) -> Result<Link, GapTrouble> {
        let Partition { stream, index } = self.partition;
        let metadata = self.asker.ask(&[Arc::clone(stream)].into())?;
        self.asker.rest();
        let topic = metadata.topics.iter().find(|topic| *topic.name == **stream);
        let leader = topic.and_then(|topic| Some((topic.id, topic.partitions.get(index)?)));
        let found = leader.and_then(|(id, leader)| Some((id, leader.epoch, metadata.brokers.get(&leader.node)?)));
        let Some((topic_id, epoch, endpoint)) = found else {
            return Err(GapTrouble::Away("the partition has no leader".to_owned()));
        };
        Ok(Link {
            connection: self.network.connect(endpoint)?,
            topic_id,
            epoch,
        })
    }
}

/// Takes what a fetch got into a walk through gaps.
pub(super) struct GapDecoder {
    check_crcs: bool,
    batch_bytes_max: usize,
    decompressor: Decompressor,
    aborted: AbortedFilter,
}

impl GapDecoder {
    pub(super) fn new(settings: &FetchSettings, batch_bytes_max: usize) -> Self {
        Self {
            check_crcs: settings.check_crcs,
            batch_bytes_max,
            decompressor: Decompressor::new(batch_bytes_max),
            aborted: AbortedFilter::default(),
        }
    }

    /// Says of the walk's gaps what the whole batches of `bytes`, which one fetch got with the list `aborted`, have there.
    /// Returns the bytes of the first batch, if not even that was whole.
    ///
    /// # Errors
    /// The first batch that can't be read.
    pub(super) fn decode<F>(
        &mut self,
        bytes: &[u8],
        aborted: &[Aborted],
        walk: &mut Walk<'_, F>,
    ) -> Result<Option<usize>, BatchError>
    where
        F: FnMut(Cause, OffsetRange),
    {
        self.aborted.start(aborted);
        let mut rest = bytes;
        while walk.next().is_some() {
            let batch = match front(rest, self.batch_bytes_max)? {
                Front::Batch(batch, after) => {
                    rest = after;
                    batch
                }
                Front::Part(size) => return Ok((rest.len() == bytes.len()).then_some(size)),
            };
            self.decode_batch(&batch, walk)?;
        }
        Ok(None)
    }

    fn decode_batch<F>(&mut self, batch: &RecordBatch<'_>, walk: &mut Walk<'_, F>) -> Result<(), BatchError>
    where
        F: FnMut(Cause, OffsetRange),
    {
        let error = |problem| batch.error(problem);
        if self.check_crcs {
            batch.check().map_err(error)?;
        }
        let is_aborted = self.aborted.is_aborted(batch).map_err(error)?;
        // Batches follow each other: what lies before this one is in none.
        walk.pass(batch.base_offset, Cause::Compacted);
        let end = batch.next_offset();
        if batch.is_control() {
            walk.pass(end, Cause::Marker);
            return Ok(());
        }
        let Some(from) = walk.next().filter(|offset| *offset < end) else {
            return Ok(());
        };
        let records = match batch.codec().map_err(error)? {
            None => batch.records,
            Some(codec) => self.decompressor.decompress(codec, batch.records).map_err(error)?,
        };
        let cause = if is_aborted { Cause::Aborted } else { Cause::Record };
        let mut passing = Passing { walk, cause };
        match each_record(batch, records, OffsetRange { from, to: end }, false, &mut passing) {
            Ok(()) => {}
            Err(records::Failure::Malformed(error)) => return Err(error),
            Err(records::Failure::Stopped(never)) => match never {},
        }
        // Compaction takes records out of a batch that it keeps.
        walk.pass(end, Cause::Compacted);
        Ok(())
    }
}

/// Passes the records of a batch.
struct Passing<'w, 'g, F> {
    walk: &'w mut Walk<'g, F>,
    cause: Cause,
}

impl<F: FnMut(Cause, OffsetRange)> Take for Passing<'_, '_, F> {
    type Stop = Infallible;

    fn record(&mut self, record: &impl columns::Record) -> Result<(), Infallible> {
        self.walk.pass(record.offset(), Cause::Compacted);
        self.walk.pass(record.offset() + 1, self.cause);
        Ok(())
    }
}
