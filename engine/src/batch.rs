//! A batch of rows on its way through the pipeline: Arrow columns, spans into a text buffer, or lines of one, with their
//! origin.

mod lines;

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringBuilder};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

pub use self::lines::{Lines, first_lines};
use crate::error::{Error, Result};
use crate::position::{OffsetRange, Partition};

/// Rows with the partition and the half-open offset range they were read from.
///
/// A batch that an aggregate emits comes from many partitions and has no origin.
#[derive(Clone, Debug)]
pub struct Batch {
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
    origin: Option<Origin>,
    rejected: Vec<RecordBatch>,
}

/// The place in the input that a batch's rows were read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The partition.
    pub partition: Partition,
    /// The offsets that the batch covers, gaps included: the next batch of this partition starts at `to`.
    pub offsets: OffsetRange,
}

/// One column of a batch.
#[derive(Clone, Debug)]
pub enum Column {
    /// An Arrow array.
    Array(ArrayRef),
    /// Strings that are still where the input had them.
    Spans(Spans),
    /// Lines of a text that is not cut yet.
    Lines(Lines),
}

/// A string column as `[start, end)` byte spans into one UTF-8 text buffer. No span is null.
#[derive(Clone, Debug)]
pub struct Spans {
    /// The text. Every span is valid UTF-8 of its own.
    pub text: Buffer,
    /// The first byte of each string.
    pub starts: Vec<u32>,
    /// The byte after each string.
    pub ends: Vec<u32>,
}

impl Batch {
    /// Returns a batch of Arrow columns.
    pub fn new(records: RecordBatch, origin: Option<Origin>) -> Self {
        let columns = records.columns().iter().cloned().map(Column::Array).collect();
        Self {
            schema: records.schema(),
            rows: records.num_rows(),
            columns,
            origin,
            rejected: Vec::new(),
        }
    }

    /// Returns a batch of `rows` rows.
    ///
    /// # Panics
    /// When the number of columns differs from the schema's, or a column's length from `rows`.
    pub fn from_columns(schema: SchemaRef, columns: Vec<Column>, rows: usize, origin: Option<Origin>) -> Self {
        assert_eq!(schema.fields().len(), columns.len(), "one column a field");
        assert!(
            columns.iter().all(|column| column.len() == rows),
            "columns are as long as their batch"
        );
        Self {
            schema,
            columns,
            rows,
            origin,
            rejected: Vec::new(),
        }
    }

    /// Returns the batch with rows that an operator has put aside: they travel with it to the driver, which writes them to
    /// the job's dead letters in the same epoch. An operator that makes a new batch hands on what the old one carried.
    pub fn with_rejected(mut self, rejected: impl IntoIterator<Item = RecordBatch>) -> Self {
        self.rejected.extend(rejected);
        self
    }

    /// Takes out the rows that operators have put aside.
    pub fn take_rejected(&mut self) -> Vec<RecordBatch> {
        std::mem::take(&mut self.rejected)
    }

    /// Returns the columns' names and types; spans count as `Utf8`, lines as `Binary` until they are known to be UTF-8.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Returns the columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Returns column `index`.
    ///
    /// # Panics
    /// When there is no such column.
    pub fn column(&self, index: usize) -> &Column {
        &self.columns[index]
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns where the rows were read from.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Returns the rows as an Arrow record batch; spans and lines are copied into arrays.
    ///
    /// # Errors
    /// When a column's Arrow type is not the schema's.
    pub fn to_records(&self) -> Result<RecordBatch> {
        let columns = self.columns.iter().map(Column::to_array).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(Error::arrow("build a record batch"))
    }

    /// Returns the bytes that the batch keeps in memory; buffers shared by columns count once a column.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum()
    }
}

impl Drop for Spans {
    fn drop(&mut self) {
        let (mut starts, mut ends) = (std::mem::take(&mut self.starts), std::mem::take(&mut self.ends));
        starts.clear();
        ends.clear();
        // A thread that ends has no use for it.
        let _ = SPARE.try_with(|spare| spare.replace(Some((starts, ends))));
    }
}

impl Column {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Array(array) => array.len(),
            Self::Spans(spans) => spans.starts.len(),
            Self::Lines(lines) => lines.len(),
        }
    }

    /// Returns whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the column as an Arrow array.
    pub fn to_array(&self) -> ArrayRef {
        match self {
            Self::Array(array) => Arc::clone(array),
            Self::Spans(spans) => spans.to_array(),
            Self::Lines(lines) => lines.to_array(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Array(array) => array.get_buffer_memory_size(),
            Self::Spans(spans) => spans.text.len() + 8 * spans.starts.len(),
            Self::Lines(lines) => lines.text().len(),
        }
    }
}

thread_local! {
    /// Memory of spans that this thread dropped: a worker makes spans and drops them, batch after batch, and to get pages
    /// from the system for each costs as much as to find the words.
    static SPARE: RefCell<Option<(Vec<u32>, Vec<u32>)>> = const { RefCell::new(None) };
}

impl Spans {
    /// Returns no spans of `text`, with memory of spans that this thread dropped before.
    pub fn none_of(text: Buffer) -> Self {
        let (starts, ends) = SPARE.take().unwrap_or_default();
        Self { text, starts, ends }
    }

    fn to_array(&self) -> ArrayRef {
        let mut strings = StringBuilder::with_capacity(self.starts.len(), 0);
        for (&start, &end) in self.starts.iter().zip(&self.ends) {
            strings.append_value(String::from_utf8_lossy(&self.text[start as usize..end as usize]));
        }
        Arc::new(strings.finish())
    }
}
