//! The program's Parquet output, read back as any reader would: every `*.parquet` whose path has no `_` folder in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;

use super::records::{HeaderList, Record};

/// Returns the Parquet files below a folder, by name; none when the folder is not there.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let path = entry.expect("the folder can be listed").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a UTF-8 name");
        if name.starts_with(['_', '.']) {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else if name.ends_with(".parquet") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns the counts in a word count's table.
///
/// # Panics
/// When a file can't be read, or a word is there twice.
#[track_caller]
pub(crate) fn counts(folder: &Path) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for records in read(folder) {
        let words = column(&records, "word").as_string::<i32>();
        let numbers = column(&records, "count").as_primitive::<Int64Type>();
        for (word, &count) in words.iter().zip(numbers.values()) {
            let word = word.expect("a word is never null");
            let earlier = counts.insert(word.to_owned(), count);
            assert_eq!(earlier, None, "`{word}` is there once");
        }
    }
    counts
}

/// Returns the records that a replay wrote, by partition and offset.
///
/// # Panics
/// When a file can't be read.
#[track_caller]
pub(crate) fn records(folder: &Path) -> Vec<Record> {
    let mut records: Vec<_> = read(folder).iter().flat_map(rows).collect();
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

/// Returns the codecs of all columns of a file.
///
/// # Panics
/// When the file can't be read.
#[track_caller]
pub(crate) fn codecs(file: &Path) -> Vec<Compression> {
    let metadata = open(file).metadata().clone();
    let groups = metadata.row_groups().iter();
    groups
        .flat_map(|group| group.columns())
        .map(|column| column.compression())
        .collect()
}

#[track_caller]
fn read(folder: &Path) -> Vec<RecordBatch> {
    let read = |path: &PathBuf| {
        let reader = open(path).build().expect("a whole Parquet file");
        reader.collect::<Result<Vec<_>, _>>().expect("rows that can be decoded")
    };
    files(folder).iter().flat_map(read).collect()
}

#[track_caller]
fn open(path: &Path) -> ParquetRecordBatchReaderBuilder<File> {
    let file = File::open(path).expect("a file that was listed");
    ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap_or_else(|error| panic!("{} is no Parquet file: {error}", path.display()))
}

#[track_caller]
fn column<'r>(records: &'r RecordBatch, name: &str) -> &'r dyn Array {
    let column = records.column_by_name(name);
    column.unwrap_or_else(|| panic!("a column {name} in {}", records.schema()))
}

fn rows(records: &RecordBatch) -> Vec<Record> {
    let partitions = column(records, "partition").as_primitive::<Int32Type>();
    let offsets = column(records, "offset").as_primitive::<Int64Type>();
    let times = column(records, "timestamp").as_primitive::<TimestampMicrosecondType>();
    let (keys, values) = (
        column(records, "key").as_binary::<i32>(),
        column(records, "value").as_binary::<i32>(),
    );
    let bytes = |column: &arrow::array::BinaryArray, row| column.is_valid(row).then(|| column.value(row).to_vec());
    let record = |row| Record {
        partition: partitions.value(row),
        offset: offsets.value(row),
        key: bytes(keys, row),
        value: bytes(values, row),
        headers: headers(records, row),
        timestamp: times.is_valid(row).then(|| times.value(row) / 1000),
    };
    (0..records.num_rows()).map(record).collect()
}

fn headers(records: &RecordBatch, row: usize) -> HeaderList {
    let headers = column(records, "headers").as_list::<i32>().value(row);
    let headers = headers.as_struct();
    let (names, values) = (
        headers.column(0).as_string::<i32>(),
        headers.column(1).as_binary::<i32>(),
    );
    let header = |(name, value): (Option<&str>, Option<&[u8]>)| {
        let name = name.expect("a header has a name");
        (name.to_owned(), value.map(<[u8]>::to_vec))
    };
    names.iter().zip(values.iter()).map(header).collect()
}
