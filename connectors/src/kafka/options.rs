//! What to read of a Kafka cluster, and how the command line spells it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat};
use engine::{Error, Result};
use rdkafka::config::ClientConfig;

use super::cluster;
use super::config::Connection;
use super::wire::Native;

/// The largest `batch_bytes_max`: Arrow's 32-bit offsets hold it together with any record that Kafka can carry.
const BATCH_BYTES_LIMIT: usize = 512 << 20;

/// What a [`KafkaSource`](super::source::KafkaSource) reads.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// The cluster.
    pub connection: Connection,
    /// The topics' names; none when there is a pattern.
    pub topics: Vec<String>,
    /// A regular expression instead of names: all topics that it matches somewhere are read, but for internal ones, whose
    /// names begin with `__`. Of a job without an end also those that are made while it runs, from their start.
    pub topic_pattern: Option<String>,
    /// The consumer group whose offsets show how far the job is. The source never joins it.
    pub group: String,
    /// Whether the group learns how far the source is; one that only looks leaves no trace.
    pub commits: bool,
    /// Where a first run starts.
    pub from: Start,
    /// Where the job ends; `None` reads on for ever.
    pub to: Option<End>,
    /// The columns of every batch, in this order.
    pub columns: Vec<KafkaColumn>,
    /// Whether records of aborted and open transactions are left out.
    pub read_committed: bool,
    /// What to do when records are gone that were not read yet.
    pub on_data_loss: DataLossPolicy,
    /// Rows of a batch at most.
    pub batch_rows_max: usize,
    /// Bytes of a batch after which it is sent. One record may be larger, so may then be its batch.
    pub batch_bytes_max: usize,
    /// Whether a batch ends only where it is full, and not when nothing more is at hand: for those who want whole batches
    /// more than soon ones.
    pub whole_batches: bool,
    /// Reader threads, each with a connection of its own for its share of the partitions.
    pub readers: usize,
    /// Who reads the records.
    pub client: Client,
    /// How often new partitions, and deleted or recreated topics, are looked for.
    pub metadata_interval: Duration,
}

impl SourceOptions {
    /// Returns options that read the values of `topics` from the earliest offset on, for ever.
    pub fn new(connection: Connection, topics: Vec<String>, group: impl Into<String>) -> Self {
        Self {
            connection,
            topics,
            topic_pattern: None,
            group: group.into(),
            commits: true,
            from: Start::Earliest,
            to: None,
            columns: vec![KafkaColumn::Value],
            read_committed: true,
            on_data_loss: DataLossPolicy::Fail,
            batch_rows_max: 8192,
            batch_bytes_max: 1 << 20,
            whole_batches: false,
            readers: 1,
            client: Client::Auto,
            metadata_interval: Duration::from_secs(10),
        }
    }

    /// Returns the schema of every batch.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.columns.iter().map(|column| column.field()).collect::<Vec<_>>(),
        ))
    }

    /// Returns the librdkafka settings of the clients that read.
    pub fn client_config(&self) -> ClientConfig {
        cluster::client_config(&self.connection, &self.group, self.read_committed)
    }

    /// Checks what the types let through.
    pub(super) fn check(&self) -> Result<()> {
        let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
        match (&self.topic_pattern, self.topics.is_empty()) {
            (None, true) => return invalid("expected at least one topic"),
            (Some(_), false) => return invalid("expected names of topics or a pattern, not both"),
            (None, false) | (Some(_), true) => {}
        }
        self.topics.iter().try_for_each(|topic| check_topic(topic))?;
        if let Some(topic) = repeated(&self.topics) {
            return Err(Error::Invalid(format!("the topic {topic} is named twice")));
        }
        if self.group.is_empty() || self.group.contains('\0') {
            return invalid("expected the name of a consumer group");
        }
        if let Some(column) = repeated(&self.columns) {
            return Err(Error::Invalid(format!("the column {} is named twice", column.name())));
        }
        if self.batch_rows_max == 0 || self.readers == 0 {
            return invalid("expected at least one row a batch and one reader");
        }
        if !(1..=BATCH_BYTES_LIMIT).contains(&self.batch_bytes_max) {
            return Err(Error::Invalid(format!(
                "expected 1 to {BATCH_BYTES_LIMIT} bytes a batch, not {}",
                self.batch_bytes_max
            )));
        }
        if self.client == Client::Native {
            let native = Native::new(&self.connection);
            native.map_err(|reason| Error::Invalid(format!("the native client can't read here: {reason}")))?;
        }
        check_times(&self.from, self.to.as_ref())
    }
}

