//! What librdkafka tells a producer on its own: records that were not delivered, and how the brokers are.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
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
pub(in crate::kafka) struct Undelivered {
    /// Why the first one was not.
    pub(in crate::kafka) code: Code,
    /// The bytes of its key and value.
    pub(in crate::kafka) bytes: usize,
    /// The partition that it was for.
    pub(in crate::kafka) partition: i32,
    /// What the sender gave it to be known by.
    pub(in crate::kafka) tag: usize,
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

    /// Counts a record that was not delivered. One that was refused for the sake of another one in its batch is not told if
    /// that other one is known.
    pub(super) fn count_undelivered(&self, record: Undelivered) {
        let mut undelivered = self.undelivered.lock().unwrap_or_else(PoisonError::into_inner);
        let records = undelivered.map_or(0, |undelivered| undelivered.records) + 1;
        let first = undelivered.filter(|first| first.code != Code::InvalidDifferentRecord);
        *undelivered = Some(Undelivered {
            records,
            ..first.unwrap_or(record)
        });
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
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        match result {
            Ok(_) => self.health.answered(),
            Err((error, record)) => {
                self.count_undelivered(Undelivered {
                    code: error.rdkafka_error_code().unwrap_or(Code::Fail),
                    bytes: record.payload_len() + record.key_len(),
                    partition: record.partition(),
                    tag,
                    records: 1,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(code: Code, tag: usize) -> Undelivered {
        Undelivered {
            code,
            bytes: 9,
            partition: 2,
            tag,
            records: 1,
        }
    }

    #[test]
    fn the_first_record_that_was_not_delivered_is_the_one_that_is_told() {
        let reports = Reports::new("localhost:1");
        assert_eq!(reports.undelivered(), None);
        reports.count_undelivered(record(Code::MessageSizeTooLarge, 7));
        reports.count_undelivered(record(Code::PurgeQueue, 8));
        let expected = Undelivered {
            records: 2,
            ..record(Code::MessageSizeTooLarge, 7)
        };
        assert_eq!(reports.undelivered(), Some(expected));
    }

    #[test]
    fn the_record_that_spoilt_its_batch_is_told_and_not_its_neighbour() {
        let reports = Reports::new("localhost:1");
        for (code, tag) in [(Code::InvalidDifferentRecord, 7), (Code::InvalidTimestamp, 8)] {
            reports.count_undelivered(record(code, tag));
        }
        let expected = Undelivered {
            records: 2,
            ..record(Code::InvalidTimestamp, 8)
        };
        assert_eq!(reports.undelivered(), Some(expected));
    }
}
