//! Payload bytes to columns: what a Kafka record's value, a line of a file or a cell holds. Knows no transport.
//!
//! A decoder takes a column of payloads and makes typed columns of the same number of rows, a column at a time. A payload
//! that can't be decoded never touches its neighbours: its row is null in every column, and it is named as a [`Reject`].

pub mod column;
pub mod delimited;
pub mod grok;
pub mod json;
pub mod regex;
pub mod time;

pub use column::{ColumnBuilder, ColumnType, DeclaredColumn, Rows, decode_rows};
pub use delimited::{DelimitedDecoder, Dialect};
pub use grok::GrokDecoder;
pub use json::JsonDecoder;
pub use regex::RegexDecoder;
pub use time::{TimeFormat, TimeParser, TimeSettings, TimeZone};

use std::fmt;

use arrow::array::{ArrayRef, BinaryArray};
use arrow::datatypes::SchemaRef;
use engine::Result;

/// Turns payloads of one format into columns. Called by many threads at once.
pub trait Decoder: Send + Sync + fmt::Debug {
    /// Returns the format's name and settings, for the job's identity and for messages.
    fn describe(&self) -> String;

    /// Returns the columns that it makes, all nullable.
    fn schema(&self) -> SchemaRef;

    /// Returns one row a payload. A null payload (a tombstone) gives nulls and is no reject.
    ///
    /// # Errors
    /// When the columns can't be built at all. Bad payloads are no error: they are rejects.
    fn decode(&self, payloads: &BinaryArray) -> Result<Decoded>;
}

/// What became of a column of payloads.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The columns of the decoder's schema, each as long as the payloads.
    pub columns: Vec<ArrayRef>,
    /// The payloads that could not be decoded, by rising row.
    pub rejects: Vec<Reject>,
}

/// A payload that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Its row.
    pub row: usize,
    /// What was found where, and what was expected: one line, without the payload itself.
    pub reason: String,
}
