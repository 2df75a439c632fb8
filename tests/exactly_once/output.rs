//! What jobs wrote, read back and compared with what a plain loop says.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rdkafka::message::Message;

use crate::harness::broker::Broker;
use crate::harness::duckdb;
use crate::harness::records::Isolation;

use super::input::{Counts, Input, PARTITIONS};

/// Differences that a message shows.
const SHOWN_MAX: usize = 10;

/// Folds a topic of changed counts: the last one of each word counts.
///
/// A word's count is put out only when it grew, so one that stays or shrinks is an epoch that is there twice.
///
/// # Panics
/// When a word's counts do not grow from record to record.
#[track_caller]
pub(super) fn fold_topic(broker: &Broker, topic: &str) -> Counts {
    let mut counts = Counts::new();
    broker.for_each(topic, Isolation::ReadCommitted, |record| {
        let value = record.payload().expect("no tombstone");
        let value: serde_json::Value = serde_json::from_slice(value).expect("a JSON object");
        let word = value["word"].as_str().expect("a string");
        assert_eq!(record.key(), Some(word.as_bytes()), "the key is the word");
        grow(&mut counts, word.as_bytes(), value["count"].as_i64().expect("a number"));
    });
    counts
}

/// Folds the files of changed counts in the order of their epochs: the last count of each word counts.
///
/// # Panics
/// When a word's counts do not grow from epoch to epoch, or a crash has left a file behind.
#[track_caller]
pub(super) fn fold_changes(folder: &Path) -> Counts {
    let mut counts = Counts::new();
    // Their names sort by epoch.
    for file in parquet_files(folder) {
        for_each_batch(&file, &["word", "count", "epoch"], |records| {
            for (word, count) in words(records) {
                grow(&mut counts, word.as_bytes(), count);
            }
        });
    }
    expect_nothing_staged(folder);
    counts
}

/// Reads the one file of all counts.
///
/// # Panics
/// When there are other files, or a word is there twice.
#[track_caller]
pub(super) fn read_table(folder: &Path) -> Counts {
    let file = folder.join("table.parquet");
    assert_eq!(parquet_files(folder), [file.as_path()], "the table is the only file");
    let mut counts = Counts::new();
    for_each_batch(&file, &["word", "count"], |records| {
        for (word, count) in words(records) {
            let before = counts.insert(word.as_bytes().to_vec(), count);
            assert_eq!(before, None, "{word} is there once");
        }
    });
    expect_nothing_staged(folder);
    counts
}

/// Checks that the files of a replay hold the records of the topic: each once, with its value, and none besides.
///
/// # Panics
/// When one is missing, doubled or changed.
#[track_caller]
pub(super) fn expect_records(folder: &Path, input: &Input) {
    let mut seen = HashSet::new();
    let mut rows = 0;
    for file in parquet_files(folder) {
        for_each_batch(&file, &["value", "partition", "offset"], |records| {
            let values = column(records, "value").as_binary::<i32>();
            let partitions = column(records, "partition").as_primitive::<Int32Type>();
            let offsets = column(records, "offset").as_primitive::<Int64Type>();
            rows += records.num_rows() as u64;
            for ((value, &partition), &offset) in values.iter().zip(partitions.values()).zip(offsets.values()) {
                let place = (partition.cast_unsigned().into(), offset.cast_unsigned());
                assert_eq!(value, Some(input.value(place.0, place.1).as_slice()), "{place:?}");
                seen.insert(place);
            }
        });
    }
    let expected = PARTITIONS * input.records_per_partition();
    assert_eq!(
        (rows, seen.len() as u64),
        (expected, expected),
        "rows and distinct rows"
    );
    let is_inside =
        |(partition, offset): &(u64, u64)| *partition < PARTITIONS && *offset < input.records_per_partition();
    assert!(seen.iter().all(is_inside), "no other records");
    expect_nothing_staged(folder);
}

/// Returns the counts of a table, as DuckDB reads them.
#[track_caller]
pub(super) fn table_in_duckdb(scratch: &Path) -> Counts {
    counts_in_duckdb(scratch, "SELECT word, count FROM 'out/**/*.parquet'")
}

/// Returns the last count of each word that changed, as DuckDB finds it.
#[track_caller]
pub(super) fn changes_in_duckdb(scratch: &Path) -> Counts {
    counts_in_duckdb(
        scratch,
        "SELECT word, arg_max(count, epoch) FROM 'out/**/*.parquet' GROUP BY word",
    )
}

