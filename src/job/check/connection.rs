//! How to reach a cluster: brokers and settings.

use std::collections::BTreeMap;

use connectors::kafka::config;

use super::Checker;
use crate::job::error::Report;
use crate::job::file::KafkaSource;
use crate::job::form::{Named, Text};
use crate::job::place::At;
use crate::job::plan::{ConnectionPlan, SettingValue};
use crate::job::setting::Setting;
use crate::job::value::Brokers;

/// Settings of librdkafka that a job file has keys for.
const KEYS: &[(&str, &str)] = &[
    ("bootstrap.servers", "brokers"),
    ("group.id", "group"),
    ("auto.offset.reset", "from"),
    ("isolation.level", "read_uncommitted"),
];

/// The keys that say how to reach a cluster.
#[derive(Clone, Copy)]
pub(super) struct ConnectionKeys<'a> {
    pub(super) brokers: Option<&'a At<Brokers>>,
    pub(super) properties: Option<&'a At<Text>>,
    pub(super) librdkafka: Option<&'a At<Named<Setting>>>,
}

impl<'a> From<&'a KafkaSource> for ConnectionKeys<'a> {
    fn from(source: &'a KafkaSource) -> Self {
        Self {
            brokers: Some(&source.brokers),
            properties: source.properties.as_ref(),
            librdkafka: source.librdkafka.as_ref(),
        }
    }
}

impl Checker<'_> {
    /// Returns the connection of a sink at `sink`: its own, or without brokers that of the sources, to whose settings it
    /// may add some.
    pub(super) fn sink_connection<T>(&mut self, keys: ConnectionKeys<'_>, sink: &At<T>) -> Option<ConnectionPlan> {
        if keys.brokers.is_some() {
            return Some(self.connection(keys));
        }
        let mut connection = match self.clusters.as_slice() {
            [first, others @ ..] if others.iter().all(|other| other == first) => first.clone(),
            clusters => {
                let found = if clusters.is_empty() { "no" } else { "more than one" };
                let message =
                    format!("missing `brokers`: {found} Kafka cluster is read from, whose brokers it could be");
                self.report.error(sink.place, message);
                return None;
            }
        };
        let own = self.connection(keys);
        connection.properties = own.properties.or(connection.properties);
        connection.settings.extend(own.settings);
        Some(connection)
    }

    pub(super) fn connection(&mut self, keys: ConnectionKeys<'_>) -> ConnectionPlan {
        let mut settings = BTreeMap::new();
        for (name, value) in keys.librdkafka.iter().flat_map(|named| &named.value.0) {
            check_setting(name, value, self.report);
            settings.insert(name.value.clone(), plan_value(&value.value));
        }
        ConnectionPlan {
            brokers: keys.brokers.map(|brokers| brokers.value.0.clone()).unwrap_or_default(),
            properties: keys.properties.map(|path| path.value.0.clone().into()),
            settings,
        }
    }
}

fn check_setting(name: &At<String>, value: &At<Setting>, report: &mut Report) {
    let setting = name.value.as_str();
    if let Some((_, key)) = KEYS.iter().find(|(owned, _)| *owned == setting) {
        report.error(
            name.place,
            format!("`{setting}` can't be set here: the key `{key}` says it"),
        );
        return;
    }
    let is_secret = config::is_secret(setting);
    match &value.value {
        Setting::Literal(_) if is_secret => {
            report.hide(value.place);
            let message = format!("`{setting}` is a secret: a job file may only say where it is kept");
            let help = format!("write \"{setting}\" = {{ env = \"NAME\" }} or {{ file = \"PATH\" }}");
            report.error_with_help(name.place, message, help);
        }
        Setting::Literal(literal) => {
            // What is no setting may be a misspelt secret.
            match config::check_setting(setting, None) {
                Err(error) => {
                    report.hide(value.place);
                    report.error(name.place, error.to_string());
                }
                Ok(()) => {
                    report.check(value.place, config::check_setting(setting, Some(literal)));
                }
            }
        }
        Setting::Env(_) | Setting::File(_) => {
            report.check(name.place, config::check_setting(setting, None));
        }
    }
}

fn plan_value(setting: &Setting) -> SettingValue {
    match setting {
        Setting::Literal(value) => SettingValue::Literal(value.clone()),
        Setting::Env(name) => SettingValue::Env(name.clone()),
        Setting::File(path) => SettingValue::File(path.into()),
    }
}
