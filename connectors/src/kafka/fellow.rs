//! Further topics in the transactions of a Kafka sink: the dead letters, or the result of a second query.
//!
//! A producer has one transaction at a time, and the source's positions are published by one only. So all topics of a job
//! share the producer of its [`KafkaSink`](super::sink::KafkaSink), which begins, prepares and commits; a fellow only writes.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use engine::sink::{Barrier, Guarantee, Recovery, Sink, Token};
use engine::{Batch, Epoch, Error, Result};

use super::outgoing::{Outgoing, describe};
use super::producer::Producer;
use super::sink::ValueFormat;

/// The producer of a running sink, for those that take part in its transactions.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Option<Arc<Producer>>>>);

/// Makes the sinks of further topics in the transactions of one sink.
#[derive(Clone)]
pub struct Fellows {
    shared: Shared,
    from_kafka: bool,
}

/// What a fellow writes.
#[derive(Clone, Debug)]
pub struct FellowOptions {
    /// The topic that the records go to.
    pub topic: String,
    /// The columns that make the key; none: records have no key.
    pub key: Vec<String>,
    /// What makes the value.
    pub value: ValueFormat,
    /// The columns of the batches.
    pub schema: SchemaRef,
}

/// Writes batches to a topic in the transactions of another sink, which recovers and commits first.
pub struct FellowSink {
    options: FellowOptions,
    outgoing: Outgoing,
    shared: Shared,
    partitions: i32,
}

impl Shared {
    pub(super) fn set(&self, producer: Arc<Producer>) {
        *self.lock() = Some(producer);
    }

    /// Takes the producer away: the fellows have no further use for it.
    pub(super) fn take(&self) {
        *self.lock() = None;
    }

    fn get(&self, topic: &str) -> Result<Arc<Producer>> {
        self.lock().clone().ok_or_else(|| Error::Sink {
            output: format!("the topic `{topic}`"),
            problem: "the Kafka sink whose transactions it shares is not running".to_owned(),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Producer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fellows {
    pub(super) fn new(shared: Shared, from_kafka: bool) -> Self {
        Self { shared, from_kafka }
    }

    /// Returns the sink of one more topic.
    ///
    /// # Errors
    /// When a column of the key or the value does not exist, or can't be one.
    pub fn sink(&self, options: FellowOptions) -> Result<FellowSink> {
        let FellowOptions {
            topic,
            key,
            value,
            schema,
        } = &options;
        Ok(FellowSink {
            outgoing: Outgoing::new(topic, key, value, schema, self.from_kafka)?,
            options,
            shared: self.shared.clone(),
            partitions: 1,
        })
    }
}

impl Sink for FellowSink {
    fn describe(&self) -> String {
        let FellowOptions { topic, key, value, .. } = &self.options;
        format!("{}, in the same transactions", describe(topic, key, value))
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn recover(&mut self, recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        let topic = &self.options.topic;
        self.partitions = self.shared.get(topic)?.partitions(topic)?;
        Ok(recovery.candidates.first().map(|candidate| candidate.epoch))
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        if batch.rows() == 0 {
            return Ok(());
        }
        let producer = self.shared.get(&self.options.topic)?;
        producer.begin()?;
        self.outgoing.send(&producer, self.partitions, batch)
    }

    fn prepare(&mut self, _barrier: &Barrier<'_>) -> Result<Token> {
        self.shared.get(&self.options.topic)?.flush()?;
        Ok(Token::default())
    }

    fn commit(&mut self, _token: &Token) -> Result<()> {
        Ok(())
    }

    fn abort(&mut self) {}
}
