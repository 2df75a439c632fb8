//! Lines from memory to a topic: by the sink, and a record a call, as rdkafka's producer has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::record_batch::RecordBatch;
use connectors::kafka::config::Connection;
use connectors::kafka::sink::{Delivery, KafkaSink, SinkOptions, ValueFormat};
use engine::sink::{Barrier, Recovery, Sink};
use engine::{Batch, Epoch, Positions};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::harness::broker::Broker;
use crate::lines::line;
use crate::seen::Seen;

/// Rows of a batch, as the sources make them.
const BATCH_ROWS: u64 = 8192;

/// How long all records may take to be delivered.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks whether they are.
const LOOK: Duration = Duration::from_millis(1);

/// Returns lines in batches, and what a reader of them sees.
pub(crate) fn batches(lines: u64) -> (Vec<RecordBatch>, Seen) {
    let (mut seen, mut text) = (Seen::default(), Vec::new());
    let mut batch = |first: u64| {
        let row = |number| {
            text.clear();
            line(number, &mut text);
            seen.see(&text);
            String::from_utf8(text.clone()).expect("lines are UTF-8")
        };
        let lines: StringArray = (first..lines.min(first + BATCH_ROWS)).map(row).map(Some).collect();
        RecordBatch::try_from_iter([("line", Arc::new(lines) as ArrayRef)]).expect("one column")
    };
    let batches = (0..lines).step_by(BATCH_ROWS as usize).map(&mut batch).collect();
    (batches, seen)
}

/// Writes the batches, without a transaction, and waits until they are delivered.
pub(crate) fn by_sink(broker: &Broker, topic: &str, batches: &[RecordBatch]) {
    let options = SinkOptions {
        connection: Connection::new(broker.bootstrap()),
        topic: topic.to_owned(),
        group: Broker::unique("output"),
        key: vec![],
        value: ValueFormat::Column("line".to_owned()),
        delivery: Delivery::AtLeastOnce,
        source_topics: vec![],
        schema: batches[0].schema(),
    };
    let mut sink = KafkaSink::new(options).expect("a column of text");
    let recovery = Recovery {
        job: "output",
        generation: 1,
        candidates: &[],
    };
    sink.recover(&recovery).expect("the broker answers");
    for batch in batches {
        sink.write(&Batch::new(batch.clone(), None))
            .expect("the broker takes records");
    }
    let barrier = Barrier {
        epoch: Epoch(1),
        positions: &Positions::default(),
    };
    sink.prepare(&barrier).expect("all is delivered");
    sink.close().expect("nothing is left to send");
}

/// Does the same with the sink's settings, a record a call.
pub(crate) fn a_record_a_call(broker: &Broker, topic: &str, batches: &[RecordBatch]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap());
    for (name, value) in [
        ("compression.type", "lz4"),
        ("linger.ms", "2"),
        ("enable.idempotence", "true"),
        ("queue.buffering.max.kbytes", "65536"),
        ("queue.buffering.max.messages", "500000"),
    ] {
        config.set(name, value);
    }
    let producer: BaseProducer = config.create().expect("valid settings");
    for batch in batches {
        for value in batch.column(0).as_string::<i32>().iter().flatten() {
            let mut record = BaseRecord::<[u8], str>::to(topic).payload(value);
            while let Err((error, back)) = producer.send(record) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                assert_eq!(error, full);
                producer.poll(Duration::ZERO);
                std::thread::sleep(LOOK);
                record = back;
            }
        }
        producer.poll(Duration::ZERO);
    }
    let deadline = Instant::now() + PATIENCE;
    while producer.in_flight_count() > 0 {
        assert!(
            Instant::now() < deadline,
            "{} records are left",
            producer.in_flight_count()
        );
        producer.poll(Duration::ZERO);
        std::thread::sleep(LOOK);
    }
}
