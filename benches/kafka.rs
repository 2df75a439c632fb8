//! Reading a topic of a real broker: librdkafka's batch interface alone, then the source by either client, in processor time.
//! Writing one: a record a call, then the sink.
//!
//! The broker is the tests' own, or the one at `KAFKA_BOOTSTRAP_SERVERS`.

mod bare_loop;
mod cpu_clock;
mod cpu_time;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../tests/harness/mod.rs"]
mod harness;
mod jobs;
mod lines;
mod plain_loop;
mod seen;
mod topic;
mod topic_output;
mod topic_word_count;
mod word_count;

use std::time::Duration;

use arrow::record_batch::RecordBatch;
use connectors::kafka::options::Client;
use criterion::{Criterion, Throughput};

use cpu_time::CpuTime;
use harness::broker::Broker;
use topic::{PARTITIONS, Topic};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Enough that starting and ending the clients does not show.
const MESSAGES: u64 = 500_000;

fn main() {
    let mut criterion = cpu_time::criterion();
    for compression in ["uncompressed", "lz4", "snappy", "zstd"] {
        let topic = Topic::new(Broker::shared(), MESSAGES, compression);
        read(&mut criterion, topic, compression);
    }
    write(&mut criterion, Broker::shared());
    criterion.final_summary();
}

fn read(criterion: &mut Criterion<CpuTime>, mut topic: Topic, compression: &str) {
    let expected = topic_word_count::expected(&topic);
    let mut group = criterion.benchmark_group(format!("topic/{compression}"));
    group.sample_size(10).throughput(Throughput::Elements(topic.messages));
    group.bench_function("bare_loop", |bencher| {
        bencher.iter(|| {
            let seen = bare_loop::read(&topic.options(&[]), PARTITIONS, topic.messages);
            assert_eq!(seen, topic.content);
        });
    });
    for (client, name) in [(Client::Librdkafka, "librdkafka"), (Client::Native, "native")] {
        topic.client = client;
        group.bench_function(format!("source/{name}"), |bencher| {
            bencher.iter(|| assert_eq!(topic.read_values(), topic.content));
        });
        group.bench_function(format!("word_count/{name}"), |bencher| {
            bencher.iter_custom(|times| {
                let one = |_| {
                    let start = cpu_clock::own();
                    let batches = topic_word_count::run(&topic);
                    let used = cpu_clock::own() - start;
                    assert_eq!(word_count::hash(&batches), expected);
                    used
                };
                (0..times).map(one).sum()
            });
        });
    }
    group.finish();
}

/// A way to write batches to a topic.
type Write = fn(&Broker, &str, &[RecordBatch]);

fn write(criterion: &mut Criterion<CpuTime>, broker: &'static Broker) {
    let (batches, content) = topic_output::batches(MESSAGES);
    let mut group = criterion.benchmark_group("output");
    group.sample_size(10).throughput(Throughput::Elements(MESSAGES));
    let ways: [(&str, Write); 2] = [
        ("a_record_a_call", topic_output::a_record_a_call),
        ("sink", topic_output::by_sink),
    ];
    for (name, write) in ways {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let one = |_| {
                    let topic = Topic::of(broker, 0, "uncompressed", |_, _| {});
                    let start = cpu_clock::own();
                    write(broker, &topic.name, &batches);
                    let used = cpu_clock::own() - start;
                    assert_eq!(topic.read_values(), content);
                    used
                };
                (0..times).map(one).sum::<Duration>()
            });
        });
    }
    group.finish();
}
