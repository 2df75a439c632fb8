//! Rows on their way to a topic: which bytes make a record, and where it goes.

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use engine::operator::retract;
use engine::{Batch, Error, Result};

use super::ffi::Pair;
use super::payload::Payload;
use super::producer::Producer;
use super::sink::ValueFormat;

/// The records of one topic.
pub(super) struct Outgoing {
    topic: String,
    key: Payload,
    value: Payload,
    /// Whether rows go to the partition of the number that they were read from.
    keeps_order: bool,
}

impl Outgoing {
    /// Returns the records of `topic` made of batches of `schema`. Records without a key keep the order of their Kafka
    /// source, if `from_kafka`.
    ///
    /// # Errors
    /// When a column of the key or the value does not exist, or can't be one.
    pub(super) fn new(
        topic: &str,
        key: &[String],
        value: &ValueFormat,
        schema: &Schema,
        from_kafka: bool,
    ) -> Result<Self> {
        let value = match value {
            ValueFormat::Json => Payload::all(schema),
            ValueFormat::Delimited(dialect) => Payload::delimited(schema, *dialect)?,
            ValueFormat::Avro(format) => Payload::avro(schema, format.clone())?,
            ValueFormat::Column(name) => Payload::column(schema, name)?,
        };
        Ok(Self {
            topic: topic.to_owned(),
            key: Payload::key(schema, key)?,
            value,
            keeps_order: key.is_empty() && from_kafka,
        })
    }

    /// Gives the batch's rows to `producer`, for a topic of `partitions` partitions.
    ///
    /// # Errors
    /// When a record is too large or does not fit its schema, or an earlier one was not delivered.
    pub(super) fn send(&mut self, producer: &Producer, partitions: i32, batch: &Batch) -> Result<()> {
        let (records, gone) = retract::split(batch.to_records()?)?;
        if let Some(gone) = gone {
            self.send_tombstones(producer, &gone)?;
        }
        let topic = &self.topic;
        let refused = |error: Error| Error::Sink {
            output: format!("the topic `{topic}`"),
            problem: error.to_string(),
        };
        let keys = self.key.encode(&records).map_err(refused)?;
        let values = self.value.encode(&records).map_err(refused)?;
        let partition = match batch.origin() {
            Some(origin) if self.keeps_order => Some(origin.partition.index.rem_euclid(partitions)),
            _ => None,
        };
        producer.send_all(&self.topic, partition, records.num_rows(), |row| Pair {
            key: keys.get(row),
            value: values.get(row),
        })
    }

    /// Gives `producer` a record without a value for each key.
    fn send_tombstones(&mut self, producer: &Producer, gone: &RecordBatch) -> Result<()> {
        let keys = self.key.encode(gone)?;
        producer.send_all(&self.topic, None, gone.num_rows(), |row| Pair {
            key: keys.get(row),
            value: None,
        })
    }
}

/// Returns how a record is made, for a job's identity.
pub(super) fn describe(topic: &str, key: &[String], value: &ValueFormat) -> String {
    let value = match value {
        ValueFormat::Json => "json".to_owned(),
        ValueFormat::Delimited(dialect) => dialect.to_string(),
        ValueFormat::Avro(format) => format.to_string(),
        ValueFormat::Column(name) => format!("column {name}"),
    };
    format!("kafka topic {topic}, key ({}), value {value}", key.join(", "))
}
