//! Sinks: of queries, and of bad records.

use super::connection::ConnectionKeys;
use super::{Checker, list};
use crate::job::file::{
    DeadLetter, DeadLetterKind, DeadLetterTopic, Delivery, KafkaSink, ParquetSink, RowFormat, Sink, SinkKind,
    TextFormat,
};
use crate::job::place::At;
use crate::job::plan::{KafkaSinkPlan, ParquetPlan, SinkPlan, ValuePlan};
use crate::job::setting::OneOf;

impl SinkPlan {
    /// Returns whether every row comes out once, over crashes too.
    pub fn is_exactly_once(&self) -> bool {
        match self {
            Self::Console { .. } | Self::File { .. } => false,
            Self::Parquet(_) => true,
            Self::Kafka(kafka) => kafka.delivery == Delivery::ExactlyOnce,
        }
    }
}

impl Checker<'_> {
    pub(super) fn sink(&mut self, sink: &At<Sink>) -> Option<SinkPlan> {
        match &sink.value.kind {
            SinkKind::Console(console) => Some(SinkPlan::Console {
                rows: console.rows.value,
                order: console.order_by.as_ref().map(|order| order.value.clone()),
            }),
            SinkKind::Parquet(parquet) => Some(SinkPlan::Parquet(parquet_plan(parquet))),
            SinkKind::Kafka(kafka) => self.kafka_sink(sink, kafka).map(SinkPlan::Kafka),
            SinkKind::File(file) => Some(SinkPlan::File {
                path: file.path.value.0.clone().into(),
                format: file.format.value,
            }),
        }
    }

    fn kafka_sink(&mut self, at: &At<Sink>, sink: &KafkaSink) -> Option<KafkaSinkPlan> {
        let keys = ConnectionKeys {
            brokers: sink.brokers.as_ref(),
            properties: sink.properties.as_ref(),
            librdkafka: sink.librdkafka.as_ref(),
        };
        Some(KafkaSinkPlan {
            connection: self.sink_connection(keys, at)?,
            topic: sink.topic.value.0.clone(),
            key: list(sink.key.as_ref()).map(|column| column.value.0.clone()).collect(),
            value: match &sink.value.value {
                OneOf::Word(format) => ValuePlan::Row(*format),
                OneOf::Table(table) => ValuePlan::Column(table.column.value.0.clone()),
            },
            delivery: sink.delivery.value,
        })
    }

    pub(super) fn dead_letter(&mut self, sink: &At<DeadLetter>) -> Option<SinkPlan> {
        match &sink.value.kind {
            DeadLetterKind::Kafka(topic) => self.dead_letter_topic(sink, topic).map(SinkPlan::Kafka),
            DeadLetterKind::Parquet(folder) => {
                let mut plan = ParquetPlan::new(folder.dir.value.0.clone());
                plan.compression = folder.compression.value;
                Some(SinkPlan::Parquet(plan))
            }
            DeadLetterKind::File(file) => Some(SinkPlan::File {
                path: file.path.value.0.clone().into(),
                format: TextFormat::Jsonl,
            }),
        }
    }

    fn dead_letter_topic(&mut self, at: &At<DeadLetter>, sink: &DeadLetterTopic) -> Option<KafkaSinkPlan> {
        let keys = ConnectionKeys {
            brokers: sink.brokers.as_ref(),
            properties: sink.properties.as_ref(),
            librdkafka: sink.librdkafka.as_ref(),
        };
        Some(KafkaSinkPlan {
            connection: self.sink_connection(keys, at)?,
            topic: sink.topic.value.0.clone(),
            key: vec![],
            value: ValuePlan::Row(RowFormat::Json),
            delivery: sink.delivery.value,
        })
    }
}

fn parquet_plan(sink: &ParquetSink) -> ParquetPlan {
    ParquetPlan {
        dir: sink.dir.value.0.clone().into(),
        partition_by: list(sink.partition_by.as_ref())
            .map(|entry| entry.value.clone())
            .collect(),
        compression: sink.compression.value,
        file_rows: sink.file_rows.map(|rows| rows.value),
        file_bytes: sink.file_bytes.value.0,
        file_age: sink.file_age.map(|age| age.value),
        row_group_rows: sink.row_group_rows.value,
        row_group_bytes: sink.row_group_bytes.value.0,
    }
}

/// Returns the columns that a sink is told of.
pub(super) fn columns(sink: &At<Sink>) -> Vec<At<String>> {
    match &sink.value.kind {
        SinkKind::Console(console) => {
            let order = console.order_by.iter();
            order
                .map(|order| At::new(order.value.column.clone(), order.place))
                .collect()
        }
        SinkKind::Parquet(parquet) => {
            let entries = list(parquet.partition_by.as_ref());
            entries
                .map(|entry| At::new(entry.value.column.clone(), entry.place))
                .collect()
        }
        SinkKind::Kafka(kafka) => {
            let value = match &kafka.value.value {
                OneOf::Table(table) => Some(&table.column),
                OneOf::Word(_) => None,
            };
            let columns = list(kafka.key.as_ref()).chain(value);
            columns
                .map(|column| At::new(column.value.0.clone(), column.place))
                .collect()
        }
        SinkKind::File(_) => vec![],
    }
}
