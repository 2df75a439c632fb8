//! What librdkafka says about a client as a whole: refused, away, or well.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::Error;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

/// How a problem with TLS begins.
pub(super) const TLS_FAILED: &str = "TLS failed";

/// The state of one client, moved on by librdkafka's error callback.
///
/// librdkafka tries for ever; what trying again can't mend is kept here as a refusal, and the client's owner looks.
#[derive(Debug)]
pub(super) struct Health {
    brokers: String,
    group: String,
    refused: Mutex<Option<String>>,
    problem: Mutex<Option<String>>,
    away: AtomicBool,
    warns: bool,
}

impl Health {
    /// Returns the state of a client of `brokers` that commits for `group`. One that `warns` says when the brokers are away: a client that
    /// only asks now and then has no connection in between, and does not know.
    pub(super) fn new(brokers: &str, group: &str, warns: bool) -> Self {
        Self {
            brokers: brokers.to_owned(),
            group: group.to_owned(),
            refused: Mutex::new(None),
            problem: Mutex::new(None),
            away: AtomicBool::new(false),
            warns,
        }
    }

    /// Takes an error of the client in.
    pub(super) fn report(&self, code: Code, reason: &str) {
        if is_refusal(code) {
            let problem = match code {
                Code::GroupAuthorizationFailed => format!("group {}: {reason}", self.group),
                _ => reason.to_owned(),
            };
            lock(&self.refused).get_or_insert(problem);
        } else if code == Code::SSL {
            // A broker that stops in mid-handshake looks like this too, so only the first contact takes it as final.
            *lock(&self.problem) = Some(format!("{TLS_FAILED}: {reason}"));
        } else if code == Code::AllBrokersDown {
            if !self.away.swap(true, Ordering::Relaxed) && self.warns {
                tracing::warn!(brokers = self.brokers, reason, "kafka brokers are away; trying again");
            }
        } else {
            *lock(&self.problem) = Some(reason.to_owned());
        }
        tracing::debug!(?code, reason, "kafka client error");
    }

    /// Returns the error that ends the job, if the brokers refused who we are.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &*lock(&self.refused) {
            Some(problem) => Err(self.connect_error(problem.clone())),
            None => Ok(()),
        }
    }

    /// Says that the brokers answered.
    pub(super) fn answered(&self) {
        if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) && self.warns {
            tracing::info!(brokers = self.brokers, "kafka brokers are back");
        }
    }

    /// Returns what went wrong last.
    pub(super) fn problem(&self) -> Option<String> {
        lock(&self.problem).clone()
    }

    /// Returns the error for brokers that can't be used.
    pub(super) fn connect_error(&self, problem: impl Into<String>) -> Error {
        Error::Connect {
            endpoint: self.brokers.clone(),
            problem: problem.into(),
        }
    }
}

/// Returns whether trying again can't help: credentials, certificates, rights.
pub(super) fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::Fatal
    )
}

/// Returns whether reading goes on by itself after this error of a partition.
pub(super) fn is_transient(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::Resolve
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::ReplicaNotAvailable
            | Code::BrokerNotAvailable
            | Code::NetworkException
            | Code::KafkaStorageError
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::PollExceeded
    )
}

/// Returns what an error says, without the value of a setting, which may be a secret.
pub(super) fn describe(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, _, name, _) => format!("the setting {name} is unknown or its value is not valid"),
        KafkaError::ClientCreation(text) => text.clone(),
        other => match other.rdkafka_error_code() {
            Some(code) => code.to_string(),
            None => other.to_string(),
        },
    }
}

/// Passes a log line of librdkafka on. Its errors are repeated on every attempt to connect, and come through the
/// error callback as well, so they are for debugging only.
pub(super) fn log(facility: &str, text: &str) {
    tracing::debug!(target: "librdkafka", facility, "{text}");
}

/// Takes the errors of an rdkafka consumer in.
pub(super) struct Context(pub(super) Arc<Health>);

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        log(facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0
            .report(error.rdkafka_error_code().unwrap_or(Code::Unknown), reason);
    }
}

impl ConsumerContext for Context {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_kept_and_an_outage_is_not() {
        let health = Health::new("broker:9092", "g", true);
        health.report(Code::AllBrokersDown, "1/1 brokers are down");
        health.report(Code::BrokerTransportFailure, "connection refused");
        assert!(health.check().is_ok());
        assert_eq!(health.problem().as_deref(), Some("connection refused"));
        health.report(Code::Authentication, "SASL authentication error: wrong password");
        let error = health.check().expect_err("refused").to_string();
        assert_eq!(
            error,
            "cannot connect to broker:9092: SASL authentication error: wrong password"
        );
    }

    #[test]
    fn a_bad_setting_is_named_without_its_value() {
        let mut config = rdkafka::ClientConfig::new();
        config.set("ssl.endpoint.identification.algorithm", "canary");
        let error = config.create_native_config().err().expect("not a valid value");
        let text = describe(&error);
        assert!(
            text.contains("ssl.endpoint.identification.algorithm") && !text.contains("canary"),
            "{text}"
        );
    }
}
