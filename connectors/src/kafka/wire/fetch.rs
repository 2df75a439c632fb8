//! Asking for records (`Fetch`): each request names all partitions anew, without a session.

use std::ops::Range;

use rdkafka::types::RDKafkaErrorCode as Code;

use super::aborted::Aborted;
use super::code;
use super::input::{Input, Malformed, TopicId};
use super::output::Output;

/// The last version that names topics; later ones give their ids.
pub(super) const BY_NAME_MAX: i16 = 12;

/// The tagged field of a partition whose leader's log parts from what was read: an epoch, and the offset where it ends.
const DIVERGING_EPOCH: u32 = 0;

/// What is asked for of all partitions together.
#[derive(Clone, Debug)]
pub(super) struct Question<'q> {
    pub(super) max_wait_ms: i32,
    pub(super) min_bytes: i32,
    pub(super) max_bytes: i32,
    pub(super) read_committed: bool,
    pub(super) rack: &'q str,
}

/// What is asked for of one partition.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'q> {
    pub(super) topic: &'q str,
    pub(super) topic_id: TopicId,
    pub(super) partition: i32,
    pub(super) leader_epoch: i32,
    /// The epoch of the batch before the offset, or -1: a leader that does not have it there says where its log parts.
    pub(super) last_epoch: i32,
    pub(super) offset: i64,
    pub(super) max_bytes: i32,
}

/// Writes a request. Partitions of one topic stand together.
pub(super) fn write(output: &mut Output, version: i16, question: &Question<'_>, wanted: &[Wanted<'_>]) {
    if version <= 14 {
        // Not a replica; later versions say so by leaving the field out.
        output.i32(-1);
    }
    output.i32(question.max_wait_ms);
    output.i32(question.min_bytes);
    output.i32(question.max_bytes);
    output.i8(i8::from(question.read_committed));
    // No session.
    output.i32(0);
    output.i32(-1);
    let topics = || wanted.chunk_by(|left, right| left.topic == right.topic);
    output.count(topics().count());
    for partitions in topics() {
        match version <= BY_NAME_MAX {
            true => output.string(partitions[0].topic),
            false => output.topic_id(&partitions[0].topic_id),
        }
        output.count(partitions.len());
        for partition in partitions {
            output.i32(partition.partition);
            output.i32(partition.leader_epoch);
            output.i64(partition.offset);
            if version >= 12 {
                output.i32(partition.last_epoch);
            }
            output.i64(-1);
            output.i32(partition.max_bytes);
            output.tags();
        }
        output.tags();
    }
    // No forgotten topics.
    output.count(0);
    if version >= 11 {
        output.string(question.rack);
    }
    output.tags();
}

/// An answer, without its records.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) throttle_ms: i32,
    pub(super) error: Option<Code>,
    pub(super) parts: Vec<Part>,
}

/// What an answer holds of one partition.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Empty when the answer gives the id.
    pub(super) topic: String,
    /// Zero when the answer gives the name.
    pub(super) topic_id: TopicId,
    pub(super) partition: i32,
    pub(super) error: Option<Code>,
    /// The offset after the last record that can be read.
    pub(super) end: i64,
    pub(super) aborted: Vec<Aborted>,
    /// The first offset at which the log is not the one that was read before, if there is such.
    pub(super) parts_at: Option<i64>,
    /// The replica to read from instead, or -1.
    pub(super) preferred_replica: i32,
    /// Where in the answer the records are.
    pub(super) records: Range<usize>,
}

impl Answer {
    /// Reads the answer of versions 10 to 16; places of records count from the start of `input`.
    pub(super) fn read(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        let throttle_ms = input.i32()?;
        let error = code(input.i16()?);
        input.i32()?;
        let mut parts = Vec::new();
        for _ in 0..input.count(6)? {
            let (topic, topic_id) = match version <= BY_NAME_MAX {
                true => (input.string()?, [0; 16]),
                false => ("", input.topic_id()?),
            };
            for _ in 0..input.count(35)? {
                let mut part = Part::read(input, version)?;
                topic.clone_into(&mut part.topic);
                part.topic_id = topic_id;
                parts.push(part);
            }
            input.tags()?;
        }
        input.tags()?;
        Ok(Self {
            throttle_ms,
            error,
            parts,
        })
    }
}

