//! What of a record an archive keeps: the record as it is, what its value says, or both.

use std::sync::Arc;

use arrow::datatypes::Schema;
use connectors::decode::{BadRows, DecodeRows, Decoder};
use connectors::kafka::options::KafkaColumn;
use connectors::parquet::archive::Settings;
use engine::Result;

/// The place of a record, which a parsed row keeps.
const PLACE: [KafkaColumn; 4] = [
    KafkaColumn::Topic,
    KafkaColumn::Partition,
    KafkaColumn::Offset,
    KafkaColumn::Timestamp,
];

/// What of a record is kept.
#[derive(Clone, Debug)]
pub enum Layout {
    /// The record as it is: topic, partition, offset, time, key, headers, value.
    Envelope,
    /// What the value says, and the record's topic, partition, offset and time.
    Parsed(Arc<dyn Decoder>, BadRows),
    /// What the value says, and the record as it is.
    Both(Arc<dyn Decoder>, BadRows),
}

impl Layout {
    /// Returns the layout's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Envelope => "envelope",
            Self::Parsed(..) => "parsed",
            Self::Both(..) => "both",
        }
    }

    /// Returns how values are read, where they are, and what becomes of those that can't be.
    pub(super) fn format(&self) -> Option<String> {
        let (decoder, bad_rows) = self.decoding()?;
        Some(Settings::format_of(&decoder.describe(), bad_rows))
    }

    /// Returns the columns that are read of the records.
    pub(super) fn columns(&self) -> Vec<KafkaColumn> {
        match self {
            Self::Envelope | Self::Both(..) => KafkaColumn::ALL.to_vec(),
            Self::Parsed(..) => PLACE.into_iter().chain([KafkaColumn::Value]).collect(),
        }
    }

    /// Returns what makes the columns of the files of the columns `incoming` of the records; `None` when they are the same.
    ///
    /// # Errors
    /// When two columns would have one name.
    pub(super) fn operator(&self, incoming: &Schema) -> Result<Option<DecodeRows>> {
        let Some((decoder, bad_rows)) = self.decoding() else {
            return Ok(None);
        };
        let kept: Vec<_> = match self {
            Self::Parsed(..) => PLACE.iter().map(|column| column.name().to_owned()).collect(),
            _ => incoming.fields().iter().map(|field| field.name().clone()).collect(),
        };
        DecodeRows::new(Arc::clone(decoder), incoming, Some(&kept), bad_rows).map(Some)
    }

    /// Returns the names that the record's offset and time have beside decoded columns.
    pub(super) fn places(&self) -> [String; 2] {
        let is_taken = |name: &str| {
            let decoded = self.decoding().map(|(decoder, _)| decoder.schema());
            decoded.is_some_and(|schema| schema.index_of(name).is_ok())
        };
        [KafkaColumn::Offset, KafkaColumn::Timestamp].map(|column| match is_taken(column.name()) {
            true => format!("_{}", column.name()),
            false => column.name().to_owned(),
        })
    }

    fn decoding(&self) -> Option<(&Arc<dyn Decoder>, BadRows)> {
        match self {
            Self::Envelope => None,
            Self::Parsed(decoder, bad_rows) | Self::Both(decoder, bad_rows) => Some((decoder, *bad_rows)),
        }
    }
}
