//! A topic as a whole: how many partitions it has, the settings that decide what it takes, and how to make one.

use std::time::Duration;

use engine::{Error, Result};
use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::cluster::{Cluster, PATIENCE};
use super::config::Connection;
use super::health;
use super::producer::invalid_settings;

/// The group of clients that only ask; they commit nothing, and it never comes to exist.
const ASKING: &str = "millstream-asks";

/// What the brokers' settings say about the timestamps of a topic whose records carry their own.
const CREATE_TIME: &str = "CreateTime";

/// A topic that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its number of partitions.
    pub partitions: i32,
    /// Its settings; `None` when the brokers do not tell them to us.
    pub settings: Option<TopicSettings>,
}

/// The settings of a topic that decide what becomes of the records written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Whether records keep the time that they are sent with.
    pub keeps_time: bool,
    /// Bytes of a record batch at most, compressed.
    pub batch_bytes_max: usize,
    /// How long records are kept, counted from their time; `None` for ever.
    pub retention: Option<Duration>,
    /// Whether only the last record of each key is kept.
    pub is_compacted: bool,
}

/// Returns the topic `name`; `None` when the brokers do not know it. Nothing is created.
///
/// # Errors
/// When the brokers can't be reached or refuse us.
pub fn look_up(connection: &Connection, name: &str) -> Result<Option<Topic>> {
    let cluster = Cluster::new(connection, ASKING, false)?;
    let Some(partitions) = cluster.partition_count(name, PATIENCE)? else {
        return Ok(None);
    };
    let settings = settings(&cluster, connection, name)?;
    Ok(Some(Topic { partitions, settings }))
}

/// Makes the topic `name` for records of any age: they are kept for ever, with the time that they are sent with.
///
/// # Errors
/// When the brokers can't be reached or refuse.
pub fn create(connection: &Connection, name: &str, partitions: i32) -> Result<()> {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(DEFAULT_REPLICATION));
    topic.config.extend(CREATED_WITH);
    let made = block_on(admin(connection)?.create_topics(&[topic], &options()));
    let refused = |problem: String| Error::Sink {
        output: format!("the topic `{name}`"),
        problem: format!("it can't be created: {problem}"),
    };
    let made = made.map_err(|error| refused(health::describe(&error)))?;
    made.into_iter().try_for_each(|made| match made {
        Ok(_) | Err((_, Code::TopicAlreadyExists)) => Ok(()),
        Err((_, code)) => Err(refused(code.to_string())),
    })
}

/// The brokers' own default.
const DEFAULT_REPLICATION: i32 = -1;

/// The settings of topics that [`create`] makes: those that keep records of any age, with their times.
pub const CREATED_WITH: [(&str, &str); 2] = [("message.timestamp.type", CREATE_TIME), ("retention.ms", "-1")];

fn settings(cluster: &Cluster, connection: &Connection, name: &str) -> Result<Option<TopicSettings>> {
    let asked = [ResourceSpecifier::Topic(name)];
    let answer = block_on(admin(connection)?.describe_configs(&asked, &options()));
    let answer = answer.map(|mut answers| answers.pop());
    match answer {
        Ok(Some(Ok(resource))) => Ok(Some(TopicSettings::of(&resource))),
        // A right that writing itself does not need.
        Ok(Some(Err(code))) if health::is_refusal(code) => Ok(None),
        Ok(Some(Err(code))) => {
            Err(cluster.connect_error(format!("the settings of topic {name} can't be read: {code}")))
        }
        Ok(None) => Ok(None),
        Err(error) => {
            let problem = health::describe(&error);
            Err(cluster.connect_error(format!("the settings of topic {name} can't be read: {problem}")))
        }
    }
}

fn admin(connection: &Connection) -> Result<AdminClient<DefaultClientContext>> {
    let made: Result<_, KafkaError> = connection.client_config(&[]).create();
    made.map_err(|error| invalid_settings(&error))
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
}

impl TopicSettings {
    /// Returns the settings that the brokers told; what they did not is as Kafka's defaults are.
    fn of(resource: &ConfigResource) -> Self {
        let value = |name| resource.get(name).and_then(|entry| entry.value.as_deref());
        let number = |name| value(name).and_then(|text| text.parse::<i64>().ok());
        let batch_bytes_max = number("max.message.bytes").and_then(|bytes| usize::try_from(bytes).ok());
        let retention_ms = number("retention.ms").and_then(|time| u64::try_from(time).ok());
        let policies = value("cleanup.policy").unwrap_or("delete");
        Self {
            keeps_time: value("message.timestamp.type").is_none_or(|text| text == CREATE_TIME),
            batch_bytes_max: batch_bytes_max.unwrap_or(BATCH_BYTES_MAX),
            retention: retention_ms
                .map(Duration::from_millis)
                .filter(|_| policies.split(',').any(|policy| policy.trim() == "delete")),
            is_compacted: policies.split(',').any(|policy| policy.trim() == "compact"),
        }
    }
}

/// Kafka's default of `max.message.bytes`.
pub(super) const BATCH_BYTES_MAX: usize = 1_048_588;