impl Part {
    fn read(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        let partition = input.i32()?;
        let error = code(input.i16()?);
        let high_watermark = input.i64()?;
        // The offset after the last one that no open transaction holds back; -1 if all are read.
        let last_stable = input.i64()?;
        input.i64()?;
        let mut aborted = Vec::new();
        for _ in 0..input.count(16)? {
            aborted.push(Aborted {
                producer_id: input.i64()?,
                first_offset: input.i64()?,
            });
            input.tags()?;
        }
        let preferred_replica = if version >= 11 { input.i32()? } else { -1 };
        let length = input.nullable_bytes()?.map_or(0, <[u8]>::len);
        let records = input.position() - length..input.position();
        let mut parts_at = None;
        input.visit_tags(|tag, mut field| {
            if tag == DIVERGING_EPOCH {
                field.i32()?;
                parts_at = Some(field.i64()?);
            }
            Ok(())
        })?;
        Ok(Self {
            topic: String::new(),
            topic_id: [0; 16],
            partition,
            error,
            end: if last_stable < 0 { high_watermark } else { last_stable },
            aborted,
            parts_at,
            preferred_replica,
            records,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(version: i16) -> Vec<u8> {
        let mut output = Output::default();
        output.start(version >= 12);
        output.i32(15);
        output.i16(0);
        output.i32(0);
        output.count(1);
        match version <= BY_NAME_MAX {
            true => output.string("access"),
            false => output.topic_id(&[3; 16]),
        }
        output.count(2);
        for partition in 0..2 {
            output.i32(partition);
            output.i16(if partition == 0 { 0 } else { 6 });
            output.i64(100);
            output.i64(90);
            output.i64(10);
            output.count(1);
            output.i64(77);
            output.i64(50);
            output.tags();
            if version >= 11 {
                output.i32(2);
            }
            output.bytes(b"records");
            output.tags();
        }
        output.tags();
        output.tags();
        output.finish()[4..].to_vec()
    }

    #[test]
    fn every_version_is_read_and_every_truncation_is_refused() {
        for version in 10..=16 {
            let bytes = answer(version);
            let read = Answer::read(&mut Input::new(&bytes, version >= 12), version).expect("whole");
            assert_eq!((read.throttle_ms, read.error, read.parts.len()), (15, None, 2));
            let part = &read.parts[0];
            assert_eq!(&bytes[part.records.clone()], b"records");
            assert_eq!((part.aborted[0].producer_id, part.aborted[0].first_offset), (77, 50));
            assert_eq!((part.partition, part.end, part.error), (0, 90, None));
            assert_eq!(part.preferred_replica, if version >= 11 { 2 } else { -1 });
            let by_name = version <= BY_NAME_MAX;
            assert_eq!(part.topic, if by_name { "access" } else { "" });
            assert_eq!(part.topic_id, if by_name { [0; 16] } else { [3; 16] });
            assert_eq!(read.parts[1].error, Some(Code::NotLeaderForPartition));
            for length in 0..bytes.len() {
                let cut = Answer::read(&mut Input::new(&bytes[..length], version >= 12), version);
                assert!(cut.is_err(), "version {version} cut to {length} bytes");
            }
        }
    }

    #[test]
    fn the_partitions_of_a_topic_share_its_name_in_the_request() {
        let wanted = |topic, partition| Wanted {
            topic,
            topic_id: [9; 16],
            partition,
            leader_epoch: 4,
            last_epoch: 3,
            offset: 1,
            max_bytes: 2,
        };
        let question = Question {
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1 << 20,
            read_committed: true,
            rack: "",
        };
        let wanted = [wanted("a", 0), wanted("a", 1), wanted("b", 0)];
        let mut output = Output::default();
        output.start(false);
        write(&mut output, 10, &question, &wanted);
        let (request, partition) = (4 + 12 + 1 + 8, 4 + 4 + 8 + 8 + 4);
        let expected = request + 4 + 2 * (2 + 1 + 4) + 3 * partition + 4;
        assert_eq!(output.finish().len(), 4 + expected);
    }
}