/// Where a first run starts, in each partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The first record that is still there.
    Earliest,
    /// After the last record there is at the start.
    Latest,
    /// The group's committed offset; the earliest where there is none.
    Committed,
    /// The first record of this time or later, in milliseconds since 1970; the end where there is none.
    Time(i64),
    /// As [`Time`](Self::Time), counted back from the start of the run.
    Ago(Duration),
    /// These offsets; every partition is named.
    Offsets(PartitionOffsets),
}

/// Where a bounded job ends, in each partition: before this offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// After the last record there is at the start (of those that are committed, if only such are read).
    Latest,
    /// Before the first record of this time or later, in milliseconds since 1970; as latest where there is none.
    Time(i64),
    /// As [`Time`](Self::Time), counted back from the start of the run.
    Ago(Duration),
    /// These offsets; every partition is named.
    Offsets(PartitionOffsets),
}

/// An offset for each partition. A key without a topic stands for the only topic.
pub type PartitionOffsets = BTreeMap<(Option<String>, i32), i64>;

/// What to do when records are gone that were not read yet: aged out, or their topic recreated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DataLossPolicy {
    /// Stop, naming the ranges.
    #[default]
    Fail,
    /// Warn, naming the ranges, and go on at the first offset that exists.
    Skip,
    /// Warn, naming the ranges, and start the partition again where a first run would.
    Reset,
}

/// Who reads the records. Offsets of groups, transactions and what is asked for at a start are librdkafka's in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Client {
    /// The native client, or librdkafka where a setting, the brokers or the records need it.
    #[default]
    Auto,
    /// The native client, or nobody.
    Native,
    /// librdkafka.
    Librdkafka,
}

/// A column that a record can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaColumn {
    /// The topic: dictionary of UTF-8.
    Topic,
    /// The partition's number: Int32.
    Partition,
    /// The offset: Int64.
    Offset,
    /// The record's time: microseconds in UTC, null if there is none. Kafka keeps milliseconds.
    Timestamp,
    /// Who set the time: `create` (the producer) or `log_append` (the broker); null if there is none.
    TimestampType,
    /// The key: Binary, null if there is none.
    Key,
    /// The headers: a list of key (UTF-8) and value (Binary, may be null), in order, keys may repeat.
    Headers,
    /// The value: Binary, null for a tombstone.
    Value,
}

impl KafkaColumn {
    /// Every column, in the order of a record's description.
    pub const ALL: &'static [Self] = &[
        Self::Topic,
        Self::Partition,
        Self::Offset,
        Self::Timestamp,
        Self::TimestampType,
        Self::Key,
        Self::Headers,
        Self::Value,
    ];

    /// Returns the column's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Partition => "partition",
            Self::Offset => "offset",
            Self::Timestamp => "timestamp",
            Self::TimestampType => "timestamp_type",
            Self::Key => "key",
            Self::Headers => "headers",
            Self::Value => "value",
        }
    }

    /// Returns the column's name and Arrow type.
    pub fn field(self) -> Field {
        let dictionary = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let (data_type, nullable) = match self {
            Self::Topic => (dictionary(), false),
            Self::Partition => (DataType::Int32, false),
            Self::Offset => (DataType::Int64, false),
            Self::Timestamp => (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            Self::TimestampType => (dictionary(), true),
            Self::Key | Self::Value => (DataType::Binary, true),
            Self::Headers => (DataType::List(Arc::new(super::columns::header_field())), false),
        };
        Field::new(self.name(), data_type, nullable)
    }
}

impl FromStr for Start {
    type Err = Error;

    /// Reads `earliest`, `latest`, `committed`, an RFC 3339 time or date (UTC), an age (`15m`, `1h`, `7d`), or
    /// offsets (`0:120,1:4000`; with several topics `access:0:120`).
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            "committed" => Ok(Self::Committed),
            _ => match parse_place(text) {
                Some(Place::Time(time)) => Ok(Self::Time(time)),
                Some(Place::Ago(age)) => Ok(Self::Ago(age)),
                Some(Place::Offsets(offsets)) => Ok(Self::Offsets(offsets)),
                None => Err(Error::Invalid(format!(
                    "expected earliest, latest, committed, {PLACES}, not `{text}`"
                ))),
            },
        }
    }
}

