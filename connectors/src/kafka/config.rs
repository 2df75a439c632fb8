//! How to reach a Kafka cluster: brokers and any librdkafka setting, read from a properties file.
//!
//! Secrets are in that file, or come from the environment by `${env:NAME}`; they are never an argument of the program,
//! and never printed: [`Connection`]'s `Debug` shows no values.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use engine::{Error, Result};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

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

    /// Returns the brokers, for messages.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Returns a setting of the properties file.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
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

fn parse_line(line: &str, at: impl Fn() -> String) -> Result<Option<(String, String)>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', '!']) {
        return Ok(None);
    }
    let Some((name, value)) = line.split_once('=') else {
        return Err(Error::Invalid(format!("{}: expected `name=value`", at())));
    };
    let name = name.trim();
    if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| *owned == name) {
        return Err(Error::Invalid(format!("{}: {name} can't be set here: {instead}", at())));
    }
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
    fn a_missing_environment_variable_is_named() {
        let error = read("sasl.password=${env:MILLSTREAM_NO_SUCH}")
            .expect_err("unset")
            .to_string();
        assert!(error.contains("MILLSTREAM_NO_SUCH is not set"), "{error}");
    }
}