/// Returns the words in the values of a replay, counted by DuckDB, which must find each record once.
///
/// # Panics
/// When there are other records than those of the topic.
#[track_caller]
pub(super) fn words_of_records_in_duckdb(scratch: &Path, input: &Input) -> Counts {
    let places = "SELECT partition, count(*), count(DISTINCT \"offset\"), min(\"offset\"), max(\"offset\") + 1 \
                  FROM 'out/**/*.parquet' GROUP BY partition ORDER BY partition";
    let records = input.records_per_partition().to_string();
    let expected: Vec<_> = (0..PARTITIONS)
        .map(|partition| [&partition.to_string(), &records, &records, "0", &records].map(str::to_owned))
        .collect();
    assert_eq!(
        duckdb::query(scratch, places),
        expected,
        "partition, rows, distinct rows, offsets"
    );
    let words = "SELECT word, count(*) FROM \
                 (SELECT unnest(string_split(decode(value), ' ')) AS word FROM 'out/**/*.parquet') GROUP BY word";
    counts_in_duckdb(scratch, words)
}

/// Returns the words and counts that a query gives.
#[track_caller]
fn counts_in_duckdb(scratch: &Path, sql: &str) -> Counts {
    let rows = duckdb::query(scratch, sql);
    let (number, mut counts) = (rows.len(), Counts::new());
    for row in rows {
        let [word, count] = row.as_slice() else {
            panic!("a word and its count, not {row:?}");
        };
        counts.insert(word.clone().into_bytes(), count.parse().expect("a number"));
    }
    assert_eq!(counts.len(), number, "each word is there once");
    counts
}

/// Returns the records of a topic that a reader of committed transactions sees, each with its place.
pub(super) fn topic_content(broker: &Broker, topic: &str) -> Vec<(String, Vec<u8>)> {
    let mut content = Vec::new();
    broker.for_each(topic, Isolation::ReadCommitted, |record| {
        let place = format!("{}:{}", record.partition(), record.offset());
        content.push((place, record.payload().expect("no tombstone").to_vec()));
    });
    content.sort();
    content
}

/// Returns the Parquet files of a folder, and what is in them.
pub(super) fn folder_content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let content = |path: PathBuf| {
        (
            path.display().to_string(),
            fs::read(&path).expect("the file is there to stay"),
        )
    };
    parquet_files(folder).into_iter().map(content).collect()
}

/// Compares word for word.
///
/// # Panics
/// When they differ; the message shows some of the words.
#[track_caller]
pub(super) fn expect_equal(counts: &Counts, expected: &Counts) {
    let (sum, expected_sum): (i64, i64) = (counts.values().sum(), expected.values().sum());
    let words = counts.keys().chain(expected.keys()).collect::<HashSet<_>>().into_iter();
    let differing = words.filter(|&word| counts.get(word) != expected.get(word));
    let differing: Vec<_> = differing
        .map(|word| (String::from_utf8_lossy(word), counts.get(word), expected.get(word)))
        .collect();
    assert!(
        differing.is_empty() && sum == expected_sum,
        "{} of {} words differ, {sum} of {expected_sum} occurrences were counted; (word, counted, expected): {:?}",
        differing.len(),
        expected.len(),
        &differing[..differing.len().min(SHOWN_MAX)],
    );
}

/// Replaces a word's count by a larger one.
#[track_caller]
fn grow(counts: &mut Counts, word: &[u8], count: i64) {
    let before = counts.get_mut(word);
    let is_larger = before.as_ref().is_none_or(|before| **before < count);
    assert!(
        is_larger,
        "{} went from {before:?} to {count}",
        String::from_utf8_lossy(word)
    );
    match before {
        Some(before) => *before = count,
        None => drop(counts.insert(word.to_vec(), count)),
    }
}

fn words(records: &RecordBatch) -> impl Iterator<Item = (&str, i64)> {
    let words = column(records, "word").as_string::<i32>().iter();
    let counts = column(records, "count").as_primitive::<Int64Type>().values().iter();
    words.map(|word| word.expect("a word")).zip(counts.copied())
}

fn column<'a>(records: &'a RecordBatch, name: &str) -> &'a dyn arrow::array::Array {
    let column = records.column_by_name(name);
    column
        .unwrap_or_else(|| panic!("a column {name} in {}", records.schema()))
        .as_ref()
}

/// Reads columns of a Parquet file, batch by batch.
#[track_caller]
fn for_each_batch(path: &Path, columns: &[&str], mut visit: impl FnMut(&RecordBatch)) {
    let file = File::open(path).unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap_or_else(|error| panic!("{} is no Parquet file: {error}", path.display()));
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let reader = builder.with_projection(mask).build().expect("columns of the file");
    for records in reader {
        visit(&records.unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display())));
    }
}

/// Returns the files that a reader of `FOLDER/**/*.parquet` reads, sorted by name.
fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = files_below(folder);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "parquet"));
    files.sort();
    files
}

/// Checks that no file of an unfinished epoch is left.
#[track_caller]
fn expect_nothing_staged(folder: &Path) {
    let mut staged = files_below(&folder.join("_millstream"));
    staged.retain(|path| {
        path.components()
            .any(|part| part.as_os_str().to_string_lossy().starts_with("staging-"))
    });
    assert!(staged.is_empty(), "left over: {staged:?}");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files
}