impl FromStr for End {
    type Err = Error;

    /// Reads `latest`, or a time, age or offsets as [`Start`] does.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "latest" => Ok(Self::Latest),
            _ => match parse_place(text) {
                Some(Place::Time(time)) => Ok(Self::Time(time)),
                Some(Place::Ago(age)) => Ok(Self::Ago(age)),
                Some(Place::Offsets(offsets)) => Ok(Self::Offsets(offsets)),
                None => Err(Error::Invalid(format!("expected latest, {PLACES}, not `{text}`"))),
            },
        }
    }
}

impl fmt::Display for Start {
    /// Writes what [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Committed => f.write_str("committed"),
            Self::Time(milliseconds) => End::Time(*milliseconds).fmt(f),
            Self::Ago(age) => End::Ago(*age).fmt(f),
            Self::Offsets(offsets) => End::Offsets(offsets.clone()).fmt(f),
        }
    }
}

impl fmt::Display for End {
    /// Writes what [`FromStr`] reads; checkpoints keep it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Time(milliseconds) => f.write_str(&display_time(*milliseconds)),
            Self::Ago(age) => write!(f, "{}ms", age.as_millis()),
            Self::Offsets(offsets) => {
                let entry = |((topic, partition), offset): (&(Option<String>, i32), &i64)| match topic {
                    Some(topic) => format!("{topic}:{partition}:{offset}"),
                    None => format!("{partition}:{offset}"),
                };
                f.write_str(&offsets.iter().map(entry).collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl FromStr for DataLossPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "fail" => Ok(Self::Fail),
            "skip" => Ok(Self::Skip),
            "reset" => Ok(Self::Reset),
            _ => Err(Error::Invalid(format!("expected fail, skip or reset, not `{text}`"))),
        }
    }
}

impl FromStr for Client {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "native" => Ok(Self::Native),
            "librdkafka" => Ok(Self::Librdkafka),
            _ => Err(Error::Invalid(format!(
                "expected auto, native or librdkafka, not `{text}`"
            ))),
        }
    }
}

impl FromStr for KafkaColumn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|column| column.name() == text);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|column| column.name()).collect();
            Error::Invalid(format!("expected a column of {}, not `{text}`", names.join(", ")))
        })
    }
}

const PLACES: &str = "a time such as 2026-01-31T08:00:00Z or 2026-01-31, an age such as 15m, 1h or 7d, or offsets such \
                      as 0:120,1:4000";

enum Place {
    Time(i64),
    Ago(Duration),
    Offsets(PartitionOffsets),
}

fn parse_place(text: &str) -> Option<Place> {
    if let Some(time) = parse_time(text) {
        return Some(Place::Time(time));
    }
    if let Some(age) = parse_age(text) {
        return Some(Place::Ago(age));
    }
    parse_offsets(text).map(Place::Offsets)
}

fn parse_time(text: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_time(NaiveTime::MIN).and_utc().timestamp_millis())
}

fn parse_age(text: &str) -> Option<Duration> {
    let unit = text.find(|character: char| !character.is_ascii_digit())?;
    let (count, unit) = text.split_at(unit);
    let count: u64 = count.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.checked_mul(milliseconds).map(Duration::from_millis)
}

fn parse_offsets(text: &str) -> Option<PartitionOffsets> {
    let mut offsets = PartitionOffsets::new();
    for entry in text.split(',') {
        let (place, offset) = entry.trim().rsplit_once(':')?;
        let (topic, partition) = match place.rsplit_once(':') {
            Some((topic, partition)) => (Some(topic.to_owned()), partition),
            None => (None, place),
        };
        let (partition, offset): (u32, u64) = (partition.parse().ok()?, offset.parse().ok()?);
        let key = (topic, i32::try_from(partition).ok()?);
        if offsets.insert(key, i64::try_from(offset).ok()?).is_some() {
            return None;
        }
    }
    Some(offsets)
}

/// Checks that a job does not end before it starts, as far as can be told without asking the cluster.
///
/// # Errors
/// When it does.
pub fn check_times(from: &Start, to: Option<&End>) -> Result<()> {
    let (from, to) = match (from, to) {
        (Start::Time(from), Some(End::Time(to))) if from > to => (display_time(*from), display_time(*to)),
        (Start::Ago(from), Some(End::Ago(to))) if from < to => (format!("{from:?} ago"), format!("{to:?} ago")),
        _ => return Ok(()),
    };
    Err(Error::Invalid(format!("from ({from}) is after to ({to})")))
}

