//! A column chunk of one value in all rows, written as what it is: a dictionary of one entry, and one run.
//!
//! Topic, partition and the kind of the time are one value each in a file of one partition. An encoder that looks each row's
//! value up in a dictionary and compares it for the statistics spends a tenth of a whole replay on these three.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int32Array, StringArray};
use arrow::datatypes::{DataType, Int32Type};
use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, Type};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescriptor;

/// Bytes of a text at most: a longer one would have to be cut for the statistics.
const TEXT_BYTES_MAX: usize = 64;

/// The value of all rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Repeated {
    Number(i32),
    Text(String),
}

impl Repeated {
    /// Returns whether a column may be written so, if its values allow it: it is to have a dictionary, statistics of its
    /// pages and no bloom filter, as is the rule.
    pub(super) fn is_possible(column: &ColumnDescriptor, properties: &WriterProperties) -> bool {
        let path = column.path();
        column.max_rep_level() == 0
            && column.max_def_level() <= 1
            && properties.dictionary_enabled(path)
            && properties.statistics_enabled(path) == EnabledStatistics::Page
            && properties.bloom_filter_properties(path).is_none()
    }

    /// Returns the value of all rows of an array, if it has one that can be written so.
    pub(super) fn of(array: &ArrayRef) -> Option<Self> {
        if array.null_count() > 0 {
            return None;
        }
        match array.data_type() {
            DataType::Int32 => one(array.as_primitive::<Int32Type>()).map(Self::Number),
            DataType::Dictionary(keys, values) if (&**keys, &**values) == (&DataType::Int32, &DataType::Utf8) => {
                let array = array.as_dictionary::<Int32Type>();
                let key = usize::try_from(one(array.keys())?).ok()?;
                let values = array.values().as_string::<i32>();
                let text = values.is_valid(key).then(|| values.value(key))?;
                (text.len() <= TEXT_BYTES_MAX).then(|| Self::Text(text.to_owned()))
            }
            _ => None,
        }
    }

    /// Returns the value in `rows` rows, as an array of the type that it came from.
    pub(super) fn array(&self, rows: usize) -> ArrayRef {
        match self {
            Self::Number(number) => Arc::new(Int32Array::from_value(*number, rows)),
            Self::Text(text) => {
                let values = Arc::new(StringArray::from(vec![text.as_str()]));
                Arc::new(DictionaryArray::new(Int32Array::from_value(0, rows), values))
            }
        }
    }

    /// Returns the chunk of a column that has the value in `rows` rows: its bytes, and what the footer says about them.
    ///
    /// # Errors
    /// When there are 2^31 rows, or the pages can't be compressed.
    pub(super) fn chunk(
        &self,
        column: &Arc<ColumnDescriptor>,
        properties: &WriterProperties,
        rows: usize,
    ) -> Result<(Bytes, ColumnCloseResult)> {
        let many = |_| ParquetError::General(format!("{rows} rows are too many for a page"));
        let (rows, count) = (i64::try_from(rows).map_err(many)?, i32::try_from(rows).map_err(many)?);
        let codec = properties.compression(column.path());
        let mut sink = TrackedWrite::new(Vec::new());
        let mut pages = SerializedPageWriter::new(&mut sink);
        let dictionary = pages.write_page(self.dictionary_page(codec)?)?;
        let data = pages.write_page(data_page(count.cast_unsigned(), column.max_def_level() == 1, codec)?)?;
        let bytes = Bytes::from(sink.into_inner()?);

        let length = i64::try_from(bytes.len()).map_err(many)?;
        let uncompressed = i64::try_from(dictionary.uncompressed_size + data.uncompressed_size).map_err(many)?;
        let place = i64::try_from(data.offset).map_err(many)?;
        let text_bytes = self.text_bytes().map(|bytes| bytes * rows);
        let metadata = ColumnChunkMetaData::builder(Arc::clone(column))
            .set_compression(codec)
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY])
            .set_page_encoding_stats(vec![
                page_encoding(PageType::DICTIONARY_PAGE, Encoding::PLAIN),
                page_encoding(PageType::DATA_PAGE, Encoding::RLE_DICTIONARY),
            ])
            .set_total_compressed_size(length)
            .set_total_uncompressed_size(uncompressed)
            .set_num_values(rows)
            .set_dictionary_page_offset(Some(0))
            .set_data_page_offset(place)
            .set_statistics(self.statistics())
            .set_unencoded_byte_array_data_bytes(text_bytes)
            .build()?;
        let mut column_index = ColumnIndexBuilder::new(self.kind());
        column_index.append(false, self.bytes(), self.bytes(), 0);
        column_index.set_boundary_order(BoundaryOrder::ASCENDING);
        let mut offset_index = OffsetIndexBuilder::new();
        offset_index.append_row_count(rows);
        offset_index.append_offset_and_size(place, i32::try_from(data.compressed_size).map_err(many)?);
        offset_index.append_unencoded_byte_array_data_bytes(text_bytes);
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows.cast_unsigned(),
            metadata,
            bloom_filter: None,
            column_index: Some(column_index.build()?),
            offset_index: Some(offset_index.build()),
        };
        Ok((bytes, close))
    }

    /// The only entry as `PLAIN` has it.
    fn dictionary_page(&self, codec: Compression) -> Result<CompressedPage> {
        let mut plain = self.bytes();
        if let Self::Text(_) = self {
            let length = u32::try_from(plain.len()).expect("at most TEXT_BYTES_MAX");
            plain.splice(0..0, length.to_le_bytes());
        }
        let page = Page::DictionaryPage {
            buf: compressed(codec, &plain)?,
            num_values: 1,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        Ok(CompressedPage::new(page, plain.len()))
    }

    /// The value as statistics have it.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Number(number) => number.to_le_bytes().to_vec(),
            Self::Text(text) => text.as_bytes().to_vec(),
        }
    }

    fn text_bytes(&self) -> Option<i64> {
        match self {
            Self::Number(_) => None,
            Self::Text(text) => Some(i64::try_from(text.len()).expect("at most TEXT_BYTES_MAX")),
        }
    }

    fn kind(&self) -> Type {
        match self {
            Self::Number(_) => Type::INT32,
            Self::Text(_) => Type::BYTE_ARRAY,
        }
    }

    fn statistics(&self) -> Statistics {
        match self {
            Self::Number(number) => Statistics::new(Some(*number), Some(*number), None, Some(0), false),
            Self::Text(text) => {
                let text = || Some(ByteArray::from(text.as_str()));
                Statistics::new(text(), text(), None, Some(0), false)
            }
        }
    }
}

