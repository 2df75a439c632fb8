//! Kafka's own protocol, spoken without librdkafka: what the brokers send becomes Arrow in one pass.

mod aborted;
mod asker;
mod batch;
mod codec;
mod connection;
#[cfg(test)]
mod fake;
mod fetch;
mod fetcher;
mod gaps;
mod input;
mod metadata;
mod output;
mod reader;
mod record;
mod records;
mod sasl;
mod scram;
pub mod segment;
mod settings;
mod sockets;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod track;
mod varint;
mod versions;

use std::sync::Arc;

use engine::Result;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};

pub use aborted::Aborted;

use self::connection::Network;
pub(super) use self::gaps::{GapReader, GapTrouble};
pub(super) use self::reader::NativeReader;
use self::settings::Settings;
use self::sockets::Sockets;
use super::config::Connection;

/// The native client of a connection whose settings it understands.
pub(super) struct Native(Settings);

impl Native {
    /// Returns the native client of a connection.
    ///
    /// # Errors
    /// Why there is none: what its settings ask for that is only spoken by librdkafka.
    pub(super) fn new(connection: &Connection) -> Result<Self, String> {
        Settings::read(connection).map(Self)
    }

    /// Returns what one reader reaches the brokers with.
    ///
    /// # Errors
    /// When a file that the settings name can't be used.
    pub(super) fn network(&self) -> Result<ReaderNetwork> {
        let tls = self.0.tls.as_ref().map(tls::client_config).transpose()?;
        let sockets = Arc::new(Sockets::default());
        Ok(ReaderNetwork(Arc::new(Network {
            settings: self.0.clone(),
            tls,
            sockets,
        })))
    }
}

/// The connections of one reader.
#[derive(Clone)]
pub(super) struct ReaderNetwork(Arc<Network>);

impl ReaderNetwork {
    /// Ends all connections, so that no thread of the reader waits for an answer.
    pub(super) fn close(&self) {
        self.0.sockets.close();
    }
}

/// Returns the error of a code in an answer; `None` for success.
fn code(number: i16) -> Option<Code> {
    let error = RDKafkaRespErr::try_from(i32::from(number)).unwrap_or(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN);
    (error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into())
}
