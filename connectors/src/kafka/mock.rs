//! A broker inside this process: librdkafka's mock cluster, for the demo and for trying things without a server.
//!
//! It keeps 5 MiB a partition, in memory, and knows no transactions: nothing about delivery is proved with it.

use engine::{Error, Result};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// A running mock broker; it ends when this is dropped.
pub struct MockBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl MockBroker {
    /// Starts a broker on a free port of the loopback interface.
    ///
    /// # Errors
    /// When librdkafka can't start it.
    pub fn start() -> Result<Self> {
        let cluster = MockCluster::new(1).map_err(|error| failed(&error))?;
        Ok(Self { cluster })
    }

    /// Returns the address to connect to.
    pub fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// When librdkafka refuses it.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        self.cluster
            .create_topic(name, partitions, 1)
            .map_err(|error| failed(&error))
    }
}

fn failed(error: &rdkafka::error::KafkaError) -> Error {
    Error::Connect {
        endpoint: "the in-process broker".to_owned(),
        problem: error.to_string(),
    }
}
