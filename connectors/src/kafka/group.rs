//! What a consumer group holds, asked for by a consumer that never joins it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Error, Partition, Result};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::config::Connection;
use super::ffi::drop_within;
use super::health::{Context, Health};
use super::marks::{self, Committed};
use super::producer::{COORDINATOR_TIME, invalid_settings};

/// Returns what `group` holds for the partitions that `watched` returns, and what transactions need to know of the group.
/// Under the isolation `read_committed` the offsets of open transactions are waited for.
///
/// # Errors
/// When a setting is not valid, or the group can't be read.
pub(super) fn read(
    connection: &Connection,
    group: &str,
    isolation: &str,
    watched: impl FnOnce(&BaseConsumer<Context>) -> Result<Vec<Partition>, KafkaError>,
) -> Result<(Vec<Committed>, ConsumerGroupMetadata)> {
    let mut config = connection.client_config(&[("group.id", group)]);
    // Set last: what the properties file says of the source's isolation is not meant for this.
    config
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false");
    let health = Health::new(connection.brokers(), group, false);
    let consumer: BaseConsumer<Context> = config
        .create_with_context(Context(Arc::new(health)))
        .map_err(|error| invalid_settings(&error))?;
    let deadline = Instant::now() + COORDINATOR_TIME;
    let read = watched(&consumer).and_then(|partitions| marks::read(&consumer, &partitions, deadline));
    let metadata = consumer.group_metadata();
    drop_within(Duration::ZERO, consumer);
    let failed = |error: KafkaError| failure(connection, group, &error);
    let metadata = metadata.ok_or_else(|| failed(KafkaError::Canceled))?;
    Ok((read.map_err(failed)?, metadata))
}

fn failure(connection: &Connection, group: &str, error: &KafkaError) -> Error {
    let problem = match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
            format!("{error}; allow Read on the group `{group}` in the broker's ACLs")
        }
        _ => error.to_string(),
    };
    Error::Connect {
        endpoint: connection.brokers().to_owned(),
        problem: format!("the offsets of the group `{group}` can't be read: {problem}"),
    }
}
