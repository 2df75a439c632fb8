//! How the files of an archive are made, whichever thread makes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use engine::{Error, Result};
use parquet::arrow::ArrowSchemaConverter;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::schema::types::ColumnPath;

use super::super::hive::{Folders, PartitionBy};
use super::super::properties;
use super::super::{Compression, ROW_GROUP_BYTES, ROW_GROUP_ROWS};
use super::limits::FileLimits;
use crate::spelling;

/// What all files of an archive have in common.
#[derive(Clone, Debug)]
pub struct FilePlan {
    /// The columns of the files.
    pub(super) schema: SchemaRef,
    /// What names the folders of rows.
    pub(super) partition_by: Vec<PartitionBy>,
    pub(super) properties: WriterPropertiesPtr,
    pub(super) limits: FileLimits,
    /// The places of the offset and the time in the batches.
    pub(super) offset: usize,
    pub(super) timestamp: usize,
    /// The place of the time in the files.
    pub(super) timestamp_in_file: usize,
    pub(super) topic_ids: BTreeMap<String, Option<String>>,
    pub(super) cluster_id: Option<String>,
}

impl FilePlan {
    /// Returns the plan of files of batches of the columns `incoming`, whose rows come by offset. `places` are the names of
    /// the columns of the record's offset and time, and the columns `bloom_filter` get a bloom filter, and `partition_by` names folders.
    ///
    /// # Errors
    /// When the columns of the offset (Int64) and the time (microseconds) are not there and in the files, a column has no
    /// Parquet form or can't have a bloom filter, or rows can't be partitioned as asked.
    pub fn new(
        incoming: &SchemaRef,
        [offset, timestamp]: [String; 2],
        compression: Compression,
        bloom_filter: &[String],
        limits: FileLimits,
        partition_by: Vec<PartitionBy>,
    ) -> Result<Self> {
        let schema = match partition_by.as_slice() {
            [] => Arc::clone(incoming),
            levels => Folders::new(levels, incoming)?.kept(incoming),
        };
        let is_time = |kind: &DataType| matches!(kind, DataType::Timestamp(TimeUnit::Microsecond, _));
        place(&schema, &offset, |kind| *kind == DataType::Int64)?;
        let timestamp_in_file = place(&schema, &timestamp, is_time)?;
        let sorted = sorted_by(&schema, &offset)?;
        let offset = place(incoming, &offset, |kind| *kind == DataType::Int64)?;
        let timestamp = place(incoming, &timestamp, is_time)?;
        let mut properties = properties::builder(&schema, compression, ROW_GROUP_ROWS, ROW_GROUP_BYTES)?
            .set_sorting_columns(Some(vec![sorted]));
        for column in bloom_filter {
            check_bloom_filter(&schema, column)?;
            properties = properties.set_column_bloom_filter_enabled(ColumnPath::new(vec![column.clone()]), true);
        }
        Ok(Self {
            schema,
            properties: Arc::new(properties.build()),
            limits,
            partition_by,
            offset,
            timestamp,
            timestamp_in_file,
            topic_ids: BTreeMap::new(),
            cluster_id: None,
        })
    }

    /// Says in each footer which cluster and topics the records are of.
    #[must_use]
    pub fn of(mut self, cluster_id: Option<String>, topic_ids: BTreeMap<String, Option<String>>) -> Self {
        self.cluster_id = cluster_id;
        self.topic_ids = topic_ids;
        self
    }
}

fn place(schema: &Schema, name: &str, fits: impl Fn(&DataType) -> bool) -> Result<usize> {
    let place = schema.index_of(name).ok();
    place
        .filter(|&place| fits(schema.field(place).data_type()))
        .ok_or_else(|| {
            Error::Invalid(format!(
                "the files of an archive need the column `{name}` as Kafka has it"
            ))
        })
}

/// Returns the order of the rows of a file, all of which are of one partition.
fn sorted_by(schema: &Schema, offset: &str) -> Result<SortingColumn> {
    let leaves = ArrowSchemaConverter::new().convert(schema);
    let leaves = leaves.map_err(|error| Error::Invalid(format!("parquet: these columns can't be written: {error}")))?;
    let leaf = leaves.columns().iter().position(|leaf| leaf.path().string() == offset);
    let leaf = leaf.and_then(|leaf| i32::try_from(leaf).ok());
    Ok(SortingColumn {
        column_idx: leaf.expect("the column is there, and few are"),
        descending: false,
        nulls_first: false,
    })
}

fn check_bloom_filter(schema: &Schema, column: &str) -> Result<()> {
    let field = schema.field_with_name(column).map_err(|_| {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let hint = spelling::hint(column, names);
        Error::Invalid(format!("there is no column `{column}` for a bloom filter{hint}"))
    })?;
    match field.data_type().is_nested() {
        false => Ok(()),
        true => Err(Error::Invalid(format!(
            "the column `{column}` is {}, which can't have a bloom filter",
            field.data_type()
        ))),
    }
}
