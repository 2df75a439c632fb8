//! Kafka: the source and the sink on librdkafka.

pub mod config;
