//! A sink that keeps its rows in memory.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use connectors::encode::JsonEncoder;
use engine::operator::retract;
use engine::sink::{Barrier, Guarantee, Recovery, Sink, Token};
use engine::{Batch, Epoch, Error, Result};
use serde_json::{Map, Value};

/// The rows of a sink, for whoever looks at them afterwards.
pub(super) type Kept = Arc<Mutex<Vec<RecordBatch>>>;

/// Keeps the rows of committed epochs: all of them, or of a table those of the last.
#[derive(Debug)]
pub(super) struct KeptRows {
    kept: Kept,
    is_table: bool,
    /// The rows of the epoch under way.
    epoch: Vec<RecordBatch>,
}

impl KeptRows {
    pub(super) fn new(is_table: bool) -> Self {
        Self {
            kept: Kept::default(),
            is_table,
            epoch: vec![],
        }
    }

    pub(super) fn kept(&self) -> Kept {
        Arc::clone(&self.kept)
    }
}

/// Returns the rows as JSON objects.
pub(super) fn as_json(kept: &Kept, schema: &SchemaRef) -> Result<Vec<Map<String, Value>>> {
    let mut encoder = JsonEncoder::objects(schema);
    let mut rows = vec![];
    for records in &*kept.lock().unwrap_or_else(PoisonError::into_inner) {
        let encoded = encoder.encode(records)?;
        for row in 0..encoded.len() {
            let object = serde_json::from_slice(encoded.row(row));
            rows.push(object.map_err(|error| Error::Invalid(format!("a row of the result: {error}")))?);
        }
    }
    Ok(rows)
}

impl Sink for KeptRows {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn recover(&mut self, _: &Recovery<'_>) -> Result<Option<Epoch>> {
        Ok(None)
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        // What is taken back is a row of its key alone, as a topic has a tombstone for it.
        let (rows, gone) = retract::split(batch.to_records()?)?;
        self.epoch.extend(gone.into_iter().chain([rows]));
        Ok(())
    }

    fn prepare(&mut self, _: &Barrier<'_>) -> Result<Token> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_table && !self.epoch.is_empty() {
            kept.clear();
        }
        kept.append(&mut self.epoch);
        Ok(Token::default())
    }

    fn commit(&mut self, _: &Token) -> Result<()> {
        Ok(())
    }

    fn abort(&mut self) {
        self.epoch.clear();
    }
}
