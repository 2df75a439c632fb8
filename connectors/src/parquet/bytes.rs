//! Rows as the bytes of one Parquet file, for whoever writes them where a file is wanted and no folder.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use engine::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;

use super::properties::writer_properties;
use super::{Layout, ParquetOptions};

/// Encodes batches of one schema. Bytes come when a row group is full, and at the end.
pub struct ParquetBytes {
    writer: ArrowWriter<Vec<u8>>,
}

impl ParquetBytes {
    /// Returns an encoder of rows of `schema`.
    ///
    /// # Errors
    /// When a column's type has no Parquet form.
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let options = ParquetOptions::new("", schema.clone(), Layout::Append);
        let properties = writer_properties(schema, &options)?;
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties));
        Ok(Self {
            writer: writer.map_err(failed)?,
        })
    }

    /// Encodes rows, and returns the bytes that are ready.
    ///
    /// # Errors
    /// When the rows can't be encoded.
    pub fn encode(&mut self, records: &RecordBatch) -> Result<Vec<u8>> {
        self.writer.write(records).map_err(failed)?;
        Ok(std::mem::take(self.writer.inner_mut()))
    }

    /// Ends the file, and returns its last bytes. To be called once.
    ///
    /// # Errors
    /// When the rows can't be encoded.
    pub fn finish(&mut self) -> Result<Vec<u8>> {
        self.writer.finish().map_err(failed)?;
        Ok(std::mem::take(self.writer.inner_mut()))
    }
}

fn failed(error: ParquetError) -> Error {
    Error::Invalid(format!("rows can't be written as Parquet: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    #[test]
    fn the_bytes_are_a_parquet_file() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let rows = RecordBatch::try_from_iter([("n", numbers)]).expect("a column");
        let mut encoder = ParquetBytes::new(&rows.schema()).expect("integers");
        let mut bytes = encoder.encode(&rows).expect("memory");
        bytes.extend(encoder.encode(&rows).expect("memory"));
        bytes.extend(encoder.finish().expect("memory"));
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).expect("a Parquet file");
        let read = reader
            .build()
            .expect("row groups")
            .map(|batch| batch.expect("rows").num_rows());
        assert_eq!(read.sum::<usize>(), 6);
    }
}
