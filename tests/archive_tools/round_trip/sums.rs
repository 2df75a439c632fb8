//! What a partition holds, as numbers and a hash that depends on every byte and on the order.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::harness::records::NewRecord;

/// What one partition holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) rows: u64,
    /// Keys that are not null.
    pub(super) keys: u64,
    /// Values that are not null.
    pub(super) values: u64,
    pub(super) value_bytes: u64,
    pub(super) headers: u64,
    /// Records that have a time.
    pub(super) times: u64,
    /// Of all of it, record after record.
    pub(super) hash: u64,
}

impl Sums {
    /// Takes in a record to write.
    pub(super) fn add(&mut self, record: &NewRecord) {
        let time = record.timestamp.filter(|&time| time >= 0);
        let headers = record.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_deref()));
        self.take(record.key.as_deref(), record.value.as_deref(), time, headers);
    }

    fn take<'a>(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        time_ms: Option<i64>,
        headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
    ) {
        self.rows += 1;
        self.keys += u64::from(key.is_some());
        self.values += u64::from(value.is_some());
        self.value_bytes += value.map_or(0, <[u8]>::len) as u64;
        self.times += u64::from(time_ms.is_some());
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.hash);
        hasher.write_i64(time_ms.unwrap_or(-1));
        for part in [key, value] {
            write(&mut hasher, part);
        }
        for (name, value) in headers {
            self.headers += 1;
            write(&mut hasher, Some(name.as_bytes()));
            write(&mut hasher, value);
        }
        self.hash = hasher.finish();
    }

    fn take_rows(&mut self, rows: &RecordBatch) {
        let column = |name: &str| rows.column_by_name(name).unwrap_or_else(|| panic!("a column {name}"));
        let (keys, values) = (column("key").as_binary::<i32>(), column("value").as_binary::<i32>());
        let times = column("timestamp").as_primitive::<TimestampMicrosecondType>();
        let headers = column("headers").as_list::<i32>();
        let entries = headers.values().as_struct();
        let (names, contents) = (
            entries.column(0).as_string::<i32>(),
            entries.column(1).as_binary::<i32>(),
        );
        for row in 0..rows.num_rows() {
            let place = |at: usize| usize::try_from(headers.value_offsets()[at]).expect("offsets are not negative");
            let header = |at: usize| (names.value(at), contents.is_valid(at).then(|| contents.value(at)));
            self.take(
                keys.is_valid(row).then(|| keys.value(row)),
                values.is_valid(row).then(|| values.value(row)),
                times.is_valid(row).then(|| times.value(row) / 1000),
                (place(row)..place(row + 1)).map(header),
            );
        }
    }
}

/// Returns what files hold, which are in the order of their rows, by partition.
#[track_caller]
pub(super) fn sums_of(files: &[PathBuf], partitions: i32) -> Vec<Sums> {
    let mut sums = vec![Sums::default(); usize::try_from(partitions).expect("some")];
    for path in files {
        let file = File::open(path).expect("a file that was listed");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|reader| reader.build());
        for rows in reader.expect("a Parquet file") {
            let rows = rows.expect("rows that can be decoded");
            let partition = rows.column_by_name("partition").expect("a column");
            let partition = partition.as_primitive::<Int32Type>().value(0);
            sums[usize::try_from(partition).expect("from 0 on")].take_rows(&rows);
        }
    }
    sums
}

fn write(hasher: &mut DefaultHasher, part: Option<&[u8]>) {
    hasher.write_usize(part.map_or(usize::MAX, <[u8]>::len));
    hasher.write(part.unwrap_or_default());
}
