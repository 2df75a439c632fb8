//! A topic of generated lines, and the source that reads it.

use std::time::Duration;

use arrow::array::AsArray;
use connectors::kafka::config::Connection;
use connectors::kafka::options::{Client, End, KafkaColumn, SourceOptions};
use connectors::kafka::source::KafkaSource;
use engine::Batch;
use engine::source::{Event, Intake, Source};

use crate::harness::broker::Broker;
use crate::lines::line;
use crate::seen::Seen;

/// Partitions of the topic.
pub(crate) const PARTITIONS: i32 = 4;

/// Bytes that may wait between reader and driver, as the program has it.
const QUEUE_BYTES: usize = 64 << 20;

/// A topic of lines without keys.
pub(crate) struct Topic {
    broker: &'static Broker,
    /// Who reads it.
    pub(crate) client: Client,
    pub(crate) name: String,
    pub(crate) messages: u64,
    /// What is in it, by the generator and not by a reader.
    pub(crate) content: Seen,
}

impl Topic {
    /// Makes a topic of generated lines, stored with a compression.
    pub(crate) fn new(broker: &'static Broker, messages: u64, compression: &str) -> Self {
        Self::of(broker, messages, compression, line)
    }

    /// Makes a topic of the lines that `line` appends to a buffer, by number.
    pub(crate) fn of(
        broker: &'static Broker,
        messages: u64,
        compression: &str,
        line: impl Fn(u64, &mut Vec<u8>),
    ) -> Self {
        let name = Broker::unique("lines");
        broker.create_topic(&name, PARTITIONS, &[("compression.type", compression)]);
        let mut content = Seen::default();
        let lines = (0..messages).map(|number| {
            let mut text = Vec::with_capacity(128);
            line(number, &mut text);
            content.see(&text);
            text
        });
        broker.produce_lines(&name, PARTITIONS as usize, lines);
        Self {
            broker,
            client: Client::Auto,
            name,
            messages,
            content,
        }
    }

    /// Returns options that read the topic to its end.
    pub(crate) fn options(&self, columns: &[KafkaColumn]) -> SourceOptions {
        let connection = Connection::new(self.broker.bootstrap());
        let mut options = SourceOptions::new(connection, vec![self.name.clone()], Broker::unique("figures"));
        options.columns = columns.to_vec();
        options.to = Some(End::Latest);
        options.client = self.client;
        options
    }

    /// Returns the source of `columns`.
    pub(crate) fn source(&self, columns: &[KafkaColumn]) -> KafkaSource {
        KafkaSource::new(self.options(columns)).expect("valid options")
    }

    /// Reads `columns` of the topic to its end and hands each batch to `take`.
    pub(crate) fn read(&self, columns: &[KafkaColumn], mut take: impl FnMut(Batch)) {
        let mut source = self.source(columns);
        let state = source.open(None).expect("the topic is there");
        let (intake, receiver) = Intake::new(QUEUE_BYTES);
        source.start(&state, intake).expect("the readers start");
        let mut open = state.positions.0.len();
        while open > 0 {
            match receiver.receive(Duration::from_millis(100)) {
                Some((Event::Batch(batch), _permit)) => take(batch),
                Some((Event::Ended { .. }, _)) => open -= 1,
                Some((Event::Failed(error), _)) => panic!("{error}"),
                _ => {}
            }
        }
        source.stop();
    }

    /// Reads the values of the topic into batches that are dropped, and returns what was seen.
    pub(crate) fn read_values(&self) -> Seen {
        let mut seen = Seen::default();
        self.read(&[KafkaColumn::Value], |batch| see_values(&batch, &mut seen));
        seen
    }
}

fn see_values(batch: &Batch, seen: &mut Seen) {
    let values = batch.column(0).to_array();
    values
        .as_binary::<i32>()
        .iter()
        .for_each(|value| seen.see(value.expect("no tombstone")));
}