/// Returns the number that all rows have.
fn one(numbers: &Int32Array) -> Option<i32> {
    let (&first, rest) = numbers.values().split_first()?;
    // Without a way out in the middle: so it is vectorized.
    let differs = rest.iter().fold(0, |differs, number| differs | (number ^ first));
    (differs == 0).then_some(first)
}

fn page_encoding(page_type: PageType, encoding: Encoding) -> PageEncodingStats {
    PageEncodingStats {
        page_type,
        encoding,
        count: 1,
    }
}

/// Returns the page of `rows` rows with the first entry of the dictionary; `has_levels` if a row could be null.
///
/// Levels and keys are Parquet's `RLE`: the rows shifted left by one as a varint, and the repeated value in a byte
/// (<https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE>). Before the levels their length in four bytes,
/// before the keys their width in bits.
fn data_page(rows: u32, has_levels: bool, codec: Compression) -> Result<CompressedPage> {
    let mut data = Vec::new();
    if has_levels {
        let mut levels = Vec::new();
        push_run(rows, 1, &mut levels);
        let length = u32::try_from(levels.len()).expect("a few bytes");
        data.extend(length.to_le_bytes());
        data.extend(levels);
    }
    data.push(1);
    push_run(rows, 0, &mut data);
    let page = Page::DataPage {
        buf: compressed(codec, &data)?,
        num_values: rows,
        encoding: Encoding::RLE_DICTIONARY,
        def_level_encoding: Encoding::RLE,
        rep_level_encoding: Encoding::RLE,
        statistics: None,
    };
    Ok(CompressedPage::new(page, data.len()))
}

fn push_run(rows: u32, value: u8, to: &mut Vec<u8>) {
    let mut header = u64::from(rows) << 1;
    while header >= 0x80 {
        to.push(header as u8 | 0x80);
        header >>= 7;
    }
    to.push(header as u8);
    to.push(value);
}

fn compressed(codec: Compression, bytes: &[u8]) -> Result<Bytes> {
    let failed = |problem: String| ParquetError::General(format!("compress a page: {problem}"));
    let bytes = match codec {
        Compression::UNCOMPRESSED => bytes.to_vec(),
        Compression::SNAPPY => snap::raw::Encoder::new()
            .compress_vec(bytes)
            .map_err(|error| failed(error.to_string()))?,
        Compression::LZ4_RAW => lz4_flex::block::compress(bytes),
        Compression::ZSTD(level) => {
            zstd::bulk::compress(bytes, level.compression_level()).map_err(|error| failed(error.to_string()))?
        }
        other => return Err(failed(format!("no such codec here: {other}"))),
    };
    Ok(Bytes::from(bytes))
}
