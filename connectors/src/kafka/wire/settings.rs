//! Which of librdkafka's settings the native reader understands: one table, and what it makes of them.
//!
//! Whoever reads natively need not write other settings than before. What is not in the table may change how records
//! are read in a way that is not known here, so that librdkafka reads then.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::super::config::Connection;
use super::scram::Hash;

/// Settings that are read here.
const READ: &[&str] = &[
    "broker.address.family",
    "check.crcs",
    "client.id",
    "client.rack",
    "enable.ssl.certificate.verification",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "max.partition.fetch.bytes",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.pem",
];

/// Settings of producers, groups, and of librdkafka's own queues, logs and metadata: none changes which records are read.
const WITHOUT_EFFECT: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "batch.num.messages",
    "batch.size",
    "broker.address.ttl",
    "compression.codec",
    "compression.level",
    "compression.type",
    "coordinator.query.interval.ms",
    "debug",
    "delivery.timeout.ms",
    "enable.gapless.guarantee",
    "enable.metrics.push",
    "fetch.error.backoff.ms",
    "fetch.queue.backoff.ms",
    "group.instance.id",
    "group.protocol",
    "heartbeat.interval.ms",
    "isolation.level",
    "linger.ms",
    "log.connection.close",
    "log.thread.name",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.poll.interval.ms",
    "message.copy.max.bytes",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "partition.assignment.strategy",
    "partitioner",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "session.timeout.ms",
    "socket.max.fails",
    "socket.nagle.disable",
    "statistics.interval.ms",
    "sticky.partitioning.linger.ms",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
    "transaction.timeout.ms",
];

/// A broker's port where none is given.
const PORT: u16 = 9092;

/// Host and port of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
}

/// How to reach the brokers, and how much to ask for.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) bootstrap: Vec<Endpoint>,
    pub(super) client_id: String,
    pub(super) rack: String,
    pub(super) tls: Option<TlsSettings>,
    pub(super) sasl: Option<SaslSettings>,
    pub(super) family: Family,
    pub(super) setup_timeout: Duration,
    /// How long an answer may take.
    pub(super) answer_timeout: Duration,
    pub(super) keepalive: bool,
    /// 0 leaves the system's sizes.
    pub(super) receive_buffer: usize,
    pub(super) send_buffer: usize,
    pub(super) backoff: Duration,
    pub(super) backoff_max: Duration,
    pub(super) answer_bytes_max: usize,
    pub(super) fetch: FetchSettings,
}

/// Which addresses of a broker are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Any,
    V4,
    V6,
}

/// What a request for records asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FetchSettings {
    pub(super) wait_ms: i32,
    pub(super) min_bytes: i32,
    pub(super) max_bytes: i32,
    pub(super) partition_bytes: i32,
    pub(super) check_crcs: bool,
}

