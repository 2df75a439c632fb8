//! What librdkafka tells a producer on its own: records that were not delivered, and how the brokers are.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::kafka::health::{self, Health};

/// Receives the reports of a producer.
#[derive(Clone)]
pub(super) struct Reports {
    health: Arc<Health>,
    undelivered: Arc<Mutex<Option<Undelivered>>>,
}

/// The first record that was not delivered, and how many were not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undelivered {
    /// Why the first one was not.
    pub(super) code: Code,
    /// The bytes of its key and value.
    pub(super) bytes: usize,
    /// How many were not.
    pub(super) records: u64,
}

impl Reports {
    /// Returns the reports of a producer that has said nothing yet.
    pub(super) fn new(brokers: &str) -> Self {
        // A producer never asks a group's coordinator on its own, so no report of its concerns a group.
        Self {
            health: Arc::new(Health::new(brokers, "", true)),
            undelivered: Arc::default(),
        }
    }

    /// Returns how the brokers are.
    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// Returns what was not delivered, if anything.
    pub(super) fn undelivered(&self) -> Option<Undelivered> {
        *self.undelivered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a record of `bytes` bytes that was not delivered.
    pub(super) fn count_undelivered(&self, code: Code, bytes: usize) {
        let mut undelivered = self.undelivered.lock().unwrap_or_else(PoisonError::into_inner);
        let first = Undelivered {
            code,
            bytes,
            records: 0,
        };
        undelivered.get_or_insert(first).records += 1;
    }
}

impl ClientContext for Reports {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        health::log(facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        // A fatal error is the answer to each further call too, where it is known whether it is a fence.
        if code != Code::Fatal {
            self.health.report(code, reason);
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        match result {
            Ok(_) => self.health.answered(),
            Err((error, record)) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                self.count_undelivered(code, record.payload_len() + record.key_len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_that_was_not_delivered_is_the_one_that_is_told() {
        let reports = Reports::new("localhost:1");
        assert_eq!(reports.undelivered(), None);
        reports.count_undelivered(Code::MessageSizeTooLarge, 9);
        reports.count_undelivered(Code::PurgeQueue, 1);
        let expected = Undelivered {
            code: Code::MessageSizeTooLarge,
            bytes: 9,
            records: 2,
        };
        assert_eq!(reports.undelivered(), Some(expected));
    }
}
