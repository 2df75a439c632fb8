//! Rows into the row groups of one Parquet file, as parquet-rs writes them, but for columns of one value.

use std::io::Write;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves};
use parquet::errors::Result;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use super::repeated::Repeated;

/// Writes rows as a Parquet file. The row group under way is in memory, encoded.
#[derive(Debug)]
pub(super) struct RowGroups<W: Write + Send> {
    file: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    under_way: Option<RowGroup>,
}

#[derive(Debug)]
struct RowGroup {
    columns: Vec<Column>,
    rows: usize,
}

/// A column of a row group, with those of its leaves.
#[derive(Debug)]
struct Column {
    field: FieldRef,
    leaves: Vec<(ColumnDescPtr, ArrowColumnWriter)>,
    may_repeat: bool,
    /// The value of all rows so far, none of which the leaves have.
    repeated: Option<Repeated>,
}

impl<W: Write + Send + 'static> RowGroups<W> {
    /// Returns a file without rows.
    ///
    /// # Errors
    /// When a column has no Parquet form, or the first bytes can't be written.
    pub(super) fn new(to: W, schema: SchemaRef, properties: &WriterProperties) -> Result<Self> {
        // Types are those of Parquet for all readers: by Arrow's, pyarrow would take a dictionary in the file and a text in the
        // name of its folder for two columns that do not fit.
        let options = ArrowWriterOptions::new()
            .with_properties(properties.clone())
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(to, Arc::clone(&schema), options)?;
        let (file, factory) = writer.into_serialized_writer()?;
        Ok(Self {
            file,
            factory,
            schema,
            under_way: None,
        })
    }

    /// Encodes rows, which go to more than one row group when one becomes full.
    ///
    /// # Errors
    /// When they can't be encoded, or a full row group can't be written.
    pub(super) fn write(&mut self, records: &RecordBatch) -> Result<()> {
        let properties = Arc::clone(self.file.properties());
        let mut done = 0;
        while done < records.num_rows() {
            let group = match &mut self.under_way {
                Some(group) => group,
                none => none.insert(RowGroup::new(&self.file, &self.factory, &self.schema)?),
            };
            let rows = group.room(&properties).min(records.num_rows() - done);
            group.write(&records.slice(done, rows))?;
            done += rows;
            if group.room(&properties) == 0 {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes the row group under way.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn flush(&mut self) -> Result<()> {
        let Some(group) = self.under_way.take() else {
            return Ok(());
        };
        let properties = Arc::clone(self.file.properties());
        let mut row_group = self.file.next_row_group()?;
        for column in group.columns {
            column.finish(group.rows, &properties, &mut row_group)?;
        }
        row_group.close().map(drop)
    }

    /// Adds a pair to the footer.
    pub(super) fn append_key_value_metadata(&mut self, pair: KeyValue) {
        self.file.append_key_value_metadata(pair);
    }

    /// Writes what is under way, and the footer.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.file.finish().map(drop)
    }

    /// Returns about how many bytes the file would have if it ended here, without its footer.
    pub(super) fn bytes(&self) -> usize {
        self.file.bytes_written() + self.under_way.as_ref().map_or(0, RowGroup::bytes)
    }

    /// Returns the bytes of memory that the row group under way takes.
    pub(super) fn memory(&self) -> usize {
        self.under_way.as_ref().map_or(0, RowGroup::memory)
    }

    /// Returns what the file is written to.
    pub(super) fn inner_mut(&mut self) -> &mut W {
        self.file.inner_mut()
    }
}

impl RowGroup {
    fn new<W: Write + Send>(
        file: &SerializedFileWriter<W>,
        factory: &ArrowRowGroupWriterFactory,
        schema: &SchemaRef,
    ) -> Result<Self> {
        let (described, properties) = (file.schema_descr(), file.properties());
        let writers = factory.create_column_writers(file.flushed_row_groups().len())?;
        let mut columns: Vec<_> = schema.fields().iter().map(Column::new).collect();
        for (leaf, writer) in writers.into_iter().enumerate() {
            columns[described.get_column_root_idx(leaf)].add(leaf, writer, described, properties);
        }
        Ok(Self { columns, rows: 0 })
    }

    fn write(&mut self, records: &RecordBatch) -> Result<()> {
        for (column, array) in self.columns.iter_mut().zip(records.columns()) {
            column.write(array, self.rows)?;
        }
        self.rows += records.num_rows();
        Ok(())
    }

    /// Returns how many rows more the row group takes, by the bytes of those that it has.
    fn room(&self, properties: &WriterPropertiesPtr) -> usize {
        let by_rows = properties.max_row_group_row_count().unwrap_or(usize::MAX) - self.rows;
        let Some(bytes_max) = properties.max_row_group_bytes() else {
            return by_rows;
        };
        let bytes = self.bytes();
        match bytes.checked_div(self.rows) {
            None | Some(0) => by_rows,
            Some(each) => by_rows.min(bytes_max.saturating_sub(bytes) / each),
        }
    }

    fn bytes(&self) -> usize {
        let writers = self.columns.iter().flat_map(|column| &column.leaves);
        writers.map(|(_, writer)| writer.get_estimated_total_bytes()).sum()
    }

    fn memory(&self) -> usize {
        let writers = self.columns.iter().flat_map(|column| &column.leaves);
        writers.map(|(_, writer)| writer.memory_size()).sum()
    }
}

impl Column {
    fn new(field: &FieldRef) -> Self {
        Self {
            field: Arc::clone(field),
            leaves: Vec::new(),
            may_repeat: false,
            repeated: None,
        }
    }

    fn add(
        &mut self,
        leaf: usize,
        writer: ArrowColumnWriter,
        described: &SchemaDescriptor,
        properties: &WriterProperties,
    ) {
        let column = described.column(leaf);
        self.may_repeat = Repeated::is_possible(&column, properties);
        self.leaves.push((column, writer));
    }

    /// Takes the next rows; `before` is how many there were.
    fn write(&mut self, array: &ArrayRef, before: usize) -> Result<()> {
        match self.repeated.take() {
            None if before == 0 && self.may_repeat => self.repeated = Repeated::of(array),
            None => {}
            Some(value) if Repeated::of(array).as_ref() == Some(&value) => self.repeated = Some(value),
            Some(value) => self.encode(&value.array(before))?,
        }
        match self.repeated {
            Some(_) => Ok(()),
            None => self.encode(array),
        }
    }

    fn encode(&mut self, array: &ArrayRef) -> Result<()> {
        let arrays = compute_leaves(&self.field, array)?;
        for ((_, writer), leaf) in self.leaves.iter_mut().zip(arrays) {
            writer.write(&leaf)?;
        }
        Ok(())
    }

    fn finish<W: Write + Send>(
        self,
        rows: usize,
        properties: &WriterProperties,
        row_group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<()> {
        for (column, writer) in self.leaves {
            match &self.repeated {
                Some(value) => {
                    let (bytes, close) = value.chunk(&column, properties, rows)?;
                    row_group.append_column(&bytes, close)?;
                }
                None => writer.close()?.append_to_row_group(row_group)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, DictionaryArray, Int32Array};
    use arrow::compute::{cast, concat_batches};
    use arrow::datatypes::{DataType, Field, Int32Type, Schema};
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
    use proptest::prelude::*;

    use super::*;

    /// Number, text and payload of a row.
    type Row = (Option<i32>, Option<&'static str>, Option<&'static [u8]>);

    const ROW: Row = (Some(3), Some("logs"), Some(b"line"));

    fn records(rows: &[Row]) -> RecordBatch {
        let numbers: Int32Array = rows.iter().map(|row| row.0).collect();
        let texts: DictionaryArray<Int32Type> = rows.iter().map(|row| row.1).collect();
        let payloads: BinaryArray = rows.iter().map(|row| row.2).collect();
        let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let schema = Schema::new(vec![
            Field::new("number", DataType::Int32, true),
            Field::new("text", text, true),
            Field::new("payload", DataType::Binary, true),
        ]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![Arc::new(numbers), Arc::new(texts), Arc::new(payloads)],
        )
        .expect("columns of one length")
    }

    fn properties(codec: Compression) -> WriterProperties {
        WriterProperties::builder()
            .set_compression(codec)
            .set_max_row_group_row_count(Some(40))
            .build()
    }

    fn ours(batches: &[RecordBatch], properties: &WriterProperties) -> Bytes {
        let schema = batches[0].schema();
        let mut file = RowGroups::new(Vec::new(), schema, properties).expect("columns that Parquet has");
        for batch in batches {
            file.write(batch).expect("nothing can go wrong in memory");
        }
        file.finish().expect("nothing can go wrong in memory");
        Bytes::from(std::mem::take(file.inner_mut()))
    }

    fn theirs(batches: &[RecordBatch], properties: &WriterProperties) -> Bytes {
        let schema = batches[0].schema();
        let options = ArrowWriterOptions::new()
            .with_properties(properties.clone())
            .with_skip_arrow_metadata(true);
        let mut writer =
            ArrowWriter::try_new_with_options(Vec::new(), schema, options).expect("columns that Parquet has");
        for batch in batches {
            writer.write(batch).expect("nothing can go wrong in memory");
        }
        Bytes::from(writer.into_inner().expect("nothing can go wrong in memory"))
    }

    fn open(file: &Bytes) -> ParquetRecordBatchReaderBuilder<Bytes> {
        use parquet::arrow::arrow_reader::ArrowReaderOptions;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options).expect("a Parquet file")
    }

    fn rows_of(file: &Bytes) -> RecordBatch {
        let reader = open(file);
        let schema = Arc::clone(reader.schema());
        let batches: Result<Vec<_>, _> = reader.build().expect("columns that Arrow has").collect();
        concat_batches(&schema, &batches.expect("rows that can be decoded")).expect("one schema")
    }

    /// What the footer says of each column of each row group, but for places and sizes.
    fn said(metadata: &ParquetMetaData) -> Vec<String> {
        let indexes = metadata.column_index().expect("an index of pages").iter().flatten();
        let groups = metadata.row_groups().iter();
        let columns = groups.flat_map(|group| group.columns());
        columns
            .zip(indexes)
            .map(|(column, index)| {
                let statistics = column.statistics().expect("statistics");
                let ends = (statistics.min_bytes_opt(), statistics.max_bytes_opt());
                let encodings: std::collections::BTreeSet<_> =
                    column.encodings().map(|encoding| encoding.to_string()).collect();
                format!(
                    "{} {:?} {} values, {ends:?}, nulls {:?}, {encodings:?}, pages {:?} {:?}",
                    column.column_path(),
                    column.compression(),
                    column.num_values(),
                    statistics.null_count_opt(),
                    index.null_counts(),
                    index.get_boundary_order(),
                )
            })
            .collect()
    }

    #[track_caller]
    fn check(batches: &[RecordBatch], codec: Compression) {
        let properties = properties(codec);
        let (ours, theirs) = (ours(batches, &properties), theirs(batches, &properties));
        let expected = concat_batches(&batches[0].schema(), batches).expect("one schema");
        let found = rows_of(&ours);
        for (found, expected) in found.columns().iter().zip(expected.columns()) {
            assert_eq!(found, &cast(expected, found.data_type()).expect("texts"));
        }
        assert_eq!(said(open(&ours).metadata()), said(open(&theirs).metadata()));
    }

    fn codecs() -> Vec<Compression> {
        let zstd = ZstdLevel::try_new(1).expect("a level");
        vec![
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::LZ4_RAW,
            Compression::ZSTD(zstd),
        ]
    }

    #[test]
    fn one_value_in_all_rows_is_a_run_by_every_codec() {
        for codec in codecs() {
            check(&[records(&[ROW; 30]), records(&[ROW; 30])], codec);
        }
        let many = records(&vec![ROW; 100_000]);
        let properties = WriterProperties::default();
        let file = ours(&[many], &properties);
        for column in &open(&file).metadata().row_group(0).columns()[..2] {
            assert!(column.compressed_size() < 100, "{column:?}");
        }
    }

    #[test]
    fn a_column_that_begins_with_one_value_may_go_on_with_others() {
        let other = (Some(4), Some("other"), None);
        let null = (None, None, None);
        for next in [other, null] {
            check(
                &[records(&[ROW; 5]), records(&[ROW, next, ROW]), records(&[ROW; 70])],
                Compression::SNAPPY,
            );
            check(&[records(&[next]), records(&[ROW; 3])], Compression::SNAPPY);
        }
    }

    #[test]
    fn a_text_too_long_for_statistics_and_a_column_with_a_bloom_filter_are_left_to_the_encoder() {
        let long: &'static str = "a text of more than the sixty-four bytes that statistics keep of a text";
        check(&[records(&[(Some(1), Some(long), None); 9])], Compression::SNAPPY);
        let filtered = WriterProperties::builder().set_bloom_filter_enabled(true).build();
        let file = ours(&[records(&[ROW; 9])], &filtered);
        let columns = open(&file).metadata().row_group(0).columns().to_vec();
        assert!(columns.iter().all(|column| column.bloom_filter_offset().is_some()));
    }

    proptest! {
        #[test]
        fn rows_and_footer_are_those_of_parquet_rs(
            batches in prop::collection::vec((0..3_usize, 1..30_usize), 1..12),
            mixed in prop::bool::ANY,
        ) {
            let kinds: [Row; 3] = [ROW, (Some(-7), Some(""), Some(b"")), (Some(3), None, None)];
            let batches: Vec<_> = batches
                .iter()
                .map(|&(kind, rows)| records(&vec![kinds[if mixed { kind } else { kind / 2 * 2 }]; rows]))
                .collect();
            check(&batches, Compression::SNAPPY);
        }
    }
}
