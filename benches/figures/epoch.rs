//! An epoch of 1,000 messages to Kafka, exactly once: written, prepared, its checkpoint stored, committed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::BinaryArray;
use arrow::record_batch::RecordBatch;
use connectors::kafka::config::Connection;
use connectors::kafka::sink::{Delivery, KafkaSink, SinkOptions, ValueFormat};
use engine::checkpoint::{Checkpoint, LocalStore, Store, TimeState};
use engine::sink::{Barrier, Recovery, Sink};
use engine::source::SourceState;
use engine::{Batch, Epoch, Partition, Positions};
use rdkafka::message::Message;

use super::Size;
use super::lines::line;
use super::table::{Table, median, milliseconds};
use crate::harness::broker::Broker;
use crate::harness::records::Isolation;
use crate::harness::scratch::Scratch;
use crate::seen::Seen;

const MESSAGES: u64 = 1000;
const EPOCHS: u64 = 100;

/// The time between two epochs. While the coordinator still ends the last transaction, librdkafka waits 20 ms before it
/// asks again whether the next may begin: epochs one right after the other show that pause and little else.
const TRIGGER: Duration = Duration::from_millis(100);

/// Where an epoch's time goes.
struct Times {
    store: Duration,
    all: Duration,
}

pub(crate) fn measure(_size: Size, table: &mut Table) {
    let broker = Broker::shared();
    let (input, output) = (broker.new_topic("epoch-input", 1), broker.new_topic("epoch-output", 4));
    let scratch = Scratch::new("figures-epoch");
    let mut store = LocalStore::open(&scratch.join("checkpoint"), vec![]).expect("an empty folder");
    let mut sink = sink(broker, &input, &output);
    let recovery = Recovery {
        job: store.job(),
        generation: store.generation(),
        candidates: &[],
    };
    sink.recover(&recovery).expect("a new job");
    let mut expected = Seen::default();
    let mut times = vec![];
    for epoch in 1..=EPOCHS {
        let batch = batch(epoch, &mut expected);
        let positions = Positions([(Partition::new(input.as_str(), 0), (epoch * MESSAGES).cast_signed())].into());
        std::thread::sleep(TRIGGER);
        times.push(run_epoch(&mut sink, &mut store, epoch, &batch, positions));
    }
    sink.close().expect("all was committed");
    let mut seen = Seen::default();
    broker.for_each(&output, Isolation::ReadCommitted, |message| {
        seen.see(message.payload().expect("no tombstone"));
    });
    assert_eq!(seen, expected, "every message is there once");
    report(&times, seen, table);
}

fn sink(broker: &Broker, input: &str, output: &str) -> KafkaSink {
    KafkaSink::new(SinkOptions {
        connection: Connection::new(broker.bootstrap()),
        topic: output.to_owned(),
        group: Broker::unique("figures"),
        key: vec![],
        value: ValueFormat::Column("value".to_owned()),
        delivery: Delivery::ExactlyOnce,
        source_topics: vec![input.to_owned()],
        schema: batch(0, &mut Seen::default()).schema().clone(),
    })
    .expect("valid options")
}

fn batch(epoch: u64, seen: &mut Seen) -> Batch {
    let lines = (0..MESSAGES).map(|number| {
        let mut text = Vec::new();
        line(epoch * MESSAGES + number, &mut text);
        seen.see(&text);
        text
    });
    let values = Arc::new(BinaryArray::from_iter_values(lines));
    let records = RecordBatch::try_from_iter([("value", values as _)]).expect("one column");
    Batch::new(records, None)
}

fn run_epoch(sink: &mut KafkaSink, store: &mut LocalStore, epoch: u64, batch: &Batch, positions: Positions) -> Times {
    let start = Instant::now();
    sink.write(batch).expect("the broker takes records");
    let epoch = Epoch(epoch);
    let barrier = Barrier {
        epoch,
        positions: &positions,
    };
    let token = sink.prepare(&barrier).expect("the broker takes offsets");
    let prepared = Instant::now();
    let source = SourceState {
        positions,
        ..SourceState::default()
    };
    let checkpoint = Checkpoint {
        epoch,
        sources: vec![source],
        token: token.clone(),
        time: TimeState::default(),
    };
    store.write(checkpoint, vec![]).expect("the disk has room");
    let store = prepared.elapsed();
    sink.commit(&token).expect("the broker commits");
    Times {
        store,
        all: start.elapsed(),
    }
}

fn report(times: &[Times], seen: Seen, table: &mut Table) {
    // The first epoch also makes the connections to the coordinators.
    let (first, rest) = times.split_first().expect("some epochs");
    let all: Vec<_> = rest.iter().map(|times| times.all).collect();
    let without: Vec<_> = rest.iter().map(|times| times.all - times.store).collect();
    let limit = Duration::from_millis(30);
    table.add(
        "epoch of 1,000 messages to Kafka: write, prepare, commit",
        figure(&without),
        seen,
    );
    table.bar("95 % < 30 ms", share(&without, 95) < limit);
    let with = format!("{} (the first: {})", figure(&all), milliseconds(first.all));
    table.add("the same with its checkpoint synced to disk", with, "");
    table.bar("95 % < 30 ms", share(&all, 95) < limit);
}

fn figure(times: &[Duration]) -> String {
    let shown = [median(times), share(times, 95), share(times, 100)].map(milliseconds);
    format!("{}, 95 % within {}, at most {}", shown[0], shown[1], shown[2])
}

/// Returns the time that `percent` of the times do not exceed.
fn share(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[(times.len() * percent).div_ceil(100) - 1]
}
