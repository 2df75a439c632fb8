//! Errors of the sink, in words that say what to do.

use std::time::Duration;

use engine::Error;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::kafka::health;

/// What the errors of a producer name.
#[derive(Clone, Debug)]
pub(super) struct Failures {
    /// The brokers asked for.
    pub(super) brokers: String,
    /// The topic that is written to.
    pub(super) topic: String,
    /// The transactional id, if there is one.
    pub(super) transactional_id: Option<String>,
}

impl Failures {
    /// Returns the same for another topic.
    pub(super) fn of_topic(&self, topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            ..self.clone()
        }
    }

    /// Returns the error for a failed act: what happened, and what to do where that is known.
    pub(super) fn failed(&self, act: &str, code: Code, text: &str) -> Error {
        if is_fenced(code)
            && let Some(id) = &self.transactional_id
        {
            let what = format!("the transactional id `{id}`");
            return Error::Fenced { what };
        }
        let text = if text.is_empty() {
            code.to_string()
        } else {
            text.to_owned()
        };
        let advice = self.advice(code).map_or(String::new(), |advice| format!("; {advice}"));
        let problem = format!("failed to {act}: {text}{advice}");
        if health::is_refusal(code) && code != Code::Fatal {
            return Error::Connect {
                endpoint: self.brokers.clone(),
                problem: format!("the topic `{}`: {problem}", self.topic),
            };
        }
        self.sink_error(problem)
    }

    /// Returns the error for a transaction that was open for longer than its timeout: the broker ends it, and answers its
    /// producer as it answers a fenced one.
    pub(super) fn timed_out(&self, timeout: Duration) -> Error {
        self.sink_error(format!(
            "the broker ended the transaction, which was open for longer than {} s, or another process took over the \
             transactional id `{}` meanwhile; if the epoch is just that long, checkpoint more often or raise \
             transaction.timeout.ms",
            timeout.as_secs(),
            self.id()
        ))
    }

    /// Returns the error for a record that the broker, or the queue, does not take.
    pub(super) fn too_large(&self, bytes: usize) -> Error {
        self.sink_error(format!(
            "a record of {bytes} bytes is too large; raise max.message.bytes of the topic (or message.max.bytes of the \
             brokers), and above 32 MB also message.max.bytes and queue.buffering.max.kbytes in the properties file"
        ))
    }

    /// Returns the error for a topic that is not there.
    pub(super) fn absent(&self) -> Error {
        self.sink_error(format!(
            "there is no such topic, and the broker does not create it; create it first: kafka-topics.sh \
             --bootstrap-server {} --create --topic {} --partitions N",
            self.brokers, self.topic
        ))
    }

    fn sink_error(&self, problem: String) -> Error {
        Error::Sink {
            output: format!("the topic `{}`", self.topic),
            problem,
        }
    }

    fn advice(&self, code: Code) -> Option<String> {
        Some(match code {
            Code::TopicAuthorizationFailed => {
                "allow Write and Describe on the topic, and Read on the source's topics, in the \
                 broker's ACLs"
                    .to_owned()
            }
            Code::TransactionalIdAuthorizationFailed => {
                format!(
                    "allow Write and Describe on the transactional id `{}` in the broker's ACLs",
                    self.id()
                )
            }
            Code::GroupAuthorizationFailed => "allow Read on the group in the broker's ACLs".to_owned(),
            Code::ClusterAuthorizationFailed => "allow IdempotentWrite on the cluster in the broker's ACLs".to_owned(),
            Code::InvalidTransactionTimeout => {
                "transaction.timeout.ms is above the broker's transaction.max.timeout.ms".to_owned()
            }
            Code::MessageTimedOut => "the brokers were away for longer than message.timeout.ms".to_owned(),
            code if is_absent(code) => "was the topic deleted while the job ran?".to_owned(),
            _ => return None,
        })
    }

    fn id(&self) -> &str {
        self.transactional_id.as_deref().unwrap_or_default()
    }
}

/// Returns the error for settings that librdkafka refused, without their values.
pub(in crate::kafka) fn invalid_settings(error: &KafkaError) -> Error {
    Error::Invalid(format!("the Kafka settings are not valid: {}", health::describe(error)))
}

/// Whether there is no such topic, or none yet.
pub(super) fn is_absent(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::LeaderNotAvailable
    )
}

/// Whether another process took over.
pub(super) fn is_fenced(code: Code) -> bool {
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
}

#[cfg(test)]
mod tests {
    use rdkafka::config::ClientConfig;

    use super::*;

    fn failures() -> Failures {
        Failures {
            brokers: "localhost:1".to_owned(),
            topic: "out".to_owned(),
            transactional_id: Some("millstream-g".to_owned()),
        }
    }

    #[test]
    fn every_way_to_be_fenced_is_one_error() {
        for code in [Code::Fenced, Code::ProducerFenced, Code::InvalidProducerEpoch] {
            let error = failures().failed("commit the transaction", code, "");
            assert!(
                matches!(&error, Error::Fenced { what } if what.contains("millstream-g")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_missing_permission_says_which_one() {
        let text = |code| failures().failed("commit the transaction", code, "").to_string();
        assert!(text(Code::TransactionalIdAuthorizationFailed).contains("transactional id `millstream-g`"));
        assert!(text(Code::TopicAuthorizationFailed).contains("allow Write and Describe on the topic"));
        assert!(text(Code::GroupAuthorizationFailed).contains("allow Read on the group"));
    }

    #[test]
    fn a_missing_topic_comes_with_the_command_that_makes_it() {
        let text = failures().absent().to_string();
        assert!(
            text.contains("--bootstrap-server localhost:1 --create --topic out"),
            "{text}"
        );
    }

    #[test]
    fn a_setting_that_is_not_valid_is_named_without_its_value() {
        let mut config = ClientConfig::new();
        config.set("sasl.passwrod", "canary");
        let error = config.create_native_config().map(|_| ()).expect_err("no such setting");
        let error = invalid_settings(&error).to_string();
        assert!(error.contains("sasl.passwrod") && !error.contains("canary"), "{error}");
    }
}
