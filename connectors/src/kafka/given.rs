//! Records that someone gives, as batches that look like those of the source: what a test of a job reads.

use engine::batch::Batch;
use engine::position::{OffsetRange, Partition};

use super::columns::{Record, Rows, TooLarge};
use super::config::Connection;
use super::ffi::TimestampKind;
use super::options::{KafkaColumn, SourceOptions};

/// A record as a producer would send it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenRecord {
    /// Its time, in milliseconds since 1970 UTC.
    pub timestamp_millis: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; a tombstone has none.
    pub value: Option<Vec<u8>>,
    /// Its headers, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A given record at its place in the partition.
struct Placed<'a> {
    record: &'a GivenRecord,
    offset: i64,
}

impl Record for Placed<'_> {
    fn offset(&self) -> i64 {
        self.offset
    }

    fn timestamp(&self) -> Option<(i64, TimestampKind)> {
        let millis = self.record.timestamp_millis?;
        Some((millis, TimestampKind::Create))
    }

    fn key(&self) -> Option<&[u8]> {
        self.record.key.as_deref()
    }

    fn value(&self) -> Option<&[u8]> {
        self.record.value.as_deref()
    }

    fn visit_headers(&self, mut visit: impl FnMut(&[u8], Option<&[u8]>)) {
        for (key, value) in &self.record.headers {
            visit(key.as_bytes(), Some(value));
        }
    }
}

/// Returns the records as one batch of `partition` with these columns, the first of them at the offset `from`.
///
/// # Errors
/// When a record is larger than a batch can hold.
pub fn batch(
    partition: &Partition,
    from: i64,
    records: &[GivenRecord],
    columns: &[KafkaColumn],
) -> engine::Result<Batch> {
    // Only what of the options concerns rows is looked at: nothing is connected to.
    let mut options = SourceOptions::new(Connection::new(""), vec![], "");
    options.columns = columns.to_vec();
    let mut rows = Rows::new(partition.clone(), options.schema(), &options);
    let mut offset = from;
    for record in records {
        let too_large = |error: TooLarge| engine::Error::Invalid(format!("{partition} at offset {offset}: {error}"));
        rows.append(&Placed { record, offset }).map_err(too_large)?;
        offset += 1;
    }
    Ok(rows.finish(OffsetRange { from, to: offset }))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn given_records_have_the_columns_of_read_ones() {
        let records = [
            GivenRecord {
                key: Some(b"k".to_vec()),
                value: Some(b"v".to_vec()),
                timestamp_millis: Some(7),
                headers: vec![("h".to_owned(), b"x".to_vec())],
            },
            GivenRecord::default(),
        ];
        let batch = batch(&Partition::new("logs", 3), 5, &records, KafkaColumn::ALL).expect("small records");
        let names: Vec<_> = batch
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        let expected: Vec<_> = KafkaColumn::ALL.iter().map(|column| column.name()).collect();
        assert_eq!(names, expected);
        let column = |name: &str| {
            batch
                .column(batch.schema().index_of(name).expect("a column"))
                .to_array()
        };
        assert_eq!(column("offset").as_primitive::<Int64Type>().values(), &[5, 6]);
        assert_eq!(
            column("key").as_binary::<i32>().iter().collect::<Vec<_>>(),
            [Some(&b"k"[..]), None]
        );
        assert_eq!(
            column("value").as_binary::<i32>().iter().collect::<Vec<_>>(),
            [Some(&b"v"[..]), None]
        );
        assert_eq!(column("headers").as_list::<i32>().value_length(0), 1);
        assert_eq!(
            batch.origin().expect("a partition").offsets,
            OffsetRange { from: 5, to: 7 }
        );
    }
}
