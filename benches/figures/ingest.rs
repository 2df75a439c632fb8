//! A topic read by librdkafka alone, into batches, into a word count, into Parquet.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use connectors::kafka::options::KafkaColumn;
use connectors::parquet::{Layout, ParquetOptions, ParquetSink};
use engine::checkpoint::LocalStore;
use engine::pipeline::{Job, Query, Settings};
use engine::source::Source;

use super::table::{Table, cpu_seconds, median};
use super::{Size, bare_loop, cpu_clock, parquet_twin, topic_word_count, word_count};
use crate::harness::broker::Broker;
use crate::harness::scratch::Scratch;
use crate::jobs::run_to_end;
use crate::topic::{PARTITIONS, Topic};

/// Processor time of each thing, turn by turn.
#[derive(Default)]
struct Times {
    bare: Vec<Duration>,
    batches: Vec<Duration>,
    words: Vec<Duration>,
    parquet: Vec<Duration>,
    encode: Vec<Duration>,
}

pub(crate) fn measure(size: Size, table: &mut Table) {
    let topic = Topic::new(Broker::shared(), size.messages, "uncompressed");
    let words = topic_word_count::expected(&topic);
    let memory = records(&topic);
    let mut times = Times::default();
    let mut bytes = 0;
    for turn in 0..size.turns {
        let scratch = Scratch::new("figures-parquet");
        let bare = timed(&mut times.bare, || {
            bare_loop::read(&topic.options(&[]), PARTITIONS, topic.messages)
        });
        assert_eq!(bare, topic.content, "the bare loop saw all");
        let batches = timed(&mut times.batches, || topic.read_values());
        assert_eq!(batches, topic.content, "the source saw all");
        let counts = timed(&mut times.words, || topic_word_count::run(&topic));
        assert_eq!(word_count::hash(&counts), words, "the counts are those of a plain loop");
        drop(counts);
        timed(&mut times.parquet, || to_parquet(&topic, scratch.path()));
        let encoded = timed(&mut times.encode, || {
            memory
                .iter()
                .map(|records| parquet_twin::encode(records))
                .collect::<Vec<_>>()
        });
        bytes = encoded.iter().map(|file| file.bytes).sum();
        if turn == 0 {
            check_parquet(scratch.path(), &encoded, topic.messages);
        }
    }
    report(&topic, &times, words, bytes, table);
}

/// Returns what `run` returns, and notes the processor time it takes.
pub(crate) fn timed<T>(times: &mut Vec<Duration>, run: impl FnOnce() -> T) -> T {
    let start = cpu_clock::own();
    let result = run();
    times.push(cpu_clock::own() - start);
    result
}

/// Returns the topic's records with all columns, partition by partition.
pub(crate) fn records(topic: &Topic) -> Vec<Vec<RecordBatch>> {
    let mut records = vec![Vec::new(); PARTITIONS as usize];
    topic.read(KafkaColumn::ALL, |batch| {
        let partition = batch.origin().expect("a source's batch has an origin").partition.index;
        let partition = usize::try_from(partition).expect("partitions count from 0");
        records[partition].push(batch.to_records().expect("the schema's columns"));
    });
    records
}

/// Archives the topic as `millstream replay` does, in one epoch.
fn to_parquet(topic: &Topic, folder: &Path) {
    let source = topic.source(KafkaColumn::ALL);
    let options = ParquetOptions::new(folder, source.schema(), Layout::Append);
    let sink = ParquetSink::new(options).expect("valid options");
    let job = Job::new(Box::new(source), Query::new(Box::new(sink)));
    let store = LocalStore::open(&folder.join("_millstream/checkpoint"), job.parts()).expect("an empty folder");
    run_to_end(job, &Settings::bounded(NonZeroUsize::MIN), Some(Box::new(store)));
}

/// Checks that the sink and its twin did the same work on the same rows.
fn check_parquet(folder: &Path, encoded: &[parquet_twin::Encoded], messages: u64) {
    let files = parquet_files(folder);
    assert_eq!(files.len(), encoded.len(), "a file for each partition");
    let rows: u64 = files
        .iter()
        .zip(encoded)
        .map(|(file, twin)| parquet_twin::check_same(file, twin))
        .sum();
    assert_eq!(rows, messages, "every record is in a file");
}

/// Returns the Parquet files of the topic by name, so by partition.
fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let topics = folder.read_dir().expect("the sink's folder").flatten();
    let topic = topics
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains("topic="));
    let entries = topic.expect("a folder for the topic").read_dir().expect("a folder");
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn report(topic: &Topic, times: &Times, words: u64, bytes: u64, table: &mut Table) {
    let count = topic.messages;
    let bare = median(&times.bare);
    let ratio = |time: Duration| time.as_secs_f64() / bare.as_secs_f64();
    table.add(
        "bare rd_kafka_consume_batch_queue",
        cpu_seconds(bare, count),
        topic.content.to_string(),
    );
    let batches = median(&times.batches);
    table.add("topic -> Arrow batches", cpu_seconds(batches, count), "as above");
    table.ratio(ratio(batches), "<= 1.25 of bare", ratio(batches) <= 1.25);
    let counted = median(&times.words);
    table.add(
        "topic -> word count",
        cpu_seconds(counted, count),
        format!("counts {words:016x}"),
    );
    table.ratio(ratio(counted), "<= 2.5 of bare", ratio(counted) <= 2.5);
    let encode = median(&times.encode);
    table.add(
        "parquet-rs, zstd-1, from memory",
        cpu_seconds(encode, count),
        format!("{bytes} bytes"),
    );
    let parquet = median(&times.parquet);
    let allowed = bare + encode.mul_f64(1.4);
    table.add(
        "topic -> Parquet, zstd-1",
        cpu_seconds(parquet, count),
        format!("{count} rows, same encodings"),
    );
    let share = parquet.as_secs_f64() / allowed.as_secs_f64();
    table.ratio(share, "<= 1 of (bare + 1.4 parquet-rs)", share <= 1.0);
}