/// A PEM text, or where it is.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Pem {
    Text(String),
    Path(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsSettings {
    /// Whom to trust; the system's authorities by default.
    pub(super) authorities: Option<Pem>,
    /// Our certificate and its key.
    pub(super) identity: Option<(Pem, Pem)>,
    pub(super) verify: bool,
    pub(super) verify_name: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct SaslSettings {
    pub(super) mechanism: Mechanism,
    pub(super) user: String,
    pub(super) password: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    Scram(Hash),
}

impl Settings {
    /// Returns what the settings of a connection mean here.
    ///
    /// # Errors
    /// Why they can't be used natively, without the value of any.
    pub(super) fn read(connection: &Connection) -> Result<Self, String> {
        let known = |name: &str| READ.contains(&name) || WITHOUT_EFFECT.contains(&name);
        if let Some(name) = connection.names().find(|name| !known(name)) {
            return Err(format!("the setting {name} is for librdkafka"));
        }
        let values = Values(connection);
        let bootstrap = connection.brokers().split(',').map(endpoint);
        let protocol = values
            .text("security.protocol")
            .unwrap_or("plaintext")
            .to_ascii_lowercase();
        let (tls, sasl) = match protocol.as_str() {
            "plaintext" => (false, false),
            "ssl" => (true, false),
            "sasl_plaintext" => (false, true),
            "sasl_ssl" => (true, true),
            _ => return Err(not_valid("security.protocol")),
        };
        let milliseconds = |name, default, range| values.number(name, default, range).map(Duration::from_millis);
        let backoff = milliseconds("reconnect.backoff.ms", 100, 0..=3_600_000)?;
        Ok(Self {
            bootstrap: bootstrap.collect::<Result<_, _>>()?,
            client_id: values.text("client.id").unwrap_or("millstream").to_owned(),
            rack: values.text("client.rack").unwrap_or_default().to_owned(),
            tls: tls.then(|| values.tls()).transpose()?,
            sasl: sasl.then(|| values.sasl()).transpose()?,
            family: values.family()?,
            setup_timeout: milliseconds("socket.connection.setup.timeout.ms", 30_000, 1000..=2_147_483_647)?,
            answer_timeout: milliseconds("socket.timeout.ms", 60_000, 10..=300_000)?,
            keepalive: values.flag("socket.keepalive.enable", false)?,
            receive_buffer: values.number("socket.receive.buffer.bytes", 0, 0..=100_000_000)?,
            send_buffer: values.number("socket.send.buffer.bytes", 0, 0..=100_000_000)?,
            backoff,
            backoff_max: milliseconds("reconnect.backoff.max.ms", 2000, 0..=3_600_000)?.max(backoff),
            answer_bytes_max: values.number("receive.message.max.bytes", 100_000_000, 1000..=2_147_483_647)?,
            fetch: values.fetch()?,
        })
    }
}

/// The settings of a connection, by their types.
struct Values<'c>(&'c Connection);

impl<'c> Values<'c> {
    /// Returns a setting; an empty one is as good as none.
    fn text(&self, name: &str) -> Option<&'c str> {
        self.0.property(name).filter(|value| !value.is_empty())
    }

    fn number<T>(&self, name: &str, default: u64, range: RangeInclusive<u64>) -> Result<T, String>
    where
        T: TryFrom<u64>,
    {
        let number = self.text(name).map_or(Some(default), |text| text.parse().ok());
        let number = number.filter(|number| range.contains(number));
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| not_valid(name))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.text(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true" | "t" | "1") => Ok(true),
            Some("false" | "f" | "0") => Ok(false),
            Some(_) => Err(not_valid(name)),
        }
    }

    fn family(&self) -> Result<Family, String> {
        match self.text("broker.address.family").unwrap_or("any") {
            "any" => Ok(Family::Any),
            "v4" => Ok(Family::V4),
            "v6" => Ok(Family::V6),
            _ => Err(not_valid("broker.address.family")),
        }
    }

    fn fetch(&self) -> Result<FetchSettings, String> {
        let partition = ["max.partition.fetch.bytes", "fetch.message.max.bytes"]
            .into_iter()
            .find(|name| self.text(name).is_some())
            .unwrap_or("max.partition.fetch.bytes");
        Ok(FetchSettings {
            wait_ms: self.number("fetch.wait.max.ms", 500, 0..=300_000)?,
            min_bytes: self.number("fetch.min.bytes", 1, 1..=100_000_000)?,
            max_bytes: self.number("fetch.max.bytes", 4 << 20, 0..=2_147_483_135)?,
            partition_bytes: self.number(partition, 1 << 20, 1..=1_000_000_000)?,
            check_crcs: self.flag("check.crcs", true)?,
        })
    }

    fn pem(&self, text: &str, path: &str) -> Option<Pem> {
        let path = || self.text(path).map(|path| Pem::Path(path.into()));
        self.text(text).map(|text| Pem::Text(text.to_owned())).or_else(path)
    }

    fn tls(&self) -> Result<TlsSettings, String> {
        let certificate = self.pem("ssl.certificate.pem", "ssl.certificate.location");
        let verify_name = match self.text("ssl.endpoint.identification.algorithm") {
            None | Some("https") => true,
            Some("none") => false,
            Some(_) => return Err(not_valid("ssl.endpoint.identification.algorithm")),
        };
        Ok(TlsSettings {
            authorities: self.pem("ssl.ca.pem", "ssl.ca.location"),
            identity: certificate.zip(self.pem("ssl.key.pem", "ssl.key.location")),
            verify: self.flag("enable.ssl.certificate.verification", true)?,
            verify_name,
        })
    }

    fn sasl(&self) -> Result<SaslSettings, String> {
        let mechanism = self.text("sasl.mechanisms").or_else(|| self.text("sasl.mechanism"));
        let mechanism = match mechanism.unwrap_or("GSSAPI") {
            "PLAIN" => Mechanism::Plain,
            "SCRAM-SHA-256" => Mechanism::Scram(Hash::Sha256),
            "SCRAM-SHA-512" => Mechanism::Scram(Hash::Sha512),
            other => return Err(format!("the SASL mechanism {other} is for librdkafka")),
        };
        let needed = |name| self.text(name).ok_or_else(|| not_valid(name)).map(str::to_owned);
        Ok(SaslSettings {
            mechanism,
            user: needed("sasl.username")?,
            password: needed("sasl.password")?,
        })
    }
}

