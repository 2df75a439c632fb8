//! The text of an Avro schema.

use std::sync::Arc;

use arrow::array::BinaryArray;
use connectors::decode::{AvroDecoder, AvroFormat, AvroSchema, Decoder, Framing, TimeZone};

/// Reads a schema; what is one makes a decoder, which takes any payload.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(schema) = text.parse::<AvroSchema>() else {
        return;
    };
    let format = AvroFormat {
        schema: Arc::new(schema),
        framing: Framing::Bare,
    };
    if let Ok(decoder) = AvroDecoder::new(format, None, TimeZone::default()) {
        let payloads = BinaryArray::from_vec(vec![b"", &[0; 64], input]);
        decoder.decode(&payloads).expect("bad payloads are no errors");
    }
}
