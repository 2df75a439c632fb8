//! The options that every verb which speaks to Kafka has.

use std::path::PathBuf;

use clap::Args;
use connectors::kafka::config::Connection;
use engine::Result;

/// How to reach the cluster.
#[derive(Clone, Debug, Args)]
pub(super) struct ConnectionArguments {
    /// Kafka brokers to connect to, as HOST:PORT[,HOST:PORT]
    #[arg(long, short = 'b', value_name = "BROKERS", env = "MILLSTREAM_BROKERS")]
    pub(super) brokers: Option<String>,
    /// File of librdkafka settings, `name=value` lines: TLS, SASL, anything. `${env:NAME}` stands for an environment
    /// variable; passwords belong there, never on the command line
    #[arg(long, value_name = "FILE")]
    pub(super) properties: Option<PathBuf>,
}

impl ConnectionArguments {
    /// Returns the connection to `brokers`.
    pub(super) fn connection(&self, brokers: &str) -> Result<Connection> {
        match &self.properties {
            Some(path) => Connection::with_properties(brokers, path),
            None => Ok(Connection::new(brokers)),
        }
    }
}
