//! parquet-rs alone: the same batches encoded from memory into nothing, with the properties that the sink chooses.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnPath;

/// Counts the bytes of a file that nobody needs.
#[derive(Debug, Default)]
struct Nowhere(u64);

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What one file came out as.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) bytes: u64,
    pub(crate) metadata: Arc<ParquetMetaData>,
}

/// Encodes batches of one schema as one file.
pub(crate) fn encode(batches: &[RecordBatch]) -> Encoded {
    let schema = batches.first().expect("there are batches").schema();
    let mut writer =
        ArrowWriter::try_new(Nowhere::default(), schema, Some(properties())).expect("columns that Parquet has");
    for batch in batches {
        writer.write(batch).expect("nothing can go wrong in memory");
    }
    let metadata = writer.finish().expect("nothing can go wrong in memory");
    Encoded {
        bytes: writer.inner().0,
        metadata: Arc::new(metadata),
    }
}

/// Asserts that a file's columns have the codec and the encodings of the twin's, and returns its rows.
pub(crate) fn check_same(file: &Path, twin: &Encoded) -> u64 {
    let file = std::fs::File::open(file).expect("the sink wrote it");
    let reader = SerializedFileReader::new(file).expect("a Parquet file");
    let chunks = |metadata: &ParquetMetaData| -> Vec<_> {
        let columns = metadata.row_group(0).columns().iter();
        let form = |column: &parquet::file::metadata::ColumnChunkMetaData| {
            let mut encodings: Vec<_> = column.encodings().map(|encoding| encoding.to_string()).collect();
            encodings.sort();
            (
                column.column_path().string(),
                column.compression().to_string(),
                encodings,
            )
        };
        columns.map(form).collect()
    };
    assert_eq!(
        chunks(reader.metadata()),
        chunks(&twin.metadata),
        "the same work is compared"
    );
    u64::try_from(reader.metadata().file_metadata().num_rows()).expect("a number of rows")
}

fn properties() -> WriterProperties {
    let path = |name: &str| ColumnPath::new(vec![name.to_owned()]);
    let zstd = ZstdLevel::try_new(1).expect("a level of zstd");
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(zstd))
        .set_max_row_group_row_count(Some(1 << 20))
        .set_max_row_group_bytes(Some(64 << 20))
        .set_statistics_truncate_length(Some(64))
        .set_column_index_truncate_length(Some(64))
        .set_column_dictionary_enabled(path("value"), false)
        .set_column_statistics_enabled(path("value"), EnabledStatistics::None)
        .set_column_encoding(path("value"), Encoding::DELTA_LENGTH_BYTE_ARRAY)
        .set_column_dictionary_enabled(path("offset"), false)
        .set_column_encoding(path("offset"), Encoding::DELTA_BINARY_PACKED)
        .set_column_dictionary_enabled(path("timestamp"), false)
        .set_column_encoding(path("timestamp"), Encoding::DELTA_BINARY_PACKED)
        .build()
}
