//! Payload bytes to columns: what a Kafka record's value, a line of a file or a cell holds. Knows no transport.
//!
//! A decoder takes a column of payloads and makes typed columns of the same number of rows, a column at a time. A payload
//! that can't be decoded never touches its neighbours: its row is null in every column, and it is named as a [`Reject`].

pub mod access_log;
pub mod avro;
pub mod column;
pub mod dead_letter;
pub mod delimited;
pub mod grok;
pub mod json;
pub mod late;
pub mod layout;
pub mod lines;
pub mod list;
pub mod logfmt;
pub mod operator;
pub mod regex;
pub mod registry;
pub mod syslog;
#[cfg(test)]
mod testing;
mod text;
pub mod time;

pub use avro::{AvroDecoder, AvroFormat, AvroSchema, Framing};
pub use column::{ColumnBuilder, ColumnType, DeclaredColumn, Rows, decode_rows};
pub use dead_letter::dead_letter_schema;
pub use delimited::{DelimitedDecoder, Dialect};
pub use grok::GrokDecoder;
pub use json::JsonDecoder;
pub use late::{KeepRecords, LateLetters, record_field};
pub use operator::{BadRows, DecodeRows};
pub use regex::RegexDecoder;
pub use registry::{FormatOptions, build};
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

    /// Returns whether `payload` is certainly none of this format, by a look that costs next to nothing: its first byte, say.
    /// True only for payloads that [`decode`](Self::decode) rejects. A list of formats asks, so that payloads of one
    /// format do not go through all others first.
    fn rules_out(&self, payload: &[u8]) -> bool {
        let _ = payload;
        false
    }
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
