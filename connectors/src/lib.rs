//! What Millstream reads and writes. Transports do not import each other; decoders and encoders import no transport.

pub mod console;
pub mod decode;
pub mod encode;
pub mod envelope;
pub mod file;
pub mod generate;
pub mod kafka;
pub mod parquet;
pub mod registry;
pub mod spelling;
pub mod tee;
