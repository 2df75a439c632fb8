//! Sinks: of queries, and of bad records.

use std::path::Path;

use connectors::decode::Framing;
use connectors::parquet::archive::check_folder;

use super::connection::ConnectionKeys;
use super::{Checker, list};
use crate::job::file::{
    AvroFraming, DeadLetter, DeadLetterKind, DeadLetterTopic, Delivery, KafkaSink, ParquetSink, RowFormat, Sink,
    SinkKind, TextFormat, ValueTable,
};
use crate::job::form::Text;
use crate::job::place::{At, Place};
use crate::job::plan::{AvroPlan, KafkaSinkPlan, ParquetPlan, SinkPlan, ValuePlan};
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
            SinkKind::Parquet(parquet) => {
                self.refuse_archive_keys(parquet);
                self.refuse_bucket(&parquet.dir);
                Some(SinkPlan::Parquet(parquet_plan(parquet)))
            }
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
        let value = match &sink.value.value {
            OneOf::Word(format) => Some(ValuePlan::Row(*format)),
            OneOf::Table(table) => self.value_table(table, sink.value.place),
        };
        Some(KafkaSinkPlan {
            connection: self.sink_connection(keys, at)?,
            topic: sink.topic.value.0.clone(),
            key: list(sink.key.as_ref()).map(|column| column.value.0.clone()).collect(),
            value: value?,
            delivery: sink.delivery.value,
        })
    }

    fn value_table(&mut self, table: &ValueTable, place: Place) -> Option<ValuePlan> {
        match (&table.column, &table.avro) {
            (Some(column), None) => {
                if let Some(id) = &table.schema_id {
                    self.report.error(id.place, "`schema_id` goes with `avro`");
                }
                Some(ValuePlan::Column(column.value.0.clone()))
            }
            (None, Some(schema)) => {
                let (framing, id) = (table.framing, table.schema_id.as_ref());
                if framing.value == AvroFraming::Confluent && id.is_none() {
                    let message = "Confluent's header has the number of the schema: expected `schema_id`";
                    self.report.error(framing.place, message);
                }
                self.avro(schema, framing, id).map(ValuePlan::Avro)
            }
            _ => {
                let message = "expected either `column`, the bytes of one column, or `avro`, a file of a schema";
                self.report.error(place, message);
                None
            }
        }
    }

    /// Returns payloads of Avro.
    pub(super) fn avro(
        &mut self,
        schema: &At<Text>,
        framing: At<AvroFraming>,
        id: Option<&At<u64>>,
    ) -> Option<AvroPlan> {
        let framing = match (framing.value, id) {
            (AvroFraming::None, None) => Framing::Bare,
            (AvroFraming::None, Some(id)) => {
                let message = "only Confluent's header has the number of a schema: write framing = \"confluent\"";
                self.report.error(id.place, message);
                return None;
            }
            (AvroFraming::Confluent, None) => Framing::Confluent(None),
            (AvroFraming::Confluent, Some(id)) => match u32::try_from(id.value) {
                Ok(number) => Framing::Confluent(Some(number)),
                Err(_) => {
                    let message = format!("expected the number of a schema, at most {}", u32::MAX);
                    self.report.error(id.place, message);
                    return None;
                }
            },
        };
        Some(AvroPlan {
            schema: schema.value.0.clone().into(),
            framing,
        })
    }

    pub(super) fn dead_letter(&mut self, sink: &At<DeadLetter>) -> Option<SinkPlan> {
        match &sink.value.kind {
            DeadLetterKind::Kafka(topic) => self.dead_letter_topic(sink, topic).map(SinkPlan::Kafka),
            DeadLetterKind::Parquet(folder) => {
                self.refuse_bucket(&folder.dir);
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

    /// Refuses a bucket: only an archive can be in one.
    fn refuse_bucket(&mut self, dir: &At<Text>) {
        if let Err(error) = check_folder(Path::new(&dir.value.0), "rows of a query") {
            self.report.error(dir.place, error.to_string());
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
                OneOf::Table(table) => table.column.as_ref(),
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
