//! Where the brokers are, and who leads which partition (`Metadata`).

use std::collections::BTreeMap;

use rdkafka::types::RDKafkaErrorCode as Code;

use super::code;
use super::input::{Input, Malformed, TopicId};
use super::output::Output;
use super::settings::Endpoint;

/// What the brokers say about a cluster and some topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) brokers: BTreeMap<i32, Endpoint>,
    pub(super) topics: Vec<Topic>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) error: Option<Code>,
    pub(super) name: String,
    /// Zero from brokers before 2.8, and for topics that were made by one.
    pub(super) id: TopicId,
    pub(super) partitions: BTreeMap<i32, Leader>,
}

/// The leader of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    /// The broker's number; -1 while there is none.
    pub(super) node: i32,
    /// -1 where it is not known.
    pub(super) epoch: i32,
}

/// Writes the question for `topics`, which are not to be made by asking.
pub(super) fn write<'t>(output: &mut Output, version: i16, topics: impl ExactSizeIterator<Item = &'t str>) {
    output.count(topics.len());
    for topic in topics {
        if version >= 10 {
            output.topic_id(&[0; 16]);
        }
        // From version 10 on the name may be null, in the same form.
        output.string(topic);
        output.tags();
    }
    output.bool(false);
    if (8..=10).contains(&version) {
        output.bool(false);
    }
    if version >= 8 {
        output.bool(false);
    }
    output.tags();
}

impl Metadata {
    /// Reads the answer of versions 7 to 12.
    pub(super) fn read(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        let mut metadata = Self::default();
        input.i32()?;
        for _ in 0..input.count(11)? {
            let node = input.i32()?;
            let host = input.string()?.to_owned();
            let port = input.i32()?;
            input.nullable_string()?;
            input.tags()?;
            if let Ok(port) = u16::try_from(port) {
                metadata.brokers.insert(node, Endpoint { host, port });
            }
        }
        input.nullable_string()?;
        input.i32()?;
        for _ in 0..input.count(7)? {
            metadata.topics.push(Topic::read(input, version)?);
        }
        Ok(metadata)
    }
}

impl Topic {
    fn read(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        let error = code(input.i16()?);
        let name = input.nullable_string()?.unwrap_or_default().to_owned();
        let id = if version >= 10 { input.topic_id()? } else { [0; 16] };
        input.bool()?;
        let mut partitions = BTreeMap::new();
        for _ in 0..input.count(17)? {
            input.i16()?;
            let index = input.i32()?;
            let node = input.i32()?;
            let epoch = input.i32()?;
            // Replicas, those in sync, those that are away.
            for _ in 0..3 {
                input.skip_i32s()?;
            }
            input.tags()?;
            partitions.insert(index, Leader { node, epoch });
        }
        if version >= 8 {
            input.i32()?;
        }
        input.tags()?;
        Ok(Self {
            error,
            name,
            id,
            partitions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes an answer with one broker and one topic of one partition, as a broker does.
    fn answer(version: i16) -> Vec<u8> {
        let mut output = Output::default();
        output.start(version >= 9);
        output.i32(0);
        output.count(1);
        output.i32(7);
        output.string("host");
        output.i32(9092);
        output.string("rack");
        output.tags();
        output.string("cluster");
        output.i32(7);
        output.count(1);
        output.i16(0);
        output.string("access");
        if version >= 10 {
            output.topic_id(&[3; 16]);
        }
        output.bool(false);
        output.count(1);
        output.i16(0);
        output.i32(5);
        output.i32(7);
        output.i32(42);
        for _ in 0..3 {
            output.count(1);
            output.i32(7);
        }
        output.tags();
        if version >= 8 {
            output.i32(0);
        }
        output.tags();
        output.finish()[4..].to_vec()
    }

    #[test]
    fn every_version_is_read_and_every_truncation_is_refused() {
        for version in 7..=12 {
            let bytes = answer(version);
            let read = Metadata::read(&mut Input::new(&bytes, version >= 9), version).expect("whole");
            let broker = Endpoint {
                host: "host".into(),
                port: 9092,
            };
            assert_eq!(read.brokers, [(7, broker)].into());
            let topic = Topic {
                error: None,
                name: "access".into(),
                id: if version >= 10 { [3; 16] } else { [0; 16] },
                partitions: [(5, Leader { node: 7, epoch: 42 })].into(),
            };
            assert_eq!(read.topics, [topic]);
            for length in 0..bytes.len() {
                let cut = Metadata::read(&mut Input::new(&bytes[..length], version >= 9), version);
                assert!(cut.is_err(), "version {version} cut to {length} bytes");
            }
        }
    }

    #[test]
    fn the_question_names_the_topics_and_makes_none() {
        let mut output = Output::default();
        output.start(false);
        write(&mut output, 7, ["a", "b"].into_iter());
        assert_eq!(output.finish()[4..], [0, 0, 0, 2, 0, 1, b'a', 0, 1, b'b', 0]);
        output.start(true);
        write(&mut output, 12, ["a"].into_iter());
        let expected = [&[2][..], &[0; 16], &[2, b'a', 0, 0, 0, 0]].concat();
        assert_eq!(output.finish()[4..], expected);
    }
}
