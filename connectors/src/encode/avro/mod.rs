//! Avro: every row one record of a schema, alone or after Confluent's header.
//!
//! Each field of the schema takes the column of its name, and each column has its field. A record inside takes a struct column,
//! or one column for each of its fields, `http.status`, as the decoder makes them.
//!
//! | Avro | column |
//! |---|---|
//! | boolean | boolean |
//! | int, long | integers; one that does not fit is an error |
//! | float, double | floats, rounded to the type |
//! | string, enum | strings; one that is no symbol is an error |
//! | bytes, fixed | strings and binary columns, of the right length |
//! | timestamps | timestamps; what is finer is cut off downwards; local ones are written in UTC |
//! | date | dates |
//! | decimal | decimals of the same scale |
//! | array, record | lists, structs |
//! | union of null and one other | any of these; a null elsewhere is an error |
//!
//! The type of a column is looked at once a batch; nothing is allocated a row.

mod column;
#[cfg(test)]
mod tests;
mod value;

use arrow::array::new_empty_array;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use engine::{Error, Result};

use self::column::Plan;
use super::Rows;
use crate::decode::avro::{AvroFormat, Framing, MAGIC};

/// Encodes batches of one schema as Avro records, in a buffer of its own.
#[derive(Debug)]
pub struct AvroEncoder {
    format: AvroFormat,
    /// What stands before each record.
    header: Vec<u8>,
    rows: Rows,
}

impl AvroEncoder {
    /// Returns an encoder of rows with the columns of `schema`.
    ///
    /// # Errors
    /// When the schemas do not go together, or Confluent's header has no number.
    pub fn new(format: AvroFormat, schema: &Schema) -> Result<Self> {
        let header = match format.framing {
            Framing::Bare => vec![],
            Framing::Confluent(Some(id)) => [&[MAGIC][..], &id.to_be_bytes()].concat(),
            Framing::Confluent(None) => {
                let missing = "the number of the Avro schema is missing: Confluent's header has it";
                return Err(Error::Invalid(missing.to_owned()));
            }
        };
        let columns = schema.fields().iter().map(|field| new_empty_array(field.data_type()));
        let columns: Vec<_> = columns.collect();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut plan = Plan::new(&format.schema, &names, &columns);
        plan.record(format.schema.root(), "").map_err(Error::Invalid)?;
        plan.check_all_used().map_err(Error::Invalid)?;
        Ok(Self {
            format,
            header,
            rows: Rows::default(),
        })
    }

    /// Encodes every row of `records`. The result is valid until the next call.
    ///
    /// # Errors
    /// When a value does not fit the schema: its row and column are named.
    pub fn encode(&mut self, records: &RecordBatch) -> Result<&Rows> {
        let schema = records.schema();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut plan = Plan::new(&self.format.schema, &names, records.columns());
        let record = plan.record(self.format.schema.root(), "").map_err(Error::Invalid)?;
        self.rows.clear();
        for row in 0..records.num_rows() {
            self.rows.bytes.extend_from_slice(&self.header);
            let written = record.write(row, &mut self.rows.bytes);
            written.map_err(|reason| Error::Invalid(format!("row {} can't be Avro: {reason}", row + 1)))?;
            self.rows.end_row();
        }
        Ok(&self.rows)
    }
}