fn display_time(milliseconds: i64) -> String {
    let time = DateTime::from_timestamp_millis(milliseconds);
    time.map_or_else(
        || format!("{milliseconds} ms"),
        |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
    )
}

/// Checks the name of a topic.
///
/// # Errors
/// When Kafka has no topics of such a name.
pub fn check_topic(name: &str) -> Result<()> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=249).contains(&name.len()) && name.bytes().all(legal) {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "expected a topic name of 1 to 249 letters, digits, `.`, `_` and `-`, not `{name}`"
        ))),
    }
}

fn repeated<T: PartialEq>(list: &[T]) -> Option<&T> {
    let mut entries = list.iter().enumerate();
    entries
        .find(|(index, entry)| list[..*index].contains(entry))
        .map(|(_, entry)| entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_keep_the_columns_as_they_are() {
        for field in crate::decode::dead_letter_schema().fields() {
            let column = KafkaColumn::ALL.iter().find(|column| column.name() == field.name());
            let data_type = column.map(|column| match column.field().data_type() {
                DataType::Dictionary(_, value) => (**value).clone(),
                other => other.clone(),
            });
            assert_eq!(
                data_type.as_ref().unwrap_or(&DataType::Utf8),
                field.data_type(),
                "{}",
                field.name()
            );
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Start) {
        assert_eq!(text.parse::<Start>().expect(text), expected);
    }

    #[test]
    fn every_spelling_of_a_start_is_read() {
        check("earliest", Start::Earliest);
        check("latest", Start::Latest);
        check("committed", Start::Committed);
        check("1970-01-02", Start::Time(86_400_000));
        check("1970-01-01T01:00:00+01:00", Start::Time(0));
        check("15m", Start::Ago(Duration::from_secs(900)));
        check("7d", Start::Ago(Duration::from_secs(604_800)));
        check(
            "0:120,1:4000",
            Start::Offsets([((None, 0), 120), ((None, 1), 4000)].into()),
        );
        check(
            "access.log:3:7",
            Start::Offsets([((Some("access.log".to_owned()), 3), 7)].into()),
        );
    }

    #[test]
    fn what_is_no_start_is_refused_with_the_spellings() {
        for text in ["", "soon", "15", "15y", "0:", "a:b", "0:-1", "0:1,0:2", "2026-13-01"] {
            let error = text.parse::<Start>().expect_err(text).to_string();
            assert!(
                error.contains("expected earliest") && error.contains(&format!("`{text}`")),
                "{error}"
            );
        }
        assert!("earliest".parse::<End>().is_err(), "nothing ends at its first record");
    }

    #[test]
    fn an_end_is_written_as_it_is_read() {
        for text in [
            "latest",
            "2026-01-31T08:00:00Z",
            "1h",
            "0:120,1:4000",
            "a.b:0:1,a.b:1:2",
        ] {
            let end: End = text.parse().expect("an end");
            assert_eq!(end.to_string().parse::<End>().expect(text), end);
        }
    }

    #[test]
    fn a_start_after_the_end_is_refused_before_anything_is_asked() {
        let mut options = SourceOptions::new(Connection::new("localhost:1"), vec!["access".into()], "g");
        options.from = Start::Time(2);
        options.to = Some(End::Time(1));
        let error = options.check().expect_err("2 ms is after 1 ms").to_string();
        assert_eq!(
            error,
            "from (1970-01-01T00:00:00.002Z) is after to (1970-01-01T00:00:00.001Z)"
        );
        options.to = Some(End::Time(2));
        assert!(options.check().is_ok());
    }

    #[test]
    fn a_topic_or_column_named_twice_is_refused() {
        let mut options = SourceOptions::new(Connection::new("localhost:1"), vec!["a".into(), "a".into()], "g");
        assert!(options.check().is_err());
        options.topics = vec!["a".into()];
        options.columns = vec![KafkaColumn::Value, KafkaColumn::Value];
        assert!(options.check().is_err());
    }

    #[test]
    fn every_column_is_found_by_its_name() {
        for &column in KafkaColumn::ALL {
            assert_eq!(column.name().parse::<KafkaColumn>().expect("a name"), column);
        }
        assert!("payload".parse::<KafkaColumn>().is_err());
    }
}
