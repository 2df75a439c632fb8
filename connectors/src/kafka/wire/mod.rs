//! Kafka's own protocol, spoken without librdkafka: what the brokers send becomes Arrow in one pass.

mod aborted;
mod batch;
mod codec;
mod record;
mod records;
pub mod segment;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod varint;

pub use aborted::Aborted;
