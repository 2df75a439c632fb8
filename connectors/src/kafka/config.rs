//! How to reach a Kafka cluster: brokers and any librdkafka setting, read from a properties file.
//!
//! Secrets are in that file, or come from the environment by `${env:NAME}`; they are never an argument of the program,
//! and never printed: [`Connection`]'s `Debug` shows no values.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use engine::{Error, Result};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

/// Settings that Millstream owns: changing them would break what it promises.
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "give the brokers with --brokers"),
    ("group.id", "give the group with --group"),
    ("enable.auto.commit", "offsets are committed when the output is durable"),
    (
        "enable.auto.offset.store",
        "offsets are committed when the output is durable",
    ),
    ("enable.partition.eof", "the end of a bounded run is found by it"),
    ("auto.offset.reset", "--from and --on-data-loss say where to read"),
    ("transactional.id", "it follows from the group"),
    ("enable.idempotence", "it follows from the delivery guarantee"),
];

/// Settings whose value is a secret. librdkafka hides a few more of its logs, such as the path of a key.
const SECRETS: &[&str] = &[
    "sasl.password",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// The setting that makes librdkafka load libraries as soon as it is set.
const PLUGINS: &str = "plugin.library.paths";

/// The brokers of a cluster and the settings to reach them with.
#[derive(Clone)]
pub struct Connection {
    brokers: String,
    properties: BTreeMap<String, String>,
}

impl Connection {
    /// Returns a connection to `brokers` (`host:port`, comma-separated) without further settings.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            properties: BTreeMap::new(),
        }
    }

    /// Returns a connection with the settings of a properties file: `name=value` lines, `#` starts a comment line,
    /// `${env:NAME}` in a value stands for an environment variable.
    ///
    /// # Errors
    /// When the file can't be read, a line is no setting, or a setting is one that Millstream owns; the message names
    /// the file and the line, and never the value.
    pub fn with_properties(brokers: impl Into<String>, path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let mut connection = Self::new(brokers);
        for (index, line) in text.lines().enumerate() {
            let at = || format!("{}:{}", path.display(), index + 1);
            if let Some((name, value)) = parse_line(line, at)? {
                connection.properties.insert(name, value);
            }
        }
        Ok(connection)
    }

    /// Sets a librdkafka setting.
    ///
    /// # Errors
    /// When Millstream owns it.
    pub fn set(&mut self, name: &str, value: String) -> Result<()> {
        refuse_owned(name)?;
        self.properties.insert(name.to_owned(), value);
        Ok(())
    }

    /// Returns the brokers, for messages.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Returns a setting of the properties file.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    /// Returns the names of the settings of the properties file.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.properties.keys().map(String::as_str)
    }

    /// Returns the settings for a librdkafka client, those of the properties file last.
    pub fn client_config(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", "millstream");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.properties.keys().collect();
        f.debug_struct("Connection")
            .field("brokers", &self.brokers)
            .field("set", &names)
            .finish()
    }
}

/// Returns whether the value of a setting is a secret.
pub fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name)
}

/// Checks that librdkafka has the setting, that Millstream does not own it, and that the value fits, if it is known.
///
/// # Errors
/// When it does not. The message holds the value only if librdkafka knows the setting and refuses the value.
pub fn check_setting(name: &str, value: Option<&str>) -> Result<()> {
    refuse_owned(name)?;
    if name == PLUGINS {
        return Ok(());
    }
    let mut config = ClientConfig::new();
    config.set(name, value.unwrap_or_default());
    let unknown = || Error::Invalid(format!("librdkafka has no setting `{name}`"));
    match config.create_native_config() {
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => Err(unknown()),
        Err(KafkaError::ClientConfig(_, problem, ..)) if value.is_some() => {
            Err(Error::Invalid(format!("librdkafka refuses it: {problem}")))
        }
        _ => Ok(()),
    }
}

fn refuse_owned(name: &str) -> Result<()> {
    match OWNED.iter().find(|(owned, _)| *owned == name) {
        Some((_, instead)) => Err(Error::Invalid(format!("{name} can't be set here: {instead}"))),
        None => Ok(()),
    }
}

fn parse_line(line: &str, at: impl Fn() -> String) -> Result<Option<(String, String)>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', '!']) {
        return Ok(None);
    }
    let Some((name, value)) = line.split_once('=') else {
        return Err(Error::Invalid(format!("{}: expected `name=value`", at())));
    };
    let name = name.trim();
    refuse_owned(name).map_err(|error| Error::Invalid(format!("{}: {error}", at())))?;
    let value = expand(value.trim()).map_err(|problem| Error::Invalid(format!("{}: {problem}", at())))?;
    Ok(Some((name.to_owned(), value)))
}

fn expand(value: &str) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${env:") {
        let (name, tail) = after.split_once('}').ok_or("expected `}` after `${env:NAME`")?;
        let secret = std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))?;
        expanded.push_str(before);
        expanded.push_str(&secret);
        rest = tail;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Connection> {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        std::fs::write(file.path(), text).expect("a scratch file can be written");
        Connection::with_properties("localhost:9092", file.path())
    }

    #[test]
    fn settings_pass_through_and_secrets_are_not_shown() {
        let text = "# comment\n\nsecurity.protocol = SASL_SSL\nsasl.password=canary=1\n";
        let connection = read(text).expect("valid settings");
        let config = connection.client_config(&[("security.protocol", "plaintext")]);
        assert_eq!(config.get("security.protocol"), Some("SASL_SSL"));
        assert_eq!(config.get("sasl.password"), Some("canary=1"));
        assert!(!format!("{connection:?}").contains("canary"));
    }

    #[test]
    fn a_bad_line_is_named_without_its_value() {
        let error = read("a=b\ncanary").expect_err("no `=`").to_string();
        assert!(
            error.contains(":2: expected `name=value`") && !error.contains("canary"),
            "{error}"
        );
    }

    #[test]
    fn a_setting_that_millstream_owns_is_refused() {
        let error = read("enable.auto.commit=true").expect_err("owned").to_string();
        assert!(
            error.contains("offsets are committed when the output is durable"),
            "{error}"
        );
    }

    #[test]
    fn a_setting_is_checked_without_a_client() {
        check_setting("security.protocol", Some("SASL_SSL")).expect("a protocol");
        check_setting("sasl.password", None).expect("a secret");
        check_setting("socket.timeout.ms", None).expect("a number that is not known yet");
        let message = |name, value| check_setting(name, value).expect_err(name).to_string();
        assert_eq!(
            message("sasl.pasword", Some("canary")),
            "librdkafka has no setting `sasl.pasword`"
        );
        assert_eq!(
            message("sasl.pasword", None),
            "librdkafka has no setting `sasl.pasword`"
        );
        assert!(message("security.protocol", Some("TLS")).contains("TLS"));
        assert!(message("group.id", Some("g")).contains("group.id can't be set here"));
    }

    #[test]
    fn a_missing_environment_variable_is_named() {
        let error = read("sasl.password=${env:MILLSTREAM_NO_SUCH}")
            .expect_err("unset")
            .to_string();
        assert!(error.contains("MILLSTREAM_NO_SUCH is not set"), "{error}");
    }
}
