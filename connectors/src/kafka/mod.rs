//! Kafka: the source, which reads natively or with librdkafka, and the sink on librdkafka.

mod bounds;
mod cluster;
mod columns;
pub mod config;
mod fellow;
mod ffi;
pub mod gaps;
pub mod given;
mod group;
mod health;
mod lane;
mod marks;
pub mod mock;
pub mod options;
mod outgoing;
mod pattern;
mod payload;
mod producer;
pub mod ranges;
mod reader;
pub mod restore;
pub mod sink;
pub mod source;
mod stuck;
pub mod topic;
mod watcher;
pub mod wire;