impl Mechanism {
    /// Returns the name by which a broker knows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(Hash::Sha256) => "SCRAM-SHA-256",
            Self::Scram(Hash::Sha512) => "SCRAM-SHA-512",
        }
    }
}

impl fmt::Debug for Pem {
    /// Shows a path, and nothing of a text, which may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text"),
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
        }
    }
}

impl fmt::Debug for SaslSettings {
    /// Shows no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("SaslSettings");
        debug.field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Reads `host`, `host:port`, `[v6]:port` or one of them after a protocol's name, which librdkafka ignores as well.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, address)| address);
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Some(PORT), |port| port.parse().ok());
    match port {
        Some(port) if !host.is_empty() => Ok(Endpoint {
            host: host.to_owned(),
            port,
        }),
        _ => Err(format!("expected the address of a broker as host:port, not `{text}`")),
    }
}

fn not_valid(name: &str) -> String {
    format!("the value of {name} is not one that can be used natively")
}

#[cfg(test)]
mod tests {
    use super::super::super::config::check_setting;
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Settings, String> {
        let mut connection = Connection::new("a:1,b");
        for (name, value) in settings {
            connection
                .set(name, (*value).to_owned())
                .expect("not one of Millstream's own");
        }
        Settings::read(&connection)
    }

    #[test]
    fn every_name_of_the_table_is_one_of_librdkafka() {
        for name in READ.iter().chain(WITHOUT_EFFECT) {
            check_setting(name, None).expect(name);
        }
    }

    #[test]
    fn settings_have_the_meaning_that_librdkafka_gives_them() {
        let settings = read(&[
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("sasl.username", "u"),
            ("sasl.password", "canary"),
            ("ssl.ca.location", "ca.pem"),
            ("ssl.endpoint.identification.algorithm", "none"),
            ("fetch.message.max.bytes", "77"),
            ("check.crcs", "false"),
            ("linger.ms", "5"),
        ]);
        let settings = settings.expect("all are understood");
        let sasl = settings.sasl.as_ref().expect("SASL was asked for");
        assert_eq!(
            (sasl.mechanism, sasl.user.as_str()),
            (Mechanism::Scram(Hash::Sha512), "u")
        );
        let tls = settings.tls.as_ref().expect("TLS was asked for");
        assert_eq!(tls.authorities, Some(Pem::Path("ca.pem".into())));
        assert!(tls.verify && !tls.verify_name && tls.identity.is_none());
        assert_eq!((settings.fetch.partition_bytes, settings.fetch.check_crcs), (77, false));
        assert!(!format!("{settings:?}").contains("canary"));
    }

    #[test]
    fn what_is_not_understood_is_named_without_its_value() {
        let check = |settings: &[(&str, &str)], expected: &str| {
            let reason = read(settings).map(drop).expect_err(expected);
            assert!(reason.contains(expected) && !reason.contains("canary"), "{reason}");
        };
        check(&[("ssl.key.password", "canary")], "ssl.key.password");
        check(&[("plugin.library.paths", "canary")], "plugin.library.paths");
        check(&[("fetch.wait.max.ms", "canary")], "fetch.wait.max.ms");
        check(&[("security.protocol", "canary")], "security.protocol");
        let sasl = ("security.protocol", "sasl_plaintext");
        check(&[sasl], "GSSAPI");
        check(&[sasl, ("sasl.mechanism", "OAUTHBEARER")], "OAUTHBEARER");
        check(&[sasl, ("sasl.mechanism", "PLAIN")], "sasl.username");
    }

    #[test]
    fn addresses_are_read_in_all_their_forms() {
        let check = |text: &str, expected: &str| {
            let read = endpoint(text).map(|endpoint| endpoint.to_string());
            assert_eq!(read.as_deref(), Ok(expected), "{text}");
        };
        check("host", "host:9092");
        check(" host:1 ", "host:1");
        check("[::1]:2", "[::1]:2");
        check("::1", "[::1]:9092");
        check("PLAINTEXT://host:3", "host:3");
        for text in ["", ":1", "host:x", "host:70000"] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }
}
