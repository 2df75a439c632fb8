//! Asks the brokers, whichever answers, who leads which partition.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::connection::{Connection, Failure, Network};
use super::metadata::{self, Metadata};
use super::settings::Endpoint;
use super::versions::Api;

/// Knows the brokers of a cluster.
pub(super) struct Asker {
    network: Arc<Network>,
    /// The brokers' addresses, the one that answered last first.
    addresses: Vec<Endpoint>,
    /// To the one that answered last, while there is more to ask.
    connection: Option<Connection>,
}

impl Asker {
    pub(super) fn new(network: Arc<Network>) -> Self {
        Self {
            addresses: network.settings.bootstrap.clone(),
            network,
            connection: None,
        }
    }

    /// Lets the connection go: there is nothing to ask for now.
    pub(super) fn rest(&mut self) {
        self.connection = None;
    }

    /// Asks the brokers, one after the other, for the leaders of `topics`.
    ///
    /// # Errors
    /// When no broker answers: what trying again does not mend, if there was that, or how one of them is away.
    pub(super) fn ask(&mut self, topics: &BTreeSet<Arc<str>>) -> Result<Metadata, Failure> {
        if let Some(mut connection) = self.connection.take()
            && let Ok(metadata) = question(&mut connection, topics)
        {
            self.connection = Some(connection);
            return Ok(metadata);
        }
        let mut worst = Failure::Away("there is no broker".to_owned());
        for place in 0..self.addresses.len() {
            let connected = self.network.connect(&self.addresses[place]);
            let answer = connected.and_then(|mut connection| Ok((question(&mut connection, topics)?, connection)));
            match answer {
                Ok((metadata, connection)) => {
                    self.connection = Some(connection);
                    self.addresses[..=place].rotate_right(1);
                    self.learn(&metadata);
                    return Ok(metadata);
                }
                Err(failure) if matches!(worst, Failure::Away(_)) => worst = failure,
                Err(_) => {}
            }
        }
        Err(worst)
    }

    /// Remembers the brokers' addresses; those that were given are kept.
    fn learn(&mut self, metadata: &Metadata) {
        let found = metadata.brokers.values().cloned();
        let given = self.network.settings.bootstrap.iter().cloned();
        self.addresses.truncate(1);
        for address in found.chain(given) {
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
    }
}

fn question(connection: &mut Connection, topics: &BTreeSet<Arc<str>>) -> Result<Metadata, Failure> {
    let names: Vec<&str> = topics.iter().map(AsRef::as_ref).collect();
    connection.ask(
        Api::Metadata,
        i16::MAX,
        |output, version| metadata::write(output, version, names.into_iter()),
        Metadata::read,
    )
}
