//! How each column is encoded.

use arrow::datatypes::{DataType, Schema};
use engine::{Error, Result};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::Encoding;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::{Compression, ParquetOptions};

/// Bytes of a minimum or maximum that statistics keep: enough to skip by, whatever the size of the values.
const STATISTICS_BYTES_MAX: usize = 64;

/// The column of raw lines: nearly every value is its own, so that a dictionary and statistics cost and give nothing.
const VALUE: &str = "value";

/// The column of Kafka offsets.
const OFFSET: &str = "offset";

/// Returns the properties of every file of `schema`.
///
/// # Errors
/// When a column's type has no Parquet form, or the compression level is out of range.
pub(super) fn writer_properties(schema: &Schema, options: &ParquetOptions) -> Result<WriterProperties> {
    let ParquetOptions {
        compression,
        row_group_rows,
        row_group_bytes,
        ..
    } = *options;
    Ok(builder(schema, compression, row_group_rows, row_group_bytes)?.build())
}

/// Returns the properties of files of `schema`, for those that add to them.
///
/// # Errors
/// When a column's type has no Parquet form, or the compression level is out of range.
pub(super) fn builder(
    schema: &Schema,
    compression: Compression,
    row_group_rows: usize,
    row_group_bytes: usize,
) -> Result<WriterPropertiesBuilder> {
    ArrowSchemaConverter::new()
        .convert(schema)
        .map_err(|error| Error::Invalid(format!("parquet: these columns can't be written: {error}")))?;
    let mut properties = WriterProperties::builder()
        .set_compression(compression.to_parquet()?)
        .set_created_by(concat!("millstream ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_max_row_group_row_count(Some(row_group_rows))
        .set_max_row_group_bytes(Some(row_group_bytes))
        .set_statistics_truncate_length(Some(STATISTICS_BYTES_MAX))
        .set_column_index_truncate_length(Some(STATISTICS_BYTES_MAX));
    for field in schema.fields() {
        let column = ColumnPath::new(vec![field.name().clone()]);
        properties = match field.data_type() {
            DataType::Binary | DataType::Utf8 if field.name() == VALUE => properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_statistics_enabled(column.clone(), EnabledStatistics::None)
                .set_column_encoding(column, Encoding::DELTA_LENGTH_BYTE_ARRAY),
            DataType::Int64 if field.name() == OFFSET => properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED),
            DataType::Timestamp(..) => properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED),
            _ => properties,
        };
    }
    Ok(properties)
}
