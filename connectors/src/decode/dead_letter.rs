//! Dead letters: rejected payloads with the reason, and all that is known of where they came from.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, Int32Array, StringArray, UInt32Array, new_null_array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use engine::{Batch, Error, Result};

use super::Reject;

/// The columns of a batch that a dead letter keeps beside the payload, if the batch has them; the first of its columns.
const ENVELOPE: [&str; 6] = ["topic", "partition", "offset", "timestamp", "key", "headers"];

/// The columns of a dead letter that are its record's: all but the reason.
pub(super) const RECORD_FIELDS: usize = ENVELOPE.len() + 1;

/// Returns the columns of dead letters.
///
/// | column | type | |
/// |---|---|---|
/// | topic | Utf8 | the topic, or the file's path |
/// | partition | Int32 | 0 for a file |
/// | offset | Int64 | null where the batch has no such column, as all below are |
/// | timestamp | Timestamp(µs, UTC) | |
/// | key | Binary | |
/// | headers | List of Struct: key Utf8, value Binary | |
/// | value | Binary | the payload; null for a tombstone, which may be late |
/// | reason | Utf8 | never null |
pub fn dead_letter_schema() -> SchemaRef {
    let header = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Binary, true),
    ]);
    let header = Field::new_list_field(DataType::Struct(header), false);
    Arc::new(Schema::new(vec![
        Field::new("topic", DataType::Utf8, true),
        Field::new("partition", DataType::Int32, true),
        Field::new("offset", DataType::Int64, true),
        Field::new(
            "timestamp",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            true,
        ),
        Field::new("key", DataType::Binary, true),
        Field::new("headers", DataType::List(Arc::new(header)), true),
        Field::new("value", DataType::Binary, true),
        Field::new("reason", DataType::Utf8, false),
    ]))
}

/// Returns the rejected rows of `batch`, whose payloads are `values`, as dead letters.
///
/// # Errors
/// When an envelope column has a type that a dead letter can't hold.
pub(super) fn dead_letters(batch: &Batch, values: &BinaryArray, rejects: &[Reject]) -> Result<RecordBatch> {
    let schema = dead_letter_schema();
    // A batch has fewer rows than Arrow's 32-bit offsets count.
    let rows = UInt32Array::from_iter_values(rejects.iter().map(|reject| reject.row as u32));
    let envelope = &schema.fields()[..ENVELOPE.len()];
    let columns = envelope.iter().map(|field| record_column(batch, field, Some(&rows)));
    let mut columns = columns.collect::<Result<Vec<_>>>()?;
    columns.push(gather(values, &rows)?);
    columns.push(Arc::new(StringArray::from_iter_values(
        rejects.iter().map(|reject| &reject.reason),
    )));
    RecordBatch::try_new(schema, columns).map_err(Error::arrow("build dead letters"))
}

/// Returns a column of the records that a batch was made of, for `rows` of it or for all: the batch's own, or what its origin
/// says, or nulls.
///
/// # Errors
/// When the batch's column has a type that a dead letter can't hold.
pub(super) fn record_column(batch: &Batch, field: &Field, rows: Option<&UInt32Array>) -> Result<ArrayRef> {
    let count = rows.map_or(batch.rows(), Array::len);
    if let Ok(index) = batch.schema().index_of(field.name()) {
        let column = batch.column(index).to_array();
        let column = rows.map_or(Ok(Arc::clone(&column)), |rows| gather(&column, rows))?;
        return cast(&column, field.data_type()).map_err(Error::arrow("build dead letters"));
    }
    let origin = batch.origin().map(|origin| &origin.partition);
    Ok(match (field.name().as_str(), origin) {
        ("topic", Some(partition)) => Arc::new(StringArray::from_iter_values((0..count).map(|_| &partition.stream))),
        ("partition", Some(partition)) => Arc::new(Int32Array::from_value(partition.index, count)),
        _ => new_null_array(field.data_type(), count),
    })
}

fn gather(array: &dyn Array, rows: &UInt32Array) -> Result<ArrayRef> {
    take(array, rows, None).map_err(Error::arrow("gather rejected rows"))
}
