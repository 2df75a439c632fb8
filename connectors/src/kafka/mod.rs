//! Kafka: the source and the sink on librdkafka.

mod bounds;
mod cluster;
mod columns;
pub mod config;
mod fellow;
mod ffi;
mod health;
mod marks;
pub mod mock;
pub mod options;
mod outgoing;
mod pattern;
mod payload;
mod producer;
mod reader;
pub mod sink;
pub mod source;
mod watcher;
pub mod wire;
